package revoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// leastWait is how long a blocked reactivation waits at least. A worker that finishes the
// last blocking job of the user wakes it earlier.
const leastWait = time.Second

// dueReactivation decides what happens to a due reactivation. before are the jobs of
// its user in its app, or those of the leaver whose name the user took.
func dueReactivation(j *store.Job, lock store.Lock, before []store.Job, in env) event {
	if lock.State != store.LockLifted || lock.Epoch != j.Epoch {
		return superseded{}
	}
	until := blockedUntil(before, j, in)
	if until.IsZero() {
		return leased{}
	}
	if j.After != "" { // a worker of the leaver does not wake j, so j looks again by itself
		wait := min(max(in.now.Sub(j.Created)/4, leastWait), 5*time.Minute)
		if again := in.now.Add(wait); again.Before(until) {
			until = again
		}
	}
	return deferred{until}
}

// blockedUntil is when the first of the jobs that block the reactivation j is due, zero
// when none does. A job that is not revoked blocks it for as long as it takes; one that
// only awaits proof, for one deadline.
func blockedUntil(before []store.Job, j *store.Job, in env) time.Time {
	patience := j.Created.Add(in.deadline)
	var until time.Time
	for i := range before {
		o := &before[i]
		if !blocks(o) || o.Terminal() && !in.now.Before(patience) {
			continue
		}
		at := o.NextAt
		if o.Terminal() && at.After(patience) {
			at = patience
		}
		if until.IsZero() || at.Before(until) {
			until = at
		}
	}
	if least := in.now.Add(leastWait); !until.IsZero() && until.Before(least) {
		until = least
	}
	return until
}

// blocks reports whether a reactivation waits for the job o.
func blocks(o *store.Job) bool {
	return o.Event != abi.EventReactivated && KindStatus(o) == StatusRunning
}

// blockedReactivation returns the pending reactivation among jobs that nothing blocks any
// more, nil without one.
func blockedReactivation(jobs []store.Job, in env) *store.Job {
	for i := range jobs {
		j := &jobs[i]
		if j.Event == abi.EventReactivated && j.State == store.JobPending && j.NextAt.After(in.now) &&
			blockedUntil(jobs, j, in).IsZero() {
			return j
		}
	}
	return nil
}

// wakeReactivation makes the reactivation of u due whose blocking jobs have finished.
func (e *Engine) wakeReactivation(ctx context.Context, u unit) error {
	in := e.env()
	find := func(r *store.Reader) (*store.Job, error) {
		jobs, err := jobsOfUnit(r, u.user, u.app)
		if err != nil {
			return nil, err
		}
		return blockedReactivation(jobs, in), nil
	}
	var found *store.Job
	err := e.o.Store.View(ctx, u.tenant, func(r *store.Reader) (err error) {
		found, err = find(r)
		return err
	})
	if err != nil || found == nil {
		return err
	}
	_, err = e.o.Store.Update(ctx, u.tenant, e.cause("job.release", "job-"+found.ID), func(tx *store.Tx) error {
		j, err := find(tx.Reader)
		if err != nil || j == nil {
			return err
		}
		t, _ := next(task{Job: *j}, woken{}, in)
		return tx.SaveJob(&t.Job)
	})
	if err != nil && !errors.Is(err, store.ErrFenced) {
		return fmt.Errorf("waking reactivation %s: %w", found.ID, err)
	}
	return nil
}
