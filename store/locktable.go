package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/subject"
)

// LockTable is every lock of every tenant in memory, for the request path: no
// I/O, no allocation that grows with the table. It is complete from Open on and
// has a change before the Update that made it returns.
type LockTable struct {
	now func() time.Time
	sub listeners[Lock]

	mu      sync.RWMutex
	tenants map[string]*tenantLocks
}

// tenantLocks holds each lock once; the other maps point to it. A name is held
// by one lock at a time (Tx.hold), so "the newest holder wins" is the table as
// the records left it.
type tenantLocks struct {
	byID       map[string]*tableLock
	byUserName map[string]*tableLock
	byExternal map[string]*tableLock
	byEmail    map[string]*tableLock
}

type tableLock struct {
	lock    Lock
	inForce time.Time
}

func newLockTable(now func() time.Time) *LockTable {
	return &LockTable{now: now, tenants: map[string]*tenantLocks{}}
}

// Lookup finds the lock of a subject, by its immutable id first, then by its
// names. No lock means that the subject never was refused; a lifted lock says
// from when on its credentials count ([Lock.Refuses]).
func (t *LockTable) Lookup(tenant string, s *subject.Subject) (Lock, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	tl := t.tenants[tenant]
	if tl == nil || len(tl.byID) == 0 {
		return Lock{}, false
	}
	e := tl.byID[s.SCIMID]
	if e == nil && s.UserName != "" {
		e = tl.byUserName[subject.FoldUserName(s.UserName)]
	}
	if e == nil && s.ExternalID != "" {
		e = tl.byExternal[s.ExternalID]
	}
	for i := 0; e == nil && i < len(s.Emails); i++ {
		e = tl.byEmail[subject.Fold(subject.Email, s.Emails[i])]
	}
	if e == nil {
		return Lock{}, false
	}
	return e.lock, true
}

// InForce says since when this process enforces the newest state of a user's
// lock; false when the user has none.
func (t *LockTable) InForce(tenant, userID string) (time.Time, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	tl := t.tenants[tenant]
	if tl == nil || tl.byID[userID] == nil {
		return time.Time{}, false
	}
	return tl.byID[userID].inForce, true
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

// Subscribe calls fn for every lock that changes, after the table has it and
// before the Update that changed it returns. fn runs on the committer: it must
// not block nor call Update.
func (t *LockTable) Subscribe(fn func(Lock)) (stop func()) { return t.sub.add(fn) }

func (t *LockTable) put(l Lock) {
	t.set(l)
	t.sub.call(l)
}

func (t *LockTable) set(l Lock) {
	// Strings of a decoded record would keep the record alive.
	l.UserID, l.RequestID = strings.Clone(l.UserID), strings.Clone(l.RequestID)
	e := &tableLock{lock: l, inForce: t.now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	tl := t.tenants[l.Tenant]
	if tl == nil {
		tl = &tenantLocks{
			byID: map[string]*tableLock{}, byUserName: map[string]*tableLock{},
			byExternal: map[string]*tableLock{}, byEmail: map[string]*tableLock{},
		}
		t.tenants[l.Tenant] = tl
	}
	if old := tl.byID[l.UserID]; old != nil {
		tl.names(old, func(m map[string]*tableLock, n string) {
			if m[n] == old {
				delete(m, n)
			}
		})
	}
	tl.byID[l.UserID] = e
	tl.names(e, func(m map[string]*tableLock, n string) { m[n] = e })
}

func (tl *tenantLocks) names(e *tableLock, fn func(map[string]*tableLock, string)) {
	for _, n := range e.lock.UserNames {
		fn(tl.byUserName, n)
	}
	for _, n := range e.lock.Emails {
		fn(tl.byEmail, n)
	}
	for _, n := range e.lock.FormerIDs {
		fn(tl.byExternal, n)
	}
	if e.lock.ExternalID != "" {
		fn(tl.byExternal, e.lock.ExternalID)
	}
}

// loadLocks fills the table from the lock rows of every tenant, configured or not.
func (s *Store) loadLocks(ctx context.Context) error {
	err := s.m.View(ctx, func(snap *machine.Snapshot) error {
		return snap.Scan([]byte{kindLock}, nil, true, func(e machine.Entry) (bool, error) {
			var l Lock
			if err := decodeRow(e.Value, &l); err != nil {
				return false, err
			}
			l.Version = e.Version
			s.content.locks.set(l)
			return true, nil
		})
	})
	if err != nil {
		return fmt.Errorf("rebuilding the lock table: %w", err)
	}
	return nil
}
