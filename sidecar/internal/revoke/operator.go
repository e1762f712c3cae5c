package revoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// retried: an operator asks to try a failed, unknown or parked job again now.
type retried struct{}

func (retried) apply(t *task, in env) effects {
	if t.State == store.JobFailed || t.State == store.JobUnknown {
		t.State = store.JobPending
	}
	return t.release(in.now)
}

// closedByHand: an operator ends a job without proof.
type closedByHand struct{ reason string }

func (ev closedByHand) apply(t *task, in env) effects {
	t.State, t.Code, t.Done = store.JobClosed, codeClosed, in.now
	t.Message = "closed by an operator, not verified: " + ev.reason
	return t.release(time.Time{})
}

// Selection says which jobs an operator wants to try again.
type Selection struct {
	Who  string // id of a job, SCIM id or any other name; empty means all of the tenant
	App  string // only jobs of this application; empty means all
	Code string // only jobs with this code; empty means all
}

// JobRef names a job.
type JobRef struct {
	Job   string `json:"job"`
	User  string `json:"user"` // SCIM id
	App   string `json:"app"`
	Kind  string `json:"kind"`
	Epoch uint64 `json:"epoch"`
	State string `json:"state"`
	Code  string `json:"code,omitempty"`
	// Why is the reason why the job was not touched, one of the Skip constants.
	Why string `json:"why,omitempty"`
}

func refOf(j *store.Job) JobRef {
	return JobRef{
		Job: j.ID, User: j.UserID, App: j.App, Kind: j.Kind, Epoch: j.Epoch, State: string(j.State), Code: j.Code,
	}
}

// Why a job is not retried.
const (
	SkipRunning = "running"     // a worker has it
	SkipActive  = "active"      // the user is active again: new credentials would be revoked too
	SkipTaken   = codeNameTaken // another user has the userName now, and the application knows both by it
	SkipClosed  = "closed"      // by an operator, for ever
	SkipHeld    = "held"        // a deletion that nobody has approved
)

// Retried is the result of [Engine.Retry].
type Retried struct {
	Jobs    int            `json:"jobs"`    // that are due now
	Skipped map[string]int `json:"skipped"` // by one of the Skip constants
	// Some are examples, at most 20 of each.
	Some []JobRef `json:"some"`
	// Complete is false if the tenant has more jobs than one call reads.
	Complete bool `json:"complete"`
}

const (
	maxJobsRead = 200000 // by one call of Retry
	maxExamples = 20
)

// NotClosableError says why a job cannot be closed.
type NotClosableError struct {
	State string
	Why   string
}

func (e *NotClosableError) Error() string { return "revoke: the job cannot be closed: " + e.Why }

// Retry makes the selected jobs due now, of every epoch and also of deleted users. The errors are
// those of [Build] for an unknown user.
func (e *Engine) Retry(ctx context.Context, tenant string, cause store.Cause, sel Selection) (Retried, error) {
	out := Retried{Skipped: map[string]int{}, Some: []JobRef{}, Complete: true}
	ids, err := e.selected(ctx, tenant, sel, &out)
	if err != nil {
		return out, err
	}
	for batch := range slices.Chunk(ids, leaseBatch) {
		var done []JobRef
		_, err := e.opts.Store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
			done = done[:0]
			for _, id := range batch {
				ref, err := e.retry(tx, tenant, id)
				if err != nil {
					return err
				}
				done = append(done, ref)
			}
			return nil
		})
		if err != nil {
			return out, fmt.Errorf("retrying jobs: %w", err)
		}
		for _, ref := range done {
			out.count(ref)
		}
	}
	return out, nil
}

func (r *Retried) count(ref JobRef) {
	n := r.Jobs
	if ref.Why == "" {
		r.Jobs++
	} else {
		n = r.Skipped[ref.Why]
		r.Skipped[ref.Why]++
	}
	if n < maxExamples {
		r.Some = append(r.Some, ref)
	}
}

// retry makes one job due now, or says why not.
func (e *Engine) retry(tx *store.Tx, tenant, id string) (JobRef, error) {
	j, err := tx.Job(id)
	if err != nil {
		return JobRef{}, fmt.Errorf("reading job %s: %w", id, err)
	}
	in := e.env()
	ref := refOf(&j)
	if ref.Why, err = e.whyNot(tx, tenant, &j, in.now); err != nil || ref.Why != "" {
		return ref, err
	}
	t, _ := next(task{Job: j}, retried{}, in)
	return ref, tx.SaveJob(&t.Job)
}

// whyNot returns why an operator's retry does not touch j, "" if it does.
func (e *Engine) whyNot(tx *store.Tx, tenant string, j *store.Job, now time.Time) (string, error) {
	leased, err := tx.Leased(j, now)
	switch {
	case err != nil:
		return "", err
	case j.State == store.JobClosed:
		return SkipClosed, nil
	case j.State == store.JobHeld:
		return SkipHeld, nil
	case leased:
		return SkipRunning, nil
	case j.Event == abi.EventReactivated:
		return "", nil // a start of it judges whether it still applies
	}
	switch u, err := tx.User(j.UserID); {
	case err == nil && u.Active():
		l, ok := e.opts.Store.Locks().Lookup(tenant, &subject.Subject{SCIMID: j.UserID})
		if !ok || l.State == store.LockLifted {
			return SkipActive, nil
		}
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", fmt.Errorf("reading user %s: %w", j.UserID, err)
	}
	holders, err := tx.UserIDs("userName", j.Subject.UserName)
	if err != nil {
		return "", fmt.Errorf("reading who has the name of %s: %w", j.UserID, err)
	}
	if slices.ContainsFunc(holders, func(id string) bool { return id != j.UserID }) {
		return SkipTaken, nil
	}
	return "", nil
}

// mayRetry reports whether a job waits for an operator, or for a later attempt or probe.
func mayRetry(j *store.Job) bool {
	switch j.State {
	case store.JobFailed, store.JobUnknown, store.JobRetrying, store.JobClosed, store.JobRunning:
		return true
	case store.JobRevoked, store.JobNothingToRevoke:
		return awaitsProof(j)
	case store.JobPending, store.JobUnsupported, store.JobHeld:
	}
	return false
}

// selected returns the ids of the jobs that the selection means.
func (e *Engine) selected(ctx context.Context, tenant string, sel Selection, out *Retried) (ids []string, err error) {
	add := func(j *store.Job) {
		if mayRetry(j) && (sel.App == "" || j.App == sel.App) && (sel.Code == "" || j.Code == sel.Code) {
			ids = append(ids, j.ID)
		}
	}
	err = e.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		if sel.Who == "" {
			out.Complete, err = r.EachJob(maxJobsRead, func(j *store.Job) (bool, error) { add(j); return true, nil })
			return err
		}
		j, err := r.Job(sel.Who)
		if err == nil {
			add(&j)
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		who, err := find(r, sel.Who)
		if err != nil {
			return err
		}
		jobs, err := r.AllJobsOf(who.user)
		for i := range jobs {
			add(&jobs[i])
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding the jobs: %w", err)
	}
	return ids, nil
}

// Close ends a job without proof, for ever: nothing counts it as verified. It returns
// [store.ErrNotFound] for an unknown job and a [NotClosableError] for one that is done or running.
func (e *Engine) Close(ctx context.Context, tenant string, cause store.Cause, id string) (JobRef, error) {
	var ref JobRef
	_, err := e.opts.Store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		in := e.env()
		leased, err := tx.Leased(&j, in.now)
		if err != nil {
			return err
		}
		if why := whyNotClose(&j, leased); why != "" {
			return &NotClosableError{State: string(j.State), Why: why}
		}
		t, _ := next(task{Job: j}, closedByHand{cause.Reason}, in)
		ref = refOf(&t.Job)
		return tx.SaveJob(&t.Job)
	})
	if err != nil {
		return JobRef{}, fmt.Errorf("closing job %s: %w", id, err)
	}
	return ref, errors.Join(
		e.wakeReactivation(ctx, unit{tenant: tenant, user: ref.User, app: ref.App}),
		e.updateClocks(ctx, tenant, ref.User),
	)
}

func whyNotClose(j *store.Job, leased bool) string {
	switch {
	case j.State == store.JobClosed:
		return "it is closed already"
	case j.State == store.JobHeld:
		return "it waits for approval: use `scimward approvals reject`"
	case leased:
		return "a worker has it: try again in a minute"
	case j.Verified:
		return "it is verified"
	case j.State == store.JobUnsupported:
		return "the application cannot revoke this kind, so there is no work left"
	case j.Event == abi.EventReactivated && j.Terminal():
		return "it is done"
	}
	return ""
}
