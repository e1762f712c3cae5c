package plugins

import (
	"slices"
	"sync"
	"time"
)

const (
	breakerKills  = 3
	breakerTraps  = 5
	breakerWindow = 10 * time.Minute
	quarantineMin = 5 * time.Minute
	quarantineMax = time.Hour
)

// breaker puts a plugin into quarantine after 3 kills or 5 traps within 10 minutes. The host does not
// call it for 5 minutes. Each further quarantine is twice as long, up to an hour. After an hour without a
// quarantine, the next is short again.
type breaker struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	kills []time.Time
	traps []time.Time
	until time.Time     // end of the present or last quarantine
	last  time.Duration // its length, 0 without one
}

// open returns the rest of the quarantine, or 0 without one.
func (b *breaker) open() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.until.Sub(b.now()), 0)
}

// kill records that the host killed the worker or found it dead. trap records that a call trapped. Both
// report whether a quarantine begins now.
func (b *breaker) kill() bool { return b.record(&b.kills, breakerKills) }
func (b *breaker) trap() bool { return b.record(&b.traps, breakerTraps) }

func (b *breaker) record(events *[]time.Time, limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	old := func(t time.Time) bool { return now.Sub(t) >= breakerWindow }
	*events = append(slices.DeleteFunc(*events, old), now)
	if len(*events) < limit || now.Before(b.until) {
		return false
	}
	b.kills, b.traps = nil, nil
	if b.last == 0 || now.Sub(b.until) >= quarantineMax {
		b.last = quarantineMin
	} else {
		b.last = min(2*b.last, quarantineMax)
	}
	b.until = now.Add(b.last)
	return true
}
