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

// jobsOfUnit returns the jobs of a user in an app, of all epochs and of none.
func jobsOfUnit(r *store.Reader, user, app string) ([]store.Job, error) {
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

// leaseBatch bounds the jobs that one record leases or moves, because each may carry
// evidence of 100 kB. It is more than the kinds of one epoch. The rest stays due.
const leaseBatch = 12

func rank(event string) int {
	if event == abi.EventReactivated {
		return 0
	}
	return 1
}

// leaseUntilOfOthers is when the last lease of another process ends, zero without one.
// A lease that ends beyond the horizon was written by a wrong clock and does not count.
func leaseUntilOfOthers(jobs []store.Job, in env) time.Time {
	var until time.Time
	for i := range jobs {
		j := &jobs[i]
		others := j.LeaseOwner != "" && j.LeaseOwner != in.owner
		if others && j.LeaseUntil.After(in.now) && !j.LeaseUntil.After(in.horizon()) && j.LeaseUntil.After(until) {
			until = j.LeaseUntil
		}
	}
	return until
}

// leasing is one transaction that leases the due jobs of a unit.
type leasing struct {
	tx    *store.Tx
	in    env
	jobs  []store.Job // of the unit
	until time.Time   // when the last lease of another process ends, zero without one
	room  int         // jobs that may still be saved
}

// lease leases due jobs of u in one record and returns them in the order of their
// kinds. While another process has a lease on any job of u, it leases none: the order
// of kinds and epochs holds across processes.
func (e *Engine) lease(ctx context.Context, u unit) ([]*task, error) {
	var tasks []*task
	seq, err := e.o.Store.Update(ctx, u.tenant, e.cause("job.claim", "claim-"+u.user), func(tx *store.Tx) error {
		tasks = tasks[:0]
		jobs, err := jobsOfUnit(tx.Reader, u.user, u.app)
		if err != nil {
			return err
		}
		// Reactivations come first: one that goes ahead closes the jobs without proof.
		slices.SortStableFunc(jobs, func(a, b store.Job) int { return rank(a.Event) - rank(b.Event) })
		l := &leasing{tx: tx, in: e.env(), jobs: jobs, room: leaseBatch}
		l.until = leaseUntilOfOthers(jobs, l.in)
		for i := 0; i < len(jobs) && l.room > 0; i++ {
			if at := jobs[i].NextAt; at.IsZero() || at.After(l.in.now) {
				continue
			}
			t, err := l.start(&jobs[i])
			if err != nil {
				return fmt.Errorf("leasing job %s: %w", jobs[i].ID, err)
			}
			if t != nil {
				tasks = append(tasks, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("leasing jobs: %w", err)
	}
	for _, t := range tasks {
		t.Version = seq
	}
	slices.SortStableFunc(tasks, func(a, b *task) int { return position(a.Kind) - position(b.Kind) })
	return tasks, nil
}

// start leases a due job, or reschedules or closes it. The task is nil when the job may
// not run now.
func (l *leasing) start(j *store.Job) (*task, error) {
	ev, err := l.event(j)
	if err != nil || ev == nil {
		return nil, err
	}
	t, eff := next(task{Job: *j}, ev, l.in)
	runs := eff.ask || eff.verify
	if runs {
		if t.Subject.FormerUserNames, err = formerNames(l.tx, j); err != nil {
			return nil, err
		}
	}
	*j = t.Job
	if err := l.save(j); err != nil || !runs {
		return nil, err
	}
	return &t, nil
}

func (l *leasing) save(j *store.Job) error {
	l.room--
	return l.tx.SaveJob(j)
}

// event decides what happens to a due job; nil when this record has no room for it.
func (l *leasing) event(j *store.Job) (event, error) {
	switch {
	case !l.until.IsZero():
		return rescheduled{l.until}, nil
	case j.Event != abi.EventReactivated:
		return leased{}, nil
	}
	lock, err := l.tx.Lock(j.UserID) // a precondition: a deactivation meanwhile makes the transaction run again
	if err != nil {
		return nil, fmt.Errorf("reading the lock of %s: %w", j.UserID, err)
	}
	before := l.jobs
	if j.After != "" {
		if before, err = jobsOfUnit(l.tx.Reader, j.After, j.App); err != nil {
			return nil, err
		}
	}
	ev := dueReactivation(j, lock, before, l.in)
	if _, runs := ev.(leased); !runs {
		return ev, nil
	}
	for i := range before {
		o := &before[i]
		if !blocks(o) {
			continue
		}
		if l.room <= 1 {
			return nil, nil // j stays due, and the next record goes on here
		}
		t, _ := next(task{Job: *o}, enabled{}, l.in)
		*o = t.Job
		if err := l.save(o); err != nil {
			return nil, fmt.Errorf("closing job %s: %w", o.ID, err)
		}
	}
	return ev, nil
}

// formerNames are the former names of a job's user that no other user has taken since.
// What an application has under the others is not the leaver's any more.
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
