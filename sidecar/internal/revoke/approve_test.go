package revoke_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// held deletes a user whose deletion waits, and returns the id of the user and of the waiting job.
func (r *rig) held(name string) (user, job string) {
	r.t.Helper()
	user = r.user(name)
	r.update("user.delete", func(tx *store.Tx) error {
		return tx.DeleteUserHolding(user, store.Hold{Rule: "policy/legal", Message: "legal hold"})
	})
	for _, a := range r.approvals() {
		if a.User == user {
			return user, a.Job
		}
	}
	r.t.Fatalf("no deletion of %s is held", name)
	return "", ""
}

func (r *rig) approvals() (out []revoke.Approval) {
	r.t.Helper()
	r.view(func(rd *store.Reader) (err error) {
		out, _, err = revoke.Approvals(rd, "acme")
		return err
	})
	return out
}

// jobOf returns a job by its id.
func (r *rig) jobOf(id string) (j store.Job) {
	r.t.Helper()
	r.view(func(rd *store.Reader) (err error) {
		j, err = rd.Job(id)
		return err
	})
	return j
}

// events counts the calls of revoke by event.
func (r *rig) events(event string) (n int) {
	for _, req := range r.app.requests() {
		if req.Op == abi.OpRevoke && req.Event != nil && req.Event.Type == event {
			n++
		}
	}
	return n
}

func (r *rig) decide(who string, approve bool) ([]revoke.JobRef, error) {
	return r.e.Decide(r.t.Context(), "acme", byOperator("deletion.decide"), who, approve)
}

// TestHeldDeletionWaits: the credentials of a user whose deletion is held are revoked and verified, and the account is
// disabled. The application hears of no deletion until an operator approves it, whatever else the operator tries.
func TestHeldDeletionWaits(t *testing.T) {
	r := newRig(t)
	r.app.set(func(a *app) { a.has[abi.KindPAT] = 2 })
	r.engine(nil)
	user, job := r.held("ada")
	r.await("the revocation", r.settled(user, 1))
	if off, status := r.status(user, 1); status != revoke.StatusVerified || !off.Verified {
		t.Errorf("the revocation is %s, want verified: the deletion is no part of it", status)
	}
	if out := r.retry(revoke.Selection{Who: user}); out.Jobs != 0 {
		t.Errorf("retry %+v, want nothing", out)
	}
	var not *revoke.NotClosableError
	if _, err := r.e.Close(t.Context(), "acme", byOperator("operator.close"), job); !errors.As(err, &not) {
		t.Errorf("close: %v, want a refusal", err)
	}
	if n := r.events(abi.EventDeleted); n != 0 || r.jobOf(job).State != store.JobHeld {
		t.Errorf("%d calls of the deletion, job %s; want none and held", n, r.jobOf(job).State)
	}
	d := r.report(user).Offboardings[0].Deletions
	if len(d) != 1 || d[0].Status != revoke.StatusHeld || d[0].Verified || d[0].Rule != "policy/legal" {
		t.Errorf("the report says %+v, want a held deletion", d)
	}
	r.clock.Add(2 * time.Minute) // the metric is counted every minute
	r.await("the metric", func() bool { return r.metric("scimward_revocation_held_deletions") == 1 })

	if refs, err := r.decide("ADA", true); err != nil || len(refs) != 1 || refs[0].Job != job {
		t.Fatalf("approving: %v %v", refs, err)
	}
	r.await("the deletion", func() bool { return r.jobOf(job).Verified })
	if n := r.events(abi.EventDeleted); n != 1 {
		t.Errorf("%d calls of the deletion, want 1", n)
	}
	d = r.report(user).Offboardings[0].Deletions
	if d[0].Status != revoke.StatusVerified || !d[0].Approved || d[0].Reason != "ticket 4711" || d[0].Claimed != "Zoë" {
		t.Errorf("the report says %+v, want the approval and the proof", d)
	}
	if left := r.approvals(); len(left) != 0 {
		t.Errorf("approvals %+v, want none", left)
	}
	if _, err := r.decide(job, false); err == nil {
		t.Error("a deletion that is done was rejected")
	}
}

// TestRejectedDeletion: a rejected deletion never runs and is never shown as done. The account stays disabled.
func TestRejectedDeletion(t *testing.T) {
	r := newRig(t)
	r.engine(nil)
	user, job := r.held("ada")
	r.await("the revocation", r.settled(user, 1))
	if _, err := r.decide(job, false); err != nil {
		t.Fatal(err)
	}
	j := r.jobOf(job)
	const words = "deletion not approved by an operator; account stays disabled: ticket 4711"
	if j.State != store.JobClosed || j.Verified || j.Message != words || j.Terminal() {
		t.Errorf("job %s %q verified %t, want closed for ever", j.State, j.Message, j.Verified)
	}
	if d := r.report(user).Offboardings[0].Deletions[0]; d.Status != revoke.StatusClosed || d.Verified || d.Approved {
		t.Errorf("the report says %+v, want closed by an operator", d)
	}
	var not *revoke.NotDecidableError
	if _, err := r.decide(user, true); !errors.As(err, &not) || !strings.Contains(not.Why, "not approved") {
		t.Errorf("approving afterwards: %v, want a refusal that says why", err)
	}
	if n := r.events(abi.EventDeleted); n != 0 {
		t.Errorf("%d calls of the deletion, want none", n)
	}
}

// TestHeldDeletionOfATakenName: the application knows a leaver and a new user of the same userName by it. So the held
// deletion of the leaver never runs once somebody has the name, and the new user's account is enabled.
func TestHeldDeletionOfATakenName(t *testing.T) {
	r := newRig(t)
	r.engine(nil)
	leaver, job := r.held("ada")
	r.await("the revocation", r.settled(leaver, 1))
	heir := r.userWith("ada", "x-other", "other@example.com")
	j := r.jobOf(job)
	if j.State != store.JobClosed || j.Code != "name_taken" || !strings.Contains(j.Message, heir) {
		t.Errorf("job %s %s %q, want it closed because of the name", j.State, j.Code, j.Message)
	}
	if _, err := r.decide(leaver, true); err == nil {
		t.Error("the deletion of the account of another user was approved")
	}
	r.await("the account of the new user", func() bool { return r.events(abi.EventReactivated) > 0 })
	if n := r.events(abi.EventDeleted); n != 0 {
		t.Errorf("%d calls of the deletion, want none", n)
	}
	if rep, err := r.store.Verify(t.Context()); err != nil || len(rep.Findings) > 0 {
		t.Errorf("store verify: %+v %v", rep.Findings, err)
	}
}

// TestDecidingOnce: of an approval and a rejection at the same time one wins, and the other learns what was decided.
func TestDecidingOnce(t *testing.T) {
	r := newRig(t)
	r.engine(nil)
	for n := range 8 {
		user, job := r.held(fmt.Sprintf("ada%d", n))
		r.await("the revocation", r.settled(user, 1))
		answers := make([]error, 2)
		var both sync.WaitGroup
		for i, approve := range []bool{true, false} {
			both.Go(func() { _, answers[i] = r.decide(user, approve) })
		}
		both.Wait()
		var not *revoke.NotDecidableError
		lost := errors.Join(answers...)
		if (answers[0] == nil) == (answers[1] == nil) || !errors.As(lost, &not) {
			t.Fatalf("approving: %v, rejecting: %v, want one refusal", answers[0], answers[1])
		}
		j := r.jobOf(job)
		approved := answers[0] == nil
		if j.Hold.Approved != approved || approved == (j.State == store.JobClosed) {
			t.Errorf("job %s %+v, approved %t", j.State, j.Hold, approved)
		}
		if approved {
			r.await("the deletion", func() bool { return r.jobOf(job).Verified })
		}
		if n := r.eventOf(user, abi.EventDeleted); (n >= 0) != approved {
			t.Errorf("the application heard of the deletion: %t, approved %t", n >= 0, approved)
		}
	}
}

// TestNothingElseIsDecided: an approval is about held deletions of the tenant only, not about a revocation, not about a
// user who is active, and not about a job of another tenant.
func TestNothingElseIsDecided(t *testing.T) {
	r := newRig(t)
	r.engine(nil)
	user, job := r.held("ada")
	r.await("the revocation", r.settled(user, 1))
	r.user("bob")
	var revocation string
	r.view(func(rd *store.Reader) error {
		jobs, err := rd.AllJobsOf(user)
		for i := range jobs {
			if jobs[i].ID != job {
				revocation = jobs[i].ID
			}
		}
		return err
	})
	for _, who := range []string{revocation, "bob", "nobody", ""} {
		for _, approve := range []bool{true, false} {
			if refs, err := r.decide(who, approve); err == nil {
				t.Errorf("deciding about %q: %+v", who, refs)
			}
		}
	}
	if refs, err := r.e.Decide(t.Context(), "globex", byOperator("deletion.approve"), job, true); err == nil {
		t.Errorf("by another tenant: %+v", refs)
	}
	if j := r.jobOf(job); j.State != store.JobHeld {
		t.Errorf("the job is %s, want held", j.State)
	}
}
