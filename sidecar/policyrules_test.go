package sidecar_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// policyOf adds the bundle of a folder to the tenant acme of a configuration.
func policyOf(t *testing.T, config, dir, more string) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	const services = "    identity_services:"
	policy := "    profile: rfc7644\n" + more + "    policy:\n      dir: " + dir + "\n      unsigned: allow\n"
	return strings.Replace(config, services, policy+services, 1)
}

// untilBundle waits until the bundle is in force.
func (r *running) untilBundle() {
	r.t.Helper()
	until(r.t, "the bundle is in force", func() bool {
		p := r.status().Policies
		if len(p) == 1 && p[0].Fault != "" {
			r.t.Fatal(p[0].Fault)
		}
		return len(p) == 1 && p[0].Active != nil
	})
}

// withBundle starts a server whose tenant acme has the bundle of a folder.
func withBundle(t *testing.T, dir, more string) *idp {
	t.Helper()
	c := newIDP(t).at(t, policyOf(t, base, dir, more))
	c.r.untilBundle()
	return c
}

// checks asks the proxy's question about a SCIM request, and returns the code of the answer, 0 for allowed.
func (c *idp) checks(method, path, bearer, body string) int32 {
	c.r.t.Helper()
	return c.checked(method, path, bearer, body).GetStatus().GetCode()
}

// checked is checks with the whole answer.
func (c *idp) checked(method, path, bearer, body string) *authv3.CheckResponse {
	c.r.t.Helper()
	h := &authv3.AttributeContext_HttpRequest{
		Method: method, Path: "/scim/v2" + path, Host: "app.example.com", Body: body,
		Headers: map[string]string{"authorization": "Bearer " + bearer},
	}
	if body != "" {
		h.Headers["content-type"] = "application/scim+json"
	}
	return c.r.response(map[string]string{"surface": "scim", "tenant": "acme"}, h)
}

func patchOf(op string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + op + `]}`
}

// TestReactivationVeto: the shipped rule keeps an inactive user out, whichever request asks for the reactivation. The
// user stays locked, and a deactivation is never refused.
func TestReactivationVeto(t *testing.T) {
	c := withBundle(t, "../examples/policies/reactivation", "    reprovision: reactivate\n")
	bearer := c.token()
	user := c.create("/Users", bearer, aUser)
	for range 2 { // the second one repeats the deactivation
		off := patchOf(`{"op":"replace","path":"active","value":false}`)
		if status, _, text := c.scim("PATCH", "/Users/"+user, bearer, off); status != 200 {
			t.Fatalf("the deactivation: %d %s", status, text)
		}
	}
	for _, step := range []struct{ method, path, body string }{
		{"PATCH", "/Users/" + user, patchOf(`{"op":"replace","path":"active","value":true}`)},
		{"PATCH", "/Users/" + user, patchOf(`{"op":"add","value":{"active":true}}`)},
		{"PUT", "/Users/" + user, strings.Replace(aUser, `"userName"`, `"active":true,"userName"`, 1)},
		{"POST", "/Users", aUser},
	} {
		if code := c.checks(step.method, step.path, bearer, step.body); code != 0 {
			t.Errorf("the proxy answers %s with %d: only the service knows the stored user", step.method, code)
		}
		status, _, text := c.scim(step.method, step.path, bearer, step.body)
		if status != 403 || !strings.Contains(text, "policy/reactivation") || !strings.Contains(text, "may_return") {
			t.Errorf("%s = %d %s, want 403 with the rule and its fix", step.method, status, text)
		}
		if _, _, text := c.scim(http.MethodGet, "/Users/"+user, bearer, ""); !strings.Contains(text, `"active":false`) {
			t.Errorf("after a refused %s the user is %s", step.method, text)
		}
	}
	if status, _, _ := c.scim(http.MethodDelete, "/Users/"+user, bearer, ""); status != 204 {
		t.Errorf("DELETE = %d, want 204", status)
	}
}

// TestRuleDetails: message, fix, status, scimType and mode of a tenant's rule reach the client, the proxy's answer, the
// audit trail and the metric, for rules of the request and for rules of the result.
func TestRuleDetails(t *testing.T) {
	c := withBundle(t, writeBundle(t, `
requirements["deny"] := {"message": "MSG-D", "fix": "FIX-D", "status": 400, "scimType": "invalidValue"} if {
	input.resource.title == "deny"
}

requirements["warn"] := {"message": "MSG-W", "fix": "FIX-W", "mode": "warn"} if input.resource.title == "warn"

requirements["observe"] := {"message": "MSG-O", "mode": "observe"} if input.resource.title == "observe"

requirements["late-warn"] := {"message": "MSG-LW", "mode": "warn"} if {
	input.stored.title == "warn"
	input.result.title == "late"
}

requirements[id] := {"message": "MSG", "mode": "observe"} if {
	input.resource.title == "observe"
	some n in [1, 2, 3]
	id := sprintf("made-%d", [n])
}

satisfied contains "never" if false
`), "")
	bearer := c.token()
	body := func(title string) string {
		named := `"title":"` + title + `","userName":"` + title + `"`
		return strings.NewReplacer(`"userName":"olga"`, named, "e1", title).Replace(aUser)
	}
	status, h, text := c.scim("POST", "/Users", bearer, body("deny"))
	if status != 400 || h.Get("SCIM-Profile-Deviation") != "" {
		t.Errorf("POST = %d %v, want 400", status, h)
	}
	for _, want := range []string{"policy/deny", "MSG-D", "FIX-D", `"scimType":"invalidValue"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the refusal is %s, want %s in it", text, want)
		}
	}
	user := c.create("/Users", bearer, body("warn"))
	for _, step := range []struct{ what, method, path, body, header string }{
		{"a warning of the request", "PUT", "/Users/" + user, body("warn"), "policy/warn"},
		{
			"a warning of the result", "PATCH", "/Users/" + user, patchOf(`{"op":"replace","path":"title","value":"late"}`),
			"policy/late-warn",
		},
		{"no warning", "PATCH", "/Users/" + user, patchOf(`{"op":"replace","path":"nickName","value":"x"}`), ""},
		{"an observed rule", "PUT", "/Users/" + user, body("observe"), ""},
	} {
		status, h, text := c.scim(step.method, step.path, bearer, step.body)
		if got := h.Get("SCIM-Profile-Deviation"); status != 200 || got != step.header {
			t.Errorf("%s: %d, header %q, %s; want 200 and %q", step.what, status, got, text, step.header)
		}
	}
	if trail := c.r.trail(); !strings.Contains(trail, " warn policy/late-warn") || strings.Contains(trail, "policy/observe") {
		t.Errorf("the audit trail is %s, want the warning of the result and no observed rule", trail)
	}
	_, metrics := c.r.get("/metrics")
	for series, want := range map[string]bool{
		`mode="enforce",profile="rfc7644",rule="policy/deny"`:    true,
		`mode="warn",profile="rfc7644",rule="policy/late-warn"`:  true,
		`mode="observe",profile="rfc7644",rule="policy/observe"`: true,
		`mode="observe",profile="rfc7644",rule="policy/other"`:   true,
		`mode="observe",profile="rfc7644",rule="policy/made-1"`:  false,
	} {
		if strings.Contains(metrics, series) != want {
			t.Errorf("the metrics have %s: %v, want %v", series, !want, want)
		}
	}
}

// trail returns the audit trail of acme.
func (r *running) trail() string {
	r.t.Helper()
	res, err := r.operator().Get("http://admin/v1/tenants/acme/audit")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}
