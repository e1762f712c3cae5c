package admin_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/store"
)

// TestChangeWaitsForTheOthers: a change is answered when every process has it in force. When that cannot be learned,
// the answer is 503 and says so, also of a repeated command that is refused. A lock says whom it locks.
func TestChangeWaitsForTheOthers(t *testing.T) {
	s := newService(t)
	bob := s.create("bob")
	var fault error
	var locked []store.Locked
	asked := 0
	s.options.Confirm = func(_ context.Context, tenant, request string, l []store.Locked) error {
		if asked++; tenant != "acme" || request == "" {
			t.Errorf("asked for request %q of tenant %q", request, tenant)
		}
		locked = append(locked, l...)
		return fault
	}
	s.withKeys(nil)
	var got admin.Locked
	s.post("lock", `{"user":"bob","reason":"r","revoke":true}`, &got)
	s.post("lock", `{"user":"nobody","reason":"r"}`, &got)
	want := []store.Locked{{Resource: bob, Epoch: 1}, {Resource: store.NameDigest("acme", "nobody")}}
	if !slices.Equal(locked, want) || asked != 2 {
		t.Errorf("asked %d times for the locks %+v, want twice, %+v", asked, locked, want)
	}
	fault = errors.New("core-2 does not answer")
	for _, route := range []string{"lock", "unlock"} {
		w := s.do("POST", "/v1/tenants/acme/"+route, `{"user":"bob","reason":"r"}`)
		isProblem(t, w, 503, "the answer of this core is not sent, and a change is made here: core-2 does not answer; "+
			"repeat the command to wait again")
	}
	w := s.do("POST", "/v1/tenants/acme/unlock", `{"user":"bob","reason":"r"}`) // it is lifted already
	if w.Code != 503 || asked != 5 {
		t.Errorf("a refusal: %d, asked %d times, want 503 and 5 times", w.Code, asked)
	}
	if w := s.get("/v1/status"); w.Code != 200 || asked != 5 {
		t.Errorf("a read: %d, asked %d times, want 200 without a question", w.Code, asked)
	}
}
