package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// place checks where a subject looks. A place that no request can have is a fault: its credentials
// would pass unjudged, although the file says otherwise.
func (c checker) place(path string, t *Tenant, a *App, s *Subject) {
	n := count(s.Cookie != "", s.CookiePrefix != "", s.Header != "", s.Query != "", s.Path != "",
		s.WebSocketProtocol != "", s.Body != nil)
	if n != 1 {
		c.fail(path, "set exactly one of cookie, cookie_prefix, header, query, path, websocket_protocol and body",
			"%d places", n)
	}
	c.header(path+".header", s.Header)
	c.header(path+".issued_header", s.IssuedHeader)
	for key, name := range map[string]string{"cookie": s.Cookie, "cookie_prefix": s.CookiePrefix} {
		if name != "" && !headers.IsToken(name) {
			c.fail(path+"."+key, "write the name of a cookie (RFC 6265)", "no cookie name can contain all of %q", name)
		}
	}
	if s.Chunked && s.Cookie == "" {
		c.fail(path+".chunked", "leave it out, or name the cookie", "chunks belong to a cookie with one name")
	}
	for i, name := range s.Apart {
		rest, starts := strings.CutPrefix(name, s.Cookie)
		if !s.Chunked || !starts || !headers.IsToken(name) || strings.Trim(rest, ".-_*cC0123456789") == "" {
			c.fail(fmt.Sprintf("%s.apart[%d]", path, i), "name a cookie that starts with the name of the chunked one",
				"%q is not apart from the cookie and its chunks", name)
		}
	}
	c.query(path+".query", s.Query)
	c.pathPlace(path+".path", s.Path)
	if v := s.WebSocketProtocol; v != "" && !headers.IsToken(v) {
		c.fail(path+".websocket_protocol", `write the start of a protocol, such as "bearer."`,
			"no protocol can start with %q", v)
	}
	c.basic(path, a, s)
	c.prefix(path+".prefix", s)
	if s.Body != nil {
		c.body(path+".body", t, s.Body)
	}
}

// withheld are the request headers that Envoy does not pass on to the authorizer as the client sent
// them: it removes, rewrites or consumes them.
func withheld(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
		"host", "content-length", "expect", "x-forwarded-client-cert", "x-forwarded-proto", "x-forwarded-for",
		"x-request-id":
		return true
	}
	return strings.HasPrefix(name, "x-envoy-")
}

func (c checker) header(path, name string) {
	const fix = "name a header that reaches scimward"
	switch {
	case name == "":
	case name != strings.ToLower(name):
		c.fail(path, "write it in lower case", "%q is not in lower case", name)
	case !headers.IsToken(name):
		c.fail(path, "write the name of a header (RFC 9110 §5.1)", "no header name can contain all of %q", name)
	case strings.Contains(name, "_"):
		c.fail(path, "write it with hyphens, as clients must send it", "Envoy refuses header names with an underscore")
	case headers.Ambiguous(name):
		c.fail(path, "name a header of letters, digits and hyphens", "Envoy removes headers with other signs in their names")
	case strings.HasPrefix(name, headers.Prefix):
		c.fail(path, fix, "Envoy removes headers that start with %s", headers.Prefix)
	case slices.Contains(headers.Override(), name):
		c.fail(path, fix, "a request with %s is always refused, because it may replace the method or the path", name)
	case name == "cookie":
		c.fail(path, "name the cookie with cookie", "the header contains all cookies")
	case withheld(name):
		c.fail(path, fix, "Envoy does not pass on %s as it was sent", name)
	}
}

func (c checker) query(path, name string) {
	folded := strings.ToLower(name)
	switch {
	case name == "":
	case strings.ContainsAny(name, " &=#;?%+[]\"'\\") || !isVisible(name) || strings.Trim(name, "_-.") == "":
		c.fail(path, "write the name as it is sent, without escapes", "no query parameter in its plain form is %q", name)
	case slices.Contains(headers.OverrideQuery(), folded):
		c.fail(path, "choose another place", "a request with %s is always refused, because it replaces the method", name)
	}
}

func (c checker) pathPlace(path, template string) {
	if template == "" {
		return
	}
	c.route(path, template)
	switch n := strings.Count(template, "{credential}"); {
	case n != 1:
		c.fail(path, "write one {credential} as a whole segment, such as /t/{credential}", "%d credentials in the path", n)
	case strings.HasPrefix(template, "/{credential}"):
		c.fail(path, "write a fixed segment first", "every path of the application would be a credential")
	default:
		c.reachable(path, nil, template)
	}
}

// reachable adds a fault for a path that never reaches the application in this form. With a tenant,
// it also knows the paths that end at scimward.
func (c checker) reachable(path string, t *Tenant, value string) {
	segments := strings.Split(strings.Trim(value, "/"), "/")
	for _, seg := range segments {
		if seg == "" && value != "/" || seg == "." || seg == ".." {
			c.fail(path, "write the path that Envoy makes of it",
				"Envoy merges slashes and dot segments, so %q matches nothing", value)
			return
		}
	}
	first := strings.ToLower(segments[0])
	if first == "scim" {
		c.fail(path, "choose another path", "paths below /scim never reach the application")
	}
	if t != nil && (first == "oauth" || first == ".well-known") {
		c.fail(path, "choose another path, or another host for the app",
			"paths below /%s of this host are scimward's own", segments[0])
	}
}

func (c checker) basic(path string, a *App, s *Subject) {
	ignored := slices.ContainsFunc(a.IgnoreSchemes, func(i string) bool { return strings.EqualFold(i, s.Scheme) })
	if s.Scheme != "" && s.Header == "authorization" && ignored {
		c.fail(path+".scheme", "remove it from ignore_schemes", "an ignored scheme is never read")
	}
	basic := strings.EqualFold(s.Scheme, "basic")
	switch {
	case s.Basic == "" && !basic:
		return
	case s.Basic == "":
		c.fail(path+".basic", "write user or password", "which half is the credential?")
		return
	case !basic || s.Header != "authorization":
		c.fail(path+".basic", "set header: authorization and scheme: basic", "it belongs to Basic authentication")
	}
	c.oneOf(path+".basic", s.Basic, "user", "password")
	switch {
	case s.Is == "opaque" || s.Is == "jwt":
	case s.Basic == "password":
		c.fail(path+".is", "use opaque or jwt", "a password is no name")
	case s.Is != "user_name":
		c.fail(path+".is", "use user_name, which is checked against the locks and identifies nobody",
			"anybody can send any %s as the user of Basic authentication, so it proves nothing", s.Is)
	}
}

// prefix refuses the start of a value that no credential of the place can have.
func (c checker) prefix(path string, s *Subject) {
	if s.Prefix == "" {
		return
	}
	never := ""
	switch {
	case s.Is == "jwt":
		never = strings.Trim(s.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
	case !isVisible(s.Prefix):
		never = s.Prefix
	case s.Cookie != "" || s.CookiePrefix != "":
		never = anyOf(s.Prefix, "\",;\\")
		if !s.Escapes && never == "" {
			never = anyOf(s.Prefix, "%")
		}
	case s.Path != "":
		never = anyOf(s.Prefix, "\",;\\/?#.")
	case s.WebSocketProtocol != "" && !headers.IsToken(s.Prefix):
		never = s.Prefix
	case s.Header != "" || s.Query != "":
		never = anyOf(s.Prefix, "\",;\\")
	}
	if never != "" {
		c.fail(path, "write the start as the credential is sent", "a credential here cannot contain %q", never)
	}
}

func anyOf(s, chars string) string {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[i : i+1]
	}
	return ""
}

// shadowed adds a fault for an entry whose credentials an earlier entry always reads.
func (c checker) shadowed(path string, subjects []Subject) {
	for j := range subjects {
		s := &subjects[j]
		for i := range subjects[:j] {
			before := &subjects[i]
			fits := strings.HasPrefix(s.Prefix, before.Prefix) && (before.Is != "jwt" || s.Is == "jwt")
			if samePlace(before, s) && fits {
				c.fail(fmt.Sprintf("%s[%d]", path, j), "write the entry with the longer prefix first",
					"can never match, because subjects[%d] reads every credential of it", i)
				break
			}
		}
	}
}

func samePlace(a, b *Subject) bool {
	if (a.Body == nil) != (b.Body == nil) || a.Body != nil && *a.Body != *b.Body {
		return false
	}
	return a.Cookie == b.Cookie && a.CookiePrefix == b.CookiePrefix && a.Header == b.Header && a.Query == b.Query &&
		a.Path == b.Path && a.WebSocketProtocol == b.WebSocketProtocol && a.Basic == b.Basic &&
		strings.EqualFold(a.Scheme, b.Scheme)
}

func (c checker) body(path string, t *Tenant, b *Body) {
	c.route(path+".path", b.Path)
	if slices.Contains(t.appHosts(), t.Host()) {
		c.reachable(path+".path", t, b.Path)
	} else {
		c.reachable(path+".path", nil, b.Path)
	}
	if n := count(b.Form != "", b.JSON != "", b.Multipart != "", b.GraphQL != ""); n != 1 {
		c.fail(path, "set one of form, json, multipart and graphql", "which field contains the value?")
	}
	for key, name := range map[string]string{
		"form": b.Form, "json": b.JSON, "multipart": b.Multipart, "graphql": b.GraphQL,
	} {
		pointer := (key == "json" || key == "graphql") && strings.HasPrefix(name, "/")
		for _, member := range strings.Split(strings.TrimPrefix(name, "/"), "/") {
			if name != "" && pointer && strings.Trim(member, "_-.[] ") == "" {
				c.fail(path+"."+key, `write a JSON pointer, such as "/auth/token"`, "%q has a member without a name", name)
				break
			}
		}
		last := name[strings.LastIndexByte(name, '/')+1:]
		switch {
		case name == "":
		case !pointer && strings.Trim(name, "_-.[] ") == "":
			c.fail(path+"."+key, "write the name of the field", "%q is not a name", name)
		case key == "graphql" && strings.Trim(last, graphQLName) != "":
			c.fail(path+".graphql", "write the name of a variable without $, or a JSON pointer below variables",
				"%q is not a name of GraphQL", last)
		case !isPrintable(name):
			c.fail(path+"."+key, "write the name of the field", "%q is not a name", name)
		}
	}
	c.oneOf(path+".method", b.Method, "POST", "PUT", "PATCH", "DELETE")
	if b.GraphQL != "" && b.Method != "POST" {
		c.fail(path+".method", "leave it out, which means POST", "GraphQL requests with a body are sent with POST")
	}
}

const graphQLName = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func (t *Tenant) appHosts() []string {
	var out []string
	for i := range t.Apps {
		out = append(out, t.Apps[i].Hosts...)
	}
	return out
}

// isVisible reports whether s is visible ASCII only.
func isVisible(s string) bool { return isPrintable(s) && !strings.Contains(s, " ") }

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f })
}
