package envoytest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
)

const maxBody = 262144 // of the default configuration

// pathRows are ambiguous paths of SCIM routes (RFC 3986 §3.3). Envoy resolves them by
// path_with_escaped_slashes_action, merge_slashes and normalize_path.
func (p *prey) pathRows() []row {
	to := func(family, name, target string, by speaker, scimType string, want ...int) row {
		return row{family: family, name: name, by: by, scimType: scimType, want: want, send: func() answer {
			return p.scim("PATCH", target, patch(damage))
		}}
	}
	u, g := p.userPath(), p.groupPath()
	// A path that Envoy resolves to a plain one counts as that path, here and at the
	// SCIM port: the profile refuses the operation.
	resolved := func(family, name, target string) row {
		return row{family: family, name: name, by: bySCIM, scimType: "invalidSyntax", want: []int{400}, send: func() answer {
			return p.scim("PATCH", target, patch(`{"op":"replace","path":"members","value":[]}`))
		}}
	}
	return []row{
		to("escaped slash", "%2F in the path", "/scim/v2/Users%2F"+p.target.ID, byEnvoy, "", 400),
		to("escaped slash", "%5c in the path", "/scim/v2/Users%5c"+p.target.ID, byEnvoy, "", 400),
		to("escaped slash", "%2f and dot segments", "/scim/v2/Groups/..%2fUsers%2f"+p.target.ID, byEnvoy, "", 400),
		resolved("merged slashes", "slashes merge into a plain path", "//scim//v2/Groups//"+p.group.ID),
		resolved("dot segments", "dot segments resolve to a plain path", "/scim/v2/Users/../Groups/"+p.group.ID),
		resolved("dot segments", "encoded dot segments resolve to a plain path", "/scim/v2/Users/%2e%2e/Groups/./"+p.group.ID),
		to("path parameter", "parameter on the endpoint", "/scim/v2/Users;x=1/"+p.target.ID, bySCIM, "", 400),
		to("path parameter", "parameter on the id", u+";v=1", bySCIM, "", 400),
		resolved("path parameter", "dot segments with a parameter", "/scim/v2/Users/..;/Groups/"+p.group.ID),
		to("double encoding", "slash encoded twice", "/scim/v2/Users%252F"+p.target.ID, bySCIM, "", 400),
		to("double encoding", "dots encoded twice", "/scim/v2/Groups/%252e%252e/Users/"+p.target.ID, bySCIM, "", 400),
		to("path bytes", "%00", u+"%00", byEnvoy, "", 400),
		to("path bytes", "control character", u+"%0a", bySCIM, "", 400),
		to("path bytes", "bad escape", u+"%zz", bySCIM, "", 400),
		to("path bytes", "overlong UTF-8", u+"%c0%af", bySCIM, "", 400),
		to("path bytes", "non-ASCII byte", u+"\xe9", byEnvoy, "", 400),
		resolved("path bytes", "backslashes become a plain path", `/scim/v2\Groups\`+p.group.ID),
		resolved("path bytes", "escape of a plain letter", "/scim/v2/%47roups/"+p.group.ID),
		to("path case", "prefix in upper case", "/SCIM/V2/Users/"+p.target.ID, byApp, "", 404),
		to("path case", "endpoint in lower case", "/scim/v2/users/"+p.target.ID, bySCIM, "", 404),
		to("route", "trailing slash", u+"/", bySCIM, "", 400),
		to("route", "trailing dot", u+".", bySCIM, "", 404),
		to("route", "suffix", u+".json", bySCIM, "", 404),
		to("route", "another version", "/scim/v1/Users/"+p.target.ID, byApp, "", 404),
		to("route", "/Me", "/scim/v2/Me", bySCIM, "", 501),
		{family: "route", name: "/.search", by: bySCIM, want: []int{501}, send: func() answer {
			return p.scim("POST", "/scim/v2/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}`)
		}},
		to("authority", "absolute form of another host", "https://evil.example"+u, byEnvoy, "", 404),
		to("authority", "absolute form of the other tenant", p.Globex.URL+u, bySCIM, "", 401),
		to("authority", "scheme in the wrong form", "ftp://"+p.host+u, byEnvoy, "", 400, 404),
		{family: "authority", name: "Host of the other tenant", by: bySCIM, want: []int{401}, send: func() answer {
			host := strings.TrimPrefix(p.Globex.URL, "https://")
			return p.raw(p.t, p.Acme, h1("PATCH", u, host, patch(damage), "Authorization: Bearer "+p.token, scimJSON))
		}},
		to("fragment and query", "fragment", u+"#x", byEnvoy, "", 400),
		to("fragment and query", "parameter that hides the query", g+";?x", bySCIM, "", 400),
		to("fragment and query", "number sign in the query", u+"?a=%23&b=#", byEnvoy, "", 400),
	}
}

// queryRows are repeated or malformed parameters and filters (RFC 7644 §3.4.2).
func (p *prey) queryRows() []row {
	list := func(family, name, query, scimType string, want int) row {
		return row{family: family, name: name, by: bySCIM, scimType: scimType, want: []int{want}, send: func() answer {
			return p.scim("GET", "/scim/v2/Users?"+query, "")
		}}
	}
	filter := func(f string) string { return "filter=" + url.QueryEscape(f) }
	return []row{
		list("query", "key twice", filter(`userName eq "a"`)+"&"+filter(`userName eq "b"`), "invalidSyntax", 400),
		list("query", "key twice in another case", filter(`userName eq "a"`)+"&Filter=x", "invalidSyntax", 400),
		list("query", "both selections", filter(`userName eq "a"`)+"&attributes=id&excludedAttributes=id", "invalidValue", 400),
		list("query", "bad escape", "filter=%zz", "invalidSyntax", 400),
		list("filter", "comment that hides the rest", filter(`userName eq "a" /* */`), "invalidFilter", 400),
		list("filter", "nothing but depth", "filter="+strings.Repeat("(", 600)+"id%20pr"+strings.Repeat(")", 600), "invalidFilter", 400),
	}
}

// methodRows are unknown methods, headers and parameters that stand for another
// method, and bulk requests (RFC 7644 §3.7).
func (p *prey) methodRows() []row {
	u := p.userPath()
	get := func(family, name string, send func() answer, by speaker, want ...int) row {
		return row{family: family, name: name, by: by, want: want, send: send}
	}
	override := func(name, target string, lines ...string) row {
		return get("method override", name, func() answer { return p.scim("GET", target, "", lines...) }, bySCIM, 400)
	}
	return []row{
		override("X-HTTP-Method-Override", u, "X-HTTP-Method-Override: DELETE"),
		override("X-Method-Override", u, "X-Method-Override: DELETE"),
		override("X-HTTP-Method", u, "X-HTTP-Method: DELETE"),
		override("_method in the query", u+"?_method=DELETE"),
		override("the header's name in the query", u+"?x-http-method-override=DELETE"),
		override("_method in the query, escaped", u+"?%5fmethod=DELETE"),
		get("method", "method in lower case", func() answer { return p.scim("delete", u, "") }, byEnvoy, 400, 0),
		get("method", "PROPFIND", func() answer { return p.scim("PROPFIND", u, "") }, bySCIM, 405),
		get("method", "unknown method", func() answer { return p.scim("PURGE", u, "") }, bySCIM, 405),
		get("method", "TRACE", func() answer { return p.scim("TRACE", u, "") }, bySCIM, 405),
		get("method", "OPTIONS", func() answer { return p.scim("OPTIONS", u, "") }, bySCIM, 405),
		get("bulk", "bulk", func() answer {
			return p.scim("POST", "/scim/v2/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{"method":"DELETE","path":"/Users/`+p.target.ID+`"}]}`)
		}, bySCIM, 501),
	}
}

// bodyRows are bodies that are missing, partial, too large, encoded, framed twice
// (RFC 9112 §6.3) or of another media type.
func (p *prey) bodyRows() []row {
	u, bad := p.userPath(), patch(damage)
	auth := "Authorization: Bearer " + p.token
	by := func(family, name, scimType string, want int, send func() answer) row {
		return row{family: family, name: name, by: bySCIM, scimType: scimType, want: []int{want}, send: send}
	}
	envoy := func(family, name string, send func() answer, want ...int) row {
		return row{family: family, name: name, by: byEnvoy, want: want, send: send}
	}
	typed := func(name string, lines ...string) row {
		return by("media type", name, "", 415, func() answer {
			return p.h1("PATCH", u, bad, append([]string{auth}, lines...)...)
		})
	}
	encoded := func(name string, lines ...string) row {
		return by("body coding", name, "", 415, func() answer {
			return p.h1("PATCH", u, bad, append([]string{auth, scimJSON}, lines...)...)
		})
	}
	chunked := func(head, body string) answer {
		return p.raw(p.t, p.Acme, h1("PATCH", u, p.host, "", auth, scimJSON, head)+body)
	}
	padded := func(n int) string { return bad + strings.Repeat(" ", n-len(bad)) }
	return []row{
		by("body or none", "PATCH without a body", "invalidSyntax", 400, func() answer { return p.h1("PATCH", u, "", auth, scimJSON, "Content-Length: 0") }),
		by("body or none", "PATCH with an empty chunked body", "invalidSyntax", 400, func() answer { return chunked("Transfer-Encoding: chunked", chunks()) }),
		by("body or none", "GET with a body", "invalidSyntax", 400, func() answer { return p.scim("GET", u, bad) }),
		by("body or none", "DELETE with a body", "invalidSyntax", 400, func() answer { return p.scim("DELETE", u, bad) }),
		by("body or none", "DELETE with chunks", "invalidSyntax", 400, func() answer {
			return p.raw(p.t, p.Acme, h1("DELETE", u, p.host, "", auth, "Transfer-Encoding: chunked")+chunks(bad))
		}),
		by("partial body", "a partial body claimed by the client", "invalidSyntax", 400, func() answer {
			return p.scim("PATCH", p.groupPath(), patch(`{"op":"replace","path":"members","value":[]}`), "X-Envoy-Auth-Partial-Body: true")
		}),
		{family: "body size", name: "one byte more than fits", by: bySCIM, want: []int{413}, send: func() answer {
			return p.scim("PATCH", u, padded(maxBody+1))
		}},
		{family: "body size", name: "one byte more than fits, in chunks", by: bySCIM, want: []int{413}, send: func() answer {
			return chunked("Transfer-Encoding: chunked", chunks(padded(maxBody), " "))
		}},
		{family: "body size", name: "exactly full, in chunks", by: bySCIM, want: []int{413}, send: func() answer {
			return chunked("Transfer-Encoding: chunked", chunks(padded(maxBody)))
		}},
		envoy("upgrade", "upgrade so that nothing is buffered", func() answer {
			return p.upgrade("PATCH", u, "", auth, scimJSON, "Content-Length: 0")
		}, 400, 403),
		envoy("upgrade", "GET upgrade", func() answer {
			return p.upgrade("GET", u, "", auth)
		}, 400, 403),
		encoded("gzip", "Content-Encoding: gzip"),
		encoded("stacked encodings", "Content-Encoding: identity, br"),
		encoded("encoding in upper case", "Content-Encoding: DEFLATE"),
		envoy("body coding", "length and chunks", func() answer {
			return p.raw(p.t, p.Acme, h1("PATCH", u, p.host, "", auth, scimJSON, "Content-Length: 5", "Transfer-Encoding: chunked")+chunks(bad))
		}, 400),
		envoy("body coding", "unknown transfer coding", func() answer { return chunked("Transfer-Encoding: gzip, chunked", chunks(bad)) }, 400, 501),
		envoy("body coding", "two lengths", func() answer {
			return p.raw(p.t, p.Acme, h1("PATCH", u, p.host, bad, auth, scimJSON, "Content-Length: 1"))
		}, 400),
		typed("no type"),
		typed("charset", "Content-Type: application/scim+json; charset=utf-16"),
		typed("JSON in a parameter", "Content-Type: text/plain;x=application/json"),
		typed("multipart", "Content-Type: multipart/form-data; boundary=B0UND7c41"),
		typed("form", formType),
		typed("two types", "Content-Type: application/scim+json, text/plain"),
		typed("two lines", scimJSON, "Content-Type: text/plain"),
	}
}

// jsonRows are JSON that two parsers may read differently (RFC 8259 §4, §8).
func (p *prey) jsonRows() []row {
	body := func(family, name, text string) row {
		return row{family: family, name: name, by: bySCIM, scimType: "invalidSyntax", want: []int{400}, send: func() answer {
			return p.scim("PATCH", p.userPath(), text)
		}}
	}
	valid := patch(damage)
	return []row{
		body("JSON key twice", "key twice", "{"+patchURN+`,"Operations":[],"Operations":[`+damage+`]}`),
		body("JSON key twice", "key twice in another case", "{"+patchURN+`,"operations":[],"Operations":[`+damage+`]}`),
		body("JSON key twice", "key twice within an operation", patch(`{"op":"add","op":"replace","path":"active","value":false}`)),
		body("strict JSON", "key twice, one of them escaped", patch(`{"op":"replace","path":"displayName","p\u0061th":"active","value":false}`)),
		body("strict JSON", "data behind the document", valid+"{}"),
		body("strict JSON", "byte order mark", "\xef\xbb\xbf"+valid),
		body("strict JSON", "NaN", patch(`{"op":"replace","path":"active","value":NaN}`)),
		body("strict JSON", "number out of range", patch(`{"op":"replace","path":"active","value":1e400}`)),
		body("strict JSON", "depth", patch(`{"op":"replace","path":"active","value":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`)),
		body("strict JSON", "bad UTF-8", patch(`{"op":"replace","path":"displayName","value":"`+"\xff"+`"}`)),
		body("strict JSON", "lone surrogate", patch(`{"op":"replace","path":"displayName","value":"\ud800"}`)),
		body("strict JSON", "no object", `["`+p.target.ID+`"]`),
		body("strict JSON", "broken off", valid[:len(valid)-2]),
	}
}

// dialectRows are PATCH operations that other identity services send and the
// profile forbids (IL1 §3.3.3).
func (p *prey) dialectRows() []row {
	reject := func(name, path, scimType string, want int, operation string) row {
		send := func() answer { return p.scim("PATCH", path, patch(operation)) }
		return row{family: "PATCH dialect", name: name, by: bySCIM, scimType: scimType, want: []int{want}, send: send}
	}
	g, u := p.groupPath(), p.userPath()
	ada := `[{"value":"` + p.target.ID + `"}]`
	return []row{
		reject("op in another case", g, "invalidSyntax", 400, `{"op":"Add","path":"members","value":`+ada+`}`),
		reject("path in another case", g, "invalidPath", 400, `{"op":"add","path":"Members","value":`+ada+`}`),
		reject("path with a URN", g, "invalidPath", 400, `{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:Group:members","value":`+ada+`}`),
		reject("no path", g, "invalidPath", 400, `{"op":"add","value":{"members":`+ada+`}}`),
		reject("object for array", g, "invalidValue", 400, `{"op":"add","path":"members","value":{"value":"`+p.target.ID+`"}}`),
		reject("remove with a value", g, "invalidSyntax", 400, `{"op":"remove","path":"members","value":`+ada+`}`),
		reject("remove by another filter", g, "invalidPath", 400, `{"op":"remove","path":"members[display eq \"x\"]"}`),
		reject("remove below a member", g, "mutability", 400, `{"op":"remove","path":"members[value eq \"x\"].value"}`),
		reject("replace members", g, "invalidSyntax", 400, `{"op":"replace","path":"members","value":[]}`),
		reject("rename the group", g, "invalidSyntax", 400, `{"op":"replace","path":"displayName","value":"x"}`),
		reject("active as text", u, "invalidValue", 400, `{"op":"replace","path":"active","value":"False"}`),
		{family: "PATCH dialect", name: "PUT", by: bySCIM, want: []int{403}, send: func() answer {
			return p.scim("PUT", u, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+p.target.UserName+`","active":false}`)
		}},
	}
}

// tokenRows are credentials in the wrong place or shape (RFC 6750 §2), tokens that
// do not verify (RFC 8725), and requests to the token endpoint.
func (p *prey) tokenRows() []row {
	u, bad := p.userPath(), patch(damage)
	with := func(family, name string, want int, lines ...string) row {
		return row{family: family, name: name, by: bySCIM, want: []int{want}, send: func() answer {
			return p.h1("PATCH", u, bad, append([]string{scimJSON}, lines...)...)
		}}
	}
	bearer := func(tok string) string { return "Authorization: Bearer " + tok }
	parts := strings.Split(p.token, ".")
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	hs := b64(`{"alg":"HS256","typ":"at+jwt"}`) + "." + parts[1]
	mac := hmac.New(sha256.New, p.jwks)
	mac.Write([]byte(hs))
	flipped := "A"
	if strings.HasPrefix(parts[2], "A") {
		flipped = "B"
	}
	return []row{
		with("credential", "no credential", 401),
		with("credential", "two headers", 400, bearer(p.alien), bearer(p.token)),
		with("credential", "two in one header", 400, "Authorization: Bearer "+p.token+",Bearer "+p.token),
		with("credential", "two blanks", 400, "Authorization: Bearer  "+p.token),
		with("credential", "a tab", 401, "Authorization: Bearer\t"+p.token),
		with("credential", "another scheme", 401, "Authorization: Basic "+b64("a:b")),
		with("credential", "the token of the application", 401, bearer(p.ada.Credentials["api_token"])),
		{family: "credential", name: "the token in the query", by: bySCIM, want: []int{400}, send: func() answer {
			return p.h1("PATCH", u+"?access_token="+p.token, bad, scimJSON)
		}},
		{family: "credential", name: "the token in a cookie", by: bySCIM, want: []int{401}, send: func() answer {
			return p.h1("PATCH", u, bad, scimJSON, "Cookie: access_token="+p.token+"; Authorization=Bearer "+p.token)
		}},
		with("token signature", "alg none", 401, bearer(b64(`{"alg":"none","typ":"at+jwt"}`)+"."+parts[1]+".")),
		with("token signature", "HS256 with the public keys", 401, bearer(hs+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))),
		with("token signature", "its own key in the header", 401, bearer(b64(`{"alg":"ES256","typ":"at+jwt","jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`)+"."+parts[1]+"."+parts[2])),
		with("token signature", "critical extension", 401, bearer(b64(`{"alg":"ES256","typ":"at+jwt","crit":["b64"],"b64":false}`)+"."+parts[1]+"."+parts[2])),
		with("token signature", "another signature", 401, bearer(parts[0]+"."+parts[1]+"."+flipped+parts[2][1:])),
		with("token use", "a JWT of the application", 401, bearer(p.ada.Credentials["jwt"])),
		{family: "token use", name: "an assertion as the token", by: bySCIM, want: []int{401}, send: func() answer {
			return p.h1("PATCH", u, bad, scimJSON, bearer(p.assertion()))
		}},
		with("token tenant", "the token of the other tenant", 401, bearer(p.alien)),
		p.replayRow(),
		{family: "method", name: "GET of the token endpoint", by: byOAuth, want: []int{405}, send: func() answer {
			return p.h1("GET", "/oauth/token", "")
		}},
		{family: "method override", name: "override at the token endpoint", by: byOAuth, want: []int{400}, send: func() answer {
			return p.h1("POST", "/oauth/token", "grant_type=client_credentials", formType, "X-HTTP-Method-Override: GET")
		}},
		{family: "route", name: "below the token endpoint", by: byOAuth, want: []int{404}, send: func() answer {
			return p.h1("POST", "/oauth/token/x", "a=b", formType)
		}},
	}
}

func (p *prey) assertion() string {
	a, err := p.Acme.Client.Assertion(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// replayRow uses one assertion twice (RFC 7523 §3, jti); the first use succeeds.
func (p *prey) replayRow() row {
	send := func() answer {
		form := url.Values{
			"grant_type": {"client_credentials"}, "scope": {"scim"}, "client_assertion": {p.assertion()},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}.Encode()
		if a := p.h1("POST", "/oauth/token", form, formType); a.status != 200 {
			p.t.Errorf("the assertion's first use: %d %s", a.status, a.body)
		}
		return p.h1("POST", "/oauth/token", form, formType)
	}
	return row{family: "token use", name: "an assertion used again", by: byOAuth, want: []int{400, 401}, send: send}
}

// wireRows are other protocol versions, hosts, and framing that hides a request (RFC 9112 §11.2).
func (p *prey) wireRows() []row {
	envoy := func(family, name, request string, want ...int) row {
		return row{family: family, name: name, by: byEnvoy, want: want, send: func() answer {
			return p.raw(p.t, p.Acme, request)
		}}
	}
	u := p.userPath()
	auth := "Authorization: Bearer " + p.token
	return []row{
		envoy("wire", "CONNECT", "CONNECT "+p.host+" HTTP/1.1\r\nHost: "+p.host+"\r\n\r\n", 400, 403, 404, 405),
		envoy("wire", "HTTP/1.0", "DELETE "+u+" HTTP/1.0\r\nHost: "+p.host+"\r\n"+auth+"\r\n\r\n", 426),
		envoy("wire", "HTTP/1.0 without Host", "DELETE "+u+" HTTP/1.0\r\n"+auth+"\r\n\r\n", 426, 400),
		envoy("wire", "HTTP/0.9", "GET "+u+"\r\n\r\n", 400, 426, 0),
		envoy("wire", "no Host", h1("DELETE", u, "", "", auth), 400),
		envoy("wire", "unknown Host", h1("DELETE", u, "nobody.example", "", auth), 404),
		envoy("identity header", "underscore twin", h1("DELETE", u, p.host, "", auth, "X_Scim_Client: root"), 400),
		envoy("repeated header", "two Host lines", h1("DELETE", u, p.host, "", auth, "Host: "+p.host), 400, 404),
		envoy("chunks", "junk behind a chunk",
			h1("PATCH", u, p.host, "", auth, scimJSON, "Transfer-Encoding: chunked")+"5\r\n{\"a\":junk\r\n0\r\n\r\n", 400),
		envoy("chunks", "a request behind a chunk",
			h1("PATCH", u, p.host, "", auth, scimJSON, "Transfer-Encoding: chunked")+"2\r\n{}DELETE "+u+" HTTP/1.1\r\nHost: "+p.host+"\r\n"+auth+"\r\n\r\n", 400),
		{family: "gRPC", name: "gRPC on a SCIM route", by: byGRPC, want: []int{200}, send: func() answer {
			return p.h1("DELETE", u, "", "Authorization: Bearer "+p.alien, "Content-Type: application/grpc")
		}},
	}
}
