package sidecar_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeBundle writes a folder with a bundle of one rule file, and its test.
func writeBundle(t *testing.T, rules string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		".manifest":         `{"revision":"7","roots":["policy"],"rego_version":1,"metadata":{"serial":7}}`,
		"policy/rules.rego": "package policy\n\n" + rules,
		"policy/rules_test.rego": `package policy.test

import data.policy

test_nothing_is_required_of_a_read if count(policy.requirements) == 0 with input as {"method": "GET"}
`,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTenantRulesSeeTheChange: the rules of a tenant read the stored resource and the one that a change gives, for
// users and groups, and refuse with 403 what the profile allows. Nothing of a refused change is stored.
func TestTenantRulesSeeTheChange(t *testing.T) {
	dir := writeBundle(t, `
requirements["keep-title"] := {"message": "a title may not be removed", "fix": "replace it"} if input.stored.title

satisfied contains "keep-title" if input.result.title

requirements["keep-group"] := {"message": "Breakglass stays as it is", "fix": "leave it"} if {
	input.stored.displayName == "Breakglass"
}

requirements["no-group"] := {"message": "nobody makes a second one", "fix": "leave it"} if {
	input.method == "POST"
	input.result.displayName == "Second"
}

requirements["never"] := {"message": "never"} if false

satisfied contains "never" if false
`)
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n      dir: "+dir+
		"\n      unsigned: allow\n    identity_services:", 1))
	until(t, "the bundle is in force", func() bool {
		p := c.r.status().Policies
		return len(p) == 1 && p[0].Active != nil && p[0].Active.Revision == "7"
	})
	bearer := c.token()
	user := c.create("/Users", bearer, strings.Replace(aUser, `"userName"`, `"title":"Dr","userName"`, 1))
	group := c.create("/Groups", bearer, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Breakglass"}`)
	patch := func(op string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + op + `]}`
	}
	for _, step := range []struct {
		method, path, body string
		status             int
		rule               string
	}{
		{"PATCH", "/Users/" + user, patch(`{"op":"replace","path":"title","value":"Prof"}`), 200, ""},
		{"PATCH", "/Users/" + user, patch(`{"op":"remove","path":"title"}`), 403, "policy/keep-title"},
		{"PUT", "/Users/" + user, aUser, 403, "policy/keep-title"},
		{"DELETE", "/Users/" + user, "", 403, "policy/keep-title"},
		{"PATCH", "/Groups/" + group, patch(`{"op":"replace","path":"displayName","value":"x"}`), 403, "policy/keep-group"},
		{"PATCH", "/Groups/" + group, patch(`{"op":"add","path":"members","value":[{"value":"` + user + `"}]}`), 403, "policy/keep-group"},
		{"DELETE", "/Groups/" + group, "", 403, "policy/keep-group"},
		{"POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Second"}`, 403, "policy/no-group"},
		{"GET", "/Users/" + user, "", 200, ""},
	} {
		status, _, text := c.scim(step.method, step.path, bearer, step.body)
		if status != step.status || !strings.Contains(text, step.rule) {
			t.Errorf("%s %s = %d %s, want %d %s", step.method, step.path, status, text, step.status, step.rule)
		}
	}
	if _, _, text := c.scim(http.MethodGet, "/Users/"+user, bearer, ""); !strings.Contains(text, `"title":"Prof"`) {
		t.Errorf("after the refusals the user is %s, want the title Prof", text)
	}
	if _, _, text := c.scim(http.MethodGet, "/Groups/"+group, bearer, ""); strings.Contains(text, user) {
		t.Errorf("a refused change of members is stored: %s", text)
	}
}

// TestRequiredBundleIsNamed: a tenant that requires a bundle and never had one makes the process not ready, and
// readiness names it. Its SCIM writes get 503, and its reads an answer.
func TestRequiredBundleIsNamed(t *testing.T) {
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n      file: "+
		filepath.Join(t.TempDir(), "none.tar.gz")+"\n      unsigned: allow\n      required: true\n    identity_services:", 1))
	if code, text := c.r.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "for tenant acme") {
		t.Errorf("readyz: %d %s, want 503 that names acme", code, text)
	}
	bearer := c.token()
	if status, _, text := c.scim(http.MethodPost, "/Users", bearer, aUser); status != http.StatusServiceUnavailable {
		t.Errorf("a write: %d %s, want 503", status, text)
	}
	if status, _, text := c.scim(http.MethodGet, "/Users", bearer, ""); status != http.StatusOK {
		t.Errorf("a read: %d %s, want 200", status, text)
	}
}

// TestBundleWithoutVerdictIsShown: a bundle that gives no verdict answers with 503, and status says how many requests
// that concerns, and why. A rollback ends it.
func TestBundleWithoutVerdictIsShown(t *testing.T) {
	dir := writeBundle(t, `
requirements["title"] := {"message": "a user has a title", "mode": input.resource.title} if input.resource.title

satisfied contains "title" if input.resource.nickName
`)
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n      dir: "+dir+
		"\n      unsigned: allow\n    identity_services:", 1))
	until(t, "the bundle is in force", func() bool {
		p := c.r.status().Policies
		return len(p) == 1 && p[0].Active != nil
	})
	bearer := c.token()
	c.create("/Users", bearer, aUser)
	if p := c.r.status().Policies[0]; p.Unjudged != 0 {
		t.Errorf("before: %+v", p)
	}
	body := strings.Replace(aUser, `"userName"`, `"title":"enforc","userName"`, 1)
	for range 2 {
		if status, _, text := c.scim(http.MethodPost, "/Users", bearer, body); status != http.StatusServiceUnavailable {
			t.Errorf("%d %s, want 503", status, text)
		}
	}
	p := c.r.status().Policies[0]
	if p.Unjudged != 2 || !strings.Contains(p.UnjudgedWhy, `policy/title: mode is "enforc": write enforce, warn or observe`) {
		t.Errorf("after: %d %q, want 2 requests, rule and member", p.Unjudged, p.UnjudgedWhy)
	}
}
