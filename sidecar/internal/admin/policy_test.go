package admin_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// withBundles gives tenant acme a policy whose bundles come from a folder, "" for none.
func (s *service) withBundles(source string) {
	s.t.Helper()
	s.options.Bundles = bundles.New(bundles.Options{
		Activate: func(bundles.InForce) {}, Now: time.Now,
		Bytes: func(ctx context.Context, tenant, sum string) ([]byte, error) {
			return admin.PolicyBundle(ctx, s.store, tenant, sum)
		},
		Judge:  func(string, policies.LocalWrites) []string { return nil },
		Logger: slog.New(slog.DiscardHandler),
		Record: func(ctx context.Context, tenant string, c bundles.Change) error {
			return admin.RecordPolicy(ctx, s.store, tenant, storetest.Cause(admin.PolicyFetched), c)
		},
		Last: func(ctx context.Context, tenant string) (bundles.Entry, error) {
			return admin.LastPolicy(ctx, s.store, tenant)
		},
	})
	s.t.Cleanup(s.options.Bundles.Close)
	stop, err := admin.FollowPolicies(s.t.Context(), s.store, s.options.Bundles)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(stop)
	acme := bundles.Tenant{Name: "acme", Every: time.Hour, Trust: bundle.Trust{Unsigned: true}}
	if source != "" {
		acme.Source = bundles.Dir(source)
	}
	s.options.Bundles.SetTenants(s.t.Context(), []bundles.Tenant{acme})
	s.withKeys(nil)
}

// packed is the template bundle with another revision and serial, and more rules.
func packed(t *testing.T, serial int, more string) (dir, encoded string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../../examples/policies/template")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		".manifest":        fmt.Sprintf(`{"revision":"r%d","roots":["policy"],"rego_version":1,"metadata":{"serial":%d}}`, serial, serial),
		"policy/more.rego": "package policy\n" + more,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := bundle.Archive(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return dir, base64.StdEncoding.EncodeToString(raw)
}

// TestPolicyChanges: an operator pushes, fetches and rolls back bundles. Each change is in the log with the operator
// and the reason.
func TestPolicyChanges(t *testing.T) {
	s := newService(t)
	folder, _ := packed(t, 3, "")
	s.withBundles(folder)
	_, first := packed(t, 1, "")
	_, second := packed(t, 2, "")
	for _, step := range []struct {
		route, body, revision string
		changed, pinned       bool
	}{
		{"push", `{"bundle":"` + first + `","reason":"first"}`, "r1", true, false},
		{"push", `{"bundle":"` + first + `","reason":"again"}`, "r1", false, false},
		{"push", `{"bundle":"` + second + `","reason":"second"}`, "r2", true, false},
		{"rollback", `{"reason":"it refuses too much"}`, "r1", true, true},
		{"activate", `{}`, "r3", true, false},
		{"rollback", `{"to":"r2","reason":"r3 is worse"}`, "r2", true, true},
	} {
		var got admin.PolicyChanged
		s.post("policy/"+step.route, step.body, &got)
		revision := ""
		if got.Active != nil {
			revision = got.Active.Revision
		}
		if revision != step.revision || got.Changed != step.changed || got.Pinned != step.pinned {
			t.Errorf("%s: %+v, want %s, changed %v, pinned %v", step.route, got, step.revision, step.changed, step.pinned)
		}
	}
	// The folder still has r3.
	w := s.do("POST", "/v1/tenants/acme/policy/activate", `{}`)
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "a rollback has removed what the source still has, "+
		"revision r3: publish one with a higher serial than 3") {
		t.Errorf("activate after a rollback: %d %s", w.Code, w.Body)
	}
	var log admin.PolicyLog
	if err := json.Unmarshal(s.get("/v1/tenants/acme/policy/log").Body.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range log.Changes {
		revision, _, _ := strings.Cut(strings.TrimPrefix(c.Detail, "revision "), ",")
		got = append(got, strings.Join([]string{c.Action, revision, c.Actor, c.Claimed, c.Reason}, " "))
	}
	want := []string{
		"policy.push r1 operator:op Zoë first", "policy.push r2 operator:op Zoë second",
		"policy.rollback r1 operator:op Zoë it refuses too much", "policy.fetch r3 operator:op Zoë ",
		"policy.rollback r2 operator:op Zoë r3 is worse",
	}
	if !slices.Equal(got, want) {
		t.Errorf("log %q, want %q", got, want)
	}

	// After a restart the store has it, and the audit trail knows of it.
	status := s.options.Bundles.Status()[0]
	last, err := admin.LastPolicy(t.Context(), s.store, "acme")
	if err != nil || last.SHA256 != status.Active.SHA256 || last.Serial != 3 {
		t.Errorf("the audit trail has %+v (%v), want the bundle %+v and serial 3", last, err, status.Active)
	}
	if last, err := admin.LastPolicy(t.Context(), s.store, "globex"); err != nil || last.SHA256 != "" {
		t.Errorf("a tenant that never had a bundle: %+v, %v", last, err)
	}
	s.withBundles("")
	if again := s.options.Bundles.Status()[0]; again.Active == nil || again.Active.SHA256 != status.Active.SHA256 ||
		!again.Pinned || len(again.Kept) != len(status.Kept) {
		t.Errorf("after a restart: %+v, want %+v", again, status)
	}
}

// TestRefusedPolicy: a refused bundle answers with stage and reason and changes nothing: neither what is in force, nor
// the status, nor the audit trail.
func TestRefusedPolicy(t *testing.T) {
	s := newService(t)
	s.withBundles("")
	_, good := packed(t, 5, "")
	var first admin.PolicyChanged
	s.post("policy/push", `{"bundle":"`+good+`","reason":"first"}`, &first)
	before := s.get("/v1/policies").Body.String()
	head := func() (n int) {
		s.update(func(tx *store.Tx) error {
			all, err := tx.AuditOf("policy")
			n = len(all)
			return err
		})
		return n
	}
	_, old := packed(t, 4, "")
	_, broken := packed(t, 6, "x := http.send({})")
	dir, _ := packed(t, 6, "")
	if err := os.WriteFile(filepath.Join(dir, "policy/bad_test.rego"), []byte("package policy.test\n\ntest_no if false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := bundle.Archive(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	failing := base64.StdEncoding.EncodeToString(raw)
	for name, tt := range map[string]struct{ bundle, stage, reason string }{
		"replay":      {old, "serial", "serial 4 is not higher than 5"},
		"http":        {broken, "compile", "http.send"},
		"tests":       {failing, "test", "test_no"},
		"no archive":  {"AAAA", "archive", "tar.gz"},
		"large":       {base64.StdEncoding.EncodeToString(make([]byte, bundle.MaxBytes+1)), "size", "more than"},
		"nothing":     {"", "", ""},
		"beyond push": {strings.Repeat("A", 2*bundle.MaxBytes), "", ""},
	} {
		w := s.do("POST", "/v1/tenants/acme/policy/push", `{"bundle":"`+tt.bundle+`","reason":"r"}`)
		var got struct{ Stage, Reason, Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		coded := w.Code == 422 || tt.stage == "" && w.Code >= 400
		if !coded || got.Stage != tt.stage || !strings.Contains(got.Reason, tt.reason) {
			t.Errorf("%s: %d %s, want stage %q and %q", name, w.Code, w.Body, tt.stage, tt.reason)
		}
	}
	for route, want := range map[string]struct {
		body   string
		code   int
		detail string
	}{
		"acme/policy/push":       {`{"bundle":"` + good + `"}`, 400, "a reason is required"},
		"acme/policy/rollback":   {`{"to":"r9","reason":"r"}`, 404, "no such revision"},
		"acme/policy/activate":   {`{}`, 409, "no source"},
		"globex/policy/rollback": {`{"reason":"r"}`, 409, "no policy"},
		"none/policy/rollback":   {`{"reason":"r"}`, 404, "no tenant"},
	} {
		isProblem(t, s.do("POST", "/v1/tenants/"+route, want.body), want.code, want.detail)
	}
	if after := s.get("/v1/policies").Body.String(); after != before {
		t.Errorf("after the refusals %s, want %s", after, before)
	}
	if n := head(); n != 1 {
		t.Errorf("%d audit records about the policy, want 1", n)
	}
}
