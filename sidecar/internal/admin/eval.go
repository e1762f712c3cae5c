package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/recording"
)

// PolicyEval asks what a bundle makes of one recorded request, requirement by requirement.
type PolicyEval struct {
	ID     string `json:"id"`               // of the decision
	Bundle []byte `json:"bundle,omitempty"` // tar.gz; empty: the one in force
}

// Judged is a recorded request with each requirement.
type Judged struct {
	RequestName
	Final     bool                `json:"final"` // false: recorded without the stored resource
	Judgement *policies.Judgement `json:"judgement"`
}

// errFound ends the search for a recording.
var errFound = errors.New("found")

// eval judges one recorded request by its profile and by the rules of a bundle.
func (h *Handler) eval(ctx context.Context, a *act, in PolicyEval) (any, error) {
	rules, err := h.candidate(ctx, a.Tenant, in.Bundle)
	if err != nil {
		return nil, err
	}
	var of *recording.Entry
	_, err = h.opts.Recordings.Read(ctx, a.Tenant, time.Time{}, func(e *recording.Entry) error {
		if e.ID != in.ID {
			return nil
		}
		of = e
		return errFound
	})
	switch {
	case err != nil && !errors.Is(err, errFound):
		return nil, err
	case of == nil:
		return nil, refuse(http.StatusNotFound, "the decision %q cannot be judged: it is not recorded. Recordings need "+
			"tenants[].policy.record, and are kept for seven days at most", in.ID)
	}
	doc, err := policies.ParseDocument(of.Document)
	if err != nil { // its text may have values of the request
		return nil, refuse(http.StatusUnprocessableEntity, "the decision %q cannot be judged: its recording is damaged",
			in.ID)
	}
	j, err := h.opts.Policy.Explain(ctx, of.Profile, rules, doc)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	return Judged{nameOf(of), of.Final, j}, nil
}
