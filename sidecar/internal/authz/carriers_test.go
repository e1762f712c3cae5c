package authz_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// The carriers, as the table of docs/threat-model.md names them.
const (
	carriedHeader    = "header"
	carriedCookie    = "cookie"
	carriedQuery     = "query"
	carriedForm      = "form"
	carriedMultipart = "multipart"
	carriedJSON      = "JSON"
	carriedGraphQL   = "GraphQL variable"
	carriedMatrix    = "path parameter"
	carriedSegments  = "path segments"
)

// concept is something that a request may name, and that somebody may want to hide from the look-up.
type concept struct {
	name        string // as the table has it
	field       string
	value       string
	other       string // a value that passes
	header      [2]string
	base        func(carrier string) request.Request // passes without the name
	credentials bool                                 // the value is one
}

func concepts() []concept {
	get := func(target string) func(string) request.Request {
		return func(string) request.Request { return appReq(http.MethodGet, target, of("carriers")) }
	}
	inBody := func(paths string) func(string) request.Request { // each format has a path of its own
		return func(carrier string) request.Request {
			switch carrier {
			case carriedForm, carriedMultipart, carriedJSON:
				return appReq(http.MethodPost, paths+"/"+carrier, of("carriers"))
			case carriedGraphQL:
				return appReq(http.MethodPost, paths+"/graphql", of("carriers"))
			}
			return appReq(http.MethodPost, paths+"/form", of("carriers"), body(form, "username=admin&a=b"))
		}
	}
	post := func(target string) func(string) request.Request {
		return func(string) request.Request {
			return appReq(http.MethodPost, target, of("carriers"), header("content-length", "0"))
		}
	}
	fields := func(carrier string) request.Request {
		r := appReq(http.MethodPost, "/api/me", of("carriers"), body(form, "a=b"))
		if carrier == carriedSegments {
			r.Path = "/api"
		}
		return r
	}
	overridden := func(carrier string) request.Request {
		switch carrier {
		case carriedForm, carriedMultipart, carriedJSON, carriedGraphQL:
			return fields(carrier)
		}
		return appReq(http.MethodGet, "/users/7", of("carriers"))
	}
	return []concept{
		{
			name: "credential of a header", field: "x-device", value: "locked", other: "alice", credentials: true,
			header: [2]string{"x-device", "locked"}, base: get("/x"),
		},
		{
			name: "credential of a cookie", field: "session", value: "locked", other: "alice", credentials: true,
			header: [2]string{"session", "locked"}, base: get("/x"),
		},
		{
			name: "credential of the query", field: "api_key", value: "locked", other: "alice", credentials: true,
			header: [2]string{"api-key", "locked"}, base: get("/x"),
		},
		{
			name: "credential of a body", field: "token", value: "locked", other: "alice", credentials: true,
			header: [2]string{"token", "locked"}, base: inBody("/sso"),
		},
		{
			name: "credential of a path", field: "t", value: "locked", other: "alice", credentials: true,
			header: [2]string{"t", "locked"}, base: func(carrier string) request.Request {
				r := appReq(http.MethodGet, "/x", of("carriers"))
				if carrier == carriedSegments {
					r.Path = ""
				}
				return r
			},
		},
		{
			name: "typed name", field: "username", value: "alice", other: "admin",
			header: [2]string{"username", "alice"}, base: inBody("/login"),
		},
		{
			name: "field of `local_writes`", field: "email", value: "evil", other: "evil",
			header: [2]string{"e-mail", "evil"}, base: fields,
		},
		{
			name: "method", field: "_method", value: "DELETE", other: "DELETE",
			header: [2]string{"x-http-method-override", "DELETE"}, base: overridden,
		},
		{
			name: "route", field: "q", value: "account/email", other: "books",
			header: [2]string{"x-original-url", "/account/email"}, base: post("/any"),
		},
		{
			name: "access token", field: "access_token", value: "unknown", other: "unknown",
			header: [2]string{"authorization", "Bearer unknown"}, base: get("/x"),
		},
	}
}

// carrierKit has an application with a place, an entry and an account for each concept.
func carrierKit(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.Subjects = nil
		opaque := func(s request.Source) {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: s})
		}
		opaque(request.Source{In: request.InHeader, Name: "X-Device"})
		opaque(request.Source{In: request.InCookie, Name: "session"})
		opaque(request.Source{In: request.InQuery, Name: "api_key"})
		opaque(request.Source{In: request.InPath, Name: "/t/{credential}"})
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/api/me", Fields: []string{"email"}},
			{Path: "/users/{id}", Methods: []string{http.MethodDelete}},
			{Path: "/account/email"},
		}
		for path, format := range map[string]request.BodyFormat{
			"/form": request.Form, "/multipart": request.Multipart, "/JSON": request.JSON, "/graphql": request.GraphQL,
		} {
			route := func(name string) request.BodyRoute {
				return request.BodyRoute{Method: http.MethodPost, Path: name + path, Format: format}
			}
			opaque(request.Source{In: request.InBody, Name: "token", Body: route("/sso")})
			app.Subjects = append(app.Subjects, authz.SubjectSource{
				Kind: authz.SourceUserName, Source: request.Source{In: request.InBody, Name: "username", Body: route("/login")},
			})
			app.LocalWrites = append(app.LocalWrites, authz.LocalWrite{Path: "/login" + path, Exempt: true})
		}
		app.Exempt = []string{"admin"}
		o.Tenants["acme"].Apps["carriers"] = app
	})
}

// inText reports whether a carrier is a body.
func inText(carrier string) bool {
	return carrier == carriedForm || carrier == carriedMultipart || carrier == carriedJSON || carrier == carriedGraphQL
}

// carriedNames returns the spellings of a name that some parser of the carrier corrects, as sent.
func carriedNames(carrier, name string) map[string]string {
	out := map[string]string{"plain": name}
	switch carrier {
	case carriedHeader, carriedGraphQL:
		return out
	case carriedJSON:
		out["escaped"] = fmt.Sprintf(`\u%04x`, name[0]) + name[1:]
	case carriedCookie, carriedQuery, carriedForm, carriedMatrix, carriedSegments:
		out["escaped"] = escape(name[:1]) + name[1:]
		out["last letter escaped"] = name[:len(name)-1] + escape(name[len(name)-1:])
		out["escaped twice"] = strings.ReplaceAll(escape(name[:1]), "%", "%25") + name[1:]
	}
	out["upper case"] = strings.ToUpper(name)
	if head, tail, found := strings.Cut(name, "_"); found && !inText(carrier) {
		out["dot"] = head + "." + tail
		if head != "" && carrier != carriedSegments {
			out["blank"] = head + map[bool]string{true: " ", false: "+"}[carrier == carriedCookie] + tail
			out["bracket that nothing closes"] = head + "[" + tail
		}
	}
	if carrier != carriedSegments && carrier != carriedJSON {
		out["list"] = name + "[]"
	}
	if carrier == carriedQuery || carrier == carriedForm {
		out["brackets of Rack"] = "[" + name + "]"
		out["one bracket of Rack"] = name + "]"
		out["NUL"] = name + "%00x"
		out["fullwidth"] = name[:len(name)-1] + escape(string(rune(name[len(name)-1])-'a'+0xff41))
		out["blank before"] = "+" + name
		out["blank before, escaped"] = "%20" + name
	}
	if carrier == carriedMatrix { // Fastify 4
		out["behind an ampersand"] = "a=b&" + name
		out["behind a slash and an ampersand"] = "a=b/c&" + name
	}
	for how, odd := range oddNames(carrier, name) {
		out[how] = odd
	}
	if carrier == carriedCookie {
		octal := ""
		for i := range len(name) {
			octal += fmt.Sprintf(`\%03o`, name[i])
		}
		out["octal"] = `"` + octal + `"`
		out["blank behind, behind a comma"] = "a=b, " + name + " "
		out["quoted"] = `"` + name + `"`
		out["NUL"] = name + "%00x"
		out["blank of Latin-1"] = "\xa0" + name
		out["blank behind"] = name + " "
		out["blank before"] = "a=b;  " + name
		out["behind a comma"] = "a=b," + name
		out["behind a comma and a blank"] = "a=b, " + name
		out["signs before"] = "(" + name
		out["signs before, behind a comma"] = "a=b,=" + name
		out["behind a blank"] = "a=b " + name
		out["behind a quote"] = `a="b"` + name
		out["behind a version"] = "$Version=1; " + name
	}
	return out
}

// oddNames returns spellings of a name for decoders of which some are known: those of CGI.pm, of other escapes and of
// bytes that are no text.
func oddNames(carrier, name string) map[string]string {
	wide := func(s string) (out string) {
		for i := range len(s) {
			out += fmt.Sprintf("%%u%04x", s[i])
		}
		return out
	}
	out := map[string]string{}
	switch carrier {
	case carriedCookie:
		out["escape of CGI.pm"] = wide(name[:1]) + name[1:]
		out["each letter an escape of CGI.pm"] = wide(name)
	case carriedMultipart:
		out["escape of CGI.pm"] = wide(name[:1]) + name[1:]
		return out
	case carriedQuery:
	default:
		return out
	}
	out["escape of CGI.pm, escaped"] = strings.ReplaceAll(wide(name), "%", "%25")
	if len(name) > 2 {
		out["escape that nobody knows"] = name[:1] + fmt.Sprintf("%%25x%x", name[1]) + name[2:]
		out["byte of Latin-1"] = name[:2] + "%FE" + name[3:]
		out["letter of another alphabet"] = name[:2] + "%C3%BE" + name[3:]
		out["control character within"] = name[:2] + "%01" + name[2:]
	}
	if len(name) > 2 && carrier == carriedCookie {
		out["hexadecimal escape"] = name[:1] + fmt.Sprintf(`\x%02x`, name[1]) + name[2:]
	}
	return out
}

// carriedValues returns the spellings of a value that some application trims or decodes, as sent.
func carriedValues(carrier string, c *concept) map[string]string {
	out := map[string]string{"plain": c.value}
	switch {
	case carrier == carriedCookie:
		out["quoted"] = `"` + c.value + `"`
		out["blank behind"] = c.value + " ; a=b"
		out["blank before"] = " " + c.value
		out["escaped blank behind"] = c.value + "%20"
		out["tab behind"] = c.value + "%09"
		out["NUL behind"] = c.value + "%00"
		out["escaped"] = escape(c.value[:1]) + c.value[1:]
	case carrier == carriedQuery && c.credentials:
		out["quoted"] = "%22" + c.value + "%22"
		out["blank behind"] = c.value + "+"
		out["escaped"] = escape(c.value[:1]) + c.value[1:]
	case carrier == carriedQuery:
		out["escaped"] = escape(c.value[:1]) + c.value[1:]
	case carrier == carriedMatrix || carrier == carriedSegments:
		out["escaped"] = escape(c.value[:1]) + c.value[1:]
		out["quoted"] = "%22" + c.value + "%22"
	}
	return out
}

// carry returns a request with a name and a value, both as sent, in a carrier.
func carry(carrier string, c *concept, name, value string) request.Request {
	r := c.base(carrier)
	switch carrier {
	case carriedHeader:
		r.Headers[c.header[0]] = []string{c.header[1]}
	case carriedCookie:
		r.Headers["cookie"] = []string{name + "=" + value}
	case carriedQuery:
		r.Query = "x=1&" + name + "=" + value
	case carriedForm:
		body(form, "a=b&"+name+"="+value)(&r)
	case carriedMultipart:
		multi(part("a", "b"), part(name, value))(&r)
	case carriedJSON:
		jsonBody(`{"a":"b","` + name + `":"` + value + `"}`)(&r)
	case carriedGraphQL:
		graphQL(fmt.Sprintf("mutation($%s: String) { run(%s: $%s) }", name, name, name), fmt.Sprintf(`{"%s":"%s"}`, name, value))(&r)
	case carriedMatrix:
		r.Path += ";x=y;" + name + "=" + value
	case carriedSegments:
		if c.field == "email" {
			r.Path += "/me"
		}
		r.Path += "/" + name + "/" + value
	}
	return r
}

// carrierTable reads the table of docs/threat-model.md: what is read, or the letter of the reason why it is not.
func carrierTable(t *testing.T) (table map[string]map[string]string, reasons map[string]bool) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### One name in many carriers\n")
	section, _, _ = strings.Cut(section, "\n### ")
	var columns []string
	table, reasons = map[string]map[string]string{}, map[string]bool{}
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if letter, found := strings.CutPrefix(line, "- **"); found {
			letter, _, _ = strings.Cut(letter, "**")
			reasons[strings.Trim(letter, ".")] = true
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if columns == nil {
			columns = cells[1:]
			continue
		}
		row := map[string]string{}
		for i, column := range columns {
			row[column] = cells[i+1]
		}
		table[cells[0]] = row
	}
	return table, reasons
}

// TestCarriers: what the threat model says about each concept and each carrier holds: in every spelling, the request is
// denied, or the pair is not read, for a reason that the page has. "refused" is a carrier with which no request passes.
func TestCarriers(t *testing.T) {
	t.Parallel()
	table, reasons := carrierTable(t)
	k := carrierKit(t)
	used := map[string]bool{}
	count := 0
	for _, c := range concepts() {
		row := table[c.name]
		for _, carrier := range []string{
			carriedHeader, carriedCookie, carriedQuery, carriedForm, carriedMultipart, carriedJSON, carriedGraphQL,
			carriedMatrix, carriedSegments,
		} {
			cell := row[carrier]
			if cell == "refused" {
				for _, name := range []string{"harmless", c.field} {
					if d := k.Decide(t.Context(), carry(carrier, &c, name, c.other)); d.Allowed() {
						t.Errorf("%s, %s: %s is allowed", c.name, carrier, name)
					}
				}
				continue
			}
			if cell != "read" {
				used[cell] = true
				if d := k.Decide(t.Context(), carry(carrier, &c, c.field, c.value)); !d.Allowed() || !reasons[cell] {
					t.Errorf("%s, %s: the page says %q, a reason %t; denied %t: %s", c.name, carrier, cell, reasons[cell], !d.Allowed(), d.Detail)
				}
				continue
			}
			name := "harmless"
			if c.field == "username" && inText(carrier) { // a sign-in has a name
				name = c.field
			}
			if d := k.Decide(t.Context(), carry(carrier, &c, name, c.other)); carrier != carriedHeader && !d.Allowed() {
				t.Errorf("%s, %s: without the name: %d %s (%s)", c.name, carrier, d.Status, d.Reason, d.Detail)
			}
			for how, name := range carriedNames(carrier, c.field) {
				for as, value := range carriedValues(carrier, &c) {
					count++
					if d := k.Decide(t.Context(), carry(carrier, &c, name, value)); d.Allowed() {
						t.Errorf("%s, %s, name %s, value %s: %s=%s is allowed", c.name, carrier, how, as, name, value)
					}
				}
			}
		}
		delete(table, c.name)
	}
	for name := range table {
		t.Errorf("the page has a row %q that no concept has", name)
	}
	for letter := range reasons {
		if !used[letter] {
			t.Errorf("no cell of the table has the reason %q", letter)
		}
	}
	if count < 900 {
		t.Errorf("%d requests, the test proves too little", count)
	}
}
