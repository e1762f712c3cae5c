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

// TestCookieIsAParameter: what a parameter may be, a cookie may be too, in each spelling of some parser.
func TestCookieIsAParameter(t *testing.T) {
	t.Parallel()
	pairs := func(name, value string) map[string]string {
		return map[string]string{
			"plain": name + "=" + value, "second": "a=b; " + name + "=" + value, "blank behind": name + "=" + value + " ; a=b",
			"escaped blank behind": name + "=" + value + "%20", "quoted value": name + `="` + value + `"`,
			"version": `$Version=1; ` + name + `="` + value + `"`, "comma": "a=b," + name + "=" + value,
			"blank": "a=b " + name + "=" + value, "quote": `a="b"` + name + `="` + value + `"`,
			"blanks around": "a=b, " + name + ` = ` + value,
		}
	}
	for what, c := range map[string]struct {
		name, value string
		reason      string
		req         func(cookie func(*request.Request)) request.Request
	}{
		"query place": {"api_key", "locked", authz.ReasonLocked, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodGet, "/x", ck)
		}},
		"body place": {"token", "locked", authz.ReasonLocked, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodPost, "/sso", ck, body(form, "token=alice"))
		}},
		"method": {"_method", "DELETE", authz.ReasonOverride, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodGet, "/account/email", ck)
		}},
		"route": {"q", "account/email", authz.ReasonLocal, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodPost, "/any", ck, header("content-length", "0"))
		}},
		"route of the application": {"page", "account.email", authz.ReasonLocal, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodPost, "/any", ck, header("content-length", "0"))
		}},
		"route of a path place": {"q", "t/locked", request.ReasonPath, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodGet, "/any", ck)
		}},
		"field": {"email", "evil", authz.ReasonLocal, func(ck func(*request.Request)) request.Request {
			return appReq(http.MethodPost, "/api/me", ck, body(form, "a=b"))
		}},
		"typed name beside that of an exempt account": {
			"username", "alice", authz.ReasonLocal,
			func(ck func(*request.Request)) request.Request {
				return appReq(http.MethodPost, "/login", ck, body(form, "username=admin&password=x"))
			},
		},
	} {
		var rows []place
		for spelling, pair := range pairs(c.name, c.value) {
			rows = append(rows, refused(what+", "+spelling, c.reason, c.req(header("cookie", pair))))
		}
		decide(t, cookieKit(t), rows)
	}
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
