package revoke_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// TestStaleLeaseIsFenced: a worker that hangs until its lease ends cannot
// overwrite what its successor found, and stops asking the application
// (revocation §1.1 row 4).
func TestStaleLeaseIsFenced(t *testing.T) {
	r := newRig(t)
	entered, release := make(chan struct{}), make(chan struct{})
	r.app.revoke[abi.KindSSHKey] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			close(entered)
			r.wait(release)
			return abi.KindResult{State: abi.StateFailed, Code: "stale"}, nil
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	id := r.leaver("ada")
	stopOne := r.engine(nil)
	<-entered
	one := r.reg
	r.clock.Add(31 * time.Second)
	r.engine(func(o *revoke.Options) { o.Owner = "two" })
	r.await("the second engine", r.verified(id, 1))
	before := len(r.app.requests())
	close(release)
	stopOne()
	for k, j := range r.jobs(id, 1) {
		if !j.Verified || j.Code == "stale" || j.Attempts != 2 {
			t.Errorf("%s: %s %q, verified %v, attempts %d; want the second engine's result", k, j.State, j.Code, j.Verified, j.Attempts)
		}
	}
	if after := len(r.app.requests()); after != before {
		t.Errorf("the stale worker asked %d more questions", after-before)
	}
	r.reg = one
	if n := r.metric("scimward_revocation_leases_lost_total"); n != 7 {
		t.Errorf("%v leases counted as lost, want all 7", n)
	}
}

// TestLeaseOfAnotherIsRespected: while one process holds a lease no other touches
// any job of that user, whatever comes due.
func TestLeaseOfAnotherIsRespected(t *testing.T) {
	r := newRig(t)
	entered, release := make(chan struct{}), make(chan struct{})
	r.app.revoke[abi.KindSSHKey] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			close(entered)
			r.wait(release)
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	id := r.leaver("ada")
	r.engine(nil)
	<-entered
	r.setActive(id, true) // a job of the same user that nobody leased
	r.engine(func(o *revoke.Options) { o.Owner = "two" })
	r.await("the second engine to put it off", func() bool { return r.jobs(id, 1)["reactivated"].NextAt.After(r.clock.Now()) })
	if n := len(r.app.requests()); n != 1 {
		t.Errorf("%d questions while the first one holds the lease, want 1", n)
	}
	close(release)
	r.await("proof", r.verified(id, 1))
}

// TestLeaseOfDeadWorkerIsTaken: a process that was killed leaves leased jobs; they
// are taken when the lease ends and not before.
func TestLeaseOfDeadWorkerIsTaken(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.update("job.claim", func(tx *store.Tx) error {
		jobs, err := tx.JobsOf(id, 1)
		for i := range jobs {
			j := &jobs[i]
			j.State, j.LeaseOwner, j.LeaseUntil = store.JobRunning, "dead", r.clock.Now().Add(30*time.Second)
			j.NextAt = j.LeaseUntil
			err = errors.Join(err, tx.SaveJob(j))
		}
		return err
	})
	r.engine(nil)
	<-r.clock.after(50)
	if n := len(r.app.requests()); n != 0 {
		t.Fatalf("%d questions while the lease runs", n)
	}
	r.clock.Add(30 * time.Second)
	r.await("proof", r.verified(id, 1))
}

// TestShutdownGivesJobsBack: what was not finished is due at once for the next
// process, and an interrupted call counts as no attempt.
func TestShutdownGivesJobsBack(t *testing.T) {
	r := newRig(t)
	entered := make(chan struct{})
	r.app.revoke[abi.KindAccount] = func(ctx context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			close(entered)
			<-ctx.Done()
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeDeadline}, nil
		}
		return abi.KindResult{State: abi.StateRevoked}, nil
	}
	id := r.leaver("ada")
	stop := r.engine(nil)
	<-entered
	stop()
	now := r.clock.Now()
	for k, j := range r.jobs(id, 1) {
		done := k == string(abi.KindSSHKey) || k == string(abi.KindDevice)
		if j.LeaseOwner != "" || j.NextAt.After(now) || j.NextAt.IsZero() {
			t.Errorf("%s: leased by %q, due %v; want free and due", k, j.LeaseOwner, j.NextAt)
		}
		if want := map[bool]store.JobState{true: store.JobNothingToRevoke, false: store.JobPending}[done]; j.State != want {
			t.Errorf("%s: %s, want %s", k, j.State, want)
		}
		if !done && j.Attempts != 0 {
			t.Errorf("%s: %d attempts, want 0", k, j.Attempts)
		}
	}
	if o := r.offboarding(id, 1); !o.VerifiedAt.IsZero() {
		t.Error("verified although nothing was probed")
	}
	r.engine(func(o *revoke.Options) { o.Owner = "two" })
	r.await("proof by the next process", r.verified(id, 1))
}

// TestShutdownDuringProof: jobs that wait for proof are given back too.
func TestShutdownDuringProof(t *testing.T) {
	r := newRig(t)
	entered, release := make(chan struct{}), make(chan struct{})
	r.app.verify = func(abi.Request) (abi.VerifyResult, error) {
		close(entered)
		r.wait(release)
		return abi.VerifyResult{}, errApp
	}
	id := r.leaver("ada")
	stop := r.engine(nil)
	<-entered
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	// The context ends before the answer comes; either order is fine for the jobs.
	close(release)
	<-stopped
	for k, j := range r.jobs(id, 1) {
		if j.LeaseOwner != "" || j.Verified || j.NextAt.IsZero() {
			t.Errorf("%s: leased by %q, verified %v, due %v; want free, unproved and queued", k, j.LeaseOwner, j.Verified, j.NextAt)
		}
	}
}

// TestIdleEngineWritesNothing: an engine with nothing to do leaves the log alone.
func TestIdleEngineWritesNothing(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateFailed, Code: "no"}) // stays open for ever
	gone := r.leaver("bob")
	r.engine(nil)
	r.await("the work", func() bool {
		return r.job(id, abi.KindPAT).State == store.JobFailed && r.job(id, abi.KindWebSession).Verified &&
			r.job(gone, abi.KindPAT).State == store.JobFailed && r.job(gone, abi.KindWebSession).Verified
	})
	r.clock.Add(6 * time.Minute)
	r.await("the breach", func() bool { return r.offboarding(id, 1).Breached && r.offboarding(gone, 1).Breached })
	before, calls := r.store.Health().Applied, len(r.app.requests())
	r.clock.Add(10 * time.Minute)
	<-r.clock.after(200)
	if after := r.store.Health().Applied; after != before {
		t.Errorf("the log went from %d to %d while nothing happened", before, after)
	}
	if n := len(r.app.requests()); n != calls {
		t.Errorf("%d more questions while nothing happened", n-calls)
	}
}

// TestIdleEngineSleeps: between ticks nothing runs, so that an engine at rest
// costs nothing.
func TestIdleEngineSleeps(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.engine(func(o *revoke.Options) { o.Poll = time.Hour })
	r.await("proof", r.verified(id, 1))
	asked := r.clock.after(100)
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-asked:
		t.Error("the engine goes round while nothing is due")
	case <-timer.C:
	}
}

// TestBrokenStoreIsNoHotLoop: a store that refuses writes is asked again at the
// next tick, not at once, and nothing is lost.
func TestBrokenStoreIsNoHotLoop(t *testing.T) {
	var broken atomic.Bool
	tried := make(chan struct{}, 10000)
	r := newRigWith(t, func(o *store.Options) {
		o.Faults.BeforeCommit = func() error {
			if !broken.Load() {
				return nil
			}
			tried <- struct{}{}
			return errApp
		}
	})
	id := r.leaver("ada")
	broken.Store(true)
	stop := r.engine(func(o *revoke.Options) { o.Poll = time.Hour })
	<-tried
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	if n := len(tried); n > 10 {
		t.Errorf("%d more writes in 300 ms without a tick", n)
	}
	stop()
	broken.Store(false)
	if n := len(r.app.requests()); n != 0 {
		t.Errorf("%d questions without a lease", n)
	}
	r.engine(nil)
	r.await("proof", r.verified(id, 1))
}

// TestManyUsersFewWorkers: every user is served though there are fewer slots.
func TestManyUsersFewWorkers(t *testing.T) {
	r := newRig(t)
	var ids []string
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		ids = append(ids, r.leaver(name))
	}
	r.engine(func(o *revoke.Options) { o.Workers, o.Poll = 2, time.Hour })
	for _, id := range ids {
		r.await("proof of "+id, r.verified(id, 1))
	}
}

// A job that was leased or put off while the clock was a year ahead is not lost for
// that year.
func TestClockSetBack(t *testing.T) {
	r := newRig(t)
	ids := []string{r.leaver("ann"), r.leaver("bob")}
	ahead := r.clock.Now().AddDate(1, 0, 0)
	for _, id := range ids {
		r.update("job.claim", func(tx *store.Tx) error {
			jobs, err := tx.JobsOf(id, 1)
			if err != nil {
				return err
			}
			for i := range jobs {
				j := &jobs[i]
				j.State, j.NextAt = store.JobRetrying, ahead
				if i%2 == 0 {
					j.State, j.LeaseOwner, j.LeaseUntil = store.JobRunning, "dead", ahead
				}
				if err := tx.SaveJob(j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	r.engine(nil)
	for _, id := range ids {
		r.await("proof", r.verified(id, 1))
	}
}
