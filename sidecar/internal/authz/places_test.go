package authz_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// places adds an application with a credential in every place. Anonymous requests pass, so that a
// credential that is not found is an allowed request.
func places(k *authz.Options) {
	opaque := func(s request.Source) authz.SubjectSource {
		return authz.SubjectSource{Kind: authz.SourceOpaque, Source: s}
	}
	in := func(path, name string, f request.BodyFormat) authz.SubjectSource {
		route := request.BodyRoute{Method: "POST", Path: path, Format: f}
		return opaque(request.Source{In: request.InBody, Name: name, Body: route})
	}
	verifier := k.Tenants["acme"].Verifier
	k.Tenants["acme"].Apps["places"] = authz.AppOptions{
		Anonymous: authz.AnonymousPass,
		Subjects: []authz.SubjectSource{
			opaque(request.Source{In: request.InQuery, Name: "api_key"}),
			opaque(request.Source{In: request.InQuery, Name: "access_token"}),
			{Kind: authz.SourceJWT, Source: request.Source{In: request.InPath, Name: "/t/{credential}"}, Verifier: verifier},
			opaque(request.Source{In: request.InPath, Name: "/t/{credential}"}),
			opaque(request.Source{In: request.InPath, Name: "/o/{org}/feed/{credential}"}),
			opaque(request.Source{In: request.InProtocol, Name: "bearer."}),
			opaque(request.Source{In: request.InCookie, Name: "wp_", Starts: true}),
			opaque(request.Source{In: request.InCookie, Name: "next", Chunked: true, Apart: []string{"next-verifier"}}),
			opaque(request.Source{In: request.InBasic, Name: request.BasicPassword}),
			{Kind: authz.SourceUserName, Source: request.Source{In: request.InBasic, Name: request.BasicUser}},
			in("/json", "/auth/token", request.JSON),
			in("/rails", "user[token]", request.Form),
			in("/upload", "token", request.Multipart),
			in("/graphql", "token", request.GraphQL),
			in("/graphql2", "/input/token", request.GraphQL),
		},
	}
}

func basic(text string) func(*request.Request) {
	return header("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(text)))
}

// multi is a multipart body with the parts as given, in the usual form.
func multi(parts ...string) func(*request.Request) {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--b0b\r\n" + p + "\r\n")
	}
	return multiRaw(b.String() + "--b0b--\r\n")
}

func multiRaw(text string) func(*request.Request) {
	return body("multipart/form-data; boundary=b0b", text)
}

func part(name, value string) string {
	return `Content-Disposition: form-data; name="` + name + "\"\r\n\r\n" + value
}

func jsonBody(text string) func(*request.Request) { return body("application/json", text) }

func graphQL(query, variables string) func(*request.Request) {
	return jsonBody(fmt.Sprintf(`{"query":%q,"variables":%s}`, query, variables))
}

const (
	refreshDoc = `mutation R($token: String!) { refresh(token: $token) { ok } }`
	inputDoc   = `mutation R($input: In!) { refresh(input: $input) { ok } }`
)

// place is one row: an allowed request of a user ("" is nobody), or the reason of its refusal.
type place struct {
	name         string
	req          request.Request
	reason, user string
}

func at(target string, edits ...func(*request.Request)) request.Request {
	return appReq("GET", target, append([]func(*request.Request){of("places")}, edits...)...)
}

func post(target string, edits ...func(*request.Request)) request.Request {
	r := at(target, edits...)
	r.Method = "POST"
	return r
}

func served(name, user string, r request.Request) place { return place{name: name, req: r, user: user} }

func refused(name, reason string, r request.Request) place {
	return place{name: name, req: r, reason: reason}
}

func queryPlaces() []place {
	const bad, locked = request.ReasonQuery, authz.ReasonLocked
	return []place{
		served("query", "alice", at("/?api_key=alice")),
		served("query, absent", "", at("/?q=1")),
		served("query, empty", "", at("/?api_key=")),
		served("query, escaped plus", "", at("/?api_key=a%2Bb")),
		refused("query, locked", locked, at("/?a=1&api_key=locked")),
		refused("query, access_token", locked, at("/?access_token=locked")),
		refused("query, twice", bad, at("/?api_key=alice&api_key=locked")),
		refused("query, other case", bad, at("/?Api_Key=locked")),
		refused("query, other separator", bad, at("/?api-key=locked")),
		refused("query, escaped name", bad, at("/?api%5Fkey=locked")),
		refused("query, name escaped twice", bad, at("/?api%255Fkey=locked")),
		refused("query, list", bad, at("/?api_key[]=locked")),
		refused("query, escaped list", bad, at("/?api_key%5B0%5D=locked")),
		refused("query, semicolon", bad, at("/?a=1;api_key=locked")),
		refused("query, semicolon after", bad, at("/?api_key=locked;a=1")),
		refused("query, escaped ampersand", bad, at("/?a=1%26api_key=locked")),
		refused("query, blank in the name", bad, at("/?+api_key=locked")),
		refused("query, no value", bad, at("/?api_key")),
		refused("query, plus", bad, at("/?api_key=lock+ed")),
		refused("query, escaped letter", bad, at("/?api_key=%6cocked")),
		refused("query, escaped percent", bad, at("/?api_key=%256cocked")),
		refused("query, escaped NUL", bad, at("/?api_key=locked%00")),
		refused("query, in the path too", bad, at("/%3Fapi_key=locked?api_key=alice")),
	}
}

func pathPlaces() []place {
	const bad, locked = request.ReasonPath, authz.ReasonLocked
	return []place{
		served("path", "alice", at("/t/alice/feed.xml")),
		served("path, JWT", "alice", at("/t/app.alice.x")),
		served("path, other place", "alice", at("/o/x/feed/alice")),
		served("path, none", "", at("/t")),
		served("path, empty", "", at("/t/")),
		served("path, elsewhere", "", at("/tt/locked")),
		refused("path, locked", locked, at("/t/locked")),
		refused("path, locked below", locked, at("/t/locked/a/b")),
		refused("path, locked JWT", locked, at("/t/app.locked.x")),
		refused("path, other place, locked", locked, at("/o/x/feed/locked")),
		refused("path, other case", bad, at("/T/locked")),
		refused("path, suffix", bad, at("/t/locked.json")),
		refused("path, parameter", bad, at("/t/locked;a=1")),
		refused("path, parameter before", bad, at("/t;a=1/locked")),
		refused("path, escaped letter", bad, at("/t/%6cocked")),
		refused("path, escaped template", bad, at("/%74/locked")),
		refused("path, blank segment", bad, at("/%20/t/locked")),
		refused("path, merged slashes", bad, at("//t/locked")),
		refused("path, fullwidth template", bad, at("/%EF%BD%94/locked")),
	}
}

func headerPlaces() []place {
	const bad, locked = request.ReasonCredential, authz.ReasonLocked
	protocol := func(v ...string) request.Request { return at("/", header("sec-websocket-protocol", v...)) }
	auth := func(v ...string) request.Request { return at("/", header("authorization", v...)) }
	return []place{
		served("protocol", "alice", protocol("chat, bearer.alice")),
		served("protocol, other", "", protocol("chat, v2")),
		refused("protocol, locked", locked, protocol("chat,bearer.locked")),
		refused("protocol, lines", locked, protocol("chat", "bearer.locked")),
		refused("protocol, twice", bad, protocol("bearer.alice, bearer.locked")),
		refused("protocol, other case", bad, protocol("Bearer.locked")),
		refused("protocol, quoted", bad, protocol(`"bearer.locked"`)),
		refused("protocol, after a blank of Latin-1", bad, protocol("chat,\xa0bearer.locked")),
		refused("protocol, after a no-break space", bad, protocol("chat,\u00a0bearer.locked")),
		refused("protocol, blank within", bad, protocol("x bearer.locked")),
		refused("protocol, empty", bad, protocol("bearer.")),
		served("basic, password", "alice", at("/", basic("bob:alice"))),
		served("basic, user only", "bob", at("/", basic("bob:"))),
		served("basic, colon in the password", "bob", at("/", basic("bob:a:b"))),
		served("basic, password of a user under another name", "alice", at("/", basic("x-access-token:alice"))),
		refused("basic, a user whom the directory does not know", authz.ReasonUnprovisioned, at("/", basic("stranger:"))),
		refused("basic, such a user with a password", authz.ReasonUnprovisioned, at("/", basic("stranger:a:b"))),
		refused("basic, a name that looks like one", authz.ReasonUnprovisioned, at("/", basic("bob\u200b:a:b"))),
		refused("basic, password locked", locked, at("/", basic("bob:locked"))),
		refused("basic, user locked", locked, at("/", basic("locked:"))),
		refused("basic, user locked, mixed scheme", locked, auth("bAsIc bG9ja2VkOg==")),
		refused("basic, no colon", bad, at("/", basic("locked"))),
		refused("basic, no padding", bad, auth("Basic bG9ja2VkOg")),
		refused("basic, loose bits", bad, auth("Basic bG9ja2VkOh==")),
		refused("basic, two blanks", bad, auth("Basic  bG9ja2VkOg==")),
		refused("basic, NUL", bad, at("/", basic("x:locked\x00"))),
		refused("basic, twice", bad, auth("Basic eDph", "Basic bG9ja2VkOg==")),
	}
}

// foreignCookies are cookies as analytics, consent banners and applications write them.
const foreignCookies = `_ga=GA1.2.1234567890.1700000000; _ga_X1Y2=GS1.1.1700000000.1.1.1700000001.60.0.0; ` +
	`OptanonConsent=isGpcEnabled=0&datestamp=Mon+Jan+01+2024+00%3A00%3A00&groups=C0001%3A1%2CC0002%3A0; ` +
	`_hjSession_1={"id":"a","c":1,"s":0,"r":0}; uid=YWJj+/8=; csrf=abc|def; note="two words"; arr[a]=1; ` +
	"caf\u00e9=\u00e9; _fbp=fb.1.17.42; mp_x_mixpanel=%7B%22a%22%3A%20%22b%22%7D; path=/a/(b)?x=1; flag; =bare; x="

func cookiePlaces() []place {
	const bad, locked = request.ReasonCookieForm, authz.ReasonLocked
	cookie := func(v ...string) request.Request { return at("/", header("cookie", v...)) }
	return []place{
		served("prefix", "alice", cookie("theme=x; wp_1a=alice")),
		served("prefix, emptied", "", cookie("wp_1a=")),
		refused("prefix, locked", locked, cookie("wp_1a=locked")),
		refused("prefix, second locked", locked, cookie("wp_1=alice; wp_2=locked")),
		refused("prefix, two users", authz.ReasonTwoSubjects, cookie("wp_1=alice; wp_2=bob")),
		refused("prefix, twice", bad, cookie("wp_1=alice; wp_1=locked")),
		refused("prefix, twice, folded", bad, cookie("wp_a=alice; wp_A=locked")),
		refused("prefix, other case", bad, cookie("WP_1=locked")),
		refused("prefix, escaped", bad, cookie("%77p_1=locked")),
		refused("prefix, after a blank of Latin-1", bad, cookie("a=1; \xa0wp_1=locked")),
		refused("chunks, after a blank of Latin-1", bad, cookie("\xa0next.0=locked")),
		refused("prefix, quoted value", bad, cookie(`wp_1="locked"`)),
		refused("prefix, comma", bad, cookie("a=1,wp_1=locked")),
		refused("prefix, blank for _, as PHP reads it", bad, cookie("wp 1=locked")),
		refused("prefix, bracket that a NUL leaves open, as PHP reads it", bad, cookie("wp[1%00]=locked")),
		refused("prefix, plus for _", bad, cookie("a=1; wp+1=locked")),
		refused("prefix, blank at the end for _", bad, cookie("wp =locked")),
		refused("prefix, blank for _ in an array", bad, cookie("wp 1[]=locked")),
		refused("prefix, dot for _ in an array", bad, cookie("wp.1[x]=locked")),
		refused("prefix, escaped blank for _", bad, cookie("wp%201=locked")),
		refused("prefix, dot for _", bad, cookie("wp.1=locked")),
		refused("prefix, open bracket for _", bad, cookie("wp[1=locked")),
		refused("prefix, two open brackets for _", bad, cookie("wp[1[2=locked")),
		served("prefix, another array", "", cookie("wp[1]=x; wp[]=y; awp_1=z")),
		refused("prefix, escaped bracket for _", bad, cookie("wp%5B1=locked")),
		refused("prefix, sign that Tomcat skips", bad, cookie("a=1; (wp_1=locked")),
		served("chunks", "alice", cookie("next.0=al; next.1=ice")),
		served("chunks, in another order", "alice", cookie("next.1=ice; a=b; next.0=al")),
		served("chunks, on two lines", "alice", cookie("next.0=al", "next.1=ice")),
		served("chunks, whole", "alice", cookie("next=alice")),
		served("chunks, emptied", "", cookie("next.0=; next.1=")),
		refused("chunks, locked", locked, cookie("next.0=loc; next.1=ked")),
		refused("chunks, whole locked", locked, cookie("next=locked")),
		refused("chunks, whole and parts", bad, cookie("next=alice; next.0=locked")),
		refused("chunks, parts and whole", bad, cookie("next.0=locked; next=alice")),
		refused("chunks, one missing", bad, cookie("next.0=loc; next.2=ked")),
		refused("chunks, first missing", bad, cookie("next.1=locked")),
		refused("chunks, twice", bad, cookie("next.0=alice; next.0=locked")),
		refused("chunks, one empty", bad, cookie("next.0=locked; next.1=")),
		refused("chunks, leading zero", bad, cookie("next.00=locked")),
		refused("chunks, hyphen", bad, cookie("next-0=locked")),
		refused("chunks, another suffix", bad, cookie("nextx=locked")), // NextAuth joins whatever starts with the name
		refused("chunks, another suffix after a dot", bad, cookie("next.a=locked")),
		refused("chunks, two suffixes", bad, cookie("next-a.0=loc; next-b.1=ked")),
		refused("chunks, a further suffix", bad, cookie("next=alice; next.x=locked")),
		refused("chunks, suffix of an escaped name", bad, cookie("ne%78tx=locked")),
		served("chunks, a cookie that is apart", "alice", cookie("next-verifier=x; next.0=al; next.1=ice")),
		served("chunks, only that cookie", "", cookie("next-verifier=locked")),
		served("chunks, that cookie quoted", "", cookie(`next-verifier="x"`)),
		served("chunks, that cookie with brackets", "alice", cookie("next-verifier=[1]; next=alice")),
		served("chunks, that cookie with JSON", "", cookie(`next-verifier={"a":"b c","d":["\u00e9"]}`)),
		served("chunks, that cookie with other names", "", cookie(`next-verifier="a=b"; c="next"`)),
		served("chunks, that cookie empty", "", cookie("next-verifier=")),
		refused("chunks, behind a bracket of that cookie", bad, cookie("next-verifier=[1]next.0=locked")),
		refused("chunks, behind a backslash of that cookie", bad, cookie(`next-verifier="a\next=locked`)),
		refused("chunks, escaped behind a quote of that cookie", bad, cookie(`next-verifier="a"ne%78t=locked`)),
		refused("chunks, behind a second value of that cookie", bad, cookie(`next-verifier=a=b "c" next.1=locked`)),
		served("chunks, without a value behind a comma of that cookie", "", cookie("next-verifier=a, next")),
		refused("chunks, behind a quoted semicolon of that cookie", bad, cookie(`next-verifier="a; next.0=locked"`)),
		refused("chunks, that cookie in another case", bad, cookie("next-Verifier=locked")),
		refused("chunks, behind a comma of that cookie", bad, cookie("next-verifier=x,next.0=locked")),
		refused("chunks, behind a blank of that cookie", bad, cookie("next-verifier=x next.0=locked")),
		refused("chunks, behind a quote of that cookie", bad, cookie(`next-verifier="x"next.0=locked`)),
		refused("chunks, behind a letter of that cookie", bad, cookie("next-verifier=\u00e9next.0=locked")),
		refused("chunks, behind a blank", bad, cookie("a=b next.0=locked")),
		refused("prefix, behind a blank", bad, cookie("a=b wp_1=locked")),
		served("chunks, a name within a value", "", cookie("a=next=1; b=my next; c=d?next=1")),
		refused("chunks of ASP.NET", bad, cookie("next=chunks-1; nextC1=locked")),
		served("chunks, another name", "", cookie("nex=1; mynext=2")),
		served("cookies of other programs", "alice", cookie("next=alice", foreignCookies)),
	}
}

func jsonPlaces() []place {
	const bad, locked = request.ReasonBodySource, authz.ReasonLocked
	send := func(text string) request.Request { return post("/json", jsonBody(text)) }
	return []place{
		served("json", "alice", send(`{"auth":{"token":"alice"}}`)),
		served("json, absent", "", send(`{"auth":{"x":1},"token":2}`)),
		refused("json, locked", locked, send(`{"a":1,"auth":{"token":"locked"}}`)),
		refused("json, other case", bad, send(`{"Auth":{"token":"locked"}}`)),
		refused("json, leaf in other case", bad, send(`{"auth":{"Token":"locked"}}`)),
		refused("json, list", bad, send(`{"auth":[{"token":"locked"}]}`)),
		refused("json, list of values", bad, send(`{"auth":{"token":["locked"]}}`)),
		refused("json, object", bad, send(`{"auth":{"token":{"x":"locked"}}}`)),
		refused("json, NUL in the name", request.ReasonBody, send(`{"auth":{"token\u0000x":"locked"}}`)),
		refused("json, twice", request.ReasonBody, send(`{"auth":{"token":"alice","token":"locked"}}`)),
		refused("json, name with a dot", bad, send(`{"auth.token":"locked"}`)),
		refused("json, name with brackets", bad, send(`{"auth[token]":"locked"}`)),
		refused("json, name with a dot, in other case and in a list", bad, send(`{"Auth.TOKEN":["locked"]}`)),
		refused("json, name with a dot, beside the plain form", bad, send(`{"auth":{"token":"alice"},"auth.token":"locked"}`)),
		refused("json, name with a dot, and more below", bad, send(`{"auth.token":{"x":"locked"}}`)),
		refused("json, name with a slash", bad, send(`{"auth/token":"locked"}`)),
		served("json, other names", "", send(`{"auth_token":"x","authToken":"x","auth.tokens":"x","my.auth.token":"x","auth":"x"}`)),
		refused("json, in the query too", bad, post("/json?token=locked", jsonBody(`{"auth":{"token":"alice"}}`))),
		refused("json, nested in the query", bad,
			post("/json?auth[token]=locked", jsonBody(`{"a":1}`))),
		refused("json, nested in the query after a dot", bad,
			post("/json?auth.token=locked", jsonBody(`{"a":1}`))),
		served("form, member", "alice", post("/rails", body(form, "user%5Btoken%5D=alice&user_token=x&user[tokens]=x"))),
		refused("form, member, locked", locked, post("/rails", body(form, "user[token]=locked"))),
		refused("form, member after a dot", bad, post("/rails", body(form, "user.token=locked"))),
		refused("form, member in other case, as a list", bad, post("/rails", body(form, "User[Token][]=locked"))),
		refused("json, as a form", request.ReasonContentType, post("/json", body(form, "auth[token]=locked"))),
	}
}

func multipartPlaces() []place {
	const bad, field, locked = request.ReasonBody, request.ReasonBodySource, authz.ReasonLocked
	send := func(parts ...string) request.Request { return post("/upload", multi(parts...)) }
	raw := func(text string) request.Request { return post("/upload", multiRaw(text)) }
	many := strings.Split(strings.Repeat(part("a", "b")+"|", 120)+part("token", "locked"), "|")
	const file = "Content-Disposition: form-data; name=\"%s\"; filename=\"a b.png\"\r\nContent-Type: image/png\r\n\r\n%s"
	return []place{
		served("multipart", "alice", send(part("a", "b"), part("token", "alice"))),
		served("multipart, a file", "", send(fmt.Sprintf(file, "f", "\x89PNG\r\n\x00"))),
		refused("multipart, locked", locked, send(part("token", "locked"), part("a", "b"))),
		refused("multipart, twice", field, send(part("token", "alice"), part("token", "locked"))),
		refused("multipart, other case", field, send(part("Token", "locked"))),
		refused("multipart, list", field, send(part("token[]", "locked"))),
		refused("multipart, blank that PHP cuts", field, send(part(" token[]", "locked"))),
		refused("multipart, fullwidth letter", field, send(part("tok\uff45n", "locked"))),
		served("multipart, member of another field", "", send(part("to[ken]", "locked"))),
		refused("multipart, as a file", field, send(fmt.Sprintf(file, "token", "locked"))),
		refused("multipart, extended name", bad, send("Content-Disposition: form-data; name*=utf-8''token\r\n\r\nlocked")),
		refused("multipart, escaped name", bad, send("Content-Disposition: form-data; name=\"to\\ken\"\r\n\r\nlocked")),
		refused("multipart, encoded word", bad, send(part("=?utf-8?Q?token?=", "locked"))),
		refused("multipart, byte that is no UTF-8", bad, send(part("token\xa0", "locked"))),
		refused("multipart, two names", bad,
			send("Content-Disposition: form-data; name=\"a\"; name=\"token\"\r\n\r\nlocked")),
		refused("multipart, two dispositions", bad,
			send("Content-Disposition: form-data; name=\"a\"\r\n"+part("token", "locked"))),
		refused("multipart, folded line", bad, send("Content-Disposition: form-data;\r\n name=\"token\"\r\n\r\nlocked")),
		refused("multipart, base64", bad, send("Content-Transfer-Encoding: base64\r\n"+part("token", "bG9ja2Vk"))),
		refused("multipart, charset that is an encoding", bad,
			send("Content-Disposition: form-data; name=\"token\"\r\nContent-Type: text/plain; charset=base64\r\n\r\nbG9ja2Vk")),
		refused("multipart, charset of two bytes", bad,
			send("Content-Disposition: form-data; name=\"token\"\r\nContent-Type: text/plain; charset=utf-16le\r\n\r\nl\x00o")),
		refused("multipart, type before the disposition", bad,
			send("Content-Type: text/plain; charset=base64\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nbG9ja2Vk")),
		served("multipart, UTF-8", "alice",
			send("Content-Disposition: form-data; name=\"token\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nalice")),
		refused("multipart, preamble", bad, raw("x\r\n--b0b\r\n"+part("token", "locked")+"\r\n--b0b--")),
		refused("multipart, line feeds", bad, raw(strings.ReplaceAll("--b0b\r\n"+part("token", "locked")+"\r\n--b0b--", "\r", ""))),
		refused("multipart, epilogue", bad,
			raw("--b0b\r\n"+part("a", "b")+"\r\n--b0b--\r\n--b0b\r\n"+part("token", "locked")+"\r\n--b0b--")),
		refused("multipart, loose boundary", bad, send(part("a", "b\n--b0b\r\n"+part("token", "locked")))),
		refused("multipart, many parts", bad, send(many...)),
		refused("multipart, two boundaries", request.ReasonContentType, post("/upload",
			body("multipart/form-data; boundary=b0b; boundary=c", "--b0b\r\n"+part("token", "locked")+"\r\n--b0b--"))),
	}
}

func graphQLPlaces() []place {
	const bad, locked = request.ReasonBodySource, authz.ReasonLocked
	send := func(doc, variables string) request.Request { return post("/graphql", graphQL(doc, variables)) }
	deep := func(doc, variables string) request.Request { return post("/graphql2", graphQL(doc, variables)) }
	raw := func(text string) request.Request { return post("/graphql", jsonBody(text)) }
	return []place{
		served("graphql", "alice", send(refreshDoc, `{"token":"alice","n":1}`)),
		served("graphql, no such argument", "", send(`{ me { token } }`, `null`)),
		served("graphql, alias and enum", "", send(`{ token: me(kind: token) { name } }`, `{}`)),
		served("graphql, in a string", "",
			send(`{ search(text: "(token: \"x\")", b: """token: 1""") { id } } # (token: 1`, `{}`)),
		served("graphql, batch", "alice", raw(`[{"query":"{a}"},{"variables":{"token":"alice"}}]`)),
		served("graphql, persisted", "alice",
			raw(`{"extensions":{"persistedQuery":{"sha256Hash":"x"}},"variables":{"token":"alice"}}`)),
		refused("graphql, locked", locked, send(refreshDoc, `{"token":"locked"}`)),
		refused("graphql, batch, second locked", locked,
			raw(`[{"variables":{"token":"alice"}},{"variables":{"token":"locked"}}]`)),
		refused("graphql, literal", bad, send(`mutation { refresh(token: "locked") { ok } }`, `{}`)),
		refused("graphql, block literal", bad, send(`mutation { refresh(token: """locked""") { ok } }`, `{}`)),
		refused("graphql, no blank", bad, send(`mutation{refresh(token:"locked")}`, `{}`)),
		refused("graphql, after a number", bad, send(`mutation { refresh(n: 1token: "locked") { ok } }`, `{}`)),
		refused("graphql, after an exponent", bad, send(`mutation { refresh(n: 1e5token: "locked") { ok } }`, `{}`)),
		served("graphql, numbers", "", send(`{ list(n: -12, m: 0.5, k: 1e10, l: 2E-3) { id } }`, `{}`)),
		refused("graphql, comment within", bad, send("mutation { refresh(token # x\n : \"locked\") { ok } }", `{}`)),
		refused("graphql, other variable", bad,
			send(`mutation R($t: String!) { refresh(token: $t) { ok } }`, `{"t":"locked"}`)),
		refused("graphql, default", bad,
			send(`mutation R($token: String = "locked") { refresh(token: $token) { ok } }`, `{}`)),
		refused("graphql, input object", bad, send(`mutation { refresh(input: {token: "locked"}) { ok } }`, `{}`)),
		refused("graphql, behind a comment as graphql-java ends it", bad, send("mutation { refresh(#\u2028token: \"locked\"\n) { ok } }", `{}`)),
		refused("graphql, nested variable", bad,
			send(`mutation R($i: In) { refresh(input: $i) { ok } }`, `{"i":{"token":"locked"}}`)),
		refused("graphql, variables as text", bad, send(refreshDoc, `"{\"token\":\"locked\"}"`)),
		refused("graphql, variable in a list", bad, send(refreshDoc, `{"token":["locked"]}`)),
		refused("graphql, member in other case", bad, raw(`{"query":"{a}","Variables":{"token":"locked"}}`)),
		refused("graphql, in the query", bad,
			post("/graphql?variables=%7B%22token%22:%22locked%22%7D", graphQL(`{a}`, `{}`))),
		refused("graphql, GET", bad, at("/graphql?query=mutation%7Brefresh(token:%22locked%22)%7D")),
		refused("graphql, as a document", request.ReasonContentType,
			post("/graphql", body("application/graphql", `mutation{refresh(token:"locked")}`))),
		refused("graphql, as multipart", request.ReasonContentType,
			post("/graphql", multi(part("operations", `{"variables":{"token":"locked"}}`)))),
		served("graphql, pointer", "alice", deep(inputDoc, `{"input":{"token":"alice"}}`)),
		refused("graphql, pointer, locked", locked, deep(inputDoc, `{"input":{"token":"locked"}}`)),
		refused("graphql, pointer, name with a dot", bad, deep(inputDoc, `{"input.token":"locked"}`)),
		refused("graphql, pointer, literal", bad, deep(`mutation { refresh(input: {token: "locked"}) { ok } }`, `{}`)),
		refused("graphql, pointer, renamed", bad,
			deep(`mutation R($i: In!) { refresh(input: $i) { ok } }`, `{"i":{"token":"locked"}}`)),
	}
}

// TestPlaces: in each place, the plain form names its user, a locked user is refused, and every
// spelling that an application might still read is refused too.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for _, rows := range [][]place{
		queryPlaces(), pathPlaces(), headerPlaces(), cookiePlaces(), jsonPlaces(), multipartPlaces(), graphQLPlaces(),
	} {
		for _, c := range rows {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				d := newKit(t, places).Decide(t.Context(), c.req)
				if d.Allowed() != (c.reason == "") || c.reason != "" && d.Reason != c.reason || d.Caller.UserName != c.user &&
					d.Allowed() {
					t.Errorf("allowed %t, %d %s (%s), user %q; want reason %q, user %q",
						d.Allowed(), d.Status, d.Reason, d.Detail, d.Caller.UserName, c.reason, c.user)
				}
			})
		}
	}
}
