package envoytest_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

func stateOf(r report, kind string) kindState {
	if len(r.Offboardings) == 0 {
		return kindState{}
	}
	ks := r.Offboardings[len(r.Offboardings)-1].Kinds
	if i := slices.IndexFunc(ks, func(k kindState) bool { return k.Kind == kind }); i >= 0 {
		return ks[i]
	}
	return kindState{}
}

// refusedEverywhere fails when the proxy allows any of the person's credentials.
func refusedEverywhere(t *testing.T, p *stack.Person, when string) {
	t.Helper()
	for _, kind := range p.Kinds() {
		if status, body := use(t, p, kind); status/100 == 2 {
			t.Errorf("%s: the %s was served: %d %s", when, kind, status, body)
		}
	}
}

// TestFaultyApp revokes credentials in applications with the faults of real ones.
func TestFaultyApp(t *testing.T) {
	w := newWorld(t, nil)
	t.Run("one kind fails", func(t *testing.T) { failingKinds(t, w) })
	t.Run("deleted but cached", func(t *testing.T) { cachingApps(t, w) })
}

// failingKinds makes one kind of the application fail. The other kinds are verified,
// the faulty one is never reported as done, and the lock refuses its credentials.
// When the fault is gone, the rest is verified.
func failingKinds(t *testing.T, w *world) {
	t.Helper()
	for _, c := range []struct {
		name  string
		kind  string
		fault map[string]any
		state string // of the kind while the fault lasts
	}{
		{"429 with Retry-After", "pat", map[string]any{"status": 429, "retry_after_s": 1}, "retrying"},
		{"500", "device", map[string]any{"status": 500}, "retrying"},
		{"slow", "api_token", map[string]any{"slow_ms": 60000}, "retrying"},
		{"unsupported", "web_session", map[string]any{"unsupported": true}, "unsupported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := user(t, w.Acme, "leaver")
			p := w.signIn(t, w.Acme, u.UserName)
			faults(t, w.Acme, map[string]any{c.kind: c.fault})
			defer faults(t, w.Acme, nil)
			if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
				t.Fatal(err)
			}
			var r report
			eventually(t, "verifying every other kind", func() string {
				r = w.peek(t, "acme", u.ID)
				return unless(unverified(r) == c.kind+": "+c.state, "verification of %s", unverified(r))
			})
			k := stateOf(r, c.kind)
			if c.state == "unsupported" {
				if k.EnforcedUntil == nil || r.Status != "enforced_at_proxy" {
					t.Errorf("status %s, kind %+v; want enforced at the proxy until a time", r.Status, k)
				}
			} else if r.Status == "verified" || r.Offboardings[0].VerifiedAt != nil {
				t.Errorf("status %s while a kind is retrying", r.Status)
			}
			if status := direct(t, p, c.kind); status != http.StatusOK {
				t.Fatalf("the application itself answers %d to the %s: the test proves nothing", status, c.kind)
			}
			refusedEverywhere(t, p, "while the fault lasts")

			faults(t, w.Acme, nil)
			if c.state == "unsupported" {
				return // terminal: the proxy enforces it
			}
			w.settled(t, "acme", u.ID)
			if status := direct(t, p, c.kind); status == http.StatusOK {
				t.Errorf("the application still serves the %s after it was verified", c.kind)
			}
		})
	}
}

// cachedAway deactivates a user. The application must still serve the deleted credentials. Its lists are
// empty, and only the probes of the plugin find them, so no kind of them is verified.
func cachedAway(t *testing.T, w *world, tenant *stack.Tenant, id string, p *stack.Person) {
	t.Helper()
	faults(t, tenant, map[string]any{"*": map[string]any{"cache_s": 3600}})
	if err := tenant.Client.Deactivate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	var r report
	eventually(t, "probing what the application still accepts", func() string {
		r = w.peek(t, tenant.Name, id)
		missing := slices.DeleteFunc([]string{"refresh_token", "pat", "api_token", "web_session"}, func(kind string) bool {
			return slices.ContainsFunc(stateOf(r, kind).Probes, func(p probe) bool { return p.Result == "live" })
		})
		return unless(len(missing) == 0, "a probe that finds the %v", missing)
	})
	if r.Status == "verified" || r.Offboardings[0].VerifiedAt != nil {
		t.Errorf("status %s while the application accepts the credentials, want not verified", r.Status)
	}
	for _, kind := range p.Kinds() {
		// The application issues nothing to a disabled account, whatever it caches.
		if status := direct(t, p, kind); status != http.StatusOK && kind != "refresh_token" {
			t.Errorf("the application itself answers %d to the %s: the test proves nothing", status, kind)
		}
	}
}

// cachingApps has an application that serves deleted credentials and no longer knows their user.
// The proxy refuses them.
func cachingApps(t *testing.T, w *world) {
	t.Helper()
	t.Run("what the proxy has seen", func(t *testing.T) {
		u := user(t, w.Acme, "leaver")
		p := w.signIn(t, w.Acme, u.UserName)
		for _, kind := range p.Kinds() {
			if status, body := use(t, p, kind); status != http.StatusOK {
				t.Fatalf("the %s before: %d %s", kind, status, body)
			}
		}
		cachedAway(t, w, w.Acme, u.ID, p)
		refusedEverywhere(t, p, "when the application caches")
		// The proxy must not forget it with a restart.
		if err := w.Scimward.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := w.StartScimward(t.Context()); err != nil {
			t.Fatal(err)
		}
		refusedEverywhere(t, p, "when the application caches, after a restart")
	})
	t.Run("what the proxy has never seen", func(t *testing.T) {
		u := user(t, w.Globex, "leaver")
		around := *w.Globex
		around.URL = "http://" + w.Globex.App.Addresses().HTTP
		p := w.signIn(t, &around, u.UserName)
		p.Tenant = w.Globex
		cachedAway(t, w, w.Globex, u.ID, p)
		passed := w.globex.count()
		refusedEverywhere(t, p, "when the application caches")
		if n := w.globex.count() - passed; n != 0 {
			t.Errorf("%d requests reached the application", n)
		}
	})
}
