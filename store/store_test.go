package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// TestConformance: every way of opening a store passes the conformance kit.
func TestConformance(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.Store {
			t.Helper()
			return storetest.Open(t, func(o *store.Options) { o.InMemory = true })
		}, nil)
	})
	t.Run("on disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.Store {
			t.Helper()
			return storetest.New(t)
		}, nil)
	})
	t.Run("on disk, reopened", func(t *testing.T) {
		var dir string
		storetest.Run(t, func(t *testing.T) *store.Store {
			t.Helper()
			dir = t.TempDir()
			return storetest.Open(t, func(o *store.Options) { o.Dir = dir })
		}, func(t *testing.T, s *store.Store) *store.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return storetest.Open(t, func(o *store.Options) { o.Dir = dir })
		})
	})
}

// TestConformanceOfSharedLog: a store of a shared log passes the kit, whoever of two stores is asked at the end, and
// so does one that opens its copy again.
func TestConformanceOfSharedLog(t *testing.T) {
	var shared log.Shared
	var dir string
	open := func(t *testing.T) *store.Store {
		t.Helper()
		shared, dir = storetest.SharedLog(t), t.TempDir()
		return storetest.Open(t, func(o *store.Options) { o.Dir, o.Shared = dir, shared })
	}
	t.Run("another store", func(t *testing.T) {
		storetest.Run(t, open, func(t *testing.T, _ *store.Store) *store.Store {
			t.Helper()
			return storetest.Open(t, func(o *store.Options) { o.Shared = shared })
		})
	})
	t.Run("reopened", func(t *testing.T) {
		storetest.Run(t, open, func(t *testing.T, s *store.Store) *store.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return storetest.Open(t, func(o *store.Options) { o.Dir, o.Shared = dir, shared })
		})
	})
}

// TestStoresOfOneLog: what one store acknowledged, another has after a barrier, with the same
// versions: the user, the lock in its table, and the change for its watchers.
func TestStoresOfOneLog(t *testing.T) {
	shared := storetest.SharedLog(t)
	open := func() *store.Store {
		return storetest.Open(t, func(o *store.Options) { o.Shared = shared })
	}
	one, other := open(), open()
	watched := make(chan store.Change, 16)
	defer other.Watch(func(c store.Change) { watched <- c })()
	id := create(t, one, "acme", "grace")
	seq := update(t, one, "acme", setActive(false, id))
	if at, err := other.Barrier(t.Context()); err != nil || at < seq {
		t.Fatalf("Barrier = %d, %v, want at least %d", at, err, seq)
	}
	view(t, other, "acme", func(r *store.Reader) error {
		u, err := r.User(id)
		if u.Version != seq {
			t.Errorf("the other store has version %d of the user, want %d", u.Version, seq)
		}
		return err
	})
	if l, ok := lookup(other, subject.Subject{UserName: "grace"}); !ok || !refusesAll(l) || l.Version != seq {
		t.Errorf("the other store has the lock %+v, %t, want one of version %d", l, ok, seq)
	}
	for c := range watched {
		if c.Seq == seq {
			break
		}
	}
	var taken *store.UniquenessError
	if err := try(other, func(tx *store.Tx) error { return tx.CreateUser(user("GRACE")) }); !errors.As(err, &taken) {
		t.Errorf("creating grace again at the other store = %v, want a UniquenessError", err)
	}
	verify(t, other)
}

// TestClosedStoreAnswersClosed: every call of a closed store returns ErrClosed.
func TestClosedStoreAnswersClosed(t *testing.T) {
	o := storetest.Options()
	o.InMemory = true
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"view":    s.View(t.Context(), "acme", func(*store.Reader) error { return nil }),
		"changes": s.Changes(t.Context(), 1, func(store.Change) error { return nil }),
		"sweep":   s.Sweep(t.Context()),
		"health":  s.Health().Err,
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s of a closed store = %v, want ErrClosed", name, err)
		}
	}
	if err := try(s, func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("update of a closed store = %v, want ErrClosed", err)
	}
}

// TestEndedContextIsHonoured: View and Update return the error of an ended context.
func TestEndedContextIsHonoured(t *testing.T) {
	s := storetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.View(ctx, "acme", func(*store.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v, want context.Canceled", err)
	}
	_, err := s.Update(ctx, "acme", storetest.Cause("x"), func(*store.Tx) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want context.Canceled", err)
	}
}

// TestTrimmedLog: a sweep keeps the newest KeepRecords records, and earlier reads get ErrTrimmed.
func TestTrimmedLog(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.KeepRecords = 5 })
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		create(t, s, "acme", n)
	}
	before, err := s.Log().Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sweep(t, s)
	want := log.Bounds{First: 5, Last: 9, ID: before.ID}
	if got, err := s.Log().Bounds(t.Context()); err != nil || got != want {
		t.Errorf("Bounds = %+v, %v, want %+v", got, err, want)
	}
	nothing := func(store.Change) error { return nil }
	if err := s.Changes(t.Context(), 1, nothing); !errors.Is(err, log.ErrTrimmed) {
		t.Errorf("Changes from 1 = %v, want ErrTrimmed", err)
	}
	if err := s.Changes(t.Context(), want.First, nothing); err != nil {
		t.Errorf("Changes from %d = %v, want no error", want.First, err)
	}
	if err := s.Log().Tail(t.Context(), 1, func(log.Seq, []byte) error { return nil }); !errors.Is(err, log.ErrTrimmed) {
		t.Errorf("Tail from 1 = %v, want ErrTrimmed", err)
	}
	verify(t, s)
}

// TestMetricsAreRegistered: a store registers its five metrics.
func TestMetricsAreRegistered(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := storetest.Open(t, func(o *store.Options) { o.Metrics = reg })
	create(t, s, "acme", "a")
	families, err := reg.Gather()
	if err != nil || len(families) != 5 {
		t.Errorf("Gather returned %d families, %v, want 5", len(families), err)
	}
}

// TestOpenRefuses: Open refuses invalid options.
func TestOpenRefuses(t *testing.T) {
	for name, o := range map[string]store.Options{
		"no directory": {}, "empty tenant": {InMemory: true, Tenants: map[string]store.TenantOptions{"": {}}},
		"long tenant": {InMemory: true, Tenants: map[string]store.TenantOptions{string(make([]byte, 300)): {}}},
	} {
		if s, err := store.Open(t.Context(), o); err == nil {
			t.Errorf("%s: Open succeeded, want an error", name)
			_ = s.Close()
		}
	}
}

// TestFormerUser: a deleted user is found by the former name.
func TestFormerUser(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "xena")
	former := func(name string) (id string, err error) {
		view(t, s, "acme", func(r *store.Reader) error { id, err = r.FormerUser(name); return nil })
		return id, err
	}
	for _, name := range []string{"xena", "", "two words"} {
		if got, err := former(name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("FormerUser(%q) = %q, %v, want ErrNotFound", name, got, err)
		}
	}
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	if got, err := former("XENA"); err != nil || got != id {
		t.Errorf("FormerUser(%q) = %q, %v, want %q", "XENA", got, err, id)
	}
}

// TestEachEpoch: the jobs of a leaver have a name even after another user took it.
func TestEachEpoch(t *testing.T) {
	s := storetest.New(t)
	first := create(t, s, "acme", "xena")
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(first) })
	second := create(t, s, "acme", "Xena")
	for _, active := range []bool{false, true, false} {
		update(t, s, "acme", setActive(active, second))
	}
	create(t, s, "acme", "stays")
	for limit, want := range map[int]bool{0: false, 1: false, 2: false, 3: true, 9: true} {
		n, seen := 0, map[string]int{}
		view(t, s, "acme", func(r *store.Reader) error {
			complete, err := r.EachEpoch(limit, func(j store.Job) (bool, error) {
				n++
				if subject.Having("XENA")(&j.Subject) && !subject.Having("xen")(&j.Subject) {
					seen[j.UserID]++
				}
				return true, nil
			})
			if complete != want {
				t.Errorf("limit %d: complete %v, want %v", limit, complete, want)
			}
			return err
		})
		if n != min(limit, 3) || limit >= 3 && (seen[first] != 1 || seen[second] != 2) {
			t.Errorf("limit %d: %d epochs, want %d; by user %v, want 1 of %s and 2 of %s",
				limit, n, min(limit, 3), seen, first, second)
		}
	}
	view(t, s, "acme", func(r *store.Reader) error {
		calls := 0
		_, err := r.EachEpoch(9, func(store.Job) (bool, error) { calls++; return false, nil })
		if calls != 1 {
			t.Errorf("EachEpoch called fn %d times although it returned false, want 1", calls)
		}
		return err
	})
	view(t, s, "globex", func(r *store.Reader) error {
		complete, err := r.EachEpoch(9, func(j store.Job) (bool, error) {
			t.Errorf("EachEpoch of globex found the user %s of acme", j.UserID)
			return true, nil
		})
		if !complete {
			t.Error("EachEpoch = false for an empty tenant, want true")
		}
		return err
	})
}

// TestLookupOfUnknownIndex: a lookup by an attribute without index is an error.
func TestLookupOfUnknownIndex(t *testing.T) {
	s := storetest.New(t)
	view(t, s, "acme", func(r *store.Reader) error {
		if _, err := r.UserIDs("nickName", "x"); err == nil {
			t.Error("UserIDs of an attribute without index succeeded, want an error")
		}
		if _, err := r.GroupIDs("nickName", "x"); err == nil {
			t.Error("GroupIDs of an attribute without index succeeded, want an error")
		}
		return nil
	})
}

// TestBrokenUTF8IsRefused: an indexed value that is not UTF-8 is an error.
func TestBrokenUTF8IsRefused(t *testing.T) {
	s := storetest.New(t)
	u := user("a")
	u.Resource["externalId"] = "\xff"
	if err := try(s, func(tx *store.Tx) error { return tx.CreateUser(u) }); err == nil {
		t.Error("CreateUser with an externalId that is not UTF-8 succeeded, want an error")
	}
	verify(t, s)
}

// TestHostileValues: a value that looks like another key does not reach that key.
func TestHostileValues(t *testing.T) {
	s := storetest.New(t)
	long := string(make([]byte, 1000)) // longer than a part of a key
	for _, v := range []string{"a\x00\x01b", "\x00", "\x00ÿ", "a\x00", long, long + "x"} {
		u := user("u" + store.JobID("", "", v, 0, ""))
		u.Resource["externalId"] = v
		update(t, s, "acme", func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
		view(t, s, "acme", func(r *store.Reader) error {
			ids, err := r.UserIDs("externalId", v)
			if len(ids) != 1 || ids[0] != u.ID {
				t.Errorf("UserIDs of the externalId %.20q = %v, want %s", v, ids, u.ID)
			}
			return err
		})
	}
	verify(t, s)
}
