package authz_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// Some of these bodies are in another charset to the application, and some are in a format that the content type
// does not name.
func TestBodyHasNoOtherReading(t *testing.T) {
	const utf7, ibm290 = `{"+AGUAbQBhAGkAbA-":"x"}`, "fubqt=x"
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	refused := map[string]request.Request{
		"charset of body-parser, continued":      appReq("POST", "/api/me", body("application/json; charset=utf-7; charset*0=utf-8", utf7)),
		"charset of body-parser, extended":       appReq("POST", "/api/me", body("application/json; charset=utf-7; charset*=utf-8''utf-8", utf7)),
		"charset of Django":                      appReq("POST", "/api/me", body(form+"; charset=utf-7; charset*0=utf-8", "%2BAGUAbQBhAGkAbA-=x")),
		"charset of Tomcat":                      appReq("POST", "/api/me", body(form+"; xcharset=IBM290", ibm290)),
		"charset of Tomcat, in quotes":           appReq("POST", "/api/me", body(form+`; x="charset=IBM290"`, ibm290)),
		"charset of Sling":                       appReq("POST", "/api/me", body(form, "_charset_=IBM290&"+ibm290)),
		"charset of Sling, in the query":         appReq("POST", "/api/me?_charset_=IBM290", body(form, ibm290)),
		"JSON that says it is a form":            appReq("POST", "/api/me", body(form, `{"a":"=","email":"x"}`)),
		"XML that says it is a form":             appReq("POST", "/api/me", body(form, `<u a="1"><email>x</email></u>`)),
		"YAML that says it is a form":            appReq("POST", "/api/me", body(form, "a: =\nemail: x")),
		"form that says it is JSON":              appReq("POST", "/api/me", jsonBody(`{"a":"&email=x&"}`)),
		"form that says it is JSON, escaped":     appReq("POST", "/api/me", jsonBody(`{"a":"&em%61il=x&"}`)),
		"form that says it is JSON, semicolons":  appReq("POST", "/api/me", jsonBody(`{"a":";email=x;"}`)),
		"form that says it is JSON, empty":       appReq("POST", "/api/me", jsonBody(`{"a":"&email&"}`)),
		"method in a form that says it is JSON":  appReq("POST", "/api/me", jsonBody(`{"a":"&_method=DELETE&"}`)),
		"form that Tornado reads by its start":   appReq("POST", "/api/me", body(form+"+json", `{"a":"&email=x&"}`)),
		"JSON text in the query":                 appReq("POST", "/api/me?data="+url.QueryEscape(`{"email":"x"}`), body(form, "a=1")),
		"GraphQL with a semicolon, in the query": appReq("POST", `/api/me?query={set(email:"x"){id}}%23;`, body(form, "a=1")),
		"JSON text with NaN, as Python reads it": appReq("POST", "/api/me", body(form, "data="+url.QueryEscape(`{"a":NaN,"email":"x"}`))),
		"JSON text with names as in JavaScript":  appReq("POST", "/api/me", body(form, "data="+url.QueryEscape(`{'a':1,/**/email/**/:1}`))),
		"deep JSON text":                         appReq("POST", "/api/me", body(form, "data="+url.QueryEscape(`{"a":`+deep+`,"email":"x"}`))),
		"deep JSON text with an escaped name":    appReq("POST", "/api/me", body(form, "data="+url.QueryEscape(`{"a":`+deep+`,"\u0065mail":"x"}`))),
	}
	for name, text := range map[string]string{
		"JSON text behind a comment, as Gson reads it": "/* */ // x\r # y\n{\"email\":1}",
		"JSON text behind the guard that Gson skips":   ")]}'\n{\"email\":1}",
		"JSON text behind blanks of Newtonsoft.Json":   "\u00a0\v\f{\"email\":1}",
		"JSON text with the equals sign of Gson":       `{"email"=1}`,
		"JSON text with a comment before the colon":    "{\"email\" # c\n:1}",
		"JSON text with the arrow of Gson":             `{a=1;email=>1}`,
		"JSON text in JSON text":                       `"{\"email\":1}"`,
	} {
		refused[name] = appReq("POST", "/api/me", body(form, "data="+url.QueryEscape(text)))
	}
	for name, r := range refused {
		t.Run(name, func(t *testing.T) {
			if d := fielded(t).Decide(t.Context(), r); d.Allowed() {
				t.Error("allowed")
			}
		})
	}
	for name, r := range map[string]request.Request{
		"charset":            appReq("POST", "/api/me", body(form+`; Charset="UTF-8"`, "theme=dark")),
		"other parameter":    appReq("POST", "/api/me", body("application/vnd.api+json; profile=\"https://a.example/x\"", `{"theme":"dark"}`)),
		"charset as a field": appReq("POST", "/api/me", body(form, "_charset_=UTF-8&theme=dark")),
		"raw brackets":       appReq("POST", "/api/me", body(form, "user[theme]=a b@c:d/e,f\r\n")),
		"ampersand in text":  appReq("POST", "/api/me", jsonBody(`{"about":"Q&A; my email: x", "site":"https://a.example/?a=1&b=2"}`)),
		"JSON text":          appReq("POST", "/api/me?filter="+url.QueryEscape(`{"theme":1}`), body(form, "data="+url.QueryEscape(`["a",{"b":"email"}]`))),
		"address in text":    appReq("POST", "/api/me", jsonBody(`{"about":"[me](https://a.example/?email=x) # email"}`)),
		"quotation":          appReq("POST", "/api/me", jsonBody(`{"about":"\"email\": \"x\"","more":"# email: x\nemail: y"}`)),
		"text in braces":     appReq("POST", "/api/me", jsonBody(`{"about":"{{ user.name }} and [more]"}`)),
		"multipart boundary": appReq("POST", "/other", body("multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk", "x")),
	} {
		if d := fielded(t).Decide(t.Context(), r); !d.Allowed() {
			t.Errorf("%s: %d %s (%s)", name, d.Status, d.Reason, d.Detail)
		}
	}
}

// An application that reads a body as JSON, or as a form, whatever the content type says, gets no denied field.
func TestBodyUnderAnotherContentType(t *testing.T) {
	k := fielded(t)
	g := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[g.IntN(len(of))] }
	reaching := 0
	for range 20_000 {
		text := func() string {
			out := ""
			for range 1 + g.IntN(4) {
				out += pick("email", "a", "theme", "=", "&", ";", `"`, ":", ",", "{", "}", "[", "]", " ", "%65mail", "\n", "+")
			}
			return out
		}
		object := map[string]any{pick("a", "b"): text(), pick("c", "email", "d"): text(), text(): []any{text()}}
		b, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if g.IntN(2) == 0 {
			b = []byte(text() + "=" + text() + pick("&", ";", "") + `{"a":"="` + pick(`,"email":1}`, "}"))
		}
		if g.IntN(2) == 0 {
			b = []byte(text() + pick(`{"a":"=","`, "&") + text() + pick(`":1}`, "=1"))
		}
		if !reaches(string(b)) {
			continue
		}
		reaching++
		for _, contentType := range []string{form, "application/json", form + "+json"} {
			if d := k.Decide(t.Context(), appReq("POST", "/api/me", body(contentType, string(b)))); d.Allowed() {
				t.Fatalf("%s: %q is allowed", contentType, b)
			}
		}
	}
	if reaching < 1000 {
		t.Errorf("only %d bodies reach a denied field", reaching)
	}
}

// reaches reports whether a lenient parser of JSON or of forms finds the field email.
func reaches(b string) bool {
	var object map[string]any
	_ = json.Unmarshal([]byte(b), &object)
	if _, has := object["email"]; has {
		return true
	}
	pairs := append(strings.Split(b, "&"), strings.FieldsFunc(b, func(r rune) bool { return r == '&' || r == ';' })...)
	return slices.ContainsFunc(pairs, func(pair string) bool {
		name, _, assigned := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		return err == nil && assigned && strings.TrimSpace(name) == "email"
	})
}

// A credential in the body of a PUT is not hidden in a POST that some frameworks take for a PUT.
func TestMethodInTheBodyOfACredential(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		for _, f := range []request.BodyFormat{request.Form, request.JSON} {
			app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
				In: request.InBody, Name: "key", Body: request.BodyRoute{Method: "PUT", Path: "/put/" + string(f), Format: f},
			}})
		}
		o.Tenants["acme"].Apps["app"] = app
	})
	const multipart = "multipart/form-data; boundary=B"
	part := "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nlocked\r\n--B--\r\n"
	for name, r := range map[string]request.Request{
		"plain":     appReq("PUT", "/put/form", body(form, "key=locked")),
		"form":      appReq("POST", "/put/form", body(form, "_method=PUT&key=locked")),
		"JSON":      appReq("POST", "/put/json", jsonBody(`{"_method":"put","key":"locked"}`)),
		"multipart": appReq("POST", "/put/form", body(multipart, part)),
		"text":      appReq("POST", "/put/form", body("text/plain", "key=locked")), // nobody knows who reads it as what
		"encoded":   appReq("POST", "/put/form", body(form, "x"), header("content-encoding", "gzip")),
		"twice":     appReq("PUT", "/put/form", body(form, "k%2565y=locked")),
		"charset":   appReq("PUT", "/put/form?_charset_=IBM290", body(form, "x=1")),
		// Over HTTP/2 a body need not be announced, and Envoy does not buffer the one of another spelling.
		"not announced": appReq("POST", "/put/form"),
		"spelling":      appReq("PATCH", "/Put/form;x"),
	} {
		if d := k.Decide(t.Context(), r); d.Allowed() {
			t.Errorf("%s: allowed", name)
		}
	}
	for name, r := range map[string]request.Request{
		"form":      appReq("POST", "/put/form", body(form, "method=x&a=1")),
		"JSON":      appReq("POST", "/put/form", jsonBody(`{"a":1}`)),
		"no body":   appReq("POST", "/put/form", header("content-length", "0")),
		"multipart": appReq("POST", "/put/form", body(multipart, strings.Replace(part, "key", "a", 1))),
	} {
		if d := k.Decide(t.Context(), r); !d.Allowed() {
			t.Errorf("%s: %d %s (%s)", name, d.Status, d.Reason, d.Detail)
		}
	}
}

// A part in a charset that busboy decodes, and a boundary that only some parsers see.
func TestMultipartHasNoOtherReading(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InBody, Name: "key", Body: request.BodyRoute{Method: "POST", Path: "/upload", Format: request.Multipart},
		}})
		o.Tenants["acme"].Apps["app"] = app
	})
	part := func(head, text string) string {
		return "--B\r\nContent-Disposition: form-data; name=\"" + head + "\r\n\r\n" + text + "\r\n--B--\r\n"
	}
	const whole = "multipart/form-data; boundary=B"
	hidden := part(`a"`, "--A\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nlocked\r\n--A--")
	for name, r := range map[string]request.Request{
		"boundary, continued":  appReq("POST", "/upload", body("multipart/form-data; boundary=A; boundary*0=B", hidden)),
		"boundary, extended":   appReq("POST", "/upload", body("multipart/form-data; boundary=A; boundary*=utf-8''B", hidden)),
		"boundary in a name":   appReq("POST", "/upload", body("multipart/form-data; xboundary=A; boundary=B", hidden)),
		"charset, continued":   appReq("POST", "/upload", body(whole, part("key\"\r\nContent-Type: text/plain; charset=base64; charset*0=utf-8", "bG9ja2Vk"))),
		"charset, in a name":   appReq("POST", "/upload", body(whole, part("key\"\r\nContent-Type: text/plain; xcharset=base64", "bG9ja2Vk"))),
		"charset as a field":   appReq("POST", "/upload", body(whole, part(`_charset_"`, "base64"))),
		"locked in plain form": appReq("POST", "/upload", body(whole, part(`key"`, "locked"))),
	} {
		if d := k.Decide(t.Context(), r); d.Allowed() {
			t.Errorf("%s: allowed", name)
		}
	}
}
