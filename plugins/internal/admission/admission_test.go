package admission_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/internal/admission"
)

// clock is a clock that only the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) add(d time.Duration) { c.at = c.at.Add(d) }

const limit = 500 * time.Millisecond

// began reports whether a call's turn has come. It is nil for a call that still waits.
func began(t *testing.T, c *admission.Call) bool {
	t.Helper()
	select {
	case <-c.Turn():
		return c.Wait(t.Context()) == nil
	default:
		return false
	}
}

// full returns a queue whose calls take 50 ms, with n slots that calls of sender hold.
func full(t *testing.T, c *clock, n int, class admission.Class, sender string) (*admission.Queue, []*admission.Call) {
	t.Helper()
	q := admission.New(n, c.now)
	first, err := q.Enter(class, sender, c.at.Add(limit))
	if err != nil || !began(t, first) {
		t.Fatalf("the first call: %v, want it to begin", err)
	}
	c.add(50 * time.Millisecond)
	first.Done(true)
	var held []*admission.Call
	for {
		call, err := q.Enter(class, sender, c.at.Add(limit))
		if err != nil {
			t.Fatal(err)
		}
		if !began(t, call) {
			return q, append(held, call)
		}
		held = append(held, call)
	}
}

// TestClassesHaveBudgets: of eight slots, calls about the unseen get four. Calls about the known get all, and
// leave the next one to a waiting call about the unseen.
func TestClassesHaveBudgets(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	q, held := full(t, c, 8, admission.Unseen, "flood")
	if n := len(held) - 1; n != 4 {
		t.Errorf("%d calls about the unseen run, want 4 of 8", n)
	}
	known := 0
	for range 8 {
		call, err := q.Enter(admission.Known, "ann", c.at.Add(limit))
		if err != nil {
			t.Fatal(err)
		}
		if began(t, call) {
			known++
		}
	}
	if known != 4 {
		t.Errorf("%d calls about the known run beside a flood, want 4 of 8", known)
	}

	q, held = full(t, c, 8, admission.Known, "ann")
	if n := len(held) - 1; n != 8 {
		t.Errorf("%d calls about the known run, want 8 of 8", n)
	}
	stranger, err := q.Enter(admission.Unseen, "bob", c.at.Add(limit))
	if err != nil || began(t, stranger) {
		t.Fatalf("a call about the unseen: %v, want it to wait", err)
	}
	held[0].Done(true)
	if !began(t, stranger) {
		t.Error("the stranger waits for the known, want the first free slot")
	}
}

// TestTheLeastServedIsNext: a client that comes once does not wait for the queue of another.
func TestTheLeastServedIsNext(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	q, held := full(t, c, 4, admission.Unseen, "flood")
	for range 10 {
		if _, err := q.Enter(admission.Unseen, "flood", c.at.Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
	once, err := q.Enter(admission.Unseen, "bob", c.at.Add(120*time.Millisecond))
	if err != nil {
		t.Fatalf("bob: %v, want no refusal", err)
	}
	held[0].Done(true)
	if !began(t, once) {
		t.Error("bob waits for the flood, want the next turn")
	}
}

// TestTooLateIsRefusedAtOnce: a call that would wait past its deadline is not queued, one that waited longer
// than expected is not made, and a client cannot queue without end.
func TestTooLateIsRefusedAtOnce(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	q, held := full(t, c, 4, admission.Unseen, "flood")
	if _, err := q.Enter(admission.Unseen, "flood", c.at.Add(90*time.Millisecond)); !errors.Is(err, admission.ErrLate) {
		t.Errorf("90 ms for a wait of 50 ms and a call of 50 ms: %v, want ErrLate", err)
	}
	second, err := q.Enter(admission.Unseen, "flood", c.at.Add(150*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	waiting := held[len(held)-1]
	c.add(480 * time.Millisecond)
	held[0].Done(false)
	for name, call := range map[string]*admission.Call{"first": waiting, "second": second} {
		select {
		case <-call.Turn():
		default:
			t.Errorf("%s: it waits, want an end", name)
		}
	}
	if err := waiting.Wait(t.Context()); !errors.Is(err, admission.ErrLate) {
		t.Errorf("20 ms for a call of 50 ms: %v, want ErrLate", err)
	}

	q, _ = full(t, c, 4, admission.Unseen, "flood")
	for err = nil; err == nil; {
		_, err = q.Enter(admission.Unseen, "flood", c.at.Add(time.Hour))
	}
	if !errors.Is(err, admission.ErrFull) {
		t.Errorf("without end: %v, want ErrFull", err)
	}
}

// TestCallsThatLeave: a caller that stops waiting takes no turn from the others.
func TestCallsThatLeave(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	q, held := full(t, c, 4, admission.Unseen, "flood")
	next, err := q.Enter(admission.Unseen, "flood", c.at.Add(limit))
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := held[len(held)-1].Wait(gone); !errors.Is(err, admission.ErrLate) {
		t.Errorf("Wait() = %v, want ErrLate", err)
	}
	held[0].Done(true)
	if !began(t, next) {
		t.Error("the next call waits, want its turn")
	}
}

// TestFasterAgain: a place that was slower than every deadline gets calls again, and all of them when it is
// fast.
func TestFasterAgain(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	q := admission.New(8, c.now)
	took := 2 * time.Second
	for i := range 60 {
		call, err := q.Enter(admission.Known, "ann", c.at.Add(limit))
		if err != nil || !began(t, call) {
			t.Fatalf("call %d on an idle place: %v, want it to begin", i, err)
		}
		if i == 30 {
			took = 10 * time.Millisecond
		}
		c.add(took)
		call.Done(true)
	}
	for i := range 12 {
		if _, err := q.Enter(admission.Known, "ann", c.at.Add(limit)); err != nil {
			t.Errorf("call %d on a fast place: %v, want none refused", i, err)
		}
	}
}

// arrival is a call of the simulation.
type arrival struct {
	at    time.Time
	kind  string
	class admission.Class
	from  string
}

// TestFlood simulates 20 seconds: 1,000 made-up credentials a second from 4 clients, 10 fresh sign-ins a second
// from 64 others, 60 known sessions that must be asked again every second (ten locks a second make every
// answer old), and a place that answers in 50 ms. It demands that 95 of 100 known sessions and 80 of 100
// sign-ins end in time.
func TestFlood(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	q := admission.New(8, c.now)
	random := rand.New(rand.NewPCG(7, 7))
	var todo []arrival
	arrive := func(kind string, class admission.Class, perSecond, clients int) {
		for i := range 20 * perSecond {
			at := time.Unix(0, 0).Add(time.Duration(i)*time.Second/time.Duration(perSecond) +
				time.Duration(random.IntN(1000))*time.Millisecond)
			todo = append(todo, arrival{at, kind, class, fmt.Sprint(kind, random.IntN(clients))})
		}
	}
	arrive("flood", admission.Unseen, 1000, 4)
	arrive("fresh", admission.Unseen, 10, 64)
	arrive("known", admission.Known, 60, 64)
	slices.SortStableFunc(todo, func(a, b arrival) int { return a.at.Compare(b.at) })

	type flight struct {
		arrival
		call *admission.Call
		end  time.Time // zero while it waits
	}
	var flights []*flight
	total, good := map[string]int{}, map[string]int{}
	// settle ends the calls that have had their 50 ms, the oldest first, and sees which begin.
	settle := func(until time.Time) {
		for {
			var first *flight
			for _, f := range flights {
				if f.end.IsZero() && began(t, f.call) {
					f.end = c.at.Add(50 * time.Millisecond)
				}
				if !f.end.IsZero() && (first == nil || f.end.Before(first.end)) {
					first = f
				}
			}
			if first == nil || first.end.After(until) {
				break
			}
			c.at = first.end
			if c.at.Sub(first.at) <= limit {
				good[first.kind]++
			}
			first.call.Done(true)
			flights = slices.DeleteFunc(flights, func(f *flight) bool { return f == first })
		}
		c.at = until
		flights = slices.DeleteFunc(flights, func(f *flight) bool { return f.end.IsZero() && c.at.Sub(f.at) > limit })
	}
	for _, a := range todo {
		settle(a.at)
		total[a.kind]++
		if call, err := q.Enter(a.class, a.from, a.at.Add(limit)); err == nil {
			flights = append(flights, &flight{arrival: a, call: call})
		}
	}
	settle(c.at.Add(limit))
	for kind, least := range map[string]int{"known": 95, "fresh": 80} {
		if share := good[kind] * 100 / total[kind]; share < least {
			t.Errorf("%s: %d of %d in time, %d %%, want at least %d %%", kind, good[kind], total[kind], share, least)
		}
	}
	if good["flood"] == 0 {
		t.Error("no call of the flood was made, want what is left of the budget")
	}
	t.Log(good, total)
}
