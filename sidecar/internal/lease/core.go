package lease

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// ErrBehind says that a core is behind an edge that wants to follow it.
var ErrBehind = errors.New("this core is behind the edge")

// phase is how far a core is with its end.
type phase int

const (
	active   phase = iota
	draining       // extends its own lease, grants nothing
	leaving        // does not decide any more, and appends its leave record
	left
)

// Core is the lease protocol of a core. It is not safe for concurrent use.
type Core struct {
	id      ID
	options Options
	phase   phase

	lease Lease
	beats sent          // own heartbeats
	due   time.Duration // monotonic time of the next heartbeat

	applied      Position // everything up to it is in force here
	restricted   Position // of the last restriction up to applied, or of the snapshot
	announced    Position
	announceNext bool // at the latest with this event

	members map[ID]*member // without this core
	asks    []*ask

	edges    map[ID]*holder // that may decide with a grant of this core, or missed a restriction
	holders  []*holder      // the same
	floor    Position       // up to where every edge has the restrictions in force when it decides
	edgesDue time.Duration  // monotonic time at which the next grant ends
}

// NewCore starts the protocol with a new identity from a snapshot of the state at a position,
// which is in force. A process that replaces its state by a newer snapshot starts again with another
// identity. The first event should follow at once.
func NewCore(id ID, o Options, now Reading, at Position, members []Member) *Core {
	c := &Core{
		id: id, options: o.withDefaults(), due: now.Monotonic, applied: at, restricted: at,
		members: map[ID]*member{}, edges: map[ID]*holder{},
	}
	for _, m := range members {
		// When the heartbeat came is not known. Now is the latest time that is possible.
		c.members[m.Core] = &member{decider: decider{id: m.Core}, heartbeat: m.Heartbeat, seen: now.Monotonic}
	}
	return c
}

// Lease returns the lease to decide. Publish it after every event, before its effects are carried out.
func (c *Core) Lease() Lease { return c.lease }

// Follow judges the position of an edge that wants to follow this core, as [CanFollow] does.
func (c *Core) Follow(edge Position) error { return CanFollow(c.applied, edge) }

// CanFollow judges the position of an edge that wants to follow a core, which has and streams every change up to core.
// It returns ErrBehind if the core cannot serve the edge without a step back. The edge then connects to another core.
func CanFollow(core, edge Position) error {
	if edge > core {
		return fmt.Errorf("%w: it is at position %d and the edge at %d; connect to another core or later",
			ErrBehind, core, edge)
	}
	return nil
}

// Effects is what a core has to do after an event. The order does not matter.
type Effects struct {
	Append   []Record      // append without waiting; an attempt whose outcome is unknown may be repeated
	Announce *Confirmation // send to all other cores
	Grants   []Grant       // send to these edges, if their streams still exist
	Answers  []Answer      // send these SCIM answers
	Left     bool          // the leave record is in force, and the process may end
	Wake     time.Duration // feed Tick after this time, if no other event comes first
}

// Event is something that happens to a core.
type Event interface {
	apply(c *Core, now Reading, eff *Effects)
}

// Next applies an event at the moment now. The package documentation has the table.
func (c *Core) Next(now Reading, ev Event) Effects {
	var eff Effects
	ev.apply(c, now, &eff)
	c.sweep(now)
	c.drain(now)
	c.beat(now, &eff)
	c.announce(&eff)
	c.answer(now, &eff)
	eff.Left = c.phase == left
	eff.Wake = c.wake(now)
	return eff
}

// Tick says that time has passed.
type Tick struct{}

func (Tick) apply(*Core, Reading, *Effects) {}

// Applied says that everything up to Position is in force here. The state has it, the lock table shows it, and
// the streams of locked users are cut. Positions come in order. If several transactions share a
// position, there is an event for each, after all of them are in force. Events for records
// that mean nothing here may be left out, except those that an [Ask] waits for.
type Applied struct {
	Position Position
	Record   Record // nil for a record that does not change the table of cores
	// Restricts: it takes a right away: locks a user, disables a client, removes a key, pauses a tenant.
	// Every restriction goes to the edges, even if it means nothing there, because they confirm it.
	Restricts bool
}

func (ev Applied) apply(c *Core, now Reading, _ *Effects) {
	c.applied = max(c.applied, ev.Position)
	switch r := ev.Record.(type) {
	case Heartbeat:
		c.heartbeat(now, ev.Position, r)
	case Leave:
		if r.Core == c.id {
			c.phase, c.lease = left, Lease{}
		}
		c.dropMember(r.Core, released)
	case Remove:
		if m := c.members[r.Core]; m != nil && m.heartbeat == r.Heartbeat {
			c.dropMember(r.Core, expired)
		}
	}
	if ev.Restricts {
		c.restricted = max(c.restricted, ev.Position)
		c.noteMissed(now)
	}
}

// heartbeat extends the lease of this core, or notes when another core was heard.
func (c *Core) heartbeat(now Reading, at Position, r Heartbeat) {
	if r.Core != c.id {
		m := c.members[r.Core]
		if m == nil {
			m = &member{decider: decider{id: r.Core}}
			c.members[r.Core] = m
		}
		m.heartbeat, m.seen = at, now.Monotonic
		return
	}
	// The lease counts from before the first attempt of the append, however late the record appears.
	if from, ok := c.beats.at[r.Number]; ok && c.phase < leaving {
		c.lease = c.lease.longer(Lease{from, c.options.Lease}, now)
	}
}

func (c *Core) dropMember(id ID, end end) {
	if m := c.members[id]; m != nil {
		m.end = end
		delete(c.members, id)
	}
}

// Drain says that the process wants to end. It continues to decide and to confirm until no edge can decide
// with a grant of this core. Then it leaves the table of cores, which Effects.Left reports.
type Drain struct{}

func (Drain) apply(c *Core, _ Reading, _ *Effects) {
	if c.phase == active {
		c.phase = draining
	}
}

// drain goes on to the leave record when no edge needs this core.
func (c *Core) drain(now Reading) {
	if c.phase == draining && !c.edgesMayDecide(now) {
		c.phase, c.lease, c.due = leaving, Lease{}, now.Monotonic
	}
}

// beat sends what is due every heartbeat.
func (c *Core) beat(now Reading, eff *Effects) {
	if now.Monotonic < c.due || c.phase == left {
		return
	}
	c.due = now.Monotonic + c.options.Heartbeat
	c.announceNext = true
	if c.phase == leaving {
		eff.Append = append(eff.Append, Leave{c.id})
		return
	}
	eff.Append = append(eff.Append, Heartbeat{c.id, c.beats.next(now, c.options.Lease)})
	if c.lease.Right(now, 0) != Decide {
		return // cut off from the log, perhaps, so the others only seem to be silent
	}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[id]
		if now.Monotonic >= m.seen+stretch(c.options.Lease+c.options.Serve) {
			eff.Append = append(eff.Append, Remove{id, m.heartbeat})
		}
	}
}

// announce tells the other cores what is confirmed here: at once if it includes another restriction,
// else with the next heartbeat.
func (c *Core) announce(eff *Effects) {
	confirmed := c.applied
	if c.floor < c.restricted {
		confirmed = c.floor
	}
	if !c.announceNext && min(confirmed, c.restricted) <= c.announced {
		return
	}
	c.announceNext, c.announced = false, confirmed
	eff.Announce = &Confirmation{Core: c.id, Position: confirmed, Missed: c.missed(confirmed)}
}

// wake returns the time until something is due that no event announces.
func (c *Core) wake(now Reading) time.Duration {
	if c.phase == left {
		return c.options.Heartbeat
	}
	at := min(c.due, c.edgesDue)
	for _, a := range c.asks {
		if n := len(a.waits); n > 0 {
			at = min(at, a.waits[n-1].until)
		}
	}
	return max(at-now.Monotonic, time.Microsecond)
}
