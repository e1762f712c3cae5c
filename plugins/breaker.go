package plugins

import (
	"sync"
	"time"
)

// The breaker's rule (design: plugins §5).
const (
	breakerKills  = 3
	breakerTraps  = 5
	breakerWindow = 10 * time.Minute
	quarantineMin = 5 * time.Minute
	quarantineMax = time.Hour
)

// breaker keeps a plugin that keeps breaking from being called: 3 kills or 5 traps
// within 10 minutes put it into quarantine for 5 minutes, and twice as long each
// further time, up to an hour. An hour without quarantine forgets the past ones.
type breaker struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	kills []time.Time
	traps []time.Time
	until time.Time     // end of the present or last quarantine
	last  time.Duration // its length; 0: none yet
}

// open returns how much longer calls are refused; 0: they are not.
func (b *breaker) open() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.until.Sub(b.now()), 0)
}

// kill notes that the worker had to be killed or died; trap that a call trapped.
// Both report whether that put the plugin into quarantine.
func (b *breaker) kill() bool { return b.note(&b.kills, breakerKills) }
func (b *breaker) trap() bool { return b.note(&b.traps, breakerTraps) }

func (b *breaker) note(events *[]time.Time, limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	keep := (*events)[:0]
	for _, t := range *events {
		if now.Sub(t) < breakerWindow {
			keep = append(keep, t)
		}
	}
	*events = append(keep, now)
	if len(*events) < limit || now.Before(b.until) {
		return false
	}
	b.kills, b.traps = nil, nil
	switch {
	case b.last == 0 || now.Sub(b.until) >= quarantineMax:
		b.last = quarantineMin
	default:
		b.last = min(2*b.last, quarantineMax)
	}
	b.until = now.Add(b.last)
	return true
}
