package authz_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/scim"
)

// TestSCIMRouteGrammar: canonical paths and known routes only.
func TestSCIMRouteGrammar(t *testing.T) {
	const bad = request.ReasonPath
	run(t, []row{
		{"user by id", scimReq("GET", "/scim/v2/Users/u1"), 0, authz.ReasonAllowed},
		{"list", scimReq("GET", "/scim/v2/Users"), 0, authz.ReasonAllowed},
		{"list with an empty query", scimReq("GET", "/scim/v2/Users?"), 0, authz.ReasonAllowed},
		{"delete", scimReq("DELETE", "/scim/v2/Groups/g1"), 0, authz.ReasonAllowed},
		{"discovery", scimReq("GET", "/scim/v2/ServiceProviderConfig"), 0, authz.ReasonAllowed},
		{"schema by urn", scimReq("GET", "/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User"), 0, authz.ReasonAllowed},
		{"schema by escaped urn", scimReq("GET", "/scim/v2/Schemas/urn%3Aietf%3Aparams"), 0, authz.ReasonAllowed},
		{"escaped slash", scimReq("GET", "/scim/v2/Users%2F..%2FGroups"), 400, bad},
		{"lower-case escaped slash", scimReq("GET", "/scim/v2/Users%2fu1"), 400, bad},
		{"escaped backslash", scimReq("GET", "/scim/v2/Users%5Cu1"), 400, bad},
		{"doubled slash in front", scimReq("GET", "//scim/v2/Users"), 400, bad},
		{"doubled slash within", scimReq("GET", "/scim//v2/Users"), 400, bad},
		{"doubled slash before the id", scimReq("GET", "/scim/v2/Users//u1"), 400, bad},
		{"dot segment", scimReq("GET", "/scim/v2/Users/../Groups"), 400, bad},
		{"escaped dot segment", scimReq("GET", "/scim/v2/Users/%2e%2e/Groups"), 400, bad},
		{"single dot", scimReq("GET", "/scim/v2/./Users"), 400, bad},
		{"parameter", scimReq("GET", "/scim/v2/Users;x=1"), 400, bad},
		{"dots with parameter", scimReq("GET", "/scim/v2/Users/..;/Groups"), 400, bad},
		{"double encoding", scimReq("GET", "/scim/v2/Users%252Fu1"), 400, bad},
		{"double-encoded dot", scimReq("GET", "/scim/v2/Users/%252e%252e"), 400, bad},
		{"escaped letter", scimReq("GET", "/scim/v2/%55sers"), 400, bad},
		{"NUL", scimReq("GET", "/scim/v2/Users/u1\x00"), 400, bad},
		{"escaped NUL", scimReq("GET", "/scim/v2/Users/u1%00"), 400, bad},
		{"non-ASCII", scimReq("GET", "/scim/v2/Users/\u00fc"), 400, bad},
		{"overlong UTF-8", scimReq("GET", "/scim/v2/Users/%c0%af"), 400, bad},
		{"bad escape", scimReq("GET", "/scim/v2/Users/%zz"), 400, bad},
		{"cut escape", scimReq("GET", "/scim/v2/Users/u%4"), 400, bad},
		{"backslash", scimReq("GET", `/scim/v2\Users`), 400, bad},
		{"prefix in capitals", scimReq("GET", "/SCIM/V2/Users"), 400, bad},
		{"resource in lower case", scimReq("GET", "/scim/v2/users"), 404, authz.ReasonRoute},
		{"trailing slash", scimReq("GET", "/scim/v2/Users/"), 400, bad},
		{"trailing dot", scimReq("GET", "/scim/v2/Users."), 404, authz.ReasonRoute},
		{"suffix", scimReq("GET", "/scim/v2/Users/u1.json"), 404, authz.ReasonRoute},
		{"third segment", scimReq("GET", "/scim/v2/Users/u1/x"), 404, authz.ReasonRoute},
		{"search at the root", scimReq("POST", "/scim/v2/.search"), 501, authz.ReasonNotBuilt},
		{"search of users", scimReq("POST", "/scim/v2/Users/.search"), 501, authz.ReasonNotBuilt},
		{"me", scimReq("GET", "/scim/v2/Me"), 501, authz.ReasonNotBuilt},
		{"bulk", scimReq("POST", "/scim/v2/Bulk"), 501, authz.ReasonNotBuilt},
		{"foreign authority", scimReq("GET", "/scim/v2/Users", host("evil.example")), 400, authz.ReasonHost},
		{"capitals, port and dot", scimReq("GET", "/scim/v2/Users", host("SCIM.Example.:8443")), 0, authz.ReasonAllowed},
		{"two hosts joined", scimReq("GET", "/scim/v2/Users", host("scim.example,evil.example")), 400, authz.ReasonHost},
		{"no host", scimReq("GET", "/scim/v2/Users", host("")), 400, authz.ReasonHost},
		{"absolute form", scimReq("GET", "http://scim.example/scim/v2/Users"), 400, bad},
		{"fragment", scimReq("GET", "/scim/v2/Users#x"), 400, bad},
		{"fragment in the query", scimReq("GET", "/scim/v2/Users?count=1#x"), 400, request.ReasonQuery},
		{"other version", scimReq("GET", "/scim/v3/Users"), 400, bad},
		{"root", scimReq("GET", "/scim/v2"), 400, bad},
		{"prefix without a slash", scimReq("GET", "/scim/v2Users"), 400, bad},
		{"long path", scimReq("GET", "/scim/v2/Users/"+strings.Repeat("a", 5000)), 400, bad},
		{"no path", scimReq("GET", ""), 400, bad},
		{"no method", scimReq("", "/scim/v2/Users"), 400, authz.ReasonMethod},
		{"filter on discovery", scimReq("GET", "/scim/v2/Schemas?filter=id%20pr"), 403, request.ReasonQuery},
	})
}

// TestSCIMMethods: only the methods of a route, and nothing that replaces the method.
func TestSCIMMethods(t *testing.T) {
	run(t, []row{
		{"override header", scimReq("GET", "/scim/v2/Users/u1", header("x-http-method-override", "DELETE")), 400, authz.ReasonOverride},
		{"other override header", scimReq("GET", "/scim/v2/Users/u1", header("x-method-override", "DELETE")), 400, authz.ReasonOverride},
		{"short override header", scimReq("GET", "/scim/v2/Users/u1", header("x-http-method", "DELETE")), 400, authz.ReasonOverride},
		{"path override", scimReq("GET", "/scim/v2/Users/u1", header("x-original-url", "/scim/v2/Groups")), 400, authz.ReasonOverride},
		{"query", scimReq("GET", "/scim/v2/Users?_method=DELETE"), 400, authz.ReasonOverride},
		{"escaped query key", scimReq("GET", "/scim/v2/Users?%5Fmetho%64=DELETE"), 400, authz.ReasonOverride},
		{"query key in capitals", scimReq("GET", "/scim/v2/Users?X-HTTP-Method-Override=DELETE"), 400, authz.ReasonOverride},
		{"lower-case method", scimReq("get", "/scim/v2/Users"), 405, authz.ReasonMethod},
		{"PROPFIND", scimReq("PROPFIND", "/scim/v2/Users"), 405, authz.ReasonMethod},
		{"TRACE", scimReq("TRACE", "/scim/v2/Users"), 405, authz.ReasonMethod},
		{"OPTIONS", scimReq("OPTIONS", "/scim/v2/Users"), 405, authz.ReasonMethod},
		{"HEAD of users", scimReq("HEAD", "/scim/v2/Users"), 0, authz.ReasonAllowed},
		{"HEAD of a user", scimReq("HEAD", "/scim/v2/Users/u1"), 0, authz.ReasonAllowed},
		{"HEAD of discovery", scimReq("HEAD", "/scim/v2/Schemas/x"), 0, authz.ReasonAllowed},
		{"HEAD with a body", scimReq("HEAD", "/scim/v2/Users", body(scimJSON, user)), 400, authz.ReasonBodyUnexpected},
		{"CONNECT", scimReq("CONNECT", "/scim/v2/Users"), 405, authz.ReasonMethod},
		{"method of another route", scimReq("POST", "/scim/v2/Users/u1", body(scimJSON, user)), 405, authz.ReasonMethod},
		{"write to discovery", scimReq("PUT", "/scim/v2/Schemas", body(scimJSON, user)), 405, authz.ReasonMethod},
		{"upgrade", scimReq("PATCH", "/scim/v2/Users/u1", header("upgrade", "websocket"), header("connection", "Upgrade")), 400, authz.ReasonUpgrade},
		{"connection alone", scimReq("PATCH", "/scim/v2/Users/u1", header("connection", "keep-alive, Upgrade")), 400, authz.ReasonUpgrade},
	})
}

// TestSCIMBodies: a body is complete, plain, of the right type, and valid JSON.
func TestSCIMBodies(t *testing.T) {
	run(t, []row{
		{"create", scimReq("POST", "/scim/v2/Users", body(scimJSON, user)), 0, authz.ReasonAllowed},
		{"create as json with charset", scimReq("POST", "/scim/v2/Users", body("Application/JSON; charset=\"UTF-8\"", user)), 0, authz.ReasonAllowed},
		{"replace", scimReq("PUT", "/scim/v2/Users/u1", body(scimJSON, user)), 0, authz.ReasonAllowed},
		{"patch", scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, patch)), 0, authz.ReasonAllowed},
		{"no body", scimReq("POST", "/scim/v2/Users"), 400, request.ReasonBodyMissing},
		{"empty body", scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, "")), 400, request.ReasonBodyMissing},
		{"body on GET", scimReq("GET", "/scim/v2/Users/u1", body(scimJSON, user)), 400, authz.ReasonBodyUnexpected},
		{"body on DELETE", scimReq("DELETE", "/scim/v2/Users/u1", body(scimJSON, user)), 400, authz.ReasonBodyUnexpected},
		{"announced body on GET", scimReq("GET", "/scim/v2/Users/u1", header("content-length", "7")), 400, authz.ReasonBodyUnexpected},
		{"chunked body on DELETE", scimReq("DELETE", "/scim/v2/Users/u1", header("transfer-encoding", "chunked")), 400, authz.ReasonBodyUnexpected},
		{"zero length on DELETE", scimReq("DELETE", "/scim/v2/Users/u1", header("content-length", "0")), 0, authz.ReasonAllowed},
		{"partial", scimReq("POST", "/scim/v2/Users", body(scimJSON, user), partial), 413, request.ReasonBodyPartial},
		{"gzip", scimReq("POST", "/scim/v2/Users", body(scimJSON, user), header("content-encoding", "gzip")), 415, request.ReasonBodyEncoded},
		{"stacked", scimReq("POST", "/scim/v2/Users", body(scimJSON, user), header("content-encoding", "identity, br")), 415, request.ReasonBodyEncoded},
		{"other charset", scimReq("POST", "/scim/v2/Users", body(scimJSON+"; charset=utf-16", user)), 415, request.ReasonContentType},
		{"type in a parameter", scimReq("POST", "/scim/v2/Users", body("text/plain;x=application/json", user)), 415, request.ReasonContentType},
		{"multipart", scimReq("POST", "/scim/v2/Users", body("multipart/form-data; boundary=x", user)), 415, request.ReasonContentType},
		{"missing", scimReq("POST", "/scim/v2/Users", body(scimJSON, user), header("content-type")), 415, request.ReasonContentType},
		{"two values", scimReq("POST", "/scim/v2/Users", body(scimJSON, user), header("content-type", scimJSON, "text/plain")), 415, request.ReasonContentType},
		{"two values joined", scimReq("POST", "/scim/v2/Users", body(scimJSON+",text/plain", user)), 415, request.ReasonContentType},
		{"duplicate key", scimReq("POST", "/scim/v2/Users", body(scimJSON, `{"active":true,"active":false}`)), 400, request.ReasonBody},
		{"key that differs in case", scimReq("POST", "/scim/v2/Users", body(scimJSON, `{"active":true,"Active":false}`)), 400, request.ReasonBody},
		{"trailing data", scimReq("POST", "/scim/v2/Users", body(scimJSON, user+"{}")), 400, request.ReasonBody},
		{"byte order mark", scimReq("POST", "/scim/v2/Users", body(scimJSON, "\ufeff"+user)), 400, request.ReasonBody},
		{"invalid UTF-8", scimReq("POST", "/scim/v2/Users", body(scimJSON, "{\"userName\":\"\xff\"}")), 400, request.ReasonBody},
		{"not JSON", scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, "active=false")), 400, request.ReasonBody},
		{"filter twice", scimReq("GET", "/scim/v2/Users?filter=userName%20eq%20%22a%22&filter=id%20pr"), 400, request.ReasonQuery},
		{"filter that does not parse", scimReq("GET", "/scim/v2/Users?filter=userName%20eq"), 400, request.ReasonQuery},
		{"query with a bad escape", scimReq("GET", "/scim/v2/Users?%zz=1"), 400, request.ReasonQuery},
	})
}

// TestBearerOnly: one bearer token in the Authorization header (RFC 6750 §2.1), valid here.
func TestBearerOnly(t *testing.T) {
	get := func(values ...string) request.Request {
		return scimReq("GET", "/scim/v2/Users/u1", header("authorization", values...))
	}
	run(t, []row{
		{"scheme in lower case", get("bearer good.good.good"), 0, authz.ReasonAllowed},
		{"none", get(), 401, authz.ReasonNoToken},
		{"empty", get(""), 401, authz.ReasonNoToken},
		{"two headers", get("Bearer good.good.good", "Bearer good.good.good"), 400, request.ReasonCredential},
		{"joined", get("Bearer good.good.good,Bearer good.good.good"), 400, request.ReasonCredential},
		{"joined with an empty one", get(",Bearer good.good.good"), 400, request.ReasonCredential},
		{"two blanks", get("Bearer  good.good.good"), 400, request.ReasonCredential},
		{"tab", get("Bearer\tgood.good.good"), 401, authz.ReasonNoToken},
		{"blank at the end", get("Bearer good.good.good "), 400, request.ReasonCredential},
		{"no token", get("Bearer"), 400, request.ReasonCredential},
		{"only padding", get("Bearer =="), 400, request.ReasonCredential},
		{"other scheme", get("Basic aWRwOnB3"), 401, authz.ReasonNoToken},
		{"DPoP without a binding", get("DPoP good.good.good"), 401, authz.ReasonBinding},
		{"in the query", scimReq("GET", "/scim/v2/Users/u1?access_token=good.good.good", header("authorization")), 400, request.ReasonCredential},
		{"in header and query", scimReq("GET", "/scim/v2/Users/u1?Access_Token=x"), 400, request.ReasonCredential},
		{"in a cookie", scimReq("GET", "/scim/v2/Users/u1", header("authorization"), header("cookie", "access_token=good.good.good")), 401, authz.ReasonNoToken},
		{"bad signature", get("Bearer some.thing.else"), 401, authz.ReasonToken},
		{"expired", get("Bearer expired.x.x"), 401, authz.ReasonTokenExpired},
		{"other tenant", get("Bearer other.x.x"), 401, authz.ReasonToken},
		{"scope", get("Bearer wide.x.x"), 403, authz.ReasonScope},
		{"keys cannot be had", get("Bearer nokeys.x.x"), 503, authz.ReasonKeys},
		{"verifier fails", get("Bearer broken.x.x"), 503, authz.ReasonKeys},
		{"token before body", scimReq("POST", "/scim/v2/Users", header("authorization"), body(scimJSON, "{")), 401, authz.ReasonNoToken},
		{"token before route", scimReq("GET", "/scim/v2/Nothing", header("authorization")), 401, authz.ReasonNoToken},
	})
}

func TestChallenges(t *testing.T) {
	k := newKit(t)
	const meta = `, resource_metadata="https://scim.example/.well-known/oauth-protected-resource/scim/v2"`
	for auth, want := range map[string]string{
		"": `Bearer realm="scim"` + meta,
		"Bearer some.thing.": `Bearer realm="scim", error="invalid_token"` + meta + `, error_description="the access token ` +
			`is not valid here: compare its iss, kid and alg with the issuers of this service, whose log names the ` +
			`reason, and ask the token endpoint for a new one"`,
		"Bearer wide.x.x": `Bearer realm="scim", error="insufficient_scope", scope="scim"` + meta +
			`, error_description="the access token: claim scp has admin"`,
		"Bearer other.x.x": `Bearer realm="scim", error="invalid_token"` + meta +
			`, error_description="the access token: claim scp has admin"`,
		"Bearer a b": `Bearer realm="scim", error="invalid_request"` + meta,
	} {
		d := k.Decide(t.Context(), scimReq("GET", "/scim/v2/Users/u1", header("authorization", auth)))
		if d.Challenge != want {
			t.Errorf("%q: challenge %s, want %s", auth, d.Challenge, want)
		}
	}
	d := k.Decide(t.Context(), scimReq("POST", "/scim/v2/Schemas"))
	if d.Status != 405 || d.AllowMethods != "GET, HEAD" {
		t.Errorf("405 without its methods: %d %q", d.Status, d.AllowMethods)
	}
}

func TestSurfacesAndTenants(t *testing.T) {
	edit := func(f func(*request.Request)) request.Request { return scimReq("GET", "/scim/v2/Users", f) }
	oauth := func(method, path string, edits ...func(*request.Request)) request.Request {
		return scimReq(method, path, append(edits, func(r *request.Request) {
			r.Surface = request.SurfaceOAuth
			delete(r.Headers, "authorization")
		})...)
	}
	run(t, []row{
		{"nothing at all", request.Request{}, 503, authz.ReasonSurface},
		{"unknown surface", edit(func(r *request.Request) { r.Surface = "SCIM" }), 503, authz.ReasonSurface},
		{"unknown tenant", edit(func(r *request.Request) { r.Tenant = "other" }), 404, authz.ReasonTenant},
		{"no tenant", edit(func(r *request.Request) { r.Tenant = "" }), 404, authz.ReasonTenant},
		{"unknown app", appReq("GET", "/", of("nothing")), 404, authz.ReasonApp},
		{"token endpoint", oauth("POST", "/oauth/token", body(form, "grant_type=client_credentials")), 0, authz.ReasonAllowed},
		{"keys", oauth("GET", "/oauth/jwks"), 0, authz.ReasonAllowed},
		{"metadata", oauth("GET", "/.well-known/oauth-authorization-server"), 0, authz.ReasonAllowed},
		{"resource metadata", oauth("GET", "/.well-known/oauth-protected-resource/scim/v2"), 0, authz.ReasonAllowed},
		{"HEAD of the keys", oauth("HEAD", "/oauth/jwks"), 0, authz.ReasonAllowed},
		{"HEAD of metadata", oauth("HEAD", "/.well-known/oauth-authorization-server"), 0, authz.ReasonAllowed},
		{"revocation", oauth("POST", "/oauth/revoke", body(form, "token=x")), 0, authz.ReasonAllowed},
		{"introspection", oauth("POST", "/oauth/introspect", body(form, "token=x")), 0, authz.ReasonAllowed},
		{"revocation by GET", oauth("GET", "/oauth/revoke"), 405, authz.ReasonMethod},
		{"keys of seals", oauth("GET", "/oauth/evidence-keys"), 0, authz.ReasonAllowed},
		{"id of the process", oauth("GET", "/oauth/instance"), 0, authz.ReasonAllowed},
		{"token by HEAD", oauth("HEAD", "/oauth/token"), 405, authz.ReasonMethod},
		{"token by GET", oauth("GET", "/oauth/token"), 405, authz.ReasonMethod},
		{"keys by POST", oauth("POST", "/oauth/jwks"), 405, authz.ReasonMethod},
		{"other endpoint", oauth("GET", "/oauth/authorize"), 404, authz.ReasonRoute},
		{"capitals", oauth("POST", "/OAuth/token"), 404, authz.ReasonRoute},
		{"trailing slash", oauth("POST", "/oauth/token/"), 404, authz.ReasonRoute},
		{"escaped", oauth("POST", "/oauth/t%6fken"), 404, authz.ReasonRoute},
		{"override", oauth("GET", "/oauth/jwks", header("x-http-method-override", "POST")), 400, authz.ReasonOverride},
		{"upgrade", oauth("GET", "/oauth/jwks", header("upgrade", "h2c")), 400, authz.ReasonUpgrade},
		{"foreign authority", oauth("GET", "/oauth/jwks", host("evil.example")), 400, authz.ReasonHost},
		{"SCIM path on the OAuth surface", oauth("GET", "/scim/v2/Users"), 404, authz.ReasonRoute},
	})
}

// TestPolicyAnswers: a violation keeps its status and type, and the detail names rule,
// operation and fix. A failure of the engine is 503.
func TestPolicyAnswers(t *testing.T) {
	one := policies.Violation{Rule: "IL1-3.3.3-op", Op: 2, Message: "op is replace.", Fix: "send add or remove", Status: 400, ScimType: "invalidValue"}
	for _, c := range []struct {
		name    string
		verdict policies.Verdict
		status  int
		typ     string
		reason  string
		detail  string
	}{
		{"violation", policies.Verdict{Violations: []policies.Violation{one}}, 400, "invalidValue", authz.ReasonPolicy, "IL1-3.3.3-op (operation 3): op is replace. Fix: send add or remove"},
		{"violation beside allow", policies.Verdict{Allow: true, Violations: []policies.Violation{one}}, 400, "invalidValue", authz.ReasonPolicy, "IL1-3.3.3-op (operation 3): op is replace. Fix: send add or remove"},
		{"what the profile never allows comes first", policies.Verdict{Violations: []policies.Violation{one, {Rule: "R", Op: -1, Message: "m", Status: 403}}}, 403, "", authz.ReasonPolicy, "R: m; IL1-3.3.3-op (operation 3): op is replace. Fix: send add or remove"},
		{"neither", policies.Verdict{}, 403, "", authz.ReasonPolicy, "the policy of this service denies the request"},
		{"failure", policies.Verdict{Failure: "rego: secret-internal-detail"}, 503, "", authz.ReasonEngine, "the request cannot be judged at the moment: send it again"},
		{"failure beside allow", policies.Verdict{Allow: true, Failure: "x"}, 503, "", authz.ReasonEngine, "the request cannot be judged at the moment: send it again"},
		{"status of another class", policies.Verdict{Violations: []policies.Violation{{Rule: "R", Op: -1, Message: "m", Status: 200}}}, 403, "", authz.ReasonPolicy, "R: m"},
		{"many", policies.Verdict{Violations: many(12, "rule%d", -1)}, 403, "", authz.ReasonPolicy, "rule0: m; rule1: m; rule2: m; rule3: m; rule4: m; rule5: m; rule6: m; rule7: m; rule8: m; rule9: m; and 2 more"},
		{"operations", policies.Verdict{Violations: append(many(2, "R", 0), many(1, "S", 0)...)}, 403, "", authz.ReasonPolicy, "R (operations 1, 2): m; S (operation 1): m"},
		{"many operations", policies.Verdict{Violations: many(12, "R", 0)}, 403, "", authz.ReasonPolicy, "R (operations 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more): m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			k.policy.verdict = c.verdict
			d := k.Decide(t.Context(), scimReq("GET", "/scim/v2/Users/u1"))
			if d.Allowed() || d.Status != c.status || d.ScimType != c.typ || d.Reason != c.reason || d.Detail != c.detail {
				t.Errorf("got %t %d %q %s %q", d.Allowed(), d.Status, d.ScimType, d.Reason, d.Detail)
			}
		})
	}
}

// many returns n violations of a rule, or of rules, from the operation first on, or of the request.
func many(n int, rule string, first int) (out []policies.Violation) {
	for i := range n {
		v := policies.Violation{Rule: rule, Op: first, Message: "m"}
		if strings.Contains(rule, "%d") {
			v.Rule = fmt.Sprintf(rule, i)
		}
		if first >= 0 {
			v.Op += i
		}
		out = append(out, v)
	}
	return out
}

func TestWarningsPass(t *testing.T) {
	k := newKit(t)
	k.policy.verdict.Violations = []policies.Violation{
		{Rule: "W", Mode: policies.ModeWarn}, {Rule: "O", Mode: policies.ModeObserve},
	}
	d := k.Decide(t.Context(), scimReq("GET", "/scim/v2/Users/u1"))
	if !d.Allowed() || cmp.Diff(d.Warn, []string{"W"}) != "" || d.Policy != "ipsie-il1@1" {
		t.Errorf("got %t %v %s", d.Allowed(), d.Warn, d.Policy)
	}
}

// TestDecidedValueIsHandedOn: the handler gets what the policy judged.
func TestDecidedValueIsHandedOn(t *testing.T) {
	k := newKit(t)
	d := k.Decide(t.Context(), scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, patch)))
	if !d.Allowed() || d.SCIM == nil {
		t.Fatalf("refused: %d %s %s", d.Status, d.Reason, d.Detail)
	}
	if d.SCIM.Route != "PATCH /Users/{id}" || d.SCIM.ID != "u1" || d.SCIM.Endpoint != "Users" || len(d.SCIM.Ops) != 1 {
		t.Errorf("request %+v", d.SCIM)
	}
	in := k.policy.asked[0]
	want := policies.Input{
		Profile: "ipsie-il1", Tenant: "acme", Client: policies.Client{ID: "idp", Issuer: "https://as.example", Scopes: []string{"scim"}},
		Method: "PATCH", Route: "PATCH /Users/{id}", ResourceType: "User", ResourceID: "u1",
		Raw:       []scim.RawOp{{Op: "replace", Path: "active", HasPath: true, Value: false, HasValue: true}},
		Canonical: []scim.Op{{Kind: "replace", Path: scim.Path{Attr: "active"}, Value: false, HasValue: true, Target: "active"}},
		Query:     &scim.Query{StartIndex: 1}, Size: len(patch), Received: in.Received,
	}
	if in.Received.IsZero() {
		t.Error("the rules do not see when the request arrived")
	}
	if diff := cmp.Diff(want, in, cmpopts.IgnoreUnexported(scim.Op{})); diff != "" {
		t.Error(diff)
	}
	k.Decide(t.Context(), scimReq("POST", "/scim/v2/Users", body(scimJSON, user)))
	emails, ok := k.policy.asked[1].Resource["emails"].([]any)
	if !ok || len(emails) != 1 {
		t.Fatalf("resource %v", k.policy.asked[1].Resource)
	}
	if _, ok := emails[0].(scim.Object); !ok {
		t.Errorf("the policy gets %T, which it does not know", emails[0])
	}
	k.Decide(t.Context(), scimReq("GET", "/scim/v2/Users?filter=userName%20eq%20%22a%22"))
	if q := k.policy.asked[2].Query; scim.Shape(q.Filter) != "userName eq" {
		t.Errorf("query %+v", q)
	}
}

// TestCanonicalOperationsKnowTheirOrigin: a canonical operation carries the number of the
// client's operation, which a violation names.
func TestCanonicalOperationsKnowTheirOrigin(t *testing.T) {
	k := newKit(t)
	k.Decide(t.Context(), scimReq("PATCH", "/scim/v2/Groups/g1", body(scimJSON, `{
		"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
		"Operations": [
			{"op": "add", "path": "members", "value": [{"value": "u1"}]},
			{"op": "replace", "value": {"displayName": "b", "externalId": "c"}}
		]}`)))
	if len(k.policy.asked) != 1 {
		t.Fatal("the policy was not asked")
	}
	var got []int
	for _, op := range k.policy.asked[0].Canonical {
		got = append(got, op.Raw)
	}
	if want := []int{0, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("origins %v, want %v", got, want)
	}
}

// TestDeadlines: a deadline that passes before, during or after a step is 503.
func TestDeadlines(t *testing.T) {
	k := newKit(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []request.Request{scimReq("GET", "/scim/v2/Users/u1"), appReq("GET", "/"), {Surface: request.SurfaceOAuth, Tenant: "acme"}, {}} {
		if d := k.Decide(over, r); d.Allowed() || d.Status != 503 || d.Reason != authz.ReasonDeadline {
			t.Errorf("%s: %t %d %s", r.Surface, d.Allowed(), d.Status, d.Reason)
		}
	}
	if k.verifier.calls != 0 {
		t.Error("a token was verified after the deadline")
	}
	ctx, cancel := context.WithCancel(t.Context())
	k.policy.during = cancel
	if d := k.Decide(ctx, scimReq("GET", "/scim/v2/Users/u1")); d.Allowed() || d.Reason != authz.ReasonDeadline {
		t.Errorf("allowed after the deadline: %s", d.Reason)
	}
}

// TestTwinsRemoved: every surface removes a client's x-scim-… header.
func TestTwinsRemoved(t *testing.T) {
	k := newKit(t)
	d := k.Decide(t.Context(), scimReq("GET", "/scim/v2/Users", header("x-scim-user", "a"), header("x-scim-client", "b")))
	if diff := cmp.Diff([]string{"x-scim-client", "x-scim-user"}, d.RemoveHeaders); diff != "" {
		t.Error(diff)
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	var d authz.Decision
	if d.Allowed() {
		t.Error("the zero decision allows")
	}
}

// TestErrorsCarryNoInternals: no refusal repeats an internal error.
func TestErrorsCarryNoInternals(t *testing.T) {
	k := newKit(t)
	k.policy.verdict = policies.Verdict{Failure: "secret-internal-detail"}
	reqs := []request.Request{
		scimReq("GET", "/scim/v2/Users/u1"),
		appReq("GET", "/", header("cookie", "session=down")),
		appReq("GET", "/", header("authorization", "Bearer some.thing.else")),
	}
	for _, tok := range []string{"expired", "wide", "other", "nokeys", "broken", "unknown"} {
		reqs = append(reqs, scimReq("GET", "/scim/v2/Users/u1", header("authorization", "Bearer "+tok+".x.x")))
	}
	for _, r := range reqs {
		d := k.Decide(t.Context(), r)
		if d.Allowed() {
			t.Errorf("%v is allowed", r.Headers)
		}
		for _, s := range []string{d.Detail, d.Challenge, d.Error, d.Reason, d.ScimType} {
			if strings.Contains(s, "secret-internal-detail") || strings.Contains(s, ".x.x") || strings.Contains(s, "down") {
				t.Errorf("%s tells %q", d.Reason, s)
			}
		}
	}
}

// TestLaterOnlyForGroups: without the whole body only a change of a group by a known client is allowed, and
// nobody can act on that decision.
func TestLaterOnlyForGroups(t *testing.T) {
	k := newKit(t)
	later := func(r *request.Request) { r.Partial, r.Later = true, true }
	const group = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
	length := func(n string) func(*request.Request) { return header("content-length", n) }
	run(t, []row{
		{"POST", scimReq("POST", "/scim/v2/Groups", body(scimJSON, group), later), 0, authz.ReasonLater},
		{"PUT", scimReq("PUT", "/scim/v2/Groups/g1", body(scimJSON, group), later, length("33554432")), 0, authz.ReasonLater},
		{"PATCH", scimReq("PATCH", "/scim/v2/Groups/g1", body(scimJSON, group), later), 0, authz.ReasonLater},
		{"too long", scimReq("PUT", "/scim/v2/Groups/g1", body(scimJSON, group), later, length("33554433")), 413, request.ReasonBodyPartial},
		{"a user", scimReq("PATCH", "/scim/v2/Users/u1", body(scimJSON, user), later), 413, request.ReasonBodyPartial},
		{"not a transport", scimReq("PUT", "/scim/v2/Groups/g1", body(scimJSON, group), partial), 413, request.ReasonBodyPartial},
		{"no token", scimReq("PUT", "/scim/v2/Groups/g1", body(scimJSON, group), later, header("authorization", "")), 401, authz.ReasonNoToken},
		{"text", scimReq("PUT", "/scim/v2/Groups/g1", body("text/plain", group), later), 415, request.ReasonContentType},
		{"encoded", scimReq("PUT", "/scim/v2/Groups/g1", body(scimJSON, group), later, header("content-encoding", "gzip")), 415, request.ReasonBodyEncoded},
		{"another route", scimReq("PUT", "/scim/v2/Groups", body(scimJSON, group), later), 405, authz.ReasonMethod},
		{"GET", scimReq("GET", "/scim/v2/Groups/g1", later), 400, authz.ReasonBodyUnexpected},
	})
	d := k.Decide(t.Context(), scimReq("PUT", "/scim/v2/Groups/g1", body(scimJSON, group), later))
	if d.SCIM != nil || len(k.policy.asked) != 0 {
		t.Errorf("the decision names the operation %+v, and the policy was asked %d times", d.SCIM, len(k.policy.asked))
	}
	change := authz.Change{Stored: scim.Object{}, Result: scim.Object{}}
	if d := k.DecideResult(t.Context(), nil, change); d.Allowed() || d.Status != 503 {
		t.Errorf("a result without a request: %+v, want 503", d)
	}
}
