package store_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

func patch(method string) store.Cause {
	c := storetest.Cause("user.patch")
	c.Method, c.Received = method, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return c
}

func do(t *testing.T, s *store.Store, c store.Cause, fn func(*store.Tx) error) store.Seq {
	t.Helper()
	seq, err := s.Update(t.Context(), "acme", c, fn)
	if err != nil {
		t.Fatalf("updating: %v", err)
	}
	return seq
}

// TestDeactivationIsOneRecord: lock, offboarding, jobs, change and audit are in the
// record of the deactivation, and the table has the lock before Update returns.
func TestDeactivationIsOneRecord(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "Grace")
	var published []store.Lock
	defer s.Locks().Subscribe(func(l store.Lock) { published = append(published, l) })()
	var changes []store.Change
	defer s.Watch(func(c store.Change) { changes = append(changes, c) })()

	seq := do(t, s, patch("PATCH"), setActive(false, id))

	if len(published) != 1 || published[0].UserID != id || published[0].Version != seq {
		t.Errorf("the subscriber got %+v, want the lock of %s at %d", published, id, seq)
	}
	for name, ref := range map[string]subject.Subject{
		"id": {SCIMID: id}, "userName": {UserName: "gRACE"}, "externalId": {ExternalID: "x-Grace"},
		"email": {Emails: []string{"GRACE@example.com"}},
	} {
		l, ok := lookup(s, ref)
		if !ok || l.State != store.LockDeactivated || l.Epoch != 1 || !refusesAll(l) {
			t.Errorf("Lookup by %s = %+v, %t, want a deactivated lock of epoch 1", name, l, ok)
		}
	}
	if _, ok := s.Locks().InForce("acme", id); !ok {
		t.Errorf("InForce(%q) = false after the deactivation, want true", id)
	}
	kinds := map[store.ChangeType]int{}
	for _, c := range changes {
		kinds[c.Type]++
		if c.Seq != seq {
			t.Errorf("change %s is at %d, want %d", c.Type, c.Seq, seq)
		}
	}
	want := map[store.ChangeType]int{store.ChangeUserUpdated: 1, store.ChangeLock: 1, store.ChangeJob: 7}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("changes of the record (-want +got):\n%s", diff)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		l, err := r.Lock(id)
		if err != nil || l.Reason != "scim.patch" || l.Version != seq {
			t.Errorf("Lock = %+v, %v, want the reason scim.patch and version %d", l, err, seq)
		}
		o, err := r.Offboarding(id, 1)
		if err != nil || o.Version != seq || o.Jobs != 7 || !o.Received.Equal(patch("").Received) ||
			o.LockedAt.IsZero() || !o.BlockedAt.IsZero() {
			t.Errorf("Offboarding = %+v, %v, want 7 jobs, version %d, locked and not blocked", o, err, seq)
		}
		jobs, err := r.JobsOf(id, 0)
		if err != nil || len(jobs) != 7 {
			t.Fatalf("JobsOf returned %d jobs, %v, want 7", len(jobs), err)
		}
		for _, j := range jobs {
			if j.ID != store.JobID("acme", "app", id, 1, j.Kind) || j.State != store.JobPending ||
				j.Version != seq || j.Subject.UserName != "Grace" {
				t.Errorf("job %+v, want a pending one for Grace with the version %d and its JobID", j, seq)
			}
		}
		due, err := r.DueJobs(time.Now(), 100)
		if len(due) != 7 || err != nil {
			t.Errorf("DueJobs returned %d jobs, %v, want 7", len(due), err)
		}
		trail, err := r.AuditOf(id)
		if err != nil || len(trail) != 2 || trail[1].Seq != uint64(seq) ||
			trail[1].Detail != "user.deactivated: locked, epoch 1, 7 jobs" {
			t.Errorf("AuditOf = %+v, %v, want two records, the second of the deactivation at %d", trail, err, seq)
		}
		return nil
	})
	verify(t, s)
}

// TestRepeatedDeactivation: a repeated deactivation retries the unverified jobs and enqueues none.
func TestRepeatedDeactivation(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := storetest.Open(t, func(o *store.Options) { o.Now = func() time.Time { return now } })
	id := create(t, s, "acme", "heidi")
	do(t, s, patch("PATCH"), setActive(false, id))
	states := []store.JobState{
		store.JobFailed, store.JobRunning, store.JobRevoked, store.JobRevoked, store.JobUnsupported,
		store.JobRetrying, store.JobUnknown,
	}
	do(t, s, storetest.Cause("job.done"), func(tx *store.Tx) error {
		jobs, err := tx.JobsOf(id, 0)
		if err != nil {
			return err
		}
		for i := range jobs {
			jobs[i].State, jobs[i].NextAt = states[i], now.Add(time.Hour)
			jobs[i].Verified = i == 2
			if err := tx.SaveJob(&jobs[i]); err != nil {
				return err
			}
		}
		return nil
	})
	now = now.Add(time.Minute)
	do(t, s, patch("PUT"), func(tx *store.Tx) error { return tx.RetryJobs(id) })
	view(t, s, "acme", func(r *store.Reader) error {
		l, _ := r.Lock(id)
		all, _ := r.Offboardings(id)
		if l.Epoch != 1 || len(all) != 1 {
			t.Errorf("epoch %d and %d offboardings, want 1 and 1", l.Epoch, len(all))
		}
		jobs, err := r.JobsOf(id, 0)
		for i, j := range jobs {
			want := states[i]
			if want == store.JobFailed || want == store.JobUnknown {
				want = store.JobPending
			}
			retried := i != 1 && i != 2 && i != 4
			if j.State != want || j.NextAt.Equal(now) != retried {
				t.Errorf("job %d: %s at %v, want %s, retried %t", i, j.State, j.NextAt, want, retried)
			}
		}
		return err
	})
	verify(t, s)
}

// TestReactivation: a reactivation lifts the lock only for credentials issued later,
// restores nothing, and enqueues a job that enables the account.
func TestReactivation(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "ivan")
	for epoch := uint64(1); epoch <= 20; epoch++ {
		do(t, s, patch("PATCH"), setActive(false, id))
		do(t, s, patch("PATCH"), setActive(true, id))
		l, ok := lookup(s, subject.Subject{SCIMID: id})
		if !ok || l.State != store.LockLifted || l.Epoch != epoch {
			t.Fatalf("Lookup = %+v, %t, want a lifted lock of epoch %d", l, ok, epoch)
		}
		if !l.Refuses(l.NotBefore) || !l.Refuses(time.Time{}) || l.Refuses(l.NotBefore.Add(time.Nanosecond)) {
			t.Errorf("epoch %d: the lock %+v must refuse credentials up to NotBefore and of unknown age, and no others",
				epoch, l)
		}
		view(t, s, "acme", func(r *store.Reader) error {
			jobs, err := r.JobsOf(id, epoch)
			n := 0
			for _, j := range jobs {
				if j.Event == "user.reactivated" {
					n++
					if j.Kind != "account" {
						t.Errorf("the reactivation has a job of kind %s, want account", j.Kind)
					}
				}
			}
			if len(jobs) != 8 || n != 1 {
				t.Errorf("epoch %d: %d jobs, %d of the reactivation, want 8 and 1", epoch, len(jobs), n)
			}
			return err
		})
	}
	verify(t, s)
}

// TestDeleteAndSameNameAgain: a tombstone locks the names until another user takes them. The
// new user gets neither the lock nor the old credentials.
func TestDeleteAndSameNameAgain(t *testing.T) {
	s := storetest.New(t)
	old := create(t, s, "acme", "judy")
	do(t, s, patch("DELETE"), func(tx *store.Tx) error { return tx.DeleteUser(old) })
	l, ok := lookup(s, subject.Subject{UserName: "judy"})
	if !ok || l.State != store.LockDeleted || !refusesAll(l) {
		t.Fatalf("Lookup of the deleted user = %+v, %t, want a tombstone that refuses every credential", l, ok)
	}
	fresh := create(t, s, "acme", "judy")
	for name, ref := range map[string]subject.Subject{
		"id": {SCIMID: fresh}, "name": {UserName: "judy"}, "externalId": {ExternalID: "x-judy"},
		"email": {Emails: []string{"judy@example.com"}},
	} {
		l, ok := lookup(s, ref)
		if !ok || l.UserID != fresh || l.State != store.LockLifted || l.Reason != "recreated" {
			t.Errorf("Lookup by %s = %+v, %t, want the lifted lock of %s", name, l, ok, fresh)
		}
		if !l.Refuses(l.NotBefore.Add(-time.Second)) || l.Refuses(l.NotBefore.Add(time.Second)) {
			t.Errorf("by %s: the lock %+v must refuse credentials before NotBefore and no later ones", name, l)
		}
	}
	if l, ok := lookup(s, subject.Subject{SCIMID: old, UserName: "judy"}); !ok || l.State != store.LockDeleted {
		t.Errorf("Lookup of the old id = %+v, %t, want the tombstone", l, ok)
	}
	verify(t, s)
}

// TestLockFollowsNames: a locked user who is renamed stays locked under both names. A user
// who takes the free name is allowed, except with older credentials.
func TestLockFollowsNames(t *testing.T) {
	s := storetest.New(t)
	a, b := create(t, s, "acme", "ken"), create(t, s, "acme", "leo")
	do(t, s, patch("PATCH"), setActive(false, a))
	rename := func(id, to string) func(*store.Tx) error {
		return edit(id, scim.Object{"userName": to, "externalId": "x2-" + to})
	}
	do(t, s, patch("PATCH"), rename(a, "kenneth"))
	for _, ref := range []subject.Subject{
		{UserName: "ken"}, {UserName: "kenneth"}, {ExternalID: "x-ken"}, {ExternalID: "x2-kenneth"},
	} {
		if l, ok := lookup(s, ref); !ok || l.UserID != a {
			t.Errorf("Lookup(%+v) = %+v, %t, want the lock of %s", ref, l, ok, a)
		}
	}
	do(t, s, patch("PATCH"), rename(b, "ken"))
	if l, ok := lookup(s, subject.Subject{UserName: "ken"}); !ok || l.UserID != b || l.State != store.LockLifted {
		t.Errorf("Lookup of the taken name = %+v, %t, want the lifted lock of %s", l, ok, b)
	}
	do(t, s, patch("PATCH"), func(tx *store.Tx) error { return tx.RetryJobs(a) }) // does not take the name back
	if l, _ := lookup(s, subject.Subject{UserName: "ken"}); l.UserID != b {
		t.Errorf("Lookup of the taken name = the lock of %s, want the lock of %s", l.UserID, b)
	}
	verify(t, s)
}

// TestRenamedThenDeactivated: an application may know only the old name. So a user who is
// renamed and then deactivated is locked under both names, and the jobs have both. When
// another user has taken the old name, it is no longer the leaver's, and the new user
// cannot use older credentials.
func TestRenamedThenDeactivated(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken %t", taken), func(t *testing.T) {
			s := storetest.New(t)
			id := create(t, s, "acme", "Mia")
			before := time.Now().Add(-time.Minute)
			do(t, s, patch("PATCH"), edit(id, scim.Object{"userName": "mia.new"}))
			for _, name := range []string{"mia", "mia.new"} {
				if l, ok := lookup(s, subject.Subject{UserName: name}); ok && (l.Refuses(before) || l.Refuses(time.Time{})) {
					t.Errorf("%s: the lock %+v refuses an active user after a rename, want it to allow all", name, l)
				}
			}
			other := ""
			if taken {
				other = create(t, s, "acme", "mia")
			}
			do(t, s, patch("PATCH"), setActive(false, id))
			if l, ok := lookup(s, subject.Subject{UserName: "mia.new"}); !ok || !refusesAll(l) {
				t.Errorf("Lookup of the new name = %+v, %t, want a lock that refuses every credential", l, ok)
			}
			l, ok := lookup(s, subject.Subject{UserName: "mia"})
			want := []string{"mia"}
			switch {
			case !ok || !l.Refuses(before):
				t.Errorf("Lookup of the old name = %+v, %t, want a lock that refuses old credentials", l, ok)
			case taken:
				want = nil
				if l.UserID != other || refusesAll(l) {
					t.Errorf("Lookup of the old name = %+v, want the lock of %s, which allows new credentials", l, other)
				}
			case !refusesAll(l):
				t.Errorf("Lookup of the old name = %+v, want a lock that refuses every credential", l)
			}
			view(t, s, "acme", func(r *store.Reader) error {
				jobs, err := r.JobsOf(id, 0)
				for i := range jobs {
					if diff := cmp.Diff(want, jobs[i].Subject.FormerUserNames); diff != "" {
						t.Errorf("former names in the job %s (-want +got):\n%s", jobs[i].Kind, diff)
					}
				}
				if len(jobs) == 0 {
					t.Errorf("JobsOf(%q) returned no jobs, want one for each kind", id)
				}
				return err
			})
			verify(t, s)
		})
	}
}

// TestNewUserTakesOverTheAccount: a user who is created with a leaver's userName takes over
// the application's account. Each application gets a job that enables the account after
// the leaver's jobs. The former name of an active user has no such effect.
func TestNewUserTakesOverTheAccount(t *testing.T) {
	s := storetest.New(t)
	leaver := create(t, s, "acme", "nina")
	do(t, s, patch("DELETE"), func(tx *store.Tx) error { return tx.DeleteUser(leaver) })
	again := create(t, s, "acme", "Nina")
	renamed := create(t, s, "acme", "otto")
	do(t, s, patch("PATCH"), edit(renamed, scim.Object{"userName": "otto.new", "externalId": "x-otto.new"}))
	other := create(t, s, "acme", "otto")
	view(t, s, "acme", func(r *store.Reader) error {
		jobs, err := r.AllJobsOf(again)
		if err != nil {
			return err
		}
		if len(jobs) != 1 || jobs[0].Kind != "account" || jobs[0].Event != "user.reactivated" ||
			jobs[0].After != leaver || jobs[0].NextAt.IsZero() {
			t.Errorf("jobs of the new user: %+v, want one that enables the account after %s", jobs, leaver)
		}
		if jobs, err = r.AllJobsOf(other); len(jobs) != 0 {
			t.Errorf("jobs of the user who took a former name of an active user: %+v, want none", jobs)
		}
		return err
	})
	do(t, s, patch("PATCH"), setActive(false, again)) // the user's own epochs begin with 1
	view(t, s, "acme", func(r *store.Reader) error {
		jobs, err := r.JobsOf(again, 0)
		if len(jobs) == 0 || jobs[0].Epoch != 1 {
			t.Errorf("JobsOf the latest epoch = %+v, want jobs of epoch 1", jobs)
		}
		return err
	})
	verify(t, s)
}

// TestCreatedInactiveIsLocked: a user who is created inactive is locked at once.
func TestCreatedInactiveIsLocked(t *testing.T) {
	s := storetest.New(t)
	u := user("mia")
	u.Resource["active"] = false
	do(t, s, patch("POST"), func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
	if l, ok := lookup(s, subject.Subject{SCIMID: u.ID}); !ok || l.State != store.LockDeactivated {
		t.Errorf("Lookup = %+v, %t, want a deactivated lock", l, ok)
	}
	verify(t, s)
}

// TestFencing: a stalled worker must not overwrite a newer result.
func TestFencing(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "nina")
	do(t, s, patch("PATCH"), setActive(false, id))
	var stale store.Job
	view(t, s, "acme", func(r *store.Reader) error {
		jobs, err := r.JobsOf(id, 0)
		stale = jobs[0]
		return err
	})
	lease := func(owner string, j store.Job) error {
		return try(s, func(tx *store.Tx) error {
			j := j
			j.State, j.LeaseOwner, j.NextAt = store.JobRunning, owner, tx.Now().Add(time.Minute)
			return tx.SaveJob(&j)
		})
	}
	if err := lease("w1", stale); err != nil {
		t.Fatal(err)
	}
	if err := lease("w2", stale); !errors.Is(err, store.ErrFenced) {
		t.Errorf("SaveJob with an old version = %v, want ErrFenced", err)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		j, err := r.Job(stale.ID)
		if j.LeaseOwner != "w1" {
			t.Errorf("the lease belongs to %q, want w1", j.LeaseOwner)
		}
		due, _ := r.DueJobs(time.Now(), 100)
		if len(due) != 6 {
			t.Errorf("DueJobs returned %d jobs during the lease, want 6", len(due))
		}
		due, _ = r.DueJobs(time.Now().Add(time.Hour), 100)
		if len(due) != 7 || due[6].ID != stale.ID {
			t.Errorf("DueJobs returned %d jobs after the lease, want 7 and the leased one last", len(due))
		}
		return err
	})
	verify(t, s)
}

// TestOffboardingClosesWhenSettled: SettledAt closes an offboarding, and an old version cannot.
func TestOffboardingClosesWhenSettled(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "olga")
	do(t, s, patch("PATCH"), setActive(false, id))
	save := func(o store.Offboarding) error {
		return try(s, func(tx *store.Tx) error {
			o := o
			o.SettledAt = tx.Now()
			return tx.SaveOffboarding(&o)
		})
	}
	var o store.Offboarding
	view(t, s, "acme", func(r *store.Reader) error {
		open, err := r.OpenOffboardings()
		if len(open) != 1 {
			t.Fatalf("OpenOffboardings returned %d, want 1", len(open))
		}
		o = open[0]
		return err
	})
	if err := save(o); err != nil {
		t.Fatal(err)
	}
	if err := save(o); !errors.Is(err, store.ErrFenced) {
		t.Errorf("SaveOffboarding with an old version = %v, want ErrFenced", err)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		open, err := r.OpenOffboardings()
		if len(open) != 0 {
			t.Errorf("OpenOffboardings returned %d after it was settled, want 0", len(open))
		}
		return err
	})
	verify(t, s)
}

// TestLocksSurviveReopening: Open rebuilds the lock table from the rows.
func TestLocksSurviveReopening(t *testing.T) {
	o := storetest.Options()
	o.Dir = t.TempDir()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	id := create(t, s, "acme", "pat")
	do(t, s, patch("PATCH"), setActive(false, id))
	want, _ := lookup(s, subject.Subject{SCIMID: id})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, ok := lookup(s, subject.Subject{UserName: "PAT"})
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("Lookup found a lock: %t, want true (-want +got):\n%s", ok, diff)
	}
}

// TestAuditOfRefusals: AuditOnly records a refusal with the rules in the detail.
func TestAuditOfRefusals(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "quinn")
	do(t, s, patch("PATCH"), func(tx *store.Tx) error {
		tx.Changed("userName")
		tx.AuditOnly(id, "IL1-3.2")
		return nil
	})
	view(t, s, "acme", func(r *store.Reader) error {
		trail, err := r.AuditOf(id)
		if len(trail) != 2 || trail[1].Outcome != audit.OutcomeRefused || trail[1].Detail != "IL1-3.2" {
			t.Errorf("AuditOf = %+v, want two records, the second a refusal by IL1-3.2", trail)
		}
		return err
	})
	verify(t, s)
}

// TestReplay: of many uses of one assertion the first succeeds. The jti stays used until well
// after the expiry.
func TestReplay(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := storetest.Open(t, func(o *store.Options) { o.Now = func() time.Time { return now } })
	exp := now.Add(time.Minute)
	use := func(issuer string) error {
		return try(s, func(tx *store.Tx) error { return tx.UseJTI(issuer, "j", exp) })
	}
	errs := make(chan error, 32)
	for range 32 {
		go func() { errs <- use("iss") }()
	}
	won := 0
	for range 32 {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, store.ErrReplay) {
			t.Errorf("UseJTI = %v, want no error or ErrReplay", err)
		}
	}
	if won != 1 {
		t.Errorf("%d uses succeeded, want 1", won)
	}
	if err := use("other issuer"); err != nil {
		t.Errorf("UseJTI of another issuer = %v, want no error", err)
	}
	now = exp.Add(time.Second)
	sweep(t, s)
	if err := use("iss"); !errors.Is(err, store.ErrReplay) {
		t.Errorf("UseJTI just after the expiry = %v, want ErrReplay", err)
	}
	now = exp.Add(time.Hour)
	sweep(t, s)
	exp = now.Add(time.Minute)
	if err := use("iss"); err != nil {
		t.Errorf("UseJTI long after the expiry = %v, want no error", err)
	}
	verify(t, s)
}

func sweep(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatalf("sweeping: %v", err)
	}
}

// TestKeysAndClients: of several first starts one makes a key, and rows of clients are read back.
func TestKeysAndClients(t *testing.T) {
	s := storetest.New(t)
	// Several first starts at the same time make one key.
	errs := make(chan error, 8)
	for i := range 8 {
		go func() {
			err := try(s, func(tx *store.Tx) error {
				keys, err := tx.Keys("access-token")
				if err != nil || len(keys) > 0 {
					return err
				}
				return tx.PutKey(store.Key{ID: fmt.Sprint("k", i), Use: "access-token", JWK: []byte("{}"), Created: tx.Now()})
			})
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	view(t, s, "acme", func(r *store.Reader) error {
		keys, err := r.Keys("access-token")
		if len(keys) != 1 {
			t.Errorf("Keys returned %d keys, want 1", len(keys))
		}
		return err
	})
	update(t, s, "acme", func(tx *store.Tx) error { return tx.UseClient(store.ClientUse{ID: "c", LastKey: "kid"}) })
	view(t, s, "acme", func(r *store.Reader) error {
		c, err := r.ClientUse(store.ClientName{ID: "c"})
		if c.LastKey != "kid" {
			t.Errorf("ClientUse = %+v, want the key kid", c)
		}
		return err
	})
	verify(t, s)
}

// TestLockTableMemory: a lock takes little memory, so that ten thousand fit.
func TestLockTableMemory(t *testing.T) {
	o := storetest.Options()
	o.Dir = t.TempDir()
	o.Tenants = map[string]store.TenantOptions{"acme": {}}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	const n = 4000
	for base := 0; base < n; base += 100 {
		update(t, s, "acme", func(tx *store.Tx) error {
			for i := base; i < base+100; i++ {
				u := user(fmt.Sprintf("leaver-%06d", i))
				u.Resource["active"] = false
				if err := tx.CreateUser(u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Tenants = nil
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	s, err = store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := heap()
	got := s.Locks().Len()
	store.ForgetLocks(s)
	per := int64(full-heap()) / n
	t.Logf("%d bytes a lock", per)
	if got != n || per <= 0 || per > 700 {
		t.Errorf("%d locks of %d bytes, want %d of 1 to 700 bytes", got, per, n)
	}
}
