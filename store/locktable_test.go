package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

var lookupBase = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// randomLock is a lock of any state under names of every kind.
func randomLock(r *rand.Rand, name string) store.Lock {
	l := store.Lock{
		Tenant: "acme", UserID: "id-" + name, UserNames: []string{name}, ExternalID: "x-" + name,
		Emails: []string{name + "@example.com"}, State: store.LockLifted,
	}
	switch r.IntN(4) {
	case 0:
		l.State = store.LockDeactivated
	case 1:
		l.State = store.LockDeleted
	case 2:
		l.NotBefore = lookupBase.Add(time.Duration(r.IntN(5)) * time.Minute)
	}
	return l
}

// TestLookupRefusesWhatAnyNameRefuses: the names of a subject may lead to several locks. Lookup returns one that
// refuses each credential that the lock of some name refuses.
func TestLookupRefusesWhatAnyNameRefuses(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 1))
	for range 2000 {
		table := store.NewLockTable(time.Now)
		people := 1 + r.IntN(4)
		for i := range people {
			l := randomLock(r, fmt.Sprint("user", i))
			table.Put(&store.Change{Tenant: "acme", Lock: &l})
		}
		anybody := func() string { return fmt.Sprint("user", r.IntN(people+1)) } // the last one has no lock
		s := subject.Subject{Emails: []string{anybody() + "@example.com", anybody() + "@example.com"}}
		for kind, value := range map[subject.Name]string{
			subject.UserName: anybody(), subject.SCIMID: "id-" + anybody(), subject.ExternalID: "x-" + anybody(),
		} {
			if r.IntN(2) == 0 {
				s.Add(kind, value)
			}
		}
		got, found := table.Lookup("acme", &s)
		for minute := range 6 {
			issued := lookupBase.Add(time.Duration(minute) * time.Minute)
			want := false
			for kind, value := range s.Names() {
				one := subject.Named(kind, value)
				l, ok := table.Lookup("acme", &one)
				want = want || ok && l.Refuses(issued)
			}
			if refuses := found && got.Refuses(issued); refuses != want {
				t.Fatalf("Lookup(%+v) = %+v, which refuses a credential of %v: %t, want %t", s, got, issued, refuses, want)
			}
		}
	}
}
