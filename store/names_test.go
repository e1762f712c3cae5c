package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// edit changes attributes of a user.
func edit(id string, attrs scim.Object) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		for k, v := range attrs {
			u.Resource[k] = v
		}
		_, err = tx.UpdateUser(&u)
		return err
	}
}

func emails(values ...string) []any {
	var out []any
	for _, v := range values {
		out = append(out, scim.Object{"value": v})
	}
	return out
}

// clockStore returns a store and a function that moves its clock.
func clockStore(t *testing.T) (*store.Store, func(time.Duration) time.Time) {
	t.Helper()
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	s := storetest.Open(t, func(o *store.Options) { o.Now = func() time.Time { return now } })
	return s, func(d time.Duration) time.Time { now = now.Add(d); return now }
}

// TestGivenUpNameStaysWithTheLeaver: a value in a leaver's lock stays there when an active
// user drops the same value.
func TestGivenUpNameStaysWithTheLeaver(t *testing.T) {
	s := storetest.New(t)
	leaver, stays := create(t, s, "acme", "lea"), create(t, s, "acme", "stan")
	do(t, s, patch("PATCH"), edit(leaver, scim.Object{"emails": emails("team@example.com")}))
	do(t, s, patch("PATCH"), edit(stays, scim.Object{"emails": emails("team@example.com")}))
	do(t, s, patch("PATCH"), setActive(false, leaver))
	do(t, s, patch("PATCH"), edit(stays, scim.Object{"emails": emails("stan@example.com")}))
	l, ok := lookup(s, subject.Subject{Emails: []string{"team@example.com"}})
	if !ok || l.UserID != leaver || !refusesAll(l) {
		t.Errorf("Lookup of the leaver's address = %+v, %t, want the lock of %s", l, ok, leaver)
	}
	verify(t, s)
}

// TestNameTakenOverWhileInactive: an inactive user takes a name of another user. After the
// reactivation, older credentials with the name stay refused.
func TestNameTakenOverWhileInactive(t *testing.T) {
	for _, order := range []string{"renamed while inactive", "renamed with the reactivation"} {
		t.Run(order, func(t *testing.T) {
			s, add := clockStore(t)
			leaver, other := create(t, s, "acme", "lea"), create(t, s, "acme", "otto")
			add(time.Minute)
			do(t, s, patch("PATCH"), setActive(false, other))
			issued := add(time.Minute) // the leaver signs in
			add(time.Minute)
			do(t, s, patch("DELETE"), func(tx *store.Tx) error { return tx.DeleteUser(leaver) })
			add(time.Minute)
			if order == "renamed while inactive" {
				do(t, s, patch("PATCH"), edit(other, scim.Object{"userName": "lea"}))
				add(time.Minute)
				do(t, s, patch("PATCH"), setActive(true, other))
			} else {
				do(t, s, patch("PATCH"), edit(other, scim.Object{"userName": "lea", "active": true}))
			}
			l, ok := lookup(s, subject.Subject{UserName: "lea"})
			if !ok || l.UserID != other || !l.Refuses(issued) {
				t.Errorf("Lookup = %+v, %t, want the lock of %s, which refuses the deleted user's credential", l, ok, other)
			}
			if l.Refuses(add(time.Minute)) {
				t.Errorf("the lock %+v refuses a new credential, want it to allow new ones", l)
			}
			verify(t, s)
		})
	}
}

// TestMuchNamedUserCanBeDeactivated: a user with very many names can be deactivated.
func TestMuchNamedUserCanBeDeactivated(t *testing.T) {
	long := strings.Repeat("n", 900)
	for name, grow := range map[string]func(t *testing.T, s *store.Store, id string){
		"many names": func(t *testing.T, s *store.Store, id string) {
			t.Helper()
			for i := range 1500 {
				do(t, s, patch("PATCH"), edit(id, scim.Object{"userName": fmt.Sprintf("%s%d", long, i)}))
			}
		},
		"many addresses": func(t *testing.T, s *store.Store, id string) {
			t.Helper()
			var all []string
			for i := range 250 {
				all = append(all, fmt.Sprintf("%0100d@example.com", i))
			}
			for round := range 10 {
				all[0] = fmt.Sprintf("round%d@example.com", round)
				do(t, s, patch("PATCH"), edit(id, scim.Object{"emails": emails(all...)}))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t)
			id := create(t, s, "acme", "max")
			grow(t, s, id)
			do(t, s, patch("PATCH"), setActive(false, id))
			if l, ok := lookup(s, subject.Subject{SCIMID: id}); !ok || !l.Refuses(time.Now()) {
				t.Errorf("Lookup = %+v, %t, want a lock that refuses credentials", l, ok)
			}
			verify(t, s)
		})
	}
}

// TestTooManyNamesAreRefused: a change to more names than one record can lock fails.
func TestTooManyNamesAreRefused(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "max")
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("address%d@example.com", i))
	}
	for name, attrs := range map[string]scim.Object{
		"many addresses": {"emails": emails(many...)},
		"a long address": {"emails": emails(strings.Repeat("a", 2000) + "@example.com")},
		"a long name":    {"userName": strings.Repeat("n", 2000)},
		"a long id":      {"externalId": strings.Repeat("x", 2000)},
		"a long title":   {"title": strings.Repeat("x", 600<<10)},
	} {
		var limit *store.LimitError
		_, err := s.Update(t.Context(), "acme", patch("PATCH"), edit(id, attrs))
		if !errors.As(err, &limit) || attrs[strings.TrimSuffix(limit.Attribute, ".value")] == nil || limit.Limit == 0 {
			t.Errorf("updating with %s = %v, want a LimitError that names the attribute", name, err)
		}
		u := user("new")
		for k, v := range attrs {
			u.Resource[k] = v
		}
		if err := try(s, func(tx *store.Tx) error { return tx.CreateUser(u) }); !errors.As(err, &limit) {
			t.Errorf("creating with %s = %v, want a LimitError", name, err)
		}
	}
	do(t, s, patch("PATCH"), setActive(false, id))
	verify(t, s)
}

// TestTooLongGroupNamesAreRefused: a name that no index key can hold is refused, and the store stays able
// to write.
func TestTooLongGroupNamesAreRefused(t *testing.T) {
	s := storetest.New(t)
	gid := group(t, s, "acme", "staff")
	for _, attr := range []string{"displayName", "externalId"} {
		long := scim.Object{"displayName": "staff", attr: strings.Repeat("x", 70_000)}
		var limit *store.LimitError
		err := try(s, func(tx *store.Tx) error { return tx.CreateGroup(&store.Group{Resource: long.Clone()}, nil) })
		if !errors.As(err, &limit) || limit.Attribute != attr {
			t.Errorf("creating a group with a long %s = %v, want a LimitError", attr, err)
		}
		err = try(s, func(tx *store.Tx) error {
			_, err := tx.UpdateGroup(&store.Group{ID: gid, Resource: long.Clone()})
			return err
		})
		if !errors.As(err, &limit) || limit.Attribute != attr {
			t.Errorf("updating a group with a long %s = %v, want a LimitError", attr, err)
		}
	}
	create(t, s, "acme", "after")
	verify(t, s)
}

// TestNewestFormerNamesAreInTheJobs: a job has the newest former names.
func TestNewestFormerNamesAreInTheJobs(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "n0")
	var want []string
	for i := 1; i <= 30; i++ {
		do(t, s, patch("PATCH"), edit(id, scim.Object{"userName": fmt.Sprintf("n%d", i)}))
		if i >= 10 && i < 30 {
			want = append(want, fmt.Sprintf("n%d", i))
		}
	}
	do(t, s, patch("PATCH"), setActive(false, id))
	view(t, s, "acme", func(r *store.Reader) error {
		jobs, err := r.JobsOf(id, 0)
		if err != nil || len(jobs) == 0 {
			t.Fatalf("JobsOf returned %d jobs, %v, want at least one", len(jobs), err)
		}
		if diff := cmp.Diff(want, jobs[0].Subject.FormerUserNames); diff != "" {
			t.Errorf("FormerUserNames (-want +got):\n%s", diff)
		}
		return nil
	})
	verify(t, s)
}

// TestRetryLeavesALeasedVerification: a repeated deactivation does not touch a job that
// a worker verifies.
func TestRetryLeavesALeasedVerification(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "max")
	do(t, s, patch("PATCH"), setActive(false, id))
	var before store.Job
	do(t, s, patch("PATCH"), func(tx *store.Tx) error {
		jobs, err := tx.JobsOf(id, 0)
		if err != nil {
			return err
		}
		before = jobs[0]
		before.State, before.LeaseOwner, before.LeaseUntil = store.JobRevoked, "w1", tx.Now().Add(time.Minute)
		before.NextAt = before.LeaseUntil
		return tx.SaveJob(&before)
	})
	do(t, s, patch("PATCH"), func(tx *store.Tx) error { return tx.RetryJobs(id) })
	view(t, s, "acme", func(r *store.Reader) error {
		after, err := r.Job(before.ID)
		if err != nil || !after.NextAt.Equal(before.LeaseUntil) {
			t.Errorf("Job: due at %v, %v, want the end of the lease at %v", after.NextAt, err, before.LeaseUntil)
		}
		return nil
	})
	verify(t, s)
}

// everyName creates a user with every kind of name that the directory knows.
func everyName(t *testing.T, s *store.Store) subject.Subject {
	t.Helper()
	want := subject.Subject{
		UserName: "nina", ExternalID: "x-nina", Emails: []string{"nina@example.com"},
		AppUserID: "only the application knows it",
	}
	want.SCIMID = create(t, s, "acme", "nina")
	kinds := map[subject.Name]bool{}
	for kind := range want.Names() {
		kinds[kind] = true
	}
	if fields := reflect.TypeFor[subject.Subject]().NumField() - 1; len(kinds) != fields { // without FormerUserNames
		t.Fatalf("the user has %d of %d kinds of names: give it the new one", len(kinds), fields)
	}
	want.AppUserID = ""
	return want
}

// TestLockIsFoundUnderEveryName: a credential that names a leaver in any way is refused.
func TestLockIsFoundUnderEveryName(t *testing.T) {
	s := storetest.New(t)
	want := everyName(t, s)
	do(t, s, patch("PATCH"), setActive(false, want.SCIMID))
	for kind, value := range want.Names() {
		named := subject.Named(kind, value)
		if l, ok := s.Locks().Lookup("acme", &named); !ok || l.UserID != want.SCIMID {
			t.Errorf("Lookup by %s %q = %+v, %t, want the lock of %s", kind, value, l, ok, want.SCIMID)
		}
	}
}

// TestJobHasEveryName: a plugin can look for a leaver under each name.
func TestJobHasEveryName(t *testing.T) {
	s := storetest.New(t)
	want := everyName(t, s)
	do(t, s, patch("PATCH"), setActive(false, want.SCIMID))
	view(t, s, "acme", func(r *store.Reader) error {
		jobs, err := r.AllJobsOf(want.SCIMID)
		if err == nil && len(jobs) == 0 {
			t.Error("AllJobsOf returned no jobs after the deactivation, want some")
		}
		for i := range jobs {
			if diff := cmp.Diff(want, jobs[i].Subject); diff != "" {
				t.Errorf("job %s (-want +got):\n%s", jobs[i].Kind, diff)
			}
		}
		return err
	})
}

// TestRetryJobsIgnoresActiveUsers: only an inactive user gets a lock and due jobs.
func TestRetryJobsIgnoresActiveUsers(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "omar")
	do(t, s, patch("PATCH"), func(tx *store.Tx) error { return tx.RetryJobs(id) })
	if l, ok := s.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); ok {
		t.Errorf("Lookup of an active user = %+v, want no lock", l)
	}
	verify(t, s)
}
