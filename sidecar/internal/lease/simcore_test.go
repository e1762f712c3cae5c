package lease_test

import (
	"slices"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// core is a process with a replica of the state, which serves SCIM requests and edges.
type core struct {
	process
	name    string
	p       *lease.Core
	state   state
	applied lease.Position
	lockAt  [users]lease.Position
	fed     time.Duration // real time until which p is behind the state
	cut     time.Duration // real time until which it reaches neither the log nor other cores
	slow    time.Duration // real time until which it reads an old state of the log
	lag     time.Duration // how old
	streams []*stream
	own     map[uint64]*request // by transaction
	tickets map[uint64]ticket
	asked   uint64
	reads   func()
	drains  bool
	ended   bool
}

// ticket is an answer that waits.
type ticket struct {
	request *request
	lock    lease.Position
}

// startCore starts a core from a snapshot of any position of the log.
func (w *world) startCore(name string, id lease.ID) *core {
	c := &core{
		process: w.process(name), name: name, state: newState(),
		own: map[uint64]*request{}, tickets: map[uint64]ticket{},
	}
	if id != "" {
		c.id = id
	}
	at := lease.Position(1 + w.r.IntN(len(w.log)))
	for c.applied < at {
		c.applied++
		c.fold()
	}
	members := c.state.members()
	if w.mistake.amnesia {
		members = nil
	}
	members = slices.DeleteFunc(members, func(m lease.Member) bool { return m.Core == c.id })
	c.reads, c.tick = c.read, func() { c.next(lease.Tick{}) }
	c.view = func() (lease.Lease, uint32, lease.ID) { return c.p.Lease(), c.state.locked, "" }
	c.p = lease.NewCore(c.id, w.options(), c.now(), at, members)
	c.after(w.soon(20*time.Millisecond), c.tick)
	c.after(0, c.probe)
	return c
}

// fold applies the record at the position applied.
func (c *core) fold() entry {
	e := c.w.log[c.applied-1]
	for u := range users {
		if e.lock&^c.state.locked&(1<<u) != 0 {
			c.lockAt[u] = c.applied
		}
	}
	c.state.apply(c.applied, e)
	return e
}

// probe reads the log when nothing told the core to.
func (c *core) probe() {
	c.read()
	c.after(400*time.Millisecond, c.probe)
}

// read applies what is in the log, or a part of it.
func (c *core) read() {
	for c.applied < c.w.last() && c.w.now >= c.cut && !c.w.chance(0.03) {
		if c.w.now < c.slow && c.w.log[c.applied].at > c.w.now-c.lag {
			break
		}
		c.applied++
		e, at := c.fold(), c.applied
		if e.lock|e.unlock != 0 {
			for _, s := range c.streams {
				s.fanOut(change{at: at, lock: e.lock, unlock: e.unlock, restricts: e.restricts})
			}
		}
		if c.w.chance(0.1) { // it takes time to cut the streams of a locked user
			c.fed = max(c.fed, c.w.now+c.w.soon(50*time.Millisecond))
		}
		feed := func() { c.feed(at, e) }
		if c.fed > c.w.now {
			c.after(c.fed-c.w.now, feed)
		} else {
			feed()
		}
	}
	c.check()
}

func (c *core) feed(at lease.Position, e entry) {
	if c.w.mistake.confirmEarly && e.restricts {
		for _, other := range c.w.edges {
			c.next(lease.EdgeConfirmation{Edge: other.id, Position: at})
		}
	}
	c.next(lease.Applied{Position: at, Record: e.record, Restricts: e.restricts})
	if q := c.own[e.txn]; q != nil && e.txn != 0 {
		c.ask(q, at)
	}
}

// next feeds an event to the protocol and carries out its effects, except the grants.
func (c *core) next(ev lease.Event) []lease.Grant {
	if c.ended {
		return nil
	}
	w := c.w
	eff := c.p.Next(c.now(), ev)
	for _, r := range eff.Append {
		c.append(entry{txn: w.txn(), record: r})
	}
	if eff.Announce != nil {
		c.announce(*eff.Announce)
	}
	for _, a := range eff.Answers {
		t := c.tickets[a.Ticket]
		delete(c.tickets, a.Ticket)
		if a.Waited > 0 {
			w.total.waited++
		}
		w.total.expired += uint64(len(a.Unconfirmed))
		t.request.answer(t.lock, a.Unconfirmed)
	}
	if eff.Left {
		c.ended = true
		w.total.drained++
		c.after(w.soon(100*time.Millisecond), func() { c.restart(w.soon(time.Second)) })
	}
	c.wake(eff.Wake)
	c.check()
	return eff.Grants
}

func (c *core) announce(m lease.Confirmation) {
	w := c.w
	for _, other := range w.cores {
		if other == c || w.now < c.cut || w.chance(w.loss) {
			continue
		}
		other.after(w.soon(15*time.Millisecond), func() {
			if w.now >= other.cut {
				other.next(m)
			}
		})
	}
}

// patch is a SCIM request that makes a user inactive.
func (c *core) patch(q *request) {
	if c.ended {
		return
	}
	if c.state.locked&(1<<q.user) == 0 {
		e := entry{txn: c.w.txn(), lock: 1 << q.user}
		c.own[e.txn] = q
		c.append(e)
		return
	}
	c.w.total.repeated++
	if c.w.mistake.answerRepeated {
		q.answer(c.lockAt[q.user], nil)
		return
	}
	c.ask(q, c.applied)
}

// ask waits with an answer that says that the user is locked, after the commit or a look at a position.
func (c *core) ask(q *request, at lease.Position) {
	if c.state.locked&(1<<q.user) == 0 {
		return // it was unlocked meanwhile; the provider asks again
	}
	if c.lockAt[q.user] > at {
		at = c.applied // the lock is a later one, which this view shows
	}
	c.asked++
	c.tickets[c.asked] = ticket{q, c.lockAt[q.user]}
	c.next(lease.Ask{Ticket: c.asked, Position: at})
}

// attach serves an edge that follows this core.
func (c *core) attach(s *stream, f lease.Follow) {
	if c.ended || c.drains {
		s.end(0)
		return
	}
	if err := c.p.Follow(f.Position); err != nil && !c.w.chance(0.1) { // the old one may still be asked
		s.end(c.w.soon(15 * time.Millisecond))
		return
	}
	c.streams = append(c.streams, s)
	if f.Position == 0 || f.Position+20 < c.applied || c.w.chance(0.5) || f.Position > c.applied {
		s.fanOut(change{at: c.applied, snapshot: true, lock: c.state.locked})
		return
	}
	for at := f.Position + 1; at <= c.applied; at++ {
		if e := c.w.log[at-1]; e.lock|e.unlock != 0 || at == c.applied {
			s.fanOut(change{at: at, lock: e.lock, unlock: e.unlock, restricts: true})
		}
	}
}

// detach notices the end of a stream.
func (c *core) detach(s *stream) {
	c.streams = slices.DeleteFunc(c.streams, func(o *stream) bool { return o == s })
	if c.w.mistake.forgetGrants {
		c.p.Forget(s.edge.id)
	}
}

// drain ends the process in an orderly way.
func (c *core) drain() {
	if c.ended || c.drains {
		return
	}
	c.drains = true
	for _, s := range c.streams {
		s.end(c.w.soon(50 * time.Millisecond))
	}
	c.streams = nil
	if c.w.mistake.leaveEarly {
		c.append(entry{txn: c.w.txn(), record: lease.Leave{Core: c.id}})
		return
	}
	c.next(lease.Drain{})
}

// restart ends the process at once and starts another one in its place.
func (c *core) restart(after time.Duration) {
	if c.dead {
		return
	}
	c.dead = true
	for _, s := range c.streams {
		if c.w.chance(0.7) {
			s.end(c.w.soon(50 * time.Millisecond))
		} else {
			s.lost = true
		}
	}
	w := c.w
	w.at(w.now+after, func() {
		var id lease.ID
		if w.mistake.keepIdentity {
			id = c.id
		}
		w.cores[slices.Index(w.cores, c)] = w.startCore(c.name, id)
	})
}
