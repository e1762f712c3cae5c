package revoke

import (
	"context"
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
	return rescheduled{until}
}

// blockedUntil is when the first of the jobs that block the reactivation j is due, zero
// when none does. A job that is pending, running or retrying blocks it for as long as it
// takes. A job that only awaits proof blocks it for one deadline.
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

// wakeReactivation makes the reactivation of u due whose blocking jobs have finished.
func (e *Engine) wakeReactivation(ctx context.Context, u unit) error {
	in := e.env()
	_, err := e.o.Store.Update(ctx, u.tenant, e.cause("job.release", "wake-"+u.user), func(tx *store.Tx) error {
		jobs, err := jobsOfUnit(tx.Reader, u.user, u.app)
		if err != nil {
			return err
		}
		for i := range jobs {
			j := &jobs[i]
			waits := j.Event == abi.EventReactivated && j.State == store.JobPending && j.NextAt.After(in.now)
			if waits && blockedUntil(jobs, j, in).IsZero() {
				t, _ := next(task{Job: *j}, rescheduled{in.now}, in)
				return tx.SaveJob(&t.Job)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waking the reactivation of %s: %w", u.user, err)
	}
	return nil
}
