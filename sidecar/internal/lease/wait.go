package lease

import (
	"cmp"
	"slices"
	"time"
)

// end is how a process stopped being one that decides.
type end int

const (
	alive    end = iota
	released     // it said that it will not decide any more
	expired      // its last lease has ended
)

// decider is another process, as far as answers wait for it.
type decider struct {
	id        ID
	confirmed Position
	end       end
}

// member is another core in the table.
type member struct {
	decider
	heartbeat Position
	seen      time.Duration // monotonic time at which this core applied the heartbeat
	missed    []Missed      // from its last confirmation
}

// Ask says that a SCIM answer is ready that reports a restriction: a user is inactive, locked or gone, or
// something else was taken away. It may be sent when Effects.Answers has its ticket, which takes
// little more than a lease at most. Position is that of the state in which the caller saw the
// restriction: of its own commit if that made it, else of the view that it read. A commit that changed
// nothing is older than the view that is read afterwards. Who made the restriction does not matter,
// because a repeated request has to wait like the first one.
type Ask struct {
	Ticket   uint64
	Position Position
}

func (ev Ask) apply(c *Core, _ Reading, _ *Effects) {
	c.asks = append(c.asks, &ask{Ask: ev})
}

// Answer says that every process that may decide has the restrictions up to Position in force.
type Answer struct {
	Ticket   uint64
	Position Position
	Waited   int // processes that had not confirmed when the question came
	// Cores and Edges have them in force: this core, those that confirmed, and the edges of this core that did.
	// An edge of another core is a part of that core's confirmation.
	Cores, Edges int
	// Unconfirmed names those that never did. Their leases have ended. With Options.Serve, an
	// application may still let them decide for that time, and the restriction does not reach them.
	Unconfirmed []Unconfirmed
}

// Confirmation of another core.
func (ev Confirmation) apply(c *Core, _ Reading, _ *Effects) {
	// One from a core whose first heartbeat is not applied yet is lost. The core repeats it.
	if m := c.members[ev.Core]; m != nil && ev.Position >= m.confirmed {
		m.confirmed, m.missed = ev.Position, ev.Missed
	}
}

// ask is an answer that waits.
type ask struct {
	Ask
	started bool
	target  Position // the last restriction up to Position or behind it
	waits   []wait   // those that wait longest come last
	waited  int
	cores   int // that confirmed, without this one
	edges   int
	absent  []Unconfirmed
}

// wait is one process that an answer waits for, at most until a monotonic time.
type wait struct {
	core  *member // nil if it is an edge of this core
	edge  *holder
	until time.Duration
}

func (w wait) decider() *decider {
	if w.core != nil {
		return &w.core.decider
	}
	return &w.edge.decider
}

// answer sends the answers that need not wait any more.
func (c *Core) answer(now Reading, eff *Effects) {
	c.asks = slices.DeleteFunc(c.asks, func(a *ask) bool {
		if !a.started && c.applied >= a.Position {
			c.start(a, now)
		}
		if !a.started || !a.settled(c.id, now) {
			return false
		}
		eff.Answers = append(eff.Answers, Answer{a.Ticket, a.target, a.waited, 1 + a.cores, a.edges, a.absent})
		return true
	})
}

// start notes whom an answer waits for. Heartbeats and grants from now on do not count: they give a
// lease only to a process that has the restriction in force.
func (c *Core) start(a *ask, now Reading) {
	a.started, a.target = true, c.restricted
	for _, m := range c.members {
		a.add(wait{core: m, until: m.seen + stretch(c.options.Lease)}, now)
	}
	for _, h := range c.holders {
		if until := h.endOfGrantsBefore(a.target); until > now.Monotonic || h.last >= a.target {
			a.add(wait{edge: h, until: until}, now)
		}
	}
	slices.SortFunc(a.waits, func(x, y wait) int {
		return cmp.Or(cmp.Compare(x.until, y.until), cmp.Compare(x.decider().id, y.decider().id))
	})
}

func (a *ask) add(w wait, now Reading) {
	a.waits = append(a.waits, w)
	if w.decider().confirmed < a.target && w.until > now.Monotonic {
		a.waited++
	}
}

// settled reports whether nobody is left to wait for. It looks only at the process with the longest
// wait, because the answer has to wait for that one in any case.
func (a *ask) settled(self ID, now Reading) bool {
	for n := len(a.waits); n > 0; n = len(a.waits) {
		w := a.waits[n-1]
		d := w.decider()
		switch {
		case d.confirmed >= a.target:
			a.has(w)
		case d.end == released:
		case d.end == expired || now.Monotonic >= w.until:
			if w.core != nil {
				a.absent = append(a.absent, Unconfirmed{Core: d.id})
			} else {
				a.absent = append(a.absent, Unconfirmed{Core: self, Edge: d.id})
			}
		default:
			return false
		}
		a.waits = a.waits[:n-1]
	}
	return true
}

// has counts a process that confirmed, and names the edges of a core that themselves had not.
func (a *ask) has(w wait) {
	if w.core == nil {
		a.edges++
		return
	}
	a.cores++
	for _, m := range w.core.missed {
		if m.Confirmed < a.target && a.target <= m.Last {
			a.absent = append(a.absent, Unconfirmed{Core: w.core.id, Edge: m.Edge})
		}
	}
}
