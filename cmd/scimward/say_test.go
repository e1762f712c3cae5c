package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
)

// TestDurationsAreReadInTheLog: not as nanoseconds, in groups neither.
func TestDurationsAreReadInTheLog(t *testing.T) {
	var b bytes.Buffer
	l := newLogger(&b, "info")
	l.Info("x", slog.Duration("took", 1200*time.Microsecond), slog.Group("g", slog.Any("left", 2*time.Minute)), slog.Int("n", 7), slog.Any("url", &url.URL{Path: "/p", RawQuery: "secret=1"}))
	for _, want := range []string{`"took":"1.2ms"`, `"left":"2m0s"`, `"n":7`, `"url":"/p"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\nwant %s", &b, want)
		}
	}
}

// TestHintsFitTheFault: a file that may not be read is not to be written anew.
func TestHintsFitTheFault(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		hint string
	}{
		"absent":    {fs.ErrNotExist, "write one with `scimward init DIR`"},
		"forbidden": {fs.ErrPermission, "run this as the user that may read it"},
		"other":     {errors.New("a fault"), ""},
	} {
		err := explain(fmt.Errorf("reading configuration: %w", tt.err))
		var h hinted
		if errors.As(err, &h); !errors.Is(err, tt.err) || !strings.Contains(h.hint, tt.hint) || tt.hint == "" && h.hint != "" {
			t.Errorf("%s: %v, hint %q", name, err, h.hint)
		}
	}
	if explain(nil) != nil {
		t.Error("no fault is one")
	}
}

func TestStatusSaysWhoIsStillIn(t *testing.T) {
	since := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	kind := func(app, kind, state, code string) sidecar.OpenKind {
		return sidecar.OpenKind{App: app, Kind: kind, Epoch: 1, State: state, Code: code}
	}
	s := &sidecar.Status{
		Version: "v9", Started: time.Now(), Ready: true, MoreLeavers: 3,
		Tenants: []sidecar.TenantStatus{
			{Name: "acme", Users: 40, Open: 7, OpenUsers: 5, OldestSec: 61, Failed: 1, ProxyOnly: 2},
			{Name: "globex", Bounded: true, Failed: 2, ProxyOnly: 9},
		},
		Leavers: []sidecar.Leaver{
			{Tenant: "acme", User: "id-1", UserName: "ada", Since: since, Breached: true, Kinds: []sidecar.OpenKind{
				kind("wiki", "pat", "retrying", "app_denied"), kind("wiki", "ssh_key", "retrying", "app_denied"), kind("wiki", "device", "failed", "gave_up"), kind("zine", "pat", "retrying", "app_denied"),
			}},
			{Tenant: "acme", User: "id-2", UserName: "bob", Since: since},
		},
	}
	var b bytes.Buffer
	if err := printStatus(&b, s); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(strings.ReplaceAll(b.String(), "\n", " | ")), " ")
	for _, want := range []string{
		"| TENANT USERS GROUPS STILL BEING REVOKED OLDEST BREACHED FAILED AT PROXY ONLY |",
		"| acme 40 0 5 1m1s 0 1 2 |",
		"| globex 0 0 0 - 0 2+ 9+ |",
		"| id-1 ada acme 2026-03-01 09:00:00 UTC (breached) wiki pat, ssh_key: retrying (app_denied); device: failed (gave_up) |",
		"| id-1 ada acme 2026-03-01 09:00:00 UTC (breached) zine pat: retrying (app_denied) |",
		"| id-2 bob acme 2026-03-01 09:00:00 UTC - the last proof is being recorded |",
		"| and 3 more |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", &b, want)
		}
	}
}

// TestWellIsNothingToDo: exit code 0 means that nobody need look.
func TestWellIsNothingToDo(t *testing.T) {
	status := func(change func(*sidecar.Status, *sidecar.TenantStatus)) *sidecar.Status {
		s := &sidecar.Status{Ready: true, Tenants: []sidecar.TenantStatus{{Name: "a"}, {Name: "b", Open: 1, OpenUsers: 1, ProxyOnly: 1}}}
		change(s, &s.Tenants[1])
		return s
	}
	if !well(status(func(*sidecar.Status, *sidecar.TenantStatus) {})) {
		t.Error("work that goes on is not well")
	}
	for name, change := range map[string]func(*sidecar.Status, *sidecar.TenantStatus){
		"not ready": func(s *sidecar.Status, _ *sidecar.TenantStatus) { s.Ready = false },
		"breached":  func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.Breached = 1 },
		"failed":    func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.Failed = 1 },
		"denied":    func(_ *sidecar.Status, t *sidecar.TenantStatus) { t.AppDenied = 1 },
	} {
		if well(status(change)) {
			t.Errorf("%s is well", name)
		}
	}
}

// answers is a configuration whose admin listener is h.
func answers(t *testing.T, h http.HandlerFunc) (file, data string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	file = filepath.Join(dir, "scimward.yaml")
	text := "version: 1\ndata_dir: data\nlisten: {scim: '127.0.0.1:0', admin: '" + strings.TrimPrefix(srv.URL, "http://") + "'}\n" + `tenants:
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

// TestEvidenceOfSeveral: the list is on standard error, the exit code 1, and no
// report is chosen for who asked.
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
		t.Errorf("exit code %d, %q", code, stdout)
	}
	for _, want := range []string{"scimward: several users left under this name", "id-2  ada        2       enforced at proxy  2026-03-02 09:00:00 UTC", "id-1  Ada        1       verified", "and more", "hint: scimward evidence id-2"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%s\nwant %s", stderr, want)
		}
	}
}

// TestWhoAnswers: no answer of anything but the scimward of this configuration is
// believed.
func TestWhoAnswers(t *testing.T) {
	for name, tt := range map[string]struct{ header, want string }{
		"another program":  {"", "is not scimward"},
		"another scimward": {"/srv/other", "(data in /srv/other)"},
		"garbage":          {"%zz", "is not scimward"},
	} {
		file, _ := answers(t, func(w http.ResponseWriter, _ *http.Request) {
			if tt.header != "" {
				w.Header().Set(sidecar.HeaderDataDir, tt.header)
			}
			_, _ = w.Write([]byte(`{"ready":true}`))
		})
		for _, args := range [][]string{{"status", "-c", file}, {"evidence", "ada", "-c", file}} {
			if code, stdout, stderr := command(args...); code != 1 || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("%s: %s: exit code %d, %q %q, want %q", name, args[0], code, stdout, stderr, tt.want)
			}
		}
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if !sameFolder(dir, link) || !sameFolder(dir, dir+"/.") || sameFolder(dir, filepath.Dir(dir)) || sameFolder("/none/a", "/none/b") {
		t.Error("folders are compared wrongly")
	}
}

// TestVerifiedReportTellsItsClaim: that a report holds does not mean that the user
// is out.
func TestVerifiedReportTellsItsClaim(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	printClaim(&b, &sidecar.Evidence{User: "id-1", UserName: "ada", Tenant: "acme", Generated: at, Status: "revoking", Offboardings: []sidecar.EvidenceOffboarding{
		{Epoch: 1, Event: "user.deactivated", Status: "enforced_at_proxy", Received: at}, {Epoch: 2, Event: "user.deleted", Status: "revoking", Received: at},
	}})
	for _, want := range []string{"it says of ada (id-1), tenant acme, at 2026-03-01 09:00:00 UTC: revoking\n", "epoch 1: user.deactivated, received 2026-03-01 09:00:00 UTC: enforced at proxy\n", "epoch 2: user.deleted"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\nwant %s", &b, want)
		}
	}
}
