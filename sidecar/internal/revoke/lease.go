package revoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// jobsOfUnit returns all jobs of a user in an app, with and without an epoch.
func jobsOfUnit(r *store.Reader, user, app string) ([]store.Job, error) {
	jobs, err := r.AllJobsOf(user)
	if err != nil {
		return nil, fmt.Errorf("reading the jobs of %s: %w", user, err)
	}
	return slices.DeleteFunc(jobs, func(j store.Job) bool { return j.App != app }), nil
}

// kindOrder returns the place of a kind in the order of revocation. An unknown kind comes last.
func kindOrder(kind string) int {
	if i := slices.Index(abi.Order(), abi.Kind(kind)); i >= 0 {
		return i
	}
	return len(abi.Order())
}

// leaseBatch bounds the jobs that one record leases or reschedules, because each may carry evidence
// of 100 kB. It is more than the kinds of one epoch. The rest stays due.
const leaseBatch = 12

// eventOrder puts reactivations first, because one that starts closes the jobs without proof.
func eventOrder(event string) int {
	if event == abi.EventReactivated {
		return 0
	}
	return 1
}

// leasing is one transaction that leases the due jobs of a unit.
type leasing struct {
	tx    *store.Tx
	in    env
	jobs  []store.Job // of the unit
	tasks []*task     // the leased jobs
	until time.Time   // when the last lease of another process ends, zero without one
	room  int         // jobs that may still be saved
}

// lease leases due jobs of u in one record and returns them in the order of their kinds. It leases
// none while another process has a lease on any job of u. So the order of kinds and epochs is the
// same across processes.
func (e *Engine) lease(ctx context.Context, u unit) ([]*task, error) {
	var tasks []*task
	seq, err := e.opts.Store.Update(ctx, u.tenant, e.cause("job.claim", "claim-"+u.user), func(tx *store.Tx) error {
		tasks = nil
		jobs, err := jobsOfUnit(tx.Reader, u.user, u.app)
		if err != nil {
			return err
		}
		g, err := e.judge(tx.Reader)
		if err != nil {
			return err
		}
		if free, err := g.free(tx, jobs); err != nil || !free {
			return err
		}
		slices.SortStableFunc(jobs, func(a, b store.Job) int {
			return eventOrder(a.Event) - eventOrder(b.Event)
		})
		l := &leasing{tx: tx, in: g.in, jobs: jobs, room: leaseBatch, until: g.leaseUntilOfOthers(jobs)}
		for i := 0; i < len(jobs) && l.room > 0; i++ {
			if !g.due(&jobs[i]) {
				continue
			}
			if err := l.start(&jobs[i]); err != nil {
				return fmt.Errorf("leasing job %s: %w", jobs[i].ID, err)
			}
		}
		tasks = l.tasks
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("leasing jobs: %w", err)
	}
	for _, t := range tasks {
		t.Version = seq
	}
	slices.SortStableFunc(tasks, func(a, b *task) int { return kindOrder(a.Kind) - kindOrder(b.Kind) })
	return tasks, nil
}

// start leases a due job, or reschedules or closes it. A reactivation stays due if this record has no
// room to close the jobs before it.
func (l *leasing) start(j *store.Job) error {
	switch {
	case !l.until.IsZero():
		return l.apply(j, rescheduled{l.until})
	case j.Hold != nil && !j.Terminal():
		return l.startHeld(j)
	case j.Event != abi.EventReactivated:
		return l.apply(j, leased{})
	}
	before := l.jobs
	if j.After != "" {
		var err error
		if before, err = jobsOfUnit(l.tx.Reader, j.After, j.App); err != nil {
			return err
		}
	}
	lock, err := l.tx.Lock(j.UserID) // a precondition: a deactivation meanwhile makes the transaction run again
	if err != nil {
		return fmt.Errorf("reading the lock of %s: %w", j.UserID, err)
	}
	ev := dueReactivation(j, lock, before, l.in)
	if _, runs := ev.(leased); runs {
		if closed, err := l.closeAll(before); err != nil || !closed {
			return err // the next record continues here
		}
	}
	return l.apply(j, ev)
}

// startHeld leases an approved deletion. It closes one whose userName another user has got since the last attempt.
func (l *leasing) startHeld(j *store.Job) error {
	holder, err := holderOf(l.tx, j)
	switch {
	case err != nil:
		return err
	case holder != "":
		return l.apply(j, nameTaken{holder})
	}
	return l.apply(j, leased{})
}

// closeAll closes the jobs that would block a reactivation. It reports whether this record had room
// for all of them and for the reactivation.
func (l *leasing) closeAll(before []store.Job) (bool, error) {
	for i := range before {
		j := &before[i]
		if !blocks(j) {
			continue
		}
		if l.room <= 1 {
			return false, nil
		}
		if err := l.apply(j, enabled{}); err != nil {
			return false, fmt.Errorf("closing job %s: %w", j.ID, err)
		}
	}
	return true, nil
}

// apply applies an event to j, saves it, and adds it to l.tasks if it runs now.
func (l *leasing) apply(j *store.Job, ev event) error {
	t, eff := next(task{Job: *j}, ev, l.in)
	runs := eff.ask || eff.verify
	if runs {
		var err error
		if t.Subject.FormerUserNames, err = formerNames(l.tx, j); err != nil {
			return err
		}
	}
	*j = t.Job
	l.room--
	if err := l.tx.SaveJob(j); err != nil {
		return err
	}
	if runs {
		l.tasks = append(l.tasks, &t)
	}
	return nil
}

// formerNames returns the former names that still belong to the user. An account under a name that
// another user has taken is theirs.
func formerNames(tx *store.Tx, j *store.Job) ([]string, error) {
	var names []string
	for _, n := range j.Subject.FormerUserNames {
		id, err := tx.FormerUser(n)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("reading who has a former name of %s: %w", j.UserID, err)
		}
		if id == j.UserID {
			names = append(names, n)
		}
	}
	return names, nil
}
