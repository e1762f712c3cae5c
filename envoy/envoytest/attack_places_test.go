package envoytest_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// places are subjects of acme's application beyond those of the demo.
const places = `subjects:
          - {query: api_key, prefix: at_}
          - {path: "/t/{credential}", prefix: at_}
          - {websocket_protocol: bearer., prefix: at_}
          - {cookie_prefix: wp_}
          - {cookie: next, chunked: true}
          - {header: authorization, scheme: basic, basic: password, prefix: at_}
          - {header: authorization, scheme: basic, basic: user, is: user_name}
          - {body: {path: /nested, json: /auth/token}}
          - {body: {path: /upload, multipart: token}}
          - {body: {path: /graphql, graphql: token}}
`

// placesSize is the number of rows of the table of places.
const placesSize = 74

// TestAttackPlaces sends a locked user's credential in every place, and in every spelling that an
// application might still read, through a real Envoy. The twins reach the application.
func TestAttackPlaces(t *testing.T) {
	w := newWorld(t, func(text string) string { return strings.Replace(text, "subjects:\n", places, 1) })
	p := newPreyIn(t, w)
	var rows []row
	for _, of := range []func() []row{
		p.queryPlaces, p.pathPlaces, p.protocolPlaces, p.cookiePlaces, p.basicPlaces, p.bodyPlaces, p.graphQLPlaces,
	} {
		rows = append(rows, of()...)
	}
	if len(rows) != placesSize {
		t.Errorf("the table has %d rows, want %d", len(rows), placesSize)
	}
	for _, r := range rows {
		t.Run(r.family+"/"+r.name, func(t *testing.T) {
			p.t = t
			p.attack(t, r)
		})
	}
}

// place makes the rows of one family: send gets a target or a header line.
type placeRows struct {
	p      *prey
	family string
	send   func(s string) answer
	rows   []row
}

func (f *placeRows) add(name, s string, want int) {
	f.rows = append(f.rows, row{
		family: f.family, name: name, by: byApp, want: []int{want}, send: func() answer { return f.send(s) },
	})
}

// twin adds a request that reaches the application, whatever that answers.
func (f *placeRows) twin(name, s string) {
	f.rows = append(f.rows, row{
		family: f.family, name: "twin: " + name, by: twin, want: []int{http.StatusOK}, send: func() answer {
			before := f.p.acme.count()
			a := f.send(s)
			if f.p.acme.count() == before+1 {
				a.status = http.StatusOK
			}
			return a
		},
	})
}

func token(of *stack.Person) string { return of.Credentials["api_token"] }

func (p *prey) queryPlaces() []row {
	f := placeRows{p: p, family: "query place", send: func(s string) answer { return p.h1("GET", "/healthz?"+s, "") }}
	eve, ada := token(p.eve), token(p.ada)
	f.twin("plain", "a=1&api_key="+ada)
	f.twin("another parameter", "key="+eve)
	f.add("plain", "a=1&api_key="+eve, 401)
	f.add("twice", "api_key="+ada+"&api_key="+eve, 400)
	f.add("other case", "API_KEY="+eve, 400)
	f.add("hyphen", "api-key="+eve, 400)
	f.add("escaped name", "api%5fkey="+eve, 400)
	f.add("list", "api_key[]="+eve, 400)
	f.add("semicolon", "a=1;api_key="+eve, 400)
	f.add("escaped letter", "api_key=%61"+eve[1:], 400)
	f.add("escaped ampersand", "a=1%26api_key="+eve, 400)
	return f.rows
}

func (p *prey) pathPlaces() []row {
	f := placeRows{p: p, family: "path place", send: func(s string) answer { return p.h1("GET", s, "") }}
	eve, ada := token(p.eve), token(p.ada)
	f.twin("plain", "/t/"+ada+"/feed")
	f.twin("no credential", "/t")
	f.add("plain", "/t/"+eve, 401)
	f.add("below", "/t/"+eve+"/feed.xml", 401)
	f.add("other case", "/T/"+eve, 400)
	f.add("suffix", "/t/"+eve+".json", 400)
	f.add("parameter", "/t/"+eve+";x=1", 400)
	f.add("parameter before", "/t;x=1/"+eve, 400)
	f.add("escaped", "/%74/"+eve, 401) // Envoy decodes the letter
	f.add("escaped credential", "/t/%61"+eve[1:], 401)
	f.add("blank segment", "/%20/t/"+eve, 400)
	f.add("merged slashes", "//t//"+eve, 401)
	f.add("dot segments", "/x/../t/"+eve, 401)
	return f.rows
}

func (p *prey) protocolPlaces() []row {
	f := placeRows{p: p, family: "protocol place", send: func(s string) answer {
		return p.h1("GET", "/healthz", "", "Sec-WebSocket-Protocol: "+s)
	}}
	eve, ada := token(p.eve), token(p.ada)
	f.twin("plain", "chat, bearer."+ada)
	f.twin("another protocol", "chat")
	f.add("plain", "chat, bearer."+eve, 401)
	f.add("twice", "bearer."+ada+", bearer."+eve, 400)
	f.add("other case", "Bearer."+eve, 400)
	f.add("quoted", `"bearer.`+eve+`"`, 400)
	f.add("two lines", "chat\r\nSec-WebSocket-Protocol: bearer."+eve, 401)
	f.rows = append(f.rows, row{
		family: f.family, name: "upgrade", by: byApp, want: []int{401}, send: func() answer {
			return p.upgrade("GET", "/ws", "", "Sec-WebSocket-Protocol: bearer."+eve)
		},
	})
	return f.rows
}

func (p *prey) cookiePlaces() []row {
	f := placeRows{p: p, family: "cookie place", send: func(s string) answer {
		return p.h1("GET", "/healthz", "", "Cookie: "+s)
	}}
	eve, ada := p.eve.Credentials["web_session"], p.ada.Credentials["web_session"]
	f.twin("by prefix", "wp_7f="+ada)
	f.twin("chunks", "next.0="+ada[:5]+"; a=b; next.1="+ada[5:])
	f.add("by prefix", "wp_7f="+eve, 401)
	f.add("by prefix, the second", "wp_1="+ada+"; wp_2="+eve, 401)
	f.add("by prefix, other case", "WP_7f="+eve, 400)
	f.add("by prefix, quoted", `wp_7f="`+eve+`"`, 400)
	f.add("chunks", "next.0="+eve[:5]+"; next.1="+eve[5:], 401)
	f.add("chunks, turned", "next.1="+eve[5:]+"; next.0="+eve[:5], 401)
	f.add("chunks and whole", "next="+ada+"; next.0="+eve, 400)
	f.add("chunks, one missing", "next.0="+eve[:5]+"; next.2="+eve[5:], 400)
	f.add("chunks, twice", "next.0="+ada+"; next.0="+eve, 400)
	return f.rows
}

func (p *prey) basicPlaces() []row {
	f := placeRows{p: p, family: "basic place", send: func(s string) answer {
		return p.h1("GET", "/healthz", "", "Authorization: "+s)
	}}
	encode := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	}
	f.twin("password", "Basic "+encode("x", token(p.ada)))
	f.twin("user", "Basic "+encode(p.ada.Name, "whatever"))
	f.add("password", "Basic "+encode("x", token(p.eve)), 401)
	f.add("user", "Basic "+encode(p.eve.Name, "whatever"), 401)
	f.add("user in other case", "bAsIc "+encode(strings.ToUpper(p.eve.Name), "whatever"), 401)
	f.add("without padding", "Basic "+strings.TrimRight(encode("xx", token(p.eve)+"a"), "=")+"=", 400)
	f.add("no colon", "Basic "+base64.StdEncoding.EncodeToString([]byte(token(p.eve))), 400)
	return f.rows
}

func (p *prey) bodyPlaces() []row {
	eve, ada := p.eve.Credentials["web_session"], p.ada.Credentials["web_session"]
	nested := placeRows{p: p, family: "JSON place", send: func(s string) answer {
		return p.h1("POST", "/nested", s, "Content-Type: application/json")
	}}
	nested.twin("plain", `{"auth":{"token":"`+ada+`"}}`)
	nested.add("plain", `{"auth":{"token":"`+eve+`"}}`, 401)
	nested.add("other case", `{"Auth":{"token":"`+eve+`"}}`, 400)
	nested.add("list", `{"auth":[{"token":"`+eve+`"}]}`, 400)
	upload := placeRows{p: p, family: "multipart place", send: func(s string) answer {
		return p.h1("POST", "/upload", s, multipartType)
	}}
	upload.twin("plain", multipart("token", ada))
	upload.add("plain", multipart("token", eve), 401)
	upload.add("other case", multipart("Token", eve), 400)
	upload.add("escaped name", multipart(`to\ken`, eve), 400)
	upload.add("preamble", "x\r\n"+multipart("token", eve), 400)
	otherwise := func(name string, want int, send func() answer) {
		upload.rows = append(upload.rows, row{family: "body place, as others read it", name: name, by: byApp, want: []int{want}, send: send})
	}
	otherwise("multipart, a file name for formidable", 400, func() answer {
		return upload.send("--B0UND7c41\r\nContent-Disposition: form-data; filename=\"; name=token\" ; name=\"a\" \r\n\r\n" + eve + "\r\n--B0UND7c41--\r\n")
	})
	otherwise("multipart, the boundary of PHP", 400, func() answer {
		return p.h1("POST", "/upload", withinParts("token", eve), `Content-Type: multipart/form-data; x="boundary"; y=Z; boundary=B`)
	})
	for method, want := range map[string]int{"PUT": 401, "GET": 401, "DELETE": 401} {
		otherwise(method, want, func() answer {
			return p.h1(method, "/nested", `{"auth":{"token":"`+eve+`"}}`, "Content-Type: application/json")
		})
	}
	otherwise("GET over HTTP/2, not announced", 401, func() answer {
		return p.h2("GET", "/nested", `{"auth":{"token":"`+eve+`"}}`, field{"content-type", "application/json"})
	})
	otherwise("below its path", 401, func() answer {
		return p.h1("POST", "/nested/x", `{"auth":{"token":"`+eve+`"}}`, "Content-Type: application/json")
	})
	otherwise("below its path over HTTP/2, not announced", 401, func() answer {
		return p.h2("POST", "/nested/x", `{"auth":{"token":"`+eve+`"}}`, field{"content-type", "application/json"})
	})
	return append(nested.rows, upload.rows...)
}

func (p *prey) graphQLPlaces() []row {
	eve, ada := p.eve.Credentials["web_session"], p.ada.Credentials["web_session"]
	f := placeRows{p: p, family: "GraphQL place", send: func(s string) answer {
		return p.h1("POST", "/graphql", s, "Content-Type: application/json")
	}}
	request := func(query, variables string) string {
		return fmt.Sprintf(`{"query":%q,"variables":%s}`, query, variables)
	}
	const doc = `mutation R($token: String!) { refresh(token: $token) { ok } }`
	f.twin("variable", request(doc, `{"token":"`+ada+`"}`))
	f.add("variable", request(doc, `{"token":"`+eve+`"}`), 401)
	f.add("batch", `[{"query":"{a}"},`+request(doc, `{"token":"`+eve+`"}`)+`]`, 401)
	f.add("literal", request(`mutation { refresh(token: "`+eve+`") { ok } }`, `{}`), 400)
	f.add("other variable", request(`mutation R($t: String!) { refresh(token: $t) { ok } }`, `{"t":"`+eve+`"}`), 400)
	f.add("comment that goes on for graphql-ruby", `{"query":"mutation { r(#\r\"\"\"\n token: \"`+eve+`\" #\r\"\"\"\n) { ok } }"}`, 400)
	f.add("default", request(`mutation R($token: String = "`+eve+`") { refresh(token: $token) { ok } }`, `{}`), 400)
	return f.rows
}
