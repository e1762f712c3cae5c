package envoytest_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestOutdatedEnvoy adds a subject to one application and restarts scimward only. Envoy still withholds
// the new header, so this application alone answers 503 until Envoy has its new configuration, and
// `status` says what is missing and what to do. Then the leaver's credential in the new place is judged.
func TestOutdatedEnvoy(t *testing.T) {
	w := newWorld(t, nil)
	u := user(t, w.Acme, "leaver")
	p := w.signIn(t, w.Acme, u.UserName)
	other := w.signIn(t, w.Globex, user(t, w.Globex, "other").UserName)
	host := strings.TrimPrefix(w.Acme.URL, "https://")
	inNewPlace := func() answer {
		return w.raw(t, w.Acme, h1("GET", "/healthz", host, "", "X-New-Place: "+p.Credentials["api_token"]))
	}
	faults(t, w.Acme, irrevocable())
	if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	if a := inNewPlace(); a.status != http.StatusOK {
		t.Fatalf("a header that is no subject: %d %s, want 200", a.status, a.body)
	}

	addSubject(t, w, "- {header: x-new-place, prefix: at_}")
	if err := w.Scimward.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := w.StartScimward(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "asking the restarted scimward", func() string {
		status, body := use(t, other, "web_session")
		return unless(status == http.StatusOK, "200 from the other application, got %d %s", status, body)
	})
	passed := w.acme.count()
	rows := map[string]func() answer{
		"the new place": inNewPlace,
		"the old place": func() answer {
			return w.raw(t, w.Acme, h1("GET", "/me", host, "", "Authorization: Bearer "+p.Credentials["api_token"]))
		},
		"no credential": func() answer { return w.raw(t, w.Acme, h1("GET", "/healthz", host, "")) },
		"sign-in": func() answer {
			return w.raw(t, w.Acme, h1("POST", "/login", host, "username=x&password=y", formType))
		},
		"event stream": func() answer { return w.raw(t, w.Acme, h1("GET", "/events", host, "", "Accept: text/event-stream")) },
		"download":     func() answer { return w.raw(t, w.Acme, h1("GET", "/download", host, "")) },
		"upgrade": func() answer {
			return w.raw(t, w.Acme, "GET /ws HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		},
	}
	for name, send := range rows {
		if a := send(); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, want 503 with Retry-After while Envoy is outdated", name, a.status, a.body)
		}
	}
	if n := w.acme.count() - passed; n != 0 {
		t.Errorf("%d requests reached the application", n)
	}
	if _, err := w.Acme.Client.GetUser(t.Context(), u.ID); err != nil {
		t.Errorf("SCIM of the same tenant: %v, want it to go on", err)
	}
	if len(w.lines(t, "envoy_outdated", `tenant="acme"`)) == 0 {
		t.Error("no metric counts the requests that were refused")
	}
	out, err := w.Command(t.Context(), "status", "-c", w.Config).CombinedOutput()
	for _, word := range []string{"acme/protected-app", "header:x-new-place", "scimward envoy bootstrap"} {
		if err == nil || !strings.Contains(string(out), word) {
			t.Errorf("status (%v) does not name %q:\n%s", err, word, out)
		}
	}
	if strings.Contains(string(out), "globex/protected-app answers 503") {
		t.Errorf("status names the other application:\n%s", out)
	}

	if err := w.Envoy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := w.StartEnvoy(t.Context()); err != nil {
		t.Fatal(err)
	}
	passed = w.acme.count()
	eventually(t, "refusing the leaver in the new place", func() string {
		a := inNewPlace()
		return unless(a.status == http.StatusUnauthorized, "401, got %d %s", a.status, a.body)
	})
	if n := w.acme.count() - passed; n != 0 {
		t.Errorf("%d requests of the leaver reached the application", n)
	}
	if a := rows["no credential"](); a.status != http.StatusOK {
		t.Errorf("the twin: %d %s, want 200", a.status, a.body)
	}
}

// addSubject adds an entry to the subjects of the first application, acme's.
func addSubject(t *testing.T, w *world, entry string) {
	t.Helper()
	text, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "subjects:\n", "subjects:\n          "+entry+"\n", 1)
	if changed == string(text) {
		t.Fatal("the configuration has no subjects")
	}
	if err := os.WriteFile(w.Config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}
