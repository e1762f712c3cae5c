package revoke

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
func (e *Engine) verify(ctx context.Context, tasks []*task) error {
	epochs := map[uint64][]*task{}
	for _, t := range tasks {
		if e.wantsProbe(t) {
			epochs[t.Epoch] = append(epochs[t.Epoch], t)
		}
	}
	var errs []error
	for _, group := range epochs {
		if ctx.Err() == nil {
			errs = append(errs, e.probe(ctx, group))
		}
	}
	return errors.Join(errs...)
}

// wantsProbe reports whether the job waits for proof. Re-enabling an account is
// proved by the application's own answer.
func (e *Engine) wantsProbe(t *task) bool {
	return !t.lost && !t.Verified && (t.State == store.JobRevoked || t.State == store.JobNothingToRevoke) && t.Event != abi.EventReactivated
}

// probe asks one question about all kinds of one epoch.
func (e *Engine) probe(ctx context.Context, group []*task) error {
	var errs []error
	for _, t := range group {
		errs = append(errs, e.overtaken(ctx, t, e.renew(ctx, t)))
	}
	group = slices.DeleteFunc(group, func(t *task) bool { return t.lost })
	if len(group) == 0 {
		return errors.Join(errs...)
	}
	first := group[0]
	req := e.request(first, abi.OpVerify)
	req.Kinds = nil
	for _, t := range group {
		req.Kinds = append(req.Kinds, abi.Kind(t.Kind))
	}
	res, err := e.o.Revoker.Verify(ctx, first.Tenant, first.App, req)
	if ctx.Err() != nil {
		return errors.Join(errs...) // cut off: the jobs are given back
	}
	switch {
	case err != nil:
		e.o.Logger.LogAttrs(ctx, slog.LevelWarn, "verifying", slog.String("tenant", first.Tenant), slog.String("app", first.App), slog.String("user", first.UserID), slog.Any("error", err))
	case res.Error != nil:
		e.o.Logger.LogAttrs(ctx, slog.LevelWarn, "verifying", slog.String("tenant", first.Tenant), slog.String("app", first.App), slog.String("user", first.UserID), slog.String("code", clean(res.Error.Code)))
	}
	live := map[abi.Kind]abi.Liveness{}
	if err == nil && res.Error == nil {
		for _, l := range res.Kinds {
			if before, twice := live[l.Kind]; twice && before.Live != l.Live {
				l.Live = -1 // two answers are none
			}
			live[l.Kind] = l
		}
	}
	for _, t := range group {
		l, answered := live[abi.Kind(t.Kind)]
		if !answered {
			l.Live = -1
		}
		errs = append(errs, e.overtaken(ctx, t, e.probed(ctx, t, l)))
	}
	return errors.Join(errs...)
}

// probed writes one answer; a negative Live is no answer.
func (e *Engine) probed(ctx context.Context, t *task, l abi.Liveness) error {
	now := e.o.Now()
	p := store.JobProbe{At: now, Live: max(l.Live, 0), How: clean(l.Probe)}
	switch {
	case l.Live > 0:
		p.Result = probeLive
		t.Done = time.Time{}
		e.retry(t, abi.KindResult{Message: "credentials still work"}, now)
		t.Code = codeLive
		if t.State == store.JobRetrying {
			t.Message = "the probe found credentials that still work"
		}
	case l.Live < 0:
		p.Result = probeUnknown
		t.NextAt = now.Add(e.pause(t, len(t.Probes)+1, 0, now))
		if now.Sub(t.Created) > giveUpAfter {
			t.State, t.NextAt = store.JobUnknown, time.Time{}
			t.Code, t.Message = codeNotVerified, "revoked, but for 72 hours nobody could say whether it is dead"
		}
	default:
		p.Result = probeDead
		t.Verified, t.VerifiedAt, t.NextAt = true, now, time.Time{}
	}
	t.Probes = append(t.Probes, p)
	if len(t.Probes) > maxProbes {
		t.Probes = t.Probes[len(t.Probes)-maxProbes:]
	}
	e.m.probes.WithLabelValues(t.Tenant, t.App, t.Kind, p.Result).Inc()
	return e.save(ctx, t, "job.probe", false)
}
