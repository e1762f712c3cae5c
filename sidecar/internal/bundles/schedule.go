package bundles

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// maxAsking is how many sources are asked at once, besides those that answer when there is a change.
const maxAsking = 16

// askingTime is how long one question counts for maxAsking. A source that takes longer still gets the time that it
// gives itself, and the next tenant gets its slot.
const askingTime = time.Second

// follower says when the source of a tenant is asked the next time.
type follower struct {
	tenant   string
	state    *state
	source   Source
	every    time.Duration
	due      time.Time
	failures int             // in a row
	ctx      context.Context //nolint:containedctx // ends when the tenant has another follower, or none
	stop     context.CancelFunc
}

// schedule is the followers of all tenants. One goroutine owns it. A tenant has a goroutine only while its source is
// asked or its bundle comes into force.
type schedule struct {
	m       *Manager
	of      map[string]*follower
	waiting dueFirst
	busy    int            // followers that are not waiting and will come back through done
	done    chan *follower // with the next due time
}

// Run asks the sources until ctx ends. It returns when all work has ended. A change of the configuration restarts only
// the followers that it concerns.
func (m *Manager) Run(ctx context.Context) {
	s := &schedule{m: m, of: map[string]*follower{}, done: make(chan *follower)}
	for ctx.Err() == nil {
		want, changed := m.wanted()
		s.set(ctx, want)
		s.runUntil(ctx, changed)
	}
	s.set(ctx, nil)
	for ; s.busy > 0; s.busy-- {
		<-s.done
	}
}

// wanted returns the followers of the present tenants, and a channel that closes when the tenants change.
func (m *Manager) wanted() (map[string]*follower, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := map[string]*follower{}
	for name, s := range m.tenants {
		if s.Source != nil {
			want[name] = &follower{tenant: name, state: s, source: s.Source, every: s.Every}
		}
	}
	return want, m.changed
}

// set replaces the followers by the wanted ones. It keeps those that are equal.
func (s *schedule) set(ctx context.Context, want map[string]*follower) {
	for name, f := range s.of {
		if w := want[name]; w != nil && w.state == f.state && w.source == f.source && w.every == f.every {
			delete(want, name)
			continue
		}
		f.stop()
		delete(s.of, name)
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(f *follower) bool { return f.ctx.Err() != nil })
	heap.Init(&s.waiting)
	for name, f := range want {
		f.begin(ctx)
		s.of[name] = f
		heap.Push(&s.waiting, f)
	}
}

// begin makes a follower due.
func (f *follower) begin(ctx context.Context) {
	f.ctx, f.stop = context.WithCancel(ctx)
	f.due = time.Now()
}

// runUntil asks each source when it is due, until the tenants changed or ctx ends.
func (s *schedule) runUntil(ctx context.Context, changed <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var slot chan<- struct{} // nil while nobody is due
		timer.Stop()
		if len(s.waiting) > 0 {
			if wait := time.Until(s.waiting[0].due); wait > 0 {
				timer.Reset(wait)
			} else {
				slot = s.m.asking.free
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			return
		case <-timer.C:
		case slot <- struct{}{}:
			first := s.waiting[0]
			heap.Pop(&s.waiting)
			s.start(first)
		case f := <-s.done:
			if s.busy--; f.ctx.Err() == nil {
				heap.Push(&s.waiting, f)
			}
		}
	}
}

// start asks the source of f in a goroutine, with a slot.
func (s *schedule) start(f *follower) {
	s.busy++
	go func() {
		s.m.follow(f)
		s.done <- f
	}()
}

// follow asks the source of f once and says when it is due again. The caller acquired a slot of m.asking.
func (m *Manager) follow(f *follower) {
	slot := m.asking.acquired()
	defer slot.release()
	q, err := m.question(f.tenant)
	if err == nil {
		if q.last.Waits {
			slot.release() // the request takes minutes
		}
		q.got, q.err = q.source.Fetch(f.ctx, q.last)
		slot.keep() // so that few bundles wait in memory until they are compiled
		err = m.answer(f.ctx, &q, m.o.Record)
	}
	if f.failures++; !errors.Is(err, ErrFetch) {
		f.failures = 0
	}
	pause := waitBefore(f.every, f.failures, rand.Float64()) //nolint:gosec // it only spreads the load
	if err == nil && q.got.Mark.Waits {
		pause = min(pause, time.Second) // a server that does not wait is not asked without end
	}
	f.due = time.Now().Add(pause)
}

// dueFirst is a heap of followers.
type dueFirst []*follower

func (d dueFirst) Len() int           { return len(d) }
func (d dueFirst) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d dueFirst) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push is for package heap.
func (d *dueFirst) Push(x any) {
	if f, ok := x.(*follower); ok { // there is no other type
		*d = append(*d, f)
	}
}

// Pop is for package heap.
func (d *dueFirst) Pop() any {
	last := len(*d) - 1
	f := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return f
}

// maxBackoff bounds the time between two attempts at a place that fails, unless it is asked less often anyway.
const maxBackoff = 5 * time.Minute

// waitBefore returns the time until the next fetch: every, doubled for each failure after the first, at most ten
// times and [maxBackoff]. Jitter, from 0 to 1, takes up to a quarter away, so that many tenants do not ask at once.
func waitBefore(every time.Duration, failures int, jitter float64) time.Duration {
	longest := max(every, min(10*every, maxBackoff))
	wait := min(every<<min(max(failures-1, 0), 4), longest)
	return wait - time.Duration(jitter*float64(wait)/4)
}
