package envoytest_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// plain sends bytes to scimward's own SCIM port, around Envoy.
func (w *world) plain(t *testing.T, request string) answer {
	t.Helper()
	c, err := stack.DialLoopback(t.Context(), "tcp", w.SCIMAddr)
	if err != nil {
		t.Fatalf("connecting to the SCIM port: %v", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatalf("sending to the SCIM port: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("reading from the SCIM port: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading from the SCIM port: %v", err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// document decodes an answer, whose members may come in any order.
func document(t *testing.T, body string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Errorf("the answer is no JSON object: %v %s", err, body)
	}
	return doc
}

// TestDirectToSCIMPort checks that a request that reaches the SCIM port around Envoy
// gets the same answer.
func TestDirectToSCIMPort(t *testing.T) {
	p := newPrey(t)
	auth, u, g := "Authorization: Bearer "+p.token, p.userPath(), p.groupPath()
	members := patch(`{"op":"replace","path":"members","value":[]}`)
	for _, c := range []struct {
		name    string
		request string
		want    int
	}{
		{"a read that is allowed", h1("GET", u, p.host, "", auth), 200},
		{"no token", h1("DELETE", u, p.host, ""), 401},
		{"the token of the other tenant", h1("DELETE", u, p.host, "", "Authorization: Bearer "+p.alien), 401},
		{"two tokens", h1("DELETE", u, p.host, "", auth, auth), 400},
		{"forbidden shape of PATCH", h1("PATCH", g, p.host, members, auth, scimJSON), 400},
		{"PUT", h1("PUT", u, p.host, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"x","active":false}`, auth, scimJSON), 403},
		{"user without an e-mail address", h1("POST", "/scim/v2/Users", p.host, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"x"}`, auth, scimJSON), 400},
		{"key twice", h1("PATCH", u, p.host, "{"+patchURN+`,"Operations":[],"Operations":[`+damage+`]}`, auth, scimJSON), 400},
		{"parameter in the path", h1("DELETE", u+";x=1", p.host, "", auth), 400},
		{"slash encoded twice", h1("DELETE", "/scim/v2/Users%252F"+p.target.ID, p.host, "", auth), 400},
		{"trailing slash", h1("DELETE", u+"/", p.host, "", auth), 400},
		{"endpoint in lower case", h1("DELETE", "/scim/v2/users/"+p.target.ID, p.host, "", auth), 404},
		{"override header", h1("GET", u, p.host, "", auth, "X-HTTP-Method-Override: DELETE"), 400},
		{"override in the query", h1("GET", u+"?_method=DELETE", p.host, "", auth), 400},
		{"DELETE with a body", h1("DELETE", u, p.host, "{}", auth), 400},
		{"PATCH without a body", h1("PATCH", u, p.host, "", auth, scimJSON, "Content-Length: 0"), 400},
		{"wrong type", h1("PATCH", u, p.host, patch(damage), auth, "Content-Type: text/plain"), 415},
		{"encoded body", h1("PATCH", u, p.host, patch(damage), auth, scimJSON, "Content-Encoding: gzip"), 415},
		{"unknown method", h1("PURGE", u, p.host, "", auth), 405},
		{"bulk", h1("POST", "/scim/v2/Bulk", p.host, "{}", auth, scimJSON), 501},
		{"token in the query", h1("DELETE", u+"?access_token="+p.token, p.host, ""), 400},
		{"filter with bad grammar", h1("GET", "/scim/v2/Users?filter=userName%20eq", p.host, "", auth), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := p.state(t)
			through, around := p.raw(t, p.Acme, c.request), p.plain(t, c.request)
			if through.status != c.want || around.status != c.want {
				t.Errorf("status %d through Envoy, %d around it, want %d", through.status, around.status, c.want)
			}
			if diff := cmp.Diff(document(t, through.body), document(t, around.body)); diff != "" {
				t.Errorf("the answers differ (-through +around):\n%s", diff)
			}
			for _, name := range []string{"Content-Type", "Www-Authenticate", "Allow", "Cache-Control"} {
				if diff := cmp.Diff(through.header.Values(name), around.header.Values(name)); diff != "" {
					t.Errorf("%s differs (-through +around):\n%s", name, diff)
				}
			}
			if diff := cmp.Diff(before, p.state(t)); diff != "" {
				t.Errorf("something changed (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("an unknown Host", func(t *testing.T) {
		if a := p.plain(t, h1("DELETE", u, "nobody.example", "", auth)); a.status/100 != 4 {
			t.Errorf("status %d, want a refusal: %s", a.status, a.body)
		}
	})
	t.Run("a Host of the other tenant", func(t *testing.T) {
		a := p.plain(t, h1("DELETE", u, strings.TrimPrefix(p.Globex.URL, "https://"), "", auth))
		if a.status != http.StatusUnauthorized {
			t.Errorf("status %d, want 401: %s", a.status, a.body)
		}
	})
}
