package revoke

import (
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// Codes that the engine itself writes into jobs.
const (
	codeNoPlugin     = "no_plugin"     // the app has no plugin
	codeNotInPlugin  = "not_in_plugin" // the plugin does not handle the kind
	codeStillMinting = "still_minting" // credentials kept appearing between the lists
	codeManyRounds   = "too_many_rounds"
	codeNoProgress   = "no_progress"  // a partial answer revoked nothing and repeated its cursor
	codeLive         = "live"         // a probe found credentials that still work
	codeNotVerified  = "not_verified" // no probe gave an answer within 72 hours
	codeSuperseded   = "superseded"   // the user was deactivated again before the reactivation ran
	codeClosed       = "closed_by_operator"
	codeReactivated  = "reactivated" // the account was enabled again before the verification
)

// Bounds of a job.
const (
	maxPages    = 50 // of one list
	maxLists    = 10 // of one attempt
	maxEvidence = 100
	maxProbes   = 10
	giveUpAfter = 72 * time.Hour
)

// task is a job with the counts of the attempt under way. A worker must not touch a job without a
// lease.
type task struct {
	store.Job
	pages  int // partial answers of this list
	listed int // credentials found or revoked in this list
	lists  int // complete lists
	empty  int // complete lists in a row that were empty
}

func (t *task) leased() bool { return t.LeaseOwner != "" }

func (t *task) extendLease(in env) {
	t.LeaseOwner, t.LeaseUntil = in.owner, in.now.Add(in.lease)
	t.NextAt = t.LeaseUntil
}

// release ends the lease. The job is due again at the time due, or never if due is zero.
func (t *task) release(due time.Time) effects {
	t.LeaseOwner, t.LeaseUntil, t.NextAt = "", time.Time{}, due
	return effects{}
}

// env is the input of the state machine apart from the job and the event.
type env struct {
	now      time.Time
	owner    string        // of a new lease
	lease    time.Duration // length of a new lease
	deadline time.Duration // from the request until everything is verified
	jitter   float64       // in [0, 1), spreads retries
}

// horizon is later than the end of any pause or lease that begins now.
func (in env) horizon() time.Time { return in.now.Add(maxPause + in.lease + in.deadline) }

// event is something that happens to a job.
type event interface {
	apply(t *task, in env) effects
}

// effects tells the worker what to do after the transition. If zero, the worker saves the job and is
// finished with it.
type effects struct {
	ask    bool   // keep the lease and ask the plugin
	verify bool   // keep the lease and probe when all kinds have been asked
	alert  string // code of an alert, may be empty
}

// next applies an event to a job. It is pure. The package documentation has the table.
func next(t task, ev event, in env) (task, effects) {
	eff := ev.apply(&t, in)
	return t, eff
}

// leased: this process acquires the lease of a due job.
type leased struct{}

func (leased) apply(t *task, in env) effects {
	t.extendLease(in)
	if t.Terminal() {
		return effects{verify: true}
	}
	t.State = store.JobRunning
	t.Attempts++
	return effects{ask: true}
}

// rescheduled: a due job may not run before the time at, or a blocked reactivation wakes then.
type rescheduled struct{ at time.Time }

func (ev rescheduled) apply(t *task, _ env) effects {
	t.NextAt = ev.at
	return effects{}
}

// superseded: the user was deactivated again before the reactivation ran.
type superseded struct{}

func (superseded) apply(t *task, in env) effects {
	t.State, t.Code, t.Done = store.JobNothingToRevoke, codeSuperseded, in.now
	t.Message = "the user was deactivated again before the account was enabled"
	return t.release(time.Time{})
}

// enabled: a reactivation starts although no probe has verified this job. From now on a probe cannot
// distinguish old credentials from new ones.
type enabled struct{}

func (enabled) apply(t *task, _ env) effects {
	t.State, t.Code = store.JobUnknown, codeReactivated
	t.Message = "revoked, but not verified before the account was enabled again"
	return t.release(time.Time{})
}

// stopped: the process stops before the job is finished. The attempt does not count.
type stopped struct{}

func (stopped) apply(t *task, in env) effects {
	if !t.Terminal() {
		t.State = store.JobPending
		t.Attempts--
	}
	return t.release(in.now)
}

// clockSetBack: the job was leased or rescheduled by a clock that was ahead.
type clockSetBack struct{}

func (clockSetBack) apply(t *task, in env) effects {
	if t.State == store.JobRunning {
		t.State = store.JobPending
	}
	return t.release(in.now)
}

// answered: the plugin answered one call about the kind.
type answered struct {
	result   abi.KindResult
	stopping bool // the process stops, which may have interrupted the call
}

func (ev answered) apply(t *task, in env) effects {
	r := ev.result
	t.count(r, in.now)
	cursor := t.Cursor
	t.Cursor = "" // the next list starts at its beginning
	more, final := false, r.State == abi.StateUnsupported
	switch r.State {
	case abi.StatePartial:
		r, more = t.addPage(r, cursor)
	case abi.StateRevoked, abi.StateNothingToRevoke:
		r, more = t.endList(r)
		final = !more
	default:
	}
	switch {
	case ev.stopping && !final:
		return stopped{}.apply(t, in)
	case more:
		return effects{ask: true}
	}
	return t.finish(r, in)
}

// addPage counts a partial answer and reports whether the attempt reads another page.
func (t *task) addPage(r abi.KindResult, cursor string) (abi.KindResult, bool) {
	if r.Count == 0 && r.Cursor == cursor {
		r.State, r.Code, r.Message = abi.StateRetry, codeNoProgress, "the plugin returned the same page twice"
		return r, false
	}
	t.Cursor = r.Cursor
	if t.pages++; t.pages < maxPages {
		return r, true
	}
	r.State, r.Code, r.Message = abi.StateRetry, codeManyRounds, "the list has more pages than one attempt may read"
	return r, false
}

// endList counts a complete list and reports whether the attempt reads another one.
func (t *task) endList(r abi.KindResult) (abi.KindResult, bool) {
	t.lists++
	t.empty++
	if t.listed > 0 {
		t.empty = 0
	}
	t.pages, t.listed = 0, 0
	switch {
	case t.Kind == string(abi.KindAccount): // a switch, so one answer is enough
	case t.empty >= 2:
		if t.Revoked > 0 {
			r.State = abi.StateRevoked
		}
	case t.lists >= maxLists:
		const msg = "credentials kept appearing between the lists"
		r = abi.KindResult{State: abi.StateRetry, Code: codeStillMinting, Message: msg}
	default:
		return r, true
	}
	return r, false
}

// count adds the numbers and the evidence of one call. Found counts a credential once, however often
// it was listed before it was gone.
func (t *task) count(r abi.KindResult, now time.Time) {
	t.Found = max(t.Found, t.Revoked+max(r.Found, r.Count))
	t.Revoked += r.Count
	t.listed += r.Found + r.Count
	for _, ev := range r.Evidence[:min(len(r.Evidence), max(maxEvidence-len(t.Evidence), 0))] {
		t.Evidence = append(t.Evidence, store.JobEvidence{ID: ev.ID, Action: ev.Action, Status: ev.Status, At: now})
	}
}

// finish ends an attempt. A job that awaits proof keeps its lease.
func (t *task) finish(r abi.KindResult, in env) effects {
	t.Code, t.Message = r.Code, r.Message
	var due time.Time
	switch {
	case r.State == abi.StateRevoked:
		t.State = store.JobRevoked
	case r.State == abi.StateNothingToRevoke:
		t.State = store.JobNothingToRevoke
	case r.State == abi.StateUnsupported:
		t.State = store.JobUnsupported
	// app_denied: the application refuses the plugin's own credential. The job must run again after an
	// operator has corrected it.
	case r.State == abi.StateRetry, r.Code == abi.CodeUnauthorized:
		due = t.retry(r, in)
	default:
		t.State = store.JobFailed
	}
	if t.Terminal() && t.Done.IsZero() {
		t.Done = in.now
	}
	eff := effects{verify: awaitsProof(&t.Job), alert: alertCode(t.State, r)}
	if !eff.verify {
		t.release(due)
	}
	return eff
}

// alertCode returns the label of an alert, or "" if none is needed. A plugin's own codes are
// unbounded, so they count as "failed".
func alertCode(state store.JobState, r abi.KindResult) string {
	switch {
	case r.Code == abi.CodeUnauthorized, r.Code == abi.CodeSecretUnreadable:
		return r.Code
	case state != store.JobFailed:
		return ""
	case r.Code == abi.CodeContract, r.Code == abi.CodeEgressDenied:
		return r.Code
	case r.State == abi.StateRetry:
		return "gave_up"
	}
	return "failed"
}

// awaitsProof reports whether a probe must still verify the job. A reactivation needs no probe.
func awaitsProof(j *store.Job) bool {
	done := j.State == store.JobRevoked || j.State == store.JobNothingToRevoke
	return done && !j.Verified && j.Event != abi.EventReactivated
}

// retry reschedules the job and returns when it is due. After 72 hours the job fails.
func (t *task) retry(r abi.KindResult, in env) time.Time {
	if in.now.Sub(t.Created) > giveUpAfter {
		t.State, t.Message = store.JobFailed, "gave up after 72 hours: "+r.Message
		return time.Time{}
	}
	t.State = store.JobRetrying
	return in.now.Add(t.pause(t.Attempts, r.RetryAfterMS, in))
}

// probed: a probe looked for credentials of the kind that still work.
type probed struct {
	live   int // number of them, or abi.LiveUnknown
	how    string
	method abi.Method // zero: listed
	with   abi.Kind
}

func (ev probed) apply(t *task, in env) effects {
	p := store.JobProbe{
		At: in.now, Live: max(ev.live, 0), How: ev.how, Method: string(ev.method), With: string(ev.with),
	}
	var due time.Time
	switch {
	case ev.live < 0 && in.now.Sub(t.Created) > giveUpAfter:
		p.Result = "unknown"
		t.State, t.Code = store.JobUnknown, codeNotVerified
		t.Message = "revoked, but for 72 hours no probe could tell whether the credentials are dead"
	case ev.live < 0:
		p.Result = "unknown"
		due = in.now.Add(t.pause(len(t.Probes)+1, 0, in))
	case ev.live > 0:
		p.Result = "live"
		t.Done, t.Code, t.Message = time.Time{}, codeLive, "the probe found credentials that still work"
		due = t.retry(abi.KindResult{Message: t.Message}, in)
	default:
		p.Result = "dead"
		t.Verified, t.VerifiedAt = true, in.now
	}
	t.Probes = append(t.Probes, p)
	t.Probes = t.Probes[max(len(t.Probes)-maxProbes, 0):]
	return t.release(due)
}

// Bounds of a pause between two attempts.
const (
	minPause   = 100 * time.Millisecond
	firstPause = 250 * time.Millisecond
	openPause  = 15 * time.Second // maximum while the deadline can still be met
	maxPause   = time.Hour
)

// pause returns how long to wait after the given attempt, counted from 1. Until the deadline it is
// random (full jitter) below a limit that doubles up to 15 s, so that the deadline can still be met.
// Afterwards it is about a quarter of the time since the deadline, up to an hour. The application may
// ask for a longer pause, up to an hour.
func (t *task) pause(attempt int, retryAfterMS int64, in env) time.Duration {
	part := func(d time.Duration) time.Duration { return time.Duration(float64(d) * in.jitter) }
	late := in.now.Sub(t.Received) - in.deadline
	d := part(min(firstPause<<min(max(attempt-1, 0), 20), openPause))
	if late >= 0 {
		slow := min(max(late/4, openPause), maxPause)
		d = slow/2 + part(slow/2)
	}
	asked := time.Duration(min(max(retryAfterMS, 0), maxPause.Milliseconds())) * time.Millisecond
	return min(max(d, asked, minPause), maxPause)
}
