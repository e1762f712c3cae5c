package sidecar_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar"
)

// TestHeldDelete: the shipped rule holds the deletion in the applications. The SCIM answer, the lock and the free
// userName are as without it; status, evidence and the audit trail show that the deletion waits and what an operator
// decided.
func TestHeldDelete(t *testing.T) {
	c := newIDP(t)
	config := strings.Replace(base, "        subjects:", "        plugin: {manifest: manifest.json}\n        subjects:", 1)
	c.at(t, policyOf(t, config, "../examples/policies/hold", ""))
	c.r.untilBundle()
	bearer := c.token()
	user := c.create("/Users", bearer, aUser)
	if code := c.checks(http.MethodDelete, "/Users/"+user, bearer, ""); code != 0 {
		t.Errorf("the proxy refuses the DELETE: %d", code)
	}
	if status, _, text := c.scim(http.MethodDelete, "/Users/"+user, bearer, ""); status != 204 || text != "" {
		t.Fatalf("DELETE = %d %s, want 204", status, text)
	}
	if status, _, _ := c.scim(http.MethodGet, "/Users/"+user, bearer, ""); status != 404 {
		t.Errorf("GET of the deleted user = %d, want 404", status)
	}
	st := c.r.status()
	if n := len(st.Approvals); n != 1 || st.Approvals[0].User != user || st.Approvals[0].State != "held" ||
		st.Approvals[0].Rule != "policy/deletion" {
		t.Fatalf("status lists %+v, want the held deletion", st.Approvals)
	}
	if len(st.Leavers) != 1 || len(st.Leavers[0].Kinds) == 0 {
		t.Errorf("leavers %+v, want the revocation under way", st.Leavers)
	}
	if trail := c.r.trail(); !strings.Contains(trail, "deletion in app held by policy/deletion") {
		t.Errorf("the audit trail is %s, want the hold", trail)
	}
	ask := map[string]any{"who": "olga", "reason": "legal hold"}
	if status, detail := c.r.do("acme", "approvals/reject", map[string]any{"who": "olga"}, nil); status != 400 {
		t.Errorf("without a reason: %d %s, want 400", status, detail)
	}
	if status, detail := c.r.do("acme", "approvals/reject", map[string]any{"who": "nobody", "reason": "x"}, nil); status != 404 {
		t.Errorf("of nobody: %d %s, want 404", status, detail)
	}
	var done sidecar.ApprovalDecided
	c.r.must("approvals/reject", ask, &done)
	if len(done.Jobs) != 1 || done.Approved || done.Jobs[0].State != "closed" {
		t.Errorf("rejected: %+v", done)
	}
	if status, detail := c.r.do("acme", "approvals/approve", ask, nil); status != 409 || !strings.Contains(detail, "not approved") {
		t.Errorf("approving afterwards: %d %s, want 409", status, detail)
	}
	if left := c.r.status().Approvals; len(left) != 0 {
		t.Errorf("status lists %+v, want nothing", left)
	}
	if again := c.create("/Users", bearer, strings.Replace(aUser, "e1", "e2", 1)); again == user {
		t.Error("the new user has the id of the deleted one")
	}
	if trail := c.r.trail(); !strings.Contains(trail, `"action":"deletion.reject"`) || !strings.Contains(trail, "legal hold") {
		t.Errorf("the audit trail is %s, want the rejection and its reason", trail)
	}
}
