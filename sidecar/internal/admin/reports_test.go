package admin_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// TestLeavers: the list has the offboardings of a period, or those with work left.
func TestLeavers(t *testing.T) {
	s := newService(t)
	gone := s.create("bob")
	s.update(func(tx *store.Tx) error { return tx.DeleteUser(gone) })
	s.update(func(tx *store.Tx) error {
		o, err := tx.Offboarding(gone, 1)
		if err != nil {
			return err
		}
		o.SettledAt = tx.Now()
		return tx.SaveOffboarding(&o)
	})
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	for query, want := range map[string]string{
		"": "ada bob", "open=1": "ada", "since=" + url.QueryEscape(tomorrow.Format(time.RFC3339)): "",
		"until=" + url.QueryEscape(yesterday.Format(time.RFC3339)): "",
		"since=" + url.QueryEscape(yesterday.Format(time.RFC3339)): "ada bob",
	} {
		var list admin.LeaverList
		w := s.get("/v1/tenants/acme/leavers?" + query)
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != 200 || !list.Complete {
			t.Fatalf("%s: %d %s %v", query, w.Code, w.Body, err)
		}
		var names []string
		for _, l := range list.Leavers {
			names = append(names, l.UserName)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	isProblem(t, s.get("/v1/tenants/acme/leavers?since=soon"), 400, "since must be a time")
	isProblem(t, s.get("/v1/tenants/none/leavers"), 404, "one of acme, globex")
	isProblem(t, s.get("/v1/tenants/none/audit"), 404, "one of acme, globex")
}

// TestTrail: the whole trail verifies and shows every change to it; the part about a user has the
// operator's acts too.
func TestTrail(t *testing.T) {
	s := newService(t)
	s.post("lock", `{"user":"ada","reason":"laptop stolen"}`, &admin.Locked{})
	whole := s.get("/v1/tenants/acme/audit").Body.String()
	end, err := revoke.VerifyTrail(strings.NewReader(whole))
	if err != nil || end.Tenant != "acme" || int(end.Records) != strings.Count(whole, "\n") {
		t.Fatalf("%+v %v, want the whole chain", end, err)
	}
	lines := strings.SplitAfter(whole, "\n")
	for name, text := range map[string]string{
		"changed":      strings.Replace(whole, "laptop stolen", "laptop found", 1),
		"one missing":  lines[0] + strings.Join(lines[2:], ""),
		"exchanged":    lines[1] + lines[0] + strings.Join(lines[2:], ""),
		"first gone":   strings.Join(lines[1:], ""),
		"unknown text": whole + "{}\n",
	} {
		if _, err := revoke.VerifyTrail(strings.NewReader(text)); err == nil {
			t.Errorf("%s: valid, want an error", name)
		}
	}
	for _, who := range []string{"ada", s.id} {
		part := s.get("/v1/tenants/acme/audit?user=" + who).Body.String()
		if !strings.Contains(part, `"action":"operator.lock"`) || !strings.Contains(part, `"reason":"laptop stolen"`) {
			t.Errorf("%s: %s, want the lock with its reason", who, part)
		}
	}
	isProblem(t, s.get("/v1/tenants/acme/audit?user=nobody"), 404, "no record under this id or name")
}
