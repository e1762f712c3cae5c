package envoytest_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/headers"
)

// deniedFields is a route of acme's application on which two fields may not be changed.
const deniedFields = "local_writes:\n          - {path: /profile, fields: [email, display_name]}\n"

// fieldsSize is the number of rows of the table of fields.
const fieldsSize = 76

// TestAttackFields sends denied fields in every part of a request through a real Envoy. The twins reach the
// application. Before, Envoy has the configuration of a file without the entry: it withholds headers, so the
// application answers 503 and `status` names what is missing.
func TestAttackFields(t *testing.T) {
	w := newWorld(t, nil)
	text, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Config, []byte(strings.Replace(string(text), "local_writes:\n", deniedFields, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Scimward.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := w.StartScimward(t.Context()); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(w.Acme.URL, "https://")
	eventually(t, "refusing while Envoy withholds headers", func() string {
		a := w.raw(t, w.Acme, h1("POST", "/profile", host, "theme=dark", formType, "Email: x"))
		return unless(a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "",
			"503 with Retry-After, got %d %s", a.status, a.body)
	})
	out, err := w.Command(t.Context(), "status", "-c", w.Config).CombinedOutput()
	for _, word := range []string{"acme/protected-app", "header:*", "body:/profile", "scimward envoy bootstrap"} {
		if err == nil || !strings.Contains(string(out), word) {
			t.Errorf("status (%v) does not name %q:\n%s", err, word, out)
		}
	}
	if err := w.Envoy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := w.StartEnvoy(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "serving with the new configuration", func() string {
		a := w.raw(t, w.Acme, h1("GET", "/healthz", host, ""))
		return unless(a.status == http.StatusOK, "200, got %d %s", a.status, a.body)
	})

	p := newPreyIn(t, w)
	var rows []row
	for _, of := range []func() []row{p.fieldHeaders, p.fieldCookies, p.fieldTargets, p.fieldBodies, p.fieldMethods} {
		rows = append(rows, of()...)
	}
	if len(rows) != fieldsSize {
		t.Errorf("the table has %d rows, want %d", len(rows), fieldsSize)
	}
	for _, r := range rows {
		t.Run(r.family+"/"+r.name, func(t *testing.T) {
			p.t = t
			p.attack(t, r)
		})
	}
}

func (p *prey) fieldHeaders() []row {
	f := placeRows{p: p, family: "header", send: func(s string) answer {
		return p.h1("POST", "/profile", "theme=dark", p.cookie(p.ada), formType, s)
	}}
	browser := strings.Join([]string{
		"Accept: */*", "Accept-Language: de", "User-Agent: Mozilla/5.0", "Origin: https://" + p.host, "Referer: https://" + p.host + "/profile",
		"Priority: u=1, i", "Cache-Control: no-cache", "Sec-Ch-Ua-Mobile: ?0", "Sec-Fetch-User: ?1", "X-Requested-With: XMLHttpRequest", "DNT: 1",
	}, "\r\n")
	f.twin("a browser's", browser)
	f.twin("of an application", "X-Email: a\r\nX-Display-Name: b\r\nEmail-Digest: weekly")
	f.twin("identity header, which Envoy removes", "X-Forwarded-Email: root@example.com")
	for name, line := range map[string]string{
		"plain": "email: mallory@example.com", "other case": "EMAIL: x", "empty": "Email:", "hyphen": "E-Mail: x", "hyphens around": "-email-: x",
		"two words": "display-name: x", "two words as one": "DisplayName: x",
		"twice": "email: a\r\nemail: b", "among a browser's": browser + "\r\nemail: x",
		"announced as a trailer": "Trailer: email\r\nemail: x",
	} {
		f.add(name, line, 403)
	}
	gone := func(t *testing.T, r *http.Request) {
		t.Helper()
		for name := range r.Header {
			if headers.Ambiguous(strings.ToLower(name)) {
				t.Errorf("%s arrived", name)
			}
		}
		if v := append(r.Header["Email"], r.Trailer["Email"]...); len(v) > 0 {
			t.Errorf("email arrived: %q", v)
		}
	}
	for name, line := range map[string]string{
		"default of Spring": "!email: x", "that mark behind a hyphen": "-!email: x", "property of a property": "profile.email: x",
		"such a property with hyphens": "pro-file.e-mail: x",
	} {
		f.rows = append(f.rows, row{family: f.family, name: name + ", which Envoy removes", want: []int{404}, upstream: gone, send: func() answer {
			return f.send(line)
		}})
	}
	f.rows = append(f.rows, row{family: f.family, name: "hop by hop, which Envoy removes", want: []int{404}, upstream: gone, send: func() answer {
		return f.send("Connection: email\r\nemail: x")
	}}, row{family: f.family, name: "trailer, which Envoy removes", want: []int{404}, upstream: gone, send: func() answer {
		head := h1("POST", "/profile", p.host, "", p.cookie(p.ada), formType, "Transfer-Encoding: chunked")
		return p.raw(p.t, p.Acme, head+strings.TrimSuffix(chunks("theme=dark"), "\r\n")+"email: x\r\n\r\n")
	}})
	h2 := placeRows{p: p, family: "header, HTTP/2", send: func(s string) answer {
		name, value, _ := strings.Cut(s, ": ")
		return p.h2("POST", "/profile", "theme=dark", field{"cookie", "session=" + p.ada.Credentials["web_session"]},
			field{"content-type", "application/x-www-form-urlencoded"}, field{name, value})
	}}
	h2.twin("a browser's", "accept-language: de")
	h2.add("plain", "email: x", 403)
	h2.add("hyphen", "e-mail: x", 403)
	h2.rows = append(h2.rows, row{family: h2.family, name: "default of Spring, which Envoy removes", want: []int{404}, upstream: gone, send: func() answer {
		return h2.send("!email: x")
	}}, row{family: h2.family, name: "underscore", by: byEnvoy, want: []int{400, 0}, send: func() answer {
		return h2.send("display_name: x")
	}})
	return append(f.rows, h2.rows...)
}

func (p *prey) fieldCookies() []row {
	f := placeRows{p: p, family: "cookie", send: func(s string) answer {
		return p.h1("POST", "/profile", "theme=dark", p.cookie(p.ada)+"; "+s, formType)
	}}
	f.twin("of other programs", "_ga=GA1.2.3; theme=email; wp_email=x; my-email=x")
	f.add("plain", "email=x", 403)
	f.add("blank for _", "display name=x", 403)
	f.add("array", "email[]=x", 403)
	f.add("member", "user[email]=x", 403)
	f.add("in another line", "a=b\r\nCookie: email=x", 403)
	return f.rows
}

func (p *prey) fieldTargets() []row {
	f := placeRows{p: p, family: "query and path", send: func(s string) answer {
		return p.h1("POST", s, "theme=dark", p.cookie(p.ada), formType)
	}}
	f.twin("query", "/profile?theme=email&mail=1")
	f.add("query", "/profile?email=x", 403)
	f.add("query, escaped", "/profile?e%6dail=x", 403)
	f.add("query, default of Spring", "/profile?!email=x", 403)
	f.add("query, semicolon", "/profile?a=1;email=x", 403)
	f.add("query behind an escaped question mark", "/profile%3Femail=x", 403)
	f.add("query, NUL", "/profile?email%00x=x", 400)
	for name, target := range map[string]string{
		"parameter": "/profile;email=x", "parameter among others": "/profile;v=1;user.email=x;w=2", "parameter, escaped": "/profile%3Bemail=x",
		"parameter before": "/;email=x/profile", "parameter below": "/profile/photo;email=x", "segment below": "/profile/email/x",
	} {
		f.rows = append(f.rows, row{
			family: f.family, name: "path, " + name, by: byApp, want: []int{403}, send: func() answer { return f.send(target) },
		})
	}
	return f.rows
}

func (p *prey) fieldBodies() []row {
	typed := func(family, contentType string) placeRows {
		return placeRows{p: p, family: family, send: func(s string) answer {
			lines := []string{p.cookie(p.ada)}
			if contentType != "" {
				lines = append(lines, "Content-Type: "+contentType)
			}
			return p.h1("POST", "/profile", s, lines...)
		}}
	}
	form := typed("form", "application/x-www-form-urlencoded")
	form.twin("plain", "theme=email&x-mail=1")
	form.add("plain", "email=x", 403)
	form.add("member", "user%5Bemail%5D=x", 403)
	form.add("NUL", "email%00x=x", 400)
	json := typed("JSON", "application/json")
	json.twin("plain", `{"theme":"email"}`)
	json.add("deep", `{"a":[{"user":{"Email":"x"}}]}`, 403)
	json.add("name with a dot", `{"user.email":"x"}`, 403)
	parts := typed("multipart", "multipart/form-data; boundary=B0UND7c41")
	parts.twin("plain", multipart("theme", "email"))
	parts.add("plain", multipart("email", "x"), 403)
	php := typed("multipart", `multipart/form-data; x="boundary"; y=Z; boundary=B`)
	php.add("boundary as PHP finds it", withinParts("email", "x"), 400)
	parts.add("header of a part", "--B0UND7c41\r\nContent-Disposition: form-data; name=\"theme\"\r\nEmail: x\r\n\r\nv\r\n--B0UND7c41--\r\n", 400)
	rows := slices.Concat(form.rows, json.rows, parts.rows, php.rows)
	for name, contentType := range map[string]string{
		"none": "", "text": "text/plain", "JSON as text": "text/json", "XML": "application/xml", "XML of a vendor": "application/x+xml",
		"YAML": "application/yaml", "MessagePack": "application/msgpack", "form in UTF-7": "application/x-www-form-urlencoded; charset=utf-7",
		"two types": "application/json, application/x-www-form-urlencoded", "binary": "application/octet-stream",
	} {
		other := typed("content type", contentType)
		other.add(name, "theme=dark", 415)
		rows = append(rows, other.rows...)
	}
	return rows
}

func (p *prey) fieldMethods() []row {
	f := placeRows{p: p, family: "method", send: func(s string) answer {
		method, line, _ := strings.Cut(s, " ")
		return p.h1(method, "/profile", "theme=dark", p.cookie(p.ada), formType, line)
	}}
	f.twin("PUT", "PUT X-A: b")
	f.add("PUT", "PUT email: x", 403)
	f.add("PATCH", "PATCH email: x", 403)
	f.add("DELETE", "DELETE X-A: b", 403)
	f.add("override", "POST X-HTTP-Method-Override: PUT\r\nemail: x", 400)
	return append(f.rows, p.fieldReads()...)
}

// fieldReads are reads with a body, which some handlers take for writes.
func (p *prey) fieldReads() []row {
	const body = `{"email":"x"}`
	read := func(name string, send func() answer) row {
		return row{family: "read with a body", name: name, by: byApp, want: []int{403}, send: send}
	}
	h2 := func(path, body string, more ...field) answer {
		return p.h2("GET", path, body, append(more, field{"cookie", "session=" + p.ada.Credentials["web_session"]},
			field{"content-type", "application/json"})...)
	}
	twins := placeRows{p: p, family: "read with a body", send: func(path string) answer {
		if path == "/profile" {
			return h2(path, "")
		}
		return h2(path, body)
	}}
	twins.twin("of another route over HTTP/2", "/search")
	twins.twin("none over HTTP/2", "/profile")
	return append(twins.rows,
		read("GET", func() answer { return p.h1("GET", "/profile", body, p.cookie(p.ada), "Content-Type: application/json") }),
		read("GET over HTTP/2, not announced", func() answer { return h2("/profile", body) }),
		read("GET over HTTP/2, of a route without fields", func() answer { return h2("/account/email", body) }),
		read("GET over HTTP/2, as an event stream", func() answer {
			return h2("/account/email", body, field{"accept", "text/event-stream"})
		}),
		read("GET over HTTP/2, another spelling", func() answer { return h2("/Account/%2565mail", body) }),
	)
}
