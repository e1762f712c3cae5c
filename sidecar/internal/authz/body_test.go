package authz_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestCredentialInBodyIsPlain: a credential in a body that could not stand in a header is a
// 400, and the application is not asked about it.
func TestCredentialInBodyIsPlain(t *testing.T) {
	const bad = request.ReasonBodySource
	at := func(v string) request.Request {
		return appReq("POST", "/oauth/token", body(form, "grant_type=refresh_token&refresh_token="+v))
	}
	rows := []row{
		{"blank within", at("a+b"), 0, authz.ReasonAllowed},
		{"everything visible", at(url.QueryEscape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")), 0, authz.ReasonAllowed},
		{"locked", at("locked"), 401, authz.ReasonLocked},
		{"empty", at(""), 0, authz.ReasonAllowed},
		{"line feed", at("locked%0a"), 400, bad},
		{"line feed as sent", at("locked\n"), 400, bad},
		{"carriage return and a field", at("locked%0d%0ax-admin:+1"), 400, bad},
		{"NUL", at("locked%00"), 400, bad},
		{"tab", at("locked%09"), 400, bad},
		{"delete", at("locked%7f"), 400, bad},
		{"leading blank", at("+locked"), 400, bad},
		{"trailing blank", at("locked%20"), 400, bad},
		{"blanks only", at("++"), 400, bad},
		{"beyond ASCII", at("lock%C3%A9d"), 400, bad},
		{"no-break space", at("locked%C2%A0"), 400, bad},
		{"not UTF-8", at("locked%FF"), 400, bad},
	}
	run(t, rows)
	for _, r := range rows {
		if r.status != 400 {
			continue
		}
		k := newKit(t)
		k.Decide(t.Context(), r.req)
		if len(k.identifier.asked) > 0 {
			t.Errorf("%s: the application was asked about %q", r.name, k.identifier.asked[0].Value)
		}
	}
}

// TestUserNameInBodyIsFree: a person types a user name, so it may hold any text. It is
// compared and never sent anywhere.
func TestUserNameInBodyIsFree(t *testing.T) {
	run(t, []row{
		{"beyond ASCII", appReq("POST", "/login", body(form, "username=j%C3%BCrgen")), 0, authz.ReasonAllowed},
		{"blanks around a locked name", appReq("POST", "/login", body(form, "username=%20locked%0a")), 401, authz.ReasonLocked},
	})
}

// TestBodyFieldForms: a field that holds a credential has one reading, or the request is
// refused.
func TestBodyFieldForms(t *testing.T) {
	const bad = request.ReasonBodySource
	asForm := func(b string) request.Request { return appReq("POST", "/login", body(form, b)) }
	asJSON := func(b string) request.Request {
		return appReq("POST", "/api/login", body("application/json", b))
	}
	run(t, []row{
		{"other case", asForm("Username=locked"), 400, bad},
		{"escaped name", asForm("%75sername=locked"), 401, authz.ReasonLocked},
		{"with a hyphen", asForm("user-name=locked"), 400, bad},
		{"with a dot", asForm("user.name=locked"), 400, bad}, // PHP reads user_name
		{"with an open bracket", asForm("user[name=locked"), 400, bad},
		{"field of another", asForm("user[name]=locked"), 0, authz.ReasonAllowed},
		{"with a dot, as an array", asForm("user.name[]=locked"), 400, bad}, // PHP reads user_name
		{"with a dot, as a hash", asForm("user.name%5B0%5D=locked"), 400, bad},
		{"with a blank, as an array", asForm("user+name[x]=locked"), 400, bad},
		{"in fullwidth letters", asForm("\uff55sername=locked"), 400, bad},
		{"as an array", asForm("username[]=locked"), 400, bad},
		{"as a hash", asForm("username[x]=locked"), 400, bad},
		{"with a blank before", asForm("+username=locked"), 400, bad},
		{"with a no-break space", asForm("username%C2%A0=locked"), 400, bad},
		{"with a long s", asForm("u%C5%BFername=locked"), 400, bad},
		{"twice, the same", asForm("username=alice&username=alice"), 400, bad},
		{"separated by a semicolon", asForm("x=1;username=locked"), 400, request.ReasonBody},
		{"in the query, escaped", appReq("POST", "/login?%75sername=locked", body(form, "username=alice")), 400, bad},
		{"in the query as an array", appReq("POST", "/login?username[]=locked", body(form, "x=1")), 400, bad},
		{"without a value", asForm("username"), 0, authz.ReasonAllowed},
		{"empty form", appReq("POST", "/login", body(form, "")), 400, request.ReasonBodyMissing},
		{"control byte in another field", asForm("x=\x01&username=alice"), 400, request.ReasonBody},

		{"number", asJSON(`{"login":7}`), 400, bad},
		{"null", asJSON(`{"login":null}`), 400, bad},
		{"object", asJSON(`{"login":{"name":"locked"}}`), 400, bad},
		{"empty object", asJSON(`{"login":{}}`), 400, bad},
		{"empty list", asJSON(`{"login":[]}`), 400, bad},
		{"deeper down", asJSON(`{"user":{"login":"locked"}}`), 0, authz.ReasonAllowed},
		{"twice", asJSON(`{"login":"alice","login":"locked"}`), 400, request.ReasonBody},
		{"twice in other case", asJSON(`{"login":"alice","LOGIN":"locked"}`), 400, request.ReasonBody},
		{"in fullwidth letters in JSON", asJSON(`{"\uff4cogin":"locked"}`), 400, bad},
		{"in other spelling beside", asJSON(`{"login":"alice","log_in":"locked"}`), 400, bad},
		{"escaped key", asJSON(`{"\u006cogin":"locked"}`), 401, authz.ReasonLocked},
		{"more after the object", asJSON(`{"login":"alice"}{"login":"locked"}`), 400, request.ReasonBody},
		{"byte order mark", asJSON("\ufeff" + `{"login":"locked"}`), 400, request.ReasonBody},
		{"a list", asJSON(`[{"login":"locked"}]`), 400, request.ReasonBody},
		{"too deep", asJSON(strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)), 400, request.ReasonBody},
		{"a vendor's JSON", appReq("POST", "/api/login", body("application/vnd.app+json", `{"login":"locked"}`)), 401, authz.ReasonLocked},
		{"text that is JSON", appReq("POST", "/api/login", body("text/json", `{"login":"locked"}`)), 415, request.ReasonContentType},
		{"JSON in UTF-16", appReq("POST", "/api/login", body("application/json; charset=utf-16", `{"login":"locked"}`)), 415, request.ReasonContentType},
		{"form in Latin-1", appReq("POST", "/login", body(form+"; charset=iso-8859-1", "username=locked")), 415, request.ReasonContentType},
		{"two content types", appReq("POST", "/login", body(form+", application/json", "username=locked")), 415, request.ReasonContentType},
		{"no content type", appReq("POST", "/login", body("", "username=locked")), 415, request.ReasonContentType},
		{"another method of the route", appReq("PUT", "/login", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"another method, in JSON", appReq("PUT", "/login", jsonBody(`{"username":"locked"}`)), 401, authz.ReasonLocked},
		{"another method, in another spelling", appReq("PATCH", "/login", jsonBody(`{"Username":"locked"}`)), 400, bad},
		{"another method, other fields in another format", appReq("PUT", "/login", jsonBody(`{"theme":"dark"}`)), 0, authz.ReasonAllowed},
		{"another method, a body that cannot be read", appReq("PUT", "/login", body("text/plain", "username=locked")), 415, request.ReasonContentType},
		{"another method without a body", appReq("DELETE", "/login"), 0, authz.ReasonAllowed},
		{"GET with a body", appReq("GET", "/login", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"GET with a body that Envoy withholds", appReq("GET", "/login", header("content-length", "9")), 400, request.ReasonBodyMissing},
		{"by a route in the query", appReq("POST", "/?rest_route=/x&_url=/login", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"a search for the route", appReq("GET", "/?q=/login"), 0, authz.ReasonAllowed},
		{"a route below", appReq("POST", "/login/help", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"a route below, other fields", appReq("POST", "/login/help", jsonBody(`{"theme":"dark"}`)), 0, authz.ReasonAllowed},
		{"a route below without a body", appReq("POST", "/login/help", header("content-length", "0")), 0, authz.ReasonAllowed},
		{"a route beside", appReq("POST", "/login-help", body(form, "username=locked")), 0, authz.ReasonAllowed},
	})
}
