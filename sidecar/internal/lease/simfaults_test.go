package lease_test

import (
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// mistake breaks one rule of the protocol, outside of the product's code.
type mistake struct {
	name, why string

	noLease          bool
	confirmEarly     bool
	countFromGrant   bool
	stepBack         bool
	amnesia          bool
	answerRepeated   bool
	grantOvertakes   bool
	recountHeartbeat bool
	forgetGrants     bool
	monotonicOnly    bool
	waitByWall       bool
	leaveEarly       bool
	removeEarly      bool
	keepIdentity     bool
	prepared         bool
	nameNobody       bool
	drift            float64
}

var mistakes = []mistake{
	{name: "no lease", why: "a process decides as long as it runs", noLease: true},
	{name: "confirm early", why: "a core confirms before its edges", confirmEarly: true},
	{name: "count from grant", why: "an edge counts its lease from the grant", countFromGrant: true},
	{name: "step back", why: "an edge takes the snapshot of a core that is behind it", stepBack: true},
	{name: "amnesia", why: "a core starts without the heartbeats of the snapshot", amnesia: true},
	{name: "answer repeated", why: "a request that changes nothing is answered at once", answerRepeated: true},
	{name: "grant overtakes", why: "a grant counts before the changes that it overtook", grantOvertakes: true},
	{name: "recount heartbeat", why: "a lease counts from the last attempt to append", recountHeartbeat: true},
	{name: "forget grants", why: "a core forgets the grants of an edge whose stream broke", forgetGrants: true},
	{name: "monotonic only", why: "a suspended machine does not notice how long", monotonicOnly: true},
	{name: "wait by wall", why: "a wall clock that was set ends the wait for others", waitByWall: true},
	{name: "leave early", why: "a core leaves the table while it and its edges decide", leaveEarly: true},
	{name: "remove early", why: "a core that is not silent is removed", removeEarly: true},
	{name: "keep identity", why: "a restarted core has the identity of the one before", keepIdentity: true},
	{name: "prepared", why: "a stopped process sends what it decided before", prepared: true},
	{name: "name nobody", why: "an answer does not name who may still serve", nameNobody: true},
	{name: "drift", why: "clocks differ by more than the margin", drift: 0.02},
}

// request is a provider that makes a user inactive, and asks any core again until it gets an answer.
type request struct {
	w        *world
	user     int
	asked    time.Duration
	answered bool
}

func (q *request) try() {
	if q.answered {
		return
	}
	w := q.w
	if c := w.cores[w.r.IntN(len(w.cores))]; !c.dead {
		c.after(w.soon(10*time.Millisecond), func() { c.patch(q) })
	}
	w.at(w.now+w.between(500*time.Millisecond, 3*time.Second), q.try)
}

func (q *request) answer(lock lease.Position, unconfirmed []lease.Unconfirmed) {
	w := q.w
	w.answer(q.user, lock, unconfirmed)
	if q.answered {
		return
	}
	q.answered = true
	w.total.answers++
	w.total.longest = max(w.total.longest, w.now-q.asked)
	if w.now < healed && w.chance(0.3) {
		w.at(w.now+w.between(0, simLease), q.unlock)
	}
}

// unlock makes the user active again. Nobody waits for that.
func (q *request) unlock() {
	w := q.w
	c := w.cores[w.r.IntN(len(w.cores))]
	c.after(0, func() { c.append(entry{txn: w.txn(), unlock: 1 << q.user}) })
	if w.chance(0.5) {
		w.lock(q.user, w.now+w.between(time.Second, 4*time.Second))
	}
}

func (w *world) lock(user int, at time.Duration) {
	if at > healed {
		return
	}
	w.at(at, func() {
		q := &request{w: w, user: user, asked: w.now}
		w.requests = append(w.requests, q)
		q.try()
	})
}

// plan decides what happens in the schedule.
func (w *world) plan() {
	for u := range users {
		w.lock(u, w.between(warm, healed))
	}
	for faults := w.r.IntN(8); faults > 0 && !w.calm; faults-- {
		w.at(w.between(warm/2, healed-simLease), w.breakSomething)
	}
	w.at(healed, func() { w.loss = 0 })
	w.at(healed+simHeartbeat, w.end)
}

// breakSomething is one fault. It ends before the faults are healed.
func (w *world) breakSomething() {
	d := min(w.between(0, 3*simLease), healed-w.now)
	c, e := w.cores[w.r.IntN(len(w.cores))], w.edges[w.r.IntN(len(w.edges))]
	p := &c.process
	if w.chance(0.5) {
		p = &e.process
	}
	switch w.r.IntN(10) {
	case 0:
		p.stop(d)
	case 1: // the machine of the process is suspended
		p.stop(d)
		p.asleep += time.Duration(float64(p.stopped-w.now) * p.rate)
	case 2:
		step := []time.Duration{time.Hour, -time.Hour, simLease, -simLease}[w.r.IntN(4)]
		p.wall += step
		p.forward += max(step, 0)
		p.check()
	case 3:
		c.cut = max(c.cut, w.now+d)
	case 4: // what answers its reads is a server that is behind
		c.slow, c.lag = w.now+d, w.between(0, 2*simLease)
	case 5:
		e.cut = max(e.cut, w.now+d)
	case 6:
		c.restart(w.soon(time.Second))
	case 7:
		if w.chance(0.5) {
			e.after(0, func() { e.next(lease.EdgeDrain{}) })
		}
		e.after(w.soon(50*time.Millisecond), func() { e.restart(w.soon(time.Second)) })
	case 8:
		c.after(0, c.drain)
		if w.mistake.removeEarly {
			w.order(entry{txn: w.txn(), record: lease.Remove{Core: c.id, Heartbeat: w.head.beats[c.id]}})
		}
	case 9: // an edge loses its stream
		if s := e.stream; s != nil && w.chance(0.5) {
			s.end(w.soon(50 * time.Millisecond))
		} else if s != nil {
			s.lost = true
		}
	}
}
