package authz_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// TestCookieEscapes: only the escapes that the application itself writes are accepted.
func TestCookieEscapes(t *testing.T) {
	const bad = request.ReasonCookieForm
	at := func(cookies ...string) request.Request { return appReq("GET", "/", of("express"), cookie(cookies...)) }
	run(t, []row{
		{"known", at("sid=s%3Aalice"), 0, authz.ReasonAllowed},
		{"locked", at("sid=s%3Alocked"), 401, authz.ReasonLocked},
		{"deleted", at("a=%zz; sid=s%3Agone"), 401, authz.ReasonDeleted},
		{"what base64 needs", at("sid=s%3Aa%2Fb%2Bc%3D.d-e_f"), 0, authz.ReasonAllowed},
		{"in lower case", at("sid=s%3Aa%2fb"), 0, authz.ReasonAllowed},
		{"beyond ASCII", at("sid=s%3A%C3%BC"), 0, authz.ReasonAllowed},
		{"emptied at sign-out", at("sid="), 0, authz.ReasonAllowed},
		{"prefix not escaped", at("sid=s:locked"), 401, request.ReasonInvalid},
		{"prefix in lower case", at("sid=s%3alocked"), 401, request.ReasonInvalid},
		{"letter escaped", at("sid=s%3Alo%63ked"), 400, bad},
		{"letter of the prefix escaped", at("sid=%73%3Alocked"), 400, bad},
		{"digit escaped", at("sid=s%3A%31"), 400, bad},
		{"dot escaped", at("sid=s%3Aa%2Eb"), 400, bad},
		{"escaped twice", at("sid=s%3Alo%2563ked"), 400, bad},
		{"percent sign", at("sid=s%3A100%25"), 400, bad},
		{"NUL", at("sid=s%3Alocked%00"), 400, bad},
		{"line feed", at("sid=s%3Alocked%0a"), 400, bad},
		{"delete", at("sid=s%3Alocked%7F"), 400, bad},
		{"no hexadecimal digits", at("sid=s%3Alocked%zz"), 400, bad},
		{"cut off after one digit", at("sid=s%3Alocked%4"), 400, bad},
		{"cut off", at("sid=s%3Alocked%"), 400, bad},
		{"name escaped", at("s%69d=s%3Alocked"), 400, bad},
		{"quoted", at(`sid="s%3Alocked"`), 400, bad},
		{"twice", at("sid=s%3Aalice; sid=s%3Alocked"), 400, bad},
		{"in two headers", at("sid=s%3Aalice", "sid=s%3Alocked"), 400, bad},
		{"after a comma", at("a=1,sid=s%3Alocked"), 400, bad},
		{"another application's plain cookie", appReq("GET", "/", cookie("session=s%3Alocked")), 400, bad},
		{"another application's jwt", appReq("GET", "/", cookie("jwt=app%2Elocked.x")), 400, bad},
	})
	k := newKit(t)
	k.Decide(t.Context(), at("sid=s%3Aa%2Fb"))
	want := authz.Credential{Source: "cookie", Name: "sid", Prefix: "s%3A", Value: "s%3Aa%2Fb"}
	if got := k.identifier.asked; len(got) != 1 || got[0] != want {
		t.Errorf("the application was asked about %+v, want %+v", got, want)
	}
}

// escapist is an application whose admin API knows one credential, in the spelling it wrote
// itself, until that is revoked.
type escapist struct{ revoked bool }

func (e *escapist) Identify(_ context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	if c.Value != "s%3Aa%2Fb" || e.revoked {
		return authz.Caller{}, nil
	}
	return authz.Caller{Subject: subject.Subject{UserName: "eve"}}, nil
}

// TestForgottenCredentialInOtherSpelling: every spelling that the application reads as one
// credential stays the locked user's, also after it is revoked.
func TestForgottenCredentialInOtherSpelling(t *testing.T) {
	app, locks := &escapist{}, lockSwitch{}
	k := newKit(t, func(o *authz.Options) { o.Identifier, o.Locks, o.Directory = app, locks, directory{"eve": true} })
	at := func(c string) authz.Decision {
		return k.Decide(t.Context(), appReq("GET", "/", of("express"), cookie("sid="+c)))
	}
	if d := at("s%3Aa%2Fb"); !d.Allowed() || d.Caller.UserName != "eve" {
		t.Fatalf("before the lock: %s %+v", d.Reason, d.Caller)
	}
	app.revoked, locks["eve"] = true, authz.Lock{State: "deactivated"}
	for _, c := range []string{"s%3Aa%2Fb", "s%3Aa%2fb", "s%3Aa/b"} {
		if d := at(c); d.Reason != authz.ReasonLocked {
			t.Errorf("%s: %s", c, d.Reason)
		}
	}
	if d := at("s%3Aother"); !d.Allowed() {
		t.Errorf("another credential: %s", d.Reason)
	}
}

// TestOctalCookieName: Werkzeug 1 reads a cookie name in quotes with octal escapes. Any letter of a name may be one,
// and what Python writes into the values of other cookies passes.
func TestOctalCookieName(t *testing.T) {
	k := newKit(t)
	const name = "session"
	for escaped := 1; escaped < 1<<len(name); escaped++ {
		sent := ""
		for i := range len(name) {
			if escaped>>i&1 == 1 {
				sent += fmt.Sprintf(`\%03o`, name[i])
			} else {
				sent += name[i : i+1]
			}
		}
		for _, c := range []string{`"` + sent + `"=locked`, `a=b;  "` + sent + `" = locked`} {
			if d := k.Decide(t.Context(), appReq("GET", "/", cookie(c))); d.Reason != request.ReasonCookieForm {
				t.Errorf("%s: allowed %t, %s, want %s", c, d.Allowed(), d.Reason, request.ReasonCookieForm)
			}
		}
	}
	for _, c := range []string{
		`prefs="a\054b\073 c"; session=alice`, `prefs="\163ession=locked"; session=alice`, `"\163essions"=x; session=alice`,
		`a\163b=c; session=alice`,
	} {
		if d := k.Decide(t.Context(), appReq("GET", "/", cookie(c))); !d.Allowed() || d.Caller.UserName != "alice" {
			t.Errorf("%s: allowed %t, %s, user %q, want alice", c, d.Allowed(), d.Reason, d.Caller.UserName)
		}
	}
}

// TestCookieBounds: nothing beyond the bounds is parsed, so the application cannot see a
// cookie that the authorizer has not read.
func TestCookieBounds(t *testing.T) {
	pairs := func(n int) string { return strings.TrimSuffix(strings.Repeat("a=1; ", n), "; ") }
	at := func(cookies ...string) request.Request { return appReq("GET", "/", cookie(cookies...)) }
	const many, bad = request.ReasonCookies, request.ReasonCookieForm
	run(t, []row{
		{"150 pairs", at(pairs(149) + "; session=locked"), 401, authz.ReasonLocked},
		{"151 pairs", at(pairs(150) + "; session=locked"), 431, many},
		{"3,100 pairs", at(pairs(3100)), 431, many},
		{"separated by commas", at(strings.Repeat("a=1,", 150) + "session=locked"), 431, many},
		{"empty pairs count", at(strings.Repeat(";", 150)), 431, many},
		{"over several headers", at(pairs(100), pairs(51)), 431, many},
		{"16 KiB", at("session=locked; a=" + strings.Repeat("x", 16<<10-18)), 401, authz.ReasonLocked},
		{"a byte more", at("session=locked; a=" + strings.Repeat("x", 16<<10-17)), 431, many},
		{"size over several headers", at("a="+strings.Repeat("x", 9<<10), "b="+strings.Repeat("x", 9<<10)), 431, many},
		{"control byte in another cookie", at("a=\x7f; session=alice"), 400, bad},
		{"next line in another cookie", at("a=\u0085; session=alice"), 400, bad},
		{"line feed in a second header", at("session=alice", "a=1\nsession=locked"), 400, bad},
		{"empty header", at(""), 0, authz.ReasonAllowed},
	})
}

// TestUnusualMethods: an application may take more methods, but never CONNECT or TRACE, and
// none of them opens a local write.
func TestUnusualMethods(t *testing.T) {
	at := func(method, path string) request.Request { return appReq(method, path, of("express")) }
	run(t, []row{
		{"configured", at("PROPFIND", "/files"), 0, authz.ReasonAllowed},
		{"configured, locked user", appReq("PROPFIND", "/files", of("express"), cookie("sid=s%3Alocked")), 401, authz.ReasonLocked},
		{"configured, local write", at("PROPFIND", "/api/users"), 403, authz.ReasonLocal},
		{"configured, local write with named methods", at("PROPFIND", "/admin/people/7"), 403, authz.ReasonLocal},
		{"configured, local write with fields", at("PROPFIND", "/api/me"), 403, authz.ReasonLocal},
		{"configured, in lower case", at("propfind", "/files"), 405, authz.ReasonMethod},
		{"not configured", at("PROPPATCH", "/files"), 405, authz.ReasonMethod},
		{"of another application", appReq("PROPFIND", "/files"), 405, authz.ReasonMethod},
		{"TRACE", at(http.MethodTrace, "/files"), 405, authz.ReasonMethod},
		{"CONNECT", at(http.MethodConnect, "/files"), 405, authz.ReasonMethod},
	})
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["express"]
		app.Methods = []string{"TRACE", "CONNECT", "PROPFIND"} // the configuration refuses these too
		o.Tenants["acme"].Apps["express"] = app
	})
	for method, allowed := range map[string]bool{"TRACE": false, "CONNECT": false, "PROPFIND": true} {
		if d := k.Decide(t.Context(), at(method, "/files")); d.Allowed() != allowed {
			t.Errorf("%s: %d %s", method, d.Status, d.Reason)
		}
	}
	d := newKit(t).Decide(t.Context(), at("LOCK", "/files"))
	if want := "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PROPFIND"; d.AllowMethods != want {
		t.Errorf("Allow: %s, want %s", d.AllowMethods, want)
	}
}
