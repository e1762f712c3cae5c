package admin

import (
	"context"
	"errors"
	"net/http"
)

// Functions that the tests of this package call directly.
var (
	Judge    = judge
	WithPeer = withPeer
	PeerOf   = peerOf
)

// Echo is a changing route for tests. It answers what the frame made of the request.
func (h *Handler) Echo() http.Handler {
	type in struct {
		Reason string `json:"reason"`
		Fault  bool   `json:"fault"`
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/tenants/{tenant}/echo", change(h, "echo", func(_ context.Context, a *act, body in) (any, error) {
		if body.Fault {
			return nil, errors.New("a secret cause")
		}
		if err := a.because(body.Reason); err != nil {
			return nil, err
		}
		return a.cause("echo"), nil
	}))
	return h.named(guard(mux))
}
