package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestTableOfCores: the rows of cores come with every heartbeat and go by the core's own record or, while its
// newest heartbeat is the one that was seen, by another's. Both stores are told of each change once.
func TestTableOfCores(t *testing.T) {
	shared := storetest.SharedLog(t)
	open := func() *store.Store { return storetest.Open(t, func(o *store.Options) { o.Shared = shared }) }
	one, other := open(), open()
	var told []store.CoreChange
	defer other.WatchApplied(func(a store.Applied) {
		if a.Restricts {
			t.Errorf("record %d restricts somebody", a.Seq)
		}
		told = append(told, a.Cores...)
	})()
	must := func(seq store.Seq, err error) store.Seq {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	a, b := store.Core{ID: "a1", Name: "a", Number: 1}, store.Core{ID: "b1", Name: "b", Number: 7}
	a.Heartbeat = must(one.HeartbeatCore(t.Context(), a))
	b.Heartbeat = must(other.HeartbeatCore(t.Context(), b))
	first := b
	must(one.RemoveCore(t.Context(), "b1", b.Heartbeat-1)) // not its newest heartbeat
	must(one.LeaveCore(t.Context(), "unknown"))
	b.Number++
	b.Heartbeat = must(other.HeartbeatCore(t.Context(), store.Core{ID: "b1", Name: "b", Number: 8}))
	must(one.Barrier(t.Context()))
	for _, s := range []*store.Store{one, other} {
		at, cores, err := s.Cores(t.Context())
		if diff := cmp.Diff([]store.Core{a, b}, cores); err != nil || diff != "" || at < b.Heartbeat {
			t.Errorf("Cores at %d: %v (-want +got):\n%s", at, err, diff)
		}
	}
	must(other.RemoveCore(t.Context(), "a1", a.Heartbeat))
	must(other.LeaveCore(t.Context(), "b1"))
	if _, cores, err := other.Cores(t.Context()); err != nil || len(cores) > 0 {
		t.Errorf("Cores = %v, %v, want none", cores, err)
	}
	want := []store.CoreChange{
		{Type: store.CoreHeartbeat, Core: a},
		{Type: store.CoreHeartbeat, Core: first},
		{Type: store.CoreHeartbeat, Core: b},
		{Type: store.CoreRemoved, Core: store.Core{ID: "a1", Heartbeat: a.Heartbeat}},
		{Type: store.CoreLeft, Core: store.Core{ID: "b1"}},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	verify(t, other)
}

// TestRestrictionIsToldFirst: who waits for restrictions hears of a lock when it is in the lock table, and before a
// reader sees that the user is inactive.
func TestRestrictionIsToldFirst(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "grace")
	told := 0
	defer s.WatchApplied(func(a store.Applied) {
		told++
		if diff := cmp.Diff([]string{"acme"}, a.Locked); !a.Restricts || diff != "" {
			t.Errorf("%+v, want one that restricts acme", a)
		}
		if _, locked := s.Locks().InForce("acme", id); !locked {
			t.Error("the lock is not in force")
		}
		view(t, s, "acme", func(r *store.Reader) error {
			u, err := r.User(id)
			if u.Resource["active"] != true || s.Health().Applied >= a.Seq {
				t.Error("a reader sees the deactivation already")
			}
			return err
		})
	})()
	update(t, s, "acme", setActive(false, id))
	update(t, s, "acme", func(tx *store.Tx) error { return tx.CreateUser(user("bob")) })
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}

// TestRestrictionsComeBefore: whoever keeps restrictions in memory gets each kind before it is told that they are in
// force here, and before a reader sees them.
func TestRestrictionsComeBefore(t *testing.T) {
	s := storetest.New(t)
	var got []store.ChangeType
	defer s.WatchRestrictions(func(c store.Change) {
		got = append(got, c.Type)
		if s.Health().Applied >= c.Seq {
			t.Errorf("a reader sees %s first", c.Type)
		}
	})()
	told := 0
	defer s.WatchApplied(func(a store.Applied) { told = len(got) })()
	for _, change := range []struct {
		want store.ChangeType
		fn   func(*store.Tx) error
	}{
		{store.ChangeKey, func(tx *store.Tx) error { return tx.PutKey(store.Key{ID: "k", Use: "u", JWK: []byte("{}")}) }},
		{store.ChangeKey, func(tx *store.Tx) error { return tx.DeleteKey("k") }},
		{store.ChangeToken, func(tx *store.Tx) error { tx.RevokeToken("j", tx.Now().Add(time.Hour)); return nil }},
		{store.ChangePause, func(tx *store.Tx) error { return tx.SetPaused(true) }},
		{store.ChangeClient, func(tx *store.Tx) error {
			return tx.AddClient(store.Client{ID: "c", JWKS: []byte("{}")})
		}},
	} {
		got, told = nil, 0
		update(t, s, "acme", change.fn)
		if !slices.Equal(got, []store.ChangeType{change.want}) || told != 1 {
			t.Errorf("restrictions %v, %d of them before it was told; want %s", got, told, change.want)
		}
	}
}
