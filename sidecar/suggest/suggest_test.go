package suggest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/sidecar/suggest"
	"github.com/scimward/scimward/store/subject"
)

// file is a configuration up to the local_writes of its app.
const file = `version: 1
tenants:
  - name: acme
    external_url: https://app.example.com
    identity_services:
      - client_id: idp
        keys: {jwks_uri: https://idp.example.com/jwks}
    apps:
      - name: app
        upstream: http://127.0.0.1:3000
        subjects:
          - header: authorization
            scheme: bearer
            is: jwt
            jwt: {issuer: "https://app.example.com", keys: {jwks_uri: "https://app.example.com/jwks"}}
`

// loaded returns what the configuration makes of the printed entries.
func loaded(tb testing.TB, printed string) []config.LocalWrite {
	tb.Helper()
	cfg, err := config.Parse("scimward.yaml", tb.TempDir(), []byte(file+printed))
	if err != nil {
		tb.Fatalf("the printed entries do not load: %v\n%s", err, printed)
	}
	return cfg.Tenants[0].Apps[0].LocalWrites
}

func read(tb testing.TB, name string) *suggest.Document {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	d, err := suggest.Read(b)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// uncommented is the printed text with the entries of low confidence in force.
func uncommented(printed string) string {
	var b strings.Builder
	for line := range strings.Lines(printed) {
		for _, key := range []string{"- path: ", "  methods: ", "  fields: "} {
			line = strings.Replace(line, "# "+key, key, 1)
		}
		b.WriteString(strings.Replace(line, "local_writes: []", "local_writes:", 1))
	}
	return b.String()
}

// TestPrinted compares the whole text for each document, and loads it, with and without the entries of low confidence.
func TestPrinted(t *testing.T) {
	for _, name := range []string{"forge.yaml", "gitserver.json", "saas.yaml"} {
		t.Run(name, func(t *testing.T) {
			s := read(t, name).Suggest(nil)
			want, err := os.ReadFile(filepath.Join("testdata", name+".want"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), s.YAML()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			var sure, all []config.LocalWrite
			for i := range s.Entries {
				all = append(all, s.Entries[i].LocalWrite())
				if s.Entries[i].Confidence != suggest.Low {
					sure = append(sure, s.Entries[i].LocalWrite())
				}
			}
			if diff := cmp.Diff(sure, loaded(t, s.YAML())); diff != "" {
				t.Errorf("loaded: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(all, loaded(t, uncommented(s.YAML()))); diff != "" {
				t.Errorf("loaded with those of low confidence: -want +got\n%s", diff)
			}
		})
	}
}

// TestProposalsAtTheProxy puts the printed entries into force: writes of accounts are refused, and what the identity
// service does not supply passes.
func TestProposalsAtTheProxy(t *testing.T) {
	const refused, passes = false, true
	for name, requests := range map[string][]struct {
		method, path, body string
		want               bool
	}{
		"forge.yaml": {
			{"POST", "/api/v4/users", `{"email": "a@x.example", "username": "a"}`, refused},
			{"PUT", "/api/v4/users/7", `{"name": "Ada"}`, refused},
			{"PUT", "/api/v4/users/7", `admin=true`, refused},
			{"PUT", "/api/v4/users/7", `{"bio": "hello", "theme_id": 3}`, passes},
			{"PUT", "/api/v4/users/7", `bio=hello`, passes},
			{"DELETE", "/api/v4/users/7", ``, refused},
			{"POST", "/api/v4/users/7/block", ``, refused},
			{"POST", "/api/v4/users/7/emails", `{"email": "a@x.example"}`, refused},
			{"POST", "/api/v4/groups/1/members", `{"user_id": 7}`, refused},
			{"POST", "/api/v4/user/keys", `{"title": "laptop", "key": "ssh-ed25519 AAAA"}`, passes},
			{"PUT", "/api/v4/user/status", `{"emoji": "tea"}`, passes},
			{"POST", "/api/v4/projects/1/issues", `{"title": "bug"}`, passes},
			{"POST", "/api/v4/groups/1/labels", `{"name": "bug"}`, passes},
			{"GET", "/api/v4/users", ``, passes},
		},
		"gitserver.json": {
			{"POST", "/api/v1/admin/users", `{"username": "a", "email": "a@x.example"}`, refused},
			{"PATCH", "/api/v1/admin/users/a", `{"active": false}`, refused},
			{"PATCH", "/api/v1/admin/users/a", `{"description": "on leave"}`, passes},
			{"POST", "/api/v1/admin/users/a/rename", `{"new_username": "b"}`, refused},
			{"POST", "/api/v1/admin/users/a/keys", `{"title": "laptop", "key": "ssh-ed25519 AAAA"}`, passes},
			{"DELETE", "/api/v1/admin/users/a", ``, refused},
			{"PATCH", "/api/v1/user/settings", `{"full_name": "Ada"}`, refused},
			{"PATCH", "/api/v1/user/settings", `{"theme": "dark", "hide_email": true}`, passes},
			{"PUT", "/api/v1/teams/3/members/a", ``, refused},
			{"POST", "/api/v1/users/a/tokens", `{"name": "ci"}`, passes},
			{"PUT", "/api/v1/user/starred/o/r", ``, passes},
		},
		"saas.yaml": {
			{"POST", "/signup", `email=a%40x.example&password=s`, refused},
			{"POST", "/login", `email=a%40x.example&password=s`, passes},
			{"PATCH", "/me", `{"user": {"displayName": "Ada"}}`, refused},
			{"PATCH", "/me", `{"user": {"theme": "dark", "notifications": {"weekly": true}}}`, passes},
			{"DELETE", "/me", ``, refused},
			{"PUT", "/me/password", `{"password": "s"}`, refused},
			{"POST", "/me/api-keys", `{"label": "ci"}`, passes},
			{"POST", "/members/invite", `{"email": "a@x.example"}`, refused},
			{"PATCH", "/members/7", `{"status": "suspended"}`, refused},
			{"PATCH", "/members/7", `{"seat": "2b"}`, passes},
			{"PUT", "/members/7/roles", `{}`, refused},
			{"POST", "/emails/send", `{"to": "b@x.example", "title": "hello"}`, passes},
			{"POST", "/notes", `{"title": "t", "name": "n"}`, passes},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := proxy(t, loaded(t, read(t, name).Suggest(nil).YAML()))
			for _, r := range requests {
				if d := send(a, r.method, r.path, r.body); d.Allowed() != r.want {
					t.Errorf("%s %s %s passes: %v, want %v (%s)", r.method, r.path, r.body, d.Allowed(), r.want, d.Detail)
				} else if !slices.Contains([]string{authz.ReasonAllowed, authz.ReasonLocal, request.ReasonBodyMissing}, d.Reason) {
					t.Errorf("%s %s %s is refused as %s, want for its route", r.method, r.path, r.body, d.Reason)
				}
			}
		})
	}
}

// proxy is an Authorizer with one application that takes requests of anybody.
func proxy(t *testing.T, writes []config.LocalWrite) *authz.Authorizer {
	t.Helper()
	app := authz.AppOptions{Anonymous: authz.AnonymousPass}
	for _, w := range writes {
		app.LocalWrites = append(app.LocalWrites, authz.LocalWrite{Path: w.Path, Methods: w.Methods, Fields: w.Fields})
	}
	a, err := authz.New(authz.Options{
		Policy: nothing{}, Locks: nothing{}, Directory: nothing{},
		Tenants: map[string]authz.TenantOptions{
			"acme": {Profile: "ipsie-il1", Verifier: nothing{}, Apps: map[string]authz.AppOptions{"app": app}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func send(a *authz.Authorizer, method, path, body string) authz.Decision {
	r := request.Request{
		Surface: request.SurfaceApp, Tenant: "acme", App: "app", Method: method, Host: "app.example", Path: path,
		Headers: request.Headers{}, Body: []byte(body), Received: time.Now(),
	}
	switch {
	case strings.HasPrefix(body, "{"):
		r.Headers["content-type"] = []string{"application/json"}
	case body != "":
		r.Headers["content-type"] = []string{"application/x-www-form-urlencoded"}
	}
	return a.Decide(context.Background(), r)
}

// nothing is a directory, a lock table and a token verifier that know nobody.
type nothing struct{}

func (nothing) Decide(context.Context, *policies.Input) policies.Verdict       { return policies.Verdict{} }
func (nothing) Locked(string, *subject.Subject) *authz.Lock                    { return nil }
func (nothing) Empty(context.Context, string) bool                             { return true }
func (nothing) Verify(context.Context, string) (token.Claims, error)           { return token.Claims{}, nil }
func (nothing) Find(context.Context, string, *subject.Subject) (string, error) { return "", nil }

// TestConfigured leaves out what the configuration denies, and names what the document does not have.
func TestConfigured(t *testing.T) {
	d := read(t, "gitserver.json")
	all := d.Suggest(nil)
	var configured []config.LocalWrite
	for i := range all.Entries {
		configured = append(configured, all.Entries[i].LocalWrite())
	}
	s := d.Suggest(configured)
	if len(s.Entries) != 0 || s.Counts.Configured != all.Counts.Proposed || len(s.Absent) != 0 {
		t.Errorf("after all entries are configured: %d entries, %+v, absent %v", len(s.Entries), s.Counts, s.Absent)
	}
	s = d.Suggest([]config.LocalWrite{
		{Path: "/api/v1/user/settings", Fields: []string{"theme"}}, // not what was proposed
		{Path: "/api/v1/user/emails"},
		{Path: "/register", Methods: []string{"POST"}},
	})
	if diff := cmp.Diff([]string{"POST /register"}, s.Absent); diff != "" {
		t.Errorf("absent: -want +got\n%s", diff)
	}
	has := func(path string) bool {
		return slices.ContainsFunc(s.Entries, func(e suggest.Entry) bool { return e.Path == path })
	}
	if has("/api/v1/user/emails") || !has("/api/v1/user/settings") || s.Counts.Configured != 2 {
		t.Errorf("%d operations are denied already, want the two of /user/emails: %+v", s.Counts.Configured, s.Entries)
	}
	if strings.Contains(s.YAML(), "local_writes:") {
		t.Error("the text has local_writes, which the app has already")
	}
	loaded(t, "        local_writes:\n"+s.YAML())
}

// TestOperations judges single operations: "-" is not proposed, "left" is looked at.
func TestOperations(t *testing.T) {
	const user = `{"type": "object", "properties": {"email": {}, "theme": {}}}`
	for _, c := range []struct{ method, path, schema, want string }{
		{"post", "/users.create", "", "high"},
		{"post", "/api/users/{id}/setActiveStatus", "", "-"},
		{"post", "/users/{id}/deactivate", "", "high"},
		{"post", "/users/{id}/reset-password", "", "high"},
		{"post", "/forgot_password", "", "high"},
		{"post", "/servers/{id}/password", "", "low"},
		{"post", "/auth/sign-up", "", "high"},
		{"post", "/account/change-email", "", "high"},
		{"post", "/email/change", "", "medium"},
		{"post", "/email", "", "-"},
		{"put", "/user/username", "", "high"},
		{"put", "/branches/{id}/name", "", "-"},
		{"post", "/channels/{id}/members", "", "low"},
		{"post", "/orgs/{id}/members", "", "medium"},
		{"put", "/users/{id}/roles", "", "high"},
		{"post", "/roles", "", "low"},
		{"delete", "/groups/{id}", "", "medium"},
		{"delete", "/users/{id}", "", "high"},
		{"patch", "/users/{id}", user, "high email"},
		{"patch", "/users/{id}", `{"type": "object", "properties": {"theme": {}}}`, "left"},
		{"patch", "/users/{id}", `{"type": "object", "properties": {"email": {}}}`, "high"},
		{"patch", "/users/{id}", `{"type": "object", "properties": {"email": {"readOnly": true}, "theme": {}}}`, "left"},
		{"patch", "/users/{id}", `{"type": "array", "items": ` + user + `}`, "high"},
		{"patch", "/users/{id}", `{"type": "object", "properties": {"op": {}, "path": {}, "email": {}, "value": {}}}`, "high"},
		{"patch", "/users/{id}", `{"allOf": [` + user + `, {"$ref": "other.json"}]}`, "medium"},
		{"patch", "/users/{id}", `{"oneOf": [` + user + `, {"properties": {"status": {"enum": ["active", "suspended"]}}}]}`, "high email,status"},
		{"patch", "/users/{id}", `{"type": "object", "properties": {"email": {}}, "additionalProperties": true}`, "medium"},
		{"patch", "/users/{id}", `{"type": "object", "properties": {"prefs": {"properties": {"email": {}}}, "theme": {}}}`, "left"},
		{"patch", "/users/{id}/settings", user, "high email"},
		{"patch", "/users/{id}/settings", `{}`, "low"},
		{"put", "/users/{id}/avatar", "", "-"},
		{"post", "/users/{id}/ssh_keys", "", "left"},
		{"post", "/orders", user, "-"},
		{"post", "/graphql", "", "low userName,email,displayName,password"},
		{"post", "/api/scim/v2/Groups", "", "high"},
		{"get", "/users", "", "-"},
		{"patch", "/{tenant}/users/{id}.{format}", user, "high email"},
		{"post", "/users/{id}:disable", "", "not expressed"},
		{"post", "/us ers/signup", "", "not expressed"},
	} {
		body := ""
		if c.schema != "" {
			body = `"requestBody": {"content": {"application/json": {"schema": ` + c.schema + `}}}`
		}
		d, err := suggest.Read(fmt.Appendf(nil, `{"openapi": "3.1.0", "paths": {%q: {%q: {%s}}}}`, c.path, c.method, body))
		if err != nil {
			t.Fatal(err)
		}
		s := d.Suggest(nil)
		got := "-"
		switch {
		case len(s.Entries) > 0:
			e := &s.Entries[0]
			got = strings.TrimSpace(string(e.Confidence) + " " + strings.Join(e.Fields, ","))
		case len(s.NotProposed) > 0:
			got = "not expressed"
		case len(s.Left) > 0:
			got = "left"
		}
		if got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", c.method, c.path, c.schema, got, c.want)
		}
	}
}

// TestNothingIsHidden reports what an entry denies beside its own operation, and narrows or doubts it.
func TestNothingIsHidden(t *testing.T) {
	d, err := suggest.Read([]byte(`
openapi: 3.0.0
paths:
  /groups: {post: {}}
  /groups/{id}/issues: {post: {requestBody: {content: {application/json: {schema: {properties: {text: {}}}}}}}}
  /me: {delete: {}}
  /me/avatar: {put: {}, delete: {}}
  /me/posts: {post: {requestBody: {content: {application/json: {schema: {properties: {text: {}}}}}}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range d.Suggest(nil).Entries {
		got[e.Path] = fmt.Sprint(e.Confidence, e.Fields, e.AlsoDenies)
	}
	want := map[string]string{
		"/groups": "low[] [POST /groups/{id}/issues]",
		"/me":     "high[userName email] [DELETE /me/avatar]", // the fields let POST /me/posts pass
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestNarrowingDeniesEveryRequest keeps an entry whole where a request may lack the fields that would narrow it.
func TestNarrowingDeniesEveryRequest(t *testing.T) {
	for required, want := range map[string]string{"": "[]", "required: [email], ": "[email]"} {
		d, err := suggest.Read(fmt.Appendf(nil, `
openapi: 3.0.0
paths:
  /users/{id}/disable:
    post: {requestBody: {content: {application/json: {schema: {%sproperties: {email: {}}}}}}}
  /users/{id}/disable/comments:
    post: {requestBody: {content: {application/json: {schema: {properties: {text: {}}}}}}}
`, required))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(d.Suggest(nil).Entries[0].Fields); got != want {
			t.Errorf("%sgot fields %s, want %s", required, got, want)
		}
	}
}
