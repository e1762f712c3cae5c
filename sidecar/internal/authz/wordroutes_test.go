package authz_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestWordsOfARoute: routers drop the signs between the words of a segment or take them for one another, and servers
// run a path behind another one. The denied path is each of these, also for credentials, and another path is none.
func TestWordsOfARoute(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		opaque := func(s request.Source) {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: s})
		}
		opaque(request.Source{In: request.InPath, Name: "/feed/{credential}"})
		opaque(request.Source{In: request.InQuery, Name: "token"})
		opaque(request.Source{In: request.InBody, Name: "code", Body: request.BodyRoute{
			Method: "POST", Path: "/users/reset-password", Format: request.Form,
		}})
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/users/edit-profile"},
			{Path: "/account/edit"},
			{Path: "/wizard*"},
			{Path: "/_app/remote/{hash}/updateEmail"},
			{Path: "/my-account"},
			{Path: "/api/me", Fields: []string{"email"}},
			{Path: "/notes/index"},
		}
		o.Tenants["acme"].Apps["bare"] = app
	})
	const local, locked = authz.ReasonLocal, authz.ReasonLocked
	post := func(target string) request.Request {
		return appReq("POST", target, of("bare"), header("content-length", "0"))
	}
	get := func(target string) request.Request { return appReq("GET", target, of("bare")) }
	var rows []place
	for _, target := range []string{
		"/users/edit_profile", "/users/editProfile", "/users/editprofile", "/users/edit.profile", "/users/edit%20profile", // Laminas
		"/wizard-2", "/users/edit-profile;x=1", "/my.account/", "/my-acc!ount", "/m%C3%BD-account", "/?pagename=my%20account", // WordPress
		"/index.php?route=acc.ount/edit", "/index.php?route=account/e!dit", // OpenCart
		"/any?x=account%u002fedit", "/any?q=%u0061ccount/edit", // ASP
		"/any?404;http://h/account/edit", "/any?404;httpx/a&404;http://h/account/edit", "/any?404;https://h/x&404;http://h/account/edit",
		"/any?403;https://h:443/account/edit", // IIS
		"/any?/remote=h/updateEmail",          // SvelteKit
		"/_next//data/b/account/edit.json", "/page-data/account/edit/page-data.json/",
		"/api/me;a=b&email=x", "/api/me;a=b/c&email=x", "/api/me;a=b%7Cc&email=x", // Fastify
		"/any?404;http://h%2Fx/account/edit", // Bitrix looks for the slash before it decodes
		"/static", "/notes/static/index", "/static/x/account/edit", "/wiz-ard",
	} {
		denied := !slices.Contains([]string{"/static", "/notes/static/index", "/static/x/account/edit", "/wiz-ard"}, target)
		if !denied {
			rows = append(rows, served(target, "", post(target)))
			continue
		}
		rows = append(rows, refused(target, local, post(target)))
	}
	decide(t, k, append(rows,
		refused("body place", locked, appReq("POST", "/users/reset_password", of("bare"), body(form, "code=locked"))),
		refused("error page of a path place", request.ReasonPath, get("/x?404;httpx/a&404;http://h/feed/locked")),
		refused("image", request.ReasonPath, get("/_next/image?url=%2Ffeed%2Flocked&w=64")),
		refused("image with a slash", request.ReasonPath, get("/shop/_next/image/?url=%2Ffeed%2Flocked&w=64")),
		refused("image of old versions", request.ReasonPath, get("/_next/imagex/y?url=%2Ffeed%2Flocked")),
		refused("data without a build", locked, get("/_next/data/feed/locked.json")),
		served("data without a build, of a user", "alice", get("/_next/data/feed/alice.json")),
		refused("escape of ASP in a value", locked, get("/x?session=%u006cocked")),
		served("parameter of a name in segments", "", get("/api/token/gr%C3%B6%C3%9Fe")),
		served("two in a segment", "", get("/api/token/a,b")),
		served("a cookie is no method", "", appReq("GET", "/account/edit", of("bare"), cookie("method=x"))),
		served("other words", "", post("/users/edit-profiles")),
		served("fewer words", "", post("/users/edit")),
		served("signs alone", "", post("/users/-")),
		served("no error page", "", post("/any?next=http://h/account/edit")),
		served("picture", "", get("/_next/image?url=%2Fusers%2F7.png&w=64")),
	))
}

// TestCostOfErrorPages: a query may name an error page often. A path in it may be as long as the query, so not each is
// kept.
func TestCostOfErrorPages(t *testing.T) {
	k := newKit(t)
	for _, again := range []string{";http://a/", ";http:///", "404;http://a/", "a;https://a/x&"} {
		r := appReq("GET", "/x", of("bare"))
		r.Query = strings.Repeat(again, 59_000/len(again))
		got := testing.Benchmark(func(b *testing.B) {
			b.Helper()
			for b.Loop() {
				k.Decide(t.Context(), r)
			}
		})
		if got.AllocedBytesPerOp() > 16<<20 {
			t.Errorf("%q for 59 KB takes %d bytes, want at most 16 MiB", again, got.AllocedBytesPerOp())
		}
	}
}
