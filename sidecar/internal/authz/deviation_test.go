package authz_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestDeviationsOnDecision: every decision lists the deviations of its request, whether it
// allows or denies, by policy or by decoder.
func TestDeviationsOnDecision(t *testing.T) {
	ops := func(list ...string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + strings.Join(list, ",") + `]}`
	}
	patchUser := func(b string) request.Request { return scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, b)) }
	const cased = `{"op":"Replace","path":"active","value":false}`
	refuse := policies.Verdict{Revision: "p@1", Violations: []policies.Violation{
		{Rule: "R", Op: 0, Message: "m", Mode: policies.ModeEnforce, Status: 400},
	}}
	for _, row := range []struct {
		name    string
		req     request.Request
		verdict *policies.Verdict // nil allows
		reason  string
		want    []string
	}{
		{"none", patchUser(patch), nil, authz.ReasonAllowed, nil},
		{"read", scimReq("GET", "/scim/v2/Users/u1"), nil, authz.ReasonAllowed, nil},
		{"allowed", patchUser(ops(cased)), nil, authz.ReasonAllowed, []string{"OP_CASE"}},
		{"each once, in order", patchUser(ops(`{"op":"replace","value":{"active":false}}`, cased, cased)), nil, authz.ReasonAllowed, []string{"PATHLESS", "OP_CASE"}},
		{"of a body", scimReq("POST", "/scim/v2/Users", body(scimJSON, strings.Replace(user, "userName", "USERNAME", 1))), nil, authz.ReasonAllowed, []string{"PATH_CASE"}},
		{"refused by the policy", patchUser(ops(cased)), &refuse, authz.ReasonPolicy, []string{"OP_CASE"}},
		{"refused by a failing policy", patchUser(ops(cased)), &policies.Verdict{Failure: "x"}, authz.ReasonEngine, []string{"OP_CASE"}},
		{"refused by the decoder", patchUser(ops(cased, `{"op":"replace","path":"nothing.here","value":1}`)), nil, request.ReasonBody, []string{"OP_CASE", "UNKNOWN_DROPPED"}},
		{"not authenticated", scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, ops(cased)), header("authorization")), nil, authz.ReasonNoToken, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newKit(t)
			if row.verdict != nil {
				k.policy.verdict = *row.verdict
			}
			d := k.Decide(t.Context(), row.req)
			if d.Reason != row.reason {
				t.Errorf("reason %s (%s), want %s", d.Reason, d.Detail, row.reason)
			}
			if diff := cmp.Diff(row.want, d.Deviations); diff != "" {
				t.Error(diff)
			}
		})
	}
	many := strings.Repeat(cased+",", 999) + cased
	if d := newKit(t).Decide(t.Context(), patchUser(ops(many))); len(d.Deviations) != 1 {
		t.Errorf("a thousand operations make %d codes", len(d.Deviations))
	}
}
