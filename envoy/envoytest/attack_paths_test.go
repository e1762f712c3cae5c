package envoytest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// moreLocalWrites adds local writes with placeholders to a configuration.
func moreLocalWrites(text string) string {
	const last = "          - {path: /admin-ui/users}\n"
	return strings.ReplaceAll(text, last, last+
		"          - {path: \"/{lang}/account/profile\"}\n          - {path: \"/users/{id}/email\"}\n          - {path: /api/trpc/user.updateEmail}\n")
}

// readingRows are paths that some router takes for a denied route, although they have
// another number of segments, or other characters (ADR 11). Their twins are paths that
// look alike and pass unchanged.
func (p *prey) readingRows() []row {
	rows := slices.Concat(
		p.denied("local change, placeholder", placeholderPaths()),
		p.denied("local change, segments", segmentPaths()),
		p.denied("local change, compatibility forms", compatibilityPaths()),
	)
	for _, target := range []string{
		"/%20/login", "/;x/login", "/log%C4%B1n", "/%EF%BD%8Cogin", "/lo%C2%ADgin", "/login%E2%80%A4x", "/x/%E2%80%A5/login",
	} {
		rows = append(rows, row{family: "lock, spelling of the route", name: target, by: byApp, want: []int{400, 413}, send: func() answer {
			return p.h1("POST", target, "username="+p.eve.Name+"&password=x", formType)
		}})
	}
	for _, target := range []string{
		"/%20/scim/v2/Users/", "/;x/scim/v2/Users/", "/%EF%BD%93cim/v2/Users/", "/sc%C4%B1m/v2/Users/", "/scim%E2%88%95v2/Users/",
		"/scim%252Fv2/Users/", "/sc%C2%ADim/v2/Users/", "/x/%E2%80%A5/scim/v2/Users/",
	} {
		rows = append(rows, row{family: "SCIM prefix", name: target, by: byApp, want: []int{404}, send: func() answer {
			return p.scim("DELETE", target+p.target.ID, "")
		}})
	}
	for _, target := range []string{"/Download", "/%2564ownload", "/;x/events", "/%20/events", "/event%C5%BF", "/x/%E2%80%A5/download"} {
		rows = append(rows, row{family: "stream, spelling", name: target, by: byApp, want: []int{400}, send: func() answer {
			return p.h1("GET", target, "", p.cookie(p.ada))
		}})
	}
	return append(rows, p.readingTwins()...)
}

func (p *prey) denied(family string, paths []string) []row {
	var rows []row
	for _, target := range paths {
		send := func() answer {
			return p.h1("POST", target, "email=mallory%40evil.example", p.cookie(p.ada), formType)
		}
		rows = append(rows, row{family: family, name: target, by: byApp, want: []int{http.StatusForbidden}, send: send})
	}
	return rows
}

// placeholderPaths have a first segment that one router reads as nothing or as two, and
// another as a value of {lang}.
func placeholderPaths() []string {
	var out []string
	for _, lang := range []string{
		"en", "%20", ";x", "%C2%A0", "%C2%AD", "%E2%80%8B", "+", ".x", "...", "%25", "%2520", "a%252Fb", "a%25252Fb", "a%255Cb",
		"a%252F%252Fb", ";x%252Fy", "a;b%252Fc", "%3Bx", "a%E2%88%95b", "%EF%BC%8F", "a%E2%81%84b", "a%E2%A7%B8b", "account", "users",
		"%E3%82%A2", "%EF%BB%BF", "a%C2%A5b",
	} {
		out = append(out, "/"+lang+"/account/profile")
	}
	return out
}

// segmentPaths have more segments or fewer than the application sees.
func segmentPaths() []string {
	return []string{
		"/users/;7/email", "/users/%20/email", "/users/%C2%A0/email", "/users/a%252Fb/email", "/users;x=1/7/email", "/users%20/7/email",
		"/users/7/email%20", "/users/7/email;x", "/users/7/email.json", "/users/7/EMAIL", "/users/7/email/x", "/users/7/email%3Fx",
		"/users/7/email%2523x", "/users/users/email", "/users/.x/email", "/users%252F7%252Femail", "/users.a%252Fb/7/email",
		"/%20/users/7/email", "/;x/users/7/email", "/users/%20/7/email", "/users/7/./email", "/users/7/%2565mail",
		"/users/7/%25252565mail", "/users/7/email+", "/%252Fusers/7/email",
		"/index.php/signup", "/(S(abc))/signup", "/api/trpc/a.b,user.updateEmail?batch=1",
	}
}

// compatibilityPaths are spellings that NFKC, case mappings and best-fit tables undo.
func compatibilityPaths() []string {
	return []string{
		"/%EF%BD%93ignup", "/%EF%BC%B3IGNUP", "/s%C4%B1gnup", "/s%C4%B0gnup", "/sign%C2%ADup", "/sign%E2%80%8Dup", "/%C2%AD/signup",
		"/signup%EF%B8%8F", "/signup%E2%80%A4json", "/signup%EF%BC%8E", "/signup%EF%BC%8Fx", "/signup%EF%BC%9Bx", "/x/%E2%80%A5/signup",
		"/x/%EF%BC%8E%EF%BC%8E/signup", "/%EF%BC%85%37%33ignup", "/account%E2%88%95email", "/account%E2%81%84email", "/account%EF%BC%8Femail",
		"/account%E2%A7%B8email", "/account%EF%BC%BCemail", "/acc%25C2%25ADount/email", "/en/account/pro%EF%AC%81le",
		"/en/account%E2%88%95profile", "/adm%C4%B1n-u%C4%B1/users", "/admin%EF%BC%8Dui/users",
	}
}

// readingTwins reach the application with the path as it was sent: reads of denied routes,
// and writes beside them.
func (p *prey) readingTwins() []row {
	passes := func(method, target, body string) row {
		lines := []string{p.cookie(p.ada)}
		if body != "" {
			lines = append(lines, formType)
		}
		return row{
			family: "path twin", name: method + " " + target, want: []int{http.StatusNotFound, http.StatusMethodNotAllowed},
			upstream: func(t *testing.T, r *http.Request) {
				t.Helper()
				if r.Method != method || r.RequestURI != target {
					t.Errorf("%s %s arrived, want %s %s", r.Method, r.RequestURI, method, target)
				}
			},
			send: func() answer { return p.h1(method, target, body, lines...) },
		}
	}
	var rows []row
	for _, target := range []string{
		"/%20/account/profile", "/a%252Fb/account/profile", "/users/;7/email", "/account%E2%88%95email", "/x/%E2%80%A5/signup",
		"/my/events", "/downloads", "/api/trpc/a.b,user.get?batch=1",
	} {
		rows = append(rows, passes("GET", target, ""))
	}
	for _, target := range []string{
		"/api/trpc/a.b,theme.set?batch=1", "/users/7/emails", "/users/email", "/users/a%252Fb/phone", "/en/account/profile-picture", "/en/account", "/accounts/email",
		"/wiki/C++", "/files/100%25", "/files/%E6%9D%B1%E4%BA%AC", "/files/Why%3F", "/files/a;b/c", "/files/.x/%C4%B1", "/docs/scim/v2",
		"/proxy/https:%252F%252Fusers.example%252F7%252Femail",
	} {
		rows = append(rows, passes("POST", target, "a=b"))
	}
	return rows
}

// TestEscapedSlashesPerApp: with encoded_slashes: allow at one application, its paths arrive as they
// were sent, but for those with a reading that is denied. The other application, SCIM and the token
// endpoint refuse escaped slashes themselves.
func TestEscapedSlashesPerApp(t *testing.T) {
	w := newWorld(t, func(text string) string {
		const key = "        local_writes:\n"
		return strings.Replace(text, key, "        encoded_slashes: allow\n"+key, 1)
	})
	ada := w.signIn(t, w.Acme, user(t, w.Acme, "ada").UserName)
	token, err := w.Acme.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	acme, globex := strings.TrimPrefix(w.Acme.URL, "https://"), strings.TrimPrefix(w.Globex.URL, "https://")
	session, bearer := "Cookie: session="+ada.Credentials["web_session"], "Authorization: Bearer "+token
	for _, c := range []struct {
		host, method, target, header string
		want                         int
		arrives                      bool
	}{
		{acme, "GET", "/projects/group%2Fproject", session, 404, true},
		{acme, "POST", "/projects/group%2fproject/files/a%5Cb%2Fc", session, 404, true},
		{acme, "POST", "/proxy/https%3A%2F%2Fusers.example%2F7%2Femail", session, 404, true},
		{acme, "GET", "/a%2Fb/account/profile", session, 404, true},
		{acme, "POST", "/a%2Fb/account/profile", session, 403, false},
		{acme, "POST", "/users%2F7%2Femail", session, 403, false},
		{acme, "POST", "/users/%2F/email", session, 403, false},
		{acme, "POST", "/users/7;a%2Fb/email", session, 403, false},
		{acme, "POST", "/account%5Cemail", session, 403, false},
		{acme, "POST", "/x%2F..%2Fsignup", session, 400, false},
		{acme, "POST", "/login%2F", session, 400, false}, // without a body that Envoy buffers
		{acme, "GET", "/scim%2Fv2/Users", session, 404, false},
		{acme, "GET", "/scim/v2/Users%2F7", bearer, 400, false},
		{acme, "GET", "/scim/v2%2FUsers", bearer, 404, false},
		{acme, "POST", "/oauth%2Ftoken", bearer, 401, false},
		{acme, "POST", "/oauth/token%2F", bearer, 404, false},
		{globex, "GET", "/projects/group%2Fproject", "Accept: */*", 400, false},
		{globex, "POST", "/account%5cemail", "Accept: */*", 400, false},
		{globex, "GET", "/scim/v2/Users%2F7", bearer, 400, false},
	} {
		before := w.acme.count() + w.globex.count()
		a := w.raw(t, w.Acme, h1(c.method, c.target, c.host, "", c.header, "Content-Length: 0"))
		arrived := w.acme.count()+w.globex.count() > before
		if a.status != c.want || arrived != c.arrives {
			t.Errorf("%s %s: %d, arrived %t; want %d, %t\n%s", c.method, c.target, a.status, arrived, c.want, c.arrives, a.body)
		}
		if c.arrives && arrived && w.acme.lastSeen().RequestURI != c.target {
			t.Errorf("%s %s arrived as %s", c.method, c.target, w.acme.lastSeen().RequestURI)
		}
	}
}
