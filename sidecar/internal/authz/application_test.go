package authz_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

func cookie(v ...string) func(*request.Request) { return header("cookie", v...) }

func auth(v string) func(*request.Request) { return header("authorization", v) }

// TestAppPaths: paths with two readings are refused, and so are paths of a SCIM service.
func TestAppPaths(t *testing.T) {
	run(t, []row{
		{"page", appReq("GET", "/"), 0, authz.ReasonAllowed},
		{"escaped blank", appReq("GET", "/a%20b/%C3%BC"), 0, authz.ReasonAllowed},
		{"escaped percent sign", appReq("GET", "/100%25"), 0, authz.ReasonAllowed},
		{"free query", appReq("GET", "/?method=sum&q=100%"), 0, authz.ReasonAllowed},
		{"control byte", appReq("GET", "/a%01"), 400, request.ReasonPath},
		{"doubly escaped line feed", appReq("GET", "/a%250a"), 400, request.ReasonPath},
		{"bad escape", appReq("GET", "/a%zz"), 400, request.ReasonPath},
		{"question mark after decoding", appReq("POST", "/a%3fb"), 0, authz.ReasonAllowed},
		{"question mark after two decodings", appReq("POST", "/a%253fb"), 0, authz.ReasonAllowed},
		{"override behind a decoded question mark", appReq("POST", "/a%253fb%253d1%2526_method%253dPUT"), 400, authz.ReasonOverride},
		{"token behind a decoded question mark", appReq("GET", "/a%3faccess_token=app.locked.x"), 400, request.ReasonCredential},
		{"dot segments", appReq("GET", "/a/%252e%252e/b"), 400, request.ReasonPath},
		{"dot segments with parameters", appReq("GET", "/a/..;x/b"), 400, request.ReasonPath},
		{"invalid UTF-8", appReq("GET", "/%ff"), 400, request.ReasonPath},
		{"escaped often", appReq("GET", "/%252525252541"), 0, authz.ReasonAllowed},
		{"long", appReq("GET", "/"+strings.Repeat("a/", 20_000)), 0, authz.ReasonAllowed},
		{"longer than any header of Envoy", appReq("GET", "/"+strings.Repeat("a/", 31_000)), 400, request.ReasonPath},
		{"address in the path", appReq("POST", "/proxy/https%3A%2F%2Fhost.example%2Fa%3Fq"), 0, authz.ReasonAllowed},
		{"address in the path of an app that takes no escaped slash", appReq("GET", "/proxy/https%3A%2F%2Fhost.example", of("express")), 400, request.ReasonPath},
		{"escaped backslash in an app that takes none", appReq("GET", "/a%5cb", of("express")), 400, request.ReasonPath},
		{"escaped dot segment", appReq("GET", "/a%2F..%2Fb"), 400, request.ReasonPath},
		{"SCIM with an escaped slash", appReq("POST", "/scim%2Fv2/Users"), 404, authz.ReasonSCIMPath},
		{"SCIM behind a segment that folds to nothing", appReq("POST", "/%20/;x/scim/v2/Users"), 404, authz.ReasonSCIMPath},
		{"SCIM in fullwidth letters", appReq("GET", "/%EF%BD%93cim/v2"), 404, authz.ReasonSCIMPath},
		{"SCIM below another name", appReq("GET", "/docs/scim/v2"), 0, authz.ReasonAllowed},
		{"number sign", appReq("GET", "/a#b"), 400, request.ReasonPath},
		{"no path", appReq("GET", ""), 400, request.ReasonPath},
		{"asterisk form", appReq("OPTIONS", "*"), 400, request.ReasonPath},
		{"no method", appReq("", "/"), 400, authz.ReasonMethod},
		{"odd method", appReq("PROPFIND", "/"), 405, authz.ReasonMethod},
		{"TRACE", appReq("TRACE", "/"), 405, authz.ReasonMethod},
		{"CONNECT", appReq("CONNECT", "/"), 405, authz.ReasonMethod},
		{"foreign authority", appReq("GET", "/", host("other.example")), 400, authz.ReasonHost},
		{"no authority", appReq("GET", "/", host("")), 400, authz.ReasonHost},
		{"SCIM", appReq("GET", "/scim/v2/Users"), 404, authz.ReasonSCIMPath},
		{"SCIM in capitals", appReq("POST", "/SCIM/V2/Users"), 404, authz.ReasonSCIMPath},
		{"SCIM with a blank", appReq("POST", "/scim%20/v2/Users"), 404, authz.ReasonSCIMPath},
		{"SCIM with a dot", appReq("POST", "/scim./v2./Users"), 404, authz.ReasonSCIMPath},
		{"SCIM with a long s", appReq("POST", "/%C5%BFcim/v2/Users"), 404, authz.ReasonSCIMPath},
		{"SCIM doubly escaped", appReq("POST", "/%2573cim/v2"), 404, authz.ReasonSCIMPath},
		{"a page about SCIM", appReq("GET", "/scim/settings"), 0, authz.ReasonAllowed},
		{"override in the query", appReq("POST", "/x?_method=PUT"), 400, authz.ReasonOverride},
		{"token in the query", appReq("GET", "/x?access_token=app.locked.x"), 400, request.ReasonCredential},
		{"identity header that cannot be removed", appReq("GET", "/", header("x-scim-user_2", "alice")), 400, authz.ReasonIdentityHeader},
	})
	for _, h := range []string{
		"x-method", "x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-original-uri",
		"x-rewrite-url", "x-forwarded-uri", "x-forwarded-path", "x-original-method", "x-forwarded-method", "x-forwarded-prefix",
		"x-script-name", "x-vhm-root", "x-traversal-path", "x-forwarded-script-name",
		"php-auth-user", "php-auth-pw", "php-auth-digest", "xauthorization",
		"grpc-metadata-authorization", "grpc-metadata-cookie", "grpc-metadata-token", "grpc-metadata-grpcgateway-cookie",
	} {
		run(t, []row{{h, appReq("GET", "/", header(h, "/api/users")), 400, authz.ReasonOverride}})
	}
}

// TestStreamHasOneSpelling: Envoy compares the prefixes of streams byte by byte. Another
// spelling would open a stream without a leash, which outlives a lock.
func TestStreamHasOneSpelling(t *testing.T) {
	var rows []row
	for _, path := range []string{"/events", "/events/7", "/eventsource", "/download/a", "/download", "/Download", "/my/events"} {
		rows = append(rows, row{path, appReq("GET", path), 0, authz.ReasonAllowed})
	}
	for _, path := range []string{
		"/Events", "/%2565vents", "/%20/events", "/;x/events", "/x/%E2%80%A5/events", "/EventSource", "/event%C5%BF/7", "/Download/a",
		"/download%2Fa", "/Download//", "/%EF%BD%85vents",
	} {
		rows = append(rows, row{path, appReq("GET", path), 400, request.ReasonPath})
	}
	run(t, rows)
}

// TestLocalModificationRefused: nobody may write to these routes, in whatever spelling
// (IL1 §3.2.1).
func TestLocalModificationRefused(t *testing.T) {
	const local = authz.ReasonLocal
	json := func(b string) func(*request.Request) { return body("application/json", b) }
	rows := []row{
		{"read", appReq("GET", "/api/users"), 0, authz.ReasonAllowed},
		{"head", appReq("HEAD", "/api/users/u1"), 0, authz.ReasonAllowed},
		{"neighbour", appReq("POST", "/api/usersettings"), 0, authz.ReasonAllowed},
		{"override in the query of a read", appReq("GET", "/api/users?method=POST"), 400, authz.ReasonOverride},
		{"other override in the query", appReq("GET", "/api/users/u1?httpMethod=DELETE"), 400, authz.ReasonOverride},
		{"override header", appReq("GET", "/api/users", header("x-method", "POST")), 400, authz.ReasonOverride},
		{"question mark in the path", appReq("POST", "/api/users%3fx"), 403, local},
		{"locked user is told so", appReq("POST", "/api/users", auth("Bearer pat_locked")), 401, authz.ReasonLocked},
		{"known user", appReq("POST", "/api/users", auth("Bearer pat_alice")), 403, local},
		{"plugin is down", appReq("POST", "/api/users", cookie("session=down")), 403, local},
		{"unrecognised credential", appReq("POST", "/api/users", auth("Bearer zzz")), 403, local},
		{"named method", appReq("DELETE", "/admin/people/7"), 403, local},
		{"POST could carry it", appReq("POST", "/admin/people/7"), 403, local},
		{"odd method could carry it", appReq("PROPFIND", "/admin/people/7"), 405, authz.ReasonMethod},
		{"GET that changes something", appReq("GET", "/unsubscribe"), 403, local},
		{"HEAD, which routers give to the handler of GET", appReq("HEAD", "/unsubscribe"), 403, local},
		{"PUT, which no handler takes", appReq("PUT", "/unsubscribe"), 0, authz.ReasonAllowed},
		{"method that is not named", appReq("PUT", "/admin/people/7"), 0, authz.ReasonAllowed},
		{"template needs its segment", appReq("DELETE", "/admin/people"), 0, authz.ReasonAllowed},
		{"WebSocket on a denied route", appReq("GET", "/api/users", header("upgrade", "websocket")), 403, local},
		{"WebSocket below a denied route", appReq("GET", "/api/users/ws", header("upgrade", "WebSocket")), 403, local},
		{"WebSocket on a route with fields", appReq("GET", "/api/me", header("upgrade", "websocket")), 403, local},
		{"WebSocket on another route", appReq("GET", "/api/live", header("upgrade", "websocket")), 0, authz.ReasonAllowed},
		{"field as JSON", appReq("PATCH", "/api/me", json(`{"email":"x@y.example"}`)), 403, local},
		{"field in other spelling", appReq("PATCH", "/api/me", json(`{"Display_Name":"x"}`)), 403, local},
		{"field within", appReq("PATCH", "/api/me", json(`{"user":{"email":null,"Email2":{"email":"x"}}}`)), 403, local},
		{"field in a list", appReq("PATCH", "/api/me", json(`{"ops":[{"email":"x"}]}`)), 403, local},
		{"field in a name with dots", appReq("PATCH", "/api/me", json(`{"$set":{"user.email":"x"}}`)), 403, local},
		{"field in a name with brackets", appReq("PATCH", "/api/me", json(`{"user[Email]":"x"}`)), 403, local},
		{"escaped field", appReq("PATCH", "/api/me", json(`{"\u0065mail":"x"}`)), 403, local},
		{"field as form", appReq("POST", "/api/me", body(form, "theme=dark&user%5Bemail%5D=x")), 403, local},
		{"field in the query", appReq("POST", "/api/me?email=x", body(form, "theme=dark")), 403, local},
		{"field within the query", appReq("POST", "/api/me?user[email]=x", body(form, "theme=dark")), 403, local},
		{"field within the query, escaped", appReq("POST", "/api/me?user%5BEmail%5D=x", body(form, "theme=dark")), 403, local},
		{"field within the query, after a dot", appReq("POST", "/api/me?user.display_name=x", body(form, "theme=dark")), 403, local},
		{"field within the query, half a bracket", appReq("POST", "/api/me?user[email=x", body(form, "theme=dark")), 403, local},
		{"field in the query, as Spring's default", appReq("POST", "/api/me?!email=x", body(form, "theme=dark")), 403, local},
		{"field as Spring's default", appReq("POST", "/api/me", body(form, "!email=x")), 403, local},
		{"field as a parameter of Rails", appReq("POST", "/api/me", body(form, "display_name%281s%29=x")), 403, local},
		{"field in a form of JSF", appReq("POST", "/api/me", body(form, "form:email=x")), 403, local},
		{"field in a form of ASP.NET", appReq("POST", "/api/me", body(form, "ctl00$main$email=x")), 403, local},
		{"field before NUL, where PHP cuts", appReq("POST", "/api/me", body(form, "email%00x=y")), 400, request.ReasonBody},
		{"field before NUL in JSON", appReq("PATCH", "/api/me", json(`{"email\u0000x":"y"}`)), 400, request.ReasonBody},
		{"field with a byte that is no UTF-8", appReq("POST", "/api/me", body(form, "em%ffail=y")), 400, request.ReasonBody},
		{"field with a blank of Latin-1", appReq("POST", "/api/me", body(form, "email%a0=y")), 400, request.ReasonBody},
		{"field in a wizard of Django", appReq("POST", "/api/me", body(form, "0-email=x")), 403, local},
		{"field in a list in a list of WTForms", appReq("POST", "/api/me", body(form, "grid-0-1-email=x")), 403, local},
		{"sign and number in a name", appReq("POST", "/api/me", body(form, "ctl00$email_1=x")), 403, local},
		{"bracket that PHP reads as _", appReq("POST", "/api/me", body(form, "display[name=x")), 403, local},
		{"escaped bracket that PHP reads as _", appReq("POST", "/api/me", body(form, "display%5Bname=x")), 403, local},
		{"dot that PHP reads as _", appReq("POST", "/api/me", body(form, "display.name=x")), 403, local},
		{"bracket of PHP in the query", appReq("POST", "/api/me?display[name=x", body(form, "theme=x")), 403, local},
		{"field in a formset of Django", appReq("POST", "/api/me", body(form, "user-0-email=x")), 403, local},
		{"field in a formset, in the query", appReq("POST", "/api/me?user-12-display_name=x", body(form, "theme=dark")), 403, local},
		{"field in a formset of a formset", appReq("POST", "/api/me", body(form, "user-0-mail-1-email=x")), 403, local},
		{"field of several values", appReq("POST", "/api/me", body(form, "email-0=x")), 403, local},
		{"field of several widgets", appReq("POST", "/api/me", body(form, "display_name_1=x")), 403, local},
		{"other field with hyphens", appReq("POST", "/api/me", body(form, "email-news=x&notify-email2=y")), 0, authz.ReasonAllowed},
		{"other field with signs", appReq("POST", "/api/me", body(form, "form:theme=x")), 0, authz.ReasonAllowed},
		{"other field within the query", appReq("POST", "/api/me?user[theme]=x", body(form, "theme=dark")), 0, authz.ReasonAllowed},
		{"no such field", appReq("PATCH", "/api/me", json(`{"theme":"dark"}`)), 0, authz.ReasonAllowed},
		{"no such field as form", appReq("POST", "/api/me", body(form, "theme=dark")), 0, authz.ReasonAllowed},
		{"override as form", appReq("POST", "/api/me", body(form, "_method=DELETE")), 400, authz.ReasonOverride},
		{"override by another write, as Rails", appReq("POST", "/api/me", body(form, "_method=patch&theme=x")), 0, authz.ReasonAllowed},
		{"the same with a field", appReq("POST", "/api/me", body(form, "_method=patch&user[email]=x")), 403, local},
		{"two overrides", appReq("POST", "/api/me", body(form, "_method=put&_method=DELETE")), 400, authz.ReasonOverride},
		{"two spellings of an override", appReq("POST", "/api/me", body(form, "_method=put&_METHOD=DELETE")), 400, authz.ReasonOverride},
		{"override without a value", appReq("POST", "/api/me", body(form, "_method=")), 400, authz.ReasonOverride},
		{"write without a body", appReq("POST", "/api/me/stars/7", header("content-length", "0")), 0, authz.ReasonAllowed},
		{"write without a body, of a field", appReq("POST", "/api/me/email", header("content-length", "0")), 403, local},
		{"method without fields", appReq("DELETE", "/api/me"), 403, local},
		{"fields without a body", appReq("PATCH", "/api/me"), 400, request.ReasonBodyMissing},
		{"fields in half a body", appReq("PATCH", "/api/me", json(`{}`), partial), 413, request.ReasonBodyPartial},
		{"fields in an encoded body", appReq("PATCH", "/api/me", json(`{}`), header("content-encoding", "gzip")), 415, request.ReasonBodyEncoded},
		{"fields in another format", appReq("PATCH", "/api/me", body("application/xml", "<email/>")), 415, request.ReasonContentType},
		{"fields in a broken multipart", appReq("PATCH", "/api/me", body("multipart/form-data; boundary=b0b", "--b0b")), 400, request.ReasonBody},
		{"fields twice", appReq("PATCH", "/api/me", json(`{"a":1,"a":2}`)), 400, request.ReasonBody},
		{"fields in a JSON patch", appReq("PATCH", "/api/me", body("application/json-patch+json", `[{"op":"add","path":"/email"}]`)), 400, request.ReasonBody},
	}
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		rows = append(rows, row{m, appReq(m, "/api/users"), 403, local})
	}
	for _, p := range []string{
		"/API/Users", "/api/users/", "/api//users", "/api/./users", "/api/users.", "/api/users%20", "/api/users.json", "/api/users.css",
		"/api/users;x=1", "/api;v=2/users", "/api/users/u1", "/api/users/u1/email", "/api/%75sers", "/api/%2575sers", "/api%2fusers",
		`/api\users`, "/api/users%5c", "/api/u%C5%BFers", "/%20api/users", "/api/users%09"[:len("/api/users")] + "%E2%80%8B", "/api/users%23x", "/api/.users", "/api/users..json",
	} {
		rows = append(rows, row{"path " + p, appReq("POST", p), 403, local})
	}
	for _, p := range []string{
		"/admin/people/;7", "/admin/people/%20", "/admin/people/a%252Fb", "/admin/people/%C2%A0", "/admin/;x/people/7", "/admin/people//",
		"/admin%E2%88%95people%EF%BC%8F7", "/adm%C4%B1n/people/7", "/admin/peop%C2%ADle/7", "/admin/people/a%2F%2F%2Fb",
	} {
		rows = append(rows,
			row{"delete " + p, appReq("DELETE", p), 403, local},
			row{"read " + p, appReq("GET", p), 0, authz.ReasonAllowed},
			row{"method that is not named " + p, appReq("PUT", p), 0, authz.ReasonAllowed},
		)
	}
	run(t, rows)

	d := newKit(t).Decide(t.Context(), appReq("POST", "/api/users"))
	if !strings.Contains(d.Detail, "identity service") {
		t.Errorf("the refusal does not name the place to change it: %q", d.Detail)
	}
}

// TestLockedSubjectRefused: a locked user gets 401 on every application route, with every
// credential, login and refresh included.
func TestLockedSubjectRefused(t *testing.T) {
	login := func(name string) request.Request {
		return appReq("POST", "/login", body(form, "username="+name+"&password=x"))
	}
	refresh := func(b string, edits ...func(*request.Request)) request.Request {
		return appReq("POST", "/oauth/token", append([]func(*request.Request){body(form, b)}, edits...)...)
	}
	run(t, []row{
		{"session", appReq("GET", "/", cookie("session=locked")), 401, authz.ReasonLocked},
		{"session among others", appReq("GET", "/", cookie("a=1; session=locked; b=2")), 401, authz.ReasonLocked},
		{"api token", appReq("GET", "/", auth("Bearer pat_locked")), 401, authz.ReasonLocked},
		{"jwt", appReq("GET", "/", auth("Bearer app.locked.x")), 401, authz.ReasonLocked},
		{"jwt cookie", appReq("GET", "/", cookie("jwt=app.locked.x")), 401, authz.ReasonLocked},
		{"device", appReq("GET", "/", header("x-device", "locked")), 401, authz.ReasonLocked},
		{"deleted", appReq("GET", "/", cookie("session=gone")), 401, authz.ReasonDeleted},
		{"before the epoch", appReq("GET", "/", cookie("session=back")), 401, authz.ReasonEpoch},
		{"jwt before the epoch", appReq("GET", "/", auth("Bearer app.back.x")), 401, authz.ReasonEpoch},
		{"unknown age", appReq("GET", "/", cookie("session=ageless")), 401, authz.ReasonEpoch},
		{"after the epoch", appReq("GET", "/", cookie("session=fresh")), 0, authz.ReasonAllowed},
		{"jwt after the epoch", appReq("GET", "/", auth("Bearer app.fresh.x")), 0, authz.ReasonAllowed},
		{"not locked", appReq("GET", "/", cookie("session=alice")), 0, authz.ReasonAllowed},
		{"login", login("locked"), 401, authz.ReasonLocked},
		{"login in capitals with blanks", login("+LOCKED+"), 401, authz.ReasonLocked},
		{"login of a deleted user", login("gone"), 401, authz.ReasonDeleted},
		{"login after reactivation", login("back"), 0, authz.ReasonAllowed},
		{"login of another", login("alice"), 0, authz.ReasonAllowed},
		{"login while another's session is there", appReq("POST", "/login", cookie("session=bob"), body(form, "username=alice")), 0, authz.ReasonAllowed},
		{"login as JSON", appReq("POST", "/api/login", body("application/json", `{"login":"locked"}`)), 401, authz.ReasonLocked},
		{"login as JSON list", appReq("POST", "/api/login", body("application/json", `{"login":["locked"]}`)), 400, request.ReasonBodySource},
		{"login as JSON in other spelling", appReq("POST", "/api/login", body("application/json", `{"Login":"locked"}`)), 400, request.ReasonBodySource},
		{"login without a body", appReq("POST", "/login"), 400, request.ReasonBodyMissing},
		{"login page", appReq("GET", "/login"), 0, authz.ReasonAllowed},
		{"login at a folded path", appReq("POST", "/Login/", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"login behind a blank segment", appReq("POST", "/%20/login", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"login in fullwidth letters", appReq("POST", "/%EF%BD%8Cogin", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"refresh behind an escaped slash", appReq("POST", "/oauth%2Ftoken", body(form, "refresh_token=locked")), 401, authz.ReasonLocked},
		{"refresh with the field behind a decoded question mark", appReq("POST", "/oauth/token%3Frefresh_token=locked", body(form, "refresh_token=alice")), 400, request.ReasonBodySource},
		{"login as multipart", appReq("POST", "/login", body("multipart/form-data; boundary=b0b", "--b0b")), 415, request.ReasonContentType},
		{"login as JSON where it is a form", appReq("POST", "/login", body("application/json", `{"username":"locked"}`)), 415, request.ReasonContentType},
		{"name twice", login("alice&username=locked"), 400, request.ReasonBodySource},
		{"name in another spelling", login("alice&User-Name=locked"), 400, request.ReasonBodySource},
		{"name as a list", login("alice&username%5B%5D=locked"), 400, request.ReasonBodySource},
		{"name in the query too", appReq("POST", "/login?username=locked", body(form, "username=alice")), 400, request.ReasonBodySource},
		{"form that cannot be read", login("%zz"), 400, request.ReasonBody},
		{"refresh", refresh("grant_type=refresh_token&refresh_token=locked"), 401, authz.ReasonLocked},
		{"refresh with client authentication", refresh("refresh_token=locked", auth("Basic Y2xpZW50OnB3")), 401, authz.ReasonLocked},
		{"refresh of another", refresh("refresh_token=alice"), 0, authz.ReasonAllowed},
		{"refresh in a partial body", refresh("refresh_token=locked", partial), 413, request.ReasonBodyPartial},
		{"other grant", refresh("grant_type=authorization_code&code=x"), 0, authz.ReasonAllowed},
		{"gateway", appReq("GET", "/", of("gateway"), header("x-forwarded-user", "locked")), 401, authz.ReasonLocked},
		{"gateway, unknown age", appReq("GET", "/", of("gateway"), header("x-forwarded-user", "back")), 401, authz.ReasonEpoch},
		{"gateway, new session", appReq("GET", "/", of("gateway"), header("x-forwarded-user", "back"), header("x-session-start", fmt.Sprint(t0.Unix()+7200))), 0, authz.ReasonAllowed},
		{"gateway, two names", appReq("GET", "/", of("gateway"), header("x-forwarded-user", "alice,locked")), 400, request.ReasonCredential},
		{"upgrade", appReq("GET", "/ws", cookie("session=locked"), header("upgrade", "websocket")), 401, authz.ReasonLocked},
	})
}

// TestCredentialForms: a credential has one reading, or the request is refused.
func TestCredentialForms(t *testing.T) {
	const bad = request.ReasonCookieForm
	rows := []row{
		{"free-form neighbour", appReq("GET", "/", cookie(`theme="a b"; x=%zz; session=alice; y`)), 0, authz.ReasonAllowed},
		{"name that only starts alike", appReq("GET", "/", cookie("sessionid=x; session=alice")), 0, authz.ReasonAllowed},
		{"emptied at sign-out", appReq("GET", "/", cookie("a=1; session=")), 0, authz.ReasonAllowed},
		{"in two headers", appReq("GET", "/", cookie("session=alice", "session=alice")), 400, bad},
		{"in a second header", appReq("GET", "/", cookie("a=1", "session=locked")), 401, authz.ReasonLocked},
		{"many cookies", appReq("GET", "/", cookie(strings.Repeat("a=1; ", 200)+"session=locked")), 431, request.ReasonCookies},
		{"many cookies in many headers", appReq("GET", "/", cookie(strings.Split(strings.Repeat("a=1;", 200), ";")...)), 431, request.ReasonCookies},
		{"long cookie", appReq("GET", "/", cookie("a="+strings.Repeat("x", 17<<10))), 431, request.ReasonCookies},
		{"control byte", appReq("GET", "/", cookie("a=\x01; session=alice")), 400, bad},
		{"jwt cookie that is none", appReq("GET", "/", cookie("jwt=abc")), 401, request.ReasonInvalid},
		{"jwt cookie that is not valid", appReq("GET", "/", cookie("jwt=a.b.c")), 401, request.ReasonInvalid},
		{"jwt without its claim", appReq("GET", "/", auth("Bearer app..x")), 401, request.ReasonInvalid},
		{"jwt, keys cannot be had", appReq("GET", "/", auth("Bearer nokeys.x.x")), 503, authz.ReasonKeys},
		{"two authorizations", appReq("GET", "/", auth("Bearer pat_alice,Bearer pat_locked")), 400, request.ReasonCredential},
		{"authorization with two blanks", appReq("GET", "/", auth("Bearer  pat_locked")), 400, request.ReasonCredential},
		{"authorization with a tab", appReq("GET", "/", auth("Bearer\tpat_locked")), 400, request.ReasonCredential},
		{"scheme in capitals", appReq("GET", "/", auth("BEARER pat_locked")), 401, authz.ReasonLocked},
		{"unknown scheme", appReq("GET", "/", auth("Digest abc")), 401, request.ReasonUnknownScheme},
		{"unknown prefix", appReq("GET", "/", auth("Bearer api_locked")), 401, request.ReasonUnknownScheme},
		{"prefix in capitals", appReq("GET", "/", auth("Bearer PAT_locked")), 401, request.ReasonUnknownScheme},
		{"ignored scheme", appReq("GET", "/", auth("Basic Y2xpZW50OnB3")), 0, authz.ReasonAllowed},
		{"device twice", appReq("GET", "/", header("x-device", "alice", "locked")), 400, request.ReasonCredential},
		{"device with a blank", appReq("GET", "/", header("x-device", "locked ")), 400, request.ReasonCredential},
		{"plugin is down", appReq("GET", "/", cookie("session=down")), 503, authz.ReasonIdentify},
		{"known by an id of the application alone", appReq("GET", "/", cookie("session=appid")), 503, authz.ReasonUnmapped},
		{"not known", appReq("GET", "/", cookie("session=nobody")), 0, authz.ReasonAllowed},
		{"bare: no credential", appReq("GET", "/", of("bare")), 0, authz.ReasonAllowed},
		{"bare: known", appReq("GET", "/", of("bare"), auth("Bearer pat_alice")), 0, authz.ReasonAllowed},
		{"bare: not known", appReq("GET", "/", of("bare"), cookie("session=nobody")), 401, authz.ReasonAnonymous},
		{"bare: known and not known", appReq("GET", "/", of("bare"), cookie("session=nobody"), auth("Bearer pat_alice")), 401, authz.ReasonAnonymous},
		{"strict: not known", appReq("GET", "/", of("strict"), cookie("session=nobody")), 401, authz.ReasonAnonymous},
		{"strict: no credential", appReq("GET", "/", of("strict")), 401, authz.ReasonAnonymous},
		{"strict: known and not known", appReq("GET", "/", of("strict"), cookie("session=nobody"), auth("Bearer pat_alice")), 401, authz.ReasonAnonymous},
		{"strict: known", appReq("GET", "/", of("strict"), cookie("session=alice")), 0, authz.ReasonAllowed},
	}
	for _, c := range []string{
		"session =locked", " session= locked", "session\u00a0=locked", "Session=locked", "SESSION=locked", "sessi%6fn=locked", "session=lo%63ked",
		`session="locked"`, `session="\154ocked"`, "a=1,session=locked", "session.0=lock; session.1=ed", "session-1=locked", "session0=locked", "session_2=locked",
		"session", "session=; session=locked", "session=alice; session=", "session=alice; session=locked", "session=alice; Session=locked", "session[0]=locked", "$session=locked", `"session"=locked`,
		"\xa0session=locked", "a=1; \x85session=locked", "session\xa0=locked", "ses\xffsion=locked", "a=1,\xa0session=locked", // trimmed as Latin-1
		"a=b session=locked", "a=b\u00a0session =locked", "a b=c\xa0session=locked", `a="b" session=locked`, // http.cookies of Python
		`a="b"session=locked`, `a=b"session=locked`, "[session=locked", `\session=locked`, "a=b\u00e9session=locked", // WebOb
		"(session=locked", "a=1; =session=locked", "a=1,:session=locked", "{ /session=locked", "?@<session=locked", // Tomcat skips signs
		"%A0session=locked", "session%00x=locked", "\u0085session=locked", "\u017fession=locked", "session=a b", "session=lo\\cked", "a=1;\tsession=locked", "session=alice,session=locked",
	} {
		// The leading blank of the second pair is the form of RFC 6265.
		want := row{"cookie " + c, appReq("GET", "/", cookie(c)), 400, bad}
		if strings.ContainsRune(c, '\t') {
			want.name = "cookie after a tab"
		}
		rows = append(rows, want)
	}
	run(t, rows)
}

// TestOldCredentialSaysWhatToDo: a new sign-in helps only where scimward can see that it is new.
func TestOldCredentialSaysWhatToDo(t *testing.T) {
	for session, want := range map[string]string{"back": "sign in again", "ageless": "ask your administrator"} {
		d := newKit(t).Decide(t.Context(), appReq("GET", "/", cookie("session="+session)))
		if d.Reason != authz.ReasonEpoch || !strings.Contains(d.Detail, want) {
			t.Errorf("%s: %s %q, want %q", session, d.Reason, d.Detail, want)
		}
	}
}

func TestSlowIdentifyIsAFault(t *testing.T) {
	k := newKit(t, func(o *authz.Options) { o.IdentifyTimeout = time.Millisecond })
	d := k.Decide(t.Context(), appReq("GET", "/", cookie("session=slow")))
	if d.Status != 503 || d.Reason != authz.ReasonIdentify || !errors.Is(d.Cause, context.DeadlineExceeded) {
		t.Errorf("%d %s %v", d.Status, d.Reason, d.Cause)
	}
	d = newKit(t).Decide(t.Context(), appReq("GET", "/", cookie("session=down")))
	if d.Cause == nil || strings.Contains(d.Detail, "trap") {
		t.Errorf("cause %v, the client reads %q; the cause is for the log", d.Cause, d.Detail)
	}
}

// TestTwoSubjectsRefused: one request must not carry credentials of two users.
func TestTwoSubjectsRefused(t *testing.T) {
	run(t, []row{
		{"same user twice", appReq("GET", "/", cookie("session=alice"), auth("Bearer app.alice.x")), 0, authz.ReasonAllowed},
		{"two users", appReq("GET", "/", cookie("session=alice"), auth("Bearer app.bob.x")), 403, authz.ReasonTwoSubjects},
		{"two users, opaque", appReq("GET", "/", cookie("session=alice"), header("x-device", "bob")), 403, authz.ReasonTwoSubjects},
		{"one of them locked", appReq("GET", "/", cookie("session=alice"), auth("Bearer app.locked.x")), 401, authz.ReasonLocked},
		{"one user by two kinds of name", appReq("GET", "/", cookie("session=alice"), header("x-device", "u-alice")), 0, authz.ReasonAllowed},
		{"names that nobody can compare", appReq("GET", "/", cookie("session=bob"), header("x-device", "u-alice")), 403, authz.ReasonTwoSubjects},
		{"names that cannot be compared while the directory is down", appReq("GET", "/", cookie("session=store-down"), header("x-device", "u-alice")), 503, authz.ReasonDirectory},
		{"one of them not known", appReq("GET", "/", cookie("session=nobody"), auth("Bearer app.bob.x")), 0, authz.ReasonAllowed},
		{"refresh for another", appReq("POST", "/oauth/token", cookie("session=alice"), body(form, "refresh_token=bob")), 403, authz.ReasonTwoSubjects},
	})
	k := newKit(t, func(o *authz.Options) { o.Users = nil })
	if d := k.Decide(t.Context(), appReq("GET", "/", cookie("session=alice"), header("x-device", "u-alice"))); d.Reason != authz.ReasonTwoSubjects {
		t.Errorf("without a directory, names that cannot be compared pass: %s", d.Reason)
	}
}

// TestSubjectAndMutations: the answer sets or removes the identity header, never both, and
// the oldest credential sets the age of the leash.
func TestSubjectAndMutations(t *testing.T) {
	k := newKit(t)
	d := k.Decide(t.Context(), appReq("GET", "/", cookie("session=alice"), header("x-scim-user", "bob"), header("x-scim-client", "x"), header("x-forwarded-user", "bob")))
	if diff := cmp.Diff(map[string]string{"x-scim-user": "alice"}, d.SetHeaders); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x-scim-client", "x-forwarded-user"}, d.RemoveHeaders); diff != "" {
		t.Error(diff)
	}
	for _, r := range []request.Request{
		appReq("GET", "/", cookie("session=alice")),
		appReq("GET", "/", header("x-scim-a", "1"), header("x-forwarded-user", "1"), header("x-auth-request-email", "1"), header("remote-user", "1"), header("x-remote-user", "1")),
	} {
		d := k.Decide(t.Context(), r)
		for _, h := range append(slices.Collect(maps.Keys(d.SetHeaders)), d.RemoveHeaders...) {
			if !regexp.MustCompile(headers.MutationPattern).MatchString(h) {
				t.Errorf("%s is outside of what Envoy allows: every answer would be a 500", h)
			}
		}
	}
	d = k.Decide(t.Context(), appReq("GET", "/", header("x-scim-user", "bob")))
	if len(d.SetHeaders) != 0 || cmp.Diff([]string{"x-scim-user"}, d.RemoveHeaders) != "" {
		t.Errorf("anonymous: set %v, removed %v", d.SetHeaders, d.RemoveHeaders)
	}
	d = k.Decide(t.Context(), appReq("GET", "/", of("gateway"), header("x-forwarded-user", "alice")))
	if len(d.RemoveHeaders) != 0 || d.Caller.UserName != "alice" || !d.Caller.IssuedAt.IsZero() {
		t.Errorf("gateway: removed %v, subject %+v", d.RemoveHeaders, d.Caller)
	}
	d = k.Decide(t.Context(), appReq("GET", "/", cookie("session=fresh"), auth("Bearer app.fresh.x")))
	if d.Caller.IssuedAt.IsZero() || d.Caller.Source != "cookie:session" {
		t.Errorf("subject %+v", d.Caller)
	}
	d = k.Decide(t.Context(), appReq("GET", "/", cookie("jwt=a.b.c")))
	if d.ClearCookie != "jwt" || d.Challenge == "" {
		t.Errorf("a dead cookie stays: %+v", d)
	}
	d = k.Decide(t.Context(), appReq("POST", "/login", body(form, "username=alice")))
	if d.Caller.Known() || len(d.SetHeaders) != 0 {
		t.Errorf("a typed name identifies: %+v", d.Caller)
	}
	d = newKit(t, places).Decide(t.Context(), at("/", basic("bob:x"), header("x-scim-user", "alice")))
	if d.Caller.UserName != "bob" || len(d.SetHeaders) != 0 || cmp.Diff([]string{"x-scim-user"}, d.RemoveHeaders) != "" {
		t.Errorf("Basic: caller %+v, set %v, removed %v, want bob for locks and streams, and no name for the application",
			d.Caller, d.SetHeaders, d.RemoveHeaders)
	}
	d = newKit(t, places, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["places"]
		app.Anonymous = authz.AnonymousDeny
		o.Tenants["acme"].Apps["places"] = app
	}).Decide(t.Context(), at("/", basic("bob:")))
	if d.Reason != authz.ReasonAnonymous {
		t.Errorf("Basic where every request needs a user: %s, want %s", d.Reason, authz.ReasonAnonymous)
	}
}

func TestDecideSubject(t *testing.T) {
	k := newKit(t)
	for _, c := range []struct {
		tenant, app string
		s           authz.Caller
		want        bool
	}{
		{"acme", "app", authz.Caller{Subject: subject.Subject{UserName: "alice"}}, true},
		{"acme", "app", authz.Caller{Subject: subject.Subject{UserName: "locked"}}, false},
		{"acme", "app", authz.Caller{Subject: subject.Subject{UserName: "back"}, IssuedAt: t0}, false},
		{"acme", "app", authz.Caller{Subject: subject.Subject{UserName: "back"}, IssuedAt: t0.Add(2 * 3600e9)}, true},
		{"acme", "app", authz.Caller{}, false},
		{"acme", "other", authz.Caller{Subject: subject.Subject{UserName: "alice"}}, false},
		{"other", "app", authz.Caller{Subject: subject.Subject{UserName: "alice"}}, false},
		{"acme", "app", authz.Caller{Subject: subject.Subject{UserName: "stranger"}}, false},
		{"acme", "app", authz.Caller{Subject: subject.Subject{UserName: "store-down"}}, false},
		{"acme", "observing", authz.Caller{Subject: subject.Subject{UserName: "stranger"}}, true},
		{"acme", "observing", authz.Caller{Subject: subject.Subject{UserName: "locked"}}, false},
	} {
		if got := k.DecideSubject(t.Context(), c.tenant, c.app, &c.s); got != c.want {
			t.Errorf("%s/%s %+v: %t", c.tenant, c.app, c.s, got)
		}
	}
}

// TestSecretStaysWithIdentifier: only the application's plugin host gets the credential.
func TestSecretStaysWithIdentifier(t *testing.T) {
	k := newKit(t)
	d := k.Decide(t.Context(), appReq("GET", "/", auth("Bearer pat_alice")))
	want := []authz.Credential{
		{Source: "header", Name: "authorization", Scheme: "bearer", Prefix: "pat_", Value: "pat_alice"},
	}
	if diff := cmp.Diff(want, k.identifier.asked); diff != "" {
		t.Error(diff)
	}
	d.Claims.Extra = nil
	if s := fmt.Sprintf("%+v", d); strings.Contains(s, "pat_") {
		t.Errorf("the decision holds the credential: %s", s)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	k := newKit(t)
	app := func(s authz.SubjectSource) authz.Options {
		return authz.Options{
			Policy: k.policy, Locks: k.locks, Directory: k.directory,
			Tenants: map[string]authz.TenantOptions{"t": {
				Verifier: k.verifier,
				Apps:     map[string]authz.AppOptions{"a": {Subjects: []authz.SubjectSource{s}}},
			}},
		}
	}
	for _, c := range []struct {
		name, want string
		o          authz.Options
	}{
		{"nothing", "Policy is missing", authz.Options{}},
		{"no verifier", "tenant t: Verifier is missing", authz.Options{Policy: k.policy, Locks: k.locks, Tenants: map[string]authz.TenantOptions{"t": {}}}},
		{"no directory", "tenant t: Options.Directory is missing", authz.Options{Policy: k.policy, Locks: k.locks, Tenants: map[string]authz.TenantOptions{"t": {Verifier: k.verifier, Apps: map[string]authz.AppOptions{"a": {}}}}}},
		{"no such mode", `unknown value "maybe"`, authz.Options{Policy: k.policy, Locks: k.locks, Directory: k.directory, Tenants: map[string]authz.TenantOptions{"t": {Verifier: k.verifier, Apps: map[string]authz.AppOptions{"a": {Unprovisioned: "maybe"}}}}}},
		{"no name", "name is empty", app(authz.SubjectSource{Kind: authz.SourceTrusted, Source: request.Source{In: request.InHeader}})},
		{"no identifier", "needs an identifier", app(authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{In: request.InCookie, Name: "s"}})},
		{"no jwt verifier", "needs a verifier", app(authz.SubjectSource{Kind: authz.SourceJWT, Source: request.Source{In: request.InCookie, Name: "s"}})},
		{"trusted cookie", "only a header", app(authz.SubjectSource{Kind: authz.SourceTrusted, Source: request.Source{In: request.InCookie, Name: "s"}})},
		{"no route", "method, path and format", app(authz.SubjectSource{Kind: authz.SourceUserName, Source: request.Source{In: request.InBody, Name: "s"}})},
		{"name in a header", "from a body only", app(authz.SubjectSource{Kind: authz.SourceUserName, Source: request.Source{In: request.InHeader, Name: "s"}})},
		{"no place", "unknown place", app(authz.SubjectSource{Kind: authz.SourceTrusted, Source: request.Source{Name: "s"}})},
		{"no kind", "unknown kind", app(authz.SubjectSource{Source: request.Source{In: request.InHeader, Name: "s"}})},
	} {
		if _, err := authz.New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
