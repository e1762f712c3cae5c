package admin_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// post sends a change of acme and decodes the answer into out.
func (s *service) post(route, body string, out any) {
	s.t.Helper()
	w := s.do("POST", "/v1/tenants/acme/"+route, body, admin.HeaderOperator, "Zo%C3%AB")
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil || w.Code != 200 {
		s.t.Fatalf("%s %s: %d %s %v", route, body, w.Code, w.Body, err)
	}
}

func (s *service) locked(who subject.Subject) bool {
	s.t.Helper()
	l, ok := s.store.Locks().Lookup("acme", &who)
	return ok && l.State != store.LockLifted
}

// TestLockAndUnlock: when a lock is answered, it is in force and the streams of the tenant were cut.
// Status shows it with operator and reason until it is lifted.
func TestLockAndUnlock(t *testing.T) {
	s := newService(t)
	bob := s.create("bob")
	var got admin.Locked
	s.post("lock", `{"user":"BOB","reason":"laptop stolen","ttl_seconds":3600}`, &got)
	is := got.Name == "bob" && got.User == bob
	if !is || got.Streams != 3 || !slices.Equal(s.cut, []string{"acme"}) {
		t.Errorf("lock: %+v, cut %v; want bob's, and acme cut", got, s.cut)
	}
	if !s.locked(subject.Subject{UserName: "bob"}) || !s.locked(subject.Subject{SCIMID: bob}) {
		t.Error("bob is not locked after the answer")
	}
	until := s.now.Add(time.Hour).UTC()
	want := []admin.LockStatus{{
		Tenant: "acme", ID: got.ID, Name: "bob", User: bob, Since: got.Since, Until: &until, Operator: "op",
		Claimed: "Zoë", Reason: "laptop stolen",
	}}
	if d := cmp.Diff(want, s.status().Locks); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	var lifted admin.Unlocked
	s.post("unlock", `{"user":"bob","reason":"found"}`, &lifted)
	free := !lifted.StillLocked && !lifted.OldRefused && !s.locked(subject.Subject{SCIMID: bob})
	if len(lifted.Lifted) != 1 || !free || len(s.status().Locks) != 0 {
		t.Errorf("unlock: %+v, want bob's lock lifted", lifted)
	}
	s.post("lock", `{"user":"ada","reason":"r"}`, &got) // whom the identity service deactivated
	s.post("unlock", `{"user":"`+got.ID+`","reason":"r"}`, &lifted)
	if !lifted.StillLocked || !s.locked(subject.Subject{SCIMID: s.id}) {
		t.Errorf("unlock of a deactivated user: %+v, want still locked", lifted)
	}
	if strings.Contains(s.log.String(), "bob") || strings.Contains(s.log.String(), "stolen") {
		t.Errorf("the log has a name or a reason: %s", s.log)
	}
}

// TestLockStranger: a name that nobody has is locked, and revoke needs a user.
func TestLockStranger(t *testing.T) {
	s := newService(t)
	var got admin.Locked
	s.post("lock", `{"user":"Carl@corp.example","reason":"r"}`, &got)
	by := subject.Subject{Emails: []string{"carl@corp.example"}}
	if got.User != "" || got.Name != "carl@corp.example" || !s.locked(by) {
		t.Errorf("lock: %+v, want the name locked without a user", got)
	}
	id := s.create("carl@corp.example")
	if !s.locked(subject.Subject{SCIMID: id}) {
		t.Error("the user who got the name is not locked")
	}
	isProblem(t, s.do("POST", "/v1/tenants/acme/lock", `{"user":"nobody","reason":"r","revoke":true}`), 404, "lock without --revoke")
}

// TestLockRevokes: with revoke the jobs of an active user start, and the report names the operator.
func TestLockRevokes(t *testing.T) {
	s := newService(t)
	bob := s.create("bob")
	var got admin.Locked
	s.post("lock", `{"user":"bob","reason":"laptop stolen","revoke":true}`, &got)
	if got.Jobs == 0 || !got.Revoke {
		t.Errorf("lock: %+v, want jobs", got)
	}
	w := s.get("/v1/tenants/acme/evidence/" + bob)
	var rep struct {
		Offboardings []struct{ Event, Operator, Claimed, Reason string } `json:"offboardings"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &rep); err != nil || w.Code != 200 || len(rep.Offboardings) != 1 {
		t.Fatalf("evidence: %d %s %v", w.Code, w.Body, err)
	}
	o := rep.Offboardings[0]
	if d := cmp.Diff([]string{"user.locked", "op", "Zoë", "laptop stolen"}, []string{o.Event, o.Operator, o.Claimed, o.Reason}); d != "" {
		t.Errorf("offboarding (-want +got):\n%s", d)
	}
	page := s.get("/v1/tenants/acme/evidence/" + bob + "?format=html").Body.String()
	if !strings.Contains(page, "operator op") || !strings.Contains(page, "laptop stolen") {
		t.Errorf("the page does not name the operator: %s", page)
	}
	var lifted admin.Unlocked
	if s.post("unlock", `{"user":"bob","reason":"found"}`, &lifted); lifted.StillLocked || !lifted.OldRefused {
		t.Errorf("unlock: %+v, want the old credentials refused", lifted)
	}
}

// TestLockRefusals: what the operator must write differently is said.
func TestLockRefusals(t *testing.T) {
	s := newService(t)
	for name, tt := range map[string]struct {
		route, body string
		status      int
		detail      string
	}{
		"no reason":       {"lock", `{"user":"bob"}`, 400, "a reason is required"},
		"no user":         {"lock", `{"reason":"r"}`, 400, "user must be a SCIM id or a name"},
		"user of lines":   {"lock", `{"user":"a\nb","reason":"r"}`, 400, "one line"},
		"negative time":   {"lock", `{"user":"bob","reason":"r","ttl_seconds":-1}`, 400, "ttl must be"},
		"tiny time":       {"lock", `{"user":"bob","reason":"r","ttl_seconds":0.001}`, 400, "ttl must be"},
		"endless time":    {"lock", `{"user":"bob","reason":"r","ttl_seconds":1e300}`, 400, "ttl must be"},
		"unlock, nothing": {"unlock", `{"user":"ada","reason":"r"}`, 404, "no operator's lock holds"},
		"unlock, reason":  {"unlock", `{"user":"ada"}`, 400, "a reason is required"},
	} {
		t.Run(name, func(t *testing.T) {
			isProblem(t, s.do("POST", "/v1/tenants/acme/"+tt.route, tt.body), tt.status, tt.detail)
		})
	}
	if n := len(s.store.Locks().Operator("acme")); n != 0 {
		t.Errorf("%d locks after refusals, want none", n)
	}
	var l store.OperatorLock
	for n, err := 0, error(nil); err == nil; n++ { // spellings of one stranger
		spelling := []byte("mallory")
		for i := range spelling {
			spelling[i] -= byte(n>>i&1) * ('a' - 'A')
		}
		cause := store.Cause{Actor: "operator:op", Action: "operator.lock", Decision: "d", RequestID: "r", Reason: "r"}
		if l, err = s.store.LockByOperator(t.Context(), "acme", cause, string(spelling), time.Time{}, false); err != nil {
			if !errors.As(err, new(*store.ManyNamesError)) {
				t.Fatal(err)
			}
			isProblem(t, s.do("POST", "/v1/tenants/acme/lock", `{"user":"`+string(spelling)+`","reason":"r"}`), 409,
				"give "+s.store.Locks().Operator("acme")[0].ID+" instead of a name")
		}
	}
	if l.ID != "" {
		t.Errorf("a refused lock returned %+v", l)
	}
	s.peer = admin.Judge(4711, 0)
	isProblem(t, s.do("POST", "/v1/tenants/acme/lock", `{"user":"bob","reason":"r"}`), 403, "not for uid:4711")
}
