package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// ApprovalList is the answer of the list of held deletions.
type ApprovalList struct {
	Approvals []revoke.Approval `json:"approvals"` // the oldest first
	// Complete is false if the tenant has more than one answer reads.
	Complete bool `json:"complete"`
}

// approvalRequest asks to approve or reject held deletions.
type approvalRequest struct {
	Who    string `json:"who"` // id of a job, SCIM id or any other name
	Reason string `json:"reason"`
}

// ApprovalDecided is the answer to an approval or a rejection.
type ApprovalDecided struct {
	Approved bool            `json:"approved"`
	Jobs     []revoke.JobRef `json:"jobs"`
}

// approvals lists the held deletions of a tenant.
func (h *Handler) approvals(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	if err := h.configured(tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	out, err := h.heldDeletions(r.Context(), tenant)
	if err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "listing held deletions",
			slog.String("tenant", tenant), slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the store could not be read"+seeLog, nil)
		return
	}
	h.write(w, r, http.StatusOK, out)
}

func (h *Handler) heldDeletions(ctx context.Context, tenant string) (out ApprovalList, err error) {
	err = h.opts.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		out.Approvals, out.Complete, err = revoke.Approvals(r, tenant)
		return err
	})
	return out, err
}

// waiting adds the held deletions of a tenant to the status.
func (s *Status) waiting(list ApprovalList) {
	s.Approvals = append(s.Approvals, list.Approvals...)
	slices.SortStableFunc(s.Approvals, func(a, b revoke.Approval) int { return a.Since.Compare(b.Since) })
	if n := len(s.Approvals) - maxLeavers; n > 0 {
		s.Approvals, s.MoreApprovals = s.Approvals[:maxLeavers], s.MoreApprovals+n
	}
}

// decide approves or rejects held deletions.
func (h *Handler) decide(action string, approve bool) func(context.Context, *act, approvalRequest) (any, error) {
	return func(ctx context.Context, a *act, in approvalRequest) (any, error) {
		if err := a.because(in.Reason); err != nil {
			return nil, err
		}
		if in.Who == "" || !printable(in.Who, maxName) {
			return nil, refuse(http.StatusBadRequest, "name one user or job: `scimward approvals list` has them")
		}
		jobs, err := h.opts.Engine.Decide(ctx, a.Tenant, a.cause(action), in.Who, approve)
		var not *revoke.NotDecidableError
		switch {
		case errors.As(err, &not):
			return nil, refuse(http.StatusConflict, "%s", not.Why)
		case errors.Is(err, store.ErrNotFound):
			return nil, refuse(http.StatusNotFound, "no held deletion %q: `scimward approvals list` has them", in.Who)
		case err != nil:
			return nil, fmt.Errorf("deciding: %w", whoError(err))
		}
		return ApprovalDecided{Approved: approve, Jobs: jobs}, nil
	}
}
