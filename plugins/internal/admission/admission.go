// Package admission decides which of many calls run, and in which order. Each call has a deadline, and a
// slow place behind it serves only a few at a time. It knows nothing of what is called.
//
// Calls about what is known and calls about what nobody has seen before have budgets of their own, so a flood
// of the second kind cannot stop the first. Within a class, the call of the client that has been served least
// of late is next. So a client that floods waits for itself, and a client that comes once does not wait for
// it. A call that cannot end before its deadline is refused at once.
package admission

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// Class is the budget of a call.
type Class int

// The classes.
const (
	Known  Class = iota // about what is known: at least half of the slots
	Unseen              // about what was never seen before: at least a quarter, at most half
)

// String returns the name of a class in metrics.
func (c Class) String() string { return [...]string{"known", "unseen"}[c] }

// The reasons of a refusal.
var (
	ErrLate = errors.New("the call could not end before its deadline")
	ErrFull = errors.New("too many calls wait")
)

const (
	maxWaiting      = 64   // calls of one client in one class
	maxWaitingOfAll = 4096 // calls of one class
	maxClients      = 4096 // whose use is remembered, in one class
	halfLife        = 10 * time.Second
	smoothing       = 8 // calls after which a new duration has replaced most of the old
	littleUse       = 0.5
)

// Queue admits the calls of one place.
type Queue struct {
	now   func() time.Time
	slots int

	mu      sync.Mutex // guards all below
	classes [2]class
	service time.Duration // what a call takes, smoothed; 0 before the first
}

// class is the state of one class.
type class struct {
	running, waiting int
	clients          map[string]*client
}

// client is one sender of calls.
type client struct {
	calls []*Call // that wait, in order
	used  float64 // calls that began, halved with every half-life
	at    time.Time
}

// Call is an admitted call. Wait for its turn, and end it with Done.
type Call struct {
	q        *Queue
	class    Class
	client   string
	deadline time.Time
	turn     chan struct{} // closed when the call may begin, or is refused
	began    time.Time
	err      error // set before turn closes
}

// New returns a queue for a place that serves slots calls at a time, 4 or more.
func New(slots int, now func() time.Time) *Queue {
	q := &Queue{now: now, slots: slots}
	for c := range q.classes {
		q.classes[c].clients = map[string]*client{}
	}
	return q
}

// most returns how many calls of a class may run at once.
func (q *Queue) most(c Class) int {
	switch {
	case c == Unseen:
		return q.slots / 2
	case q.classes[Unseen].waiting > 0:
		return q.slots - q.slots/4
	}
	return q.slots
}

func (q *Queue) running() int { return q.classes[Known].running + q.classes[Unseen].running }

// Enter admits a call, or returns [ErrLate] or [ErrFull] at once. It does not wait.
func (q *Queue) Enter(c Class, sender string, deadline time.Time) (*Call, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	cl, now := &q.classes[c], q.now()
	from := cl.client(sender, now)
	if len(from.calls) >= maxWaiting || cl.waiting >= maxWaitingOfAll {
		return nil, ErrFull
	}
	// A call that begins at once is always made, so the measured duration follows a place that is fast again.
	if ahead := cl.ahead(from, now); ahead > 0 || cl.running >= q.most(c) || q.running() >= q.slots {
		turns := float64(ahead+1) / float64(q.most(c))
		if wait := time.Duration(turns * float64(q.service)); now.Add(wait + q.service).After(deadline) {
			return nil, ErrLate
		}
	}
	call := &Call{q: q, class: c, client: sender, deadline: deadline, turn: make(chan struct{})}
	from.calls = append(from.calls, call)
	cl.waiting++
	q.dispatch(now)
	return call, nil
}

// ahead counts the waiting calls that come before a further call of from.
func (cl *class) ahead(from *client, now time.Time) int {
	mine := from.usedAt(now) + float64(len(from.calls))
	n := len(from.calls)
	for _, other := range cl.clients {
		if other == from || len(other.calls) == 0 {
			continue
		}
		if turns := math.Floor(mine-other.usedAt(now)) + 1; turns > 0 {
			n += min(len(other.calls), int(turns))
		}
	}
	return n
}

// usedAt is the client's use at now.
func (cl *client) usedAt(now time.Time) float64 {
	return cl.used * math.Exp2(-float64(now.Sub(cl.at))/float64(halfLife))
}

// client finds or makes the client of a name.
func (cl *class) client(name string, now time.Time) *client {
	if c := cl.clients[name]; c != nil {
		return c
	}
	if len(cl.clients) >= maxClients {
		cl.forget(now)
	}
	c := &client{at: now}
	cl.clients[name] = c
	return c
}

// forget drops clients that used little, and others if there are none such. Those that wait stay.
func (cl *class) forget(now time.Time) {
	for _, least := range []float64{littleUse, math.Inf(1)} {
		for name, c := range cl.clients {
			if len(c.calls) == 0 && c.usedAt(now) <= least && len(cl.clients) > maxClients/2 {
				delete(cl.clients, name)
			}
		}
		if len(cl.clients) < maxClients {
			return
		}
	}
}

// dispatch lets calls begin while there are slots. The caller must have locked mu.
func (q *Queue) dispatch(now time.Time) {
	for q.running() < q.slots {
		c := Known
		if cl := q.classes[c]; cl.waiting == 0 || cl.running >= q.most(c) {
			c = Unseen
		}
		cl := &q.classes[c]
		if cl.waiting == 0 || cl.running >= q.most(c) {
			return
		}
		call, from := cl.next(now)
		// This one waited longer than expected. Refuse it rather than spend a slot on half a call.
		if call.began = now; now.Add(q.service).After(call.deadline) && cl.waiting > 0 {
			call.err = ErrLate
		} else {
			from.used, from.at = from.usedAt(now)+1, now
			cl.running++
		}
		close(call.turn)
	}
}

// next takes the first call of the client with the least use.
func (cl *class) next(now time.Time) (*Call, *client) {
	var least *client
	for _, c := range cl.clients {
		if len(c.calls) == 0 {
			continue
		}
		if least == nil || c.usedAt(now) < least.usedAt(now) {
			least = c
		}
	}
	call := least.calls[0]
	least.calls = least.calls[1:]
	cl.waiting--
	return call, least
}

// Wait returns nil when the call may begin. After an error the call must not be made, and Done is not
// needed.
func (c *Call) Wait(ctx context.Context) error {
	select {
	case <-c.turn:
		return c.err
	case <-ctx.Done():
	}
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	select {
	case <-c.turn: // at the same moment
		if c.err == nil {
			c.q.classes[c.class].running--
			c.q.dispatch(c.q.now())
		}
	default:
		c.q.leave(c)
	}
	return ErrLate
}

// leave removes a waiting call.
func (q *Queue) leave(call *Call) {
	cl := &q.classes[call.class]
	from := cl.clients[call.client]
	for i, c := range from.calls {
		if c == call {
			from.calls = append(from.calls[:i:i], from.calls[i+1:]...)
			cl.waiting--
			return
		}
	}
}

// Done ends a call. served means that the place took the time that the call needed, so that the time counts
// for the calls to come.
func (c *Call) Done(served bool) {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	now := c.q.now()
	if took := now.Sub(c.began); served && c.q.service == 0 {
		c.q.service = took
	} else if served {
		c.q.service += (took - c.q.service) / smoothing
	}
	c.q.classes[c.class].running--
	c.q.dispatch(now)
}
