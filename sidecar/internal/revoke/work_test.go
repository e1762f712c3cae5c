package revoke_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// TestKindsAreRevokedInOrder: kinds that bypass the proxy come first and sessions last. The
// engine probes when every kind is revoked (IL1 §3.2.5).
func TestKindsAreRevokedInOrder(t *testing.T) {
	r := newRig(t)
	for i, k := range abi.CredentialKinds() {
		r.app.has[k] = i + 1
	}
	id := r.leaver("ada")
	r.engine(nil)
	r.await("proof", r.settled(id, 1))
	var order []abi.Kind
	proof := -1
	for i, c := range r.app.requests() {
		if c.Op == abi.OpVerify {
			proof = i
			continue
		}
		if proof >= 0 {
			t.Errorf("call %d revokes %v after the proof, want no more", i, c.Kinds)
		}
		if len(order) == 0 || order[len(order)-1] != c.Kinds[0] {
			order = append(order, c.Kinds[0])
		}
		if c.IdempotencyKey != r.job(id, c.Kinds[0]).ID {
			t.Errorf("idempotency key of %v is %q, want the job's id", c.Kinds, c.IdempotencyKey)
		}
		if c.Subject.SCIMID != id || c.Subject.UserName != "ada" || c.Event.Type != abi.EventDeactivated {
			t.Errorf("call %d is about %+v %+v, want the deactivation of ada", i, c.Subject, c.Event)
		}
	}
	if d := cmp.Diff(abi.Order(), order); d != "" {
		t.Errorf("order of kinds (-want +got):\n%s", d)
	}
	for i, k := range abi.CredentialKinds() {
		j := r.job(id, k)
		if j.State != store.JobRevoked || !j.Verified || j.Found != i+1 || j.Revoked != i+1 {
			t.Errorf("%s: state %s, verified %v, found %d, revoked %d; want revoked, true, %d for both",
				k, j.State, j.Verified, j.Found, j.Revoked, i+1)
		}
		if j.LeaseOwner != "" || !j.NextAt.IsZero() {
			t.Errorf("%s: leased by %q, due at %v, want no lease and never due", k, j.LeaseOwner, j.NextAt)
		}
	}
	o := r.offboarding(id, 1)
	if o.BlockedAt.IsZero() || o.Breached {
		t.Errorf("clocks %+v: want BlockedAt set and no breach", o)
	}
}

// TestOneKindFailingStopsNoOther: a kind that fails or retries does not stop the others.
func TestOneKindFailingStopsNoOther(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindSSHKey] = func(context.Context, int, abi.Request) (abi.KindResult, error) {
		return abi.KindResult{}, errApp
	}
	r.app.revoke[abi.KindDevice] = always(abi.KindResult{State: abi.StateFailed, Code: "gone_wrong"})
	r.app.revoke[abi.KindAccount] = always(abi.KindResult{State: abi.StateFailed, Code: abi.CodeContract})
	r.app.revoke[abi.KindRefreshToken] = always(abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError})
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateRetry, Code: abi.CodeNotReported})
	r.app.has[abi.KindWebSession] = 2
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the last kind", func() bool {
		return r.job(id, abi.KindWebSession).Verified && r.job(id, abi.KindAPIToken).Verified
	})
	want := map[abi.Kind]struct {
		state store.JobState
		code  string
	}{
		abi.KindSSHKey:       {store.JobRetrying, abi.CodeNotLoaded},
		abi.KindDevice:       {store.JobFailed, "gone_wrong"},
		abi.KindAccount:      {store.JobFailed, abi.CodeContract},
		abi.KindRefreshToken: {store.JobRetrying, abi.CodeAppError},
		abi.KindPAT:          {store.JobRetrying, abi.CodeNotReported},
		abi.KindAPIToken:     {store.JobNothingToRevoke, ""},
		abi.KindWebSession:   {store.JobRevoked, ""},
	}
	for k, w := range want {
		if j := r.job(id, k); j.State != w.state || j.Code != w.code {
			t.Errorf("%s: %s %q, want %s %q", k, j.State, j.Code, w.state, w.code)
		}
	}
	if o := r.offboarding(id, 1); !o.SettledAt.IsZero() {
		t.Errorf("verified at %v although kinds failed and retry, want never", o.SettledAt)
	}
}

// TestListedAgainUntilTwoEmptyLists: the engine finds credentials that appear between the lists,
// and does not count lists that never end as a success.
func TestListedAgainUntilTwoEmptyLists(t *testing.T) {
	r := newRig(t)
	lists := []int{2, 0, 1, 0, 0} // a PAT is minted after the first empty list
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		if n > len(lists) {
			return abi.KindResult{State: abi.StateFailed, Code: "asked_too_often"}, nil
		}
		if lists[n-1] == 0 {
			return abi.KindResult{State: abi.StateNothingToRevoke}, nil
		}
		return abi.KindResult{State: abi.StateRevoked, Found: lists[n-1], Count: lists[n-1]}, nil
	}
	r.app.revoke[abi.KindWebSession] = always(abi.KindResult{State: abi.StateRevoked, Found: 1, Count: 1})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("two empty lists, and one attempt without", func() bool {
		return r.job(id, abi.KindPAT).Verified && r.job(id, abi.KindWebSession).State == store.JobRetrying
	})
	if j := r.job(id, abi.KindPAT); j.Found != 3 || j.Revoked != 3 || j.State != store.JobRevoked {
		t.Errorf("pat: %s, found %d, revoked %d; want revoked 3 3", j.State, j.Found, j.Revoked)
	}
	if j := r.job(id, abi.KindWebSession); j.Code != "still_minting" || j.Verified {
		t.Errorf("endless sessions: code %q, verified %v; want still_minting, false", j.Code, j.Verified)
	}
	if j := r.job(id, abi.KindAPIToken); j.State != store.JobNothingToRevoke || j.Found != 0 {
		t.Errorf("api_token: %s, found %d; want nothing_to_revoke 0", j.State, j.Found)
	}
}

// TestUnknownAccountIsNotRevoked: an account that the application does not know is not shown
// as disabled.
func TestUnknownAccountIsNotRevoked(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindAccount] = always(abi.KindResult{State: abi.StateNothingToRevoke})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("proof", r.settled(id, 1))
	if j := r.job(id, abi.KindAccount); j.State != store.JobNothingToRevoke {
		t.Errorf("account: %s, want nothing_to_revoke", j.State)
	}
}

// TestPartialAnswersAreFollowed: cursors go back to the plugin and are saved; repeated and
// endless pages end the attempt.
func TestPartialAnswersAreFollowed(t *testing.T) {
	r := newRig(t)
	var cursors []string
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, req abi.Request) (abi.KindResult, error) {
		if n <= 3 {
			cursors = append(cursors, req.Cursors[abi.KindPAT])
			if n > 1 {
				saved := r.job(req.Subject.SCIMID, abi.KindPAT)
				if saved.Cursor != req.Cursors[abi.KindPAT] || saved.Revoked != (n-1)*10 {
					t.Errorf("page %d: the store has cursor %q and %d revoked, want %q and %d",
						n, saved.Cursor, saved.Revoked, req.Cursors[abi.KindPAT], (n-1)*10)
				}
			}
		}
		switch n {
		case 1, 2:
			return abi.KindResult{State: abi.StatePartial, Found: 10, Count: 10, Cursor: fmt.Sprintf("page-%d", n+1)}, nil
		case 3:
			return abi.KindResult{State: abi.StateRevoked, Found: 5, Count: 5}, nil
		}
		if req.Cursors != nil {
			t.Errorf("call %d starts at %v, want a whole list", n, req.Cursors)
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	r.app.revoke[abi.KindAPIToken] = always(abi.KindResult{State: abi.StatePartial, Cursor: "same", Found: 3})
	r.app.revoke[abi.KindDevice] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		return abi.KindResult{State: abi.StatePartial, Cursor: fmt.Sprint(n)}, nil
	}
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the pages", func() bool {
		return r.job(id, abi.KindPAT).Verified && r.job(id, abi.KindAPIToken).State == store.JobRetrying &&
			r.job(id, abi.KindDevice).State == store.JobRetrying
	})
	if d := cmp.Diff([]string{"", "page-2", "page-3"}, cursors); d != "" {
		t.Errorf("cursors (-want +got):\n%s", d)
	}
	if j := r.job(id, abi.KindPAT); j.Found != 25 || j.Revoked != 25 || j.Cursor != "" {
		t.Errorf("pat: found %d, revoked %d, cursor %q; want 25 25 and none", j.Found, j.Revoked, j.Cursor)
	}
	if j := r.job(id, abi.KindAPIToken); j.Code != "no_progress" {
		t.Errorf("repeated page: code %q, want no_progress", j.Code)
	}
	if j := r.job(id, abi.KindDevice); j.Code != "too_many_rounds" || j.Cursor == "" {
		t.Errorf("endless pages: code %q, cursor %q; want too_many_rounds and the last one", j.Code, j.Cursor)
	}
}

// TestFoundCountsACredentialOnce: the attempt after a failed one lists the rest again.
func TestFoundCountsACredentialOnce(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
		switch n {
		case 1:
			return abi.KindResult{State: abi.StateRetry, Found: 5, Count: 2, Code: abi.CodeAppError}, nil
		case 2:
			return abi.KindResult{State: abi.StateRevoked, Found: 3, Count: 3}, nil
		}
		return abi.KindResult{State: abi.StateNothingToRevoke}, nil
	}
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the first attempt", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
	r.clock.Add(15 * time.Second)
	r.await("proof", r.settled(id, 1))
	if j := r.job(id, abi.KindPAT); j.Found != 5 || j.Revoked != 5 || j.Attempts != 2 {
		t.Errorf("found %d, revoked %d, attempts %d; want 5 5 2", j.Found, j.Revoked, j.Attempts)
	}
}

// pauses runs n attempts of a kind that always answers res. It returns the pause after each, and
// the time from the request to each.
func pauses(t *testing.T, res abi.KindResult, n int) (out []time.Duration, at []time.Duration) {
	t.Helper()
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = always(res)
	id := r.leaver("ada")
	start := r.clock.Now()
	r.engine(nil)
	for i := range n {
		r.await("the attempt", func() bool {
			j := r.job(id, abi.KindPAT)
			return j.Attempts == i+1 && j.State == store.JobRetrying
		})
		j := r.job(id, abi.KindPAT)
		now := r.clock.Now()
		out, at = append(out, j.NextAt.Sub(now)), append(at, now.Sub(start))
		r.clock.Add(j.NextAt.Sub(now))
	}
	return out, at
}

// TestRetryIsCappedWhileOpen: at most 15 s pass between attempts within the first five minutes
// (IL1 §3.2.5), and more afterwards. The jitter is at its longest here.
func TestRetryIsCappedWhileOpen(t *testing.T) {
	got, at := pauses(t, abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError}, 60)
	const s = time.Second
	want := []time.Duration{s / 4, s / 2, s, 2 * s, 4 * s, 8 * s, 15 * s, 15 * s}
	if d := cmp.Diff(want, got[:len(want)]); d != "" {
		t.Errorf("first pauses (-want +got):\n%s", d)
	}
	slower := false
	for i, p := range got {
		switch {
		case at[i] < 5*time.Minute && p > 15*time.Second:
			t.Errorf("pause of %v %v after the request, before the deadline, want 15 s at most", p, at[i])
		case p > time.Hour || p < 100*time.Millisecond:
			t.Errorf("pause of %v, want 100 ms to an hour", p)
		case at[i] < 6*time.Minute && p > 30*time.Second:
			t.Errorf("pause of %v right after the deadline, want 30 s at most", p)
		}
		slower = slower || p > time.Minute
	}
	if !slower {
		t.Errorf("no pause over a minute, the last attempt %v after the request, want a longer one", at[len(at)-1])
	}
}

// TestRetryAfterIsHonoured: the pause follows the application's retry_after_ms up to an hour,
// and does not overflow.
func TestRetryAfterIsHonoured(t *testing.T) {
	tests := []struct {
		name string
		ms   int64
		want time.Duration
	}{
		{"asked for", 42_000, 42 * time.Second},
		{"shorter than ours", 10, 250 * time.Millisecond},
		{"a year", 365 * 24 * 3600 * 1000, time.Hour},
		{"overflow", 1 << 62, time.Hour},
		{"negative", -5000, 250 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := pauses(t, abi.KindResult{State: abi.StateRetry, Code: abi.CodeRateLimited, RetryAfterMS: tt.ms}, 1)
			if got[0] != tt.want {
				t.Errorf("pause %v, want %v", got[0], tt.want)
			}
		})
	}
}

// TestAppDeniedAlertsAndRetries: 401 or 403 for the plugin's own credential is a fault of the
// configuration. It alerts at once, and the job completes when it is mended.
func TestAppDeniedAlertsAndRetries(t *testing.T) {
	for _, state := range []abi.State{abi.StateFailed, abi.StateRetry} {
		t.Run(string(state), func(t *testing.T) {
			r := newRig(t)
			r.app.has[abi.KindPAT] = 1
			r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: state, Code: abi.CodeUnauthorized})
			id := r.leaver("ada")
			r.engine(nil)
			r.await("the refusal", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
			if j := r.job(id, abi.KindPAT); j.Code != abi.CodeUnauthorized || j.NextAt.IsZero() {
				t.Errorf("code %q, due %v; want app_denied and a time", j.Code, j.NextAt)
			}
			if n := r.metric("scimward_revocation_alerts_total"); n != 1 {
				t.Errorf("%v alerts, want 1", n)
			}
			r.app.set(func(a *app) { delete(a.revoke, abi.KindPAT) })
			r.clock.Add(15 * time.Second)
			r.await("proof", r.settled(id, 1))
		})
	}
}

// TestUnsupportedIsEnforcedAtProxy: a kind that the application cannot revoke is not shown as
// revoked. The job says how long the proxy must refuse it.
func TestUnsupportedIsEnforcedAtProxy(t *testing.T) {
	tests := []struct {
		name   string
		change func(*app)
		kinds  []abi.Kind
		code   string
	}{
		{"the plugin says so", func(a *app) {
			a.revoke[abi.KindWebSession] = always(abi.KindResult{State: abi.StateUnsupported, Code: "no_api"})
		}, []abi.Kind{abi.KindWebSession}, "no_api"},
		{
			"not in the plugin's kinds", func(a *app) { a.info.Kinds = []abi.Kind{abi.KindPAT, abi.KindAccount} },
			[]abi.Kind{abi.KindWebSession, abi.KindSSHKey, abi.KindDevice, abi.KindAPIToken, abi.KindRefreshToken},
			"not_in_plugin",
		},
		{"no plugin", func(a *app) {
			a.loaded = false
			for _, k := range abi.Order() {
				a.revoke[k] = func(context.Context, int, abi.Request) (abi.KindResult, error) {
					return abi.KindResult{}, fmt.Errorf("asking: %w", revoke.ErrNoPlugin)
				}
			}
		}, abi.Order(), "no_plugin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.change(r.app)
			id := r.leaver("ada")
			start := r.clock.Now()
			r.engine(nil)
			r.await("the end", r.settled(id, 1))
			for k, j := range r.jobs(id, 1) {
				unsupported := slices.Contains(tt.kinds, abi.Kind(k))
				if got := j.State == store.JobUnsupported; got != unsupported {
					t.Errorf("%s is %s, want unsupported %v", k, j.State, unsupported)
				}
				until := start.Add(lifetime)
				if unsupported && (j.Code != tt.code || j.Verified || !j.EnforcedUntil.Equal(until) || !j.NextAt.IsZero()) {
					t.Errorf("%s: code %q, verified %v, enforced until %v, due %v, want %q, false, %v, never",
						k, j.Code, j.Verified, j.EnforcedUntil, j.NextAt, tt.code, until)
				}
			}
			if _, got := r.status(id, 1); got != revoke.StatusEnforced {
				t.Errorf("status %q, want %q", got, revoke.StatusEnforced)
			}
		})
	}
}

// TestGivesUpAfterThreeDays: the job fails, says why and alerts.
func TestGivesUpAfterThreeDays(t *testing.T) {
	r := newRig(t)
	r.app.revoke[abi.KindPAT] = always(abi.KindResult{State: abi.StateRetry, Code: abi.CodeAppError, Message: "502"})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("an attempt", func() bool { return r.job(id, abi.KindPAT).State == store.JobRetrying })
	r.clock.Add(73 * time.Hour)
	r.await("the end", func() bool { return r.job(id, abi.KindPAT).State == store.JobFailed })
	if j := r.job(id, abi.KindPAT); !strings.Contains(j.Message, "gave up") || !j.NextAt.IsZero() {
		t.Errorf("message %q, due %v, want gave up and never", j.Message, j.NextAt)
	}
	if n := r.metric("scimward_revocation_alerts_total"); n != 1 {
		t.Errorf("%v alerts, want 1", n)
	}
}
