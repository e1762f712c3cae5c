package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/scimward/scimward/store"
)

// fullEvery is the interval at which watchClocks reads the jobs of every open offboarding. In
// between, each worker updates the clocks of its own user. It does so at once when a core has left, because that one
// may have finished a job and not updated the clocks.
const fullEvery = time.Minute

// watchClocks updates the clocks of every tenant until ctx is done. It runs beside the workers
// because ten thousand updates take a while.
func (e *Engine) watchClocks(ctx context.Context) {
	tick := time.NewTicker(e.opts.Poll)
	defer tick.Stop()
	var full time.Time
	for {
		now := e.opts.Now()
		all := full.IsZero() || now.Sub(full) >= fullEvery || e.coreLeft.Swap(false)
		if all {
			full = now
		}
		for _, tenant := range e.opts.Tenants() {
			if err := e.updateTenantClocks(ctx, tenant, all); err != nil && ctx.Err() == nil {
				e.opts.Logger.ErrorContext(ctx, "updating the clocks", slog.String("tenant", tenant), slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// updateTenantClocks updates the clocks of the open offboardings of a tenant. Without all, it skips
// offboardings that only an answer of the application can change.
func (e *Engine) updateTenantClocks(ctx context.Context, tenant string, all bool) error {
	if err := e.expireLocks(ctx, tenant); err != nil {
		return err
	}
	open, err := view(ctx, e, tenant, (*store.Reader).OpenOffboardings)
	if err != nil {
		return fmt.Errorf("reading open offboardings: %w", err)
	}
	if all {
		if err := e.releaseFutureJobs(ctx, tenant); err != nil {
			return err
		}
		if err := e.countHolds(ctx, tenant); err != nil {
			return err
		}
	}
	now := e.opts.Now()
	oldest := time.Duration(0)
	var errs []error
	for i := range open {
		off := &open[i]
		age := now.Sub(off.Received)
		oldest = max(oldest, age)
		if all || off.BlockedAt.IsZero() || off.Jobs == 0 || !off.Breached && age >= e.opts.Deadline {
			errs = append(errs, e.updateClock(ctx, tenant, off))
		}
	}
	e.m.open.WithLabelValues(tenant).Set(float64(len(open)))
	e.m.oldest.WithLabelValues(tenant).Set(oldest.Seconds())
	return errors.Join(errs...)
}

// countHolds updates the number of held deletions.
func (e *Engine) countHolds(ctx context.Context, tenant string) error {
	held, err := view(ctx, e, tenant, func(r *store.Reader) ([]Approval, error) {
		out, _, err := Approvals(r, tenant)
		return out, err
	})
	if err == nil {
		e.m.held.WithLabelValues(tenant).Set(float64(len(held)))
	}
	return err
}

// expireLocks removes the operators' locks whose time is over, with an audit record. They refuse
// nothing even before.
func (e *Engine) expireLocks(ctx context.Context, tenant string) error {
	now := e.opts.Now()
	for _, l := range e.opts.Store.Locks().Operator(tenant) {
		if l.InForce(now) {
			continue
		}
		_, err := e.opts.Store.Update(ctx, tenant, e.cause("operator.lock.expired", l.ID), func(tx *store.Tx) error {
			return tx.ExpireOperatorLock(l.ID)
		})
		if err != nil {
			return fmt.Errorf("removing an operator's lock whose time is over: %w", err)
		}
		e.opts.Logger.InfoContext(ctx, "operator's lock expired", slog.String("tenant", tenant), slog.String("lock", l.ID))
	}
	return nil
}

// releaseFutureJobs makes jobs due that are leased or rescheduled beyond the horizon. The clock was
// ahead when they were written and has been set back since. Beside other cores it does nothing: the clock may be
// another machine's, and a judge counts the wait of such jobs by the clock of this one.
func (e *Engine) releaseFutureJobs(ctx context.Context, tenant string) error {
	if e.opts.Heartbeat > 0 {
		return nil
	}
	for n := leaseBatch; n == leaseBatch; {
		in := e.env()
		_, err := e.opts.Store.Update(ctx, tenant, e.cause("job.release", "clock-set-back"), func(tx *store.Tx) error {
			jobs, err := tx.JobsAfter(in.horizon(), leaseBatch)
			n = len(jobs)
			for i := range jobs {
				t, _ := next(task{Job: jobs[i]}, clockSetBack{}, in)
				err = errors.Join(err, tx.SaveJob(&t.Job))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("releasing jobs that a wrong clock rescheduled: %w", err)
		}
	}
	return nil
}

// updateClocks updates the clocks of the open offboardings of one user.
func (e *Engine) updateClocks(ctx context.Context, tenant, user string) error {
	offs, err := view(ctx, e, tenant, func(r *store.Reader) ([]store.Offboarding, error) { return r.Offboardings(user) })
	if err != nil {
		return fmt.Errorf("reading the offboardings of %s: %w", user, err)
	}
	var errs []error
	for i := range offs {
		if offs[i].SettledAt.IsZero() {
			errs = append(errs, e.updateClock(ctx, tenant, &offs[i]))
		}
	}
	return errors.Join(errs...)
}

// updateClock advances the clocks of an open offboarding, saves a change, and reports it.
func (e *Engine) updateClock(ctx context.Context, tenant string, off *store.Offboarding) error {
	jobs, err := view(ctx, e, tenant, func(r *store.Reader) ([]store.Job, error) {
		return RevocationJobs(r, off.UserID, off.Epoch)
	})
	if err != nil {
		return err
	}
	blocked, _ := e.opts.Store.Locks().InForce(tenant, off.UserID)
	c := advance(off, jobs, blocked, e.env())
	if c.action == "" {
		return nil
	}
	_, err = e.opts.Store.Update(ctx, tenant, e.cause(c.action, off.Cause.RequestID), func(tx *store.Tx) error {
		row := *off
		return tx.SaveOffboarding(&row)
	})
	if errors.Is(err, store.ErrFenced) {
		return nil // another process has written it, and the next update reads that
	}
	if err != nil {
		return fmt.Errorf("saving the clocks of %s: %w", off.UserID, err)
	}
	attrs := []slog.Attr{slog.String("tenant", tenant), slog.String("user", off.UserID), slog.Duration("after", c.after)}
	if c.breached {
		e.m.breaches.WithLabelValues(tenant).Inc()
		e.opts.Logger.LogAttrs(ctx, slog.LevelError, "revocation deadline breached", attrs...)
	}
	switch {
	case off.SettledAt.IsZero():
	case off.Verified:
		e.m.verified.WithLabelValues(tenant).Observe(c.after.Seconds())
		e.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation verified", attrs...)
	case off.Closed:
		e.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation closed by an operator, not verified", attrs...)
	default:
		e.m.enforced.WithLabelValues(tenant).Inc()
		e.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation enforced at the proxy, not verified", attrs...)
	}
	return nil
}

// clockChange is the result of advance.
type clockChange struct {
	action   string        // audit action, empty if no clock changed
	after    time.Duration // from the request until it was settled, or until now
	breached bool          // the offboarding has now missed its deadline
}

// The audit actions of an offboarding. Only actionVerified says that every kind was verified.
const (
	actionBlocked  = "offboarding.blocked"
	actionVerified = "offboarding.verified"
	actionEnforced = "offboarding.enforced"
	actionClosed   = "offboarding.closed" // by an operator, not verified
	actionBreach   = "offboarding.breach"
)

// advance sets BlockedAt, SettledAt, Verified and Breached of an open offboarding. jobs are its
// RevocationJobs. blocked is when this process enforced the lock, zero if it has not yet.
func advance(off *store.Offboarding, jobs []store.Job, blocked time.Time, in env) clockChange {
	var c clockChange
	if off.BlockedAt.IsZero() && !blocked.IsZero() {
		off.BlockedAt, c.action = blocked, actionBlocked
	}
	end := in.now
	settled := map[string]string{
		StatusVerified: actionVerified, StatusEnforced: actionEnforced, StatusClosed: actionClosed,
	}
	if action := settled[Status(off, jobs)]; action != "" {
		off.SettledAt, c.action = lastOutcome(jobs, in.now), action
		off.Verified, off.Closed = action == actionVerified, action == actionClosed
		end = off.SettledAt
	}
	c.after = end.Sub(off.Received)
	if !off.Breached && c.after >= in.deadline { // by the time of the last outcome, even if this update runs later
		off.Breached, c.breached, c.action = true, true, actionBreach
	}
	return c
}

// lastOutcome returns when the last job was verified or found unsupported, or now without one.
func lastOutcome(jobs []store.Job, now time.Time) time.Time {
	var last time.Time
	for i := range jobs {
		at := jobs[i].VerifiedAt
		if s := jobs[i].State; s == store.JobUnsupported || s == store.JobClosed {
			at = jobs[i].Done
		}
		if at.After(last) {
			last = at
		}
	}
	if last.IsZero() {
		return now
	}
	return last
}
