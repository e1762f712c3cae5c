package envoytest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// localRows are requests to change accounts in the application itself, in every
// spelling of the path and by every method (IL1 §3.2.1).
func (p *prey) localRows() []row {
	form := "username=mallory&password=" + strings.Repeat("x", 12)
	at := func(family, name, method, target string, want int) row {
		return row{family: family, name: name, by: byApp, want: []int{want}, send: func() answer {
			return p.h1(method, target, form, p.cookie(p.ada), formType)
		}}
	}
	const one, two = "local change, path", "local change, method"
	return []row{
		at(one, "as it is", "POST", "/signup", 403),
		at(one, "other case", "POST", "/SignUp", 403),
		at(one, "trailing dot", "POST", "/signup.", 403),
		at(one, "trailing slash", "POST", "/signup/", 403),
		at(one, "trailing blank", "POST", "/signup%20", 403),
		at(one, "suffix", "POST", "/signup.json", 403),
		at(one, "another suffix", "POST", "/signup/x.css", 403),
		at(one, "escaped question mark", "POST", "/signup%3fx", 403),
		at(one, "escaped letter", "POST", "/%73ignup", 403),
		at(one, "letter escaped twice", "POST", "/%2573ignup", 403),
		at(one, "long s", "POST", "/%c5%bfignup", 403),
		at(one, "control byte", "POST", "/signup%0a", 400),
		at(one, "parameter", "POST", "/signup;x=1", 403),
		at(one, "merged slashes", "POST", "//signup", 403),
		at(one, "dot segments", "POST", "/x/../signup", 403),
		at(one, "backslash", "POST", `/x\..\signup`, 403),
		at(one, "query", "POST", "/signup?x=1", 403),
		at(one, "below", "POST", "/account/email", 403),
		at(two, "PUT", "PUT", "/signup", 403),
		at(two, "PATCH", "PATCH", "/account", 403),
		at(two, "DELETE", "DELETE", "/account", 403),
		at(two, "OPTIONS", "OPTIONS", "/account", 403),
		{family: two, name: "_method in a form", by: byApp, want: []int{403}, send: func() answer {
			return p.h1("POST", "/account", "_method=DELETE", p.cookie(p.ada), formType)
		}},
		{family: two, name: "_method in JSON", by: byApp, want: []int{403}, send: func() answer {
			return p.h1("POST", "/account", `{"_method":"DELETE"}`, p.cookie(p.ada), "Content-Type: application/json")
		}},
		{family: two, name: "_method in multipart", by: byApp, want: []int{403}, send: func() answer {
			return p.h1("POST", "/account", multipart("_method", "DELETE"), p.cookie(p.ada), multipartType)
		}},
		{family: two, name: "as an upgrade", by: byApp, want: []int{403}, send: func() answer {
			return p.upgrade("DELETE", "/account", "", p.cookie(p.ada))
		}},
		at(two, "unknown method", "PROPFIND", "/account", 405),
		at(two, "TRACE", "TRACE", "/account", 405),
	}
}

// overrideRows are headers and query keys that stand for another method or path.
func (p *prey) overrideRows() []row {
	const family = "override"
	var out []row
	for name, value := range map[string]string{
		"X-Method": "DELETE", "X-HTTP-Method": "DELETE", "X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE",
		"X-Original-URL": "/account", "X-Original-URI": "/account", "X-Rewrite-URL": "/account",
		"X-Forwarded-URI": "/account", "X-Forwarded-Path": "/account",
	} {
		out = append(out, row{family: family, name: name, by: byApp, want: []int{400}, send: func() answer {
			return p.h1("GET", "/account", "", p.cookie(p.ada), name+": "+value)
		}})
	}
	for _, query := range []string{
		"method=DELETE", "httpMethod=DELETE", "_method=DELETE", "%5Fmethod=DELETE", "_METHOD=DELETE", "a=b;_method=DELETE",
	} {
		out = append(out, row{family: family, name: "?" + query, by: byApp, want: []int{400}, send: func() answer {
			return p.h1("GET", "/account?"+query, "", p.cookie(p.ada))
		}})
	}
	return append(out,
		row{family: "override", name: "an override on another route", by: byApp, want: []int{400}, send: func() answer {
			return p.h1("POST", "/me", "", p.cookie(p.ada), "X-Original-URL: /signup", "Content-Length: 0")
		}},
		row{family: "cookie form", name: "the plain cookie of the locked user", by: byApp, want: []int{401}, send: func() answer {
			return p.h1("GET", "/me", "", p.cookie(p.eve))
		}},
	)
}

// identityRows are headers in which a client claims an identity: they do not reach
// the application, and those that scimward sets do.
func (p *prey) identityRows() []row {
	passes := func(family, name string, check func(*testing.T, *http.Request), lines ...string) row {
		return row{family: family, name: name, want: []int{200}, upstream: check, send: func() answer {
			return p.h1("GET", "/healthz", "", append([]string{p.cookie(p.ada)}, lines...)...)
		}}
	}
	gone := func(names ...string) func(*testing.T, *http.Request) {
		return func(t *testing.T, r *http.Request) {
			t.Helper()
			for _, n := range names {
				if v, ok := r.Header[http.CanonicalHeaderKey(n)]; ok {
					t.Errorf("%s: %q arrived", n, v)
				}
			}
			if got := r.Header.Values("X-Scim-User"); len(got) != 1 || got[0] != p.ada.Name {
				t.Errorf("X-Scim-User is %q, want %s", got, p.ada.Name)
			}
		}
	}
	anonymous := func(t *testing.T, r *http.Request) {
		t.Helper()
		for n, v := range r.Header {
			if strings.HasPrefix(strings.ToLower(n), "x-scim-") {
				t.Errorf("%s: %q arrived with an anonymous request", n, v)
			}
		}
	}
	const claimed = "203.0.113.9"
	return []row{
		passes("identity header", "an identity header that the answer sets", gone(), "X-Scim-User: root", "x-scim-user: admin"),
		{family: "identity header", name: "an identity header that the answer does not set", want: []int{200}, upstream: anonymous, send: func() answer {
			return p.h1("GET", "/healthz", "", "X-Scim-User: root")
		}},
		passes("hop-by-hop header", "an identity header as hop by hop", gone(), "Connection: x-scim-user"),
		passes("client certificate and address", "client certificate", gone("X-Forwarded-Client-Cert"), "X-Forwarded-Client-Cert: By=x;Subject=\"CN=root\""),
		passes("client certificate and address", "client address", func(t *testing.T, r *http.Request) {
			t.Helper()
			xff := r.Header.Values("X-Forwarded-For")
			if len(xff) == 0 || strings.HasSuffix(xff[len(xff)-1], claimed) {
				t.Errorf("X-Forwarded-For is %q, want an address behind the one that was claimed", xff)
			}
		}, "X-Forwarded-For: "+claimed),
		passes("identity header", "prefixed names", gone("X-Scim-Client", "X-Scim-Anything-Else"), "X-Scim-Client: root", "X-SCIM-Anything-Else: root"),
		passes("identity header", "other signs for hyphens", gone("X.scim.user", "X!scim~user", "Remote.user", "X|device'credential"),
			"x.scim.user: admin", "X!Scim~User: admin", "Remote.User: root", "X|Device'Credential: "+p.eve.Credentials["device"]),
		{family: "identity header", name: "HTTP/2, other signs for hyphens", want: []int{200}, upstream: gone("X.scim.user", "X*scim+user"), send: func() answer {
			return p.h2("GET", "/healthz", "", field{"cookie", "session=" + p.ada.Credentials["web_session"]},
				field{"x.scim.user", "admin"}, field{"x*scim+user", "admin"})
		}},
		passes("override", "other signs for hyphens", gone("X.http.method.override"), "X.HTTP.Method.Override: DELETE"),
		passes("identity header", "names that gateways use", gone("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Remote-User"),
			"X-Forwarded-User: root", "X-Forwarded-Email: root@example.com", "X-Forwarded-Groups: admins", "X-Remote-User: root"),
		passes("partial body", "a partial body claimed by the client", gone("X-Envoy-Auth-Partial-Body"), "X-Envoy-Auth-Partial-Body: true"),
		{family: "gRPC", name: "a locked user's gRPC", by: byGRPC, want: []int{200}, send: func() answer {
			return p.h1("POST", "/me", "", p.bearer(p.eve, "jwt"), "Content-Type: application/grpc", "Content-Length: 0")
		}},
	}
}

// cookieRows are the credentials of the locked user twice, beside the credentials of another user,
// or in spellings that only some parsers read (RFC 6265 §4.2).
func (p *prey) cookieRows() []row {
	const five = "cookie form"
	eve, ada := p.eve.Credentials["web_session"], p.ada.Credentials["web_session"]
	cookie := func(family, name string, want int, lines ...string) row {
		return row{family: family, name: name, by: byApp, want: []int{want}, send: func() answer {
			return p.h1("GET", "/me", "", lines...)
		}}
	}
	octal := `"\` + "1" + strings.Repeat("4", 2) + eve[1:] + `"`
	return []row{
		cookie(five, "blank before =", 400, "Cookie: session ="+eve),
		cookie(five, "blank behind =", 400, "Cookie: session= "+eve),
		cookie(five, "tab before the name", 400, "Cookie: a=b;\tsession="+eve),
		cookie(five, "blank of Latin-1 before the name", 400, "Cookie: a=b; \xa0session="+eve),
		cookie(five, "next line of Latin-1 before the name", 400, "Cookie: \x85session="+eve),
		cookie(five, "after a blank in a value", 400, "Cookie: a=b session="+eve),
		cookie(five, "NUL in the name", 400, "Cookie: session%00x="+eve),
		cookie(five, "other case", 400, "Cookie: Session="+eve),
		cookie(five, "escaped name", 400, "Cookie: %73ession="+eve),
		cookie(five, "escaped value", 400, "Cookie: session=%"+"41"+eve),
		cookie(five, "quoted value", 400, `Cookie: session="`+eve+`"`),
		cookie(five, "octal value", 400, "Cookie: session="+octal),
		cookie(five, "quoted name", 400, `Cookie: "session"=`+eve),
		cookie(five, "after a comma", 400, "Cookie: a=b,session="+eve),
		cookie(five, "in numbered parts", 400, "Cookie: session.0="+eve[:8]+"; session.1="+eve[8:]),
		cookie(five, "twice, the locked one first", 400, "Cookie: session="+eve+"; session="+ada),
		cookie(five, "twice, the locked one last", 400, "Cookie: session="+ada+"; session="+eve),
		cookie(five, "in two lines", 400, "Cookie: session="+ada, "Cookie: session="+eve),
		cookie("cookie count", "behind 3,000 others", 431, "Cookie: "+strings.Repeat("a=;", 3001)+"session="+eve),
		cookie("cookie count", "behind 150 others", 431, "Cookie: "+strings.Repeat("a=;", 150)+"session="+eve),
		cookie("credential", "two users, cookie and token", 401, "Cookie: session="+ada, p.bearer(p.eve, "api_token")),
		cookie("repeated header", "two Authorization lines", 400, p.bearer(p.ada, "api_token"), p.bearer(p.eve, "api_token")),
		cookie("repeated header", "a comma in Authorization", 400, p.bearer(p.ada, "api_token")+", "+p.eve.Credentials["api_token"]),
		cookie("repeated header", "an empty Authorization first", 401, "Authorization: ", p.bearer(p.eve, "api_token")),
		cookie("credential", "two blanks before the token", 400, "Authorization: Bearer  "+p.eve.Credentials["api_token"]),
		cookie("credential", "an unknown scheme", 401, "Authorization: Hawk "+p.eve.Credentials["api_token"]),
		{family: "credential", name: "the application's token in the query", by: byApp, want: []int{400}, send: func() answer {
			return p.h1("GET", "/me?access_token="+p.eve.Credentials["api_token"], "")
		}},
		{family: "repeated header", name: "two Content-Type lines where the body is read", by: byApp, want: []int{415}, send: func() answer {
			return p.h1("POST", "/oauth-app/token", p.refresh(p.eve), formType, "Content-Type: text/plain")
		}},
		{family: "lock", name: "refresh", by: byApp, want: []int{401}, send: func() answer {
			return p.h1("POST", "/oauth-app/token", p.refresh(p.eve), formType)
		}},
		{family: "lock", name: "refresh, the token twice", by: byApp, want: []int{400}, send: func() answer {
			both := p.refresh(p.ada) + "&refresh_token=" + p.eve.Credentials["refresh_token"]
			return p.h1("POST", "/oauth-app/token", both, formType)
		}},
		{family: "lock", name: "refresh, the token in the query", by: byApp, want: []int{400}, send: func() answer {
			return p.h1("POST", "/oauth-app/token?refresh_token="+p.eve.Credentials["refresh_token"], "grant_type=refresh_token", formType)
		}},
		{family: "lock", name: "sign-in in another case", by: byApp, want: []int{401}, send: func() answer {
			return p.h1("POST", "/login", "username="+strings.ToUpper(p.eve.Name)+"&password=x", formType)
		}},
		{family: "lock", name: "refresh in multipart", by: byApp, want: []int{415}, send: func() answer {
			return p.h1("POST", "/oauth-app/token",
				multipart("refresh_token", p.eve.Credentials["refresh_token"]), multipartType)
		}},
		{family: "lock", name: "refresh in chunks", by: byApp, want: []int{401}, send: func() answer {
			head := h1("POST", "/oauth-app/token", p.host, "", formType, "Transfer-Encoding: chunked")
			form := p.refresh(p.eve)
			return p.raw(p.t, p.Acme, head+chunks(form[:33], form[33:]))
		}},
		{family: "lock", name: "refresh, the name escaped", by: byApp, want: []int{401}, send: func() answer {
			return p.h1("POST", "/oauth-app/token", "grant_type=refresh_token&refresh%5Ftoken="+p.eve.Credentials["refresh_token"], formType)
		}},
		{family: "lock", name: "refresh in another spelling of the path", by: byApp, want: []int{400, 413}, send: func() answer {
			return p.h1("POST", "/oauth-app/Token", p.refresh(p.eve), formType)
		}},
		{family: "lock", name: "refresh as an upgrade, so that nothing is buffered", by: byEnvoy, want: []int{400, 403}, send: func() answer {
			return p.upgrade("POST", "/oauth-app/token", p.refresh(p.eve), formType)
		}},
		{family: "lock", name: "WebSocket", by: byApp, want: []int{401}, send: func() answer {
			return p.upgrade("GET", "/ws", "",
				p.cookie(p.eve), "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
		}},
		{family: "lock", name: "device", by: byApp, want: []int{401}, send: func() answer {
			return p.h1("GET", "/me", "", "X-Device-Credential: "+p.eve.Credentials["device"])
		}},
	}
}

// appPathRows are the SCIM prefix in a form that only the application would accept.
func (p *prey) appPathRows() []row {
	const family = "SCIM prefix"
	to := func(name, target string, want int) row {
		return row{family: family, name: name, by: byApp, want: []int{want}, send: func() answer {
			return p.scim("DELETE", target, "")
		}}
	}
	return []row{
		to("other case", "/Scim/v2/Users/"+p.target.ID, 404),
		to("a blank", "/scim%20/v2/Users/"+p.target.ID, 404),
		to("a trailing dot", "/scim./v2/Users/"+p.target.ID, 404),
		to("version in other case", "/scim/V2/Users/"+p.target.ID, 404),
		to("escaped, in another case", "/%53cim/v2/Users/"+p.target.ID, 404),
	}
}

// http2Rows repeat attacks over HTTP/2, which frames requests differently (RFC 9113 §8).
func (p *prey) http2Rows() []row {
	auth := field{"authorization", "Bearer " + p.token}
	eve, ada := "session="+p.eve.Credentials["web_session"], "session="+p.ada.Credentials["web_session"]
	app := func(family, name, method, path string, want int, fields ...field) row {
		return row{family: family, name: "HTTP/2, " + name, by: byApp, want: []int{want}, send: func() answer {
			return p.h2(method, path, "", fields...)
		}}
	}
	envoy := func(family, name string, send func() answer, want ...int) row {
		return row{family: family, name: "HTTP/2, " + name, by: byEnvoy, want: want, send: send}
	}
	head := func(method, path, authority string, more ...field) []field {
		return append([]field{{":method", method}, {":scheme", "https"}, {":authority", authority}, {":path", path}}, more...)
	}
	return []row{
		app("cookie form", "cookie crumbs of two users", "GET", "/me", 400, field{"cookie", ada}, field{"cookie", eve}),
		app("cookie form", "locked cookie", "GET", "/me", 401, field{"cookie", eve}),
		app("local change, method", "DELETE", "DELETE", "/account", 403, field{"cookie", ada}),
		app("override", "override", "GET", "/account", 400, field{"cookie", ada}, field{"x-http-method-override", "DELETE"}),
		app("local change, path", "other case", "POST", "/SIGNUP", 403, field{"cookie", ada}),
		{family: "double encoding", name: "HTTP/2, slash encoded twice", by: bySCIM, want: []int{400}, send: func() answer {
			return p.h2("PATCH", "/scim/v2/Users%252F"+p.target.ID, patch(damage), auth, field{"content-type", "application/scim+json"})
		}},
		envoy("escaped slash", "%2F", func() answer { return p.h2("DELETE", "/scim/v2/Users%2F"+p.target.ID, "", auth) }, 400),
		envoy("wire", "no path", func() answer {
			return p.raw2(p.t, p.Acme, []field{{":method", "DELETE"}, {":scheme", "https"}, {":authority", p.host}, auth}, "")
		}, 400, 0),
		envoy("wire", "no authority", func() answer {
			return p.raw2(p.t, p.Acme, []field{{":method", "DELETE"}, {":scheme", "https"}, {":path", p.userPath()}, auth}, "")
		}, 400, 404, 0),
		envoy("authority", "authority of another host", func() answer {
			return p.raw2(p.t, p.Acme, head("DELETE", p.userPath(), "evil.example", auth, field{"host", p.host}), "")
		}, 400, 404, 0),
		envoy("wire", "CONNECT", func() answer {
			return p.raw2(p.t, p.Acme, []field{{":method", "CONNECT"}, {":authority", p.host}, auth}, "")
		}, 400, 403, 404, 405, 0),
		envoy("upgrade", "extended CONNECT", func() answer {
			return p.raw2(p.t, p.Acme, head("CONNECT", p.userPath(), p.host, field{":protocol", "websocket"}, auth), "")
		}, 400, 403, 404, 405, 0),
		envoy("method", "method in lower case", func() answer { return p.h2("delete", p.userPath(), "", auth) }, 400, 405, 0),
		envoy("wire", "hop-by-hop header", func() answer { return p.h2("DELETE", p.userPath(), "", auth, field{"transfer-encoding", "chunked"}) }, 400, 0),
		envoy("wire", "two paths", func() answer {
			return p.raw2(p.t, p.Acme, head("DELETE", p.userPath(), p.host, field{":path", "/healthz"}, auth), "")
		}, 400, 0),
		envoy("identity header", "underscore twin", func() answer { return p.h2("DELETE", p.userPath(), "", auth, field{"x_scim_client", "root"}) }, 400, 0),
	}
}

// multipart is a body of multipartType with one field.
func multipart(name, value string) string {
	return "--B0UND7c41\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n--B0UND7c41--\r\n"
}

// withinParts is a body with the boundary B, in which PHP finds a field behind the boundary Z.
func withinParts(name, value string) string {
	const part = "\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n"
	return "--B" + fmt.Sprintf(part, "a", "--Z"+fmt.Sprintf(part, name, value)+"--Z--\r\n") + "--B--\r\n"
}

// h2 sends a request over HTTP/2 to acme.
func (p *prey) h2(method, path, body string, fields ...field) answer {
	all := append([]field{{":method", method}, {":scheme", "https"}, {":authority", p.host}, {":path", path}}, fields...)
	return p.raw2(p.t, p.Acme, all, body)
}
