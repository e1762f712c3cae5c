package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// fullEvery is how often the clocks look at every open offboarding with its jobs;
// in between a worker judges its own user, and only headers are read for the rest.
const fullEvery = time.Minute

// watchClocks judges the clocks of every tenant until ctx is done. It runs beside
// the workers: writing ten thousand clocks takes a while.
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
			if err := e.clocks(ctx, tenant, all); err != nil && ctx.Err() == nil {
				e.o.Logger.ErrorContext(ctx, "judging the clocks", slog.String("tenant", tenant), slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// clocks judges the open offboardings of a tenant: all of them, or those that time
// alone may have moved.
func (e *Engine) clocks(ctx context.Context, tenant string, all bool) error {
	var open []store.Offboarding
	err := e.o.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		open, err = r.OpenOffboardings()
		return err
	})
	if err != nil {
		return fmt.Errorf("reading open offboardings: %w", err)
	}
	if all {
		if err := e.callBack(ctx, tenant); err != nil {
			return err
		}
	}
	now := e.o.Now()
	oldest := time.Duration(0)
	seen := map[string]bool{}
	var errs []error
	for i := range open {
		o := &open[i]
		age := now.Sub(o.Received)
		oldest = max(oldest, age)
		if !seen[o.UserID] && (all || o.BlockedAt.IsZero() || o.Jobs == 0 || !o.Breached && age >= e.o.Deadline) {
			seen[o.UserID] = true
			errs = append(errs, e.settle(ctx, tenant, o.UserID))
		}
	}
	e.m.open.WithLabelValues(tenant).Set(float64(len(open)))
	e.m.oldest.WithLabelValues(tenant).Set(oldest.Seconds())
	return errors.Join(errs...)
}

// horizon is later than any pause or lease that begins now can end.
func (e *Engine) horizon(now time.Time) time.Time {
	return now.Add(mostPause + e.o.Lease + e.o.Deadline)
}

// callBack makes jobs due that are put off, or leased, beyond the horizon: the
// clock was ahead when that was written, and has been set back since.
func (e *Engine) callBack(ctx context.Context, tenant string) error {
	for {
		now := e.o.Now()
		n := 0
		_, err := e.o.Store.Update(ctx, tenant, e.cause("job.release", "clock-set-back"), func(tx *store.Tx) error {
			far, err := tx.JobsAfter(e.horizon(now), claimBatch)
			if err != nil {
				return err
			}
			for i := range far {
				j := &far[i]
				if j.State == store.JobRunning {
					j.State = store.JobPending
				}
				j.NextAt, j.LeaseOwner, j.LeaseUntil = now, "", time.Time{}
				if err := tx.SaveJob(j); err != nil {
					return err
				}
			}
			n = len(far)
			return nil
		})
		if err != nil {
			return fmt.Errorf("calling jobs back that a wrong clock put off: %w", err)
		}
		if n < claimBatch {
			return nil
		}
	}
}

// settle writes BlockedAt, VerifiedAt and breaches of the open offboardings of one
// user, where they changed.
func (e *Engine) settle(ctx context.Context, tenant, user string) error {
	var offs []store.Offboarding
	jobs := map[uint64][]store.Job{}
	err := e.o.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		if offs, err = r.Offboardings(user); err != nil {
			return fmt.Errorf("reading the offboardings of %s: %w", user, err)
		}
		for i := range offs {
			if !offs[i].VerifiedAt.IsZero() {
				continue
			}
			if jobs[offs[i].Epoch], err = r.JobsOf(user, offs[i].Epoch); err != nil {
				return fmt.Errorf("reading the jobs of %s: %w", user, err)
			}
		}
		return nil
	})
	for i := range offs {
		if err == nil && offs[i].VerifiedAt.IsZero() {
			err = e.clock(ctx, tenant, &offs[i], jobs[offs[i].Epoch])
		}
	}
	return err
}

// clock moves the clocks of one epoch and tells about it.
func (e *Engine) clock(ctx context.Context, tenant string, o *store.Offboarding, jobs []store.Job) error {
	now := e.o.Now()
	action := ""
	if at, ok := e.o.Store.Locks().InForce(tenant, o.UserID); ok && o.BlockedAt.IsZero() {
		o.BlockedAt, action = at, "offboarding.blocked"
	}
	end := now
	if Settled(o, jobs) {
		o.VerifiedAt, action = lastProof(jobs, now), "offboarding.verified"
		end = o.VerifiedAt
	}
	breached := !o.Breached && end.Sub(o.Received) >= e.o.Deadline // verified late is late, whenever it is noticed
	if breached {
		o.Breached, action = true, "offboarding.breach"
	}
	if action == "" {
		return nil
	}
	_, err := e.o.Store.Update(ctx, tenant, e.cause(action, o.Cause.RequestID), func(tx *store.Tx) error {
		row := *o
		return tx.SaveOffboarding(&row)
	})
	if errors.Is(err, store.ErrFenced) {
		return nil // another process wrote it since, and will be read next time
	}
	if err != nil {
		return fmt.Errorf("saving the clocks of %s: %w", o.UserID, err)
	}
	after := slog.Duration("after", end.Sub(o.Received))
	if breached {
		e.m.breaches.WithLabelValues(tenant).Inc()
		e.o.Logger.LogAttrs(ctx, slog.LevelError, "revocation deadline breached", slog.String("tenant", tenant), slog.String("user", o.UserID), after)
	}
	if !o.VerifiedAt.IsZero() {
		e.m.verified.WithLabelValues(tenant).Observe(end.Sub(o.Received).Seconds())
		e.o.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation verified", slog.String("tenant", tenant), slog.String("user", o.UserID), after)
	}
	return nil
}

// Settled reports whether every job that the deactivation o created is there and
// either probed dead or enforced at the proxy because the application cannot
// revoke its kind. Where it created none there was nothing to do.
func Settled(o *store.Offboarding, jobs []store.Job) bool {
	n := 0
	for i := range jobs {
		j := &jobs[i]
		if j.Event == abi.EventReactivated {
			continue
		}
		if !j.Verified && j.State != store.JobUnsupported {
			return false
		}
		n++
	}
	return n == o.Jobs
}

// lastProof is when the last kind was settled; now where nothing had to be.
func lastProof(jobs []store.Job, now time.Time) time.Time {
	var last time.Time
	for i := range jobs {
		j := &jobs[i]
		at := j.VerifiedAt
		if j.State == store.JobUnsupported {
			at = j.Done
		}
		if j.Event != abi.EventReactivated && at.After(last) {
			last = at
		}
	}
	if last.IsZero() {
		return now
	}
	return last
}
