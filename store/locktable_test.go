package store_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
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

// TestTableKeepsEveryField: a lock comes out of the table as it was put in.
func TestTableKeepsEveryField(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 1))
	for n := range 1000 {
		var l store.Lock
		for field := range reflect.ValueOf(&l).Elem().NumField() {
			f := reflect.ValueOf(&l).Elem().Field(field)
			if r.IntN(4) == 0 && n > 0 {
				continue // the zero value
			}
			switch v := f.Addr().Interface().(type) {
			case *[]string:
				*v = make([]string, r.IntN(3))
				for i := range *v {
					(*v)[i] = strings.Repeat("é", r.IntN(100))
				}
			case *time.Time:
				*v = lookupBase.Add(time.Duration(r.Int64()))
			case *uint64:
				*v = r.Uint64()
			case *store.Seq:
				*v = store.Seq(r.Uint64())
			case *string:
				*v = fmt.Sprint(r.Uint64())
			case *store.LockState:
				*v = store.LockState(fmt.Sprint(r.Uint64()))
			default:
				t.Fatalf("Lock has the type %s, which this test does not know: does the table keep it?", f.Type())
			}
		}
		table := store.NewLockTable(time.Now)
		table.Put(&store.Change{Lock: &l})
		if all := table.All(); len(all) != 1 || !reflect.DeepEqual(*all[0].Lock, l) {
			t.Fatalf("the table has %+v, want %+v", all, l)
		}
	}
}

// TestReplace: the table has the locks of the other one and no others, and whoever subscribed gets each of them.
func TestReplace(t *testing.T) {
	t.Parallel()
	table := store.NewLockTable(time.Now)
	got := map[string]bool{}
	table.Subscribe(func(l store.Lock) { got[l.UserID] = true })
	put := func(to *store.LockTable, name string) {
		l := randomLock(rand.New(rand.NewPCG(1, 1)), name)
		to.Put(&store.Change{Lock: &l})
	}
	put(table, "old")
	next := table.Next()
	put(next, "ada")
	put(next, "bob")
	table.Replace(next)
	if want := map[string]bool{"id-old": true, "id-ada": true, "id-bob": true}; !reflect.DeepEqual(got, want) {
		t.Errorf("the locks of %v were told, want %v", got, want)
	}
	for name, want := range map[string]bool{"old": false, "ada": true, "bob": true} {
		if _, found := table.Lookup("acme", &subject.Subject{UserName: name}); found != want {
			t.Errorf("a lock of %s: %t, want %t", name, found, want)
		}
	}
}
