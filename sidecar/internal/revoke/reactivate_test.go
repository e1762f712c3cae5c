package revoke_test

import (
	"context"
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

// through reports whether the reactivation of an epoch is done with.
func (r *rig) through(id string, epoch uint64) bool {
	r.t.Helper()
	j := r.jobs(id, epoch)["reactivated"]
	return j.Terminal()
}

// TestReactivationWaits: it cancels nothing: the account is enabled again only
// after everything that was to be revoked is revoked and probed (revocation §1.1
// row 12), and then at once.
func TestReactivationWaits(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
		if r.reactivations() > 0 {
			t.Error("revoking goes on after the account was enabled")
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	id := r.leaver("ada")
	r.setActive(id, true)
	r.engine(nil)
	r.await("the first attempt", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
	r.await("the reactivation to be put off", func() bool { return r.jobs(id, 1)["reactivated"].NextAt.After(r.clock.Now()) })
	if n := r.reactivations(); n != 0 {
		t.Fatalf("asked to enable the account %d times before the tokens were gone", n)
	}
	r.clock.Add(15 * time.Second)
	r.await("the reactivation", func() bool { return r.through(id, 1) })
	if o := r.offboarding(id, 1); o.VerifiedAt.IsZero() {
		t.Error("enabled before everything was verified")
	}
	if j := r.jobs(id, 1)["reactivated"]; j.State != store.JobRevoked || !j.NextAt.IsZero() || r.reactivations() != 1 {
		t.Errorf("reactivation %s, due %v, asked %d times; want done, never, once", j.State, j.NextAt, r.reactivations())
	}
	before := len(r.app.requests())
	r.clock.Add(time.Hour)
	<-r.clock.after(100)
	if n := len(r.app.requests()); n != before {
		t.Errorf("%d more questions after the reactivation", n-before)
	}
}

// TestOvertakenReactivationIsClosed: a reactivation that waited while the user was
// deactivated again must not enable the account behind the second deactivation.
func TestOvertakenReactivationIsClosed(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.setActive(id, true)
	r.setActive(id, false)
	r.engine(nil)
	r.await("proof of both", func() bool { return r.verified(id, 1)() && r.verified(id, 2)() })
	r.await("the reactivation to be closed", func() bool { return r.through(id, 1) })
	if j := r.jobs(id, 1)["reactivated"]; j.Code != "superseded" || !j.NextAt.IsZero() {
		t.Errorf("reactivation: %s %q due %v, want superseded", j.State, j.Code, j.NextAt)
	}
	if n := r.reactivations(); n != 0 {
		t.Errorf("the account of a deactivated user was enabled %d times", n)
	}
}

// TestOldEpochHoldsReactivationBack: a retry of the first deactivation would
// disable the account that the second reactivation enabled.
func TestOldEpochHoldsReactivationBack(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindAccount] = func(_ context.Context, _ int, req abi.Request) (abi.KindResult, error) {
		if req.Event.Type == abi.EventDeactivated && req.Event.ID[len(req.Event.ID)-2:] == "-1" && r.clock.Now().Minute() == 0 {
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
		return abi.KindResult{State: abi.StateRevoked}, nil
	}
	id := r.leaver("ada")
	r.setActive(id, true)
	r.setActive(id, false)
	r.setActive(id, true)
	r.engine(nil)
	r.await("the second epoch", r.verified(id, 2))
	if n := r.reactivations(); n != 0 {
		t.Fatalf("enabled %d times while the first epoch retries", n)
	}
	r.clock.Add(time.Minute)
	r.await("the reactivation", func() bool { return r.through(id, 2) })
	calls := r.app.requests()
	for i := len(calls) - 1; i >= 0; i-- {
		if calls[i].Kinds[0] == abi.KindAccount && calls[i].Op == abi.OpRevoke {
			if calls[i].Event.Type != abi.EventReactivated {
				t.Error("the last word about the account is to disable it")
			}
			break
		}
	}
}

// TestReactivationDoesNotWaitForProofForEver: an application that cannot say keeps
// nobody out for longer than the deadline; what was not proved stays unknown.
func TestReactivationDoesNotWaitForProofForEver(t *testing.T) {
	r := newRig(t)
	r.app.verify = func(abi.Request) (abi.VerifyResult, error) { return abi.VerifyResult{}, errApp }
	id := r.leaver("ada")
	r.setActive(id, true)
	r.engine(nil)
	r.await("a probe", func() bool { return len(r.job(id, abi.KindPAT).Probes) > 0 })
	if r.reactivations() != 0 {
		t.Fatal("enabled without waiting for proof")
	}
	r.clock.Add(5*time.Minute + time.Second)
	r.await("the reactivation", func() bool { return r.through(id, 1) })
	for k, j := range r.jobs(id, 1) {
		if k != "reactivated" && (j.State != store.JobUnknown || j.Verified || !j.NextAt.IsZero()) {
			t.Errorf("%s: %s, verified %v, due %v; want unknown for good", k, j.State, j.Verified, j.NextAt)
		}
	}
	r.await("the breach", func() bool { return r.offboarding(id, 1).Breached })
	if o := r.offboarding(id, 1); !o.VerifiedAt.IsZero() {
		t.Errorf("offboarding %+v: want not verified", o)
	}
}

// TestRepeatedDeactivationRedrives: the enterprise asking again drives what failed,
// and nothing that is verified (revocation §1.1 row 11).
func TestRepeatedDeactivationRedrives(t *testing.T) {
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
	r.await("proof", r.verified(id, 1))
	for _, c := range r.app.requests()[before:] {
		if len(c.Kinds) != 1 || c.Kinds[0] != abi.KindPAT {
			t.Errorf("asked %s of %v again", c.Op, c.Kinds)
		}
	}
	if o := r.offboarding(id, 1); o.Breached || r.job(id, abi.KindPAT).Attempts != 2 {
		t.Errorf("breached %v, attempts %d; want no breach and 2", o.Breached, r.job(id, abi.KindPAT).Attempts)
	}
}

// TestDeletedUser: the row is gone when the jobs run; they carry the subject.
func TestDeletedUser(t *testing.T) {
	r := newRig(t)
	id := r.user("ada")
	r.app.held[abi.KindSSHKey] = 1
	r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	r.engine(nil)
	r.await("proof", r.verified(id, 1))
	for _, c := range r.app.requests() {
		if c.Event.Type != abi.EventDeleted || c.Subject.UserName != "ada" || c.Subject.ExternalID != "x-ada" || len(c.Subject.Emails) != 1 {
			t.Errorf("asked about %+v after %s", c.Subject, c.Event.Type)
		}
	}
}

// TestNewHolderWaitsForTheLeaver: whoever is created with a leaver's userName gets
// the application's account enabled after the leaver's work is through, and not
// before, however long that takes.
func TestNewHolderWaitsForTheLeaver(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n == 1 {
			return abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, nil
		}
		if r.reactivations() > 0 {
			t.Error("revoking goes on after the account was enabled")
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
	r.await("the new holder to be put off", func() bool { return inherited().NextAt.After(r.clock.Now()) })
	if n := r.reactivations(); n != 0 {
		t.Fatalf("asked to enable the account %d times before the leaver's tokens were gone", n)
	}
	r.clock.Add(15 * time.Second)
	r.await("the leaver's proof", r.verified(leaver, 1))
	r.clock.Add(15 * time.Second)
	r.await("the account", func() bool { j := inherited(); return j.Terminal() && j.NextAt.IsZero() })
	if j := inherited(); j.State != store.JobRevoked || r.reactivations() != 1 {
		t.Errorf("job %s, asked %d times; want done, once", j.State, r.reactivations())
	}
	if o := r.offboarding(leaver, 1); o.VerifiedAt.IsZero() {
		t.Error("enabled before everything of the leaver was verified")
	}
}
