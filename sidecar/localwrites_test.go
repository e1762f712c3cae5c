package sidecar_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"

	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store/audit"
)

// closed is base with routes that change accounts.
var closed = strings.Replace(base, "        subjects:", `        exempt: [glass]
        local_writes: [{path: /signup}, {path: /admin, exempt: allow}, {path: /me, fields: [email]}]
        subjects:`, 1)

// post asks about a POST to the application and returns the code and the text of the answer.
func (r *running) post(path, user string, bodies ...string) (int32, string) {
	r.t.Helper()
	declared := append(passes.New([]string{passes.EveryHeader}, bodies, nil), passes.Upstream("localhost:3000"))
	res := r.response(map[string]string{
		"surface": "app", "tenant": "acme", "app": "app", "passes": declared.String(),
	}, &authv3.AttributeContext_HttpRequest{
		Method: "POST", Path: path, Host: "app.example.com",
		Headers: map[string]string{"x-user": user, "accept": "application/json", "content-type": "application/json"}, Body: `{"theme":"dark"}`,
	})
	return int32(res.GetDeniedResponse().GetStatus().GetCode()), res.GetDeniedResponse().GetBody()
}

// about returns the audit records about a user with one action.
func (r *running) about(who, action string) (out []audit.Record) {
	r.t.Helper()
	res, err := r.operator().Get("http://admin/v1/tenants/acme/audit?user=" + who)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return nil
	}
	for d := json.NewDecoder(res.Body); ; {
		var rec audit.Record
		if err := d.Decode(&rec); err == io.EOF {
			return out
		} else if err != nil {
			r.t.Fatal(err)
		}
		if rec.Action == action {
			out = append(out, rec)
		}
	}
}

// TestLocalWritesAreAudited: who tried to change an account in the application, and what an exempt account did, is in
// the audit trail under the person, once an hour for each route.
func TestLocalWritesAreAudited(t *testing.T) {
	now, c, dir := newClock(), newIDP(t), newFolder(t, closed)
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), c.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	c.r = startIn(t, dir, sidecar.Options{Now: now.now})
	user := c.create("/Users", c.token(), aUser)
	var name struct{ UserName string }
	if err := json.Unmarshal([]byte(aUser), &name); err != nil {
		t.Fatal(err)
	}
	expect := func(want int32, path, who string) {
		t.Helper()
		if code, text := c.r.post(path, who, "/me"); code != want {
			t.Errorf("%s of %s: %d %s, want %d", path, who, code, text, want)
		}
	}
	recorded := func(who, action string, want int) (last audit.Record) {
		t.Helper()
		until(t, fmt.Sprintf("%d records %s of %s", want, action, who), func() bool {
			all := c.r.about(who, action)
			if len(all) > want {
				t.Fatalf("%d records, want %d: %+v", len(all), want, all)
			}
			if len(all) == want && want > 0 {
				last = all[want-1]
			}
			return len(all) == want
		})
		return last
	}
	for range 3 {
		expect(403, "/signup", name.UserName)
		expect(0, "/admin", "glass")
	}
	expect(403, "/admin/x", name.UserName)
	expect(0, "/me", name.UserName)
	recorded(user, "app.local_write", 2)
	got := recorded(name.UserName, "app.local_write", 2)
	if got.Outcome != audit.OutcomeRefused || got.Resource != user || got.Detail != "app app: POST local_writes /admin" {
		t.Errorf("recorded %+v", got)
	}
	if got := recorded("glass", "app.exempt.used", 1); got.Outcome != audit.OutcomeDone || !strings.Contains(got.Detail, "POST /admin") {
		t.Errorf("recorded %+v, want the use of the exempt account", got)
	}
	now.move(61 * time.Minute)
	expect(403, "/signup", name.UserName)
	expect(0, "/admin", "glass")
	recorded(user, "app.local_write", 3)
	recorded("glass", "app.exempt.used", 2)

	s := c.r.status().Unprovisioned
	if len(s) != 1 || len(s[0].Exempt) != 1 || len(s[0].ExemptRoutes) != 1 || s[0].Requests["exempt_local_write"] != 4 {
		t.Errorf("status %+v, want the exempt account and its route", s)
	}
	if _, metrics := c.r.get("/metrics"); !strings.Contains(metrics,
		`scimward_unprovisioned_requests_total{app="app",outcome="exempt_local_write",tenant="acme"} 4`) {
		t.Error("the metric does not count the exempt account")
	}
}

// TestFloodOfRefusals: many people who try to change accounts do not fill the store. What is not written is counted.
func TestFloodOfRefusals(t *testing.T) {
	r := start(t, strings.Replace(closed, "        exempt:", "        unprovisioned: allow\n        exempt:", 1))
	const people = 400
	for i := range people {
		if code, text := r.post("/signup", fmt.Sprint("p", i), "/me"); code != 403 {
			t.Fatalf("%d %s, want 403", code, text)
		}
	}
	until(t, "each refusal is written or counted", func() bool {
		written := strings.Count(r.trail(), `"action":"app.local_write"`)
		_, metrics := r.get("/metrics")
		dropped := 0
		for line := range strings.Lines(metrics) {
			if rest, ok := strings.CutPrefix(line, `scimward_app_audit_unwritten_total{cause="rate",tenant="acme"} `); ok {
				_, _ = fmt.Sscan(rest, &dropped)
			}
		}
		if dropped == 0 {
			t.Fatalf("nothing was dropped, %d written", written)
		}
		return written+dropped == people
	})
}

// TestBundleLocalWrites: a bundle denies routes beside those of the configuration, names itself in the refusal, and
// opens none. One that names an unknown app, or fields of a route whose body Envoy withholds, does not come into force.
// When the configuration changes so later, the whole route is denied and status says so.
func TestBundleLocalWrites(t *testing.T) {
	dir := t.TempDir()
	r := start(t, strings.Replace(policyOf(t, closed, dir, "    requests_per_second: 60\n"), "unsigned: allow",
		"unsigned: allow\n      poll: 1s", 1))
	serial := 0
	ship := func(writes, fault string) sidecar.PolicyStatus {
		t.Helper()
		serial++
		files := bundletest.With(bundletest.Files(serial, "alpha"), "policy/data.json", `{"local_writes":`+writes+`}`)
		for _, name := range []string{"policy/data.json", bundletest.Rules, bundletest.Tests, bundletest.Manifest} {
			if err := os.MkdirAll(filepath.Join(dir, "policy"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var p sidecar.PolicyStatus
		until(t, "the bundle is judged", func() bool {
			p = r.status().Policies[0]
			in := p.Active != nil && p.Active.Serial == uint64(serial)
			return fault == "" && in && p.Fault == "" || fault != "" && (in || strings.Contains(p.Fault, fault))
		})
		return p
	}
	expect := func(want int32, path, says string) {
		t.Helper()
		if code, text := r.post(path, "glass", "/me"); code != want || !strings.Contains(text, says) {
			t.Errorf("POST %s: %d %s, want %d and %q", path, code, text, want, says)
		}
	}
	expect(0, "/profile", "")
	ended := r.socket("/profile")
	ship(`{"app":[{"path":"/profile"},{"path":"/me","fields":["theme"]},{"path":"/admin/roles"}]}`, "")
	expect(403, "/profile", "policy/local_writes /profile: accounts of this application")
	if got := ended(); got != codes.PermissionDenied {
		t.Errorf("the open stream of a route that the bundle denies ended with %s, want %s", got, codes.PermissionDenied)
	}
	expect(403, "/me", "policy/local_writes /me (theme)")
	expect(403, "/signup", "local_writes /signup: ")
	expect(0, "/admin", "")
	expect(403, "/admin/roles", "policy/local_writes")

	for writes, says := range map[string]string{
		`{"wiki":[{"path":"/profile"}]}`:                    `tenant acme has no such app`,
		`{"app":[{"path":"/settings","fields":["email"]}]}`: "Envoy withholds the body of this path",
	} {
		if p := ship(writes, says); !strings.Contains(p.Fault, says) || p.FaultStage != "local_writes" {
			t.Errorf("%s: %s %q, want %q", writes, p.FaultStage, p.Fault, says)
		}
		expect(403, "/profile", "policy/local_writes")
	}

	r.write("scimward.yaml", strings.Replace(read(t, filepath.Join(r.dir, "scimward.yaml")), ", {path: /me, fields: [email]}", "", 1))
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(403, "/me", "policy/local_writes /me: ")
	if p := r.status().Policies[0]; len(p.LocalWriteFaults) != 1 || !strings.Contains(p.LocalWriteFaults[0], "/me of app app") {
		t.Errorf("status %+v, want the route whose body is withheld", p)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
