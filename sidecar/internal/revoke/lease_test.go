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

// TestStaleLeaseIsFenced: a worker that hangs until its lease expires cannot overwrite the
// result of the next worker, and stops asking the application.
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
	stopStale := r.engine(nil)
	<-entered
	staleReg := r.reg
	r.clock.Add(31 * time.Second)
	r.engine(func(o *revoke.Options) { o.Owner = "two" })
	r.await("proof by the second engine", r.settled(id, 1))
	before := len(r.app.requests())
	close(release)
	stopStale()
	for k, j := range r.jobs(id, 1) {
		if !j.Verified || j.Code == "stale" || j.Attempts != 2 {
			t.Errorf("%s: %s %q, verified %v, attempts %d; want the second engine's result",
				k, j.State, j.Code, j.Verified, j.Attempts)
		}
	}
	if after := len(r.app.requests()); after != before {
		t.Errorf("the stale worker made %d more calls, want none", after-before)
	}
	r.reg = staleReg
	if n := r.metric("scimward_revocation_leases_lost_total"); n != 7 {
		t.Errorf("%v leases counted as lost, want all 7", n)
	}
}

// TestLeaseOfAnotherIsRespected: while one process has a lease, no other process runs a job of
// that user, even if it is due.
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
	r.setActive(id, true) // a job of the same user without a lease
	r.engine(func(o *revoke.Options) { o.Owner = "two" })
	r.await("rescheduling by the second engine", func() bool {
		return r.jobs(id, 1)["reactivated"].NextAt.After(r.clock.Now())
	})
	if n := len(r.app.requests()); n != 1 {
		t.Errorf("%d calls while the first engine has the lease, want 1", n)
	}
	close(release)
	r.await("proof", r.settled(id, 1))
}

// TestLeaseOfDeadWorkerExpires: another process leases the jobs of a killed process when their
// lease expires, and not before.
func TestLeaseOfDeadWorkerExpires(t *testing.T) {
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
	<-r.clock.reads(50)
	if n := len(r.app.requests()); n != 0 {
		t.Fatalf("%d calls before the lease expired, want none", n)
	}
	r.clock.Add(30 * time.Second)
	r.await("proof", r.settled(id, 1))
}

// TestShutdownReleasesJobs: unfinished jobs are due at once for the next process, and an
// interrupted call does not count as an attempt.
func TestShutdownReleasesJobs(t *testing.T) {
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
	if o := r.offboarding(id, 1); !o.SettledAt.IsZero() {
		t.Errorf("verified at %v without a probe, want never", o.SettledAt)
	}
	r.engine(func(o *revoke.Options) { o.Owner = "two" })
	r.await("proof by the next process", r.settled(id, 1))
}

// TestShutdownDuringProof: jobs that await proof are released too.
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
	close(release)
	<-stopped
	for k, j := range r.jobs(id, 1) {
		if j.LeaseOwner != "" || j.Verified || j.NextAt.IsZero() {
			t.Errorf("%s: leased by %q, verified %v, due %v; want free, not verified and due",
				k, j.LeaseOwner, j.Verified, j.NextAt)
		}
	}
}

// TestIdleEngineWritesNothing: an engine without due jobs does not write to the log.
func TestIdleEngineWritesNothing(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateFailed, Code: "no"}) // stays open
	gone := r.leaver("bob")
	r.engine(nil)
	r.await("a failure of PATs and proof of the rest", func() bool {
		return r.job(id, abi.KindPAT).State == store.JobFailed && r.job(id, abi.KindWebSession).Verified &&
			r.job(gone, abi.KindPAT).State == store.JobFailed && r.job(gone, abi.KindWebSession).Verified
	})
	r.clock.Add(6 * time.Minute)
	r.await("the breach", func() bool { return r.offboarding(id, 1).Breached && r.offboarding(gone, 1).Breached })
	before, calls := r.store.Health().Applied, len(r.app.requests())
	r.clock.Add(10 * time.Minute)
	<-r.clock.reads(200)
	if after := r.store.Health().Applied; after != before {
		t.Errorf("the idle engine moved the log from %d to %d, want no record", before, after)
	}
	if n := len(r.app.requests()); n != calls {
		t.Errorf("the idle engine made %d more calls, want none", n-calls)
	}
}

// TestIdleEngineSleeps: nothing runs between the ticks.
func TestIdleEngineSleeps(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.engine(func(o *revoke.Options) { o.Poll = time.Hour })
	r.await("proof", r.settled(id, 1))
	spins := r.clock.reads(100)
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-spins:
		t.Error("the engine reads the clock too often, want it to wait while no job is due")
	case <-timer.C:
	}
}

// TestBrokenStoreIsNoHotLoop: after a failed write the engine tries again at the next tick, not
// at once, and loses nothing.
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
		t.Errorf("%d more writes without a tick, want 10 at most", n)
	}
	stop()
	broken.Store(false)
	if n := len(r.app.requests()); n != 0 {
		t.Errorf("%d calls without a lease, want none", n)
	}
	r.engine(nil)
	r.await("proof", r.settled(id, 1))
}

// TestManyUsersFewWorkers: every user is revoked although there are fewer workers.
func TestManyUsersFewWorkers(t *testing.T) {
	r := newRig(t)
	var ids []string
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		ids = append(ids, r.leaver(name))
	}
	r.engine(func(o *revoke.Options) { o.Workers, o.Poll = 2, time.Hour })
	for _, id := range ids {
		r.await("proof of "+id, r.settled(id, 1))
	}
}

// TestClockSetBack: a job that was leased or rescheduled while the clock was a year ahead does
// not wait for a year.
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
		r.await("proof", r.settled(id, 1))
	}
}
