package cluster

import (
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// right is the newest lease of this process, for those who answer requests.
type right struct {
	read  func() lease.Reading
	early time.Duration // before the end of the lease open streams are ended
	lease atomic.Pointer[lease.Lease]
	had   bool // of untilEnd: there was a lease when it was called last
}

// earlyOf is how long before the end of a lease open streams are ended, so that they have ended with it.
func earlyOf(l time.Duration) time.Duration { return l / 10 }

func newRight(l time.Duration) *right {
	r := &right{read: read, early: earlyOf(l)}
	r.lease.Store(&lease.Lease{})
	return r
}

// Right returns what this process may do with a request now. Ask when the answer is built, after everything else.
// serve is how long the application accepts a process whose lease has ended.
func (r *right) Right(serve time.Duration) lease.Right { return r.lease.Load().Right(r.read(), serve) }

// MayDecide reports whether this process may let a request pass now. It is false from the moment on at which the open
// streams are ended, so that no new one comes between.
func (r *right) MayDecide() bool { return r.Left() > 0 }

// Lease returns the newest lease. Take it before a request is decided on, for MayDecideUnder.
func (r *right) Lease() lease.Lease { return *r.lease.Load() }

// MayDecideUnder reports whether this process may let a request pass now that was decided on under a lease. A process
// that was stopped after the decision may have a newer lease since, but others have answered that a user is
// locked whom the decision lets in.
func (r *right) MayDecideUnder(l lease.Lease) bool {
	now := r.read()
	return l.Left(now) > r.early && r.lease.Load().Left(now) > r.early
}

// MayServeUnder is MayDecideUnder for an application that accepts a process for a time after the end of its lease.
func (r *right) MayServeUnder(l lease.Lease, serve time.Duration) bool {
	return l.Right(r.read(), serve) != lease.Refuse
}

// Left is how long MayDecide stays true without another lease.
func (r *right) Left() time.Duration { return r.lease.Load().Left(r.read()) - r.early }

func (r *right) set(l lease.Lease) { r.lease.Store(&l) }

// untilEnd shortens a wait so that it ends with the lease, and calls lost when the lease that it saw last has ended.
// Call it after each event of the protocol, from one goroutine at a time.
func (r *right) untilEnd(wait time.Duration, lost func()) time.Duration {
	left := r.Left()
	if r.had && left <= 0 {
		lost()
	}
	if r.had = left > 0; r.had {
		return min(wait, left)
	}
	return wait
}

// held reports whether there is a lease.
func (r *right) held() float64 {
	if r.Right(0) == lease.Decide {
		return 1
	}
	return 0
}
