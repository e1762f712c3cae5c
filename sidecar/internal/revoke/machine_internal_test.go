package revoke

import (
	"strings"
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

// describe returns a task and the effects of its last event as text.
func describe(t *task, eff effects) string {
	out := []string{string(t.State)}
	add := func(text string, when bool) {
		if when {
			out = append(out, text)
		}
	}
	add("verified", t.Verified)
	add("code "+t.Code, t.Code != "")
	add("due "+t.NextAt.Sub(start).String(), !t.NextAt.IsZero())
	add("leased", t.leased())
	add("ask", eff.ask)
	add("verify", eff.verify)
	add("alert "+eff.alert, eff.alert != "")
	return strings.Join(out, ", ")
}

// heldTask is a deletion that waits for an operator.
func heldTask() task {
	return task{Job: store.Job{
		Kind: string(abi.KindAccount), State: store.JobHeld, Event: abi.EventDeleted, Received: start, Created: start,
		Hold: &store.Hold{Rule: "policy/legal", Since: start},
	}}
}

// TestTransitions follows the table of the package documentation.
func TestTransitions(t *testing.T) {
	const late = 73 * time.Hour
	free := func(state store.JobState) task {
		return task{Job: store.Job{
			Kind: string(abi.KindPAT), State: state, Event: abi.EventDeactivated, Received: start, Created: start, NextAt: start,
		}}
	}
	running, revoked := free(store.JobRunning), free(store.JobRevoked)
	running.extendLease(at(0))
	revoked.extendLease(at(0))
	account, enabling, samePage := running, running, running
	account.Kind, enabling.Kind, enabling.Event = string(abi.KindAccount), string(abi.KindAccount), abi.EventReactivated
	samePage.Cursor = "b"
	lastPage, lastList, secondList := running, running, running
	lastPage.pages, lastList.lists, secondList.empty = maxPages-1, maxLists-1, 1
	answer := func(state abi.State, code string) answered {
		return answered{result: abi.KindResult{State: state, Code: code}}
	}
	stopping := func(a answered) answered { a.stopping = true; return a }
	page := answered{result: abi.KindResult{State: abi.StatePartial, Cursor: "b"}}
	found := answered{result: abi.KindResult{State: abi.StateRevoked, Found: 1, Count: 1}}
	empty := answer(abi.StateNothingToRevoke, "")
	tests := []struct {
		name  string
		task  task
		event event
		after time.Duration // since the request
		want  string
	}{
		{"approve", heldTask(), approved{store.Cause{}}, 0, "pending, due 0s"},
		{"reject", heldTask(), rejected{store.Cause{}}, 0, "closed, code not_approved"},
		{"approved, name taken", free(store.JobRetrying), nameTaken{"heir"}, 0, "closed, code name_taken"},
		{"lease pending", free(store.JobPending), leased{}, 0, "running, due 30s, leased, ask"},
		{"lease retrying", free(store.JobRetrying), leased{}, 0, "running, due 30s, leased, ask"},
		{"lease expired", running, leased{}, time.Minute, "running, due 1m30s, leased, ask"},
		{"lease revoked", free(store.JobRevoked), leased{}, 0, "revoked, due 30s, leased, verify"},

		{"next page", running, page, 0, "running, due 30s, leased, ask"},
		{"last page", lastPage, page, 0, "retrying, code too_many_rounds, due 250ms"},
		{"same page", samePage, page, 0, "retrying, code no_progress, due 250ms"},
		{"first empty list", running, empty, 0, "running, due 30s, leased, ask"},
		{"second empty list", secondList, empty, 0, "nothing_to_revoke, due 30s, leased, verify"},
		{"list with a credential", secondList, found, 0, "running, due 30s, leased, ask"},
		{"last list", lastList, found, 0, "retrying, code still_minting, due 250ms"},
		{"account disabled", account, answer(abi.StateRevoked, ""), 0, "revoked, due 30s, leased, verify"},
		{"account unknown", account, empty, 0, "nothing_to_revoke, due 30s, leased, verify"},
		{"account enabled", enabling, answer(abi.StateRevoked, ""), 0, "revoked"},
		{"unsupported", running, answer(abi.StateUnsupported, "no_api"), 0, "unsupported, code no_api"},
		{"retry", running, answer(abi.StateRetry, "app_error"), time.Second, "retrying, code app_error, due 1.25s"},
		{"retry, late", running, answer(abi.StateRetry, "app_error"), late, "failed, code app_error, alert gave_up"},
		{"denied", running, answer(abi.StateFailed, "app_denied"), 0, "retrying, code app_denied, due 250ms, alert app_denied"},
		{"denied, late", running, answer(abi.StateFailed, "app_denied"), late, "failed, code app_denied, alert app_denied"},
		{"failed", running, answer(abi.StateFailed, "odd"), 0, "failed, code odd, alert failed"},
		{"contract", running, answer(abi.StateFailed, "contract"), 0, "failed, code contract, alert contract"},
		{"dry run", running, answer(abi.StateWouldRevoke, ""), 0, "failed, alert failed"},
		{"unknown state", running, answer("splendid", ""), 0, "failed, alert failed"},

		{"stopping, retry", running, stopping(answer(abi.StateRetry, "deadline")), time.Second, "pending, due 1s"},
		{"stopping, next page", running, stopping(page), 0, "pending, due 0s"},
		{"stopping, first empty list", running, stopping(empty), 0, "pending, due 0s"},
		{"stopping, second empty list", secondList, stopping(empty), 0, "nothing_to_revoke, due 30s, leased, verify"},
		{"stopping, unsupported", running, stopping(answer(abi.StateUnsupported, "")), 0, "unsupported"},
		{"stopped while running", running, stopped{}, time.Second, "pending, due 1s"},
		{"stopped before the probe", revoked, stopped{}, time.Second, "revoked, due 1s"},

		{"probed dead", revoked, probed{}, 0, "revoked, verified"},
		{"probed live", revoked, probed{live: 2}, 0, "retrying, code live, due 250ms"},
		{"probed live, late", revoked, probed{live: 2}, late, "failed, code live"},
		{"probe cannot tell", revoked, probed{live: abi.LiveUnknown}, 0, "revoked, due 250ms"},
		{"probe cannot tell, late", revoked, probed{live: abi.LiveUnknown}, late, "unknown, code not_verified"},

		{"rescheduled", free(store.JobPending), rescheduled{start.Add(time.Hour)}, 0, "pending, due 1h0m0s"},
		{"superseded", free(store.JobPending), superseded{}, 0, "nothing_to_revoke, code superseded"},
		{"enabled before the proof", revoked, enabled{}, 0, "unknown, code reactivated"},
		{"retried by hand, failed", free(store.JobFailed), retried{}, time.Second, "pending, due 1s"},
		{"retried by hand, unknown", free(store.JobUnknown), retried{}, time.Second, "pending, due 1s"},
		{"retried by hand, retrying", free(store.JobRetrying), retried{}, time.Second, "retrying, due 1s"},
		{"retried by hand, unproved", free(store.JobRevoked), retried{}, time.Second, "revoked, due 1s"},
		{"closed by hand", free(store.JobFailed), closedByHand{"r"}, 0, "closed, code closed_by_operator"},
		{"clock set back", running, clockSetBack{}, 0, "pending, due 0s"},
		{"clock set back, retrying", free(store.JobRetrying), clockSetBack{}, time.Second, "retrying, due 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.task.Job
			got, eff := next(tt.task, tt.event, at(tt.after))
			if d := describe(&got, eff); d != tt.want {
				t.Errorf("next gives %s, want %s", d, tt.want)
			}
			if d := cmp.Diff(before, tt.task.Job); d != "" {
				t.Errorf("next changed its argument (-before +after):\n%s", d)
			}
		})
	}
}

// TestReactivationIsBlocked: a reactivation runs when no job before it is open, and never
// after another deactivation.
func TestReactivationIsBlocked(t *testing.T) {
	own := store.Job{Event: abi.EventReactivated, State: store.JobPending, Epoch: 1, Created: start, NextAt: start}
	heir := own
	heir.Epoch, heir.After = 0, "leaver"
	lifted, lifted0 := store.Lock{State: store.LockLifted, Epoch: 1}, store.Lock{State: store.LockLifted}
	retrying := store.Job{Event: abi.EventDeactivated, State: store.JobRetrying, NextAt: start.Add(time.Hour)}
	unproved := store.Job{Event: abi.EventDeactivated, State: store.JobRevoked, NextAt: start.Add(time.Hour)}
	soon := retrying
	soon.NextAt = start
	verified := unproved
	verified.Verified = true
	failed, unsupported := store.Job{State: store.JobFailed}, store.Job{State: store.JobUnsupported}
	until := func(d time.Duration) event { return rescheduled{start.Add(d)} }
	tests := []struct {
		name   string
		job    store.Job
		lock   store.Lock
		before []store.Job
		after  time.Duration
		want   event
	}{
		{"no job before", own, lifted, nil, 0, leased{}},
		{"all done", own, lifted, []store.Job{verified, failed, unsupported, own}, 0, leased{}},
		{"one retries", own, lifted, []store.Job{verified, retrying}, 0, until(time.Hour)},
		{"one is due now", own, lifted, []store.Job{retrying, soon}, 0, until(time.Second)},
		{"one retries after the deadline", own, lifted, []store.Job{retrying}, 10 * time.Minute, until(time.Hour)},
		{"one awaits proof", own, lifted, []store.Job{unproved}, 0, until(5 * time.Minute)},
		{"one awaits proof after the deadline", own, lifted, []store.Job{unproved}, 5 * time.Minute, leased{}},
		{"deactivated again", own, store.Lock{State: store.LockLifted, Epoch: 2}, nil, 0, superseded{}},
		{"locked", own, store.Lock{State: store.LockDeactivated, Epoch: 1}, nil, 0, superseded{}},
		{"the leaver's job retries", heir, lifted0, []store.Job{retrying}, 0, until(time.Second)},
		{"the leaver's job retries for long", heir, lifted0, []store.Job{retrying}, 40 * time.Minute, until(45 * time.Minute)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := dueReactivation(&tt.job, tt.lock, tt.before, at(tt.after)); got != tt.want {
				t.Errorf("dueReactivation = %T %[1]v, want %T %[2]v", got, tt.want)
			}
		})
	}
}
