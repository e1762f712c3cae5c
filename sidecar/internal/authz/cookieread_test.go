package authz_test

import (
	"net/http"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// cookieKit has an application with a place, an entry and an exempt account of each kind that a cookie may concern.
func cookieKit(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		typed := request.Source{In: request.InBody, Name: "username"}
		typed.Body = request.BodyRoute{Method: http.MethodPost, Path: "/login", Format: request.Form}
		app.Subjects = []authz.SubjectSource{{Kind: authz.SourceUserName, Source: typed}}
		for _, s := range []request.Source{
			{In: request.InCookie, Name: "session"},
			{In: request.InQuery, Name: "api_key"},
			{In: request.InPath, Name: "/t/{credential}"},
			{In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: "/sso", Format: request.Form}},
		} {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: s})
		}
		app.Exempt = []string{"admin"}
		app.RouteParameters = []string{"page"}
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/account/email"}, {Path: "/api/me", Fields: []string{"email"}}, {Path: "/login", Exempt: true},
		}
		o.Tenants["acme"].Apps["bare"] = app
	})
}

// TestRouteInACookie: a route may be in a cookie, for a path place and for a parameter of the application too.
func TestRouteInACookie(t *testing.T) {
	t.Parallel()
	empty := header("content-length", "0")
	decide(t, cookieKit(t), []place{
		refused("entry", authz.ReasonLocal, appReq("POST", "/any", cookie("q=account/email"), empty)),
		refused("entry, parameter of the application", authz.ReasonLocal, appReq("POST", "/any", cookie("page=account.email"), empty)),
		refused("path place", request.ReasonPath, appReq("GET", "/any", cookie("q=t/locked"))),
		refused("body place", authz.ReasonLocked, appReq("GET", "/any?token=locked", cookie("q=sso"))),
	})
}

// TestNamesInSegments: ThinkPHP and Yii 1 write parameters as segments, also within a route, and cut off a suffix.
func TestNamesInSegments(t *testing.T) {
	t.Parallel()
	const locked = authz.ReasonLocked
	decide(t, cookieKit(t), []place{
		refused("suffix", locked, appReq("GET", "/index.php/site/page/api_key/locked.html")),
		refused("slashes of ThinkPHP", locked, appReq("GET", "/index.php/site|page|api_key|locked")),
		refused("route", locked, appReq("GET", "/index.php?s=index/index/index/api_key/locked")),
		refused("route with a parameter", request.ReasonQuery, appReq("GET", "/index.php?s=/x;api_key=locked/y")),
		refused("body place below a route", locked, appReq("GET", "/index.php?s=/sso/token/locked")),
		served("of a user", "alice", appReq("GET", "/index.php/site/page/api_key/alice")),
		served("a value that is no credential", "", appReq("GET", "/docs/api_key/overview.html")),
		served("a body place elsewhere", "", appReq("GET", "/docs/token/locked")),
		served("the last segment", "", appReq("GET", "/docs/api_key")),
	})
}

// TestCookiesThatAreNoParameters: usual cookies pass.
func TestCookiesThatAreNoParameters(t *testing.T) {
	t.Parallel()
	get := func(v string) request.Request { return appReq(http.MethodGet, "/account/email", header("cookie", v)) }
	post := func(v string) request.Request {
		return appReq(http.MethodPost, "/any", header("cookie", v), header("content-length", "0"))
	}
	decide(t, cookieKit(t), []place{
		served("an affinity cookie", "", post("route=1720000000.123.456.789|0123abcd")),
		served("the last page", "", post("last_page=/account/email; redirect_to=%2Faccount%2Femail")),
		served("a language and a theme", "", post(`lang=en_US; theme="dark"; prefs={"a":"b","c":[1,2]}`)),
		served("analytics", "", get("_ga=GA1.1.1.1; _ga_X=GS1.1.1.1.1.1; amp_1=x.y..1h.1h.1.2.3")),
		served("a search", "", post("q=books")),
		served("a name that the browser remembers", "",
			appReq(http.MethodPost, "/login", body(form, "username=admin"), header("cookie", "remember=admin"))),
		served("in the value of JSON", "", get(`state={"api":"locked","q":"t"}`)),
	})
}
