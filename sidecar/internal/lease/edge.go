package lease

import (
	"slices"
	"time"
)

const (
	// patience is how many heartbeats an edge waits for the first grant, or for the next piece of a snapshot, before it
	// follows another core. For the grant of a later renewal it waits one less.
	patience = 3
	// redial is how often an edge tries to follow a core in one heartbeat at most.
	redial = 4
	// renewals is how often an edge renews in the time of a grant. Each costs its core something.
	renewals = 5
)

// Edge is the lease protocol of an edge. It is not safe for concurrent use.
type Edge struct {
	id      ID
	options Options
	done    bool

	lease   Lease
	renewed sent
	asked   time.Duration // monotonic time of the newest renewal
	due     time.Duration // monotonic time of the next one

	stream  uint64 // of the newest stream
	broken  bool
	opened  time.Duration // monotonic time
	useless time.Duration // monotonic time at which the stream is of no use, if nothing comes before
	pending []pending

	loaded   bool     // there is a projection
	position Position // of the projection; it never falls
}

// pending is a grant whose position the projection has not reached.
type pending struct {
	position Position
	lease    Lease
}

// NewEdge starts the protocol with a new identity and without a projection. The first event should
// follow at once.
func NewEdge(id ID, o Options) *Edge {
	return &Edge{id: id, options: o.withDefaults(), broken: true}
}

// Lease returns the lease to decide. Publish it after every event, before its effects are carried out.
func (e *Edge) Lease() Lease { return e.lease }

// Accepts reports whether the projection may take what came over a stream: a snapshot at a position,
// or the change at a position. A late message of an older stream, and a snapshot that is older than
// the projection, would bring back what was taken away. If a snapshot is not accepted, feed Broken.
// Skip a change that is not accepted.
func (e *Edge) Accepts(stream uint64, at Position, snapshot bool) bool {
	if stream != e.stream || e.broken {
		return false
	}
	if snapshot {
		return at >= e.position
	}
	return e.loaded && at > e.position
}

// Another says that a snapshot of another log came over a stream: the cores began again, perhaps with an older state.
// Positions of the former log mean nothing in it, and no core knows of the lease. [Edge.Accepts] then lets the snapshot
// in. Publish Lease afterwards.
func (e *Edge) Another(stream uint64) {
	if stream == e.stream && !e.broken {
		e.lease, e.loaded, e.position = Lease{}, false, 0
	}
}

// EdgeEffects is what an edge has to do after an event. The order does not matter.
type EdgeEffects struct {
	Follow  *Follow           // close the stream and open this one, to any core
	Renew   *Renewal          // send over the newest stream
	Confirm *EdgeConfirmation // send over the newest stream
	Wake    time.Duration     // feed EdgeTick after this time, if no other event comes first
}

// Follow asks a core for the projection: the changes behind Position, or a snapshot at it or later.
type Follow struct {
	Stream   uint64 // the events of this stream have the same number
	Edge     ID
	Position Position // zero without a projection
}

// EdgeEvent is something that happens to an edge.
type EdgeEvent interface {
	apply(e *Edge, now Reading, eff *EdgeEffects)
}

// Next applies an event at the moment now. The package documentation has the table. The edge renews when a fifth of its
// newest grant has passed, but not twice in a heartbeat.
func (e *Edge) Next(now Reading, ev EdgeEvent) EdgeEffects {
	var eff EdgeEffects
	ev.apply(e, now, &eff)
	if e.done {
		eff.Wake = e.options.Heartbeat
		return eff
	}
	e.follow(now, &eff)
	if !e.broken && now.Monotonic >= e.due {
		e.asked, e.due = now.Monotonic, now.Monotonic+e.options.Heartbeat // until a grant comes
		eff.Renew = &Renewal{e.id, e.renewed.next(now, e.options.Lease), e.position}
	}
	eff.Wake = e.wake(now)
	return eff
}

// EdgeTick says that time has passed.
type EdgeTick struct{}

func (EdgeTick) apply(*Edge, Reading, *EdgeEffects) {}

// Loading says that a piece of a snapshot came, and more are to come.
type Loading struct{ Stream uint64 }

func (ev Loading) apply(e *Edge, now Reading, _ *EdgeEffects) {
	if ev.Stream == e.stream {
		e.useless = now.Monotonic + patience*e.options.Heartbeat
	}
}

// Advanced says that a snapshot or a change that [Edge.Accepts] let in is in force. The projection has it, and
// the streams of locked users are cut.
type Advanced struct {
	Position  Position
	Restricts bool // it may take a right away, as every snapshot may
}

func (ev Advanced) apply(e *Edge, now Reading, eff *EdgeEffects) {
	e.loaded, e.position = true, max(e.position, ev.Position)
	e.count(now)
	if ev.Restricts {
		eff.Confirm = &EdgeConfirmation{Edge: e.id, Position: e.position}
	}
}

// Granted says that the core granted a renewal.
type Granted struct {
	Stream uint64
	Grant  Grant
}

func (ev Granted) apply(e *Edge, now Reading, _ *EdgeEffects) {
	// The lease counts from the moment at which the renewal was sent, however long the grant took.
	from, ok := e.renewed.at[ev.Grant.Number]
	if !ok || ev.Stream != e.stream || e.broken || e.done {
		return
	}
	e.pending = append(e.pending, pending{ev.Grant.Position, Lease{from, ev.Grant.TTL}})
	e.count(now)
}

// count uses the grants whose position the projection has reached.
func (e *Edge) count(now Reading) {
	e.pending = slices.DeleteFunc(e.pending, func(p pending) bool {
		if !e.loaded || p.position > e.position {
			return p.lease.Left(now) <= 0
		}
		e.lease = e.lease.longer(p.lease, now)
		e.due = e.asked + max(e.options.Heartbeat, p.lease.ttl/renewals)
		e.useless = e.due + (patience-1)*e.options.Heartbeat
		return true
	})
}

// Broken says that a stream broke, the core refused it, or what it sent was not accepted. The lease stays.
type Broken struct{ Stream uint64 }

func (ev Broken) apply(e *Edge, _ Reading, _ *EdgeEffects) {
	if ev.Stream == e.stream {
		e.broken, e.pending = true, nil
	}
}

// EdgeDrain says that the process ends. The edge gives up its lease, so that no answer waits for it.
type EdgeDrain struct{}

func (EdgeDrain) apply(e *Edge, _ Reading, eff *EdgeEffects) {
	e.done, e.lease, e.pending = true, Lease{}, nil
	eff.Confirm = &EdgeConfirmation{Edge: e.id, Position: e.position, Done: true}
}

// follow opens the next stream when the newest one is broken or of no use.
func (e *Edge) follow(now Reading, eff *EdgeEffects) {
	if now.Monotonic < e.nextStream() {
		return
	}
	e.stream++
	e.broken, e.pending = false, nil
	e.opened, e.due, e.useless = now.Monotonic, now.Monotonic, now.Monotonic+patience*e.options.Heartbeat
	eff.Follow = &Follow{e.stream, e.id, e.position}
}

// nextStream returns the monotonic time at which the next stream opens, if nothing happens before.
func (e *Edge) nextStream() time.Duration {
	switch {
	case e.stream == 0:
		return 0
	case e.broken:
		return e.opened + e.options.Heartbeat/redial
	default:
		return e.useless
	}
}

func (e *Edge) wake(now Reading) time.Duration {
	at := e.nextStream()
	if !e.broken {
		at = min(at, e.due)
	}
	return max(at-now.Monotonic, time.Microsecond)
}
