package revoke_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
)

func byOperator(action string) store.Cause {
	return store.Cause{
		Actor: "operator:root", Claimed: "Zoë", Reason: "ticket 4711", RequestID: "op-" + action, Action: action,
		Decision: "operator",
	}
}

// retry asks for jobs again as an operator.
func (r *rig) retry(sel revoke.Selection) revoke.Retried {
	r.t.Helper()
	out, err := r.e.Retry(r.t.Context(), "acme", byOperator("operator.retry"), sel)
	if err != nil {
		r.t.Fatalf("retrying %+v: %v", sel, err)
	}
	return out
}

// failing makes every answer about a kind a failure until mend is called.
func (r *rig) failing(kind abi.Kind, code string) (mend func()) {
	r.app.set(func(a *app) {
		a.revoke[kind] = always(abi.KindResult{State: abi.StateFailed, Code: code, Message: "no"})
	})
	return func() { r.app.set(func(a *app) { delete(a.revoke, kind) }) }
}

// awaitFailed waits until the personal access tokens have failed and the other kinds are verified.
func (r *rig) awaitFailed(id string, epoch uint64) {
	r.t.Helper()
	r.await("the failure of one kind", func() bool {
		for kind, j := range r.jobs(id, epoch) {
			if kind == string(abi.KindPAT) && j.State != store.JobFailed {
				return false
			}
			if kind != string(abi.KindPAT) && kind != "reactivated" && !j.Verified {
				return false
			}
		}
		return true
	})
}

// TestOperatorRetries: an operator's retry runs failed jobs of a deactivated user, of a deleted one and
// of an earlier epoch, by user, by job and for all of the tenant.
func TestOperatorRetries(t *testing.T) {
	tests := map[string]struct {
		before func(r *rig, id string) // after the failure
		sel    func(id, job string) revoke.Selection
	}{
		"deactivated, by user": {nil, func(id, _ string) revoke.Selection { return revoke.Selection{Who: id} }},
		"deactivated, by name": {nil, func(_, _ string) revoke.Selection { return revoke.Selection{Who: "ADA"} }},
		"deactivated, by job":  {nil, func(_, job string) revoke.Selection { return revoke.Selection{Who: job} }},
		"deleted": {func(r *rig, id string) {
			r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(id) })
			r.awaitFailed(id, 2)
		}, func(id, _ string) revoke.Selection { return revoke.Selection{Who: id} }},
		"an earlier epoch": {func(r *rig, id string) {
			r.setActive(id, true)
			r.setActive(id, false)
			r.awaitFailed(id, 2)
		}, func(_, _ string) revoke.Selection { return revoke.Selection{} }},
		"by app and code": {nil, func(_, _ string) revoke.Selection { return revoke.Selection{App: "wiki", Code: "odd"} }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			mend := r.failing(abi.KindPAT, "odd")
			id := r.leaver("ada")
			r.engine(nil)
			r.awaitFailed(id, 1)
			job := r.job(id, abi.KindPAT)
			if tt.before != nil {
				tt.before(r, id)
			}
			if n := r.retry(revoke.Selection{App: "none"}); n.Jobs != 0 {
				t.Errorf("retried %+v of another app, want none", n)
			}
			if n := r.retry(revoke.Selection{Code: "none"}); n.Jobs != 0 {
				t.Errorf("retried %+v with another code, want none", n)
			}
			mend()
			sel := tt.sel(id, job.ID)
			if sel.App != "" {
				sel.App = job.App
			}
			got := r.retry(sel)
			if got.Jobs == 0 || len(got.Skipped) != 0 || !got.Complete || got.Some[0].State != string(store.JobFailed) {
				t.Fatalf("retried %+v, want the failed jobs", got)
			}
			r.await("the proof of epoch 1", func() bool { return r.job(id, abi.KindPAT).Verified })
			r.view(func(rd *store.Reader) error {
				recs, err := rd.AuditOf(id)
				if !slices.ContainsFunc(recs, func(rec audit.Record) bool {
					return rec.Action == "operator.retry" && rec.Actor == "operator:root" && rec.Claimed == "Zoë"
				}) {
					t.Error("the audit trail has no retry of the operator")
				}
				return err
			})
		})
	}
}

// TestOperatorRetrySpares: a retry does not touch the jobs of a user who is active again, of a userName
// that another user has now, and of a job that is verified.
func TestOperatorRetrySpares(t *testing.T) {
	r := newRig(t)
	r.failing(abi.KindPAT, "odd")
	back, gone := r.leaver("ada"), r.leaver("bob")
	r.engine(nil)
	for _, id := range []string{back, gone} {
		r.awaitFailed(id, 1)
	}
	r.setActive(back, true)
	r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(gone) })
	r.awaitFailed(gone, 2)
	heir := r.user("bob")
	got := r.retry(revoke.Selection{})
	if got.Jobs != 0 || got.Skipped[revoke.SkipActive] != 1 || got.Skipped[revoke.SkipTaken] != 2 {
		t.Errorf("retried %+v, want one active and two with a taken name skipped (heir %s)", got, heir)
	}
	l := store.OperatorLock{}
	r.update("operator.lock", func(tx *store.Tx) (err error) {
		l, err = tx.LockByOperator(back, r.clock.Now().Add(lifetime), false)
		return err
	})
	if got := r.retry(revoke.Selection{Who: back}); got.Jobs != 1 || l.User == "" {
		t.Errorf("retried %+v under an operator's lock, want one", got)
	}
	var unknown *revoke.AmbiguousNameError
	_, err := r.e.Retry(t.Context(), "acme", byOperator("operator.retry"), revoke.Selection{Who: "nobody"})
	if !errors.Is(err, revoke.ErrNothingKnown) || errors.As(err, &unknown) {
		t.Errorf("retrying for nobody = %v, want ErrNothingKnown", err)
	}
}

// TestClosedByHand: a closed job is not verified, for ever. The offboarding ends, and no record, report
// or metric says that it is verified. No deactivation and no retry opens it again.
func TestClosedByHand(t *testing.T) {
	r := newRig(t)
	r.failing(abi.KindPAT, "odd")
	id := r.leaver("ada")
	r.engine(nil)
	r.awaitFailed(id, 1)
	ref, err := r.e.Close(t.Context(), "acme", byOperator("operator.close"), r.job(id, abi.KindPAT).ID)
	if err != nil || ref.State != string(store.JobClosed) || ref.User != id {
		t.Fatalf("Close = %+v, %v", ref, err)
	}
	r.await("the end", r.settled(id, 1))
	off, status := r.status(id, 1)
	if status != revoke.StatusClosed || off.Verified || !off.Closed {
		t.Errorf("%+v, status %s, want closed and not verified", off, status)
	}
	rep := r.report(id)
	o := rep.Offboardings[0]
	if rep.Status != revoke.StatusClosed || o.VerifiedAt != nil {
		t.Errorf("report: %s, verified at %v, want closed", rep.Status, o.VerifiedAt)
	}
	i := slices.IndexFunc(o.Kinds, func(k revoke.KindReport) bool { return k.Kind == string(abi.KindPAT) })
	k := o.Kinds[i]
	if k.Verified || k.State != "closed" || k.Message != "closed by an operator, not verified: ticket 4711" {
		t.Errorf("kind %+v, want closed, not verified, with the reason", k)
	}
	for _, rec := range rep.Chain {
		if rec.Action == "offboarding.verified" || strings.Contains(rec.Detail, "every kind verified") {
			t.Errorf("record %d says verified: %s %s", rec.N, rec.Action, rec.Detail)
		}
	}
	if n := r.metric("scimward_revocation_verified_seconds"); n != 0 {
		t.Errorf("%v verified offboardings in the metrics, want none", n)
	}
	r.update("user.patch", func(tx *store.Tx) error { return tx.RetryJobs(id) })
	got := r.retry(revoke.Selection{Who: id})
	if got.Jobs != 0 || got.Skipped[revoke.SkipClosed] != 1 || r.job(id, abi.KindPAT).State != store.JobClosed {
		t.Errorf("retried %+v, job %s, want closed", got, r.job(id, abi.KindPAT).State)
	}
	for name, job := range map[string]string{"closed": ref.Job, "verified": r.job(id, abi.KindAPIToken).ID} {
		var not *revoke.NotClosableError
		if _, err := r.e.Close(t.Context(), "acme", byOperator("operator.close"), job); !errors.As(err, &not) {
			t.Errorf("closing a %s job = %v, want a NotClosableError", name, err)
		}
	}
	if _, err := r.e.Close(t.Context(), "acme", byOperator("operator.close"), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("closing an unknown job = %v, want ErrNotFound", err)
	}
}

// TestOperatorLockExpiryIsRecorded: the engine removes a lock whose time is over.
func TestOperatorLockExpiryIsRecorded(t *testing.T) {
	r := newRig(t)
	id := r.user("ada")
	r.update("operator.lock", func(tx *store.Tx) error {
		_, err := tx.LockByOperator("ada", r.clock.Now().Add(lifetime), false)
		return err
	})
	r.engine(nil)
	r.clock.Add(lifetime)
	r.await("the end of the lock", func() bool { return len(r.store.Locks().Operator("acme")) == 0 })
	r.view(func(rd *store.Reader) error {
		recs, err := rd.AuditOf(id)
		if last := recs[len(recs)-1]; last.Action != "operator.lock.expired" {
			t.Errorf("the last record is %s, want operator.lock.expired", last.Action)
		}
		return err
	})
}
