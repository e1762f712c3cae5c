package lease_test

import (
	"maps"
	"slices"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// entry is a record of the log: one that changes the table of cores, a lock, an unlock, or none.
type entry struct {
	txn    uint64
	at     time.Duration
	record lease.Record
	lock   uint32 // a set of users, like unlock
	unlock uint32
	// By the state before it. A lock of a user who is locked changes nothing.
	restricts bool
}

// state is what all replicas compute from the log.
type state struct {
	locked uint32
	beats  map[lease.ID]lease.Position
}

func newState() state { return state{beats: map[lease.ID]lease.Position{}} }

func (s *state) apply(at lease.Position, e entry) {
	s.locked = s.locked&^e.unlock | e.lock
	switch r := e.record.(type) {
	case lease.Heartbeat:
		s.beats[r.Core] = at
	case lease.Leave:
		delete(s.beats, r.Core)
	case lease.Remove:
		if s.beats[r.Core] == r.Heartbeat {
			delete(s.beats, r.Core)
		}
	}
}

// members lists the table of cores as a snapshot has it.
func (s *state) members() []lease.Member {
	var list []lease.Member
	for _, id := range slices.Sorted(maps.Keys(s.beats)) {
		list = append(list, lease.Member{Core: id, Heartbeat: s.beats[id]})
	}
	return list
}

func (w *world) txn() uint64 {
	w.txns++
	return w.txns
}

func (w *world) last() lease.Position { return lease.Position(len(w.log)) }

// order adds a record to the log, once.
func (w *world) order(e entry) {
	if e.txn != 0 && w.known[e.txn] {
		return
	}
	w.known[e.txn] = true
	at := w.last() + 1
	e.at = w.now
	e.restricts = e.lock&^w.head.locked != 0
	if _, ok := e.record.(lease.Remove); ok {
		before := len(w.head.beats)
		defer func() { w.total.removed += uint64(before - len(w.head.beats)) }()
	}
	for u := range users {
		switch bit := uint32(1) << u; {
		case e.unlock&w.head.locked&bit != 0:
			w.total.unlocks++
			w.answered &^= bit
		case e.lock&^w.head.locked&bit != 0:
			w.lockedAt[u] = at
		}
	}
	w.log = append(w.log, e)
	w.head.apply(at, e)
	for _, c := range w.cores {
		c.after(w.soon(15*time.Millisecond), c.reads)
	}
}

// append proposes a record like a core with an unreliable connection: an attempt is lost, appears late,
// or its result is lost. Then the core repeats it with the same transaction id.
func (c *core) append(e entry) {
	w := c.w
	again := func() {
		c.after(w.between(100*time.Millisecond, 2*time.Second), func() {
			if h, ok := e.record.(lease.Heartbeat); ok {
				if w.mistake.recountHeartbeat {
					c.p.Recount(h.Number, c.now())
				}
				if w.now > healed {
					return // the next heartbeats are on their way
				}
			}
			c.append(e)
		})
	}
	if w.now < c.cut || w.chance(w.loss) {
		again()
		return
	}
	delay := w.soon(10 * time.Millisecond)
	if w.chance(w.loss / 4) {
		delay = w.between(0, 2*simLease)
	}
	w.at(w.now+delay, func() { w.order(e) })
	if w.chance(w.loss) {
		again()
	}
}

// answer is the moment at which a SCIM answer says that the user is locked, by the lock at a position.
func (w *world) answer(user int, lock lease.Position, unconfirmed []lease.Unconfirmed) {
	bit := uint32(1) << user
	if w.head.locked&bit == 0 || w.lockedAt[user] != lock {
		return // it was unlocked since, and perhaps locked again
	}
	if w.answered&bit == 0 {
		w.answered |= bit
		w.named[user] = nil
		if w.mistake.nameNobody {
			unconfirmed = nil
		}
		for _, u := range unconfirmed {
			if u.Edge != "" {
				w.named[user] = append(w.named[user], u.Edge)
			} else {
				w.named[user] = append(w.named[user], u.Core)
			}
		}
	}
	for p := range w.running {
		p.check()
	}
}

// check compares what a process may allow now with the answers. With a lease it must have every lock
// that was answered. If an application may still let it decide, the answer must name it, or the
// core that gave it its last lease.
func (p *process) check() {
	w := p.w
	l, locked, core := p.view()
	if p.dead || w.now < p.stopped {
		return
	}
	right := l.Right(p.now(), w.serve)
	if w.mistake.noLease {
		right = lease.Decide
	}
	if w.calm && w.now > warm && right != lease.Decide {
		w.fault("%s has lost its lease", p.id)
	}
	switch right {
	case lease.Decide:
		w.total.checks++
	case lease.Stale:
		w.total.stale++
	case lease.Refuse:
		return
	}
	missing := w.answered &^ locked
	if missing == 0 {
		return
	}
	for u := range users {
		switch {
		case missing&(1<<u) == 0:
		case right == lease.Decide:
			w.unsafe = true
			w.fault("%s may allow user %d, whose lock was answered", p.id, u)
		case !slices.Contains(w.named[u], p.id) && !slices.Contains(w.named[u], core):
			w.unsafe = true
			w.fault("%s may be let to serve user %d, and the answer of the lock does not name it", p.id, u)
		}
	}
}
