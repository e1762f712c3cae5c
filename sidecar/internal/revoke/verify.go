package revoke

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/scimward/scimward/plugins/abi"
)

// verify probes the kinds that await proof, one epoch at a time.
func (e *Engine) verify(ctx context.Context, tasks []*task) error {
	epochs := map[uint64][]*task{}
	for _, t := range tasks {
		if t.leased() && awaitsProof(&t.Job) {
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

// probe asks the plugin once about all kinds of one epoch and saves the answers. After a call that
// fails, every kind is unknown.
func (e *Engine) probe(ctx context.Context, group []*task) error {
	var errs []error
	for _, t := range group {
		errs = append(errs, e.extendLease(ctx, t))
	}
	group = slices.DeleteFunc(group, func(t *task) bool { return !t.leased() })
	if len(group) == 0 {
		return errors.Join(errs...)
	}
	first := group[0]
	var kinds []abi.Kind
	for _, t := range group {
		kinds = append(kinds, abi.Kind(t.Kind))
	}
	req := e.request(first, abi.OpVerify, kinds...)
	req.Revoked = revokedIDs(group)
	res, err := e.opts.Revoker.Verify(ctx, first.Tenant, first.App, req)
	if ctx.Err() != nil {
		return errors.Join(errs...) // the call was interrupted, and work releases the jobs
	}
	if err != nil {
		e.log(ctx, slog.LevelWarn, "verifying", first, slog.Any("error", err))
	}
	for i, t := range group {
		ev := probed{live: abi.LiveUnknown}
		if err == nil {
			l := &res.Kinds[i]
			ev = probed{live: l.Live, how: l.Probe, method: l.Method, with: l.With}
		}
		e.step(t, ev)
		e.m.probes.WithLabelValues(t.Tenant, t.App, t.Kind, t.Probes[len(t.Probes)-1].Result).Inc()
		errs = append(errs, e.save(ctx, t, "job.probe"))
	}
	return errors.Join(errs...)
}

// revokedIDs lists the last credentials that each job revoked, for a probe.
func revokedIDs(group []*task) map[abi.Kind][]string {
	out := map[abi.Kind][]string{}
	for _, t := range group {
		for _, ev := range t.Evidence[max(len(t.Evidence)-abi.RevokedMax, 0):] {
			out[abi.Kind(t.Kind)] = append(out[abi.Kind(t.Kind)], ev.ID)
		}
	}
	return out
}
