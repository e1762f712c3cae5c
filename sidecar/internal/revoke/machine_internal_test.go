package revoke

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// at is the world some time after the request, with the longest pauses.
func at(d time.Duration) env {
	return env{now: start.Add(d), owner: "one", lease: 30 * time.Second, deadline: 5 * time.Minute, jitter: 1}
}

// row is what the tests compare of a task and the effects of its last event.
type row struct {
	State   store.JobState
	Code    string
	Due     time.Duration // after the request, negative for never
	Leased  bool
	Effects string
}

func rowOf(t *task, eff effects) row {
	due := time.Duration(-1)
	if !t.NextAt.IsZero() {
		due = t.NextAt.Sub(start)
	}
	return row{t.State, t.Code, due, t.leased(), fmt.Sprintf("ask=%v verify=%v alert=%s", eff.ask, eff.verify, eff.alert)}
}

// TestTransitions follows the table of the package documentation.
func TestTransitions(t *testing.T) {
	const (
		none   = "ask=false verify=false alert="
		ask    = "ask=true verify=false alert="
		verify = "ask=false verify=true alert="
		late   = 73 * time.Hour
	)
	lease := 30 * time.Second
	job := func(kind abi.Kind, state store.JobState) store.Job {
		return store.Job{Kind: string(kind), State: state, Event: abi.EventDeactivated, Received: start, Created: start, NextAt: start}
	}
	held := func(kind abi.Kind, state store.JobState) task {
		j := job(kind, state)
		j.LeaseOwner, j.LeaseUntil, j.NextAt, j.Attempts = "one", start.Add(lease), start.Add(lease), 1
		return task{Job: j}
	}
	running := held(abi.KindPAT, store.JobRunning)
	revoked := held(abi.KindPAT, store.JobRevoked)
	enabling := held(abi.KindAccount, store.JobRunning)
	enabling.Event = abi.EventReactivated
	lastPage, lastList, secondList := running, running, running
	lastPage.pages, lastList.lists, secondList.empty = maxPages-1, maxLists-1, 1
	samePage := running
	samePage.Cursor = "a"
	free := func(state store.JobState) task { return task{Job: job(abi.KindPAT, state)} }
	answer := func(state abi.State, code string) answered {
		return answered{result: abi.KindResult{State: state, Code: code}}
	}
	found := answered{result: abi.KindResult{State: abi.StateRevoked, Found: 1, Count: 1}}
	stopping := func(a answered) answered { a.stopping = true; return a }
	tests := []struct {
		name  string
		task  task
		event event
		after time.Duration
		want  row
	}{
		{"lease pending", free(store.JobPending), leased{}, 0, row{store.JobRunning, "", lease, true, ask}},
		{"lease retrying", free(store.JobRetrying), leased{}, 0, row{store.JobRunning, "", lease, true, ask}},
		{"lease expired", running, leased{}, time.Minute, row{store.JobRunning, "", time.Minute + lease, true, ask}},
		{"lease revoked", free(store.JobRevoked), leased{}, 0, row{store.JobRevoked, "", lease, true, verify}},

		{"next page", running, answered{result: abi.KindResult{State: abi.StatePartial, Cursor: "b"}}, 0, row{store.JobRunning, "", lease, true, ask}},
		{"last page", lastPage, answered{result: abi.KindResult{State: abi.StatePartial, Cursor: "b"}}, 0, row{store.JobRetrying, codeManyRounds, 250 * time.Millisecond, false, none}},
		{"same page", samePage, answered{result: abi.KindResult{State: abi.StatePartial, Cursor: "a"}}, 0, row{store.JobRetrying, codeNoProgress, 250 * time.Millisecond, false, none}},
		{"first empty list", running, answer(abi.StateNothingToRevoke, ""), 0, row{store.JobRunning, "", lease, true, ask}},
		{"second empty list", secondList, answer(abi.StateNothingToRevoke, ""), 0, row{store.JobNothingToRevoke, "", lease, true, verify}},
		{"list with a credential", secondList, found, 0, row{store.JobRunning, "", lease, true, ask}},
		{"last list", lastList, found, 0, row{store.JobRetrying, codeStillMinting, 250 * time.Millisecond, false, none}},
		{"account disabled", held(abi.KindAccount, store.JobRunning), answer(abi.StateRevoked, ""), 0, row{store.JobRevoked, "", lease, true, verify}},
		{"account unknown", held(abi.KindAccount, store.JobRunning), answer(abi.StateNothingToRevoke, ""), 0, row{store.JobNothingToRevoke, "", lease, true, verify}},
		{"account enabled", enabling, answer(abi.StateRevoked, ""), 0, row{store.JobRevoked, "", -1, false, none}},
		{"unsupported", running, answer(abi.StateUnsupported, "no_api"), 0, row{store.JobUnsupported, "no_api", -1, false, none}},
		{"retry", running, answer(abi.StateRetry, abi.CodeAppError), time.Second, row{store.JobRetrying, abi.CodeAppError, 1250 * time.Millisecond, false, none}},
		{"retry, too late", running, answer(abi.StateRetry, abi.CodeAppError), late, row{store.JobFailed, abi.CodeAppError, -1, false, none + "gave_up"}},
		{"app_denied", running, answer(abi.StateFailed, abi.CodeUnauthorized), 0, row{store.JobRetrying, abi.CodeUnauthorized, 250 * time.Millisecond, false, none + abi.CodeUnauthorized}},
		{"failed", running, answer(abi.StateFailed, "odd"), 0, row{store.JobFailed, "odd", -1, false, none + "failed"}},
		{"failed, contract", running, answer(abi.StateFailed, abi.CodeContract), 0, row{store.JobFailed, abi.CodeContract, -1, false, none + abi.CodeContract}},
		{"dry run", running, answer(abi.StateWouldRevoke, ""), 0, row{store.JobFailed, "", -1, false, none + "failed"}},
		{"unknown state", running, answer("splendid", ""), 0, row{store.JobFailed, "", -1, false, none + "failed"}},

		{"stopping, retry", running, stopping(answer(abi.StateRetry, abi.CodeDeadline)), time.Second, row{store.JobPending, "", time.Second, false, none}},
		{"stopping, next page", running, stopping(answered{result: abi.KindResult{State: abi.StatePartial, Cursor: "b"}}), 0, row{store.JobPending, "", 0, false, none}},
		{"stopping, first empty list", running, stopping(answer(abi.StateNothingToRevoke, "")), 0, row{store.JobPending, "", 0, false, none}},
		{"stopping, second empty list", secondList, stopping(answer(abi.StateNothingToRevoke, "")), 0, row{store.JobNothingToRevoke, "", lease, true, verify}},
		{"stopping, unsupported", running, stopping(answer(abi.StateUnsupported, "no_api")), 0, row{store.JobUnsupported, "no_api", -1, false, none}},
		{"stopped while running", running, stopped{}, time.Second, row{store.JobPending, "", time.Second, false, none}},
		{"stopped before the probe", revoked, stopped{}, time.Second, row{store.JobRevoked, "", time.Second, false, none}},

		{"probed dead", revoked, probed{}, 0, row{store.JobRevoked, "", -1, false, none}},
		{"probed live", revoked, probed{live: 2}, 0, row{store.JobRetrying, codeLive, 250 * time.Millisecond, false, none}},
		{"probed live, too late", revoked, probed{live: 2}, late, row{store.JobFailed, codeLive, -1, false, none}},
		{"probe cannot tell", revoked, probed{live: abi.LiveUnknown}, 0, row{store.JobRevoked, "", 250 * time.Millisecond, false, none}},
		{"probe cannot tell, too late", revoked, probed{live: abi.LiveUnknown}, late, row{store.JobUnknown, codeNotVerified, -1, false, none}},

		{"rescheduled", free(store.JobPending), rescheduled{start.Add(time.Hour)}, 0, row{store.JobPending, "", time.Hour, false, none}},
		{"woken", free(store.JobPending), rescheduled{start.Add(time.Second)}, 0, row{store.JobPending, "", time.Second, false, none}},
		{"superseded", free(store.JobPending), superseded{}, 0, row{store.JobNothingToRevoke, codeSuperseded, -1, false, none}},
		{"enabled before the proof", revoked, enabled{}, 0, row{store.JobUnknown, codeReactivated, -1, false, none}},
		{"clock set back", running, clockSetBack{}, 0, row{store.JobPending, "", 0, false, none}},
		{"clock set back, retrying", free(store.JobRetrying), clockSetBack{}, time.Second, row{store.JobRetrying, "", time.Second, false, none}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.task
			got, eff := next(tt.task, tt.event, at(tt.after))
			if d := cmp.Diff(tt.want, rowOf(&got, eff)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if verified := tt.name == "probed dead"; got.Verified != verified {
				t.Errorf("verified %v, want %v", got.Verified, verified)
			}
			if d := cmp.Diff(before.Job, tt.task.Job); d != "" {
				t.Errorf("next changed its argument (-before +after):\n%s", d)
			}
		})
	}
}

// TestReactivationIsBlocked: a reactivation runs when nothing before it is open, and never
// after another deactivation.
func TestReactivationIsBlocked(t *testing.T) {
	own := store.Job{Event: abi.EventReactivated, State: store.JobPending, Epoch: 1, Created: start, NextAt: start}
	heir := own
	heir.Epoch, heir.After = 0, "leaver"
	lifted := store.Lock{State: store.LockLifted, Epoch: 1}
	retrying := store.Job{Event: abi.EventDeactivated, State: store.JobRetrying, NextAt: start.Add(time.Hour)}
	unproved := store.Job{Event: abi.EventDeactivated, State: store.JobRevoked, NextAt: start.Add(time.Hour)}
	soon := retrying
	soon.NextAt = start
	verified := unproved
	verified.Verified = true
	tests := []struct {
		name   string
		job    store.Job
		lock   store.Lock
		before []store.Job
		after  time.Duration
		want   event
	}{
		{"nothing before", own, lifted, nil, 0, leased{}},
		{"all done", own, lifted, []store.Job{verified, {State: store.JobFailed}, {State: store.JobUnsupported}, own}, 0, leased{}},
		{"one retries", own, lifted, []store.Job{verified, retrying}, 0, rescheduled{start.Add(time.Hour)}},
		{"one is due now", own, lifted, []store.Job{retrying, soon}, 0, rescheduled{start.Add(time.Second)}},
		{"one retries after the deadline", own, lifted, []store.Job{retrying}, 10 * time.Minute, rescheduled{start.Add(time.Hour)}},
		{"one awaits proof", own, lifted, []store.Job{unproved}, 0, rescheduled{start.Add(5 * time.Minute)}},
		{"one awaits proof after the deadline", own, lifted, []store.Job{unproved}, 5 * time.Minute, leased{}},
		{"deactivated again", own, store.Lock{State: store.LockLifted, Epoch: 2}, nil, 0, superseded{}},
		{"locked", own, store.Lock{State: store.LockDeactivated, Epoch: 1}, nil, 0, superseded{}},
		{"the leaver's job retries", heir, store.Lock{State: store.LockLifted}, []store.Job{retrying}, 0, rescheduled{start.Add(time.Second)}},
		{"the leaver's job retries for long", heir, store.Lock{State: store.LockLifted}, []store.Job{retrying}, 40 * time.Minute, rescheduled{start.Add(45 * time.Minute)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := dueReactivation(&tt.job, tt.lock, tt.before, at(tt.after)); got != tt.want {
				t.Errorf("%T %[1]v, want %T %[2]v", got, tt.want)
			}
		})
	}
}
