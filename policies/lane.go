package policies

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/topdown"
)

const (
	// endingTime is how long an evaluation may take to end after its deadline, which it looks at between two calls.
	endingTime = 100 * time.Millisecond
	// suspendAfter is how long it may take before the rules are suspended. The slowest call takes a part of it.
	suspendAfter = 5 * time.Second
	// maxStuck is how many evaluations of one tenant may be stuck: one of its rules, and one of those that replaced
	// them and should have mended it. Each keeps a processor busy.
	maxStuck = 2
)

// errStuck is the error of an evaluation that does not end, and of those that its rules would make after it.
var errStuck = errors.New(FailureStuck)

// lane lets the rules of a tenant be evaluated once at a time, in a goroutine of its own. The engine looks at the
// deadline between two steps, and there are steps that never end: to compare two values that consist of the same part
// very many times. Nothing in a process can end such an evaluation. So the request gets its answer without it, the lane
// stays taken, and other tenants lose one processor at most. If the evaluation has not ended after some seconds, the
// rules are suspended: they give no verdict any more, in this process, until others are in force.
type lane struct {
	turn chan struct{} // has an element while an evaluation runs

	mu        sync.Mutex // guards the fields below
	overdue   bool       // the evaluation that runs has not ended in time
	suspended time.Time  // zero: it is not
	tell      func()     // called when it is suspended; may be nil
	restart   bool       // only the end of the process helps
	stuck     *atomic.Int32
}

// newLane makes a lane of a tenant without an evaluation that is stuck.
func newLane() *lane { return &lane{turn: make(chan struct{}, 1), stuck: &atomic.Int32{}} }

// follow makes l the lane of the rules that replace those of before. It is suspended if too many evaluations of those
// are stuck.
func (l *lane) follow(before *lane) {
	before.mu.Lock()
	stuck := before.stuck
	before.mu.Unlock()
	l.mu.Lock()
	l.stuck = stuck
	l.mu.Unlock()
	if stuck.Load() >= maxStuck {
		l.suspend()
	}
}

// closed reports whether the lane is taken by an evaluation that does not end.
func (l *lane) closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overdue || !l.suspended.IsZero()
}

// run returns what evaluate returns. It waits for the evaluation before, but not for one that is stuck, and not much
// longer than ctx.
func (l *lane) run(
	ctx context.Context, evaluate func() (topdown.QueryResultSet, error),
) (topdown.QueryResultSet, error) {
	if l.closed() {
		return nil, errStuck
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		if l.closed() {
			return nil, errStuck
		}
		return nil, ctx.Err()
	}
	var answer topdown.QueryResultSet
	var err error
	done := make(chan struct{})
	go func() {
		answer, err = evaluate()
		close(done)
	}()
	select {
	case <-done:
		<-l.turn
		return answer, err
	case <-ctx.Done():
	}
	ending := time.NewTimer(endingTime)
	defer ending.Stop()
	select {
	case <-done:
		<-l.turn
		return answer, err
	case <-ending.C:
		l.giveUp(done)
		return nil, errStuck
	}
}

// giveUp leaves an evaluation alone. When it ends in the next seconds, the lane is open again.
func (l *lane) giveUp(done <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.overdue = true
	stuck := l.stuck
	stuck.Add(1)
	suspend := time.AfterFunc(suspendAfter, l.suspend)
	go func() {
		<-done
		suspend.Stop()
		stuck.Add(-1)
		l.mu.Lock()
		l.overdue = false
		l.mu.Unlock()
		<-l.turn
	}()
}

// suspend ends the use of the rules.
func (l *lane) suspend() {
	l.mu.Lock()
	tell := l.tell
	l.suspended, l.restart = time.Now(), l.stuck.Load() >= maxStuck
	l.mu.Unlock()
	if tell != nil {
		tell()
	}
}

// Suspension says that rules give no verdict in this process, because an evaluation of them has not ended. It stays,
// whether or not that evaluation ends, until other rules of the tenant are in force.
type Suspension struct {
	Since   time.Time // zero: the rules are not suspended
	Restart bool      // evaluations of former rules have not ended either, so that only a restart helps
}

// Suspended returns the suspension of the rules.
func (r *Rules) Suspended() Suspension {
	r.lane.mu.Lock()
	defer r.lane.mu.Unlock()
	return Suspension{r.lane.suspended, r.lane.restart}
}

// OnSuspend sets what is called when the rules are suspended.
func (r *Rules) OnSuspend(tell func()) {
	r.lane.mu.Lock()
	defer r.lane.mu.Unlock()
	r.lane.tell = tell
}
