package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/scimtest"
)

// TestConformanceIDP: the command plays a sequence with the token of the file, trusts the named authority,
// reports each step, and exits 1 because a service that refuses everything is wrong.
func TestConformanceIDP(t *testing.T) {
	users, auth := 0, ""
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		if r.URL.RawQuery == "count=1" {
			_, _ = fmt.Fprintf(w, `{"totalResults":%d}`, users) // the client may have gone
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"detail":"no\u001b[2J. Fix: set tenants[].dialects: [entra]"}`)
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	for name, text := range map[string][]byte{
		ca:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}),
		token: []byte("secret-1\n"),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"conformance", "idp", "--profile", "curl", "--url", srv.URL + "/scim/v2", "--ca", ca, "--token-file", token}
	code, out, stderr := command(args...)
	want := "  wrong    create a user\n           400 no [2J. Fix: set tenants[].dialects: [entra]\n" +
		"           setting to change: tenants[].dialects: [entra]\n"
	if code != 1 || !strings.Contains(out, want) || !strings.Contains(out, "curl: 0 ok, 0 refused, 7 wrong, 9 skipped") || stderr != "" {
		t.Errorf("exit %d, want 1 with %q; printed:\n%s%s", code, want, out, stderr)
	}
	if auth != "Bearer secret-1" || strings.Contains(out+stderr, "secret-1") {
		t.Errorf("Authorization %q, want the token of the file, printed nowhere", auth)
	}
	code, out, _ = command(append(args, "--json")...)
	var r scimtest.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || r.Passed || len(r.Steps) < 10 {
		t.Errorf("exit %d, %+v, %v; want 1 and a report as JSON", code, r, err)
	}
	users = 2
	code, out, stderr = command(args...)
	if code != 1 || out != "" || !strings.Contains(stderr, "2 user(s)") || !strings.Contains(stderr, "--scratch-tenant") {
		t.Errorf("a tenant with users: exit %d, want 1 and the flag; printed:\n%s%s", code, out, stderr)
	}
	if code, out, _ = command(append(args, "--scratch-tenant")...); code != 1 || !strings.Contains(out, "curl: ") {
		t.Errorf("a scratch tenant: exit %d, want the steps; printed:\n%s", code, out)
	}
	if code, _, stderr = command(args[:len(args)-4]...); code != 2 || !strings.Contains(stderr, "--token-file") {
		t.Errorf("no token: exit %d, want 2; %s", code, stderr)
	}
	if code, _, stderr = command(append(args[:6:6], "--token", "x")...); code != 1 || !strings.Contains(stderr, "--ca FILE") {
		t.Errorf("an unknown authority: exit %d, want 1; %s", code, stderr)
	}
}

// TestConformanceHints: without a usable answer, the hint is about what went wrong.
func TestConformanceHints(t *testing.T) {
	status := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(srv.Close)
	for answer, want := range map[int]string{401: "hint: check the token", 404: "begins with https://", 503: "hint: see `scimward status`"} {
		status = answer
		code, _, stderr := command("conformance", "idp", "--profile", "curl", "--url", srv.URL, "--token", "t")
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("answer %d: exit %d, want 1 with %q; %s", answer, code, want, stderr)
		}
	}
}

// TestConformanceAppURL: if --app-url leads to the application itself, the command says so and what to pass. It
// does not where scimward answers.
func TestConformanceAppURL(t *testing.T) {
	scim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "count=1" {
			_, _ = fmt.Fprint(w, `{"totalResults":0}`) // the client may have gone
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(scim.Close)
	behind := false
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if behind && r.Header.Get("X-HTTP-Method-Override") != "" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"status":400,"code":"override"}`)
		}
	}))
	t.Cleanup(app.Close)
	const hint = "pass the URL of the application at Envoy"
	for _, behind = range []bool{false, true} {
		code, _, stderr := command("conformance", "idp", "--profile", "curl", "--url", scim.URL, "--token", "t", "--app-url", app.URL)
		if code != 1 || strings.Contains(stderr, hint) == behind || strings.Contains(stderr, "gets 200 OK") == behind {
			t.Errorf("scimward answers: %t: exit %d, want 1, and the hint if it does not; %s", behind, code, stderr)
		}
	}
}

// TestConformanceUsage: a faulty command line exits 2 and names what is missing.
func TestConformanceUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--url", "https://x"}, "--profile and --url are required"},
		{[]string{"--profile", "nobody", "--url", "https://x", "--token", "t"}, `no sequence "nobody"; there are curl, entra,`},
		{[]string{"--profile", "curl", "--url", "https://x", "--token", "t", "--token-file", "f"}, "one of --token and --token-file"},
		{[]string{"--profile", "curl", "--url", "https://x", "--token", "a b"}, "white space"},
		{[]string{"--profile", "curl", "--url", "https://x/scim/v2?aadOptscim062020", "--token", "t"}, "--url: write it without ?"},
		{[]string{"--profile", "curl", "extra"}, "takes no argument"},
		{[]string{"--profile", "curl", "--url", "http://app.example.com/scim/v2", "--token", "t"}, "send the token in plain"},
	} {
		code, _, stderr := command(append([]string{"conformance", "idp"}, tt.args...)...)
		if code != 2 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit %d, want 2 with %q; %s", tt.args, code, tt.want, stderr)
		}
	}
}
