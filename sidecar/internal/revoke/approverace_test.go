package revoke_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// TestRunningDeletionOfATakenName: somebody gets the userName while the approved deletion of a leaver runs. The
// application does not take the call. The deletion is not tried again: it would be of the new user's account.
func TestRunningDeletionOfATakenName(t *testing.T) {
	r := newRig(t)
	started, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.app.set(func(a *app) {
		a.revoke[abi.KindAccount] = func(_ context.Context, _ int, req abi.Request) (abi.KindResult, error) {
			if req.Event.Type != abi.EventDeleted {
				return abi.KindResult{State: abi.StateRevoked}, nil
			}
			once.Do(func() { close(started) })
			r.wait(answer)
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
	})
	r.engine(nil)
	leaver, job := r.held("ada")
	r.await("the revocation", r.settled(leaver, 1))
	if _, err := r.decide(leaver, true); err != nil {
		t.Fatal(err)
	}
	r.wait(started)
	r.userWith("ada", "x-other", "other@example.com")
	close(answer)
	r.await("the end of the call", func() bool { j := r.jobOf(job); return j.LeaseOwner == "" })
	r.await("the account of the new user", func() bool { r.clock.Add(time.Minute); return r.events(abi.EventReactivated) > 0 })
	if j := r.jobOf(job); j.State != store.JobClosed || j.Code != "name_taken" {
		t.Errorf("the job is %s %s %q, want it closed because of the name", j.State, j.Code, j.Message)
	}
	if n := r.events(abi.EventDeleted); n != 1 {
		t.Errorf("%d calls of the deletion, want the one that ran", n)
	}
}

// TestApprovalRacesWithTheName: an operator approves a deletion while somebody gets the userName. Whoever comes first,
// the application hears of no deletion after it heard of the new user's account, and the deletion ends.
func TestApprovalRacesWithTheName(t *testing.T) {
	r := newRig(t)
	r.engine(nil)
	const users = 10
	var leavers, jobs []string
	for n := range users {
		leaver, job := r.held(fmt.Sprintf("ada%d", n))
		leavers, jobs = append(leavers, leaver), append(jobs, job)
	}
	for _, leaver := range leavers {
		r.await("the revocation", r.settled(leaver, 1))
	}
	heirs := make([]string, users)
	var all sync.WaitGroup
	for n := range users {
		all.Go(func() { _, _ = r.decide(leavers[n], true) }) // refused if the name is taken
		all.Go(func() {
			heirs[n] = r.userWith(fmt.Sprintf("ada%d", n), fmt.Sprintf("x-heir%d", n), fmt.Sprintf("heir%d@example.com", n))
		})
	}
	all.Wait()
	outcomes := map[string]int{}
	for n, heir := range heirs {
		r.await("the end of the deletion", func() bool {
			j := r.jobOf(jobs[n])
			return j.State == store.JobClosed || j.Verified || j.State == store.JobUnsupported
		})
		r.await("the account of the new user", func() bool {
			r.clock.Add(time.Second) // it waits a little for a deletion that runs
			return r.eventOf(heir, abi.EventReactivated) >= 0
		})
		deleted, enabled := r.eventOf(leavers[n], abi.EventDeleted), r.eventOf(heir, abi.EventReactivated)
		if deleted > enabled {
			t.Errorf("ada%d: the application hears of the deletion after it has enabled the account of %s", n, heir)
		}
		outcomes[fmt.Sprint(r.jobOf(jobs[n]).State)]++
	}
	t.Logf("deletions: %v", outcomes)
	if rep, err := r.store.Verify(t.Context()); err != nil || len(rep.Findings) > 0 {
		t.Errorf("store verify: %+v %v", rep.Findings, err)
	}
}

// eventOf returns the place of the last call about an event of a user among all calls, -1 without one.
func (r *rig) eventOf(user, event string) int {
	calls := r.app.requests()
	for i, req := range slices.Backward(calls) {
		if req.Op == abi.OpRevoke && req.Event != nil && req.Event.Type == event && req.Subject.SCIMID == user {
			return i
		}
	}
	return -1
}
