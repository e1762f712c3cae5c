package authz_test

import (
	"bytes"
	"errors"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// uploads is a kit with a credential in the field email of multipart bodies, which is also denied on /api/me.
func uploads(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = []authz.LocalWrite{{Path: "/api/me", Fields: []string{"email", "roles"}}}
		app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InBody, Name: "email", Body: request.BodyRoute{Method: "POST", Path: "/upload", Format: request.Multipart},
		}})
		o.Tenants["acme"].Apps["app"] = app
	})
}

// hiddenParts are bodies in which some parser may find the field email or roles, and others find the field a.
func hiddenParts() map[string]func(*request.Request) {
	const plain, evil = "Content-Disposition: form-data; name=\"a\"\r\n", "Content-Disposition: form-data; name=\"email\"\r\n\r\nlocked"
	disposed := func(value string) func(*request.Request) {
		return multi("Content-Disposition: form-data; " + value + "\r\n\r\nlocked")
	}
	typed := func(contentType, text string) func(*request.Request) {
		return multi(plain + "Content-Type: " + contentType + "\r\n\r\n" + text)
	}
	within := func(contentType, outer, inner string) func(*request.Request) {
		return body(contentType, fmt.Sprintf("--%s\r\n%s\r\n\r\n--%s\r\n%s\r\n--%s--\r\n\r\n--%[1]s--\r\n", outer, plain, inner, evil, inner))
	}
	bounded := func(named, boundary, other string) func(*request.Request) {
		return body("multipart/form-data; boundary="+named,
			fmt.Sprintf("--%s\r\n%s\r\nx%s\r\n%s%s\r\n--%[1]s--\r\n", boundary, plain, other, evil, other+"--"))
	}
	utf16 := "\xfe\xff"
	for _, c := range []byte(`{"email":"locked"}`) {
		utf16 += "\x00" + string(c)
	}
	return map[string]func(*request.Request){
		"boundary in the text of a parameter, PHP":           within(`multipart/form-data; x="boundary"; y=Z; boundary=B`, "B", "Z"),
		"boundary in the name of a parameter, Netty":         within(`multipart/form-data; boundaryx=Z; boundary=B`, "B", "Z"),
		"boundary with a semicolon, Rack":                    within(`multipart/form-data; boundary="B;C"`, "B;C", "B"),
		"boundary in the boundary, Rack":                     within(`multipart/form-data; boundary="boundary=B"`, "boundary=B", "B"),
		"boundary with an equals sign, parse-multipart-data": within(`multipart/form-data; boundary="B=C"`, "B=C", "B"),
		"boundary in single quotes":                          within(`multipart/form-data; boundary='B'`, "'B'", "B"),
		"media type in other case":                           body("Multipart/form-data; boundary=b0b", "--b0b\r\n"+plain+"\r\n&email=locked&\r\n--b0b--\r\n"),
		"delimiter within a line":                            multi(plain + "\r\nx--b0b\r\n" + evil),
		"delimiter in a file name":                           disposed(`name="a"; filename="--b0b"`),

		"name in a file name before, formidable":          disposed(`filename="; name=email" ; name="a" `),
		"name in a file name behind, Rack":                disposed(`name="a"; filename="; name=email"`),
		"name in a name, Rack":                            disposed(`name="; )name=aa; name=email x"`),
		"blank before the equals sign, Werkzeug":          disposed(`name=a; filename ="; name=email; x"`),
		"blank before the second equals sign":             disposed(`name="a"; filename="; name =email; x"`),
		"single quotes, PHP":                              disposed(`name=a'; filename="'; name=email "`),
		"empty name, Rack":                                multi("Content-Disposition: form-data; name=\"\"\r\nContent-Type: roles\r\n\r\nlocked"),
		"empty name of a file, Rack":                      disposed(`name=""; filename="email"`),
		"blank name":                                      multi("Content-Disposition: form-data; name=\" \"\r\nContent-Type: roles/x\r\n\r\nlocked"),
		"parameter in other case, Rack":                   multi("Content-Disposition: form-data; NAME=\"a\"\r\nContent-Type: roles\r\n\r\nlocked"),
		"kind in other case":                              multi("Content-Disposition: Form-Data; name=\"a\"; filename=\"email\"\r\n\r\nlocked"),
		"disposition in the media type of the part, Rack": multi("Content-Type: a/b; x=\"Content-Disposition: form-data; name=email\"\r\n" + plain + "\r\nlocked"),
		"disposition in the subtype of the part":          multi("Content-Type: a/b; x=\"; name=email\"\r\n" + plain + "\r\nlocked"),

		"part that is JSON in UTF-16, Jackson": typed("application/json", utf16),
		"part that is lenient JSON":            typed("application/vnd.api+json", `[NaN, {"a":1}]`),
		"part that is XML, Spring":             typed("application/xml", "<u><email>locked</email></u>"),
		"part that is XML by its suffix":       typed("application/hal+xml", "<u><email>locked</email></u>"),
		"part that is YAML":                    typed("application/x-yaml", "email: locked"),
		"part that is a drawing with entities": typed("image/svg+xml", `<!DOCTYPE u [<!ENTITY e "&#60;email>locked&#60;/email>">]><u>&e;</u>`),
		"part that is a drawing in UTF-7":      typed("image/svg+xml", `<?xml version="1.0" encoding="utf-7"?>+ADw-email+AD4-`),
		"script in UTF-16, Jackson":            typed("application/javascript", utf16),
		"script in UTF-16, the other order":    typed("text/x-javascript", utf16[3:]+"\x00"),
		"lines of JSON in UTF-16, WebFlux":     typed("application/x-ndjson", "\xff\xfe"+utf16[3:]+"\x00"),
		"JSON in UTF-32, Jackson":              typed("text/javascript", "\x00\x00\x00{\x00\x00\x00\""),
		"bare boundary, Sanic":                 bounded("B0UND", "B0UND", "xB0UND"),
		"boundary after one hyphen, PHP":       bounded("B0UND", "B0UND", "\r\n-B0UND"),
		"boundary as an expression, PHP":       bounded("a0.b0123", "a0.b0123", "\r\n--a0xb0123"),
		"boundary that repeats, PHP":           bounded("a01+b", "a01+b", "\r\n--a011b"),
		"boundary of signs, PHP":               bounded("+", "+", "\r\n--"),
		"boundary with quotation marks, PHP":   bounded(`"B0UND"`, "B0UND", "\r\n--\"B0UND\""),
		"boundary with a parameter, PHP":       bounded("B0UND; charset=utf-8", "B0UND", "\r\n--B0UND; charset=utf-8"),
		"name of the type, PHP":                multi("Content-Type: text/plain; name=\"email\"\r\n" + plain + "\r\nlocked"),
		"name of the type behind, PHP":         multi("Content-Disposition: form-data; name=a\r\nContent-Type: text/plain; name=email\r\n\r\nlocked"),
		"name of the file, PHP":                disposed(`name="a"; filename="email"`),
		"extended name of the file":            disposed(`name=a; filename=a.b; filename*=utf-8''em%61il`),
		"extended name that holds another":     disposed(`name=a; filename=a.b; filename*=utf-8''%3B%20name%20%3Demail`),
		"name within a text, PHP":              multi("Content-Disposition: form-data; name=a\r\n\r\nname=\"email\"\r\n\r\nlocked"),
		"name within a text, a file":           multi("Content-Disposition: form-data; name=\"a\"; filename=a.b\r\n\r\nname=\"email\"\r\n\r\nlocked"),
		"length of less than the part":         multi("Content-Length: 1\r\n" + plain + "\r\nlocked"),
		"length twice":                         multi("Content-Length: 6\r\nContent-Length: 6\r\n" + plain + "\r\nlocked"),

		"part that is a form": typed("application/x-www-form-urlencoded", "email=locked"),
		"parts in a part":     typed("multipart/form-data; boundary=c", "--c\r\n"+evil+"\r\n--c--"),
	}
}

// TestMultipartAsOthersRead: a multipart body in which some parser finds another field than the others neither changes
// a denied field nor hides the credential of a locked person.
func TestMultipartAsOthersRead(t *testing.T) {
	k := uploads(t)
	for name, b := range hiddenParts() {
		for _, path := range []string{"/api/me", "/upload"} {
			if d := k.Decide(t.Context(), appReq("POST", path, b)); d.Allowed() {
				t.Errorf("%s: %s: allowed", path, name)
			}
		}
	}
}

// TestDrawingHasNames: a drawing is XML, whose elements and attributes are members for providers of Jackson and Jersey.
func TestDrawingHasNames(t *testing.T) {
	k := uploads(t)
	for _, text := range []string{"<u><email>x</email></u>", "<u\nemail = 'x'/>", "<a:u xmlns:a='b'><a:email/></a:u>", "<u><r><roles>a</roles></r></u>"} {
		drawing := multi("Content-Disposition: form-data; name=\"a\"\r\nContent-Type: image/svg+xml\r\n\r\n" + text)
		if d := k.Decide(t.Context(), appReq("POST", "/api/me", drawing)); d.Allowed() {
			t.Errorf("%s: allowed", text)
		}
	}
}

// TestUsualUploadsPass: what browsers and libraries send, as recorded.
func TestUsualUploadsPass(t *testing.T) {
	const bobs = `filename="Bob's (1); v=2.png"`
	boundaries := map[string]string{ // of a Content-Type
		"Chrome":                   "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW9",
		"Firefox":                  "multipart/form-data; boundary=----geckoformboundary81b0a7a5e9b34cd4f7b6e1ad59b2a9a3",
		"Firefox before 132":       "multipart/form-data; boundary=---------------------------9051914041544843365972754266",
		"curl":                     "multipart/form-data; boundary=------------------------d69544bbd51a539d",
		"undici":                   "multipart/form-data; boundary=----formdata-undici-025552086780",
		"axios":                    "multipart/form-data; boundary=axios-1.7.2-boundary-xG3kPzTqXhGnVb0Y1e_lqvW3u",
		"form-data":                "multipart/form-data; boundary=--------------------------515890814546601021194782",
		"requests, aiohttp, httpx": "multipart/form-data; boundary=e63b58bc75bdbdcb6cb255c4b6ddc8d1",
		"Net::HTTP":                "multipart/form-data; boundary=LTk4QwCxo-UgUqEYtsQtPia2xRSNz3p2hdSKng30FHSveY8eKNGCRg",
		"Faraday":                  "multipart/form-data; boundary=-----------RubyMultipartPost-0a1b2c3d",
		".NET":                     `multipart/form-data; boundary="9b5b2f0e-7d0e-4f7b-a1b4-2b7b3a1c6f1d"`,
		"Dart":                     "multipart/form-data; boundary=dart-http-boundary-+_.tQ8yXz0-vJ",
		"Spring":                   "multipart/form-data;charset=UTF-8;boundary=x4dnOqfTzYw_Dd2Iu",
		"OkHttp":                   "multipart/form-data; boundary=9b5b2f0e-7d0e-4f7b-a1b4-2b7b3a1c6f1d",
		"Alamofire":                "multipart/form-data; boundary=alamofire.boundary.0a1b2c3d4e5f6071",
		"with a charset":           "multipart/form-data; boundary=x; charset=utf-8",
	}
	parts := map[string]string{
		"browser, curl, undici, requests": "Content-Disposition: form-data; name=\"avatar\"; " + bobs + "\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x00",
		"browser, quotation marks":        "Content-Disposition: form-data; name=\"avatar\"; filename=\"x %22q%22.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n--x\r\n--",
		"browser, no file chosen":         "Content-Disposition: form-data; name=\"avatar\"; filename=\"\"\r\nContent-Type: application/octet-stream\r\n\r\n",
		"browser, field":                  "Content-Disposition: form-data; name=\"user[tags][]\"\r\n\r\n\xc3\xa9 \"q\"; name=email\r\n",
		"browser, recording":              "Content-Disposition: form-data; name=\"rec\"; filename=\"a.webm\"\r\nContent-Type: audio/webm;codecs=opus\r\n\r\nx",
		"browser, film":                   "Content-Disposition: form-data; name=\"rec\"; filename=\"blob\"\r\nContent-Type: video/mp4; codecs=\"avc1.42E01E, mp4a.40.2\"\r\n\r\nx",
		"browser, drawing":                "Content-Disposition: form-data; name=\"avatar\"; filename=\"a.svg\"\r\nContent-Type: image/svg+xml\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg width=\"1\"><title>My email</title></svg>",
		"browser, office document":        "Content-Disposition: form-data; name=\"cv\"; filename=\"a.docx\"\r\nContent-Type: application/vnd.openxmlformats-officedocument.wordprocessingml.document\r\n\r\nPK",
		"browser, JSON":                   "Content-Disposition: form-data; name=\"doc\"; filename=\"blob\"\r\nContent-Type: application/json\r\n\r\n{\"theme\":\"x\"}",
		"file name beyond ASCII":          "Content-Disposition: form-data; name=\"\xc3\xa9\"; filename=\"n\xc3\xa9.png\"\r\n\r\nx",
		"field with a word":               "Content-Disposition: form-data; name=\"username\"\r\n\r\nmy name = x",
		"file name as a name":             "Content-Disposition: form-data; name=\"filename\"; filename=\"name.txt\"\r\nContent-Type: text/plain\r\n\r\nx",
		"aiohttp":                         "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"theme\"\r\n\r\ndark",
		"aiohttp, file":                   "Content-Type: image/png\r\nContent-Disposition: form-data; name=\"avatar\"; filename=\"Bob%27s%20%281%29%3B%20v%3D2.png\"\r\n\r\nx",
		".NET":                            "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=theme\r\n\r\ndark",
		".NET, file":                      "Content-Disposition: form-data; name=avatar; filename=a.png\r\n\r\nx",
		".NET, file with both names":      "Content-Disposition: form-data; name=avatar; filename=a.png; filename*=utf-8''a.png\r\n\r\nx",
		".NET, file with signs":           "Content-Disposition: form-data; name=avatar; filename=\"a; v=2.png\"; filename*=utf-8''a%3B%20v%3D2.png\r\n\r\nx",
		"OkHttp 4":                        "Content-Disposition: form-data; name=\"theme\"\r\nContent-Length: 4\r\n\r\ndark",
		"OkHttp 4, file":                  "Content-Disposition: form-data; name=\"avatar\"; filename=\"a.png\"\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\nx",
		"Spring 6, RestTemplate":          "Content-Disposition: form-data; name=\"theme\"\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 4\r\n\r\ndark",
		"Spring 6, empty":                 "Content-Disposition: form-data; name=\"theme\"\r\nContent-Length: 0\r\n\r\n",
		"browser, script":                 "Content-Disposition: form-data; name=\"f\"; filename=\"a.js\"\r\nContent-Type: text/javascript\r\n\r\nlet a = {};",
		"browser, text in UTF-16":         "Content-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n\xff\xfea\x00{\x00",
		"browser, page":                   "Content-Disposition: form-data; name=\"f\"; filename=\"a.html\"\r\nContent-Type: text/html\r\n\r\n<input name=\"email\"\r\n>",
		"browser, file with a word":       "Content-Disposition: form-data; name=\"f\"; filename=\"email.png\"\r\nContent-Type: image/png\r\n\r\nx",
		"Dart":                            "content-disposition: form-data; name=\"theme\"\r\n\r\ndark",
		"Spring":                          "Content-Disposition: form-data; name=\"theme\"\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\ndark",
	}
	k := uploads(t)
	pass := func(name string, b func(*request.Request)) {
		for _, path := range []string{"/api/me", "/upload"} {
			if d := k.Decide(t.Context(), appReq("POST", path, b)); !d.Allowed() {
				t.Errorf("%s: %s: %d %s (%s)", path, name, d.Status, d.Reason, d.Detail)
			}
		}
	}
	for name, contentType := range boundaries {
		_, delimiter, _ := strings.Cut(contentType, "boundary=")
		delimiter, _, _ = strings.Cut(strings.Trim(delimiter, `"`), ";")
		pass(name, body(contentType, "--"+delimiter+"\r\n"+part("theme", "dark")+"\r\n--"+delimiter+"--\r\n"))
	}
	for name, p := range parts {
		pass(name, multi(p, part("theme", "dark")))
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_, err := w.CreateFormFile("avatar", "Bob's (1); v=2.png")
	if err := errors.Join(err, w.WriteField("theme", "dark"), w.Close()); err != nil {
		t.Fatal(err)
	}
	pass("Go", body(w.FormDataContentType(), b.String()))
}
