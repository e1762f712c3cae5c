package extauthz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestDecisionID: the id of a decision is in the metadata of every answer, for Envoy's access log, and in the header
// of a refusal.
func TestDecisionID(t *testing.T) {
	id := func(d *authz.Decision) { d.ID = "d-1" }
	for name, d := range map[string]authz.Decision{
		"an application": allowed(t, request.SurfaceApp, id), "SCIM": allowed(t, request.SurfaceSCIM, id),
		"refused": {ID: "d-1", Surface: request.SurfaceSCIM, Status: 403, Reason: authz.ReasonPolicy},
		"a fault": {ID: "d-1", Surface: request.SurfaceApp},
	} {
		k := newKit(t)
		k.decider.answer = d
		out := k.check(t, checkRequest(string(d.Surface), "GET", "/"))
		if got := out.GetDynamicMetadata().AsMap()["scimward_decision"]; got != "d-1" {
			t.Errorf("%s: the metadata says %v", name, got)
		}
		found := false
		for _, h := range append(out.GetDeniedResponse().GetHeaders(), out.GetErrorResponse().GetHeaders()...) {
			found = found || h.GetHeader().GetKey() == "scimward-decision" && h.GetHeader().GetValue() == "d-1"
		}
		if found == d.Allowed() {
			t.Errorf("%s: the answer has the header: %t", name, found)
		}
	}
}
