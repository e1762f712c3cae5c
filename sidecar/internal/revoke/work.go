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
	holdBack    = 5 * time.Second // a reactivation behind an unfinished deactivation
)

// work claims every due job of u and drives each as far as it goes now.
func (e *Engine) work(ctx context.Context, u unit) error {
	jobs, err := e.claim(ctx, u)
	if err != nil || len(jobs) == 0 {
		return err
	}
	for i := range jobs {
		j := &jobs[i]
		if ctx.Err() != nil {
			err = errors.Join(err, e.giveBack(ctx, j))
			continue
		}
		if !j.Terminal() {
			err = errors.Join(err, e.revoke(ctx, j))
		}
	}
	return errors.Join(err, e.verify(ctx, u, jobs), e.closeUp(ctx, jobs))
}

// position is the place of a kind in the order of revocation; an unknown kind
// comes last.
func position(kind string) int {
	if i := slices.Index(abi.Order(), abi.Kind(kind)); i >= 0 {
		return i
	}
	return len(abi.Order())
}

// claim leases the due jobs of u in one record and returns them in order. The
// version it returns is the fencing token.
func (e *Engine) claim(ctx context.Context, u unit) ([]store.Job, error) {
	var jobs []store.Job
	seq, err := e.o.Store.Update(ctx, u.tenant, e.cause("job.claim", "claim-"+u.user), func(tx *store.Tx) error {
		jobs = jobs[:0]
		due, err := tx.DueJobs(e.o.Now(), dueBatch*4)
		if err != nil {
			return fmt.Errorf("reading due jobs: %w", err)
		}
		for _, j := range due {
			if j.App != u.app || j.UserID != u.user {
				continue
			}
			now := e.o.Now()
			if !e.ready(tx, &j) {
				j.NextAt = now.Add(holdBack)
				if err := tx.SaveJob(&j); err != nil {
					return fmt.Errorf("holding back job %s: %w", j.ID, err)
				}
				continue
			}
			j.LeaseOwner, j.LeaseUntil, j.NextAt = e.o.Owner, now.Add(e.o.Lease), now.Add(e.o.Lease)
			if !j.Terminal() {
				j.State = store.JobRunning
				j.Attempts++
			}
			if err := tx.SaveJob(&j); err != nil {
				return fmt.Errorf("claiming job %s: %w", j.ID, err)
			}
			jobs = append(jobs, j)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claiming jobs: %w", err)
	}
	for i := range jobs {
		jobs[i].Version = seq
	}
	slices.SortStableFunc(jobs, func(a, b store.Job) int { return position(a.Kind) - position(b.Kind) })
	return jobs, nil
}

// ready holds the account's re-enabling back until every job of the
// deactivation before it is through, so that reactivation cancels nothing.
func (e *Engine) ready(tx *store.Tx, j *store.Job) bool {
	if j.Event != abi.EventReactivated {
		return true
	}
	others, err := tx.JobsOf(j.UserID, j.Epoch)
	if err != nil {
		return false
	}
	for i := range others {
		o := &others[i]
		if o.App == j.App && o.Event != abi.EventReactivated && !o.Terminal() && o.State != store.JobFailed {
			return false
		}
	}
	return true
}

// save writes j under its fencing token and renews the lease of a job that goes
// on running.
func (e *Engine) save(ctx context.Context, j *store.Job, action string) error {
	// What the application was already told to do is written down even when the
	// process is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if j.State == store.JobRunning {
		j.LeaseUntil = e.o.Now().Add(e.o.Lease)
		j.NextAt = j.LeaseUntil
	} else {
		j.LeaseOwner, j.LeaseUntil = "", time.Time{}
	}
	cause := e.cause(action, "job-"+j.ID)
	cause.Attrs = []string{j.App, j.Kind, string(j.State)}
	seq, err := e.o.Store.Update(ctx, j.Tenant, cause, func(tx *store.Tx) error {
		row := *j
		return tx.SaveJob(&row)
	})
	if err != nil {
		return fmt.Errorf("saving job %s: %w", j.ID, err)
	}
	j.Version = seq
	return nil
}

// giveBack returns a claimed job that was not started.
func (e *Engine) giveBack(ctx context.Context, j *store.Job) error {
	if !j.Terminal() {
		j.State = store.JobPending
		j.Attempts--
	}
	j.NextAt = e.o.Now()
	return e.save(ctx, j, "job.release")
}

func (e *Engine) request(j *store.Job, op abi.Op) abi.Request {
	return abi.Request{
		ABI: "1.0", Op: op, RequestID: j.ID, IdempotencyKey: j.ID, Attempt: j.Attempts,
		Tenant: j.Tenant, App: j.App, Kinds: []abi.Kind{abi.Kind(j.Kind)},
		Event:   &abi.Event{Type: j.Event, ID: fmt.Sprintf("%s-%d", j.UserID, j.Epoch), OccurredAt: j.Created},
		Subject: subject(j),
	}
}

func subject(j *store.Job) *abi.Subject {
	return &abi.Subject{SCIMID: j.Subject.SCIMID, ExternalID: j.Subject.ExternalID, UserName: j.Subject.UserName, Emails: j.Subject.Emails}
}

// revoke lists and deletes until two lists in a row were empty, and saves where
// it ended.
func (e *Engine) revoke(ctx context.Context, j *store.Job) error {
	start := e.o.Now()
	info, loaded := e.o.Revoker.Info(j.Tenant, j.App)
	if loaded {
		j.Plugin = store.JobPlugin{Name: info.Name, Version: info.Version, Digest: info.Digest}
	}
	if loaded && !slices.Contains(info.Kinds, abi.Kind(j.Kind)) {
		return e.finish(ctx, j, abi.KindResult{State: abi.StateUnsupported, Code: "not_in_plugin", Message: "the plugin does not handle this kind"}, start)
	}
	empty, found := 0, false
	for range maxSweeps {
		r := e.call(ctx, j)
		if r.Found > 0 || r.Count > 0 {
			found = true
		}
		switch {
		case r.State == abi.StateNothingToRevoke, r.State == abi.StateRevoked && r.Found == 0 && r.Count == 0:
			empty++
		case r.State == abi.StateRevoked:
			empty = 0
		default:
			return e.finish(ctx, j, r, start)
		}
		// The account is a switch, not a list: once set it stays set.
		if empty >= 2 || abi.Kind(j.Kind) == abi.KindAccount {
			if found || j.Revoked > 0 || abi.Kind(j.Kind) == abi.KindAccount {
				r.State = abi.StateRevoked
			}
			return e.finish(ctx, j, r, start)
		}
		if err := e.save(ctx, j, "job.progress"); err != nil {
			return err
		}
	}
	return e.finish(ctx, j, abi.KindResult{State: abi.StateRetry, Code: "still_minting", Message: "credentials kept appearing during the sweep"}, start)
}

// call asks the plugin once for one kind, following partial answers, and adds
// what it did to j.
func (e *Engine) call(ctx context.Context, j *store.Job) abi.KindResult {
	total := abi.KindResult{Kind: abi.Kind(j.Kind)}
	for range maxRounds {
		req := e.request(j, abi.OpRevoke)
		if j.Cursor != "" {
			req.Cursors = map[abi.Kind]string{abi.Kind(j.Kind): j.Cursor}
		}
		res, err := e.o.Revoker.Revoke(ctx, j.Tenant, j.App, req)
		r := pick(res, abi.Kind(j.Kind), err)
		e.record(j, r)
		total.Found += r.Found
		total.Count += r.Count
		total.State, total.Code, total.Message, total.RetryAfterMS = r.State, r.Code, r.Message, r.RetryAfterMS
		j.Cursor = r.Cursor
		if r.State != abi.StatePartial {
			j.Cursor = ""
			return total
		}
	}
	total.State, total.Code, total.Message = abi.StateRetry, "too_many_rounds", "more pages than one attempt may take"
	return total
}

// pick finds the answer for kind; what is missing or not understood is not done.
func pick(res abi.Result, kind abi.Kind, err error) abi.KindResult {
	if errors.Is(err, ErrNoPlugin) {
		return abi.KindResult{Kind: kind, State: abi.StateUnsupported, Code: "no_plugin", Message: "the app has no plugin"}
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
			return r
		case abi.StateWouldRevoke:
		}
		return abi.KindResult{Kind: kind, State: abi.StateFailed, Code: abi.CodeContract, Message: "the plugin answered a state that is not known"}
	}
	return abi.KindResult{Kind: kind, State: abi.StateRetry, Code: abi.CodeNotReported, Message: "the plugin did not report this kind"}
}

// record adds what one call did.
func (e *Engine) record(j *store.Job, r abi.KindResult) {
	j.Found += r.Found
	j.Revoked += r.Count
	for _, ev := range r.Evidence {
		if len(j.Evidence) < maxEvidence {
			j.Evidence = append(j.Evidence, store.JobEvidence{ID: ev.ID, Action: ev.Action, Status: ev.Status, At: e.o.Now()})
		}
	}
}

// finish judges the last answer and saves the job.
func (e *Engine) finish(ctx context.Context, j *store.Job, r abi.KindResult, start time.Time) error {
	now := e.o.Now()
	j.Code, j.Message = r.Code, r.Message
	switch r.State {
	case abi.StateRevoked:
		j.State, j.NextAt = store.JobRevoked, now
	case abi.StateNothingToRevoke:
		j.State, j.NextAt = store.JobNothingToRevoke, now
	case abi.StateUnsupported:
		j.State, j.NextAt = store.JobUnsupported, time.Time{}
		j.EnforcedUntil = j.Created.Add(e.o.Tenants[j.Tenant][j.App])
	case abi.StateFailed:
		if r.Code == abi.CodeUnauthorized {
			// The application refuses the plugin's own credential: a fault of the
			// configuration. It is alerted at once, and the queue is kept.
			e.retry(j, r, now)
			break
		}
		j.State, j.NextAt = store.JobFailed, time.Time{}
	case abi.StateRetry, abi.StatePartial, abi.StateWouldRevoke:
		e.retry(j, r, now)
	default:
		j.State, j.NextAt = store.JobFailed, time.Time{}
	}
	if j.Terminal() && j.Done.IsZero() {
		j.Done = now
	}
	e.m.attempts.WithLabelValues(j.Tenant, j.App, j.Kind, string(j.State)).Inc()
	level := slog.LevelInfo
	if j.State == store.JobFailed || j.Code == abi.CodeUnauthorized {
		level = slog.LevelError
		e.m.alerts.WithLabelValues(j.Tenant, j.App, j.Code).Inc()
	}
	e.o.Logger.LogAttrs(ctx, level, "revocation",
		slog.String("tenant", j.Tenant), slog.String("app", j.App), slog.String("user", j.UserID), slog.String("kind", j.Kind),
		slog.String("state", string(j.State)), slog.String("code", j.Code), slog.Int("attempt", j.Attempts), slog.Int("revoked", j.Revoked),
		slog.Duration("took", now.Sub(start)))
	return e.save(ctx, j, "job.result")
}

// retry puts the job off: full jitter capped at 15 s while the deadline is open,
// so that the promise can still be kept; after that slower, up to an hour. It
// gives up after 72 h, and says so.
func (e *Engine) retry(j *store.Job, r abi.KindResult, now time.Time) {
	if now.Sub(j.Created) > giveUpAfter {
		j.State, j.NextAt = store.JobFailed, time.Time{}
		j.Message = "gave up after 72 hours: " + r.Message
		return
	}
	after := time.Duration(r.RetryAfterMS) * time.Millisecond
	j.State = store.JobRetrying
	j.NextAt = now.Add(backoff(j.Attempts, after, now.Sub(j.Received) < e.o.Deadline, e.o.Jitter))
}

// backoff returns the pause before the next attempt; attempt counts from 1.
func backoff(attempt int, after time.Duration, open bool, jitter func(time.Duration) time.Duration) time.Duration {
	const base, openCap, most = 250 * time.Millisecond, 15 * time.Second, time.Hour
	n := min(max(attempt-1, 0), 20)
	if open {
		return max(after, jitter(min(base<<n, openCap)))
	}
	slow := min((5*time.Second)<<min(n, 10), most)
	return min(max(after, slow/2+jitter(slow/2)), most)
}
