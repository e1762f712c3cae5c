package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// retryRequest asks to try jobs again now.
type retryRequest struct {
	Who  string `json:"who"`  // id of a job, SCIM id or any other name
	All  bool   `json:"all"`  // all of the tenant, instead of Who
	App  string `json:"app"`  // only jobs of this application
	Code string `json:"code"` // only jobs with this code
}

// closeRequest asks to close a job without proof.
type closeRequest struct {
	Job    string `json:"job"`
	Reason string `json:"reason"`
}

// retry makes failed, unknown and waiting jobs due now.
func (h *Handler) retry(ctx context.Context, a *act, in retryRequest) (any, error) {
	if in.All == (in.Who != "") || !printable(in.Who, maxName) {
		return nil, refuse(http.StatusBadRequest, "name one user or job, or ask for all")
	}
	sel := revoke.Selection{Who: in.Who, App: in.App, Code: in.Code}
	out, err := h.opts.Engine.Retry(ctx, a.Tenant, a.cause("operator.retry"), sel)
	if err != nil {
		return nil, whoError(err)
	}
	return out, nil
}

// whoError says what the operator can do about a user who was not found, or returns err.
func whoError(err error) error {
	var several *revoke.AmbiguousNameError
	var active *revoke.NotDeactivatedError
	switch {
	case errors.As(err, &several):
		var ids []string
		for _, m := range several.Matches {
			ids = append(ids, m.User)
		}
		return refuse(http.StatusConflict, "several users %s this name: ask by SCIM id, one of %s", haveOrHad(several),
			strings.Join(ids, ", "))
	case errors.As(err, &active):
		return refuse(http.StatusNotFound, "%s (%s) was never deactivated or deleted, so there is no job",
			active.UserName, active.User)
	case errors.Is(err, revoke.ErrNothingKnown):
		return refuse(http.StatusNotFound, "no such user or job here: use the id of a job, a SCIM id, or a userName, "+
			"externalId or e-mail address")
	}
	return fmt.Errorf("retrying: %w", err)
}

// close closes a job without proof, for ever.
func (h *Handler) close(ctx context.Context, a *act, in closeRequest) (any, error) {
	if err := a.because(in.Reason); err != nil {
		return nil, err
	}
	ref, err := h.opts.Engine.Close(ctx, a.Tenant, a.cause("operator.close"), in.Job)
	var not *revoke.NotClosableError
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, refuse(http.StatusNotFound, "no job %q here: `scimward evidence USER` lists the ids", in.Job)
	case errors.As(err, &not):
		return nil, refuse(http.StatusConflict, "the job is %s: %s", not.State, not.Why)
	case err != nil:
		return nil, fmt.Errorf("closing: %w", err)
	}
	return ref, nil
}
