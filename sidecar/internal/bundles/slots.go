package bundles

import (
	"context"
	"sync"
	"time"
)

// slots lets a few do at once what many want to do.
type slots struct {
	free    chan struct{} // a send acquires a slot
	longest time.Duration // a slot is released after this time although its work goes on: what hangs must not stop others
}

func newSlots(n int, longest time.Duration) *slots { return &slots{make(chan struct{}, n), longest} }

// slot is one of them.
type slot struct {
	release func() // only the first call has an effect
	limit   *time.Timer
}

// keep lets the slot last until release, if it has not been released yet.
func (s *slot) keep() { s.limit.Stop() }

// acquire waits for a slot.
func (s *slots) acquire(ctx context.Context) (*slot, error) {
	select {
	case s.free <- struct{}{}:
		return s.acquired(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// acquired is the slot of a caller that has sent to free.
func (s *slots) acquired() *slot {
	release := sync.OnceFunc(func() { <-s.free })
	return &slot{release, time.AfterFunc(s.longest, release)}
}
