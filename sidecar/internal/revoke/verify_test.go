package revoke_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// TestUnknownIsNeverDone: without an answer of the probe the kind is not verified, the
// offboarding stays open, and the engine probes again.
func TestUnknownIsNeverDone(t *testing.T) {
	answer := func(kinds []abi.Kind, pat int) (out abi.VerifyResult) {
		for _, k := range kinds {
			l := abi.Liveness{Kind: k}
			if k == abi.KindPAT {
				l.Live = pat
			}
			out.Kinds = append(out.Kinds, l)
		}
		return out
	}
	tests := []struct {
		name   string
		answer func([]abi.Kind) (abi.VerifyResult, error)
	}{
		{"the plugin cannot be called", func([]abi.Kind) (abi.VerifyResult, error) { return abi.VerifyResult{}, errApp }},
		{"no plugin any more", func([]abi.Kind) (abi.VerifyResult, error) { return abi.VerifyResult{}, revoke.ErrNoPlugin }},
		{"an answer and an error", func(k []abi.Kind) (abi.VerifyResult, error) { return answer(k, 0), errApp }},
		{"no answer about the kind", func(k []abi.Kind) (abi.VerifyResult, error) { return answer(k, abi.LiveUnknown), nil }},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rounds := 2
			if i == 0 {
				rounds = 12 // more than a job stores
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
					t.Fatalf("probe %d: %s, verified %v, %+v, want nothing_to_revoke, false, unknown", i, j.State, j.Verified, j.Probes)
				}
				r.clock.Add(j.NextAt.Sub(r.clock.Now()))
			}
			if o, status := r.status(id, 1); !o.SettledAt.IsZero() || status != revoke.StatusRunning {
				t.Errorf("verified at %v, status %s, want never and %s", o.SettledAt, status, revoke.StatusRunning)
			}
			r.clock.Add(80 * time.Hour)
			r.await("giving up", func() bool { return r.job(id, abi.KindPAT).State == store.JobUnknown })
			r.await("the breach", func() bool { return r.offboarding(id, 1).Breached })
			if o := r.offboarding(id, 1); !o.SettledAt.IsZero() {
				t.Errorf("after three days: %+v, want never verified", o)
			}
		})
	}
}

// TestLiveCredentialIsRetried: a probe that finds a working credential makes the job retry.
func TestLiveCredentialIsRetried(t *testing.T) {
	r := newRig(t)
	r.app.set(func(a *app) {
		a.has[abi.KindWebSession] = 1
		a.revoke[abi.KindWebSession] = always(abi.KindResult{State: abi.StateRevoked}) // it lies
	})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the probe", func() bool { return r.job(id, abi.KindWebSession).State == store.JobRetrying })
	j := r.job(id, abi.KindWebSession)
	p := j.Probes[0]
	if j.Code != "live" || j.Verified || !j.Done.IsZero() || p.Result != "live" || p.Live != 1 || p.How == "" {
		t.Errorf("job %+v, want code live with one live credential", j)
	}
	r.app.set(func(a *app) { delete(a.revoke, abi.KindWebSession) })
	r.clock.Add(15 * time.Second)
	r.await("proof", r.settled(id, 1))
	if j := r.job(id, abi.KindWebSession); len(j.Probes) != 2 || j.Probes[1].Result != "dead" || j.Attempts != 2 {
		t.Errorf("probes %+v after %d attempts, want live and dead after 2", j.Probes, j.Attempts)
	}
}

// TestBreachIsRecorded: after 300 s a breach becomes a metric and an audit record, once, and the
// work goes on (IL1 §3.2.5).
func TestBreachIsRecorded(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError})
	id := r.leaver("ada")
	start := r.clock.Now()
	r.engine(nil)
	r.await("an attempt", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
	r.clock.Add(299 * time.Second)
	r.await("another attempt", func() bool {
		j := r.job(id, abi.KindPAT)
		return j.Attempts > 1 && j.State == store.JobRetrying
	})
	<-r.clock.reads(50)
	if o := r.offboarding(id, 1); o.Breached || r.metric("scimward_revocation_breaches_total") != 0 {
		t.Fatal("breached before the end of the five minutes, want no breach")
	}
	r.clock.Add(time.Second)
	r.await("the breach", func() bool {
		return r.offboarding(id, 1).Breached && r.metric("scimward_revocation_breaches_total") == 1
	})
	r.app.set(func(a *app) { delete(a.revoke, abi.KindPAT) })
	r.clock.Add(73 * time.Second)
	r.await("proof, late", r.settled(id, 1))
	o := r.offboarding(id, 1)
	if late := o.SettledAt.Sub(start); late != 373*time.Second || !o.Breached {
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

// TestLateProofIsABreach: a process that was down at the deadline counts the breach afterwards.
func TestLateProofIsABreach(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.clock.Add(10 * time.Minute)
	r.engine(nil)
	r.await("proof", r.settled(id, 1))
	if o := r.offboarding(id, 1); !o.Breached || r.breachRecords(id) != 1 {
		t.Errorf("breached %v, %d records; want true and 1", o.Breached, r.breachRecords(id))
	}
}

// TestRevocationJobsWithoutTheReactivation: the job that enables the account again is not part of
// the offboarding.
func TestRevocationJobsWithoutTheReactivation(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.setActive(id, true)
	r.view(func(rd *store.Reader) error {
		all, err := rd.JobsOf(id, 1)
		if err != nil {
			return err
		}
		jobs, err := revoke.RevocationJobs(rd, id, 1)
		if len(jobs) != len(all)-1 || len(jobs) != r.offboarding(id, 1).Jobs {
			t.Errorf("%d of %d jobs, want all but one", len(jobs), len(all))
		}
		for i := range jobs {
			if jobs[i].Event == abi.EventReactivated {
				t.Errorf("the reactivation %+v is among them", jobs[i])
			}
		}
		return err
	})
}

// TestStatusNeedsEveryJob: a missing job is not done.
func TestStatusNeedsEveryJob(t *testing.T) {
	o := store.Offboarding{Jobs: 2}
	dead := store.Job{State: store.JobRevoked, Verified: true}
	tests := []struct {
		name string
		jobs []store.Job
		want string
	}{
		{"both", []store.Job{dead, dead}, revoke.StatusVerified},
		{"one", []store.Job{dead}, revoke.StatusUnknown},
		{"none", nil, revoke.StatusUnknown},
		{"failed", []store.Job{dead, {State: store.JobFailed}}, revoke.StatusFailed},
		{"unknown", []store.Job{dead, {State: store.JobUnknown}}, revoke.StatusUnknown},
		{"a state of a later version", []store.Job{dead, {State: "splendid"}}, revoke.StatusUnknown},
		{"not verified", []store.Job{dead, {State: store.JobRevoked}}, revoke.StatusRunning},
		{"unsupported", []store.Job{dead, {State: store.JobUnsupported}}, revoke.StatusEnforced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := revoke.Status(&o, tt.jobs); got != tt.want {
				t.Errorf("status %q, want %q", got, tt.want)
			}
		})
	}
	if got := revoke.Status(&store.Offboarding{}, nil); got != revoke.StatusEnforced {
		t.Errorf("without any app: status %q, want %q", got, revoke.StatusEnforced)
	}
}
