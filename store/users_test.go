package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

func user(name string) *store.User {
	return &store.User{Resource: scim.Object{
		"schemas": []any{scim.UserURN}, "userName": name, "externalId": "x-" + name, "active": true,
		"emails": []any{scim.Object{"value": name + "@example.com", "primary": true}},
	}}
}

func update(tb testing.TB, s *store.Store, tenant string, fn func(*store.Tx) error) store.Seq {
	tb.Helper()
	seq, err := s.Update(context.Background(), tenant, storetest.Cause("test"), fn)
	if err != nil {
		tb.Fatalf("updating: %v", err)
	}
	return seq
}

// try runs fn as a change of acme and returns the error.
func try(s *store.Store, fn func(*store.Tx) error) error {
	_, err := s.Update(context.Background(), "acme", storetest.Cause("test"), fn)
	return err
}

// lookup finds a lock of acme.
func lookup(s *store.Store, who subject.Subject) (store.Lock, bool) {
	return s.Locks().Lookup("acme", &who)
}

// refusesAll reports whether the lock refuses every credential, also new ones.
func refusesAll(l store.Lock) bool { return l.Refuses(time.Now().Add(time.Hour)) }

func view(tb testing.TB, s *store.Store, tenant string, fn func(*store.Reader) error) {
	tb.Helper()
	if err := s.View(context.Background(), tenant, fn); err != nil {
		tb.Fatalf("viewing: %v", err)
	}
}

func create(tb testing.TB, s *store.Store, tenant, name string) string {
	tb.Helper()
	u := user(name)
	update(tb, s, tenant, func(t *store.Tx) error { u.ID = ""; return t.CreateUser(u) })
	return u.ID
}

func setActive(active bool, id string) func(*store.Tx) error {
	return func(t *store.Tx) error {
		u, err := t.User(id)
		if err != nil {
			return err
		}
		u.Resource["active"] = active
		_, err = t.UpdateUser(&u)
		return err
	}
}

// verify checks the store at the end of every test that writes.
func verify(tb testing.TB, s *store.Store) {
	tb.Helper()
	r, err := s.Verify(context.Background())
	if err != nil {
		tb.Fatalf("verifying: %v", err)
	}
	for _, f := range r.Findings {
		tb.Errorf("finding: %s", f)
	}
}

// TestUserRoundTrip: a new user is found under every indexed attribute and read back unchanged.
func TestUserRoundTrip(t *testing.T) {
	s := storetest.New(t)
	u := user("Alice")
	seq := update(t, s, "acme", func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
	for _, q := range []struct{ attr, value string }{
		{"userName", "aLICE"}, {"externalId", "x-Alice"}, {"emails.value", "ALICE@example.com"},
	} {
		view(t, s, "acme", func(r *store.Reader) error {
			ids, err := r.UserIDs(q.attr, q.value)
			if diff := cmp.Diff([]string{u.ID}, ids); diff != "" {
				t.Errorf("UserIDs(%q, %q) (-want +got):\n%s", q.attr, q.value, diff)
			}
			return err
		})
	}
	view(t, s, "acme", func(r *store.Reader) error {
		got, err := r.User(u.ID)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(u.Resource, got.Resource); diff != "" {
			t.Errorf("User: resource (-want +got):\n%s", diff)
		}
		n, err := r.CountUsers()
		if got.Version != seq || got.Created.IsZero() || n != 1 {
			t.Errorf("User: version %d, want %d; created %v, want a time; CountUsers = %d, want 1",
				got.Version, seq, got.Created, n)
		}
		return err
	})
	verify(t, s)
}

// TestUniqueUnderConcurrentCreators: of many creators of one userName, in any letter case, one
// succeeds.
func TestUniqueUnderConcurrentCreators(t *testing.T) {
	s := storetest.New(t)
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			u := user([]string{"Bob", "bob", "BOB", "boB"}[i%4])
			u.Resource["externalId"] = fmt.Sprint(i)
			err := try(s, func(tx *store.Tx) error {
				u.ID = ""
				return tx.CreateUser(u)
			})
			var taken *store.UniquenessError
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &taken) && taken.Attribute == "userName":
				lost.Add(1)
			default:
				t.Errorf("creator %d: %v, want no error or a UniquenessError for userName", i, err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 63 {
		t.Errorf("%d won and %d lost, want 1 and 63", won.Load(), lost.Load())
	}
	verify(t, s)
}

// TestWithoutACauseNothingIsWritten: Update refuses an incomplete cause before fn runs.
func TestWithoutACauseNothingIsWritten(t *testing.T) {
	s := storetest.New(t)
	full := storetest.Cause("x")
	for name, cut := range map[string]func(*store.Cause){
		"actor":    func(c *store.Cause) { c.Actor = "" },
		"request":  func(c *store.Cause) { c.RequestID = "" },
		"decision": func(c *store.Cause) { c.Decision = "" },
	} {
		c := full
		cut(&c)
		_, err := s.Update(context.Background(), "acme", c, func(*store.Tx) error {
			t.Errorf("Update without %s ran fn", name)
			return nil
		})
		if !errors.Is(err, store.ErrNoCause) {
			t.Errorf("Update without %s = %v, want ErrNoCause", name, err)
		}
	}
}

// TestFailedUpdateWritesNothing: Update returns an error of fn and then writes nothing.
func TestFailedUpdateWritesNothing(t *testing.T) {
	s := storetest.New(t)
	before := s.Health().Applied
	boom := errors.New("boom")
	err := try(s, func(tx *store.Tx) error {
		if err := tx.CreateUser(user("eve")); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) || s.Health().Applied != before {
		t.Errorf("Update = %v at position %d, want the error of fn at %d", err, s.Health().Applied, before)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		n, err := r.CountUsers()
		if n != 0 {
			t.Errorf("CountUsers = %d after the failed change, want 0", n)
		}
		return err
	})
}

// TestRenameFreesTheOldName: after a rename another user can have the old userName.
func TestRenameFreesTheOldName(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "carol")
	update(t, s, "acme", func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Resource["userName"] = "caroline"
		_, err = tx.UpdateUser(&u)
		return err
	})
	view(t, s, "acme", func(r *store.Reader) error {
		old, err := r.UserIDs("userName", "carol")
		if len(old) != 0 {
			t.Errorf("UserIDs of the old name = %v, want none", old)
		}
		return err
	})
	u := user("carol")
	u.Resource["externalId"] = "another"
	update(t, s, "acme", func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
	verify(t, s)
}

// TestUnchangedUserKeepsItsVersion: an update without a change writes nothing.
func TestUnchangedUserKeepsItsVersion(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "dan")
	var first store.User
	view(t, s, "acme", func(r *store.Reader) (err error) { first, err = r.User(id); return err })
	update(t, s, "acme", func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		changed, err := tx.UpdateUser(&u)
		if changed != nil {
			t.Errorf("UpdateUser = %v, want no changed attributes", changed)
		}
		return err
	})
	view(t, s, "acme", func(r *store.Reader) error {
		u, err := r.User(id)
		if diff := cmp.Diff(first, u); diff != "" {
			t.Errorf("User after the unchanged update (-want +got):\n%s", diff)
		}
		return err
	})
}

// TestPagesAndRanges: pages and ranges of users are in the order of ids.
func TestPagesAndRanges(t *testing.T) {
	s := storetest.New(t)
	var ids []string
	update(t, s, "acme", func(tx *store.Tx) error {
		ids = ids[:0]
		for i := range 10 {
			u := user(fmt.Sprintf("u%d", i))
			u.ID = fmt.Sprintf("id-%d", i)
			if err := tx.CreateUser(u); err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		return nil
	})
	for _, c := range []struct {
		name          string
		offset, limit int
		want          []string
	}{
		{"first", 0, 3, ids[:3]}, {"middle", 4, 2, ids[4:6]}, {"end", 8, 5, ids[8:]}, {"past", 10, 5, nil}, {"none", 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			view(t, s, "acme", func(r *store.Reader) error {
				us, err := r.UserPage(c.offset, c.limit)
				var got []string
				for _, u := range us {
					got = append(got, u.ID)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("UserPage(%d, %d) (-want +got):\n%s", c.offset, c.limit, diff)
				}
				return err
			})
		})
	}
	view(t, s, "acme", func(r *store.Reader) error {
		n := 0
		err := r.Users(ids[6], func(store.User) bool { n++; return true })
		if n != 3 {
			t.Errorf("Users after id-6 yielded %d users, want 3", n)
		}
		return err
	})
}

// TestTenantsAreIsolated: a tenant cannot read or use rows of another tenant.
func TestTenantsAreIsolated(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "frank")
	var gid string
	update(t, s, "acme", func(tx *store.Tx) error {
		g := &store.Group{Resource: scim.Object{"displayName": "team"}}
		err := tx.CreateGroup(g, []store.Member{{ID: id}})
		gid = g.ID
		return err
	})
	update(t, s, "acme", setActive(false, id))
	update(t, s, "acme", func(tx *store.Tx) error { return tx.UseJTI("iss", "j1", tx.Now().Add(time.Hour)) })
	create(t, s, "globex", "frank") // the same names are free there
	none := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s = %v, want ErrNotFound", name, err)
		}
	}
	view(t, s, "globex", func(r *store.Reader) error {
		_, err := r.User(id)
		none("user", err)
		_, err = r.Group(gid)
		none("group", err)
		_, err = r.Members(gid, "", 0)
		none("members", err)
		_, err = r.Lock(id)
		none("lock", err)
		gs, err := r.GroupsOf(id)
		js, _ := r.JobsOf(id, 0)
		due, _ := r.DueJobs(time.Now().Add(time.Hour), 10)
		open, _ := r.OpenOffboardings()
		trail, _ := r.AuditOf(id)
		users, uerr := r.CountUsers()
		groups, gerr := r.CountGroups()
		if len(gs)+len(js)+len(due)+len(open)+len(trail) != 0 || users != 1 || groups != 0 {
			t.Errorf("globex: groups %v, jobs %v, due %v, open %v, trail %v, want none; %d users, want 1; %d groups, want 0",
				gs, js, due, open, trail, users, groups)
		}
		return errors.Join(err, uerr, gerr)
	})
	frank := subject.Subject{SCIMID: id, UserName: "frank", Emails: []string{"frank@example.com"}}
	if l, ok := s.Locks().Lookup("globex", &frank); ok {
		t.Errorf("Lookup in globex = %+v, want no lock", l)
	}
	update(t, s, "globex", func(tx *store.Tx) error { return tx.UseJTI("iss", "j1", tx.Now().Add(time.Hour)) })
	_, err := s.Update(context.Background(), "globex", storetest.Cause("x"), func(tx *store.Tx) error {
		return tx.CreateGroup(&store.Group{Resource: scim.Object{"displayName": "g"}}, []store.Member{{ID: id}})
	})
	var missing *store.MissingMembersError
	if !errors.As(err, &missing) {
		t.Errorf("CreateGroup with a member of acme = %v, want a MissingMembersError", err)
	}
	none("unknown tenant", s.View(context.Background(), "initech", func(*store.Reader) error { return nil }))
	verify(t, s)
}
