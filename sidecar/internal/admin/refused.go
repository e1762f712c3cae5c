package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/scimward/scimward/store"
)

const maxRefused = 20 // in Status.Refused

// RefusedDeactivation is a deactivation or deletion of an active user that was refused, one of each user
// and client. The person still has access.
type RefusedDeactivation struct {
	Tenant    string    `json:"tenant"`
	User      string    `json:"user"` // SCIM id
	UserName  string    `json:"user_name"`
	Client    string    `json:"client"`
	Asked     string    `json:"asked"`  // "deactivate", "delete", or "unseen": the body could not be read
	Status    int       `json:"status"` // HTTP status of the last answer
	Reason    string    `json:"reason"` // stable code of the last answer
	RequestID string    `json:"request_id"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Count     int       `json:"count"` // requests
}

// readRefused counts and returns the refused deactivations of a tenant. The store bounds their number.
func (t *TenantStatus) readRefused(r *store.Reader) (out []RefusedDeactivation, err error) {
	if t.Refused, err = r.CountRefusedUsers(); err != nil {
		return nil, err
	}
	t.RefusedFull = t.Refused >= store.MaxRefusedUsers
	err = r.EachRefusal(func(f store.Refusal) bool {
		out = append(out, RefusedDeactivation{
			Tenant: t.Name, User: f.UserID, UserName: f.UserName, Client: f.ClientID, Asked: string(f.Asked),
			Status: f.Status, Reason: f.Reason, RequestID: f.RequestID, First: f.First.UTC(), Last: f.Last.UTC(), Count: f.Count,
		})
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("reading the refused deactivations: %w", err)
	}
	return out, nil
}

// cutRefused keeps the oldest refused deactivations and counts the others.
func (s *Status) cutRefused() {
	slices.SortStableFunc(s.Refused, func(a, b RefusedDeactivation) int { return a.First.Compare(b.First) })
	s.MoreRefused = max(len(s.Refused)-maxRefused, 0)
	s.Refused = s.Refused[:len(s.Refused)-s.MoreRefused]
}

// Dismiss asks to dismiss the refused deactivations of a user. The user keeps access.
type Dismiss struct {
	User   string `json:"user"`             // SCIM id or a name
	Client string `json:"client,omitempty"` // only those of this client
	Reason string `json:"reason"`
}

// Dismissed is what was dismissed.
type Dismissed struct {
	User     string `json:"user"` // SCIM id
	Requests int    `json:"requests"`
}

// dismissRefused takes refused deactivations off the list. The audit trail keeps who did it and why.
func (h *Handler) dismissRefused(ctx context.Context, a *act, in Dismiss) (any, error) {
	if err := errors.Join(a.because(in.Reason), checkName(in.User)); err != nil {
		return nil, err
	}
	if h.opts.FlushRefused != nil {
		h.opts.FlushRefused(ctx)
	}
	out := Dismissed{}
	_, err := h.opts.Store.Update(ctx, a.Tenant, a.cause("refused.dismiss"), func(tx *store.Tx) error {
		id, err := tx.PersonNamed(in.User)
		if err != nil {
			return fmt.Errorf("finding the user: %w", err)
		}
		out = Dismissed{User: id}
		gone, err := tx.DismissRefusals(out.User, in.Client)
		for i := range gone {
			out.Requests += gone[i].Count
		}
		return err
	})
	var several *store.AmbiguousNameError
	switch {
	case errors.As(err, &several):
		return nil, severalError(several, in.User)
	case errors.Is(err, store.ErrNotFound):
		return nil, refuse(http.StatusNotFound,
			"no refused deactivation of this user and client is open: see scimward status")
	case err != nil:
		return nil, fmt.Errorf("dismissing: %w", err)
	}
	return out, nil
}

// refusedRequests counts the refused requests to deactivate or delete a user.
func (h *Handler) refusedRequests(ctx context.Context, tenant, user string) (n int) {
	err := h.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		all, err := r.Refusals(user)
		for i := range all {
			n += all[i].Count
		}
		return err
	})
	if err != nil {
		h.opts.Logger.ErrorContext(ctx, "reading refused deactivations",
			slog.String("tenant", tenant), slog.Any("error", err))
	}
	return n
}
