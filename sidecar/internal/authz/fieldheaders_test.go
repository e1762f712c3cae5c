package authz_test

import (
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// denying is a kit whose app denies fields on /api/me, and takes a cookie and headers for credentials.
func denying(t *testing.T, fields ...string) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = []authz.LocalWrite{{Path: "/api/me", Fields: fields}}
		o.Tenants["acme"].Apps["app"] = app
	})
}

// carrying is a harmless write to /api/me with one more header.
func carrying(name, value string) request.Request {
	return appReq(http.MethodPost, "/api/me", body(form, "theme=dark"), header(name, value))
}

// TestFieldInHeader: a header or cookie that some framework takes for a denied field is refused.
func TestFieldInHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, field, header string
		allowed            bool
	}{
		{"Spring sets the property", "email", "email", false},
		{"it drops hyphens", "email", "e-mail", false},
		{"also at both ends, and in rows", "email", "-e--mail-", false},
		{"constructors and records ignore case", "displayName", "displayname", false},
		{"hyphen between words, as @BindParam names it", "displayName", "display-name", false},
		{"a list takes one value too", "emails", "emails", false},
		{"no standard header, and a likely field", "name", "name", false},
		{"standard, but no client sends it unasked with a write", "from", "from", false},
		{"standard, but no browser or library sends it unasked", "date", "date", false},
		{"hyphens do not make it a standard header", "host", "ho-st", false},
		{"a credential of the application comes in it", "x-device", "x-device", true},
		{"a cookie of the application, in another spelling", "session", "ses-sion", false},

		{"Host", "host", "host", true},
		{"Accept", "accept", "accept", true},
		{"Accept-Language", "acceptLanguage", "accept-language", true},
		{"every browser sends it", "userAgent", "user-agent", true},
		{"every browser sends it to another origin", "origin", "origin", true},
		{"browsers send the page", "referer", "referer", true},
		{"Chromium and Firefox send it", "priority", "priority", true},
		{"of the connection", "connection", "connection", true},
		{"of the body", "content_type", "content-type", true},
		{"of the path, as Envoy names it", "path", ":path", true},
		{"of the trace", "traceparent", "traceparent", true},
		{"part of a header", "type", "content-type", true},
		{"end of one", "language", "accept-language", true},
		{"end of a browser's", "mobile", "sec-ch-ua-mobile", true},
		{"end of another", "user", "sec-fetch-user", true},
		{"end of an application's", "email", "x-email", true},
		{"end of one with a prefix", "id", "x-request-id", true},
		{"start of one", "email", "email-digest", true},
		{"with the ending of Active Record", "email", "email-id", true},
		{"name of another field", "email", "emails", true},
	} {
		value := "x"
		switch c.header {
		case "x-device":
			value = "alice"
		case "content-type":
			value = form
		}
		d := denying(t, c.field).Decide(t.Context(), carrying(c.header, value))
		if d.Allowed() != c.allowed || !c.allowed && (d.Reason != authz.ReasonLocal || !strings.Contains(d.Detail, "one of the headers has")) {
			t.Errorf("field %s, header %s (%s): allowed %t, %d %s (%s)", c.field, c.header, c.why, d.Allowed(), d.Status, d.Reason, d.Detail)
		}
	}
}

// TestAmbiguousHeaderNames: a header whose name some server takes for another name is refused, whatever its value.
// Lighttpd and OpenBSD's httpd write "_" for every sign (x.scim.user). Spring knows marks of a default and of an empty
// field (!email, _email) and properties of properties (profile.email).
func TestAmbiguousHeaderNames(t *testing.T) {
	t.Parallel()
	k := denying(t, "email", "display_name")
	removed := regexp.MustCompile("^(?:" + headers.AmbiguousPattern + ")$")
	for _, name := range []string{
		"x.scim.user", "x.device", "remote.user", "x!forwarded~user", "x.http.method.override", "!email", "-!email", "!-email", "_email",
		"profile.email", "pro-file.e-mail", "!profile.email", "display_name", "x|a", "x`a", "x^a", "x+a", "x'a", "x*a", "x&a", "x%a", "x$a",
		"x#a", "é",
	} {
		if d := k.Decide(t.Context(), carrying(name, "alice")); d.Status != 400 || d.Reason != authz.ReasonHeaderName {
			t.Errorf("%s: %d %s (%s)", name, d.Status, d.Reason, d.Detail)
		}
		if !removed.MatchString(name) {
			t.Errorf("Envoy does not remove %s", name)
		}
	}
	for name := range browserHeaders() {
		if removed.MatchString(name) {
			t.Errorf("Envoy removes %s", name)
		}
	}
}

// TestFieldInCookie: PHP without a request_order, Hertz and Fiber read cookies as fields.
func TestFieldInCookie(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, field, cookie string
		allowed            bool
	}{
		{"PHP, Hertz and Fiber", "email", "theme=x; email=v", false},
		{"a member in Fiber", "email", "a=b; user.email=v", false},
		{"in another line", "email", "a=b;email=v", false},
		{"Fiber ignores case", "email", "eMail=v", false},
		{"PHP trims blanks", "email", "a=b;   email=v", false},
		{"PHP writes _ for a blank", "display_name", "display name=v", false},
		{"and for a dot", "display_name", "display.name=v", false},
		{"an array of PHP", "email", "email[]=v", false},
		{"a member in PHP", "email", "user[email]=v", false},
		{"older PHP decodes", "email", "%65mail=v", false},
		{"blank of Latin-1", "email", "a=b;\xa0email=v", false},
		{"without a value", "email", "email", false},
		{"another spelling of a credential's cookie", "session", "Session[x]=alice", false},

		{"Python begins another cookie behind a blank", "email", "theme=x; a=b email=c", false},
		{"Zope behind a quote", "email", `a="b"email="c"`, false},

		{"value", "email", "theme=email; a=bemail=c", true},
		{"part of a name", "email", "wp_comment_email=x; email_digest=1; my-email=x", true},
		{"the cookie of Spring for the locale", "locale", "org.springframework.web.servlet.i18n.CookieLocaleResolver.LOCALE=de", true},
		{"a credential of the application comes in it", "session", "session=alice", true},
		{"cookies of other programs", "email", foreignCookies, true},
	} {
		d := denying(t, c.field).Decide(t.Context(), carrying("cookie", c.cookie))
		inCookie := d.Reason == authz.ReasonLocal && strings.Contains(d.Detail, "one of the cookies has") || strings.Contains(c.cookie, "Session[x]")
		if d.Allowed() != c.allowed || !c.allowed && !inCookie {
			t.Errorf("field %s, cookies %s (%s): allowed %t, %d %s (%s)", c.field, c.cookie, c.why, d.Allowed(), d.Status, d.Reason, d.Detail)
		}
	}
}

// springFields are the names that the binder of Spring MVC looks for on behalf of a header: without hyphens for
// setters, as it is for constructors, and without the marks of a default and of an empty field.
func springFields(name string) (out []string) {
	for _, n := range []string{strings.ReplaceAll(name, "-", ""), name} {
		n = strings.TrimLeft(n, "!_")
		out = append(out, n[strings.LastIndexByte(n, '.')+1:])
	}
	return out
}

// TestSpringHeaders: whatever header Spring takes for a denied field is refused, on every write.
func TestSpringHeaders(t *testing.T) {
	t.Parallel()
	k := fielded(t)
	g := namer{rand.New(rand.NewPCG(7, 2024))}
	denied := map[string]bool{}
	for _, f := range deniedFields() {
		denied[strings.ToLower(strings.ReplaceAll(f, "_", ""))] = true
	}
	reached := 0
	for range 4000 {
		name := g.pick("", "", "!", "-", "-!", "!-", "profile.", "!a.b.", "x-", "x") + strings.ToLower(g.pick(deniedFields()...)) + g.pick("", "", "-", "x", "-x")
		for range g.IntN(3) {
			at := g.IntN(len(name) + 1)
			name = name[:at] + "-" + name[at:]
		}
		binds := false
		for _, f := range springFields(name) {
			binds = binds || denied[f]
		}
		if !binds {
			continue
		}
		reached++
		r := carrying(name, "v")
		r.Method = g.pick("POST", "PUT", "PATCH")
		if d := k.Decide(t.Context(), r); d.Allowed() {
			t.Errorf("%s with the header %s is allowed", r.Method, name)
		}
	}
	if reached < 1000 {
		t.Errorf("%d headers reached a field: the test proves too little", reached)
	}
}

// browserHeaders are those of a form and of a script in Chromium behind proxies.
func browserHeaders() map[string]string {
	return map[string]string{
		":authority": "app.example", ":method": "POST", ":path": "/api/me", ":scheme": "https",
		"host": "app.example", "accept": "*/*", "accept-encoding": "gzip, br", "accept-language": "de", "cache-control": "no-cache",
		"connection": "keep-alive", "dnt": "1", "origin": "https://app.example", "pragma": "no-cache", "priority": "u=1, i",
		"referer": "https://app.example/me", "sec-ch-ua": `"Chromium";v="142"`, "sec-ch-ua-mobile": "?0",
		"sec-ch-ua-platform": `"Linux"`, "sec-fetch-dest": "empty", "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin",
		"sec-fetch-user": "?1", "sec-gpc": "1", "upgrade-insecure-requests": "1", "user-agent": "Mozilla/5.0", "te": "trailers",
		"x-requested-with": "XMLHttpRequest", "x-csrf-token": "a", "x-xsrf-token": "a", "x-forwarded-for": "192.0.2.1",
		"x-forwarded-proto": "https", "x-forwarded-host": "app.example", "forwarded": "for=192.0.2.1", "via": "1.1 a",
		"x-request-id": "1", "traceparent": "00-1-2-01", "tracestate": "a=b", "baggage": "a=b", "idempotency-key": "1",
		"if-match": `"1"`, "expect": "100-continue", "x-envoy-external-address": "192.0.2.1", "content-language": "de",
	}
}

// TestUsualHeadersPass: a browser's request passes whatever fields of an account are denied, also ones with the names
// of standard headers.
func TestUsualHeadersPass(t *testing.T) {
	t.Parallel()
	fields := append(deniedFields(), headers.Unasked()...)
	fields = append(fields, "from", "date", "name", "userName", "user", "mobile", "language", "locale", "type", "id", "mode",
		"site", "platform", "title", "department", "organization", "active", "status", "role", "group", "key", "token",
		"time", "timezone", "address", "phone", "method", "path", "scheme", "authority")
	k := denying(t, fields...)
	r := carrying("authorization", "Bearer pat_alice")
	for name, value := range browserHeaders() {
		r.Headers[name] = []string{value}
	}
	r.Headers["cookie"] = []string{"_ga=GA1.2.3; session=alice; theme=dark; cookieconsent_status=dismiss; my_locale=de"}
	if d := k.Decide(t.Context(), r); !d.Allowed() {
		t.Errorf("%d %s (%s)", d.Status, d.Reason, d.Detail)
	}
	for _, f := range fields {
		if strings.Trim(f, "abcdefghijklmnopqrstuvwxyz") != "" {
			continue
		}
		one := denying(t, f)
		if d := one.Decide(t.Context(), r); !d.Allowed() {
			t.Errorf("field %s: %d %s (%s)", f, d.Status, d.Reason, d.Detail)
		}
	}
}
