// Package recent counts the changes of each tenant in the last hour, for the rules of tenants.
package recent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store"
)

// The windows. A window counts whole steps, so it covers up to one step more than its name says, and never less.
const (
	shortStep = 5 * time.Second // of the last minute
	longStep  = time.Minute     // of the last 10 and 60 minutes
	hour      = time.Hour
)

// maxRead bounds the audit records of one tenant that are read at the start. The counts are incomplete for an hour
// if a tenant has more.
const maxRead = 200_000

// Source is where Load reads. A [store.Store] is one.
type Source interface {
	RecentChanges(ctx context.Context, tenant string, since time.Time, limit int, fn func(store.Change, time.Time)) (
		from time.Time, read store.Seq, err error)
}

// Changes counts. It is safe for concurrent use.
type Changes struct {
	now func() time.Time

	mu      sync.Mutex // never held while the store is read: Apply runs on the committer
	tenants map[string]*tenant
	began   time.Time // of the first Load: every later change is counted, whatever tenant it is of; zero before it
	reading string    // the tenant that Load reads
	early   []counted // what Apply got of it meanwhile
}

// counted is a change and its time.
type counted struct {
	change store.Change
	at     time.Time
}

// tenant has the counts of one tenant.
type tenant struct {
	short []bucket // nil before the first change
	long  []bucket
	read  bool      // by Load: nothing is missing since from. Without it nothing is missing since Changes.began
	from  time.Time // of read
	seq   store.Seq // what the store has up to here is in the counts
}

// A ring has one bucket more than the steps of a window: the current one is not over.
const (
	shortRing = 13
	longRing  = 61
)

// bucket has the counts of one step.
type bucket struct {
	step int64 // since 1970
	n    [kinds]int32
}

// The kinds of changes.
const (
	creates = iota
	deactivations
	deletions
	groupChanges
	kinds
	none = -1
)

// New returns Changes that know nothing yet. Nil means time.Now.
func New(now func() time.Time) *Changes {
	if now == nil {
		now = time.Now
	}
	return &Changes{now: now, tenants: map[string]*tenant{}}
}

// Apply counts a change. It is for [store.Store.Watch] and does not wait for Load.
func (c *Changes) Apply(ch store.Change) {
	if kindOf(&ch) == none {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now, t := c.now(), c.tenant(ch.Tenant)
	if ch.Seq <= t.seq {
		return // Load has read it
	}
	t.add(&ch, now)
	if ch.Tenant == c.reading {
		c.early = append(c.early, counted{ch, now})
	}
}

// Load counts the changes of the last hour in the store, of each tenant once. Call it when Apply gets every change
// already, and not twice at the same time. The counts of a tenant that it could not read are incomplete until an hour
// after the first Load; the next Load tries again.
func (c *Changes) Load(ctx context.Context, from Source, tenants []string) error {
	c.mu.Lock()
	if c.began.IsZero() {
		c.began = c.now()
	}
	c.mu.Unlock()
	for _, name := range tenants {
		if !c.begin(name) {
			continue
		}
		var err error
		next := &tenant{read: true}
		next.from, next.seq, err = from.RecentChanges(ctx, name, c.now().Add(-hour-longStep), maxRead, next.addRead)
		c.end(name, next, err)
		if err != nil {
			return fmt.Errorf("counting the recent changes of tenant %s: %w", name, err)
		}
	}
	return nil
}

// begin keeps what Apply gets of a tenant from here on. It reports false if the tenant was read before.
func (c *Changes) begin(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenant(name).read {
		return false
	}
	c.reading = name
	return true
}

// end puts what was read in the place of what Apply counted, with what Apply got after it.
func (c *Changes) end(name string, next *tenant, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		for i := range c.early {
			if e := &c.early[i]; e.change.Seq > next.seq {
				next.add(&e.change, e.at)
			}
		}
		c.tenants[name] = next
	}
	c.reading, c.early = "", nil
}

// tenant returns the counts of a tenant. The caller holds mu.
func (c *Changes) tenant(name string) *tenant {
	t := c.tenants[name]
	if t == nil {
		t = &tenant{}
		c.tenants[name] = t
	}
	return t
}

func (t *tenant) addRead(ch store.Change, at time.Time) { t.add(&ch, at) }

func (t *tenant) add(ch *store.Change, at time.Time) {
	kind := kindOf(ch)
	if kind == none {
		return
	}
	if t.long == nil {
		t.short, t.long = make([]bucket, shortRing), make([]bucket, longRing)
	}
	add(t.short, shortStep, at, kind)
	add(t.long, longStep, at, kind)
}

func add(ring []bucket, step time.Duration, at time.Time, kind int) {
	n := at.UnixNano() / int64(step)
	b := &ring[int(n%int64(len(ring)))]
	switch {
	case b.step > n:
		return // older than the window
	case b.step < n:
		*b = bucket{step: n}
	}
	b.n[kind]++
}

// Of returns the counts of a tenant, without the number of users.
func (c *Changes) Of(name string) policies.Counts {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tenants[name]
	if t == nil {
		t = &tenant{}
	}
	from := c.began
	if t.read {
		from = t.from
	}
	minute := sum(t.short, shortStep, now, time.Minute)
	ten, all := sum(t.long, longStep, now, 10*time.Minute), sum(t.long, longStep, now, hour)
	of := func(kind int) policies.Recent {
		return policies.Recent{Minute: int(minute[kind]), TenMinutes: int(ten[kind]), Hour: int(all[kind])}
	}
	return policies.Counts{
		Creates: of(creates), Deactivations: of(deactivations), Deletions: of(deletions), GroupChanges: of(groupChanges),
		Complete: !c.began.IsZero() && !from.After(now.Add(-hour)),
	}
}

func sum(ring []bucket, step time.Duration, now time.Time, window time.Duration) (out [kinds]int32) {
	last := now.UnixNano() / int64(step)
	first := last - int64(window/step)
	for i := range ring {
		if b := &ring[i]; b.step >= first && b.step <= last {
			for kind := range out {
				out[kind] += b.n[kind]
			}
		}
	}
	return out
}

// kindOf says what a change counts as. A lock counts when it is the deactivation of an existing user: a lock also
// changes with the names of a user.
func kindOf(ch *store.Change) int {
	switch ch.Type {
	case store.ChangeUserCreated:
		return creates
	case store.ChangeUserDeleted:
		return deletions
	case store.ChangeGroupCreated, store.ChangeGroupUpdated, store.ChangeGroupDeleted:
		return groupChanges
	case store.ChangeLock:
		if deactivates(ch.Lock, ch.RequestID) {
			return deactivations
		}
	case store.ChangeUserUpdated, store.ChangeOperatorLock, store.ChangeJob, store.ChangeClient, store.ChangePause,
		store.ChangeKey, store.ChangeToken, store.ChangeCore, store.ChangePolicy:
	}
	return none
}

// deactivates tells the deactivation of a user by a request from the lock of a user who was created inactive, and
// from names that were added to a lock.
func deactivates(l *store.Lock, request string) bool {
	if l == nil || l.State != store.LockDeactivated || l.RequestID != request {
		return false
	}
	return l.Reason != "scim.post" && l.Reason != "renamed" && l.Reason != "recreated"
}
