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

// Bounds of one job's work in one claim.
const (
	maxRounds   = 50 // partial answers in a row
	maxSweeps   = 10 // lists until two of them were empty
	maxEvidence = 100
	maxProbes   = 10
	giveUpAfter = 72 * time.Hour
)

// work claims every due job of u and drives each as far as it goes now.
func (e *Engine) work(ctx context.Context, u unit) error {
	tasks, err := e.claim(ctx, u)
	if err != nil || len(tasks) == 0 {
		return err
	}
	for _, t := range tasks {
		if !t.Terminal() && ctx.Err() == nil {
			err = errors.Join(err, e.overtaken(ctx, t, e.drive(ctx, t)))
		}
	}
	err = errors.Join(err, e.verify(ctx, tasks))
	for _, t := range tasks {
		if !t.lost && t.LeaseOwner != "" { // only a process that stops gets here with a lease
			err = errors.Join(err, e.overtaken(ctx, t, e.giveBack(ctx, t)))
		}
	}
	// Bookkeeping of what is done; it is short, and done even when the process stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, e.letGo(ctx, u), e.settle(ctx, u.tenant, u.user))
}

// overtaken takes the sting out of a lost lease: the job is in other hands, which
// is how leases are meant to end.
func (e *Engine) overtaken(ctx context.Context, t *task, err error) error {
	if !errors.Is(err, store.ErrFenced) {
		return err
	}
	e.m.fenced.WithLabelValues(t.Tenant).Inc()
	e.o.Logger.LogAttrs(ctx, slog.LevelInfo, "lease lost", slog.String("tenant", t.Tenant), slog.String("app", t.App), slog.String("user", t.UserID), slog.String("kind", t.Kind))
	return nil
}

func (e *Engine) request(t *task, op abi.Op) abi.Request {
	return abi.Request{
		ABI: "1.0", Op: op, RequestID: t.ID, IdempotencyKey: t.ID, Attempt: t.Attempts,
		Tenant: t.Tenant, App: t.App, Kinds: []abi.Kind{abi.Kind(t.Kind)},
		Event:   &abi.Event{Type: t.Event, ID: fmt.Sprintf("%s-%d", t.UserID, t.Epoch), OccurredAt: t.Created},
		Subject: toWire(&t.Subject),
	}
}

// drive lists and deletes until two lists in a row were empty, and saves where it
// ended.
func (e *Engine) drive(ctx context.Context, t *task) error {
	start := e.o.Now()
	info, loaded := e.o.Revoker.Info(t.Tenant, t.App)
	if loaded {
		t.Plugin = store.JobPlugin{Name: info.Name, Version: info.Version, Digest: info.Digest}
	}
	kind := abi.Kind(t.Kind)
	if loaded && !slices.Contains(info.Kinds, kind) {
		return e.finish(ctx, t, abi.KindResult{State: abi.StateUnsupported, Code: codeNotInPlugin, Message: "the plugin does not handle this kind"}, start)
	}
	empty := 0
	for range maxSweeps {
		r, err := e.call(ctx, t)
		if err != nil {
			return err
		}
		done := r.State == abi.StateRevoked || r.State == abi.StateNothingToRevoke
		switch {
		case !done && r.State != abi.StateUnsupported && ctx.Err() != nil:
			return e.giveBack(ctx, t) // cut off, not answered
		case !done, kind == abi.KindAccount: // a switch, not a list: once set it stays set
			return e.finish(ctx, t, r, start)
		case r.Found == 0 && r.Count == 0:
			empty++
		default:
			empty = 0
		}
		if empty >= 2 {
			if t.Revoked > 0 {
				r.State = abi.StateRevoked
			}
			return e.finish(ctx, t, r, start)
		}
		if err := e.save(ctx, t, "job.progress", true); err != nil {
			return err
		}
	}
	return e.finish(ctx, t, abi.KindResult{State: abi.StateRetry, Code: codeStillMinting, Message: "credentials kept appearing during the sweep"}, start)
}

// call asks the plugin once for one kind, following partial answers, and adds
// what it did to t. Every partial answer is saved with its cursor, so that a crash
// goes on from there. An error means that t could not be saved.
func (e *Engine) call(ctx context.Context, t *task) (abi.KindResult, error) {
	total := abi.KindResult{Kind: abi.Kind(t.Kind)}
	for n := 0; n < maxRounds && (n == 0 || ctx.Err() == nil); n++ {
		if err := e.renew(ctx, t); err != nil {
			return total, err
		}
		r := e.ask(ctx, t)
		e.record(t, r)
		total.Found += r.Found
		total.Count += r.Count
		total.State, total.Code, total.Message, total.RetryAfterMS = r.State, r.Code, r.Message, r.RetryAfterMS
		if r.State != abi.StatePartial {
			t.Cursor = "" // whatever comes next starts with a whole list
			return total, nil
		}
		if r.Count == 0 && r.Cursor == t.Cursor {
			t.Cursor = ""
			total.State, total.Code, total.Message = abi.StateRetry, codeNoProgress, "the plugin goes round in circles"
			return total, nil
		}
		t.Cursor = r.Cursor
		if err := e.save(ctx, t, "job.progress", true); err != nil {
			return total, err
		}
	}
	total.State, total.Code, total.Message = abi.StateRetry, codeManyRounds, "more pages than one attempt may take"
	return total, nil
}

// ask calls the plugin about one kind, from where its last partial answer ended.
func (e *Engine) ask(ctx context.Context, t *task) abi.KindResult {
	kind := abi.Kind(t.Kind)
	req := e.request(t, abi.OpRevoke)
	if t.Cursor != "" {
		req.Cursors = map[abi.Kind]string{kind: t.Cursor}
	}
	res, err := e.o.Revoker.Revoke(ctx, t.Tenant, t.App, req)
	return pick(res, kind, err)
}

// pick finds the answer for kind; what is missing or not understood is not done.
func pick(res abi.Result, kind abi.Kind, err error) abi.KindResult {
	if errors.Is(err, ErrNoPlugin) {
		return abi.KindResult{Kind: kind, State: abi.StateUnsupported, Code: codeNoPlugin, Message: "the app has no plugin"}
	}
	if err != nil {
		return abi.KindResult{Kind: kind, State: abi.StateRetry, Code: abi.CodeNotLoaded, Message: "the plugin could not be called"}
	}
	for _, r := range res.Kinds {
		if r.Kind != kind {
			continue
		}
		switch r.State {
		case abi.StateRevoked, abi.StateNothingToRevoke, abi.StatePartial, abi.StateRetry, abi.StateFailed, abi.StateUnsupported:
			r.Found, r.Count = max(r.Found, 0), max(r.Count, 0)
			return r
		case abi.StateWouldRevoke:
		}
		return abi.KindResult{Kind: kind, State: abi.StateFailed, Code: abi.CodeContract, Message: "the plugin answered a state that is not known"}
	}
	return abi.KindResult{Kind: kind, State: abi.StateRetry, Code: abi.CodeNotReported, Message: "the plugin did not report this kind"}
}

// record adds what one call did. Found counts a credential once, however often it
// was listed before it was gone.
func (e *Engine) record(t *task, r abi.KindResult) {
	t.Found = max(t.Found, t.Revoked+max(r.Found, r.Count))
	t.Revoked += r.Count
	for _, ev := range r.Evidence {
		if len(t.Evidence) < maxEvidence {
			t.Evidence = append(t.Evidence, store.JobEvidence{ID: clean(ev.ID), Action: clean(ev.Action), Status: ev.Status, At: e.o.Now()})
		}
	}
}

// finish judges the last answer and saves the job. What is revoked keeps its lease
// until it is verified.
func (e *Engine) finish(ctx context.Context, t *task, r abi.KindResult, start time.Time) error {
	now := e.o.Now()
	t.Code, t.Message, t.NextAt = clean(r.Code), clean(r.Message), time.Time{}
	switch r.State {
	case abi.StateRevoked:
		t.State = store.JobRevoked
	case abi.StateNothingToRevoke:
		t.State = store.JobNothingToRevoke
	case abi.StateUnsupported:
		t.State = store.JobUnsupported
	case abi.StateRetry, abi.StatePartial, abi.StateWouldRevoke:
		e.retry(t, r, now)
	case abi.StateFailed:
		t.State = store.JobFailed
		if r.Code == abi.CodeUnauthorized {
			// The application refuses the plugin's own credential: a fault of the
			// configuration. It is alerted at once, and the queue is kept.
			e.retry(t, r, now)
		}
	default:
		t.State = store.JobFailed
	}
	if t.Terminal() && t.Done.IsZero() {
		t.Done = now
	}
	e.m.attempts.WithLabelValues(t.Tenant, t.App, t.Kind, string(t.State)).Inc()
	level := slog.LevelInfo
	if t.State == store.JobFailed || r.Code == abi.CodeUnauthorized || r.Code == abi.CodeSecretUnreadable {
		level = slog.LevelError
		e.m.alerts.WithLabelValues(t.Tenant, t.App, alertCode(t, r)).Inc()
	}
	e.o.Logger.LogAttrs(ctx, level, "revocation",
		slog.String("tenant", t.Tenant), slog.String("app", t.App), slog.String("user", t.UserID), slog.String("kind", t.Kind),
		slog.String("state", string(t.State)), slog.String("code", t.Code), slog.Int("attempt", t.Attempts), slog.Int("revoked", t.Revoked),
		slog.Duration("took", now.Sub(start)))
	return e.save(ctx, t, "job.result", e.wantsProbe(t))
}

// alertCode is the label of an alert: a plugin's own codes are unbounded, so they
// count as "failed".
func alertCode(t *task, r abi.KindResult) string {
	switch {
	case r.Code == abi.CodeUnauthorized, r.Code == abi.CodeSecretUnreadable, r.Code == abi.CodeContract, r.Code == abi.CodeEgressDenied:
		return r.Code
	case t.State == store.JobFailed && r.State == abi.StateRetry:
		return "gave_up"
	}
	return "failed"
}
