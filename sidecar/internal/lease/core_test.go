package lease_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// at is a reading of clocks that agree.
func at(d time.Duration) lease.Reading { return lease.Reading{Monotonic: d, Boot: d, Wall: d} }

// rig is a core in a test, and its time.
type rig struct {
	t   *testing.T
	c   *lease.Core
	now time.Duration
	// What it appended, announced, granted and answered.
	appended  []lease.Record
	announced []lease.Confirmation
	grants    []lease.Grant
	answers   []lease.Answer
	left      bool
	wake      time.Duration
}

func newRig(t *testing.T, o lease.Options, members ...lease.Member) *rig {
	t.Helper()
	return &rig{t: t, c: lease.NewCore("a", o, at(0), 10, members)}
}

func (r *rig) next(ev lease.Event) {
	eff := r.c.Next(at(r.now), ev)
	r.appended = append(r.appended, eff.Append...)
	if eff.Announce != nil {
		r.announced = append(r.announced, *eff.Announce)
	}
	r.grants = append(r.grants, eff.Grants...)
	r.answers = append(r.answers, eff.Answers...)
	r.left = eff.Left
	r.wake = eff.Wake
}

// beat lets the core apply a new heartbeat of its own at a position.
func (r *rig) beat(p lease.Position) {
	r.t.Helper()
	r.next(lease.Tick{})
	for _, rec := range slices.Backward(r.appended) {
		if h, ok := rec.(lease.Heartbeat); ok {
			r.next(lease.Applied{Position: p, Record: h})
			return
		}
	}
	r.t.Fatal("the core appended no heartbeat")
}

// until wakes the core when it asks for it, until done or a time.
func (r *rig) until(end time.Duration, done func() bool) {
	r.t.Helper()
	for !done() {
		if r.now += r.wake; r.now > end {
			r.t.Fatalf("nothing happened until %v", end)
		}
		r.next(lease.Tick{})
	}
}

func (r *rig) right() lease.Right { return r.c.Lease().Right(at(r.now), 0) }

// wantAnswer checks the only answer.
func (r *rig) wantAnswer(waited int, unconfirmed ...lease.Unconfirmed) {
	r.t.Helper()
	if len(r.answers) != 1 {
		r.t.Fatalf("answers %+v at %v, want one", r.answers, r.now)
	}
	if a := r.answers[0]; a.Waited != waited || !slices.Equal(a.Unconfirmed, unconfirmed) {
		r.t.Errorf("answer %+v, want %d waited, unconfirmed %v", a, waited, unconfirmed)
	}
}

// TestLeaseCountsFromBeforeTheAppend: however late its heartbeat appears in the log, a core decides
// for 15 s from the moment before the first attempt to append it.
func TestLeaseCountsFromBeforeTheAppend(t *testing.T) {
	r := newRig(t, lease.Options{})
	if got := r.c.Lease().Right(at(0), time.Hour); got != lease.Refuse {
		t.Fatalf("a new core has the right %d, want none", got)
	}
	r.next(lease.Tick{})
	r.now = 14 * time.Second
	r.next(lease.Applied{Position: 11, Record: r.appended[0]})
	for _, tc := range []struct {
		name  string
		now   time.Duration
		serve time.Duration
		want  lease.Right
	}{
		{"before the end", 15*time.Second - 1, 0, lease.Decide},
		{"at the end", 15 * time.Second, 0, lease.Refuse},
		{"at the end, the application serves", 15 * time.Second, time.Second, lease.Stale},
		{"the application no longer serves", 16 * time.Second, time.Second, lease.Refuse},
	} {
		if got := r.c.Lease().Right(at(tc.now), tc.serve); got != tc.want {
			t.Errorf("%s: right %d, want %d", tc.name, got, tc.want)
		}
	}
}

// TestForeignHeartbeatGivesNoLease: neither the heartbeat of another core nor one that this process
// did not send.
func TestForeignHeartbeatGivesNoLease(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.next(lease.Tick{})
	r.next(lease.Applied{Position: 11, Record: lease.Heartbeat{Core: "b", Number: 1}})
	r.next(lease.Applied{Position: 12, Record: lease.Heartbeat{Core: "a", Number: 7}})
	if got := r.right(); got != lease.Refuse {
		t.Errorf("right %d, want none", got)
	}
}

// TestAnswerWaitsForCores: until a core confirms, leaves, is removed, or its last heartbeat is 1.01 leases old.
func TestAnswerWaitsForCores(t *testing.T) {
	const heard, asked = 5 * time.Second, 6 * time.Second
	for _, tc := range []struct {
		name        string
		ev          lease.Event // at the time asked
		at          time.Duration
		unconfirmed []lease.Unconfirmed
	}{
		{"it confirms", lease.Confirmation{Core: "b", Position: 20}, asked, nil},
		{
			"it confirms less",
			lease.Confirmation{Core: "b", Position: 19},
			heard + 15150*time.Millisecond,
			[]lease.Unconfirmed{{Core: "b"}},
		},
		{"nothing", lease.Tick{}, heard + 15150*time.Millisecond, []lease.Unconfirmed{{Core: "b"}}},
		{
			"a heartbeat behind the lock does not prolong the wait",
			lease.Applied{Position: 21, Record: lease.Heartbeat{Core: "b", Number: 9}},
			heard + 15150*time.Millisecond,
			[]lease.Unconfirmed{{Core: "b"}},
		},
		{"it leaves", lease.Applied{Position: 21, Record: lease.Leave{Core: "b"}}, asked, nil},
		{
			"it is removed",
			lease.Applied{Position: 21, Record: lease.Remove{Core: "b", Heartbeat: 15}},
			asked,
			[]lease.Unconfirmed{{Core: "b"}},
		},
		{
			"it is not removed, because of a newer heartbeat",
			lease.Applied{Position: 21, Record: lease.Remove{Core: "b", Heartbeat: 14}},
			heard + 15150*time.Millisecond,
			[]lease.Unconfirmed{{Core: "b"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, lease.Options{})
			r.now = heard
			r.next(lease.Applied{Position: 15, Record: lease.Heartbeat{Core: "b", Number: 1}})
			r.now = asked
			r.next(lease.Applied{Position: 20, Restricts: true})
			r.next(lease.Ask{Ticket: 1, Position: 20})
			if len(r.answers) != 0 {
				t.Fatalf("answered %+v before anybody confirmed", r.answers)
			}
			r.next(tc.ev)
			r.until(time.Minute, func() bool { return len(r.answers) > 0 })
			if r.now != tc.at {
				t.Errorf("answered at %v, want %v", r.now, tc.at)
			}
			r.wantAnswer(1, tc.unconfirmed...)
		})
	}
}

// TestSnapshotCountsAsHeardNow: a core that starts does not know how old the heartbeats of the snapshot are.
func TestSnapshotCountsAsHeardNow(t *testing.T) {
	r := newRig(t, lease.Options{}, lease.Member{Core: "b", Heartbeat: 3})
	r.next(lease.Ask{Ticket: 1, Position: 10})
	r.until(time.Minute, func() bool { return len(r.answers) > 0 })
	if want := 15150 * time.Millisecond; r.now != want {
		t.Errorf("answered at %v, want %v", r.now, want)
	}
}

// TestAskBeforeApplied: an answer about a state that is not in force here yet waits until it is.
func TestAskBeforeApplied(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.next(lease.Ask{Ticket: 1, Position: 20})
	if len(r.answers) != 0 {
		t.Fatalf("answered %+v before the position is in force", r.answers)
	}
	r.next(lease.Applied{Position: 20, Restricts: true})
	r.wantAnswer(0)
}

// TestAnswerWaitsForEdges: a core confirms a restriction when every edge with a grant from before it has it
// or has lost its lease.
func TestAnswerWaitsForEdges(t *testing.T) {
	for _, tc := range []struct {
		name        string
		ev          lease.Event
		wait        time.Duration
		unconfirmed []lease.Unconfirmed
	}{
		{"it confirms", lease.EdgeConfirmation{Edge: "e", Position: 20}, 0, nil},
		{"it ends", lease.EdgeConfirmation{Edge: "e", Position: 10, Done: true}, 0, nil},
		{"a renewal confirms", lease.Renewal{Edge: "e", Number: 2, Position: 20}, 0, nil},
		{
			"a grant behind the restriction does not prolong the wait",
			lease.Renewal{Edge: "e", Number: 2, Position: 10},
			15150 * time.Millisecond,
			[]lease.Unconfirmed{{Core: "a", Edge: "e"}},
		},
		{"nothing", lease.Tick{}, 15150 * time.Millisecond, []lease.Unconfirmed{{Core: "a", Edge: "e"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, lease.Options{})
			r.beat(11)
			r.next(lease.Renewal{Edge: "e", Number: 1, Position: 10})
			want := []lease.Grant{{Edge: "e", Number: 1, TTL: 15 * time.Second, Position: 10}}
			if !slices.Equal(r.grants, want) {
				t.Fatalf("grants %+v, want %+v", r.grants, want)
			}
			r.next(lease.Applied{Position: 20, Restricts: true})
			r.next(lease.Ask{Ticket: 1, Position: 20})
			if confirmed := r.announced[len(r.announced)-1].Position; len(r.answers) != 0 || confirmed >= 20 {
				t.Fatalf("answers %+v, confirmed up to %d, before the edge confirmed", r.answers, confirmed)
			}
			r.next(tc.ev)
			r.until(time.Minute, func() bool { return len(r.answers) > 0 })
			if r.now != tc.wait {
				t.Errorf("answered at %v, want %v", r.now, tc.wait)
			}
			r.wantAnswer(1, tc.unconfirmed...)
			last := r.announced[len(r.announced)-1]
			if missed := len(last.Missed) > 0; last.Position < 20 || missed != (len(tc.unconfirmed) > 0) {
				t.Errorf("announced %+v, want position 20 and what the edge missed", last)
			}
		})
	}
}

// TestConfirmsWhenGrantsEnd: at once, without a heartbeat or an answer that waits.
func TestConfirmsWhenGrantsEnd(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.beat(11)
	r.next(lease.Renewal{Edge: "e", Number: 1, Position: 10})
	r.next(lease.Applied{Position: 20, Restricts: true})
	r.until(time.Minute, func() bool { return r.announced[len(r.announced)-1].Position >= 20 })
	if want := 15150 * time.Millisecond; r.now != want {
		t.Errorf("confirmed at %v, want %v", r.now, want)
	}
}

// TestConfirmationsAreRepeated: with every heartbeat, because one may be lost.
func TestConfirmationsAreRepeated(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.next(lease.Applied{Position: 20, Restricts: true})
	before := len(r.announced)
	r.until(time.Minute, func() bool { return r.now >= 5*time.Second })
	if got := len(r.announced) - before; got != 5 || r.announced[before].Position != 20 {
		t.Errorf("announced %+v, want the same 5 times", r.announced[before:])
	}
}

// TestConfirmationsMayOvertake: an older one takes nothing back.
func TestConfirmationsMayOvertake(t *testing.T) {
	r := newRig(t, lease.Options{}, lease.Member{Core: "b", Heartbeat: 3})
	r.beat(11)
	r.next(lease.Renewal{Edge: "e", Number: 1, Position: 10})
	r.next(lease.Applied{Position: 20, Restricts: true})
	for _, p := range []lease.Position{20, 19} {
		r.next(lease.EdgeConfirmation{Edge: "e", Position: p})
		r.next(lease.Confirmation{Core: "b", Position: p})
	}
	r.next(lease.Ask{Ticket: 1, Position: 20})
	r.wantAnswer(0)
}

// TestLaterGrantsDoNotCount: nobody waits for a grant that the edge cannot use without the restriction.
func TestLaterGrantsDoNotCount(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.beat(11)
	r.next(lease.Renewal{Edge: "e", Number: 1, Position: 10})
	r.now = 5 * time.Second
	r.beat(12)
	r.next(lease.Applied{Position: 20, Restricts: true})
	r.next(lease.Renewal{Edge: "e", Number: 2, Position: 10})
	r.next(lease.Ask{Ticket: 1, Position: 20})
	r.until(time.Minute, func() bool { return len(r.answers) > 0 })
	if want := 15150 * time.Millisecond; r.now != want {
		t.Errorf("answered at %v, want %v", r.now, want)
	}
}

// TestAnswerNamesEdgesOfOthers: a core that confirms names the edges that did not, for the restrictions that
// they missed.
func TestAnswerNamesEdgesOfOthers(t *testing.T) {
	for position, want := range map[lease.Position]bool{19: false, 20: true, 25: true, 26: false} {
		r := newRig(t, lease.Options{}, lease.Member{Core: "b", Heartbeat: 3})
		r.next(lease.Applied{Position: position, Restricts: true})
		r.next(lease.Ask{Ticket: 1, Position: position})
		r.next(lease.Confirmation{Core: "b", Position: 30, Missed: []lease.Missed{{Edge: "e", Confirmed: 19, Last: 25}}})
		if want {
			r.wantAnswer(1, lease.Unconfirmed{Core: "b", Edge: "e"})
		} else {
			r.wantAnswer(1)
		}
	}
}

// TestNoGrantWithoutLease: a grant never lasts longer than the lease of the core.
func TestNoGrantWithoutLease(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.next(lease.Renewal{Edge: "e", Number: 1, Position: 10})
	r.beat(11)
	r.now = 9 * time.Second
	r.next(lease.Renewal{Edge: "e", Number: 2, Position: 10})
	r.now = 15 * time.Second
	r.next(lease.Renewal{Edge: "e", Number: 3, Position: 10})
	if want := []lease.Grant{{Edge: "e", Number: 2, TTL: 6 * time.Second, Position: 10}}; !slices.Equal(r.grants, want) {
		t.Errorf("grants %+v, want %+v", r.grants, want)
	}
}

// TestRemove: a core with a lease removes another one that was silent for 1.01 leases and as long as
// applications serve.
func TestRemove(t *testing.T) {
	r := newRig(t, lease.Options{Serve: 10 * time.Second}, lease.Member{Core: "b", Heartbeat: 3})
	want := lease.Remove{Core: "b", Heartbeat: 3}
	for r.now < 25*time.Second {
		r.beat(lease.Position(11 + r.now/time.Second))
		r.now += time.Second
	}
	if slices.Contains(r.appended, lease.Record(want)) {
		t.Fatal("removed a core that an application may still let decide")
	}
	r.now = 25250 * time.Millisecond
	r.next(lease.Tick{})
	if !slices.Contains(r.appended, lease.Record(want)) {
		t.Errorf("appended %v, want %v", r.appended, want)
	}
}

// TestDrain: a core leaves the table when no edge can use its grants, and does not decide from then on.
func TestDrain(t *testing.T) {
	r := newRig(t, lease.Options{})
	r.beat(11)
	r.next(lease.Renewal{Edge: "e", Number: 1, Position: 10})
	r.next(lease.Drain{})
	r.next(lease.Renewal{Edge: "f", Number: 1, Position: 10})
	if len(r.grants) != 1 {
		t.Errorf("a draining core gave the grants %+v", r.grants)
	}
	leave := lease.Record(lease.Leave{Core: "a"})
	if slices.Contains(r.appended, leave) || r.right() != lease.Decide {
		t.Fatalf("appended %v with right %d while an edge may decide", r.appended, r.right())
	}
	r.next(lease.EdgeConfirmation{Edge: "e", Position: 10, Done: true})
	if !slices.Contains(r.appended, leave) || r.right() != lease.Refuse || r.left {
		t.Fatalf("appended %v with right %d, left %v; want a leave record and no right", r.appended, r.right(), r.left)
	}
	r.next(lease.Applied{Position: 12, Record: lease.Heartbeat{Core: "a", Number: 1}})
	if r.right() != lease.Refuse {
		t.Error("a late heartbeat gave a lease to a core that leaves")
	}
	r.next(lease.Applied{Position: 13, Record: lease.Leave{Core: "a"}})
	if !r.left {
		t.Error("the core does not report that it left")
	}
}

func TestFollowRefusesEdgesAhead(t *testing.T) {
	r := newRig(t, lease.Options{})
	if err := r.c.Follow(10); err != nil {
		t.Errorf("an edge at the same position: %v", err)
	}
	if err := r.c.Follow(11); !errors.Is(err, lease.ErrBehind) {
		t.Errorf("an edge ahead: %v, want ErrBehind", err)
	}
}
