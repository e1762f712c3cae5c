package revoke_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// TestUnknownIsNeverDone: whatever keeps a probe from answering, the kind is not
// verified, the offboarding stays open, and the probe is asked again.
func TestUnknownIsNeverDone(t *testing.T) {
	dead := func(kinds []abi.Kind, change func(*abi.Liveness) bool) abi.VerifyResult {
		var out abi.VerifyResult
		for _, k := range kinds {
			if l := (abi.Liveness{Kind: k}); k != abi.KindPAT || change(&l) {
				out.Kinds = append(out.Kinds, l)
			}
		}
		return out
	}
	all := func(*abi.Liveness) bool { return true }
	tests := []struct {
		name   string
		answer func([]abi.Kind) (abi.VerifyResult, error)
	}{
		{"the plugin cannot be called", func([]abi.Kind) (abi.VerifyResult, error) { return abi.VerifyResult{}, errApp }},
		{"no plugin any more", func([]abi.Kind) (abi.VerifyResult, error) { return abi.VerifyResult{}, revoke.ErrNoPlugin }},
		{"answers and an error", func(k []abi.Kind) (abi.VerifyResult, error) { return dead(k, all), errApp }},
		{"answers and the guest's error", func(k []abi.Kind) (abi.VerifyResult, error) {
			res := dead(k, all)
			res.Error = &abi.Error{Code: "app_error"}
			return res, nil
		}},
		{"nothing", func([]abi.Kind) (abi.VerifyResult, error) { return abi.VerifyResult{}, nil }},
		{"kind not named", func(k []abi.Kind) (abi.VerifyResult, error) {
			return dead(k, func(*abi.Liveness) bool { return false }), nil
		}},
		{"negative", func(k []abi.Kind) (abi.VerifyResult, error) {
			return dead(k, func(l *abi.Liveness) bool { l.Live = -1; return true }), nil
		}},
		{"two answers", func(k []abi.Kind) (abi.VerifyResult, error) {
			res := dead(k, all)
			res.Kinds = append(res.Kinds, abi.Liveness{Kind: abi.KindPAT, Live: 2})
			return res, nil
		}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rounds := 2
			if i == 0 {
				rounds = 12 // more than are kept
			}
			r := newRig(t)
			r.app.verify = func(req abi.Request) (abi.VerifyResult, error) { return tt.answer(req.Kinds) }
			id := r.leaver("ada")
			r.engine(nil)
			for i := range rounds {
				r.await("a probe", func() bool {
					j := r.job(id, abi.KindPAT)
					return len(j.Probes) == min(i+1, 10) && j.NextAt.After(r.clock.Now()) && j.LeaseOwner == ""
				})
				j := r.job(id, abi.KindPAT)
				if j.Verified || j.State != store.JobNothingToRevoke || j.Probes[len(j.Probes)-1].Result != "unknown" {
					t.Fatalf("probe %d: %s, verified %v, %+v", i, j.State, j.Verified, j.Probes)
				}
				r.clock.Add(j.NextAt.Sub(r.clock.Now()))
			}
			var jobs []store.Job
			for _, j := range r.jobs(id, 1) {
				jobs = append(jobs, j)
			}
			o := r.offboarding(id, 1)
			if !o.VerifiedAt.IsZero() || revoke.Settled(&o, jobs) || revoke.Status(&o, jobs) != revoke.StatusRunning {
				t.Errorf("verified at %v, settled %v, status %s", o.VerifiedAt, revoke.Settled(&o, jobs), revoke.Status(&o, jobs))
			}
			r.clock.Add(80 * time.Hour)
			r.await("the end of patience", func() bool { return r.job(id, abi.KindPAT).State == store.JobUnknown })
			r.await("the breach", func() bool { return r.offboarding(id, 1).Breached })
			if o := r.offboarding(id, 1); !o.VerifiedAt.IsZero() {
				t.Errorf("after three days: %+v, want never verified", o)
			}
		})
	}
}

// TestLiveGoesBackToRevoking: a probe that finds living credentials undoes "revoked".
func TestLiveGoesBackToRevoking(t *testing.T) {
	r := newRig(t)
	r.app.set(func(a *app) {
		a.held[abi.KindWebSession] = 1
		a.revoke[abi.KindWebSession] = always(abi.KindResult{State: abi.StateRevoked}) // it lies
	})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the probe", func() bool { return r.job(id, abi.KindWebSession).State == store.JobRetrying })
	j := r.job(id, abi.KindWebSession)
	if j.Code != "live" || j.Verified || !j.Done.IsZero() || j.Probes[0].Result != "live" || j.Probes[0].Live != 1 || j.Probes[0].How == "" {
		t.Errorf("job %+v", j)
	}
	r.app.set(func(a *app) { delete(a.revoke, abi.KindWebSession) })
	r.clock.Add(15 * time.Second)
	r.await("proof", r.verified(id, 1))
	if j := r.job(id, abi.KindWebSession); len(j.Probes) != 2 || j.Probes[1].Result != "dead" || j.Attempts != 2 {
		t.Errorf("probes %+v after %d attempts", j.Probes, j.Attempts)
	}
}

// TestBreachIsRecorded: at 300 s a breach is a metric and an audit record, once, and
// the work goes on until it is done, late (B48; revocation §1.1 row 9).
func TestBreachIsRecorded(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError})
	id := r.leaver("ada")
	start := r.clock.Now()
	r.engine(nil)
	r.await("an attempt", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
	r.clock.Add(299 * time.Second)
	r.await("another attempt", func() bool { j := r.job(id, abi.KindPAT); return j.Attempts > 1 && j.State == store.JobRetrying })
	<-r.clock.after(50)
	if o := r.offboarding(id, 1); o.Breached || r.metric("scimward_revocation_breaches_total") != 0 {
		t.Fatal("breached before the five minutes were over")
	}
	r.clock.Add(time.Second)
	r.await("the breach", func() bool {
		return r.offboarding(id, 1).Breached && r.metric("scimward_revocation_breaches_total") == 1
	})
	r.app.set(func(a *app) { delete(a.revoke, abi.KindPAT) })
	r.clock.Add(73 * time.Second)
	r.await("proof, late", r.verified(id, 1))
	o := r.offboarding(id, 1)
	if late := o.VerifiedAt.Sub(start); late != 373*time.Second || !o.Breached {
		t.Errorf("verified after %v, breached %v; want 6m13s and still breached", late, o.Breached)
	}
	if n := r.breachRecords(id); n != 1 || r.metric("scimward_revocation_breaches_total") != 1 {
		t.Errorf("%d audit records, %v counted; want one of each", n, r.metric("scimward_revocation_breaches_total"))
	}
}

func (r *rig) breachRecords(id string) (n int) {
	r.view(func(rd *store.Reader) error {
		records, err := rd.AuditOf(id)
		for _, rec := range records {
			if rec.Action == "offboarding.breach" {
				n++
			}
		}
		return err
	})
	return n
}

// TestLateProofIsABreach: a process that was down over the deadline and verifies
// everything at once afterwards was late all the same.
func TestLateProofIsABreach(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.clock.Add(10 * time.Minute)
	r.engine(nil)
	r.await("proof", r.verified(id, 1))
	if o := r.offboarding(id, 1); !o.Breached || r.breachRecords(id) != 1 {
		t.Errorf("breached %v, %d records; want true and 1", o.Breached, r.breachRecords(id))
	}
}

// TestSettledNeedsEveryJob: a job that is missing is no job that is done.
func TestSettledNeedsEveryJob(t *testing.T) {
	o := store.Offboarding{Jobs: 2}
	dead := store.Job{State: store.JobRevoked, Verified: true, Event: abi.EventDeactivated}
	again := store.Job{State: store.JobRevoked, Event: abi.EventReactivated}
	tests := []struct {
		name   string
		jobs   []store.Job
		want   bool
		status string
	}{
		{"both", []store.Job{dead, dead}, true, revoke.StatusVerified},
		{"one", []store.Job{dead}, false, revoke.StatusUnknown},
		{"one and a reactivation", []store.Job{dead, again}, false, revoke.StatusUnknown},
		{"none", nil, false, revoke.StatusUnknown},
		{"failed", []store.Job{dead, {State: store.JobFailed}}, false, revoke.StatusFailed},
		{"unknown", []store.Job{dead, {State: store.JobUnknown}}, false, revoke.StatusUnknown},
		{"a state of a later version", []store.Job{dead, {State: "splendid"}}, false, revoke.StatusUnknown},
		{"not verified", []store.Job{dead, {State: store.JobRevoked}}, false, revoke.StatusRunning},
		{"unsupported", []store.Job{dead, {State: store.JobUnsupported}}, true, revoke.StatusEnforced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := revoke.Settled(&o, tt.jobs); got != tt.want {
				t.Errorf("settled %v, want %v", got, tt.want)
			}
			if got := revoke.Status(&o, tt.jobs); got != tt.status {
				t.Errorf("status %q, want %q", got, tt.status)
			}
		})
	}
	if none := (store.Offboarding{}); !revoke.Settled(&none, nil) || revoke.Status(&none, nil) != revoke.StatusEnforced {
		t.Error("a deactivation without any application is settled, and held by the proxy alone")
	}
}
