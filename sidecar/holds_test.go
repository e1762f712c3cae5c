package sidecar_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// brakeDir copies the shipped brake with other limits.
func brakeDir(t *testing.T, data string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../examples/policies/brake")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "policy/brake_test.rego")); err != nil { // of the shipped limits
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"policy/brake/data.json":  data,
		"policy/limits_test.rego": "package policy.test\n\nimport data.policy\n\ntest_limits if policy.brake.limits\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestBrake: over its limits, the shipped brake refuses creates, lets deletions in the applications wait, and refuses
// no request that ends access. With stop_deactivations it does, and status lists who is still in.
func TestBrake(t *testing.T) {
	const limits = `"window":"60m","limits":{"creates":{"count":4,"percent":10000,"least":4},
		"deletions":{"count":1,"percent":100,"least":9},"deactivations":{"count":1,"percent":100,"least":9}}`
	app := strings.Replace(base, "        subjects:", "        plugin: {manifest: manifest.json}\n        subjects:", 1)
	for stop, want := range map[string]int{"false": 200, "true": 403} {
		t.Run("stop_deactivations "+stop, func(t *testing.T) {
			dir := brakeDir(t, "{"+limits+`,"stop_deactivations":`+stop+"}")
			c := newIDP(t).at(t, policyOf(t, app, dir, ""))
			c.r.untilBundle()
			bearer := c.token()
			var users []string
			named := func(n string) string { return strings.NewReplacer("olga", "u"+n, "e1", "x"+n).Replace(aUser) }
			for _, n := range []string{"1", "2", "3", "4"} {
				users = append(users, c.create("/Users", bearer, named(n)))
			}
			status, _, text := c.scim("POST", "/Users", bearer, named("5"))
			if status != 403 || !strings.Contains(text, "too many changes in 60m: creates") {
				t.Errorf("the fifth create = %d %s, want 403", status, text)
			}
			off := patchOf(`{"op":"replace","path":"active","value":false}`)
			if status, _, text := c.scim("PATCH", "/Users/"+users[0], bearer, off); status != 200 {
				t.Fatalf("the first deactivation = %d %s", status, text)
			}
			if status, _, text := c.scim("PATCH", "/Users/"+users[1], bearer, off); status != want {
				t.Errorf("the second deactivation = %d %s, want %d", status, text, want)
			}
			for _, user := range users[2:] {
				if status, _, text := c.scim("DELETE", "/Users/"+user, bearer, ""); status != 204 && stop == "false" {
					t.Errorf("DELETE = %d %s, want 204", status, text)
				}
			}
			st := c.r.status()
			if stop == "false" {
				if len(st.Refused) != 0 || len(st.Approvals) != 1 || st.Approvals[0].User != users[3] {
					t.Errorf("refused %+v, held %+v; want the second deletion held", st.Refused, st.Approvals)
				}
				return
			}
			still := map[string]bool{}
			for _, f := range st.Refused {
				still[f.User] = true
			}
			if !still[users[1]] || !still[users[3]] || len(still) != 2 {
				t.Errorf("refused %+v, want the second deactivation and the second deletion", st.Refused)
			}
		})
	}
}

// TestBrakeUnderConcurrency: several clients deactivate at once. At most one request of each other client passes beyond
// the limit. Whoever was refused is active and in status, and afterwards nobody passes.
func TestBrakeUnderConcurrency(t *testing.T) {
	const limit, clients, users = 4, 4, 24
	dir := brakeDir(t, fmt.Sprintf(`{"window":"60m","limits":{"creates":{"count":1000,"percent":10000,"least":1000},
		"deletions":{"count":1000,"percent":10000,"least":1000},"deactivations":{"count":%d,"percent":10000,"least":1000}},
		"stop_deactivations":true}`, limit))
	c := newIDP(t).at(t, policyOf(t, base, dir, ""))
	c.r.untilBundle()
	bearer := c.token()
	todo := make(chan string, users)
	for n := range users {
		id := fmt.Sprint("u", n)
		todo <- c.create("/Users", bearer, strings.NewReplacer("olga", id, "e1", "x"+id).Replace(aUser))
	}
	close(todo)
	off := patchOf(`{"op":"replace","path":"active","value":false}`)
	var mu sync.Mutex
	answers := map[int][]string{}
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for id := range todo {
				status, _, _ := c.scim("PATCH", "/Users/"+id, bearer, off)
				mu.Lock()
				answers[status] = append(answers[status], id)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	passed, refused := answers[200], answers[403]
	if len(passed) < limit || len(passed) > limit+clients-1 || len(passed)+len(refused) != users {
		t.Fatalf("%d passed and %d were refused of %d, want %d to %d and the rest: %v", len(passed), len(refused), users,
			limit, limit+clients-1, answers)
	}
	still := map[string]bool{}
	for _, f := range c.r.status().Refused {
		still[f.User] = true
	}
	for _, id := range refused {
		if _, _, text := c.scim("GET", "/Users/"+id, bearer, ""); !strings.Contains(text, `"active":true`) || !still[id] {
			t.Errorf("%s was refused and is %s, in status %t", id, text, still[id])
		}
	}
	if status, _, text := c.scim("PATCH", "/Users/"+refused[0], bearer, off); status != 403 {
		t.Errorf("afterwards = %d %s, want 403", status, text)
	}
}
