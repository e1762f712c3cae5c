package revoke

import (
	"context"
	"fmt"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// minWait is the shortest wait of a blocked reactivation. A worker that finishes the last blocking
// job of the user wakes it earlier.
const minWait = time.Second

// dueReactivation decides what happens to a due reactivation. before are the jobs of its user in its
// app or, if the user took the name of a leaver, the leaver's jobs.
func dueReactivation(j *store.Job, lock store.Lock, before []store.Job, in env) event {
	if lock.State != store.LockLifted || lock.Epoch != j.Epoch {
		return superseded{}
	}
	until := blockedUntil(before, j, in)
	if until.IsZero() {
		return leased{}
	}
	if j.After != "" { // a worker of the leaver does not wake j
		wait := min(max(in.now.Sub(j.Created)/4, minWait), 5*time.Minute)
		if again := in.now.Add(wait); again.Before(until) {
			until = again
		}
	}
	return rescheduled{until}
}

// blockedUntil returns when the first job that blocks the reactivation j is due, or zero if no job
// does. A job that is pending, running or retrying blocks j without limit. A job that only awaits
// proof blocks it for one deadline.
func blockedUntil(before []store.Job, j *store.Job, in env) time.Time {
	patience := j.Created.Add(in.deadline)
	var until time.Time
	for i := range before {
		blocker := &before[i]
		if !blocks(blocker) || blocker.Terminal() && !in.now.Before(patience) {
			continue
		}
		at := blocker.NextAt
		if blocker.Terminal() && at.After(patience) {
			at = patience
		}
		if until.IsZero() || at.Before(until) {
			until = at
		}
	}
	if earliest := in.now.Add(minWait); !until.IsZero() && until.Before(earliest) {
		until = earliest
	}
	return until
}

// blocks reports whether a reactivation waits for the job j.
func blocks(j *store.Job) bool {
	return j.Event != abi.EventReactivated && KindStatus(j) == StatusRunning
}

// wakeReactivation makes the reactivation of u due if its blocking jobs have finished.
func (e *Engine) wakeReactivation(ctx context.Context, u unit) error {
	in := e.env()
	_, err := e.opts.Store.Update(ctx, u.tenant, e.cause("job.release", "wake-"+u.user), func(tx *store.Tx) error {
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
