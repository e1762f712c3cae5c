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
		served("nothing lies below the root", "", appReq("POST", "/picture", body("image/png", "\x89PNG token=locked"))),
		served("a search", "", appReq("GET", "/search?q=user/reset")),
		served("a search below a place", "alice", appReq("GET", "/feed/alice?q=and/or")),
		served("a search with a slash", "", appReq("GET", "/feed?q=and/or")),
		served("another path", "", appReq("GET", "/graphqls?query=x&token=locked")),
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
		refused("path parameter, escaped value", bad, appReq("GET", "/account;jsessionid=%6cocked")),
		refused("path parameter, quoted", bad, appReq("GET", "/account;jsessionid=%22locked%22")),
		refused("path parameter, two users", authz.ReasonTwoSubjects,
			appReq("GET", "/account;jsessionid=bob", header("cookie", "JSESSIONID=alice"))),
		refused("path parameter, unknown session", authz.ReasonAnonymous, appReq("GET", "/account;jsessionid=old")),
		refused("cookieless ASP.NET", bad, appReq("GET", "/(S(locked))/account")),
		refused("cookieless ASP.NET, ticket", bad, appReq("GET", "/app/(F(locked))/account")),
		refused("query", locked, appReq("GET", "/x?jsessionid=locked")),
		refused("query, list", locked, appReq("GET", "/x?session[]=locked")),
		refused("query, start of the name", locked, appReq("GET", "/x?remember_web=locked")),
		refused("query, not plain", request.ReasonQuery, appReq("GET", "/x?session=%22locked%22")),
		refused("query, JWT", locked, appReq("GET", "/x?jwt=app.locked.x")),

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
		"accessToken=x": false, "access=token": false, "access[token]=x": false, "token_access=x": false,
	} {
		d := newKit(t).Decide(t.Context(), appReq("GET", "/account?"+query))
		if d.Allowed() == denied {
			t.Errorf("?%s: allowed %t, %s", query, d.Allowed(), d.Reason)
		}
	}
}
