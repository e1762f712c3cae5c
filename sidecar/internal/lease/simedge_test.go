package lease_test

import (
	"slices"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// edge is a process with a projection, which follows a core.
type edge struct {
	process
	name   string
	p      *lease.Edge
	locked uint32
	from   lease.ID      // the core that granted the lease
	cut    time.Duration // real time until which it reaches no core
	stream *stream
	at     lease.Position
}

// change is what a core sends to an edge: a snapshot, or a lock or unlock.
type change struct {
	at           lease.Position
	snapshot     bool
	lock, unlock uint32
	restricts    bool
}

// stream is a gRPC stream. Each direction keeps its order and loses nothing while the stream lives. In
// the core, changes wait in a queue before they come to the stream, and grants do not.
type stream struct {
	w      *world
	core   *core
	edge   *edge
	number uint64
	lost   bool // nothing arrives any more, and nobody notices
	ends   bool
	queue  time.Duration // real time until which the queue is occupied
	down   time.Duration // the same for the direction to the edge
	up     time.Duration
}

func (w *world) startEdge(name string) *edge {
	e := &edge{process: w.process(name), name: name}
	e.tick = func() { e.next(lease.EdgeTick{}) }
	e.view = func() (lease.Lease, uint32, lease.ID) { return e.p.Lease(), e.locked, e.from }
	e.p = lease.NewEdge(e.id, w.options())
	e.after(w.soon(20*time.Millisecond), e.tick)
	return e
}

func (e *edge) next(ev lease.EdgeEvent) {
	before := e.p.Lease()
	eff := e.p.Next(e.now(), ev)
	if e.stream != nil && e.p.Lease() != before {
		e.from = e.stream.core.id
	}
	if eff.Follow != nil {
		e.follow(*eff.Follow)
	}
	if m := eff.Renew; m != nil {
		s := e.stream
		s.toCore(func() {
			for _, g := range s.core.next(*m) {
				s.grant(g)
			}
		})
	}
	if m := eff.Confirm; m != nil && e.stream != nil {
		s := e.stream
		s.toCore(func() { s.core.next(*m) })
	}
	e.wake(eff.Wake)
	e.check()
}

// follow closes the stream and opens another one to any core.
func (e *edge) follow(f lease.Follow) {
	w := e.w
	if old := e.stream; old != nil {
		old.core.after(w.soon(30*time.Millisecond), func() { old.core.detach(old) })
	}
	c := w.cores[w.r.IntN(len(w.cores))]
	s := &stream{w: w, core: c, edge: e, number: f.Stream}
	e.stream = s
	if c.dead {
		s.end(w.soon(15 * time.Millisecond))
		return
	}
	s.toCore(func() { c.attach(s, f) })
}

func (s *stream) broken() bool { return s.lost || s.w.now < s.edge.cut || s.core.dead || s.edge.dead }

// toCore sends to the core.
func (s *stream) toCore(do func()) {
	s.up = max(s.up, s.w.now+s.w.soon(10*time.Millisecond))
	if !s.broken() && !s.ends {
		s.core.after(s.up-s.w.now, do)
	} else {
		s.lost = true
	}
}

// toEdge sends to the edge, from a real time on.
func (s *stream) toEdge(from time.Duration, do func()) {
	s.down = max(s.down, from+s.w.soon(10*time.Millisecond))
	s.w.at(from, func() {
		if s.broken() || s.ends {
			s.lost = true
			return
		}
		s.edge.after(s.down-s.w.now, do)
	})
}

// end ends the stream from the side of the core, which the edge notices later.
func (s *stream) end(after time.Duration) {
	s.ends = true
	s.edge.after(after, func() { s.edge.next(lease.Broken{Stream: s.number}) })
}

// fanOut puts a change into the queue.
func (s *stream) fanOut(c change) {
	s.queue = max(s.queue, s.w.now+s.w.soon(20*time.Millisecond))
	s.w.at(s.queue, func() { s.toEdge(s.w.now, func() { s.edge.take(s, c) }) })
}

// grant sends a grant, which may overtake the changes in the queue.
func (s *stream) grant(g lease.Grant) {
	s.toEdge(s.w.now, func() {
		e := s.edge
		if g.Position > e.at {
			e.w.total.early++
		}
		if e.w.mistake.grantOvertakes {
			g.Position = 0
		}
		if e.w.mistake.countFromGrant {
			e.p.Recount(g.Number, e.now())
		}
		e.next(lease.Granted{Stream: s.number, Grant: g})
	})
}

// take puts a change into the projection.
func (e *edge) take(s *stream, c change) {
	ok := e.p.Accepts(s.number, c.at, c.snapshot)
	if c.snapshot && c.at < e.at {
		e.w.total.stepsBack++
	}
	if e.w.mistake.stepBack && !ok {
		e.p.StepBack(c.at)
		ok = true
	}
	if !ok {
		if c.snapshot {
			e.next(lease.Broken{Stream: s.number})
		}
		return
	}
	if c.snapshot {
		e.locked = c.lock
	} else {
		e.locked = e.locked&^c.unlock | c.lock
	}
	e.at = c.at
	e.next(lease.Advanced{Position: c.at, Restricts: c.restricts || c.snapshot})
}

// restart ends the process and starts another one in its place.
func (e *edge) restart(after time.Duration) {
	if e.dead {
		return
	}
	e.dead = true
	w := e.w
	w.at(w.now+after, func() { w.edges[slices.Index(w.edges, e)] = w.startEdge(e.name) })
}
