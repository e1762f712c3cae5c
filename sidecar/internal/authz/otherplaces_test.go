package authz_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestSlashesThatDoNotCount: WPGraphQL takes all slashes out before it compares, so any slashes may be in the path of
// an entry or of a place.
func TestSlashesThatDoNotCount(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"/graphql", "/blog/graphql", "/api/account/email"} {
		k := newKit(t, func(o *authz.Options) {
			app := o.Tenants["acme"].Apps["app"]
			app.LocalWrites = []authz.LocalWrite{{Path: entry}}
			o.Tenants["acme"].Apps["app"] = app
		})
		letters := strings.ReplaceAll(entry, "/", "")
		for first := range letters {
			for second := range letters[first:] {
				parts := []string{letters[:first], letters[first : first+second], letters[first+second:]}
				for _, separator := range []string{"/", "//"} {
					path := "/" + strings.Join(slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return p == "" }), separator)
					if d := k.Decide(t.Context(), appReq("POST", path)); d.Allowed() {
						t.Errorf("POST %s is the entry %s without its slashes: allowed", path, entry)
					}
				}
			}
		}
		for _, path := range []string{"/" + letters + "s", "/gra/phq", "/gra/php/ql", "/x/gra/phql", "/blog", "/blo/g", "/blog/graph%2F/ql", "/api/account/e/mails"} {
			if d := k.Decide(t.Context(), appReq("POST", path)); !d.Allowed() {
				t.Errorf("POST %s is not the entry %s: %s", path, entry, d.Detail)
			}
		}
	}
}

// TestIndexPages: servers run the index page of a folder for the path of the folder.
func TestIndexPages(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/admin/index.php"},
			{Path: "/shop/{id}/Default.aspx"},
			{Path: "/profile/index.html", Fields: []string{"email"}},
			{Path: "/blog/index"},
			{Path: "/forum/default/index"},
			{Path: "/people/profile.xhtml"},
		}
		app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: "/login/index.php", Format: request.Form},
		}})
		o.Tenants["acme"].Apps["bare"] = app
	})
	empty := header("content-length", "0")
	decide(t, k, []place{
		refused("folder", authz.ReasonLocal, appReq("POST", "/admin/", empty)),
		refused("folder without its slash", authz.ReasonLocal, appReq("POST", "/admin", empty)),
		refused("another spelling", authz.ReasonLocal, appReq("PUT", "/;x/ADM%49N//", empty)),
		refused("placeholder", authz.ReasonLocal, appReq("POST", "/shop/7/", empty)),
		refused("fields", authz.ReasonLocal, appReq("POST", "/profile/", body(form, "email=x"))),
		refused("credential", authz.ReasonLocked, appReq("POST", "/login/", body(form, "token=locked"))),
		refused("credential in the query", authz.ReasonLocked, appReq("GET", "/login/?token=locked")),
		refused("the page", authz.ReasonLocal, appReq("POST", "/admin/index.php", empty)),
		served("another page", "", appReq("POST", "/admin/other.php", empty)),
		refused("folder of an action", authz.ReasonLocal, appReq("POST", "/blog/", empty)),
		refused("folder of an action without its slash", authz.ReasonLocal, appReq("POST", "/blog", empty)),
		refused("controller of an action", authz.ReasonLocal, appReq("POST", "/forum/default", empty)),
		refused("module of an action", authz.ReasonLocal, appReq("POST", "/forum", empty)),
		refused("action by a route", authz.ReasonLocal, appReq("POST", "/index.php?r=blog", empty)),
		refused("module that a router takes when there is none", authz.ReasonLocal, appReq("POST", "/default/blog/index", empty)),
		refused("JSF by its other mapping", authz.ReasonLocal, appReq("POST", "/faces/people/profile.xhtml", empty)),
		served("another action", "", appReq("POST", "/blog/comment", empty)),
		served("another controller", "", appReq("POST", "/forum/topics", empty)),
		served("other fields", "", appReq("POST", "/profile/", body(form, "theme=x"))),
		served("read", "", appReq("GET", "/admin/")),
		served("root", "", appReq("POST", "/", empty)),
	})
}

// TestPageData: Next.js runs a page for the path of its data too.
func TestPageData(t *testing.T) {
	t.Parallel()
	k := batched(t)
	for path, denied := range map[string]bool{
		"/_next/data/BUILD/account/email.json":      true,
		"/_next/data/BUILD/profile.json":            true,
		"/docs/_next/data/BUILD/account/email.json": false,
		"/_next/data/BUILD/account.json":            false,
		"/_next/static/account/email":               false,
		"/data/x/account/email":                     false,
	} {
		if d := k.Decide(t.Context(), appReq("POST", path)); d.Allowed() == denied {
			t.Errorf("POST %s: allowed %t, %s", path, d.Allowed(), d.Detail)
		}
	}
}

// TestCredentialInPageData: links of a site of Next.js get the data of a page, with the credential of its path.
func TestCredentialInPageData(t *testing.T) {
	t.Parallel()
	decide(t, reached(t), []place{
		refused("locked", authz.ReasonLocked, appReq("GET", "/_next/data/BUILD/feed/locked.json")),
		served("a user", "alice", appReq("GET", "/_next/data/BUILD/feed/alice.json")),
		refused("in another form", request.ReasonPath, appReq("GET", "/_next/data/BUILD/feed/%61lice.json")),
	})
}

// TestPathInAParameter: Next.js gets the picture at url itself, and Bitrix takes the path from the query of an error
// page of IIS.
func TestPathInAParameter(t *testing.T) {
	t.Parallel()
	const local, path = authz.ReasonLocal, request.ReasonPath
	empty := header("content-length", "0")
	decide(t, reached(t, authz.LocalWrite{Path: "/account/email"}), []place{
		refused("picture of Next.js", path, appReq("GET", "/_next/image?url=%2Ffeed%2Flocked&w=64&q=75")),
		refused("picture of Next.js in a folder", path, appReq("GET", "/docs/_next/image?url=/feed/locked&w=64")),
		refused("error page", local, appReq("POST", "/any?404;http://x/account/email/", empty)),
		refused("error page, escaped", local, appReq("POST", "/any?404%3Bhttps%3A%2F%2Fx:443/account/email?a=b", empty)),
		refused("error page of a path place", path, appReq("GET", "/any?404;http://x/feed/locked")),

		served("another picture", "", appReq("GET", "/_next/image?url=%2Flogo.png&w=64&q=75")),
		served("picture of another host", "", appReq("GET", "/_next/image?url=https%3A%2F%2Fx%2Flogo.png&w=64")),
		served("url of another read", "", appReq("GET", "/preview?url=%2Ffeed%2Flocked")),
	})
}

// TestPortletFields: Liferay puts the namespace of the portlet before the name of each field.
func TestPortletFields(t *testing.T) {
	t.Parallel()
	k := denying(t, "email", "screenName")
	for name, denied := range map[string]bool{
		"_com_liferay_my_account_web_portlet_MyAccountPortlet_email":      true,
		"_com_liferay_my_account_web_portlet_MyAccountPortlet_screenName": true,
		"_2_email": true,
		"_mine_WAR_mineportlet_INSTANCE_aB3_user[email]":                   true,
		"_com_liferay_my_account_web_portlet_MyAccountPortlet_emailDigest": false,
		"_wp_http_referer": false,
		"newsletter_email": false,
		"_csrf_email":      false,
	} {
		for carrier, r := range map[string]request.Request{
			"form":  appReq("POST", "/api/me", body(form, "a=b&"+name+"=x")),
			"query": appReq("POST", "/api/me?"+name+"=x", body(form, "a=b")),
		} {
			if d := k.Decide(t.Context(), r); d.Allowed() == denied {
				t.Errorf("%s: %s: allowed %t, %s", carrier, name, d.Allowed(), d.Detail)
			}
		}
	}
}

// TestSessionsOfASPNET: System.Web takes a session or a ticket from a segment with any letters, and from a header, and
// the charset of query and form from another header.
func TestSessionsOfASPNET(t *testing.T) {
	t.Parallel()
	k := reached(t)
	for _, path := range []string{
		"/(S(locked))/account", "/(X(1)S(locked))/account", "/app/(Z(1)F(locked))", "/(x(1)f(locked))/", "/%28A(1)F(locked)%29/account",
	} {
		if d := k.Decide(t.Context(), appReq("GET", path, of("bare"))); d.Reason != request.ReasonPath {
			t.Errorf("GET %s: allowed %t, %s", path, d.Allowed(), d.Reason)
		}
	}
	for _, name := range []string{"aspfiltersessionid", "x-up-devcap-post-charset"} {
		if d := k.Decide(t.Context(), appReq("GET", "/account", of("bare"), header(name, "S(locked)"))); d.Reason != authz.ReasonOverride {
			t.Errorf("header %s: allowed %t, %s", name, d.Allowed(), d.Reason)
		}
	}
}

// TestTokenBehindAnotherScheme: an application that does not look at the scheme may take the word behind an ignored one
// for its token. scimward asks it, and passes what it does not know.
func TestTokenBehindAnotherScheme(t *testing.T) {
	t.Parallel()
	token := base64.StdEncoding.EncodeToString([]byte("locked:secret"))
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.IgnoreSchemes = []string{"basic", "negotiate", "custom"}
		app.Subjects = []authz.SubjectSource{{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InHeader, Name: "Authorization", Scheme: "Token",
		}}}
		o.Tenants["acme"].Apps["bare"] = app
		o.Identifier = tokens{"locked": "locked", token: "locked", "alice": "alice"}
	})
	send := func(v string) request.Request { return appReq("GET", "/x", header("authorization", v)) }
	decide(t, k, []place{
		refused("opaque", authz.ReasonLocked, send("Negotiate locked")),
		refused("another ignored scheme", authz.ReasonLocked, send("CUSTOM locked")),
		refused("base64 with a colon", authz.ReasonLocked, send("Basic "+token)),
		refused("its scheme", authz.ReasonLocked, send("token locked")),
		served("of a user", "alice", send("Negotiate alice")),
		served("client authentication", "", send("Basic "+base64.StdEncoding.EncodeToString([]byte("client:secret")))),
		served("a word", "", send("Custom x")),
		served("Kerberos", "", send("Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gMDAuBgkqhkiC9xIBAgI=")),
		served("NTLM", "", send("Negotiate TlRMTVNTUAABAAAAl4II4gAAAAAAAAAAAAAAAAAAAAAKAGFKAAAADw==")),
	})
}

// TestNobodyIsAskedAboutTickets: each ticket of Kerberos is another, so a question about each would cost the
// application as much as the request.
func TestNobodyIsAskedAboutTickets(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.IgnoreSchemes = []string{"negotiate"}
		app.Subjects = []authz.SubjectSource{{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InHeader, Name: "Authorization", Scheme: "Bearer",
		}}}
		o.Tenants["acme"].Apps["app"] = app
	})
	k.Decide(t.Context(), appReq("GET", "/x", header("authorization", "Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gMDAuBgkqhkiC9xIBAgI=")))
	if len(k.identifier.asked) > 0 {
		t.Errorf("the application was asked about a ticket of Kerberos")
	}
	k.Decide(t.Context(), appReq("GET", "/x", header("authorization", "Negotiate YIIJvwxx")))
	if len(k.identifier.asked) != 1 {
		t.Errorf("the application was asked %d times about a word that starts like a ticket, want once", len(k.identifier.asked))
	}
}

// TestCookieOfAField: PHP and ASP.NET find cookies among the parameters of query and body.
func TestCookieOfAField(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		for _, s := range []request.Source{
			{In: request.InQuery, Name: "api_key"},
			{In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: "/sso", Format: request.Form}},
		} {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: s})
		}
		o.Tenants["acme"].Apps["bare"] = app
	})
	const locked = authz.ReasonLocked
	decide(t, k, []place{
		refused("query place", locked, appReq("GET", "/x", cookie("a=b; api_key=locked"))),
		refused("escaped", locked, appReq("GET", "/x", cookie("api%5fkey=%6cocked"))),
		refused("in the spelling of PHP", locked, appReq("GET", "/x", cookie("api.key=locked"))),
		refused("beside its parameter", locked, appReq("GET", "/x?api_key=alice", cookie("api_key=locked"))),
		refused("body place", locked, appReq("POST", "/sso", body(form, "token=alice"), cookie("token=locked"))),
		refused("body place, two users", authz.ReasonTwoSubjects, appReq("POST", "/sso", body(form, "token=alice"), cookie("token=bob"))),
		refused("body place, by a route", locked, appReq("GET", "/?r=sso", cookie("token=locked"))),
		served("of a user", "alice", appReq("GET", "/x", cookie("api_key=alice"))),
		served("of something else", "", appReq("GET", "/x", cookie("api_key=xyz; other=locked"))),
		served("elsewhere", "", appReq("GET", "/x", cookie("token=locked"))),
		served("a typed name that the browser remembers", "", appReq("POST", "/login", body(form, "username=alice"), cookie("username=locked"))),
	})
}

// TestCharsetOfTheQuery: Django and ASP.NET decode the query in the charset of the Content-Type.
func TestCharsetOfTheQuery(t *testing.T) {
	t.Parallel()
	for contentType, denied := range map[string]bool{
		"text/plain; charset=utf-7":                            true,
		"text/plain; CharSet=\"hz\"":                           true,
		"text/plain; charset*=utf-8''utf-7":                    true,
		"text/plain; charset=utf-8, charset":                   false,
		"text/plain; charset=utf-8, text/plain; charset=utf-7": true,
		"text/plain; charset = 'utf-7'":                        true,
		"application/json charset=utf-8":                       false,
		"application/json; charset='utf-8'":                    false,
		"application/json; charset=":                           false,
		"text/plain; charset=Shift_JIS":                        false,
		"multipart/related; start-info=\"application/soap+xml; charset=utf-8\"; boundary=x": false,
		"text/plain;charset=ibm500":        true,
		"x; charset=unicode_escape;":       true,
		"text/plain; charset=utf-8":        false,
		"text/plain; charset=UTF8":         false,
		"text/plain; charset=\"us-ascii\"": false,
		"text/xml; charset=ISO-8859-15":    false,
		"text/plain; charset=windows-1252": false,
		"text/plain":                       false,
		"multipart/form-data; boundary=x":  false,
	} {
		r := appReq(http.MethodGet, "/x?a=1", header("content-type", contentType))
		if d := newKit(t).Decide(t.Context(), r); d.Allowed() == denied || denied && d.Reason != request.ReasonContentType {
			t.Errorf("%s: allowed %t, %s", contentType, d.Allowed(), d.Reason)
		}
	}
	if d := newKit(t).Decide(t.Context(), appReq("POST", "/soap", body("text/xml; charset=utf-16", "x"))); !d.Allowed() {
		t.Errorf("another charset without a query: %s", d.Detail)
	}
}

// TestMethodOverrideOfPerl: Plack and Catalyst take the method from the parameter x-tunneled-method.
func TestMethodOverrideOfPerl(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]request.Request{
		"query": appReq("POST", "/x?x-tunneled-method=DELETE"),
		"form":  appReq("POST", "/api/me", body(form, "x-tunneled-method=DELETE")),
	} {
		if d := newKit(t).Decide(t.Context(), r); d.Reason != authz.ReasonOverride {
			t.Errorf("%s: allowed %t, %s", name, d.Allowed(), d.Reason)
		}
	}
}
