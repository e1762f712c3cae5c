package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/subject"
)

// Run is the conformance kit, which every way of opening a store must pass. open returns a
// store with the tenants of Options. Each part calls it once. after may be nil. Otherwise
// it runs at the end of each part and returns the store to check, for instance the same
// store closed and opened again.
func Run(t *testing.T, open func(t *testing.T) *store.Store, after func(t *testing.T, s *store.Store) *store.Store) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(t *testing.T, s *store.Store) func(t *testing.T, s *store.Store)
	}{
		{"users", usersPart},
		{"uniqueness", uniquenessPart},
		{"groups", groupsPart},
		{"deactivation", deactivationPart},
		{"replay", replayPart},
		{"feed", feedPart},
	} {
		t.Run(part.name, func(t *testing.T) {
			s := open(t)
			check := part.run(t, s)
			if after != nil {
				s = after(t, s)
			}
			check(t, s)
			r, err := s.Verify(t.Context())
			if err != nil || !r.OK() {
				t.Errorf("Verify = %v, %v, want no findings", r.Findings, err)
			}
		})
	}
}

func update(t *testing.T, s *store.Store, action string, fn func(*store.Tx) error) store.Seq {
	t.Helper()
	seq, err := s.Update(t.Context(), "acme", Cause(action), fn)
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	return seq
}

func view(t *testing.T, s *store.Store, fn func(*store.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), "acme", fn); err != nil {
		t.Errorf("viewing: %v", err)
	}
}

func newUser(name string) *store.User {
	return &store.User{ID: "id-" + name, Resource: scim.Object{
		"userName": name, "externalId": "x-" + name, "active": true, "weight": int64(3), "ratio": 1.5,
		"emails": []any{scim.Object{"value": name + "@example.com", "primary": true}},
	}}
}

func usersPart(t *testing.T, s *store.Store) func(*testing.T, *store.Store) {
	t.Helper()
	u := newUser("ada")
	seq := update(t, s, "user.create", func(tx *store.Tx) error { return tx.CreateUser(u) })
	return func(t *testing.T, s *store.Store) {
		t.Helper()
		view(t, s, func(r *store.Reader) error {
			got, err := r.User("id-ada")
			if diff := cmp.Diff(u.Resource, got.Resource); diff != "" || got.Version != seq {
				t.Errorf("User: version %d, want %d; resource (-want +got):\n%s", got.Version, seq, diff)
			}
			return err
		})
	}
}

func uniquenessPart(t *testing.T, s *store.Store) func(*testing.T, *store.Store) {
	t.Helper()
	var wg sync.WaitGroup
	var won atomic.Int64
	for i := range 16 {
		wg.Go(func() {
			u := newUser("same")
			u.ID = fmt.Sprint(i)
			_, err := s.Update(t.Context(), "acme", Cause("user.create"), func(tx *store.Tx) error { return tx.CreateUser(u) })
			var taken *store.UniquenessError
			if err != nil && !errors.As(err, &taken) {
				t.Errorf("creating: %v", err)
			}
			if err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d users have the name, want 1", won.Load())
	}
	return func(t *testing.T, s *store.Store) {
		t.Helper()
		view(t, s, func(r *store.Reader) error {
			ids, err := r.UserIDs("userName", "SAME")
			n, cerr := r.CountUsers()
			if len(ids) != 1 || n != 1 {
				t.Errorf("UserIDs = %v, CountUsers = %d, want one user", ids, n)
			}
			return errors.Join(err, cerr)
		})
	}
}

func groupsPart(t *testing.T, s *store.Store) func(*testing.T, *store.Store) {
	t.Helper()
	update(t, s, "group.create", func(tx *store.Tx) error {
		for _, n := range []string{"a", "b", "c"} {
			if err := tx.CreateUser(newUser(n)); err != nil {
				return err
			}
		}
		g := &store.Group{ID: "g", Resource: scim.Object{"displayName": "G"}}
		return tx.CreateGroup(g, []store.Member{{ID: "id-a"}, {ID: "id-b"}})
	})
	update(t, s, "group.patch", func(tx *store.Tx) error {
		if _, err := tx.AddMembers("g", []store.Member{{ID: "id-c"}}); err != nil {
			return err
		}
		_, err := tx.RemoveMembers("g", []string{"id-a"})
		return err
	})
	return func(t *testing.T, s *store.Store) {
		t.Helper()
		view(t, s, func(r *store.Reader) error {
			m, err := r.Members("g", "", 0)
			want := []store.Member{{ID: "id-b", Type: "User"}, {ID: "id-c", Type: "User"}}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Errorf("Members (-want +got):\n%s", diff)
			}
			return err
		})
	}
}

func deactivationPart(t *testing.T, s *store.Store) func(*testing.T, *store.Store) {
	t.Helper()
	u := newUser("leaver")
	update(t, s, "user.create", func(tx *store.Tx) error { return tx.CreateUser(u) })
	seq := update(t, s, "user.patch", func(tx *store.Tx) error {
		u, err := tx.User("id-leaver")
		if err != nil {
			return err
		}
		u.Resource["active"] = false
		_, err = tx.UpdateUser(&u)
		return err
	})
	return func(t *testing.T, s *store.Store) {
		t.Helper()
		l, ok := s.Locks().Lookup("acme", &subject.Subject{UserName: "LEAVER"})
		if !ok || l.State != store.LockDeactivated || l.Version != seq {
			t.Errorf("Lookup = %+v, %t, want a deactivated lock of version %d", l, ok, seq)
		}
		view(t, s, func(r *store.Reader) error {
			jobs, err := r.JobsOf("id-leaver", 1)
			if want := len(Options().Tenants["acme"].Targets[0].Kinds); len(jobs) != want {
				t.Errorf("JobsOf returned %d jobs, want %d, one for each kind", len(jobs), want)
			}
			return err
		})
	}
}

func replayPart(t *testing.T, s *store.Store) func(*testing.T, *store.Store) {
	t.Helper()
	use := func(t *testing.T, s *store.Store) error {
		t.Helper()
		_, err := s.Update(t.Context(), "acme", Cause("token.issue"), func(tx *store.Tx) error {
			return tx.UseJTI("iss", "j", tx.Now().AddDate(0, 0, 1))
		})
		return err
	}
	if err := use(t, s); err != nil {
		t.Errorf("first UseJTI = %v, want no error", err)
	}
	return func(t *testing.T, s *store.Store) {
		t.Helper()
		if err := use(t, s); !errors.Is(err, store.ErrReplay) {
			t.Errorf("second UseJTI = %v, want ErrReplay", err)
		}
	}
}

func feedPart(t *testing.T, s *store.Store) func(*testing.T, *store.Store) {
	t.Helper()
	var live []store.Change
	stop := s.Watch(func(c store.Change) { live = append(live, c) })
	from := s.Health().Applied + 1
	for i := range 3 {
		update(t, s, "user.create", func(tx *store.Tx) error { return tx.CreateUser(newUser(fmt.Sprint("f", i))) })
	}
	stop()
	return func(t *testing.T, s *store.Store) {
		t.Helper()
		var read []store.Change
		err := s.Changes(t.Context(), from, func(c store.Change) error {
			read = append(read, c)
			return nil
		})
		if err != nil {
			t.Errorf("Changes = %v, want no error", err)
		}
		if diff := cmp.Diff(live, read); diff != "" || len(read) != 3 {
			t.Errorf("the feed has %d changes, want 3; watcher and feed (-watcher +feed):\n%s", len(read), diff)
		}
	}
}
