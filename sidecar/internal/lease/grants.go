package lease

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// holder is an edge that this core granted leases. It is found by the identity of its process, so
// grants stay when the stream breaks, and a confirmation over another stream counts.
type holder struct {
	decider
	grants []grant  // not yet ended, oldest first; neither position nor end ever falls
	last   Position // the last restriction that was applied while the edge might decide
	ended  time.Duration
}

// grant is a lease that this core gave.
type grant struct {
	position Position
	until    time.Duration // monotonic time at which the edge has certainly stopped
}

// Renewal of an edge. The answer is a grant, if this core has a lease itself.
func (ev Renewal) apply(c *Core, now Reading, eff *Effects) {
	EdgeConfirmation{Edge: ev.Edge, Position: ev.Position}.apply(c, now, eff)
	ttl := c.lease.Left(now)
	if ttl <= 0 || c.phase != active {
		return
	}
	h := c.edges[ev.Edge]
	if h == nil {
		h = &holder{decider: decider{id: ev.Edge, confirmed: ev.Position}}
		c.edges[ev.Edge] = h
		c.holders = append(c.holders, h)
	}
	h.add(grant{c.restricted, now.Monotonic + stretch(ttl)})
	eff.Grants = append(eff.Grants, Grant{ev.Edge, ev.Number, ttl, c.restricted})
}

// EdgeConfirmation of an edge, over any of its streams.
func (ev EdgeConfirmation) apply(c *Core, _ Reading, _ *Effects) {
	h := c.edges[ev.Edge]
	if h == nil {
		return
	}
	h.confirmed = max(h.confirmed, ev.Position)
	if ev.Done {
		h.end = released
		delete(c.edges, ev.Edge)
	}
}

func (h *holder) add(g grant) {
	if n := len(h.grants); n > 0 {
		g.until = max(g.until, h.grants[n-1].until)
		if h.grants[n-1].position == g.position {
			h.grants = h.grants[:n-1]
		}
	}
	h.grants = append(h.grants, g)
	h.ended = g.until
}

// reached returns up to where the restrictions are in force at the edge whenever it decides. A grant
// counts only once the edge has reached its position, and without a grant the edge does not decide.
func (h *holder) reached() Position {
	if len(h.grants) == 0 {
		return math.MaxUint64
	}
	return max(h.confirmed, h.grants[0].position)
}

// endOfGrantsBefore returns the end of the last grant that the edge may use without the restriction
// at p; zero if there is none.
func (h *holder) endOfGrantsBefore(p Position) time.Duration {
	var until time.Duration
	for _, g := range h.grants {
		if g.position < p {
			until = g.until
		}
	}
	return until
}

// mayServe reports whether an application may still let the edge decide, with or without a lease.
func (h *holder) mayServe(now Reading, o Options) bool {
	return now.Monotonic < h.ended+stretch(o.Serve)
}

// due returns the monotonic time of the next thing that happens to the edge without an event: a
// grant ends, nobody lets the edge decide any more, or it is forgotten. An edge that missed a
// restriction is remembered for another lease, so that a repeated confirmation names it.
func (h *holder) due(now Reading, o Options) time.Duration {
	switch {
	case len(h.grants) > 0:
		return h.grants[0].until
	case h.mayServe(now, o) || h.confirmed >= h.last:
		return h.ended + stretch(o.Serve)
	default:
		return h.ended + stretch(o.Serve) + o.Lease
	}
}

// noteMissed notes a new restriction for every edge that might decide without it.
func (c *Core) noteMissed(now Reading) {
	for _, h := range c.holders {
		if h.mayServe(now, c.options) {
			h.last = c.restricted
		}
	}
}

// missed lists what edges never confirmed of what this core confirms.
func (c *Core) missed(confirmed Position) []Missed {
	var list []Missed
	for _, h := range c.holders {
		if h.confirmed < min(h.last, confirmed) {
			list = append(list, Missed{h.id, h.confirmed, h.last})
		}
	}
	slices.SortFunc(list, func(x, y Missed) int { return cmp.Compare(x.Edge, y.Edge) })
	return list
}

// sweep drops the grants that have ended, and the edges of which nothing is left to remember. It looks
// once at every edge, and notes what the rest of Next needs.
func (c *Core) sweep(now Reading) {
	c.floor, c.edgesDue = math.MaxUint64, math.MaxInt64
	c.holders = slices.DeleteFunc(c.holders, func(h *holder) bool {
		for len(h.grants) > 0 && h.grants[0].until <= now.Monotonic {
			h.grants = slices.Delete(h.grants, 0, 1)
		}
		due := h.due(now, c.options)
		if h.end == alive && due <= now.Monotonic {
			h.end = expired
			delete(c.edges, h.id)
		}
		if h.end != alive {
			return true
		}
		c.floor, c.edgesDue = min(c.floor, h.reached()), min(c.edgesDue, due)
		return false
	})
}

// edgesMayDecide reports whether an edge may decide with a grant of this core.
func (c *Core) edgesMayDecide(now Reading) bool {
	for _, h := range c.holders {
		if h.mayServe(now, c.options) {
			return true
		}
	}
	return false
}
