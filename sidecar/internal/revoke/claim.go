package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// Codes the engine itself writes into jobs.
const (
	codeNoPlugin     = "no_plugin"     // the app has no plugin
	codeNotInPlugin  = "not_in_plugin" // the plugin does not handle the kind
	codeStillMinting = "still_minting" // credentials kept appearing during the sweep
	codeManyRounds   = "too_many_rounds"
	codeNoProgress   = "no_progress"  // partial answers that revoke nothing and do not move
	codeLive         = "live"         // a probe found credentials that still work
	codeNotVerified  = "not_verified" // nobody could say within three days
	codeSuperseded   = "superseded"   // a reactivation that another deactivation overtook
	codeReactivated  = "reactivated"  // proof was given up because the account is enabled again
)

// holdBack is how long a reactivation waits for what is under way before it is
// looked at again; whoever finishes that work makes it due at once.
const holdBack = time.Second

// task is a job that this worker holds a lease on.
type task struct {
	store.Job
	lost bool // another holds it now, or a save did not come through: hands off
}

// open reports whether the kind still waits for revoking or for proof.
func open(j *store.Job) bool {
	switch j.State {
	case store.JobPending, store.JobRunning, store.JobRetrying:
		return true
	case store.JobRevoked, store.JobNothingToRevoke:
		return !j.Verified
	case store.JobUnsupported, store.JobFailed, store.JobUnknown:
	}
	return false
}

// allJobs returns the jobs of a user in an app, of every epoch and of none.
func allJobs(r *store.Reader, user, app string) ([]store.Job, error) {
	jobs, err := r.AllJobsOf(user)
	if err != nil {
		return nil, fmt.Errorf("reading the jobs of %s: %w", user, err)
	}
	return slices.DeleteFunc(jobs, func(j store.Job) bool { return j.App != app }), nil
}

// position is the place of a kind in the order of revocation; an unknown kind
// comes last.
func position(kind string) int {
	if i := slices.Index(abi.Order(), abi.Kind(kind)); i >= 0 {
		return i
	}
	return len(abi.Order())
}

// claimBatch bounds the jobs of one claim, so that they fit into one record however
// many epochs a user has; each may hold evidence of 100 kB. It is more than the
// kinds of one epoch. The rest stays due.
const claimBatch = 12

// batch is one claim under way.
type batch struct {
	tx    *store.Tx
	all   []store.Job // of the unit
	now   time.Time
	until time.Time // when the last lease of another process ends
	left  int       // jobs that may still be saved
}

func (b *batch) save(j *store.Job) error {
	b.left--
	return b.tx.SaveJob(j)
}

// claim leases due jobs of u in one record and returns them in order. The version
// it returns is the fencing token. While another process holds any job of
// u, nothing is claimed: the order of kinds and epochs holds across processes.
func (e *Engine) claim(ctx context.Context, u unit) ([]*task, error) {
	var claimed []*task
	seq, err := e.o.Store.Update(ctx, u.tenant, e.cause("job.claim", "claim-"+u.user), func(tx *store.Tx) error {
		claimed = claimed[:0]
		all, err := allJobs(tx.Reader, u.user, u.app)
		if err != nil {
			return err
		}
		// Reactivations first: one that goes ahead closes what is left to prove.
		slices.SortStableFunc(all, func(a, b store.Job) int { return rank(a.Event) - rank(b.Event) })
		b := &batch{tx: tx, all: all, now: e.o.Now(), left: claimBatch}
		b.until = e.heldElsewhere(all, b.now)
		for i := 0; i < len(all) && b.left > 0; i++ {
			j := &all[i]
			if j.NextAt.IsZero() || j.NextAt.After(b.now) {
				continue
			}
			mine, err := e.lease(b, j)
			if err != nil {
				return fmt.Errorf("claiming job %s: %w", j.ID, err)
			}
			if mine {
				claimed = append(claimed, &task{Job: *j})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claiming jobs: %w", err)
	}
	for _, t := range claimed {
		t.Version = seq
	}
	slices.SortStableFunc(claimed, func(a, b *task) int { return position(a.Kind) - position(b.Kind) })
	return claimed, nil
}

// lease saves a due job as leased, or put off until then. mine says whether it may
// be worked on.
func (e *Engine) lease(b *batch, j *store.Job) (mine bool, err error) {
	mine = b.until.IsZero()
	if !mine {
		j.NextAt = b.until
	} else if j.Event == abi.EventReactivated {
		if mine, err = e.admit(b, j); err != nil {
			return false, err
		}
	}
	if mine {
		if err := stillFormer(b.tx, j); err != nil {
			return false, err
		}
		j.LeaseOwner, j.LeaseUntil = e.o.Owner, b.now.Add(e.o.Lease)
		j.NextAt = j.LeaseUntil
		if !j.Terminal() {
			j.State = store.JobRunning
			j.Attempts++
		}
	}
	return mine, b.save(j)
}

// stillFormer takes former names out of a job that another user has taken since it
// was made: whatever an application has under them now is not the leaver's.
func stillFormer(tx *store.Tx, j *store.Job) error {
	var names []string
	for _, n := range j.Subject.FormerUserNames {
		id, err := tx.FormerUser(n)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading who has a former name of %s: %w", j.UserID, err)
		}
		if id == j.UserID {
			names = append(names, n)
		}
	}
	j.Subject.FormerUserNames = names
	return nil
}

func rank(event string) int {
	if event == abi.EventReactivated {
		return 0
	}
	return 1
}

// heldElsewhere is when the last lease of another process ends, zero without one. A
// lease beyond the horizon was written by a clock that was wrong, and holds nothing.
func (e *Engine) heldElsewhere(all []store.Job, now time.Time) time.Time {
	var until time.Time
	for i := range all {
		j := &all[i]
		if j.LeaseOwner != "" && j.LeaseOwner != e.o.Owner && j.LeaseUntil.After(now) && !j.LeaseUntil.After(e.horizon(now)) && j.LeaseUntil.After(until) {
			until = j.LeaseUntil
		}
	}
	return until
}

// admit decides about a due reactivation: run it, put it off, or close it because
// the user was deactivated again since. It changes j accordingly.
func (e *Engine) admit(b *batch, j *store.Job) (bool, error) {
	lock, err := b.tx.Lock(j.UserID) // a precondition: a deactivation in this moment makes the claim run again
	if err != nil {
		return false, fmt.Errorf("reading the lock of %s: %w", j.UserID, err)
	}
	if lock.State != store.LockLifted || lock.Epoch != j.Epoch {
		j.State, j.Code, j.Message = store.JobNothingToRevoke, codeSuperseded, "the user was deactivated again before the account was enabled"
		j.NextAt, j.Done = time.Time{}, b.now
		return false, nil
	}
	before := b.all
	if j.After != "" {
		if before, err = allJobs(b.tx.Reader, j.After, j.App); err != nil {
			return false, err
		}
	}
	if until := e.waits(before, j, b.now); until.After(b.now) {
		j.NextAt = until
		if again := b.now.Add(lookAgain(b.now.Sub(j.Created))); j.After != "" && again.Before(until) {
			j.NextAt = again // whoever works for the leaver does not know of j
		}
		return false, nil
	}
	// From here on a probe cannot tell old credentials from new ones.
	for i := range before {
		o := &before[i]
		if o.Event == abi.EventReactivated || !open(o) {
			continue
		}
		if b.left <= 1 {
			return false, nil // j stays due: the next claim goes on here
		}
		o.State, o.Code, o.Message = store.JobUnknown, codeReactivated, "revoked, but not proved before the account was enabled again"
		o.NextAt, o.LeaseOwner, o.LeaseUntil = time.Time{}, "", time.Time{}
		if err := b.save(o); err != nil {
			return false, fmt.Errorf("closing job %s: %w", o.ID, err)
		}
	}
	return true, nil
}

// lookAgain is the pause before a job that waits for another user is looked at
// again: a second at first, longer the longer it waits, five minutes at most.
func lookAgain(waited time.Duration) time.Duration {
	return min(max(waited/4, holdBack), 5*time.Minute)
}

// waits is until when a reactivation has to wait for the deactivations before it,
// zero when it need not. What is not revoked holds it back for as long as it
// takes; what only lacks proof, for one deadline.
func (e *Engine) waits(all []store.Job, j *store.Job, now time.Time) time.Time {
	patience := j.Created.Add(e.o.Deadline)
	var until time.Time
	for i := range all {
		o := &all[i]
		if o.Event == abi.EventReactivated || !open(o) || o.Terminal() && !now.Before(patience) {
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
	if least := now.Add(holdBack); !until.IsZero() && until.Before(least) {
		until = least
	}
	return until
}

// letGo makes a reactivation due that waited for what is settled now.
func (e *Engine) letGo(ctx context.Context, u unit) error {
	now := e.o.Now()
	ready := func(r *store.Reader) (*store.Job, error) {
		all, err := allJobs(r, u.user, u.app)
		if err != nil {
			return nil, err
		}
		for i := range all {
			j := &all[i]
			if j.Event == abi.EventReactivated && j.State == store.JobPending && j.NextAt.After(now) && e.waits(all, j, now).IsZero() {
				return j, nil
			}
		}
		return nil, nil
	}
	var waiting *store.Job
	err := e.o.Store.View(ctx, u.tenant, func(r *store.Reader) (err error) {
		waiting, err = ready(r)
		return err
	})
	if err != nil || waiting == nil {
		return err
	}
	_, err = e.o.Store.Update(ctx, u.tenant, e.cause("job.release", "job-"+waiting.ID), func(tx *store.Tx) error {
		j, err := ready(tx.Reader)
		if err != nil || j == nil {
			return err
		}
		j.NextAt = now
		return tx.SaveJob(j)
	})
	if err != nil && !errors.Is(err, store.ErrFenced) {
		return fmt.Errorf("releasing job %s: %w", waiting.ID, err)
	}
	return nil
}

// save writes t under its fencing token. With hold the lease is renewed and the
// job is not due for anybody else until it ends; without, the lease is given up.
func (e *Engine) save(ctx context.Context, t *task, action string, hold bool) error {
	// What the application was already told to do is written down even when the
	// process is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	t.LeaseOwner, t.LeaseUntil = "", time.Time{}
	if hold {
		t.LeaseOwner, t.LeaseUntil = e.o.Owner, e.o.Now().Add(e.o.Lease)
		t.NextAt = t.LeaseUntil
	}
	cause := e.cause(action, "job-"+t.ID)
	cause.Attrs = []string{t.App, t.Kind, string(t.State)}
	seq, err := e.o.Store.Update(ctx, t.Tenant, cause, func(tx *store.Tx) error {
		row := t.Job
		return tx.SaveJob(&row)
	})
	if err != nil {
		t.lost = true
		return fmt.Errorf("saving job %s: %w", t.ID, err)
	}
	t.Version = seq
	return nil
}

// renew makes sure that the lease outlasts the next question: a worker that was
// overtaken finds out here, before it asks.
func (e *Engine) renew(ctx context.Context, t *task) error {
	if t.LeaseUntil.Sub(e.o.Now()) >= e.o.Lease/2 {
		return nil
	}
	return e.save(ctx, t, "job.lease", true)
}

// giveBack returns a claimed job that was not finished because the process stops.
func (e *Engine) giveBack(ctx context.Context, t *task) error {
	if !t.Terminal() {
		t.State = store.JobPending
		t.Attempts--
	}
	t.NextAt = e.o.Now()
	e.o.Logger.LogAttrs(ctx, slog.LevelInfo, "job given back", slog.String("tenant", t.Tenant), slog.String("app", t.App), slog.String("user", t.UserID), slog.String("kind", t.Kind))
	return e.save(ctx, t, "job.release", false)
}
