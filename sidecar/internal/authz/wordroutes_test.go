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
		opaque(request.Source{In: request.InQuery, Name: "access_key"})
		opaque(request.Source{In: request.InHeader, Name: "authorization", Scheme: "bearer", Prefix: "pat_"})
		opaque(request.Source{In: request.InHeader, Name: "authorization", Scheme: "bearer", JWT: true})
		app.IgnoreSchemes = []string{"basic"}
		opaque(request.Source{In: request.InBody, Name: "code", Body: request.BodyRoute{
			Method: "POST", Path: "/users/reset-password", Format: request.Form,
		}})
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/users/edit-profile"},
			{Path: "/users/enable2fa"},
			{Path: "/users/base64"},
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
	basic := func(word string) request.Request { return appReq("GET", "/x", of("bare"), auth("Basic "+word)) }
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
		"/any?404;http://h%2Fx/account/edit",                                                                           // Bitrix looks for the slash before it decodes
		"/any?SEF_APPLICATION_CUR_PAGE_URL=/account/edit", "/any?sef%20application.cur_page_url=%2Faccount%2Fedit%3Fx", // Bitrix
		"/users/edit%C3%A4Profile", "/users/edit%3BProfile", "/users/edit;Profile", "/users/edit%23Profile", "/users/edit%3FProfile",
		"/users/edit(Profile", "/users/(edit)Profile", "/users/edit%7CProfile", "/users/edit%E4%B8%ADProfile",
		"/users/edit%EF%BD%85Profile", "/users/edit%25Profile", "/frontend/users/editProfile", // Shopware 5
		"/index.php?route=account/e%C3%A4dit", "/index.php?route=account/edit%E4%B8%AD", "/index.php?route=account/-/edit",
		"/index.php?route=-/account/edit", "/index.php?route=acc%3Bount/edit", "/index.php?route=account/edi%23t",
		"/index.php?route=account/edi%3Ft", "/index.php?route=account/edi(t", "/index.php?route=account/edi%7Ct",
		"/index.php?route=%25account/edit", "/index.php?route=account/%25edit", "/index.php?route=account/%25%25edit",
		"/users/%25edit-profile", "/users/%2525edit-profile", "/users/enable%252fa", "/users/enable%25252fa",
		"/index.php?route=account/edi%5Ct", "/index.php?route=account/%E4%B8%AD/edit", // OpenCart
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
		refused("both escapes in a value", locked, get("/x?session=l%6fck%u0065d")),
		refused("both escapes in a value of a cookie", locked, appReq("GET", "/x", of("bare"), cookie("token=%u006co%63ked"))),
		refused("the end of a segment is a name", locked, get("/index/index/x-token/locked")),
		refused("the same in a route", locked, get("/?s=index/index/x.token/locked/x/%2501")),
		refused("tags within a segment", request.ReasonPath, get("/index/index/token/loc%3Cb%3Eked")),
		refused("a tag with another in it", request.ReasonPath, get("/index/index/token/%3Ca%20%22%3E%22%3Elocked%3Cb%3E.html")),
		refused("the end of a segment behind a semicolon", locked, get("/index/index/x;token/locked")),
		refused("the same in a route with a semicolon", locked, get("/?s=index/index/x%3Btoken/locked")),
		refused("what is no text when decoded again", locked, get("/?s=index/index/%25access_key/locked")),
		refused("a route in a cookie, the same", local, appReq("POST", "/any", of("bare"), cookie("route=%25account/edit"), header("content-length", "0"))),
		refused("what is no text, behind a denied route", local, post("/users%252fedit-profile%252f%25ff")),
		refused("behind a prefix", local, post("/wizar%2564%25ff")),
		refused("behind a field", local, post("/api%252fme%252femail%252f%25ff")),
		refused("behind a path place", request.ReasonPath, get("/feed%252flocked%252f%25ff")),
		refused("behind a query in the path", locked, get("/x%253ftoken=locked%2526a=%25ff")),
		refused("an escape that a router does not decode", local, post("/users/base%64")),
		refused("the same with a suffix", local, post("/users/base%64.html")),
		refused("three decodings before a control character", request.ReasonPath, post("/users%25252fbase64%25252f%25u00252501")),
		refused("a control character in Basic", request.ReasonCredential, basic("eDphAC4=")),
		refused("%u behind a decoding", local, post("/users/%25u0065dit-profile")),
		refused("a slash in %u", local, post("/users%25u002fedit-profile")),
		refused("the same of a path place", request.ReasonPath, get("/feed%25u002flocked")),
		refused("an escape that some decode, and a suffix", local, post("/users/enable%252fa.html")),
		refused("the same and a parameter", local, post("/users/enable%252fa;x")),
		refused("the same in a route of OpenCart", local, post("/index.php?route=users/enable%252fa.save")),
		refused("the same in a parameter", local, post("/x?foo=/users%252fedit-profile%252f%25ff")),
		refused("a token with blanks in its header, as a half", request.ReasonCredential,
			basic("eDpleUFpZEhsd0lqb2dJa3BYVkNKOS5lMzAuYQ==")),
		refused("before a way up", request.ReasonPath, post("/x%252f..%25ff/..")),
		refused("behind SCIM", authz.ReasonSCIMPath, get("/scim%252fv2%252fUsers%252f%25ff")),
		served("a path that is no text when decoded again", "", get("/products/100%25faux-fur")),
		refused("half of Basic is a token", request.ReasonCredential, basic("b2F1dGgyOnBhdF9sb2NrZWQ=")),
		refused("the other half", request.ReasonCredential, basic("cGF0X2xvY2tlZDp4LW9hdXRoLWJhc2lj")),
		refused("behind a second colon, with a blank", request.ReasonCredential, basic("eDp5OiBwYXRfbG9ja2Vk")),
		refused("more odd names than one reads", request.ReasonPath, get("/"+strings.Repeat("-;/", 4000))),
		served("Basic without a token", "", basic("YTpi")),
		refused("a semicolon in the value", locked, get("/token/locked;x=1")),
		served("a picture, no stream and no prefix", "", post("/wizar.dog")),
		served("another end of a segment", "", get("/index/index/x-tokens/locked")),
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
		if got.AllocedBytesPerOp() > 64<<20 {
			t.Errorf("%q for 59 KB takes %d bytes, want at most 64 MiB", again, got.AllocedBytesPerOp())
		}
	}
}
