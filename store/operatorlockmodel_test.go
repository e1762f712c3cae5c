package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// TestOperatorLocksOfPeople: in every history, a person has at most one operator's lock, nobody but an operator ends
// it, an operator's act changes the lock of the person who is meant and no other, a locked person is refused under
// every present name, whoever gets an asked name is locked at least as long, and a name that an operator gave is asked
// until its lock is lifted, however many names come later.
func TestOperatorLocksOfPeople(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := storetest.Open(t, func(o *store.Options) { o.InMemory = true })
			w := lockWorld{t: t, s: s, r: rand.New(rand.NewPCG(seed, 7)), given: map[string]bool{}}
			for range 250 {
				w.step()
			}
			verify(t, w.s)
		})
	}
}

type lockWorld struct {
	t   *testing.T
	s   *store.Store
	r   *rand.Rand
	log []string
	// given are names that operators gave to locks that nobody lifted.
	given map[string]bool
	fresh int // names that nobody had before
}

func asks(l *store.OperatorLock, userName string) bool {
	n := store.LockedName{Kind: subject.UserName, Value: userName}
	return slices.Contains(l.Given, n) || slices.Contains(l.Followed, n)
}

func (w *lockWorld) locks() map[string]store.OperatorLock {
	out := map[string]store.OperatorLock{}
	for _, l := range w.s.Locks().Operator("acme") {
		out[l.ID] = l
	}
	return out
}

// people returns the userNames of the users by id.
func (w *lockWorld) people() map[string]string {
	out := map[string]string{}
	view(w.t, w.s, "acme", func(r *store.Reader) error {
		return r.Users("", func(u store.User) bool {
			out[u.ID], _ = u.Resource["userName"].(string)
			return true
		})
	})
	return out
}

func (w *lockWorld) step() {
	w.t.Helper()
	names := []string{"ada", "bob", "eve", "guest", "mia"}
	name := names[w.r.IntN(len(names))]
	people, before := w.people(), w.locks()
	ids := slices.Sorted(maps.Keys(people))
	holder, free := "", true // of name
	for id, n := range people {
		if n == name {
			holder, free = id, false
		}
	}
	var id string
	if len(ids) > 0 {
		id = ids[w.r.IntN(len(ids))]
	}
	meant := "" // the person whom an operator means
	if id != "" && w.r.IntN(4) == 0 && !free {
		name, holder, free = people[id], id, false
	}
	switch op := w.r.IntN(7); {
	case op == 0 && free:
		w.log = append(w.log, "create "+name)
		id = create(w.t, w.s, "acme", name)
		w.got(id, name, before)
	case op == 1 && free && id != "":
		w.log = append(w.log, "rename "+people[id]+" to "+name)
		rename(w.t, w.s, id, name)
		w.got(id, name, before)
	case op == 2 && id != "":
		w.log = append(w.log, "delete "+people[id])
		update(w.t, w.s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	case op == 6 && id != "":
		w.log = append(w.log, "rename "+people[id]+" often")
		for range 30 {
			w.fresh++
			rename(w.t, w.s, id, fmt.Sprint("fresh", w.fresh))
		}
	case op == 3:
		until := time.Time{}
		if w.r.IntN(2) == 0 {
			until = time.Now().Add(time.Hour)
		}
		w.log = append(w.log, "lock "+name)
		l := lockBy(w.t, w.s, name, until, false)
		w.given[name] = true
		if meant = l.ID; l.User != holder && !free {
			w.t.Fatalf("%v: locked %q, want %q", w.log, l.User, holder)
		}
		if old, ok := before[l.ID]; ok && old.User != l.User && old.User != "" {
			w.t.Fatalf("%v: the lock %s went from %s to %s", w.log, l.ID, old.User, l.User)
		}
	case op == 4:
		w.log = append(w.log, "unlock "+name)
		w.unlock(name, holder, before)
		return
	default:
		return
	}
	after := w.locks()
	for old, l := range before {
		now, ok := after[old]
		shorter := ok && !now.Until.IsZero() && (l.Until.IsZero() || now.Until.Before(l.Until))
		if old != meant && (!ok && !w.joined(l, after) || shorter) {
			w.t.Fatalf("%v: lock %+v became %+v", w.log, l, now)
		}
	}
	w.check(after)
}

// joined reports whether a lock that is gone is part of another one.
func (w *lockWorld) joined(gone store.OperatorLock, after map[string]store.OperatorLock) bool {
	for _, l := range after {
		if !slices.ContainsFunc(gone.Given, func(n store.LockedName) bool { return !slices.Contains(l.Names, n) }) {
			return true
		}
	}
	return false
}

// got checks that a user who got a name is locked as long as the locks that asked it.
func (w *lockWorld) got(id, name string, before map[string]store.OperatorLock) {
	w.t.Helper()
	for _, l := range before {
		if !asks(&l, name) {
			continue
		}
		own, ok := w.of(id)
		if !ok || !own.Until.IsZero() && (l.Until.IsZero() || own.Until.Before(l.Until)) {
			w.t.Fatalf("%v: %s got the name of lock %+v and has %+v", w.log, id, l, own)
		}
	}
}

func (w *lockWorld) of(id string) (store.OperatorLock, bool) {
	for _, l := range w.locks() {
		if l.User == id {
			return l, true
		}
	}
	return store.OperatorLock{}, false
}

// unlock lifts the locks of a name and checks that all others are as before.
func (w *lockWorld) unlock(name, holder string, before map[string]store.OperatorLock) {
	w.t.Helper()
	var lifted []store.OperatorLock
	_, err := w.s.Update(w.t.Context(), "acme", operator("operator.unlock"), func(tx *store.Tx) (err error) {
		lifted, err = tx.UnlockByOperator(name)
		return err
	})
	if err != nil && !errors.As(err, new(*store.SeveralLocksError)) {
		w.t.Fatalf("%v: %v", w.log, err)
	}
	for _, l := range lifted {
		if holder != "" && l.User != holder {
			w.t.Fatalf("%v: lifted the lock of %s, want that of %s", w.log, l.User, holder)
		}
		delete(before, l.ID)
		maps.DeleteFunc(w.given, func(name string, _ bool) bool { return asks(&l, name) })
	}
	if d := cmp.Diff(before, w.locks()); d != "" {
		w.t.Fatalf("%v: other locks changed (-before +after):\n%s", w.log, d)
	}
	if holder != "" {
		isLocked(w.t, w.s, map[string]subject.Subject{"id": {SCIMID: holder}, "userName": {UserName: name}}, false)
	}
}

func (w *lockWorld) check(after map[string]store.OperatorLock) {
	w.t.Helper()
	asked := map[string]bool{}
	for name := range w.given {
		for _, l := range after {
			asked[name] = asked[name] || asks(&l, name)
		}
	}
	if d := cmp.Diff(w.given, asked); d != "" {
		w.t.Fatalf("%v: what operators gave is not asked (-want +got):\n%s", w.log, d)
	}
	people, of := w.people(), map[string]bool{}
	for _, l := range after {
		if l.User == "" {
			continue
		}
		if of[l.User] {
			w.t.Fatalf("%v: two locks of %s", w.log, l.User)
		}
		of[l.User] = true
		if name, ok := people[l.User]; ok {
			isLocked(w.t, w.s, subjects(l.User, name), true)
		}
	}
	if w.t.Failed() {
		w.t.Fatalf("%v: %+v", w.log, after)
	}
}
