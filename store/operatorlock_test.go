package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

func operator(action string) store.Cause {
	return store.Cause{
		Actor: "operator:root", Claimed: "Zoë", Reason: "laptop stolen", RequestID: "r-" + action,
		Action: action, Decision: "operator",
	}
}

// lockBy locks a person as an operator.
func lockBy(t *testing.T, s *store.Store, name string, until time.Time, revoke bool) store.OperatorLock {
	t.Helper()
	l, err := s.LockByOperator(t.Context(), "acme", operator("operator.lock"), name, until, revoke)
	if err != nil {
		t.Fatalf("locking %s: %v", name, err)
	}
	return l
}

func unlockBy(t *testing.T, s *store.Store, name string) (lifted []store.OperatorLock) {
	t.Helper()
	do(t, s, operator("operator.unlock"), func(tx *store.Tx) (err error) {
		lifted, err = tx.UnlockByOperator(name)
		return err
	})
	return lifted
}

// subjects are the ways in which a credential can name the user of [user].
func subjects(id, name string) map[string]subject.Subject {
	return map[string]subject.Subject{
		"id": {SCIMID: id}, "userName": {UserName: strings.ToUpper(name)}, "externalId": {ExternalID: "x-" + name},
		"email": {Emails: []string{strings.ToUpper(name) + "@example.com"}},
	}
}

func isLocked(t *testing.T, s *store.Store, who map[string]subject.Subject, want bool) {
	t.Helper()
	for by, sub := range who {
		l, ok := lookup(s, sub)
		if got := ok && refusesAll(l); got != want {
			t.Errorf("by %s: %+v, locked %t, want %t", by, l, got, want)
		}
	}
}

// TestOperatorLockSurvivesTheIdentityProvider: an operator's lock holds under every name, through a
// deactivation and a reactivation, and after a restart. Only the operator lifts it, and what the
// identity provider locked stays locked then.
func TestOperatorLockSurvivesTheIdentityProvider(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, func(o *store.Options) { o.Dir = dir })
	id := create(t, s, "acme", "Grace")
	var told []store.Lock
	stop := s.Locks().Subscribe(func(l store.Lock) { told = append(told, l) })
	lock := lockBy(t, s, "GRACE@example.com", time.Time{}, false)
	stop()
	if len(told) == 0 || told[0].UserID != id || len(told[0].UserNames) != 1 {
		t.Errorf("the subscriber got %+v, want the lock of %s with its names", told, id)
	}
	isLocked(t, s, subjects(id, "Grace"), true)
	l, _ := lookup(s, subject.Subject{SCIMID: id})
	if l.State != store.LockOperator || l.Operator != lock.ID || l.UserID != id {
		t.Errorf("Lookup = %+v, want the operator's lock %s of %s", l, lock.ID, id)
	}
	update(t, s, "acme", setActive(false, id))
	isLocked(t, s, subjects(id, "Grace"), true)
	update(t, s, "acme", setActive(true, id))
	isLocked(t, s, subjects(id, "Grace"), true)
	if n := enableJobs(t, s, id); n != 0 {
		t.Errorf("%d applications enable the account under the operator's lock, want none", n)
	}
	verify(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, func(o *store.Options) { o.Dir = dir })
	isLocked(t, s, subjects(id, "Grace"), true)
	if lifted := unlockBy(t, s, "grace"); len(lifted) != 1 || lifted[0].ID != lock.ID {
		t.Errorf("lifted %+v, want %s", lifted, lock.ID)
	}
	isLocked(t, s, subjects(id, "Grace"), false)
	if l, ok := lookup(s, subject.Subject{SCIMID: id}); !ok || !l.Refuses(l.NotBefore) {
		t.Errorf("%+v %t: a credential from before the deactivation is not refused", l, ok)
	}
	if n := enableJobs(t, s, id); n == 0 {
		t.Error("no application enables the account after the operator's lock, want one")
	}
	update(t, s, "acme", setActive(false, id))
	lockBy(t, s, id, time.Time{}, false)
	unlockBy(t, s, id)
	isLocked(t, s, subjects(id, "Grace"), true) // by the identity provider
	if lifted := unlockBy(t, s, id); len(lifted) != 0 {
		t.Errorf("lifted %+v without a lock, want none", lifted)
	}
	verify(t, s)
}

func enableJobs(t *testing.T, s *store.Store, id string) (n int) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) error {
		jobs, err := r.AllJobsOf(id)
		for _, j := range jobs {
			if j.Event == "user.reactivated" {
				n++
			}
		}
		return err
	})
	return n
}

// TestOperatorLockOfAStranger: a name that nobody has can be locked. Whoever gets the name, in any
// attribute, is locked under every name, also under later ones.
func TestOperatorLockOfAStranger(t *testing.T) {
	for _, name := range []string{"grace", "x-grace", "GRACE@example.com"} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t)
			lockBy(t, s, name, time.Time{}, false)
			isLocked(t, s, map[string]subject.Subject{
				"userName": {UserName: name}, "externalId": {ExternalID: name}, "email": {Emails: []string{name}},
				"id": {SCIMID: name}, "application id": {AppUserID: name},
			}, true)
			id := create(t, s, "acme", "grace")
			isLocked(t, s, subjects(id, "grace"), true)
			update(t, s, "acme", func(tx *store.Tx) error {
				u, err := tx.User(id)
				if err != nil {
					return err
				}
				u.Resource["userName"] = "hopper"
				_, err = tx.UpdateUser(&u)
				return err
			})
			isLocked(t, s, map[string]subject.Subject{"new name": {UserName: "hopper"}, "id": {SCIMID: id}}, true)
			if l, ok := s.Locks().Lookup("globex", &subject.Subject{UserName: name}); ok {
				t.Errorf("another tenant has the lock %+v", l)
			}
			unlockBy(t, s, "hopper")
			isLocked(t, s, subjects(id, "grace"), false)
			verify(t, s)
		})
	}
}

// TestOperatorLockMeetsCreation: a user who is created while the name is locked is locked under
// every name, whichever of the two comes first.
func TestOperatorLockMeetsCreation(t *testing.T) {
	s := storetest.New(t)
	for i := range 40 {
		name := fmt.Sprint("user", i)
		asked := []string{name, "x-" + name, name + "@example.com"}[i%3]
		var id string
		var wg sync.WaitGroup
		wg.Go(func() { id = create(t, s, "acme", name) })
		wg.Go(func() {
			if _, err := s.LockByOperator(t.Context(), "acme", operator("operator.lock"), asked, time.Time{}, false); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		isLocked(t, s, subjects(id, name), true)
	}
	verify(t, s)
}

// TestOperatorLockExpires: the lock ends at its time without anybody's help. Its end is audited
// when the row is removed, and never removes a lock that was prolonged.
func TestOperatorLockExpires(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	at := func(to time.Time) { mu.Lock(); defer mu.Unlock(); now = to }
	s := storetest.Open(t, func(o *store.Options) { o.InMemory, o.Now = true, clock })
	id := create(t, s, "acme", "grace")
	l := lockBy(t, s, "grace", now.Add(time.Hour), false)
	expire := func() {
		do(t, s, storetest.Cause("operator.lock.expired"), func(tx *store.Tx) error { return tx.ExpireOperatorLock(l.ID) })
	}
	at(now.Add(time.Hour - time.Nanosecond))
	expire()
	isLocked(t, s, subjects(id, "grace"), true)
	at(now.Add(time.Nanosecond))
	isLocked(t, s, subjects(id, "grace"), false)
	before := lockNotes(t, s, id)
	rename(t, s, id, "hopper")
	rename(t, s, id, "grace")
	if n := lockNotes(t, s, id); n != before {
		t.Errorf("%d records say that the user is locked by an operator, want the %d from before the end", n, before)
	}
	if again := lockBy(t, s, "grace", now.Add(time.Hour), false); again.ID != l.ID {
		t.Errorf("a second lock %s of one person, want %s", again.ID, l.ID)
	}
	expire()
	isLocked(t, s, subjects(id, "grace"), true)
	at(now.Add(2 * time.Hour))
	expire()
	if left := s.Locks().Operator("acme"); len(left) != 0 {
		t.Errorf("%+v is left after its end", left)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		recs, err := r.AuditOf(id)
		if last := recs[len(recs)-1]; !strings.HasSuffix(last.Detail, l.ID+" expired") {
			t.Errorf("the last record says %q, want that %s expired", last.Detail, l.ID)
		}
		return err
	})
	verify(t, s)
}

// lockNotes counts the audit records which say that an operator locked the user.
func lockNotes(t *testing.T, s *store.Store, id string) (n int) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) error {
		recs, err := r.AuditOf(id)
		for i := range recs {
			n += strings.Count(recs[i].Detail, "locked by an operator")
		}
		return err
	})
	return n
}

// TestOperatorLockRevokes: with revoke an active user gets an epoch whose cause is the operator, and
// old credentials stay refused after the lock. The user stays active.
func TestOperatorLockRevokes(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "grace")
	lockBy(t, s, "grace", time.Time{}, true)
	isLocked(t, s, subjects(id, "grace"), true)
	view(t, s, "acme", func(r *store.Reader) error {
		off, err := r.Offboarding(id, 1)
		if off.Event != "user.locked" || off.Cause.Actor != "operator:root" || off.Cause.Reason != "laptop stolen" {
			t.Errorf("offboarding %+v, want one of the operator", off)
		}
		jobs, jerr := r.JobsOf(id, 1)
		if len(jobs) == 0 || jobs[0].Event != "user.deactivated" {
			t.Errorf("jobs %+v, want deactivations", jobs)
		}
		u, uerr := r.User(id)
		if !u.Active() {
			t.Error("the user is inactive in the directory, want active")
		}
		return errors.Join(err, jerr, uerr)
	})
	verify(t, s)
	unlockBy(t, s, "grace")
	isLocked(t, s, subjects(id, "grace"), false)
	l, ok := lookup(s, subject.Subject{UserName: "grace"})
	if !ok || !l.Refuses(l.NotBefore) || l.NotBefore.IsZero() {
		t.Errorf("%+v %t: a credential from before the lock is not refused", l, ok)
	}
	if enableJobs(t, s, id) == 0 {
		t.Error("no application enables the account again")
	}
	if _, err := s.LockByOperator(t.Context(), "acme", operator("operator.lock"), "nobody", time.Time{}, true); !errors.Is(err, store.ErrNobody) {
		t.Errorf("revoking for a stranger = %v, want ErrNobody", err)
	}
	verify(t, s)
}

// TestOperatorLockIsOfOnePerson: who shares an e-mail address with a locked user is not locked by
// id or user name, and a name of two users is refused.
func TestOperatorLockIsOfOnePerson(t *testing.T) {
	s := storetest.New(t)
	ada, bob := create(t, s, "acme", "ada"), create(t, s, "acme", "bob")
	share := func(tx *store.Tx) error {
		u, err := tx.User(bob)
		if err != nil {
			return err
		}
		u.Resource["emails"] = user("ada").Resource["emails"]
		_, err = tx.UpdateUser(&u)
		return err
	}
	lockBy(t, s, "ada", time.Time{}, false)
	update(t, s, "acme", share)
	isLocked(t, s, subjects(ada, "ada"), true)
	isLocked(t, s, map[string]subject.Subject{"id": {SCIMID: bob}, "userName": {UserName: "bob"}}, false)
	var several *store.AmbiguousNameError
	_, err := s.LockByOperator(t.Context(), "acme", operator("operator.lock"), "ada@example.com", time.Time{}, false)
	if !errors.As(err, &several) || len(several.IDs) != 2 {
		t.Errorf("locking a shared address = %v, want two ids", err)
	}
	verify(t, s)
}

// TestUnlockIsOfOnePerson: a name of two locked users lifts neither lock, and the name of one does not lift
// the lock of another who had it.
func TestUnlockIsOfOnePerson(t *testing.T) {
	s := storetest.New(t)
	ada, bob := create(t, s, "acme", "ada"), create(t, s, "acme", "bob")
	address := func(id, of string) {
		update(t, s, "acme", func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			u.Resource["emails"] = user(of).Resource["emails"]
			_, err = tx.UpdateUser(&u)
			return err
		})
	}
	address(bob, "ada")
	lockBy(t, s, "ada", time.Time{}, false)
	lockBy(t, s, "bob", time.Time{}, false)
	var several *store.AmbiguousNameError
	_, err := s.Update(t.Context(), "acme", operator("operator.unlock"), func(tx *store.Tx) error {
		_, err := tx.UnlockByOperator("ada@example.com")
		return err
	})
	if !errors.As(err, &several) || len(several.IDs) != 2 {
		t.Errorf("unlocking a shared address = %v, want two ids", err)
	}
	address(bob, "bob")
	if lifted := unlockBy(t, s, "ada@example.com"); len(lifted) != 1 || lifted[0].User != ada {
		t.Errorf("unlocking ada's address lifted %+v", lifted)
	}
	isLocked(t, s, map[string]subject.Subject{"id": {SCIMID: ada}}, false)
	isLocked(t, s, map[string]subject.Subject{"id": {SCIMID: bob}, "userName": {UserName: "bob"}}, true)
	verify(t, s)
}

// rename gives a user a userName, and an externalId and an e-mail address that go with it.
func rename(t *testing.T, s *store.Store, id, name string) {
	t.Helper()
	update(t, s, "acme", func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		for attr, v := range user(name).Resource {
			u.Resource[attr] = v
		}
		_, err = tx.UpdateUser(&u)
		return err
	})
}

// TestOperatorLockForEachHolderOfAName: a locked name that goes from hand to hand locks each holder with a lock of
// their own. Lifting or shortening one leaves the others, also when some were deleted.
func TestOperatorLockForEachHolderOfAName(t *testing.T) {
	s := storetest.New(t)
	lockBy(t, s, "guest", time.Time{}, false)
	ada := create(t, s, "acme", "guest")
	rename(t, s, ada, "ada")
	bob := create(t, s, "acme", "guest")
	rename(t, s, bob, "bob")
	eve := create(t, s, "acme", "guest")
	for name, id := range map[string]string{"ada": ada, "bob": bob, "guest": eve} {
		isLocked(t, s, subjects(id, name), true)
	}
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(bob) })
	for _, value := range []string{"bob", bob} {
		lockBy(t, s, value, time.Now().Add(time.Hour), false)
	}
	for _, l := range s.Locks().Operator("acme") {
		if want := l.User == bob; l.Until.IsZero() == want {
			t.Errorf("the lock of %s ends at %v, after that of %s was shortened", l.User, l.Until, bob)
		}
	}
	unlockBy(t, s, "bob")
	isLocked(t, s, subjects(ada, "ada"), true)
	isLocked(t, s, subjects(eve, "guest"), true)
	unlockBy(t, s, "guest")
	isLocked(t, s, subjects(eve, "guest"), false)
	isLocked(t, s, subjects(ada, "ada"), true)
	rename(t, s, eve, "eve")
	isLocked(t, s, subjects(eve, "eve"), false)
	verify(t, s)
}

// TestOperatorLockOfAFormerName: a name that a locked person does not have any more is nobody's, so a lock of it is
// a new one, and whoever gets it is locked. Lifting by the former userName lifts the person's lock.
func TestOperatorLockOfAFormerName(t *testing.T) {
	s := storetest.New(t)
	ada := create(t, s, "acme", "ada")
	own := lockBy(t, s, "ada", time.Time{}, false)
	rename(t, s, ada, "lovelace")
	for _, former := range []string{"ada@example.com", "ada"} {
		l := lockBy(t, s, former, time.Now().Add(time.Hour), false)
		if l.ID == own.ID || l.User != "" {
			t.Errorf("locking %s = %+v, want a lock of nobody yet", former, l)
		}
		if lifted := unlockBy(t, s, former); len(lifted) != 1 || lifted[0].ID != l.ID {
			t.Errorf("unlocking %s lifted %+v, want %s", former, lifted, l.ID)
		}
	}
	isLocked(t, s, subjects(ada, "lovelace"), true)
	if lifted := unlockBy(t, s, "ada@example.com"); len(lifted) != 0 {
		t.Errorf("a former address lifted %+v", lifted)
	}
	if lifted := unlockBy(t, s, "ada"); len(lifted) != 1 || lifted[0].ID != own.ID {
		t.Errorf("the former userName lifted %+v, want %s", lifted, own.ID)
	}
	isLocked(t, s, subjects(ada, "lovelace"), false)
	verify(t, s)
}

// TestOperatorLockOfADeletedUser: the lock holds for the next user of the name.
func TestOperatorLockOfADeletedUser(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "grace")
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	lockBy(t, s, "grace", time.Time{}, false)
	next := create(t, s, "acme", "grace")
	isLocked(t, s, subjects(next, "grace"), true)
	unlockBy(t, s, "grace")
	isLocked(t, s, subjects(next, "grace"), false)
	verify(t, s)
}

// TestOperatorLockFollowsThePersonToANewAccount: the identity provider deletes a locked user and creates the
// person again, under another userName.
func TestOperatorLockFollowsThePersonToANewAccount(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "Grace")
	lockBy(t, s, id, time.Time{}, false)
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	again := user("grace.hopper")
	again.Resource["externalId"] = "x-Grace"
	update(t, s, "acme", func(tx *store.Tx) error { again.ID = ""; return tx.CreateUser(again) })
	isLocked(t, s, map[string]subject.Subject{"id": {SCIMID: again.ID}, "userName": {UserName: "grace.hopper"}}, true)
	verify(t, s)
}

// TestOperatorLockOfTheNameThatWasGiven: whoever gets the name that the operator typed is locked, of whatever kind it
// is, while its first owner is there and after.
func TestOperatorLockOfTheNameThatWasGiven(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.InMemory = true })
	for _, given := range []string{"userName", "externalId", "email", "SCIM id"} {
		for _, gone := range []bool{true, false} {
			name := fmt.Sprintf("%s-%t", strings.ReplaceAll(given, " ", ""), gone)
			id := create(t, s, "acme", name)
			typed := map[string]string{
				"userName": strings.ToUpper(name), "externalId": "x-" + name, "email": strings.ToUpper(name) + "@example.com",
				"SCIM id": id,
			}[given]
			lockBy(t, s, typed, time.Time{}, false)
			if gone {
				update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(id) })
			} else {
				changed := user(name + "-moved")
				changed.ID = id
				update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.UpdateUser(changed); return err })
			}
			again := user(name + "-again")
			switch given {
			case "userName":
				again.Resource["userName"] = name
			case "externalId":
				again.Resource["externalId"] = typed
			case "email":
				again.Resource["emails"] = []any{scim.Object{"value": typed}}
			}
			update(t, s, "acme", func(tx *store.Tx) error { again.ID = ""; return tx.CreateUser(again) })
			isLocked(t, s, map[string]subject.Subject{"SCIM id after " + given: {SCIMID: again.ID}}, given != "SCIM id")
			isLocked(t, s, map[string]subject.Subject{"first SCIM id": {SCIMID: id}}, true)
		}
	}
	verify(t, s)
}

// TestOperatorLockIsAudited: each act has its operator, the claimed name and the reason, and no name
// of a person.
func TestOperatorLockIsAudited(t *testing.T) {
	s := storetest.New(t)
	lockBy(t, s, "stranger@corp.example", time.Time{}, false)
	unlockBy(t, s, "stranger@corp.example")
	view(t, s, "acme", func(r *store.Reader) error {
		recs, err := r.AuditOf(store.NameDigest("acme", "STRANGER@corp.example"))
		if len(recs) != 2 {
			t.Fatalf("%d records, want two", len(recs))
		}
		for i, action := range []string{"operator.lock", "operator.unlock"} {
			rec := recs[i]
			got := []string{rec.Actor, rec.Claimed, rec.Reason, rec.Action, rec.Outcome}
			if d := cmp.Diff([]string{"operator:root", "Zoë", "laptop stolen", action, audit.OutcomeDone}, got); d != "" {
				t.Errorf("record %d (-want +got):\n%s", i, d)
			}
			b, err := audit.Encode(&rec)
			if err != nil || strings.Contains(string(b), "stranger") {
				t.Errorf("record %s %v has a name", b, err)
			}
		}
		return err
	})
}

// TestOperatorLocksAreBounded: a tenant has at most 500 of them, and 500 of users who got a locked name. Nobody gets
// a locked name without a lock.
func TestOperatorLocksAreBounded(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.InMemory = true })
	for i := range 500 {
		do(t, s, operator("operator.lock"), func(tx *store.Tx) error {
			_, err := tx.LockByOperator(fmt.Sprint("n", i), time.Time{}, false)
			return err
		})
	}
	_, err := s.LockByOperator(t.Context(), "acme", operator("operator.lock"), "one more", time.Time{}, false)
	if !errors.Is(err, store.ErrManyLocks) {
		t.Errorf("lock 501 = %v, want ErrManyLocks", err)
	}
	lockBy(t, s, "n7", time.Time{}, false) // again
	verify(t, s)
	share := func(i int) error { // the address n7
		u := user(fmt.Sprint("user", i))
		u.Resource["emails"] = []any{scim.Object{"value": "n7"}}
		return try(s, func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
	}
	for i := range 501 { // the first gets the lock of the operator
		if err := share(i); err != nil {
			t.Fatal(err)
		}
	}
	err = share(501)
	if !errors.Is(err, store.ErrManyLocks) {
		t.Errorf("lock 501 of users who got a locked name = %v, want ErrManyLocks", err)
	}
	verify(t, s)
}

// TestOperatorLockFollowsEveryNewName: a lock has a bounded number of names, and the newest are always
// among them.
func TestOperatorLockFollowsEveryNewName(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.InMemory = true })
	id := create(t, s, "acme", "Grace")
	lockBy(t, s, "grace", time.Time{}, false)
	const parts, each = 20, 50
	for part := range parts {
		update(t, s, "acme", func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			var emails []any
			for n := range each {
				emails = append(emails, scim.Object{"value": fmt.Sprintf("grace%d@example.com", part*each+n)})
			}
			u.Resource["emails"] = emails
			_, err = tx.UpdateUser(&u)
			return err
		})
		newest := fmt.Sprintf("grace%d@example.com", part*each+each-1)
		isLocked(t, s, map[string]subject.Subject{newest: {Emails: []string{newest}}}, true)
	}
	isLocked(t, s, map[string]subject.Subject{"userName": {UserName: "grace"}, "id": {SCIMID: id}}, true)
	if n := len(s.Locks().Operator("acme")[0].Names); n > 600 {
		t.Errorf("the lock has %d names, want at most 600", n)
	}
	verify(t, s)
}

// TestOperatorLockOfManyUserNames: a lock follows a user through any number of userNames, and stays bounded.
func TestOperatorLockOfManyUserNames(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.InMemory = true })
	id := create(t, s, "acme", "Grace")
	lockBy(t, s, "grace", time.Time{}, false)
	for n := range 150 {
		update(t, s, "acme", func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			u.Resource["userName"] = fmt.Sprint("grace", n)
			_, err = tx.UpdateUser(&u)
			return err
		})
	}
	isLocked(t, s, map[string]subject.Subject{
		"id": {SCIMID: id}, "first": {UserName: "grace"}, "last": {UserName: "grace149"},
	}, true)
	if l := s.Locks().Operator("acme")[0]; len(l.Followed) > 100 || len(l.Names) > 600 {
		t.Errorf("the lock followed %d asked names of %d, want at most 100 of 600", len(l.Followed), len(l.Names))
	}
	verify(t, s)
}

// TestOperatorLockAsksThePresentName: however many names come later, whoever gets the userName that the person has, or
// has again, is locked.
func TestOperatorLockAsksThePresentName(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.InMemory = true }) // externalIds are unique
	id := create(t, s, "acme", "grace")
	lockBy(t, s, "grace", time.Time{}, false)
	set := func(attribute, value string) {
		t.Helper()
		update(t, s, "acme", func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			u.Resource[attribute] = value
			_, err = tx.UpdateUser(&u)
			return err
		})
	}
	asked := func(name string) {
		t.Helper()
		if l := s.Locks().Operator("acme")[0]; !asks(&l, name) {
			t.Errorf("the userName %s is not asked", name)
		}
	}
	for n := range 21 {
		set("userName", fmt.Sprint("grace", n))
	}
	for n := range 120 {
		set("externalId", fmt.Sprint("e", n))
		asked("grace20")
	}
	set("userName", "grace15")
	asked("grace15")
	set("userName", "hopper")
	again := create(t, s, "acme", "grace15")
	isLocked(t, s, map[string]subject.Subject{"the next grace15": {SCIMID: again}}, true)
	verify(t, s)
}

// TestOperatorLockKeepsWhatWasGiven: a name of a later lock of the same person stays through any number of renames, and
// the store refuses more names than it takes instead of forgetting one.
func TestOperatorLockKeepsWhatWasGiven(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.InMemory = true })
	id := create(t, s, "acme", "grace")
	own := lockBy(t, s, id, time.Time{}, false)
	names := 0
	for many := (*store.ManyNamesError)(nil); many == nil; names++ {
		name := fmt.Sprint("grace", names)
		rename(t, s, id, name)
		_, err := s.LockByOperator(t.Context(), "acme", operator("operator.lock"), name, time.Time{}, false)
		if errors.As(err, &many) && many.Lock != own.ID || err != nil && many == nil || names > 300 {
			t.Fatalf("lock %d = %v", names, err)
		}
	}
	rename(t, s, id, "hopper")
	if l := lockBy(t, s, own.ID, time.Now().Add(time.Hour), false); l.Until.IsZero() || l.ID != own.ID {
		t.Errorf("the id of the lock changed %+v, want %s", l, own.ID)
	}
	for _, name := range []string{"grace", "grace0", "grace8", fmt.Sprint("grace", names-2)} {
		isLocked(t, s, map[string]subject.Subject{"the next " + name: {SCIMID: create(t, s, "acme", name)}}, true)
	}
	verify(t, s)
}

// TestFormerOperatorLock: what a row of a version with one list of asked names has in it stays.
func TestFormerOperatorLock(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, func(o *store.Options) { o.Dir = dir })
	id := create(t, s, "acme", "grace")
	if err := store.PutFormerOperatorLock(t.Context(), s, "acme", id, "grace", "before"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, func(o *store.Options) { o.Dir = dir })
	for n := range 120 {
		rename(t, s, id, fmt.Sprint("grace", n))
	}
	isLocked(t, s, map[string]subject.Subject{"the next holder": {SCIMID: create(t, s, "acme", "before")}}, true)
	if got := s.Locks().Operator("acme")[0].Name(); got != "grace" {
		t.Errorf("the lock is called %s, want grace", got)
	}
	verify(t, s)
}
