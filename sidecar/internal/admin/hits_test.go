package admin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/admin"
)

// TestUsesOfLocks: status counts the requests that each lock refused, the last first, and those of an
// operator's lock also beside the lock. What is remembered is bounded.
func TestUsesOfLocks(t *testing.T) {
	s := newService(t)
	bob := s.create("bob")
	var lock admin.Locked
	s.post("lock", `{"user":"bob","reason":"r"}`, &lock)
	at := func(sec int) time.Time { return time.Date(2026, 3, 1, 9, 0, sec, 0, time.UTC) }
	for i, u := range []admin.LockUse{
		{Tenant: "acme", Kind: "deactivated", User: s.id, Epoch: 1, App: "wiki"},
		{Tenant: "acme", Kind: "operator", User: bob, Lock: lock.ID, App: "wiki"},
		{Tenant: "acme", Kind: "deactivated", User: s.id, Epoch: 1, App: "mail"},
	} {
		u.First, u.Last = at(i), at(i)
		s.hits.Add(u)
	}
	st := s.status()
	want := []admin.LockUse{
		{Tenant: "acme", Kind: "deactivated", User: s.id, Epoch: 1, App: "mail", Hits: 2, First: at(0), Last: at(2)},
		{Tenant: "acme", Kind: "operator", User: bob, Lock: lock.ID, App: "wiki", Hits: 1, First: at(1), Last: at(1)},
	}
	if d := cmp.Diff(want, st.Used); d != "" {
		t.Errorf("uses (-want +got):\n%s", d)
	}
	if l := st.Locks[0]; l.Hits != 1 || l.LastHit == nil || !l.LastHit.Equal(at(1)) {
		t.Errorf("lock %+v, want one hit", l)
	}
	for i := range 10100 {
		s.hits.Add(admin.LockUse{Tenant: "acme", User: fmt.Sprint(i), Last: at(3)})
	}
	if st = s.status(); len(st.Used) != 20 || st.MoreUsed != 9980 {
		t.Errorf("%d uses and %d more, want 20 and 9980", len(st.Used), st.MoreUsed)
	}
}
