package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/subject"
)

// LockTable has every lock of every tenant in memory, for the request path. A lookup does
// no I/O, and its allocations do not grow with the table. That of a store is complete when Open
// returns, and has a change before Update returns. A process without a store fills one of its own
// with [LockTable.Replace] and [LockTable.Put].
type LockTable struct {
	now func() time.Time
	sub listeners[Lock]

	mu      sync.RWMutex
	tenants map[string]*tenantLocks
}

// tenantLocks has the locks of one tenant. Each name belongs to one lock (see locks.go).
type tenantLocks struct {
	tenant string

	byID, byUserName, byExternalID, byEmail map[string]*tableLock
	operators                               map[string]*OperatorLock // by id
	operatorNames                           map[LockedName][]*OperatorLock
}

// by returns the locks by a kind of name, nil for a kind that locks do not have. Every request looks in these maps, so
// they are fields and not a map of maps.
func (tl *tenantLocks) by(kind subject.Name) map[string]*tableLock {
	switch kind {
	case subject.SCIMID:
		return tl.byID
	case subject.UserName:
		return tl.byUserName
	case subject.ExternalID:
		return tl.byExternalID
	case subject.Email:
		return tl.byEmail
	case subject.AppUserID:
	}
	return nil
}

// lock returns a lock for others than requests.
func (tl *tenantLocks) lock(e *tableLock) Lock { return unpackLock(tl.tenant, e.row) }

// NewLockTable returns an empty table that is of no store.
func NewLockTable(now func() time.Time) *LockTable {
	return &LockTable{now: now, tenants: map[string]*tenantLocks{}}
}

// Put applies a change of the feed to the table, if it is one of a lock. It does not belong to the table of a store.
func (t *LockTable) Put(c *Change) {
	if c.Lock != nil {
		t.put(*c.Lock)
	}
	if c.Operator != nil {
		t.putOperator(*c.Operator)
	}
}

// All returns every lock as a change of the feed. A change that commits meanwhile may be among them.
func (t *LockTable) All() []Change {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []Change
	for tenant, tl := range t.tenants {
		for id, e := range tl.byID {
			lock := tl.lock(e)
			out = append(out, Change{Seq: lock.Version, Tenant: tenant, Type: ChangeLock, ID: id, Lock: &lock})
		}
		for id, l := range tl.operators {
			lock := *l
			out = append(out, Change{Seq: l.Version, Tenant: tenant, Type: ChangeOperatorLock, ID: id, Operator: &lock})
		}
	}
	return out
}

// Next returns an empty table for [LockTable.Replace].
func (t *LockTable) Next() *LockTable { return NewLockTable(t.now) }

// Replace makes the locks of next, which nobody uses any more, those that the table has. No lookup sees a part of them.
// It does not belong to the table of a store. It must not run beside Put.
func (t *LockTable) Replace(next *LockTable) {
	t.mu.Lock()
	t.tenants = next.tenants
	t.mu.Unlock()
	for _, tl := range next.tenants {
		for _, e := range tl.byID {
			t.sub.call(tl.lock(e))
		}
		for _, l := range tl.operators {
			t.sub.call(l.withNames())
		}
	}
}

// Lookup finds the lock of a subject by the immutable id and every other name. It returns
// false for a subject who was never locked. A lifted lock still refuses some credentials
// ([Lock.Refuses]). Of several locks, as names may lead to several users and operators lock
// too, Lookup returns one that refuses every credential if there is one, and else the lifted
// one that refuses the most.
func (t *LockTable) Lookup(tenant string, s *subject.Subject) (Lock, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	tl := t.tenants[tenant]
	if tl == nil {
		return Lock{}, false
	}
	l, ok := tl.lookup(s)
	if len(tl.operators) == 0 || ok && l.State != LockLifted {
		return l, ok
	}
	if o := tl.operatorLock(s, t.now); o != nil {
		return o.asLock(), true
	}
	return l, ok
}

// operatorLock returns an operator's lock of any name of the subject that is in force.
func (tl *tenantLocks) operatorLock(s *subject.Subject, now func() time.Time) *OperatorLock {
	for kind, value := range s.Names() {
		for _, l := range tl.operatorNames[LockedName{kind, subject.Fold(kind, value)}] {
			if l.InForce(now()) {
				return l
			}
		}
	}
	return nil
}

// lookup returns the lock of any name of the subject that refuses the most credentials.
func (tl *tenantLocks) lookup(s *subject.Subject) (Lock, bool) {
	if len(tl.byID) == 0 {
		return Lock{}, false
	}
	var most *Lock
	for kind, value := range s.Names() {
		e := tl.by(kind)[subject.Fold(kind, value)]
		if e == nil {
			continue
		}
		l := e.meet(tl.tenant)
		if l.State != LockLifted {
			return *l, true
		}
		if most == nil || l.NotBefore.After(most.NotBefore) {
			most = l
		}
	}
	if most == nil {
		return Lock{}, false
	}
	return *most, true
}

// InForce returns the time from which this process enforces the newest state of a user's
// lock. It returns false for a user without a lock.
func (t *LockTable) InForce(tenant, userID string) (time.Time, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	tl := t.tenants[tenant]
	if tl == nil || tl.byID[userID] == nil {
		return time.Time{}, false
	}
	return tl.byID[userID].inForce, true
}

// TakenOver returns the locks of active users who took over the names of another user, the oldest first.
func (t *LockTable) TakenOver(tenant string) []Lock {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []Lock
	if tl := t.tenants[tenant]; tl != nil {
		for _, e := range tl.byID {
			if l := tl.lock(e); l.State == LockLifted && l.From != "" {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, func(a, b Lock) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.UserID, b.UserID))
	})
	return out
}

// Len is the number of locks of all tenants.
func (t *LockTable) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := 0
	for _, tl := range t.tenants {
		n += len(tl.byID)
	}
	return n
}

// Subscribe calls fn for every changed lock, after the table has it and before Update
// returns. fn runs on the committer, so it must not block or call Update.
func (t *LockTable) Subscribe(fn func(Lock)) (stop func()) { return t.sub.add(fn) }

func (t *LockTable) put(l Lock) {
	t.set(l)
	t.sub.call(l)
}

func (t *LockTable) set(l Lock) {
	e := &tableLock{row: packLock(&l), inForce: t.now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	tl := t.of(l.Tenant)
	if old := tl.byID[l.UserID]; old != nil {
		before := tl.lock(old)
		for _, n := range before.names() {
			if tl.by(n.kind)[n.value] == old {
				delete(tl.by(n.kind), n.value)
			}
		}
	}
	own := tl.lock(e) // a key that is a part of another string than the row would keep that in memory
	tl.byID[own.UserID] = e
	for _, n := range own.names() {
		tl.by(n.kind)[n.value] = e
	}
}

// of returns the locks of a tenant. The caller holds mu.
func (t *LockTable) of(tenant string) *tenantLocks {
	tl := t.tenants[tenant]
	if tl == nil {
		tenant = strings.Clone(tenant)
		tl = &tenantLocks{
			tenant: tenant,
			byID:   map[string]*tableLock{}, byUserName: map[string]*tableLock{},
			byExternalID: map[string]*tableLock{}, byEmail: map[string]*tableLock{},
			operators: map[string]*OperatorLock{}, operatorNames: map[LockedName][]*OperatorLock{},
		}
		t.tenants[tenant] = tl
	}
	return tl
}

// putOperator adds, replaces or removes an operator's lock.
func (t *LockTable) putOperator(l OperatorLock) {
	t.setOperator(&l)
	t.sub.call(l.withNames())
}

func (t *LockTable) setOperator(l *OperatorLock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tl := t.of(l.Tenant)
	if old := tl.operators[l.ID]; old != nil {
		for _, n := range old.Names {
			rest := slices.DeleteFunc(slices.Clone(tl.operatorNames[n]), func(o *OperatorLock) bool { return o == old })
			if len(rest) == 0 {
				delete(tl.operatorNames, n)
			} else {
				tl.operatorNames[n] = rest
			}
		}
		delete(tl.operators, l.ID)
	}
	if l.Ended {
		return
	}
	tl.operators[l.ID] = l
	for _, n := range l.Names {
		tl.operatorNames[n] = append(slices.Clone(tl.operatorNames[n]), l)
	}
}

// Operator returns the operators' locks of a tenant, the oldest first. Expired ones are
// among them until they are removed.
func (t *LockTable) Operator(tenant string) []OperatorLock {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []OperatorLock
	if tl := t.tenants[tenant]; tl != nil {
		for _, l := range tl.operators {
			out = append(out, *l)
		}
	}
	slices.SortFunc(out, func(a, b OperatorLock) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	})
	return out
}

// countLocks compares the locks that are there with the counters.
func countLocks(snap *machine.Snapshot, there map[counterID]int64) error {
	for _, name := range []string{counterLocks, counterOperatorLocks} {
		err := snap.Scan([]byte{kindCounter}, nil, true, func(e machine.Entry) (bool, error) {
			d, err := DecodeKey(e.Key)
			if err != nil || d.Parts[0] != name {
				return err == nil, err
			}
			n, err := machine.DecodeCounter(e.Value)
			if err != nil {
				return false, err
			}
			there[counterID{d.Tenant, name}] -= n.Count
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	for id, n := range there {
		if n != 0 {
			return fmt.Errorf("%w: locks of tenant %s are missing, or older than they were: its counter of %s is %d off",
				ErrDamaged, id.tenant, id.name, -n)
		}
	}
	return nil
}

// loadLocks fills the table from the lock rows of every tenant, also of tenants that are no
// longer configured. It fails with ErrDamaged if a lock, or the newest state of one, is
// missing.
func (s *Store) loadLocks(ctx context.Context) error {
	there := map[counterID]int64{}
	err := s.m.View(ctx, func(snap *machine.Snapshot) error {
		err := snap.Scan([]byte{kindLock}, nil, true, func(e machine.Entry) (bool, error) {
			var l Lock
			if err := decodeRow(e.Value, &l); err != nil {
				return false, err
			}
			l.Version = e.Version
			s.content.locks.set(l)
			there[counterID{l.Tenant, counterLocks}] += int64(l.Revision)
			return true, nil
		})
		if err != nil {
			return err
		}
		err = snap.Scan([]byte{kindOperatorLock}, nil, true, func(e machine.Entry) (bool, error) {
			l := &OperatorLock{}
			if err := decodeRow(e.Value, l); err != nil {
				return false, err
			}
			l.Version = e.Version
			s.content.locks.setOperator(l)
			there[counterID{l.Tenant, counterOperatorLocks}]++
			return true, nil
		})
		if err != nil || s.opts.acceptLoss {
			return err
		}
		return countLocks(snap, there)
	})
	if err != nil {
		return fmt.Errorf("rebuilding the lock table: %w", err)
	}
	return nil
}
