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

// Changes counts. It is safe for concurrent use.
type Changes struct {
	now func() time.Time

	mu      sync.Mutex
	tenants map[string]*tenant
	early   []store.Change // what arrived before Load; nil after it
	loaded  bool
	since   time.Time // of every tenant, nothing is missing since; zero unless Load failed
}

// tenant has the counts of one tenant.
type tenant struct {
	short [13]bucket // one more than the steps of a window: the current one is not over
	long  [61]bucket
	from  time.Time // nothing is missing since
}

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

// Apply counts a change. It is for [store.Store.Watch].
func (c *Changes) Apply(ch store.Change) {
	if kindOf(&ch) == none {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.loaded {
		c.early = append(c.early, ch)
		return
	}
	c.add(&ch, c.now())
}

// Load counts the changes of the last hour in the store, and then what Apply got meanwhile. After an error the counts
// are incomplete for an hour.
func (c *Changes) Load(ctx context.Context, s *store.Store, tenants []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	read := map[string]store.Seq{}
	err := c.read(ctx, s, tenants, now, read)
	if err != nil {
		c.since = now
	}
	for i := range c.early {
		if ch := &c.early[i]; ch.Seq > read[ch.Tenant] {
			c.add(ch, now)
		}
	}
	c.early, c.loaded = nil, true
	return err
}

// read counts what the store has, and notes how far it read.
func (c *Changes) read(
	ctx context.Context, s *store.Store, tenants []string, now time.Time, read map[string]store.Seq,
) error {
	for _, name := range tenants {
		from, last, err := s.RecentChanges(ctx, name, now.Add(-hour-longStep), maxRead, func(ch store.Change, at time.Time) {
			c.add(&ch, at)
		})
		if err != nil {
			return fmt.Errorf("counting the recent changes of tenant %s: %w", name, err)
		}
		read[name] = last
		if t := c.tenants[name]; t != nil {
			t.from = from
		}
	}
	return nil
}

func (c *Changes) add(ch *store.Change, at time.Time) {
	kind := kindOf(ch)
	if kind == none {
		return
	}
	t := c.tenants[ch.Tenant]
	if t == nil {
		t = &tenant{}
		c.tenants[ch.Tenant] = t
	}
	add(t.short[:], shortStep, at, kind)
	add(t.long[:], longStep, at, kind)
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
		return policies.Counts{Complete: c.complete(c.since, now)}
	}
	minute := sum(t.short[:], shortStep, now, time.Minute)
	ten, all := sum(t.long[:], longStep, now, 10*time.Minute), sum(t.long[:], longStep, now, hour)
	of := func(kind int) policies.Recent {
		return policies.Recent{Minute: int(minute[kind]), TenMinutes: int(ten[kind]), Hour: int(all[kind])}
	}
	return policies.Counts{
		Creates: of(creates), Deactivations: of(deactivations), Deletions: of(deletions), GroupChanges: of(groupChanges),
		Complete: c.complete(c.since, now) && c.complete(t.from, now),
	}
}

func (c *Changes) complete(from, now time.Time) bool { return c.loaded && !from.After(now.Add(-hour)) }

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
	case store.ChangeUserUpdated, store.ChangeOperatorLock, store.ChangeJob, store.ChangeClient, store.ChangePause:
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
