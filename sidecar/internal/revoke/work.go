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

// saveTimeout bounds the writes of a worker that go on when the process stops.
const saveTimeout = 5 * time.Second

// work leases the due jobs of u, revokes each kind, verifies them and updates the clocks. It reports whether it
// leased any.
func (e *Engine) work(ctx context.Context, u unit) (bool, error) {
	tasks, err := e.lease(ctx, u)
	if err != nil || len(tasks) == 0 {
		return false, err
	}
	for _, t := range tasks {
		if !t.Terminal() && ctx.Err() == nil {
			err = errors.Join(err, e.revokeKind(ctx, t))
		}
	}
	err = errors.Join(err, e.verify(ctx, tasks))
	for _, t := range tasks {
		if t.leased() { // the process stops
			e.step(t, stopped{})
			err = errors.Join(err, e.save(ctx, t, "job.release"))
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	return true, errors.Join(err, e.wakeReactivation(ctx, u), e.updateClocks(ctx, u.tenant, u.user))
}

// env returns the input of the state machine now.
func (e *Engine) env() env {
	o := &e.opts
	return env{now: o.Now(), owner: o.Owner, lease: e.leaseTime(), deadline: o.Deadline, jitter: o.Jitter()}
}

// step applies an event to t.
func (e *Engine) step(t *task, ev event) (eff effects) {
	*t, eff = next(*t, ev, e.env())
	return eff
}

// revokeKind asks the plugin about one kind and saves each answer, until the attempt ends or the
// lease is lost.
func (e *Engine) revokeKind(ctx context.Context, t *task) error {
	start := e.opts.Now()
	for {
		if err := e.extendLease(ctx, t); err != nil || !t.leased() {
			return err
		}
		eff := e.step(t, answered{result: e.ask(ctx, t), stopping: ctx.Err() != nil})
		action := "job.progress"
		if !eff.ask {
			action = e.report(ctx, t, eff, e.opts.Now().Sub(start))
		}
		if err := e.save(ctx, t, action); err != nil || !eff.ask {
			return err
		}
	}
}

// ask calls the plugin once about the kind of t, from the page after its last answer.
func (e *Engine) ask(ctx context.Context, t *task) abi.KindResult {
	kind := abi.Kind(t.Kind)
	if info, loaded := e.opts.Revoker.Info(t.Tenant, t.App); loaded {
		t.Plugin = store.JobPlugin{Name: info.Name, Version: info.Version, Digest: info.Digest}
		if !slices.Contains(info.Kinds, kind) {
			const msg = "the plugin does not handle this kind"
			return abi.KindResult{State: abi.StateUnsupported, Code: codeNotInPlugin, Message: msg}
		}
	}
	req := e.request(t, abi.OpRevoke, kind)
	if t.Cursor != "" {
		req.Cursors = map[abi.Kind]string{kind: t.Cursor}
	}
	res, err := e.opts.Revoker.Revoke(ctx, t.Tenant, t.App, req)
	switch {
	case errors.Is(err, ErrNoPlugin):
		return abi.KindResult{State: abi.StateUnsupported, Code: codeNoPlugin, Message: "the app has no plugin"}
	case err != nil:
		return abi.KindResult{State: abi.StateRetry, Code: abi.CodeNotLoaded, Message: "the plugin could not be called"}
	}
	return res.Kinds[0]
}

func (e *Engine) request(t *task, op abi.Op, kinds ...abi.Kind) abi.Request {
	return abi.Request{
		ABI: "1.0", Op: op, RequestID: t.ID, IdempotencyKey: t.ID, Attempt: t.Attempts,
		Tenant: t.Tenant, App: t.App, Kinds: kinds,
		Event:   &abi.Event{Type: t.Event, ID: fmt.Sprintf("%s-%d", t.UserID, t.Epoch), OccurredAt: t.Created},
		Subject: toWire(&t.Subject),
	}
}

// report logs and counts the end of an attempt and returns its audit action.
func (e *Engine) report(ctx context.Context, t *task, eff effects, took time.Duration) string {
	if t.State == store.JobPending {
		e.log(ctx, slog.LevelInfo, "job released", t)
		return "job.release"
	}
	e.m.attempts.WithLabelValues(t.Tenant, t.App, t.Kind, string(t.State)).Inc()
	level := slog.LevelInfo
	if eff.alert != "" {
		level = slog.LevelError
		e.m.alerts.WithLabelValues(t.Tenant, t.App, eff.alert).Inc()
	}
	e.log(ctx, level, "revocation", t, slog.String("state", string(t.State)), slog.String("code", t.Code),
		slog.String("message", logText(t)),
		slog.Int("attempt", t.Attempts), slog.Int("revoked", t.Revoked), slog.Duration("took", took))
	return "job.result"
}

func (e *Engine) log(ctx context.Context, level slog.Level, msg string, t *task, attrs ...slog.Attr) {
	attrs = slices.Concat(unitOf(&t.Job).attrs(), []slog.Attr{slog.String("kind", t.Kind)}, attrs)
	e.opts.Logger.LogAttrs(ctx, level, msg, attrs...)
}

// save writes t under its fencing token and extends its lease if it still has one. If another worker
// has taken the lease, t is not leased afterwards.
func (e *Engine) save(ctx context.Context, t *task, action string) error {
	// The answer of the application is recorded even if the process stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if t.leased() {
		t.extendLease(e.env())
	}
	cause := e.cause(action, "job-"+t.ID)
	cause.Attrs = []string{t.App, t.Kind, string(t.State)}
	seq, err := e.opts.Store.Update(ctx, t.Tenant, cause, func(tx *store.Tx) error {
		row := t.Job
		return tx.SaveJob(&row)
	})
	if err == nil {
		t.Version = seq
		return nil
	}
	t.LeaseOwner = ""
	if errors.Is(err, store.ErrFenced) {
		e.m.fenced.WithLabelValues(t.Tenant).Inc()
		e.log(ctx, slog.LevelInfo, "lease lost", t)
		return nil
	}
	return fmt.Errorf("saving job %s: %w", t.ID, err)
}

// extendLease makes sure that the lease outlasts the next call of the plugin.
func (e *Engine) extendLease(ctx context.Context, t *task) error {
	if t.LeaseUntil.Sub(e.opts.Now()) >= e.leaseTime()/2 {
		return nil
	}
	return e.save(ctx, t, "job.lease")
}
