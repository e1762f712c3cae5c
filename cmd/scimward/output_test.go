package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
)

// TestLogAttributes: durations have a unit, also in groups. Only the path of a URL is logged.
func TestLogAttributes(t *testing.T) {
	var b bytes.Buffer
	l := newLogger(&b, "info")
	l.Info("x", slog.Duration("took", 1200*time.Microsecond), slog.Group("g", slog.Any("left", 2*time.Minute)),
		slog.Int("n", 7), slog.Any("url", &url.URL{Path: "/p", RawQuery: "secret=1"}))
	for _, want := range []string{`"took":"1.2ms"`, `"left":"2m0s"`, `"n":7`, `"url":"/p"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\nwant %s", &b, want)
		}
	}
}

// TestHintsFitTheFault: the hint for a file that cannot be read does not propose to write another.
func TestHintsFitTheFault(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		hint string
	}{
		"absent":    {fs.ErrNotExist, "write one with `scimward init DIR`"},
		"forbidden": {fs.ErrPermission, "run this as a user that may read it"},
		"other":     {errors.New("a fault"), ""},
	} {
		err := explain(fmt.Errorf("reading configuration: %w", tt.err))
		var h failure
		errors.As(err, &h)
		if !errors.Is(err, tt.err) || !strings.Contains(h.hint, tt.hint) || tt.hint == "" && h.hint != "" {
			t.Errorf("%s: %v, hint %q", name, err, h.hint)
		}
	}
	if err := explain(nil); err != nil {
		t.Errorf("explain(nil) = %v, want nil", err)
	}
}

// TestStatusListsLeavers: status lists each leaver with one line per application, and the totals of
// each tenant.
func TestStatusListsLeavers(t *testing.T) {
	since := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	kind := func(app, kind, state, code string) sidecar.OpenKind {
		return sidecar.OpenKind{App: app, Kind: kind, Epoch: 1, State: state, Code: code}
	}
	s := &sidecar.Status{
		Version: "v9", Started: time.Now(), Ready: true, MoreLeavers: 3,
		Tenants: []sidecar.TenantStatus{
			{Name: "acme", Users: 40, Open: 7, OpenUsers: 5, OldestSec: 61, Failed: 1, ProxyOnly: 2, ListedOnly: 3},
			{Name: "globex", Bounded: true, Failed: 2, ProxyOnly: 9},
		},
		Leavers: []sidecar.Leaver{
			{Tenant: "acme", User: "id-1", UserName: "ada", Since: since, Breached: true, Kinds: []sidecar.OpenKind{
				kind("wiki", "pat", "retrying", "app_denied"), kind("wiki", "ssh_key", "retrying", "app_denied"),
				{App: "wiki", Kind: "device", Epoch: 1, State: "failed", Code: "gave_up", Message: "the API\x1b[2J answers 500\u202e"},
				kind("zine", "pat", "retrying", "app_denied"),
			}},
			{Tenant: "acme", User: "id-2", UserName: "bob", Since: since},
		},
		Unprovisioned: []sidecar.AppUnprovisioned{{
			Tenant: "acme", App: "wiki", Mode: "observe", More: true, Examples: []sidecar.UnprovisionedPerson{
				{Kind: "user_name", Name: `CORP\carl`, Source: "header:x-user", Outcome: "observed", Times: 7, Last: since},
			},
		}},
		Refused: []sidecar.RefusedDeactivation{{
			Tenant: "acme", User: "id-3", UserName: "eve\x1b[2J", Client: "idp", Asked: "unseen", Status: 413, Reason: "body_partial",
			First: since, Last: since.Add(time.Hour), Count: 4,
		}},
		MoreRefused: 2,
	}
	text := statusText(s)
	got := strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", " | ")), " ")
	for _, want := range []string{
		"| TENANT USERS GROUPS STILL BEING REVOKED OLDEST BREACHED FAILED AT PROXY ONLY BY LISTING |",
		"| acme 40 0 5 1m1s 0 1 2 3 |",
		"| globex 0 0 0 - 0 2+ 9+ 0+ |",
		"| id-1 ada acme 2026-03-01 09:00:00 UTC (breached) wiki pat, ssh_key: retrying (app_denied); device: failed (gave_up): the API [2J answers 500 |",
		"| id-1 ada acme 2026-03-01 09:00:00 UTC (breached) zine pat: retrying (app_denied) |",
		"| id-2 bob acme 2026-03-01 09:00:00 UTC - scimward is recording the last proof |",
		"| and 3 more |",
		`| observed user name "CORP\\carl" header:x-user acme/wiki 7 2026-03-01 09:00:00 UTC |`,
		"| and more persons of acme/wiki |",
		"| id-3 eve [2J acme unknown (body not read) idp 2026-03-01 09:00:00 UTC 2026-03-01 10:00:00 UTC 4 413 body_partial |",
		"| and 2 more |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", text, want)
		}
	}
}

// TestWell: exit code 0 means that an operator need not look.
func TestWell(t *testing.T) {
	status := func(change func(*sidecar.Status, *sidecar.TenantStatus)) *sidecar.Status {
		busy := sidecar.TenantStatus{Name: "b", Open: 1, OpenUsers: 1, ProxyOnly: 1}
		s := &sidecar.Status{
			Ready: true, Tenants: []sidecar.TenantStatus{{Name: "a"}, busy}, Plugins: []sidecar.PluginStatus{{Health: "ok"}},
		}
		change(s, &s.Tenants[1])
		return s
	}
	if !well(status(func(*sidecar.Status, *sidecar.TenantStatus) {})) {
		t.Error("well() = false with ordinary work, want true")
	}
	for name, change := range map[string]func(*sidecar.Status, *sidecar.TenantStatus){
		"not ready": func(s *sidecar.Status, _ *sidecar.TenantStatus) { s.Ready = false },
		"breached":  func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.Breached = 1 },
		"failed":    func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.Failed = 1 },
		"refused":   func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.Refused = 1 },
		"a plugin":  func(s *sidecar.Status, _ *sidecar.TenantStatus) { s.Plugins[0].Health = "degraded" },
		"denied":    func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.AppDenied = 1 },
		"clients":   func(s *sidecar.Status, _ *sidecar.TenantStatus) { s.Config.ClientsFault = "no keys" },
		"a policy":  func(s *sidecar.Status, _ *sidecar.TenantStatus) { s.Policies = []sidecar.PolicyStatus{{Fault: "f"}} },
		"a slow policy": func(s *sidecar.Status, _ *sidecar.TenantStatus) {
			s.Policies = []sidecar.PolicyStatus{{Preparing: &sidecar.PolicyPreparing{Slow: true}}}
		},
		"no policy": func(s *sidecar.Status, _ *sidecar.TenantStatus) {
			s.Policies = []sidecar.PolicyStatus{{Required: true}}
		},
	} {
		if well(status(change)) {
			t.Errorf("well() = true with %s, want false", name)
		}
	}
}

// TestStatusSaysWhatIsNotInForce: status names why the token endpoint lacks the newest clients.
func TestStatusSaysWhatIsNotInForce(t *testing.T) {
	text := statusText(&sidecar.Status{Config: sidecar.ConfigStatus{ClientsFault: "reading keys.json"}})
	if !strings.Contains(text, "does not know the newest clients") || !strings.Contains(text, "reading keys.json") {
		t.Errorf("status: %s", text)
	}
}

// answers writes a configuration whose admin socket is served by h.
func answers(t *testing.T, h http.HandlerFunc) (file, data string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sw") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	srv := httptest.NewUnstartedServer(h)
	_ = srv.Listener.Close()
	if srv.Listener, err = net.Listen("unix", filepath.Join(dir, "admin.sock")); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	file = filepath.Join(dir, "scimward.yaml")
	text := "version: 1\ndata_dir: data\nlisten: {scim: '127.0.0.1:0', admin: 'unix:admin.sock'}\n" + `tenants:
  - name: acme
    external_url: https://app.example.com
    identity_services: [{client_id: idp, keys: {jwks_file: none.json}}]
    apps: [{name: app, upstream: "http://127.0.0.1:3000", subjects: [{header: x-user, is: user_name}]}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, filepath.Join(dir, "data")
}

func command(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestEvidenceOfSeveral: with several users of one name the command lists them on standard error,
// prints no report and exits 1.
func TestEvidenceOfSeveral(t *testing.T) {
	data := ""
	file, data := answers(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(sidecar.HeaderDataDir, url.PathEscape(data))
		w.WriteHeader(http.StatusMultipleChoices)
		_, _ = w.Write([]byte(`{"detail":"several users left under this name: ask by SCIM id","more":true,"matches":[
			{"user":"id-2","user_name":"ada","epochs":2,"status":"enforced_at_proxy","when":"2026-03-02T09:00:00Z"},
			{"user":"id-1","user_name":"Ada","epochs":1,"status":"verified","when":"2026-03-01T09:00:00Z"}]}`))
	})
	code, stdout, stderr := command("evidence", "ada", "-c", file)
	if code != 1 || stdout != "" {
		t.Errorf("exit code %d, stdout %q, want 1 and no output", code, stdout)
	}
	for _, want := range []string{
		"scimward: several users left under this name", "id-2  ada        2       enforced at proxy  2026-03-02 09:00:00 UTC",
		"id-1  Ada        1       verified", "and more", "hint: scimward evidence id-2",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%s\nwant %s", stderr, want)
		}
	}
}

// TestWhoAnswers: a command accepts answers only from the scimward of its configuration.
func TestWhoAnswers(t *testing.T) {
	for name, tt := range map[string]struct{ header, want string }{
		"another program":  {"", "another program than scimward"},
		"another scimward": {"/srv/other", "(data in /srv/other)"},
		"garbage":          {"%zz", "another program than scimward"},
	} {
		file, _ := answers(t, func(w http.ResponseWriter, _ *http.Request) {
			if tt.header != "" {
				w.Header().Set(sidecar.HeaderDataDir, tt.header)
			}
			_, _ = w.Write([]byte(`{"ready":true}`))
		})
		for _, args := range [][]string{{"status", "-c", file}, {"evidence", "ada", "-c", file}} {
			code, stdout, stderr := command(args...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("%s: %s: exit code %d, %q %q, want %q", name, args[0], code, stdout, stderr, tt.want)
			}
		}
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if !sameFolder(dir, link) || !sameFolder(dir, dir+"/.") {
		t.Errorf("sameFolder(%q, …) = false for one folder, want true", dir)
	}
	if sameFolder(dir, filepath.Dir(dir)) || sameFolder("/none/a", "/none/b") {
		t.Errorf("sameFolder(%q, …) = true for two folders, want false", dir)
	}
}

// TestUnsupportedKindHasNoCount: nobody looked for such credentials, so the report does not say 0.
func TestUnsupportedKindHasNoCount(t *testing.T) {
	text := evidenceText(&sidecar.Evidence{Offboardings: []sidecar.EvidenceOffboarding{{Kinds: []sidecar.EvidenceKind{
		{App: "wiki", Kind: "pat", State: "unsupported", Attempts: 1}, {App: "wiki", Kind: "device", State: "revoked", Attempts: 1},
	}}}})
	for _, want := range []string{`pat +unsupported +- +- +1`, `device +revoked +0 +0 +1`} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s\nwant %s", text, want)
		}
	}
}

// TestClaim: verify prints the claims of a report, because a valid report does not mean that the
// user has lost access.
func TestClaim(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	text := claimText(&sidecar.Evidence{
		User: "id-1", UserName: "ada", Tenant: "acme", Generated: at, Status: "revoking",
		Offboardings: []sidecar.EvidenceOffboarding{
			{Epoch: 1, Event: "user.deactivated", Status: "enforced_at_proxy", Received: at},
			{Epoch: 2, Event: "user.deleted", Status: "revoking", Received: at},
		},
	})
	for _, want := range []string{
		"the report says: ada (id-1), tenant acme, at 2026-03-01 09:00:00 UTC: revoking\n",
		"epoch 1: user.deactivated, received 2026-03-01 09:00:00 UTC: enforced at proxy\n", "epoch 2: user.deleted",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nwant %s", text, want)
		}
	}
}
