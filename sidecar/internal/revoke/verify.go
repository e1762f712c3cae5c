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

// Probe results, as they stand in evidence.
const (
	probeDead    = "dead"
	probeLive    = "live"
	probeUnknown = "unknown"
)

// verify asks the plugin for read-only proof about the kinds that are through,
// and writes what it says: dead is verified, live goes back to revoking, no
// answer stays unknown and is asked again.
func (e *Engine) verify(ctx context.Context, u unit, jobs []store.Job) error {
	req := abi.Request{}
	for i := range jobs {
		j := &jobs[i]
		if e.wantsProbe(j) {
			if len(req.Kinds) == 0 {
				req = e.request(j, abi.OpVerify)
				req.Kinds = nil
			}
			req.Kinds = append(req.Kinds, abi.Kind(j.Kind))
		}
	}
	if len(req.Kinds) == 0 || ctx.Err() != nil {
		return nil
	}
	res, err := e.o.Revoker.Verify(ctx, u.tenant, u.app, req)
	if err != nil {
		e.o.Logger.WarnContext(ctx, "verifying", slog.String("tenant", u.tenant), slog.String("app", u.app), slog.String("user", u.user), slog.Any("error", err))
	}
	live := map[abi.Kind]abi.Liveness{}
	for _, l := range res.Kinds {
		live[l.Kind] = l
	}
	var errs []error
	for i := range jobs {
		j := &jobs[i]
		if e.wantsProbe(j) {
			l, answered := live[abi.Kind(j.Kind)]
			errs = append(errs, e.probed(ctx, j, l, answered && err == nil))
		}
	}
	return errors.Join(errs...)
}

// wantsProbe reports whether the job waits for proof. Re-enabling an account is
// proved by the application's own answer.
func (e *Engine) wantsProbe(j *store.Job) bool {
	return !j.Verified && (j.State == store.JobRevoked || j.State == store.JobNothingToRevoke) && j.Event != abi.EventReactivated
}

func (e *Engine) probed(ctx context.Context, j *store.Job, l abi.Liveness, answered bool) error {
	now := e.o.Now()
	p := store.JobProbe{At: now, Live: l.Live, How: l.Probe}
	switch {
	case !answered || l.Live < 0:
		p.Result = probeUnknown
		j.NextAt = now.Add(backoff(len(j.Probes)+1, 0, now.Sub(j.Received) < e.o.Deadline, e.o.Jitter))
	case l.Live > 0:
		p.Result = probeLive
		j.State, j.Code, j.Message, j.Done = store.JobRetrying, "live", "the probe found credentials that still work", time.Time{}
		j.NextAt = now.Add(backoff(j.Attempts, 0, now.Sub(j.Received) < e.o.Deadline, e.o.Jitter))
	default:
		p.Result = probeDead
		j.Verified, j.VerifiedAt, j.NextAt = true, now, time.Time{}
	}
	j.Probes = append(j.Probes, p)
	if len(j.Probes) > maxProbes {
		j.Probes = j.Probes[len(j.Probes)-maxProbes:]
	}
	e.m.probes.WithLabelValues(j.Tenant, j.App, j.Kind, p.Result).Inc()
	return e.save(ctx, j, "job.probe")
}

// closeUp takes re-enabled accounts off the queue: nothing is left to prove.
func (e *Engine) closeUp(ctx context.Context, jobs []store.Job) error {
	var errs []error
	for i := range jobs {
		j := &jobs[i]
		if j.Event == abi.EventReactivated && j.Terminal() && !j.NextAt.IsZero() {
			j.NextAt = time.Time{}
			errs = append(errs, e.save(ctx, j, "job.done"))
		}
	}
	return errors.Join(errs...)
}

// clocks writes BlockedAt, VerifiedAt and breaches of every open offboarding.
func (e *Engine) clocks(ctx context.Context, tenant string) error {
	var open []store.Offboarding
	jobs := map[string][]store.Job{}
	err := e.o.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		if open, err = r.OpenOffboardings(); err != nil {
			return fmt.Errorf("reading open offboardings: %w", err)
		}
		for _, o := range open {
			if jobs[o.UserID], err = r.JobsOf(o.UserID, o.Epoch); err != nil {
				return fmt.Errorf("reading the jobs of %s: %w", o.UserID, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.m.open.WithLabelValues(tenant).Set(float64(len(open)))
	oldest := time.Duration(0)
	for _, o := range open {
		oldest = max(oldest, e.o.Now().Sub(o.Received))
		err = errors.Join(err, e.clock(ctx, tenant, o, jobs[o.UserID]))
	}
	e.m.oldest.WithLabelValues(tenant).Set(oldest.Seconds())
	return err
}

func (e *Engine) clock(ctx context.Context, tenant string, o store.Offboarding, jobs []store.Job) error {
	before := o
	now := e.o.Now()
	action := "offboarding.clock"
	if at, ok := e.o.Store.Locks().InForce(tenant, o.UserID); ok && o.BlockedAt.IsZero() {
		o.BlockedAt = at
	}
	if Settled(jobs) && o.VerifiedAt.IsZero() {
		o.VerifiedAt, action = lastProof(jobs, now), "offboarding.verified"
	}
	if !o.Breached && o.VerifiedAt.IsZero() && now.Sub(o.Received) >= e.o.Deadline {
		o.Breached, action = true, "offboarding.breach"
	}
	if before.BlockedAt.Equal(o.BlockedAt) && before.VerifiedAt.Equal(o.VerifiedAt) && before.Breached == o.Breached {
		return nil
	}
	cause := e.cause(action, o.Cause.RequestID)
	_, err := e.o.Store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		row := o
		return tx.SaveOffboarding(&row)
	})
	if err != nil {
		return fmt.Errorf("saving the clocks of %s: %w", o.UserID, err)
	}
	switch action {
	case "offboarding.breach":
		e.m.breaches.WithLabelValues(tenant).Inc()
		e.o.Logger.LogAttrs(ctx, slog.LevelError, "revocation deadline breached", slog.String("tenant", tenant), slog.String("user", o.UserID), slog.Duration("after", now.Sub(o.Received)))
	case "offboarding.verified":
		e.m.verified.WithLabelValues(tenant).Observe(o.VerifiedAt.Sub(o.Received).Seconds())
		e.o.Logger.LogAttrs(ctx, slog.LevelInfo, "revocation verified", slog.String("tenant", tenant), slog.String("user", o.UserID), slog.Duration("after", o.VerifiedAt.Sub(o.Received)))
	}
	return nil
}

// Settled reports whether every job of a deactivation is either probed dead or
// enforced at the proxy because the application cannot revoke its kind. No jobs
// at all are settled: there was nothing to do.
func Settled(jobs []store.Job) bool {
	for i := range jobs {
		j := &jobs[i]
		if j.Event != abi.EventReactivated && !j.Verified && j.State != store.JobUnsupported {
			return false
		}
	}
	return true
}

// lastProof is when the last kind was probed dead; now where nothing had to be.
func lastProof(jobs []store.Job, now time.Time) time.Time {
	var last time.Time
	for i := range jobs {
		if jobs[i].VerifiedAt.After(last) {
			last = jobs[i].VerifiedAt
		}
	}
	if last.IsZero() {
		return now
	}
	return last
}
