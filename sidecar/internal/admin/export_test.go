package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

// Functions that the tests of this package call directly.
var (
	Judge    = judge
	WithPeer = withPeer
	PeerOf   = peerOf
)

// MaxReplayIDs is maxReplayIDs.
const MaxReplayIDs = maxReplayIDs

// DecisionsOf returns the decisions of the log that a replay judges, and whether there are more.
func DecisionsOf(each func(fn func(*decisionlog.Record) error) error) (ids map[string]struct{}, more bool, err error) {
	h := &Handler{opts: Options{
		Decisions: func(_ string, _ time.Time, fn func(*decisionlog.Record) error) error { return each(fn) },
	}}
	return h.decisionsOf("acme", &Replay{})
}

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
