package revoke_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

func (r *rig) reactivations() (n int) {
	for _, c := range r.app.requests() {
		if c.Op == abi.OpRevoke && c.Event.Type == abi.EventReactivated {
			n++
		}
	}
	return n
}

// reactivated reports whether the reactivation of an epoch is complete.
func (r *rig) reactivated(id string, epoch uint64) bool {
	r.t.Helper()
	j := r.jobs(id, epoch)["reactivated"]
	return j.Terminal()
}

// TestReactivationWaits: a reactivation cancels nothing. The account is enabled again when
// every kind is revoked and probed, and then at once.
func TestReactivationWaits(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
		if r.reactivations() > 0 {
			t.Error("a kind is revoked after the account was enabled, want it before")
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	id := r.leaver("ada")
	r.setActive(id, true)
	r.engine(nil)
	r.await("the first attempt", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
	r.await("rescheduling of the reactivation", func() bool {
		return r.jobs(id, 1)["reactivated"].NextAt.After(r.clock.Now())
	})
	if n := r.reactivations(); n != 0 {
		t.Fatalf("%d calls enabled the account before the tokens were revoked, want none", n)
	}
	r.clock.Add(15 * time.Second)
	r.await("the reactivation", func() bool { return r.reactivated(id, 1) })
	if o := r.offboarding(id, 1); o.SettledAt.IsZero() {
		t.Error("enabled before the verification, want it after")
	}
	if j := r.jobs(id, 1)["reactivated"]; j.State != store.JobRevoked || !j.NextAt.IsZero() || r.reactivations() != 1 {
		t.Errorf("reactivation %s, due %v, %d calls; want revoked, never, 1", j.State, j.NextAt, r.reactivations())
	}
	before := len(r.app.requests())
	r.clock.Add(time.Hour)
	<-r.clock.reads(100)
	if n := len(r.app.requests()); n != before {
		t.Errorf("%d more calls after the reactivation, want none", n-before)
	}
}

// TestSupersededReactivationIsClosed: if the user is deactivated again, the reactivation that
// waited must not enable the account.
func TestSupersededReactivationIsClosed(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.setActive(id, true)
	r.setActive(id, false)
	r.engine(nil)
	r.await("proof of both", func() bool { return r.settled(id, 1)() && r.settled(id, 2)() })
	r.await("the end of the reactivation", func() bool { return r.reactivated(id, 1) })
	if j := r.jobs(id, 1)["reactivated"]; j.Code != "superseded" || !j.NextAt.IsZero() {
		t.Errorf("reactivation: %s %q due %v, want superseded", j.State, j.Code, j.NextAt)
	}
	if n := r.reactivations(); n != 0 {
		t.Errorf("the account of a deactivated user was enabled %d times, want 0", n)
	}
}

// TestOldEpochBlocksReactivation: a retry of the first deactivation would disable the account
// that the second reactivation enabled.
func TestOldEpochBlocksReactivation(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindAccount] = func(_ context.Context, _ int, req abi.Request) (abi.KindResult, error) {
		first := req.Event.Type == abi.EventDeactivated && strings.HasSuffix(req.Event.ID, "-1")
		if first && r.clock.Now().Minute() == 0 {
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
		return abi.KindResult{State: abi.StateRevoked}, nil
	}
	id := r.leaver("ada")
	r.setActive(id, true)
	r.setActive(id, false)
	r.setActive(id, true)
	r.engine(nil)
	r.await("proof of the second epoch", r.settled(id, 2))
	if n := r.reactivations(); n != 0 {
		t.Fatalf("enabled %d times while the first epoch retries, want 0", n)
	}
	r.clock.Add(time.Minute)
	r.await("the reactivation", func() bool { return r.reactivated(id, 2) })
	calls := r.app.requests()
	for i := len(calls) - 1; i >= 0; i-- {
		if calls[i].Kinds[0] == abi.KindAccount && calls[i].Op == abi.OpRevoke {
			if calls[i].Event.Type != abi.EventReactivated {
				t.Error("the last call about the account disables it, want it enabled")
			}
			break
		}
	}
}

// TestReactivationDoesNotWaitForProofForEver: if no probe gives an answer, the reactivation waits for one
// deadline only. The unverified kinds stay unknown.
func TestReactivationDoesNotWaitForProofForEver(t *testing.T) {
	r := newRig(t)
	r.app.verify = func(abi.Request) (abi.VerifyResult, error) { return abi.VerifyResult{}, errApp }
	id := r.leaver("ada")
	r.setActive(id, true)
	r.engine(nil)
	r.await("a probe", func() bool { return len(r.job(id, abi.KindPAT).Probes) > 0 })
	if r.reactivations() != 0 {
		t.Fatalf("enabled %d times without waiting for proof, want 0", r.reactivations())
	}
	r.clock.Add(5*time.Minute + time.Second)
	r.await("the reactivation", func() bool { return r.reactivated(id, 1) })
	for k, j := range r.jobs(id, 1) {
		if k != "reactivated" && (j.State != store.JobUnknown || j.Verified || !j.NextAt.IsZero()) {
			t.Errorf("%s: %s, verified %v, due %v; want unknown, false, never", k, j.State, j.Verified, j.NextAt)
		}
	}
	r.await("the breach", func() bool { return r.offboarding(id, 1).Breached })
	if o := r.offboarding(id, 1); !o.SettledAt.IsZero() {
		t.Errorf("offboarding %+v: want not verified", o)
	}
}

// TestRepeatedDeactivationRetries: another deactivation retries the failed kinds, and no
// verified one.
func TestRepeatedDeactivationRetries(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateFailed, Code: "no"})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the failure", func() bool {
		return r.job(id, abi.KindPAT).State == store.JobFailed && r.job(id, abi.KindWebSession).Verified
	})
	before := len(r.app.requests())
	r.app.set(func(a *app) { delete(a.revoke, abi.KindPAT) })
	r.clock.Add(time.Minute)
	r.update("user.patch", func(tx *store.Tx) error { return tx.RetryJobs(id) })
	r.await("proof", r.settled(id, 1))
	for _, c := range r.app.requests()[before:] {
		if len(c.Kinds) != 1 || c.Kinds[0] != abi.KindPAT {
			t.Errorf("%s of %v was called again, want only pat", c.Op, c.Kinds)
		}
	}
	if o := r.offboarding(id, 1); o.Breached || r.job(id, abi.KindPAT).Attempts != 2 {
		t.Errorf("breached %v, attempts %d; want no breach and 2", o.Breached, r.job(id, abi.KindPAT).Attempts)
	}
}

// TestDeletedUser: the user is gone when the jobs run, so the jobs have a copy of the names.
func TestDeletedUser(t *testing.T) {
	r := newRig(t)
	id := r.user("ada")
	r.app.has[abi.KindSSHKey] = 1
	r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	r.engine(nil)
	r.await("proof", r.settled(id, 1))
	for _, c := range r.app.requests() {
		if c.Event.Type != abi.EventDeleted || c.Subject.UserName != "ada" || c.Subject.ExternalID != "x-ada" ||
			len(c.Subject.Emails) != 1 {
			t.Errorf("call about %+v after %s, want the deletion with every name", c.Subject, c.Event.Type)
		}
	}
}

// TestNewUserOfANameWaits: if a user is created with the userName of a leaver, the application's
// account is enabled when the leaver's jobs are complete, however long that takes.
func TestNewUserOfANameWaits(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
		if r.reactivations() > 0 {
			t.Error("a kind is revoked after the account was enabled, want it before")
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	leaver := r.user("ada")
	r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(leaver) })
	again := r.user("ada")
	inherited := func() (j store.Job) {
		r.view(func(rd *store.Reader) error {
			jobs, err := rd.AllJobsOf(again)
			if len(jobs) > 0 {
				j = jobs[0]
			}
			return err
		})
		return j
	}
	r.engine(nil)
	r.await("the first attempt", func() bool { return r.job(leaver, abi.KindPAT).State == store.JobRetrying })
	r.await("rescheduling of the reactivation", func() bool { return inherited().NextAt.After(r.clock.Now()) })
	if n := r.reactivations(); n != 0 {
		t.Fatalf("%d calls enabled the account before the leaver's tokens were revoked, want none", n)
	}
	r.clock.Add(15 * time.Second)
	r.await("the leaver's proof", r.settled(leaver, 1))
	r.clock.Add(15 * time.Second)
	r.await("the reactivation", func() bool { j := inherited(); return j.Terminal() && j.NextAt.IsZero() })
	if j := inherited(); j.State != store.JobRevoked || r.reactivations() != 1 {
		t.Errorf("job %s, %d calls; want revoked, 1", j.State, r.reactivations())
	}
	if o := r.offboarding(leaver, 1); o.SettledAt.IsZero() {
		t.Error("enabled before the leaver was verified, want it after")
	}
}
