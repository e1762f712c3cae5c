package authz_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// TestOneAuthorization: one credential in one form. Envoy joins repeated headers with a
// comma.
func TestOneAuthorization(t *testing.T) {
	at := func(values ...string) request.Request { return appReq("GET", "/", header("authorization", values...)) }
	const bad = request.ReasonCredential
	run(t, []row{
		{"two headers", at("Bearer pat_alice", "Bearer pat_locked"), 400, bad},
		{"two headers, the same", at("Bearer pat_alice", "Bearer pat_alice"), 400, bad},
		{"joined", at("Bearer pat_alice, Bearer pat_locked"), 400, bad},
		{"joined with an empty one", at("Bearer pat_alice,"), 400, bad},
		{"joined, the first empty", at(",Bearer pat_locked"), 400, bad},
		{"first of two is empty", at("", "Bearer pat_locked"), 400, bad},
		{"two ignored schemes", at("Basic YTpi,Bearer pat_locked"), 400, bad},
		{"empty", at(""), 0, authz.ReasonAllowed},
		{"one blank", at(" "), 400, bad},
		{"scheme only", at("Bearer"), 400, bad},
		{"scheme and blank", at("Bearer "), 400, bad},
		{"token only", at("pat_locked"), 400, bad},
		{"leading blank", at(" Bearer pat_locked"), 400, bad},
		{"trailing blank", at("Bearer pat_locked "), 400, bad},
		{"blank within", at("Bearer pat_lo cked"), 400, bad},
		{"two blanks", at("Bearer  pat_locked"), 400, bad},
		{"no-break space", at("Bearer\u00a0pat_locked"), 400, bad},
		{"line feed", at("Bearer pat_locked\nx: y"), 400, bad},
		{"quoted", at(`Bearer "pat_locked"`), 400, bad},
		{"as a parameter", at("Bearer token=pat_locked"), 401, request.ReasonUnknownScheme},
		{"of mixed case", at("bEaReR pat_locked"), 401, authz.ReasonLocked},
		{"scheme that only begins alike", at("Bearerx pat_locked"), 401, request.ReasonUnknownScheme},
		{"ignored scheme without a value", at("Basic"), 400, bad},
		{"also in the query", appReq("GET", "/?access_token=pat_alice", auth("Bearer pat_alice")), 400, bad},
		{"in the query, escaped", appReq("GET", "/?access%5Ftoken=pat_locked"), 400, bad},
		{"in the query, in capitals", appReq("GET", "/?Access_Token=pat_locked"), 400, bad},
		{"in the query, as an array", appReq("GET", "/?access_token[]=pat_locked"), 400, bad},
		{"in the query, after a semicolon", appReq("GET", "/?a=1;access_token=pat_locked"), 400, bad},
		{"in the query, escaped twice", appReq("GET", "/?access%255Ftoken=pat_locked"), 400, bad},
		{"also in a cookie, of another", appReq("GET", "/", auth("Bearer pat_alice"), cookie("session=locked")), 401, authz.ReasonLocked},
		{"another header, twice", appReq("GET", "/", header("x-device", "alice", "alice")), 400, bad},
		{"another header, joined", appReq("GET", "/", header("x-device", "alice,locked")), 400, bad},
		{"another header, quoted", appReq("GET", "/", header("x-device", `"locked"`)), 400, bad},
		{"another header, empty", appReq("GET", "/", header("x-device", "")), 0, authz.ReasonAllowed},
	})
}

// TestIdentityTwins: a header that looks like ours is removed or refused, and what the
// answer sets is not removed.
func TestIdentityTwins(t *testing.T) {
	const bad = authz.ReasonIdentityHeader
	at := func(name string) request.Request { return appReq("GET", "/", header(name, "admin")) }
	run(t, []row{
		{"underscore", at("x-scim-user_id"), 400, bad},
		{"digit", at("x-scim-user2"), 400, bad},
		{"dot", at("x-scim-user.id"), 400, bad},
		{"prefix alone", at("x-scim-"), 400, bad},
		{"beyond ASCII", at("x-scim-usér"), 400, bad},
		{"almost ours", at("x-scims"), 0, authz.ReasonAllowed},
	})
	twins := []string{
		"x-scim-user", "x-scim-client", "x-scim-anything-at-all", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups",
		"x-forwarded-preferred-username", "x-auth-request-user", "x-auth-request-email", "x-remote-user", "remote-user",
	}
	pattern := regexp.MustCompile(headers.MutationPattern)
	for _, name := range twins {
		for who, session := range map[string]string{"alice": "session=alice", "nobody": "a=1"} {
			d := newKit(t).Decide(t.Context(), appReq("GET", "/", header(name, "admin"), cookie(session)))
			_, set := d.SetHeaders[name]
			removed := slices.Contains(d.RemoveHeaders, name)
			if !d.Allowed() || set == removed || set && d.SetHeaders[name] != "alice" {
				t.Errorf("%s of %s: set %t, removed %t", name, who, set, removed)
			}
			for _, n := range d.RemoveHeaders {
				if !pattern.MatchString(n) { // Envoy would answer every request with 500
					t.Errorf("%s is removed, which the mutation rules do not allow", n)
				}
			}
		}
	}
	d := newKit(t).Decide(t.Context(), appReq("GET", "/", of("gateway"), header("x-forwarded-user", "alice"), header("x-forwarded-email", "admin@example.com")))
	if diff := cmp.Diff([]string{"x-forwarded-email"}, d.RemoveHeaders); diff != "" {
		t.Errorf("of a gateway's headers, the trusted one stays: %s", diff)
	}
}

// TestHopByHop: a client that lists our header in Connection changes nothing of the answer.
func TestHopByHop(t *testing.T) {
	d := newKit(t).Decide(t.Context(), appReq("GET", "/", cookie("session=alice"), header("connection", "close, x-scim-user")))
	if !d.Allowed() || d.SetHeaders["x-scim-user"] != "alice" {
		t.Errorf("%s, sets %v", d.Reason, d.SetHeaders)
	}
	run(t, []row{
		{"upgrade on a SCIM route", scimReq("GET", "/scim/v2/Users", header("connection", "keep-alive, Upgrade")), 400, authz.ReasonUpgrade},
		{"upgrade header alone", scimReq("GET", "/scim/v2/Users", header("upgrade", "h2c")), 400, authz.ReasonUpgrade},
	})
}

// TestSpoofedOrigin: what a client says of its certificate, address or host identifies
// nobody.
func TestSpoofedOrigin(t *testing.T) {
	for _, name := range []string{"x-forwarded-client-cert", "x-forwarded-for", "x-real-ip", "x-forwarded-host", "x-client-cert", "ssl-client-verify", "forwarded"} {
		d := newKit(t).Decide(t.Context(), appReq("GET", "/", of("strict"), header(name, "alice")))
		if d.Allowed() || d.Reason != authz.ReasonAnonymous {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
	const bad = authz.ReasonHost
	at := func(h string) request.Request { return appReq("GET", "/", host(h)) }
	run(t, []row{
		{"port", at("app.example:8443"), 0, authz.ReasonAllowed},
		{"trailing dot", at("app.example."), 0, authz.ReasonAllowed},
		{"capitals", at("APP.Example"), 0, authz.ReasonAllowed},
		{"two hosts", at("app.example,evil.example"), 400, bad},
		{"two trailing dots", at("app.example.."), 400, bad},
		{"user before it", at("evil@app.example"), 400, bad},
		{"path after it", at("app.example/x"), 400, bad},
		{"backslash after it", at(`app.example\x`), 400, bad},
		{"blank after it", at("app.example "), 400, bad},
		{"subdomain", at("x.app.example"), 400, bad},
		{"suffix", at("app.example.evil.example"), 400, bad},
		{"too long", at(strings.Repeat("a", 256)), 400, bad},
		{"forwarded host does not count", appReq("GET", "/", host("evil.example"), header("x-forwarded-host", "app.example")), 400, bad},
	})
}

// named is an application that says of every credential that it belongs to one user.
type named string

func (n named) Identify(context.Context, string, string, authz.Credential) (authz.Caller, error) {
	return authz.Caller{Subject: subject.Subject{UserName: string(n)}}, nil
}

// TestIdentityHeaderIsSafe: a name that could not stand in a header is not written into
// one.
func TestIdentityHeaderIsSafe(t *testing.T) {
	for _, row := range []struct {
		name, user string
		set        bool
	}{
		{"plain", "alice@example.com", true},
		{"256 characters", strings.Repeat("a", 256), true},
		{"257 characters", strings.Repeat("a", 257), false},
		{"line feed", "alice\r\nx-admin: 1", false},
		{"blank", "alice b", false},
		{"NUL", "alice\x00", false},
		{"beyond ASCII", "jürgen", false},
	} {
		k := newKit(t, func(o *authz.Options) {
			o.Identifier, o.Directory = named(row.user), directory{row.user: true}
		})
		d := k.Decide(t.Context(), appReq("GET", "/", cookie("session=x"), header("x-scim-user", "admin")))
		if !d.Allowed() {
			t.Fatalf("%s: %s", row.name, d.Reason)
		}
		got, set := d.SetHeaders[headers.User]
		if set != row.set || set && got != row.user || set == slices.Contains(d.RemoveHeaders, headers.User) {
			t.Errorf("%s: sets %q, removes %v", row.name, got, d.RemoveHeaders)
		}
	}
}

// TestOverrides: no header and no query key replaces method or path, on any surface,
// whatever its value.
func TestOverrides(t *testing.T) {
	const bad = authz.ReasonOverride
	var rows []row
	for _, name := range []string{
		"x-method", "x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-original-uri",
		"x-original-method", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-path", "x-forwarded-method", "x-forwarded-prefix",
	} {
		rows = append(rows,
			row{name + ", application", appReq("GET", "/", header(name, "")), 400, bad},
			row{name + ", SCIM", scimReq("GET", "/scim/v2/Users", header(name, "GET")), 400, bad},
			row{name + ", OAuth", request.Request{
				Surface: request.SurfaceOAuth, Tenant: "acme", Method: http.MethodGet, Host: "scim.example",
				Path: "/oauth/jwks", Headers: request.Headers{name: {"x"}},
			}, 400, bad})
		if !slices.Contains(headers.Wanted(), name) {
			t.Errorf("Envoy is not asked to send %s", name)
		}
	}
	for i, q := range []string{"_method=GET", "_METHOD=x", "%5Fmethod=x", "%255Fmethod=x", "_method[]=x", "+_method=x", "a;_method=x", "x-http-method-override=x", "_http_method=x"} {
		rows = append(rows, row{fmt.Sprintf("query %d", i), appReq("GET", "/?"+q), 400, bad}, row{fmt.Sprintf("SCIM query %d", i), scimReq("GET", "/scim/v2/Users?"+q), 400, bad})
	}
	rows = append(rows,
		row{"bad escape in a key", appReq("GET", "/?%zz=1"), 400, request.ReasonQuery},
		row{"control byte in a key", appReq("GET", "/?a%00=1"), 400, request.ReasonQuery},
		row{"bad escape in a value is the application's", appReq("GET", "/?a=%zz"), 0, authz.ReasonAllowed})
	run(t, rows)
}
