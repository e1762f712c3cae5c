package recent_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/recent"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// kit is a store with a clock, and Changes that follow it.
type kit struct {
	*testing.T
	at      atomic.Int64 // Unix nanoseconds
	store   *store.Store
	changes *recent.Changes
	n       int
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{T: t}
	k.at.Store(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC).UnixNano())
	k.store = storetest.Open(t, func(o *store.Options) { o.Now = k.now })
	k.changes = k.follow()
	if err := k.changes.Load(t.Context(), k.store, []string{"acme"}); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kit) now() time.Time { return time.Unix(0, k.at.Load()) }

func (k *kit) pass(d time.Duration) { k.at.Add(int64(d)) }

// follow returns Changes that get what happens from now on.
func (k *kit) follow() *recent.Changes {
	c := recent.New(k.now)
	k.Cleanup(k.store.Watch(c.Apply))
	return c
}

// do makes a change of acme.
func (k *kit) do(method string, fn func(tx *store.Tx) error) {
	k.Helper()
	k.n++
	cause := storetest.Cause("test")
	cause.Method, cause.RequestID = method, strconv.Itoa(k.n)
	if _, err := k.store.Update(k.Context(), "acme", cause, fn); err != nil {
		k.Fatal(err)
	}
}

func (k *kit) user(name string, active bool) string {
	k.Helper()
	u := store.User{Resource: scim.Object{"userName": name, "active": active}}
	k.do("POST", func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(&u) })
	return u.ID
}

func (k *kit) change(id string, to scim.Object) {
	k.Helper()
	k.do("PATCH", func(tx *store.Tx) error {
		_, err := tx.UpdateUser(&store.User{ID: id, Resource: to})
		return err
	})
}

// story makes each kind of change, some of which count as nothing.
func (k *kit) story() {
	k.Helper()
	id, other := k.user("ada", true), k.user("bob", true)
	k.user("inactive", false)                              // created, not deactivated
	k.change(id, scim.Object{"userName": "ada", "x": "y"}) // counts as nothing
	k.change(id, scim.Object{"userName": "ada", "active": false})
	k.change(id, scim.Object{"userName": "ada2", "active": false}) // a lock that follows a name
	k.change(id, scim.Object{"userName": "ada2", "active": true})
	k.change(id, scim.Object{"userName": "ada2", "active": false})
	k.do("DELETE", func(tx *store.Tx) error { return tx.DeleteUser(other) })
	g := store.Group{Resource: scim.Object{"displayName": "staff"}}
	k.do("POST", func(tx *store.Tx) error { g.ID = ""; return tx.CreateGroup(&g, nil) })
	k.do("PATCH", func(tx *store.Tx) error {
		_, err := tx.AddMembers(g.ID, []store.Member{{ID: id, Type: "User"}})
		return err
	})
}

func (k *kit) want(c *recent.Changes, creates, deactivations, deletions, groupChanges policies.Recent) {
	k.Helper()
	want := policies.Counts{
		Creates: creates, Deactivations: deactivations, Deletions: deletions, GroupChanges: groupChanges, Complete: true,
	}
	if diff := cmp.Diff(want, c.Of("acme")); diff != "" {
		k.Errorf("counts (-want +got):\n%s", diff)
	}
}

func all(n int) policies.Recent { return policies.Recent{Minute: n, TenMinutes: n, Hour: n} }

// TestWindows: a change is counted for as long as the window says, and one step more at most.
func TestWindows(t *testing.T) {
	k := newKit(t)
	k.story()
	k.want(k.changes, all(3), all(2), all(1), all(2))
	ten, hour := func(n int) policies.Recent { return policies.Recent{TenMinutes: n, Hour: n} },
		func(n int) policies.Recent { return policies.Recent{Hour: n} }
	passed := time.Duration(0)
	for _, step := range []struct {
		after time.Duration
		of    func(int) policies.Recent
	}{
		{60 * time.Second, all},
		{65 * time.Second, ten},
		{10 * time.Minute, ten},
		{11 * time.Minute, hour},
		{60 * time.Minute, hour},
		{61 * time.Minute, func(int) policies.Recent { return policies.Recent{} }},
	} {
		k.pass(step.after - passed)
		passed = step.after
		k.want(k.changes, step.of(3), step.of(2), step.of(1), step.of(2))
	}
	if got := k.changes.Of("globex"); got != (policies.Counts{Complete: true}) {
		t.Errorf("another tenant: %+v", got)
	}
}

// TestLaterTenant: the counts of a tenant that comes with a reload are incomplete until its last hour is read.
func TestLaterTenant(t *testing.T) {
	k := newKit(t)
	k.user("ada", true)
	again := k.follow()
	if err := again.Load(t.Context(), k.store, []string{"globex"}); err != nil {
		t.Fatal(err)
	}
	k.user("bob", true)
	if got := again.Of("acme"); got.Complete || got.Creates != all(1) {
		t.Errorf("before it is read: %+v, want one user and incomplete", got)
	}
	if err := again.Load(t.Context(), k.store, []string{"globex", "acme"}); err != nil {
		t.Fatal(err)
	}
	none := policies.Recent{}
	k.want(again, all(2), none, none, none)
}

// busy is a store in which somebody makes a change before and after Load reads it.
type busy struct {
	*kit
	seen []store.Change
}

func (b *busy) RecentChanges(
	ctx context.Context, tenant string, since time.Time, limit int, fn func(store.Change, time.Time),
) (time.Time, store.Seq, error) {
	b.user("before", true)
	from, read, err := b.store.RecentChanges(ctx, tenant, since, limit, fn)
	b.user("after", true)
	return from, read, err
}

// TestChangesDuringLoad: a change commits while Load reads the store, and counts once, also when Apply gets it after
// Load.
func TestChangesDuringLoad(t *testing.T) {
	k := newKit(t)
	again := k.follow()
	b := &busy{kit: k}
	t.Cleanup(k.store.Watch(func(ch store.Change) { b.seen = append(b.seen, ch) }))
	if err := again.Load(t.Context(), b, []string{"acme"}); err != nil {
		t.Fatal(err)
	}
	none := policies.Recent{}
	k.want(again, all(2), none, none, none)
	k.want(k.changes, all(2), none, none, none)
	again.Apply(b.seen[0])
	k.want(again, all(2), none, none, none)
}

// TestRestart: after a restart the counts are those from before it, and nothing counts twice.
func TestRestart(t *testing.T) {
	k := newKit(t)
	k.user("old", true)
	k.pass(2 * time.Hour)
	k.story()
	k.pass(5 * time.Minute)
	again := k.follow()
	k.user("early", true) // Apply gets it before Load
	if got := again.Of("acme"); got.Complete {
		t.Errorf("before Load: %+v, want incomplete", got)
	}
	if err := again.Load(t.Context(), k.store, []string{"acme", "globex"}); err != nil {
		t.Fatal(err)
	}
	k.user("late", true)
	for _, c := range []*recent.Changes{k.changes, again} {
		k.want(c, policies.Recent{Minute: 2, TenMinutes: 5, Hour: 5}, policies.Recent{TenMinutes: 2, Hour: 2},
			policies.Recent{TenMinutes: 1, Hour: 1}, policies.Recent{TenMinutes: 2, Hour: 2})
	}
}

// TestUnreadable: where the store cannot be read the counts say that they are incomplete, for an hour.
func TestUnreadable(t *testing.T) {
	k := newKit(t)
	c := k.follow()
	closed := storetest.New(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(t.Context(), closed, []string{"acme"}); err == nil {
		t.Fatal("a closed store is read")
	}
	k.user("ada", true)
	if got := c.Of("acme"); got.Complete || got.Creates != all(1) {
		t.Errorf("got %+v, want one user and incomplete", got)
	}
	k.pass(time.Hour)
	if got := c.Of("acme"); !got.Complete {
		t.Errorf("an hour later: %+v, want complete", got)
	}
}
