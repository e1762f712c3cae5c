package authz_test

import (
	"encoding/base64"
	"net/url"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// reached is a kit whose app "bare" has places that an application also finds elsewhere. deny is what it denies.
func reached(t *testing.T, deny ...authz.LocalWrite) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.LocalWrites = deny
		app.IgnoreSchemes = []string{"basic", "negotiate"}
		add := func(s request.Source) {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: s})
		}
		for path, format := range map[string]request.BodyFormat{
			"/graphql": request.GraphQL, "/json": request.JSON, "/login.php": request.Form, "/": request.Form,
			"/wp-json/app/v1/login": request.Form, "/graphql/upload": request.Multipart,
		} {
			add(request.Source{In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: path, Format: format}})
		}
		add(request.Source{In: request.InPath, Name: "/user/reset/{id}/{credential}"})
		add(request.Source{In: request.InPath, Name: "/feed/{credential}"})
		add(request.Source{In: request.InCookie, Name: "JSESSIONID"})
		add(request.Source{In: request.InCookie, Name: "remember_", Starts: true})
		o.Tenants["acme"].Apps["bare"] = app
	})
}

// decide runs rows against the app "bare": the reason of a refusal, or the user of an allowed request.
func decide(t *testing.T, k *kit, rows []place) {
	t.Helper()
	for _, row := range rows {
		row.req.App = "bare"
		d := k.Decide(t.Context(), row.req)
		if d.Allowed() != (row.reason == "") || row.reason != "" && d.Reason != row.reason ||
			d.Allowed() && d.Caller.UserName != row.user {
			t.Errorf("%s: allowed %t, %d %s (%s), user %q; want reason %q, user %q",
				row.name, d.Allowed(), d.Status, d.Reason, d.Detail, d.Caller.UserName, row.reason, row.user)
		}
	}
}

// TestPlacesReached: a place is reached below its path, and by a route that the query names.
func TestPlacesReached(t *testing.T) {
	t.Parallel()
	const locked, bodySource = authz.ReasonLocked, request.ReasonBodySource
	empty := header("content-length", "0")
	login := graphQL(`mutation($token: String) { login(token: $token) }`, `{"token":"locked"}`)
	decide(t, reached(t), []place{
		refused("mounted GraphQL", locked, appReq("POST", "/graphql/x", login)),
		refused("mounted GraphQL, literal", bodySource, appReq("POST", "/graphql/x", graphQL(`mutation { login(token: "locked") }`, `{}`))),
		refused("mounted GraphQL, in the query", bodySource, appReq("GET", "/graphql/x?query=mutation%7Blogin(token:1)%7D")),
		refused("GraphQL by a route, in the query", bodySource, appReq("GET", "/?q=/graphql&query=mutation%7Blogin(token:1)%7D")),
		refused("WPGraphQL", locked, appReq("POST", "/any?graphql", login)),
		refused("mounted JSON", locked, appReq("POST", "/json/x", jsonBody(`{"token":"locked"}`))),
		refused("PATH_INFO of PHP", locked, appReq("POST", "/login.php/x", body(form, "token=locked"))),
		refused("parameter below", locked, appReq("GET", "/login.php/x?token=locked")),
		refused("route, parameter", locked, appReq("POST", "/blog?rest_route=/app/v1/login&token=locked", empty)),
		refused("route, parameter of a read", locked, appReq("GET", "/?rest_route=/app/v1/login&token=locked")),
		refused("path place by a route", request.ReasonPath, appReq("GET", "/?q=user/reset/1/locked")),
		refused("path place by a route of a write", request.ReasonPath, appReq("POST", "/index.php?q=user/reset/1/locked", empty)),
		refused("path place by a route below a folder", request.ReasonPath, appReq("GET", "/user/?q=reset/1/locked")),
		refused("path place by a step of Zope", request.ReasonPath, appReq("GET", "/feed?locked:method=1")),

		served("mounted GraphQL of another user", "alice",
			appReq("POST", "/graphql/x", graphQL(`mutation($token: String) { login(token: $token) }`, `{"token":"alice"}`))),
		served("a described place below another", "", appReq("POST", "/graphql/upload", multi(part("a", "b")))),
		refused("that place", locked, appReq("POST", "/graphql/upload", multi(part("token", "locked")))),
		refused("converter of Zope", request.ReasonQuery, appReq("GET", "/login.php?token:string=locked")),
		refused("brackets of qs", request.ReasonQuery, appReq("GET", "/login.php?[token][x]=locked")),
		refused("JSON as an upload", bodySource, appReq("PUT", "/json/x", body("image/png", `{"token":"locked"}`))),
		refused("JSON as an upload, comment", bodySource, appReq("PUT", "/json/x", body("application/octet-stream", `/**/{"token":"locked"}`))),
		refused("JSON as an upload, wide", bodySource, appReq("PUT", "/json/x", body("text/csv", "{\x00\"\x00t\x00"))),
		refused("JSON as gRPC", bodySource, appReq("PUT", "/json/x", body("application/grpc-web+json", "\x00\x00\x00\x00\x12"+`{"token":"locked"}`))),
		refused("form as an upload", bodySource, appReq("PUT", "/login.php/x", body("text/csv", "token=locked"))),
		refused("form as an upload, Bottle", bodySource, appReq("PUT", "/login.php/x", body("image/png", "a;%74oken=locked"))),
		refused("GraphQL as an upload", bodySource, appReq("POST", "/graphql/x", body("text/csv", `[{"query":"{a}"}]`))),
		refused("multipart as an upload", request.ReasonContentType, appReq("POST", "/json/x", body("image/png; x=multipart/form-data", "x"))),
		refused("upload at the place", request.ReasonContentType, appReq("POST", "/json", body("image/png", "\x89PNG"))),
		refused("upload, cut", request.ReasonBodyPartial, appReq("PUT", "/login.php/a.png", body("image/png", "\x89PNG"), partial)),
		refused("batch below GraphQL", locked, appReq("POST", "/graphql/batch",
			jsonBody(`[{"query":"{a}"},{"query":"mutation($token: String) { login(token: $token) }","variables":{"token":"locked"}}]`))),
		refused("batch below GraphQL, literal", bodySource, appReq("POST", "/graphql/batch", jsonBody(`[{"query":"mutation { login(token: 1) }"}]`))),
		refused("batch below GraphQL, in another form", bodySource, appReq("POST", "/graphql/batch", jsonBody(`[{"x":"&query=1"}]`))),

		served("upload", "", appReq("PUT", "/login.php/a.png", body("image/png", "\x89PNG\r\n\x1a\n\x00&\xff=;"))),
		served("table", "", appReq("POST", "/json/x", body("text/csv; charset=utf-8", "name,\"token\"\n1,2"))),
		served("calendar", "", appReq("PUT", "/login.php/dav/a.ics", body("text/calendar", "BEGIN:VCALENDAR\r\nDTSTART;TZID=x:1"))),
		served("gRPC", "", appReq("POST", "/json/x", body("application/grpc-web+proto", "\x00\x00\x00\x00\x01\x08"))),
		served("report of a browser", "", appReq("POST", "/json/csp", body("application/csp-report", `{"csp-report":{"document-uri":"https://x/"}}`))),
		served("batch of Relay below GraphQL", "", appReq("POST", "/graphql/batch", jsonBody(`[{"id":"1","query":"{a}","variables":{}}]`))),
		served("nothing lies below the root", "", appReq("POST", "/picture", body("image/png", "\x89PNG token=locked"))),
		served("a search", "", appReq("GET", "/search?q=user/reset")),
		served("a search below a place", "alice", appReq("GET", "/feed/alice?q=and/or")),
		served("a search with a slash", "", appReq("GET", "/feed?q=and/or")),
		served("another path", "", appReq("GET", "/graphqls?query=x&token=locked")),
	})
}

// TestNestedPlaces: a request is for the handler of one place only where it has that path exactly.
func TestNestedPlaces(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.Subjects = nil
		for _, p := range []struct {
			name, path string
			format     request.BodyFormat
		}{
			{"password", "/{tenant}/login", request.JSON},
			{"token", "/graphql", request.GraphQL},
			{"token", "/graphql/session", request.JSON},
			{"refresh_token", "/oauth/token", request.Form},
			{"token", "/login.php", request.Form},
		} {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
				In: request.InBody, Name: p.name, Body: request.BodyRoute{Method: "POST", Path: p.path, Format: p.format},
			}})
		}
		o.Tenants["acme"].Apps["bare"] = app
	})
	const locked = authz.ReasonLocked
	login := graphQL(`mutation($token: String) { login(token: $token) }`, `{"token":"locked"}`)
	decide(t, k, []place{
		refused("placeholder", locked, appReq("POST", "/graphql/login", login)),
		refused("suffix", locked, appReq("POST", "/graphql/session.json", login)),
		refused("case", locked, appReq("POST", "/graphql/SESSION", login)),
		refused("script that a router may drop", locked, appReq("POST", "/login.php/oauth/token", body(form, "token=locked"))),
		refused("one name in two formats", locked, appReq("POST", "/graphql/session?graphql", login)),
		refused("that place", locked, appReq("POST", "/graphql/session", jsonBody(`{"token":"locked"}`))),
		served("another placeholder", "", appReq("POST", "/acme/login", jsonBody(`{"x":"locked"}`))),
		served("exactly the place", "alice", appReq("POST", "/graphql/session", jsonBody(`{"token":"alice","query":1}`))),
	})
}

// TestSessionOfAnotherCookie: Jetty's path parameter is jsessionid, whatever the name of its cookie is.
func TestSessionOfAnotherCookie(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.Subjects = nil
		for _, s := range []request.Source{
			{In: request.InCookie, Name: "SID"}, {In: request.InCookie, Name: "connect.sid", Prefix: "s%3A", Escapes: true},
		} {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: s})
		}
		o.Tenants["acme"].Apps["bare"] = app
	})
	decide(t, k, []place{
		refused("locked", authz.ReasonLocked, appReq("GET", "/account;jsessionid=locked")),
		refused("escaped", authz.ReasonLocked, appReq("GET", "/account;JSESSIONID=%6cocked")),
		refused("converter of Zope that decodes the prefix", request.ReasonQuery, appReq("GET", "/x?connect.sid:utf-7:ustring=s+AD-locked")),
		refused("the name of the cookie", authz.ReasonLocked, appReq("GET", "/account;sid=locked")),
		served("a user", "alice", appReq("GET", "/account;jsessionid=alice")),
		served("of another container", "", appReq("GET", "/account;jsessionid=old")),
	})
}

// TestReadThatMutates: an entry without fields denies a read with a mutation, which some servers run, and a read with a
// body takes the routes of a write.
func TestReadThatMutates(t *testing.T) {
	t.Parallel()
	k := reached(t, authz.LocalWrite{Path: "/gq"}, authz.LocalWrite{Path: "/a/save"}, authz.LocalWrite{Path: "/update"})
	const local = authz.ReasonLocal
	empty := header("content-length", "0")
	decide(t, k, []place{
		refused("mutation", local, appReq("GET", "/gq?query=mutation{deleteUser}")),
		refused("mutation, escaped", local, appReq("GET", "/gq?query="+url.QueryEscape("query A{a} mutation B{deleteUser}"))),
		refused("mutation of HEAD below", local, appReq("HEAD", "/gq/x?query=%6dutation%7BdeleteUser%7D")),
		refused("mutation in a batch", local, appReq("GET", "/gq?batch="+url.QueryEscape(`[{"query":"mutation{x}"}]`))),
		refused("mutation that cannot be read", local, appReq("GET", "/gq?query="+url.QueryEscape("mutation{x(a:`)}"))),
		refused("Grails without a value", local, appReq("POST", "/a?_action_save", empty)),
		refused("Struts without a value", local, appReq("POST", "/x?action:update", empty)),
		refused("Struts with a namespace", local, appReq("POST", "/x?action:a/save=1", empty)),
		refused("route of a read with a body", local, appReq("GET", "/index.php?r=update", body(form, "email=x"))),
		refused("credential by a route of a read with a body", authz.ReasonLocked,
			appReq("GET", "/x?r=json", jsonBody(`{"token":"locked"}`))),
		served("search of a read", "", appReq("GET", "/index.php?r=update")),
		served("query", "", appReq("GET", "/gq?query=%7Bmutations%7D")),
		served("search", "", appReq("GET", "/gq?query=mutation+100%25")),
		served("elsewhere", "", appReq("GET", "/gr?query=mutation{x}")),
	})
}

// TestCookieElsewhere: a servlet container takes the session from the path, Zope and ColdFusion from the query.
func TestCookieElsewhere(t *testing.T) {
	t.Parallel()
	const locked, bad = authz.ReasonLocked, request.ReasonPath
	decide(t, reached(t), []place{
		served("path parameter", "alice", appReq("GET", "/account;jsessionid=alice")),
		served("path parameter beside its cookie", "alice", appReq("GET", "/account;jsessionid=alice", header("cookie", "JSESSIONID=alice"))),
		refused("path parameter, locked", locked, appReq("GET", "/account;jsessionid=locked")),
		refused("path parameter of a write", locked, appReq("POST", "/account;JSessionID=locked", header("content-length", "0"))),
		refused("path parameter before", locked, appReq("GET", "/;jsessionid=locked/account")),
		refused("path parameter behind another", locked, appReq("GET", "/account;x=y;jsessionid=locked")),
		refused("path parameter behind an escaped semicolon", locked, appReq("GET", "/account%3Bjsessionid=locked")),
		refused("path parameter, escaped name", locked, appReq("GET", "/account;%6asessionid=locked")),
		refused("path parameter, escaped value", locked, appReq("GET", "/account;jsessionid=%6cocked")),
		refused("path parameter, quoted", locked, appReq("GET", "/account;jsessionid=%22locked%22")),
		refused("path parameter, two users", authz.ReasonTwoSubjects,
			appReq("GET", "/account;jsessionid=bob", header("cookie", "JSESSIONID=alice"))),
		refused("path parameter, unknown session", authz.ReasonAnonymous, appReq("GET", "/account;jsessionid=old")),
		refused("cookieless ASP.NET", bad, appReq("GET", "/(S(locked))/account")),
		refused("cookieless ASP.NET, ticket", bad, appReq("GET", "/app/(F(locked))/account")),
		refused("query", locked, appReq("GET", "/x?jsessionid=locked")),
		refused("query, list", locked, appReq("GET", "/x?session[]=locked")),
		refused("query, start of the name", locked, appReq("GET", "/x?remember_web=locked")),
		refused("query, not plain", locked, appReq("GET", "/x?session=%22locked%22")),
		refused("query, JWT", locked, appReq("GET", "/x?jwt=app.locked.x")),

		refused("query, converter of Zope", request.ReasonQuery, appReq("GET", "/x?session:utf8:ustring=locked")),
		refused("query, converter that decodes", request.ReasonQuery, appReq("GET", "/x?session:utf-7:ustring=%2BAGwA-ocked")),
		refused("query, escaped converter", request.ReasonQuery, appReq("GET", "/x?session%3Astring=locked")),
		refused("query, letters beyond ASCII", request.ReasonQuery, appReq("GET", "/talks?session=Er%C3%B6ffnung")),
		refused("query, blank before", locked, appReq("GET", "/talks?session=+locked")),
		refused("query, blank that the application skips", locked, appReq("GET", "/x?session=loc+ked")),
		refused("query, plus sign", locked, appReq("GET", "/x?session=lock+ed")),

		served("query with words", "", appReq("GET", "/talks?session=Opening+Keynote")),
		served("query of a user", "alice", appReq("GET", "/x?session=alice")),
		served("query with another value", "bob", appReq("GET", "/talks?session=spring-2026", header("cookie", "session=bob"))),
		served("query with a token of another kind", "", appReq("GET", "/verify?jwt=a.b.c")),
		served("query with a text that is no JWT", "", appReq("GET", "/verify?jwt=my+text")),
		served("empty", "", appReq("GET", "/x;jsessionid=?session=")),
		served("other parameters", "", appReq("GET", "/cars;color=red;year=2020/Users('x')?my_session=locked&q=1")),
		served("key of OData", "", appReq("GET", "/odata/Users(S='x')/(a)")),
	})
}

// TestIgnoredScheme: an ignored scheme hides no token of another one.
func TestIgnoredScheme(t *testing.T) {
	t.Parallel()
	const bad = request.ReasonCredential
	send := func(v string) request.Request { return appReq("GET", "/x", header("authorization", v)) }
	plain := base64.StdEncoding.EncodeToString([]byte("client:secret"))
	decide(t, reached(t), []place{
		refused("Laravel", bad, send("Basic x Bearer pat_locked")),
		refused("Laravel, valid before", bad, send("Basic "+plain+" Bearer pat_locked")),
		refused("Laravel, another scheme", bad, send("Negotiate x Bearer pat_locked")),
		refused("second word", bad, send("Basic pat_locked")),
		refused("second word, another scheme", bad, send("Negotiate pat_locked")),
		refused("second word, JWT", bad, send("negotiate app.locked.x")),
		refused("base64 without a colon", bad, send("Basic "+base64.StdEncoding.EncodeToString([]byte("locked")))),
		refused("no word", bad, send("Basic ")),

		served("client authentication", "", send("Basic "+plain)),
		served("another case", "", send("bAsIc "+plain)),
		served("no user and no password", "", send("Basic Og==")),
		served("password in Latin-1", "", send("Basic "+base64.StdEncoding.EncodeToString([]byte("client:\xe9")))),
		served("Kerberos", "", send("Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gMDAuBgkqhkiC9xIBAgI=")),
	})
}

// TestFieldsElsewhere: a field or an operation in another reading of body or query is denied, and a search is not.
func TestFieldsElsewhere(t *testing.T) {
	t.Parallel()
	k := reached(t, authz.LocalWrite{Path: "/api/me", Fields: []string{"email", "roles", "name"}},
		authz.LocalWrite{Path: "/ops*", Operations: []string{"deleteUser"}})
	const local = authz.ReasonLocal
	doc := "query=" + url.QueryEscape(`mutation($i: In!) { me(in: $i) { id } }`)
	svg := func(text string) request.Request {
		return appReq("POST", "/api/me", multi("Content-Disposition: form-data; name=\"a\"; filename=\"a.svg\"\r\n"+
			"Content-Type: image/svg+xml\r\n\r\n"+text))
	}
	decide(t, k, []place{
		refused("PHP, quotation mark in an index", local, appReq("PUT", "/api/me", jsonBody(`{"x":"&roles[\"]=admin&"}`))),
		refused("PHP, quotation mark behind an index", local, appReq("PUT", "/api/me", jsonBody(`{"x":"&user[email]\"=evil&"}`))),
		refused("attribute of a DTD", request.ReasonBody, svg(`<!DOCTYPE u [<!ATTLIST u email CDATA "x">]><u/>`)),
		refused("variables in brackets", local, appReq("GET", "/api/me?"+doc+"&variables[i][email]=x")),
		refused("variables of a stored document", local, appReq("GET", "/api/me?variables[i][email]=x")),
		refused("batch in brackets", local, appReq("GET", "/api/me?_json[][query]="+url.QueryEscape(`mutation { me }`)+"&_json[][variables][i][email]=x")),
		refused("batch with variables as text", local, appReq("GET", "/api/me?_json[][query]="+url.QueryEscape(`mutation { me }`)+
			"&_json[][variables]="+url.QueryEscape(`{"i":{"email":"x"}}`))),
		refused("escaped twice", local, appReq("GET", "/api/me?query="+url.QueryEscape(url.QueryEscape(`mutation{me(email:1)}`)))),
		refused("override in brackets of Rack", authz.ReasonOverride, appReq("POST", "/api/me", body(form, "[_method]=DELETE"))),
		refused("override before a bracket", authz.ReasonOverride, appReq("POST", "/api/me", body(form, "_method]=DELETE"))),
		refused("override in brackets, part", authz.ReasonOverride, appReq("POST", "/api/me", multi(part("[_method]", "DELETE")))),
		refused("override in brackets, query", authz.ReasonOverride, appReq("GET", "/x?[_method]=DELETE")),
		refused("perhaps an override in brackets", authz.ReasonOverride, appReq("GET", "/api/me?[method]=DELETE")),
		refused("start of a path", local, appReq("POST", "/opsx", jsonBody(`{"query":"mutation { deleteUser { id } }"}`))),
		refused("start of a path, below", local, appReq("POST", "/ops-a/b", jsonBody(`{"query":"mutation { deleteUser { id } }"}`))),

		served("search with an apostrophe", "", appReq("GET", "/api/me?query=o'brien+name")),
		served("search with a question mark", "", appReq("GET", "/api/me?query=email%3F")),
		served("search with a percent sign", "", appReq("GET", "/api/me?query=Name%20100%25")),
		served("filter", "", appReq("GET", "/api/me?filter[email]=x&q=y")),
		served("Relay", "", appReq("POST", "/ops", jsonBody(`{"id":null,"query":"query Q { a }","variables":{}}`))),
		served("start of a path, another operation", "", appReq("POST", "/opsx", jsonBody(`{"query":"{ deleteUsers }"}`))),
		served("prose", "", appReq("PUT", "/api/me", jsonBody(`{"about":"Rock & \"email\" & R&D; name"}`))),
		served("drawing", "", svg(`<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>`)),
	})
}

// TestTokenInQuery: frameworks read an access token from the query without configuration.
func TestTokenInQuery(t *testing.T) {
	t.Parallel()
	for query, denied := range map[string]bool{
		"access_token=x": true, "access.token=x": true, "access+token=x": true, "access%20token=x": true, "access[token=x": true,
		"ACCESS_TOKEN[]=x": true, "bearer_token=x": true, "bearer.token=x": true,
		"[access_token]=x": true, "access_token]=x": true, "]access_token=x": true, "[access_token=x": true, "%5Baccess_token%5D=x": true,
		"accessToken=x": false, "access=token": false, "access[token]=x": false, "a[access_token]=x": false, "token_access=x": false,
	} {
		d := newKit(t).Decide(t.Context(), appReq("GET", "/account?"+query))
		if d.Allowed() == denied {
			t.Errorf("?%s: allowed %t, %s", query, d.Allowed(), d.Reason)
		}
	}
}
