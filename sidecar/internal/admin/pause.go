package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
)

// Pausing asks to pause or resume SCIM of a tenant.
type Pausing struct {
	Reason string `json:"reason,omitempty"`
}

// Paused is the answer to a pause or its end.
type Paused struct {
	Tenant string `json:"tenant"`
	Paused bool   `json:"paused"`
	// Already says that the tenant was in this state before.
	Already bool `json:"already"`
}

// PauseStatus is a pause of a tenant, for the status.
type PauseStatus struct {
	Since    time.Time `json:"since"`
	Operator string    `json:"operator"`
	Claimed  string    `json:"claimed,omitempty"`
	Reason   string    `json:"reason,omitempty"`
}

// setPaused pauses or resumes SCIM of a tenant. Nothing else changes: the application, locks, jobs and the
// token endpoint go on.
func (h *Handler) setPaused(action string, paused bool) func(context.Context, *act, Pausing) (any, error) {
	return func(ctx context.Context, a *act, in Pausing) (any, error) {
		if err := a.optionally(in.Reason); err != nil {
			return nil, err
		}
		out := Paused{Tenant: a.Tenant, Paused: paused}
		_, err := h.opts.Store.Update(ctx, a.Tenant, a.cause(action), func(tx *store.Tx) error {
			return tx.SetPaused(paused)
		})
		if errors.Is(err, store.ErrNothingToDo) {
			out.Already, err = true, nil
		}
		if err != nil {
			return nil, fmt.Errorf("pausing a tenant: %w", err)
		}
		return out, nil
	}
}

// pauseStatus returns the pause of a tenant, nil while SCIM is not paused.
func pauseStatus(r *store.Reader) (*PauseStatus, error) {
	p, err := r.Paused()
	if err != nil || p == nil {
		return nil, err
	}
	return &PauseStatus{
		Since: p.Since.UTC(), Operator: strings.TrimPrefix(p.Cause.Actor, "operator:"), Claimed: p.Cause.Claimed,
		Reason: p.Cause.Reason,
	}, nil
}
