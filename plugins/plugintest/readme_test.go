package plugintest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
	"github.com/scimward/scimward/sidecar/config"
)

// TestMain: the test binary is also the worker.
func TestMain(m *testing.M) { plugintest.Main(m) }

// wiki is the application of the SDK's README, with one user, w1. Each wiki has its own state. A
// DELETE of no sessions answers 204 too.
func wiki(t *testing.T, status int) http.Handler {
	t.Helper()
	var mu sync.Mutex // guards both
	sessions, tokens := 3, []string{"t1", "t2", "t3"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/users/w1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"count":%d}`, sessions)
	})
	mux.HandleFunc("GET /admin/users/w1/tokens", func(w http.ResponseWriter, r *http.Request) {
		page, next := tokens[:min(2, len(tokens))], ""
		if r.URL.Query().Get("page") == "2" {
			page = tokens[2:]
		} else if len(tokens) > 2 {
			next = "/admin/users/w1/tokens?page=2"
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"ids": append([]string{}, page...), "next": next}); err != nil {
			t.Error(err)
		}
	})
	// A write answers status and changes the state only if that is a success.
	write := func(done func(r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.Header.Get("Idempotency-Key"), "key:") {
				t.Errorf("DELETE %s without an idempotency key, want one", r.URL)
			}
			if status == 204 {
				done(r)
			}
			w.WriteHeader(status)
		}
	}
	mux.HandleFunc("DELETE /admin/tokens/{id}", write(func(r *http.Request) {
		tokens = slices.DeleteFunc(tokens, func(id string) bool { return id == r.PathValue("id") })
	}))
	mux.HandleFunc("DELETE /admin/users/w1/sessions", write(func(*http.Request) { sessions = 0 }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer wiki-admin-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// TestReadmePlugin runs the plugin of the SDK's README: the same text, built by the Go tool, behind
// the real host.
func TestReadmePlugin(t *testing.T) {
	code, err := os.ReadFile("testdata/readme/main.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../sdk/go/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+string(code)+"```\n") {
		t.Error("plugins/sdk/go/README.md differs from testdata/readme/main.go, want the same text")
	}
	m := readmeManifest()
	req := readmeRequest
	want := func(tokens, sessions abi.State) map[abi.Kind]abi.State {
		return map[abi.Kind]abi.State{abi.KindAPIToken: tokens, abi.KindWebSession: sessions}
	}
	secrets := map[string]string{"wiki_admin": "wiki-admin-secret"}
	plugintest.Run(t, plugintest.BuildGo(t, "./testdata/readme"), m, []plugintest.Case{
		{
			Name: "revokes over two pages", App: wiki(t, 204), Secrets: secrets, Request: req("w1", false),
			Want: want(abi.StateRevoked, abi.StateRevoked),
			Check: func(t *testing.T, res abi.Result) {
				t.Helper()
				if res.Kinds[0].Count != 3 || res.Kinds[0].Evidence[2].Action != "DELETE /admin/…" {
					t.Errorf("tokens: %+v, want three revoked", res.Kinds[0])
				}
			},
		},
		{Name: "dry run", App: wiki(t, 204), Secrets: secrets, Request: req("w1", true), Want: want(abi.StateWouldRevoke, abi.StateWouldRevoke)},
		{Name: "application is down", App: wiki(t, 503), Secrets: secrets, Request: req("w1", false), Want: want(abi.StateRetry, abi.StateRetry)},
		{Name: "unknown user", App: wiki(t, 204), Secrets: secrets, Request: req("w2", false), Want: want(abi.StateNothingToRevoke, abi.StateNothingToRevoke)},
		{Name: "wrong admin secret", App: wiki(t, 204), Secrets: map[string]string{"wiki_admin": "old-value"}, Request: req("w1", false), Want: want(abi.StateFailed, abi.StateFailed)},
		{Name: "an answer without what was asked", App: say(`{}`), Secrets: secrets, Request: req("w1", false), Want: want(abi.StateRetry, abi.StateRetry)},
		{Name: "a user without externalId", App: wiki(t, 204), Secrets: secrets, Request: req("", false), Want: want(abi.StateFailed, abi.StateFailed)},
	})
}

// say answers every request with 200 and body.
func say(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

func readmeManifest() plugins.Manifest {
	return plugins.Manifest{
		Name: "wiki", Version: "1.0.0", Kinds: []abi.Kind{abi.KindWebSession, abi.KindAPIToken},
		Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{{
			BaseURL: "base_url", Methods: []string{"GET", "DELETE"}, PathPrefix: []string{"/admin/"}, Secrets: []string{"wiki_admin"},
		}}},
	}
}

func readmeRequest(user string, dry bool) abi.Request {
	return abi.Request{
		IdempotencyKey: "key", DryRun: dry, Kinds: []abi.Kind{abi.KindAPIToken, abi.KindWebSession},
		Event: &abi.Event{Type: abi.EventDeactivated}, Subject: &abi.Subject{SCIMID: "u1", ExternalID: user},
	}
}

// fences returns the code blocks of a page in one language, in order.
func fences(doc, language string) (out []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(doc, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestReadmeAsWritten follows the SDK's README in an empty folder outside the tree: its program,
// its commands, its configuration. The plugin must load.
func TestReadmeAsWritten(t *testing.T) {
	for _, tool := range []string{"sh", "sha256sum", "stat", "cut"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the README's commands need %s", tool)
		}
	}
	doc, err := os.ReadFile("../sdk/go/README.md")
	if err != nil {
		t.Fatal(err)
	}
	clone, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	code, shell, conf := fences(string(doc), "go"), fences(string(doc), "sh"), fences(string(doc), "yaml")
	if len(code) == 0 || len(shell) != 2 || len(conf) != 1 {
		t.Fatalf("the README has %d programs, %d blocks of commands, %d configurations, want 1, 2 and 1",
			len(code), len(shell), len(conf))
	}
	secret := filepath.Join(dir, "secret")
	for name, text := range map[string]string{filepath.Join(dir, "main.go"): code[0], secret: "wiki-admin-secret\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := "set -e\n" + strings.ReplaceAll(strings.Join(shell, ""), "/path/to/clone", clone)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	// Offline: the module cache already contains the modules that the SDK needs.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOSUMDB=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the commands of the README: %v\n%s", err, out)
	}
	text := strings.NewReplacer("/etc/scimward/wiki/manifest.json", filepath.Join(dir, "manifest.json"),
		"/etc/scimward/wiki-admin", secret).Replace(conf[0])
	h := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{section(t, text)}})
	if err := h.Ready(); err != nil {
		t.Error(err)
	}
}

// section reads a plugin's section of the configuration as the sidecar does.
func section(t *testing.T, text string) plugins.Config {
	t.Helper()
	settings := `version: 1
tenants:
  - name: acme
    external_url: https://wiki.acme.example
    identity_services: [{client_id: hr, keys: {issuer: "https://id.acme.example"}}]
    apps:
      - name: wiki
        upstream: http://127.0.0.1:3000
        subjects: [{header: x-forwarded-user, is: user_name}]
        local_writes: []
`
	for line := range strings.Lines(text) {
		settings += "        " + line
	}
	cfg, err := config.Parse("README.md", t.TempDir(), []byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	p := cfg.Tenants[0].Apps[0].Plugin
	c := plugins.Config{Tenant: "acme", App: "wiki", Manifest: p.Manifest, Settings: p.Config}
	c.Grant.Secrets = p.Secrets
	for _, r := range p.HTTP {
		c.Grant.HTTP = append(c.Grant.HTTP, plugins.HTTPRule{
			Scheme: r.Scheme, Host: r.Host, Port: r.Port, Methods: r.Methods, PathPrefix: r.PathPrefixes,
			Secrets: r.Secrets, AllowPrivate: r.AllowPrivate,
		})
	}
	return c
}

// TestReadmePluginEnds calls the plugin as the engine does: revoke until two answers in a row found
// nothing, then verify. A plugin that never says "nothing" would never end.
func TestReadmePluginEnds(t *testing.T) {
	wasm := plugintest.BuildGo(t, "./testdata/readme")
	for _, tt := range []struct {
		user  string
		calls int // until two in a row found nothing
	}{{"w1", 3}, {"unknown", 2}} {
		t.Run(tt.user, func(t *testing.T) {
			app := httptest.NewServer(wiki(t, 204))
			t.Cleanup(app.Close)
			cfg := plugintest.Local(t, app.URL, wasm, readmeManifest(), map[string]string{"wiki_admin": "wiki-admin-secret"})
			h := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{cfg}})
			for call := 1; call <= tt.calls; call++ {
				res, err := h.Revoke(t.Context(), cfg.Tenant, cfg.App, readmeRequest(tt.user, false))
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range res.Kinds {
					found := call == tt.calls-2
					want := abi.StateNothingToRevoke
					if found {
						want = abi.StateRevoked
					}
					if k.State != want || (k.Count == 3) != found {
						t.Errorf("call %d: %+v, want %s", call, k, want)
					}
				}
			}
			res, err := h.Verify(t.Context(), cfg.Tenant, cfg.App, readmeRequest(tt.user, false))
			want := []abi.Liveness{{Kind: abi.KindAPIToken}, {Kind: abi.KindWebSession}}
			if diff := cmp.Diff(want, res.Kinds, cmpopts.IgnoreFields(abi.Liveness{}, "Probe")); err != nil || diff != "" {
				t.Errorf("verify: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestReadmePluginNeverGuesses fails if the plugin answers zero for a list that it could not read.
func TestReadmePluginNeverGuesses(t *testing.T) {
	wasm := plugintest.BuildGo(t, "./testdata/readme")
	half := http.NewServeMux() // the second page of tokens is missing, and so is the count
	half.HandleFunc("GET /admin/users/w1/tokens", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"ids":["t1"],"next":"/admin/users/w1/tokens?page=2"}`)
	})
	half.Handle("GET /admin/users/w1/sessions", say(`{"error":"later"}`))
	app := httptest.NewServer(half)
	t.Cleanup(app.Close)
	cfg := plugintest.Local(t, app.URL, wasm, readmeManifest(), map[string]string{"wiki_admin": "x-secret"})
	h := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{cfg}})
	res, err := h.Revoke(t.Context(), cfg.Tenant, cfg.App, readmeRequest("w1", false))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range res.Kinds {
		if k.State != abi.StateRetry {
			t.Errorf("%+v, want retry", k)
		}
	}
	live, err := h.Verify(t.Context(), cfg.Tenant, cfg.App, readmeRequest("w1", false))
	want := []abi.Liveness{
		{Kind: abi.KindAPIToken, Live: abi.LiveUnknown}, {Kind: abi.KindWebSession, Live: abi.LiveUnknown},
	}
	if diff := cmp.Diff(want, live.Kinds); err != nil || diff != "" {
		t.Errorf("verify: %v (-want +got):\n%s", err, diff)
	}
}
