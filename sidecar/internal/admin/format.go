package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/scimward/scimward/store"
)

// Raising asks to raise the format of the log.
type Raising struct {
	Reason string `json:"reason,omitempty"`
}

// Raised is the answer: the formats before and now.
type Raised struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// raise lets the log go on in the newest format that this process reads.
func (h *Handler) raise(ctx context.Context, a *act, in Raising) (any, error) {
	if err := a.optionally(in.Reason); err != nil {
		return nil, err
	}
	from, err := h.opts.Store.RaiseFormat(ctx, a.cause("log.raise"))
	var old *store.OldCoresError
	switch {
	case errors.Is(err, store.ErrNothingToDo):
		return Raised{From: from, To: from}, nil
	case errors.As(err, &old):
		return nil, refuse(http.StatusConflict, "not every core reads format %d: upgrade or stop %s, and wait until "+
			"`scimward cluster status` shows it", old.Format, old.Names())
	case err != nil:
		return nil, err
	}
	return Raised{From: from, To: store.Reads}, nil
}
