package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/scimward/scimward/store"
)

// fullEvery is how often watchClocks reads the jobs of every open offboarding. In between,
// each worker updates the clocks of its own user.
const fullEvery = time.Minute

// watchClocks updates the clocks of every tenant until ctx is done. It runs beside
// the workers because ten thousand updates take a while.
func (e *Engine) watchClocks(ctx context.Context) {
	tick := time.NewTicker(e.o.Poll)
	defer tick.Stop()
	var full time.Time
	for {
		now := e.o.Now()
		all := full.IsZero() || now.Sub(full) >= fullEvery
		if all {
			full = now
		}
		for _, tenant := range e.o.Tenants {
			if err := e.updateTenantClocks(ctx, tenant, all); err != nil && ctx.Err() == nil {
				e.o.Logger.ErrorContext(ctx, "updating the clocks", slog.String("tenant", tenant), slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// updateTenantClocks updates the clocks of the open offboardings of a tenant: of all, or
// of those that may have changed by the passing of time alone.
func (e *Engine) updateTenantClocks(ctx context.Context, tenant string, all bool) error {
	open, err := view(ctx, e, tenant, (*store.Reader).OpenOffboardings)
	if err != nil {
		return fmt.Errorf("reading open offboardings: %w", err)
	}
	if all {
		if err := e.releaseFutureJobs(ctx, tenant); err != nil {
			return err
		}
	}
	now := e.o.Now()
	oldest := time.Duration(0)
	var errs []error
	for i := range open {
		o := &open[i]
		age := now.Sub(o.Received)
		oldest = max(oldest, age)
		if all || o.BlockedAt.IsZero() || o.Jobs == 0 || !o.Breached && age >= e.o.Deadline {
			errs = append(errs, e.updateClock(ctx, tenant, o))
		}
	}
	e.m.open.WithLabelValues(tenant).Set(float64(len(open)))
	e.m.oldest.WithLabelValues(tenant).Set(oldest.Seconds())
	return errors.Join(errs...)
}

// releaseFutureJobs makes jobs due that are leased or rescheduled beyond the horizon: the
// clock was ahead when that was written and has been set back since.
func (e *Engine) releaseFutureJobs(ctx context.Context, tenant string) error {
	for n := leaseBatch; n == leaseBatch; {
		in := e.env()
		_, err := e.o.Store.Update(ctx, tenant, e.cause("job.release", "clock-set-back"), func(tx *store.Tx) error {
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
		if offs[i].VerifiedAt.IsZero() {
			errs = append(errs, e.updateClock(ctx, tenant, &offs[i]))
		}
	}
	return errors.Join(errs...)
}

// updateClock writes BlockedAt, VerifiedAt and a breach of an open offboarding if they
// changed, and logs and counts it.
func (e *Engine) updateClock(ctx context.Context, tenant string, o *store.Offboarding) error {
	jobs, err := view(ctx, e, tenant, func(r *store.Reader) ([]store.Job, error) {
		return RevocationJobs(r, o.UserID, o.Epoch)
	})
	if err != nil {
		return err
	}
	now := e.o.Now()
	action := ""
	if at, ok := e.o.Store.Locks().InForce(tenant, o.UserID); ok && o.BlockedAt.IsZero() {
		o.BlockedAt, action = at, "offboarding.blocked"
	}
	end := now
	if s := Status(o, jobs); s == StatusVerified || s == StatusEnforced {
		o.VerifiedAt, action = lastProof(jobs, now), "offboarding.verified"
		end = o.VerifiedAt
	}
	after := end.Sub(o.Received)
	breached := !o.Breached && after >= e.o.Deadline // by the time of the proof, not the time of this update
	if breached {
		o.Breached, action = true, "offboarding.breach"
	}
	if action == "" {
		return nil
	}
	_, err = e.o.Store.Update(ctx, tenant, e.cause(action, o.Cause.RequestID), func(tx *store.Tx) error {
		row := *o
		return tx.SaveOffboarding(&row)
	})
	if errors.Is(err, store.ErrFenced) {
		return nil // another process has written it; the next update reads that
	}
	if err != nil {
		return fmt.Errorf("saving the clocks of %s: %w", o.UserID, err)
	}
	attrs := []slog.Attr{slog.String("tenant", tenant), slog.String("user", o.UserID), slog.Duration("after", after)}
	if breached {
		e.m.breaches.WithLabelValues(tenant).Inc()
		e.o.Logger.LogAttrs(ctx, slog.LevelError, "revocation deadline breached", attrs...)
	}
	if !o.VerifiedAt.IsZero() {
		e.m.verified.WithLabelValues(tenant).Observe(after.Seconds())
		e.o.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation verified", attrs...)
	}
	return nil
}

// lastProof is when the last of the jobs was verified or found unsupported; now if there is none.
func lastProof(jobs []store.Job, now time.Time) time.Time {
	var last time.Time
	for i := range jobs {
		at := jobs[i].VerifiedAt
		if jobs[i].State == store.JobUnsupported {
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
