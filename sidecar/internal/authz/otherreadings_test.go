package authz_test

import (
	"net/url"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// otherReadings is a kit with fields, operations and body places that some frameworks reach in another way.
func otherReadings(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/api/me", Fields: []string{"email", "roles"}},
			{Path: "/operations", Operations: []string{"deleteUser"}},
		}
		for path, format := range map[string]request.BodyFormat{
			"/graphql": request.GraphQL, "/json": request.JSON, "/form": request.Form, "/upload": request.Multipart,
		} {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
				In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: path, Format: format},
			}})
		}
		o.Tenants["acme"].Apps["app"] = app
	})
}

// TestBodyReadAsAnother: what a framework finds when it reads a body in another way than the content type says neither
// changes a denied field nor hides the credential of a locked person.
func TestBodyReadAsAnother(t *testing.T) {
	k := otherReadings(t)
	text := func(v string) func(*request.Request) { return multi(part("a", v)) }
	refused := map[string]request.Request{
		"PHP, sign in an index":            appReq("PUT", "/api/me", text("x&roles[!]=admin&y=z")),
		"PHP, colon in an index":           appReq("PUT", "/api/me", text("x&roles[a:b]=admin&y=z")),
		"PHP, sign in the first index":     appReq("PUT", "/api/me", text("x&user[!][email]=x&y=z")),
		"PHP, signs behind the index":      appReq("PUT", "/api/me", text("x&roles[a]!!=admin&y=z")),
		"PHP, signs behind the last index": appReq("PUT", "/api/me", text("x&user[email]!!=admin&y=z")),
		"PHP, index that nothing closes":   appReq("PUT", "/api/me", text("x&user[email][!!=admin&y=z")),
	}
	for _, method := range []string{"PUT", "PATCH", "GET", "DELETE"} {
		refused[method+" of a form as Yii reads parts"] = appReq(method, "/form", text("x&token=locked&y=z"))
		refused[method+" of parts as Yii reads them"] = appReq(method, "/upload", text("x&token=locked&y=z"))
		refused[method+" of a form as Yii reads JSON"] = appReq(method, "/form", jsonBody(`{"a":"&token=locked&b="}`))
		refused[method+" of JSON as Go reads a form"] = appReq(method, "/json", body(form, `{"a":"x","token":"locked"}`))
		refused[method+" of JSON in a text"] = appReq(method, "/json", jsonBody(`{"a":"{\"token\":\"locked\"}"}`))
		refused[method+" of GraphQL as a form"] = appReq(method, "/graphql", jsonBody(`{"query":"{me}","a":"&query={login(token:1)}&"}`))
	}
	for name, r := range refused {
		if d := k.Decide(t.Context(), r); d.Allowed() {
			t.Errorf("%s: allowed", name)
		}
	}
	for name, r := range map[string]request.Request{
		"form of another method":    appReq("PUT", "/form", body(form, "token=alice&a=x%26y")),
		"JSON of another method":    appReq("PUT", "/json", jsonBody(`{"token":"alice","about":"a token & more"}`)),
		"parts of another method":   appReq("PUT", "/upload", multi(part("token", "alice"), avatar("a"))),
		"GraphQL of another method": appReq("PUT", "/graphql", graphQL(`mutation($token: String) { login(token: $token) }`, `{"token":"alice"}`)),
		"prose with brackets":       appReq("PUT", "/api/me", text("Q & A [see: my email!] & more (roles) [x] & your email [now]")),
	} {
		if d := k.Decide(t.Context(), r); !d.Allowed() {
			t.Errorf("%s: %d %s (%s)", name, d.Status, d.Reason, d.Detail)
		}
	}
}

// TestDocumentElsewhere: a GraphQL document in a batch of graphql-ruby, or one that the query names by an id, is no way
// around a denied field, a denied operation or a lock.
func TestDocumentElsewhere(t *testing.T) {
	k := otherReadings(t)
	const plain = `{"query":"{ me { id } }"}`
	login := `[{"query":"mutation { login(token: \"locked\") }"}]`
	setEmail, deleteUser := url.QueryEscape(`mutation { me(email: "x") { id } }`), url.QueryEscape(`mutation { deleteUser { id } }`)
	batch := func(document string) string { return url.QueryEscape(`[{"query":` + document + `}]`) }
	for name, r := range map[string]request.Request{
		"place, member":           appReq("POST", "/graphql", jsonBody(`{"query":"{ me }","_json":`+login+`}`)),
		"place, deeper":           appReq("POST", "/graphql", jsonBody(`{"query":"{ me }","a":{"b":`+login+`}}`)),
		"place, text":             appReq("POST", "/graphql", jsonBody(`{"_json":"[{\"query\":\"mutation { login(token: 1) }\"}]"}`)),
		"place, name in brackets": appReq("POST", "/graphql", jsonBody(`{"_json[][query]":"mutation { login(token: 1) }"}`)),
		"place, in the query":     appReq("POST", "/graphql?_json="+url.QueryEscape(login), jsonBody(plain)),
		"place, query, brackets":  appReq("POST", "/graphql?_json[][query]="+setEmail, jsonBody(plain)),
		"fields, form":            appReq("POST", "/api/me", body(form, "_json[][query]="+setEmail)),
		"fields, query":           appReq("POST", "/api/me?_json[][query]="+setEmail, jsonBody(plain)),
		"fields, read":            appReq("GET", "/api/me?_json[][query]="+setEmail),
		"fields, read of a batch": appReq("GET", "/api/me?_json="+batch(`"mutation { me(email: 1) }"`)),
		"fields, variables of it": appReq("GET", "/api/me?_json="+batch(`"mutation($v: In) { me(in: $v) }","variables":{"v":{"email":1}}`)),
		"operations, query":       appReq("POST", "/operations?_json[][query]="+deleteUser, jsonBody(plain)),
		"operations, read":        appReq("GET", "/operations?_json[][query]="+deleteUser),
		"operations, batch":       appReq("GET", "/operations?_json="+batch(`"mutation { deleteUser }"`)),
		"stored, id":              appReq("POST", "/operations?id=HASH", jsonBody(plain)),
		"stored, doc_id":          appReq("POST", "/operations?doc_id=7", jsonBody(plain)),
		"stored, in a batch":      appReq("POST", "/operations?_json="+url.QueryEscape(`[{"id":"7"}]`), jsonBody(plain)),
		"stored, brackets":        appReq("POST", "/operations?extensions[persistedQuery][sha256Hash]=x", jsonBody(plain)),
		"stored, extensions": appReq("POST", "/operations?extensions="+url.QueryEscape(`{"persistedQuery":{"sha256Hash":"x"}}`),
			jsonBody(plain)),
	} {
		if d := k.Decide(t.Context(), r); d.Allowed() {
			t.Errorf("%s: allowed", name)
		}
	}
	for name, r := range map[string]request.Request{
		"place, extensions": appReq("POST", "/graphql", jsonBody(`{"query":"{ me }","operationName":"Q","extensions":{"persistedQuery":{"sha256Hash":"x"}}}`)),
		"place, other":      appReq("POST", "/graphql?op=Q", jsonBody(`{"query":"{ me }","id":"Q","about":["my query: x"]}`)),
		"operations, name":  appReq("POST", "/operations?operationName=Q&user_id=7&extensions={}", jsonBody(plain)),
		"variables":         appReq("POST", "/operations?variables="+url.QueryEscape(`{"id":7}`), jsonBody(plain)),
		"read with filter":  appReq("GET", "/api/me?filter="+url.QueryEscape(`{"where":{"email":"x"}}`)),
		"search by a read":  appReq("GET", "/api/me?search[query]=email:+x"),
	} {
		if d := k.Decide(t.Context(), r); !d.Allowed() {
			t.Errorf("%s: %d %s (%s)", name, d.Status, d.Reason, d.Detail)
		}
	}
}
