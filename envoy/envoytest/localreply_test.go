package envoytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// scimErrorOf fails unless an answer is a SCIM error of its status (RFC 7644 §3.12).
func scimErrorOf(t *testing.T, a answer, status int, mediaType string) {
	t.Helper()
	var doc struct {
		Schemas []string `json:"schemas"`
		Status  string   `json:"status"`
		Detail  string   `json:"detail"`
	}
	err := json.Unmarshal([]byte(a.body), &doc)
	if err != nil || !slices.Contains(doc.Schemas, "urn:ietf:params:scim:api:messages:2.0:Error") || doc.Detail == "" {
		t.Errorf("the answer is no SCIM error: %v %v %q", err, a.header, a.body)
	}
	if a.status != status || doc.Status != fmt.Sprint(status) || !strings.HasPrefix(a.header.Get("Content-Type"), mediaType) {
		t.Errorf("status %d, in the document %q, as %q; want %d as %s",
			a.status, doc.Status, a.header.Get("Content-Type"), status, mediaType)
	}
}

// keptOf fails if an answer on a route of the application looks like a SCIM error.
func keptOf(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status || strings.Contains(a.header.Get("Content-Type"), "scim") || strings.Contains(a.body, "schemas") {
		t.Errorf("the application's answer: %d %v %q, want %d and no SCIM error", a.status, a.header, a.body, status)
	}
}

// TestLocalReplies checks that what Envoy itself answers on SCIM routes is a SCIM error, that answers
// of scimward stay as they are, and that routes of the application keep their own.
func TestLocalReplies(t *testing.T) {
	w := newWorld(t, nil)
	host := strings.TrimPrefix(w.Acme.URL, "https://")
	token, err := w.Acme.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	auth := "Authorization: Bearer " + token
	ask := func(method, target, body string, lines ...string) answer {
		return w.raw(t, w.Acme, h1(method, target, host, body, lines...))
	}
	const scimType = "application/scim+json"
	large := strings.Repeat("x", 300<<10)
	t.Run("413", func(t *testing.T) {
		scimErrorOf(t, ask("POST", "/scim/v2/Users", large, auth, scimJSON), 413, scimType)
		keptOf(t, ask("POST", "/login", large, formType), 413)
	})
	t.Run("400 for the path", func(t *testing.T) {
		scimErrorOf(t, ask("GET", "/scim/v2/Users%2Fx", "", auth), 400, scimType)
		scimErrorOf(t, ask("GET", "//scim/v2%2FUsers", "", auth), 400, scimType)
		keptOf(t, ask("GET", "/a%2Fscim", ""), 400)
		keptOf(t, ask("GET", "/scimitar%2Fx", ""), 400)
	})
	t.Run("404", func(t *testing.T) {
		foreign := func(target string) answer { return w.raw(t, w.Acme, h1("GET", target, "other.example", "", auth)) }
		scimErrorOf(t, foreign("/scim/v2/Users"), 404, scimType)
		keptOf(t, foreign("/me"), 404)
	})
	t.Run("before the path is known", func(t *testing.T) {
		huge := "X-Large: " + strings.Repeat("x", 80<<10)
		scimErrorOf(t, ask("GET", "/scim/v2/Users", "", auth, huge), 431, "application/json")
		scimErrorOf(t, ask("GET", "/scim/v2/Users", "", "Bad Header: x"), 400, "application/json")
	})
	t.Run("scimward's own answers", func(t *testing.T) {
		for target, want := range map[string]string{
			"/scim/v2/Users/": "trailing slash", "/scim/v2/None": "resource", "/scim/v3/Users": "SCIM service",
		} {
			if a := ask("GET", target, "", auth); !strings.Contains(a.body, want) || strings.Contains(a.body, "proxy") {
				t.Errorf("GET %s: %d %s, want scimward's own detail with %q", target, a.status, a.body, want)
			}
		}
	})
	p := w.signIn(t, w.Acme, user(t, w.Acme, "user").UserName)
	if err := w.Scimward.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Run("503", func(t *testing.T) { unavailable(t, w, p, ask, auth) })
}

func unavailable(
	t *testing.T, w *world, p *stack.Person, ask func(method, target, body string, lines ...string) answer, auth string,
) {
	t.Helper()
	a := ask("GET", "/scim/v2/Users", "", auth)
	scimErrorOf(t, a, http.StatusServiceUnavailable, "application/scim+json")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("503 without Retry-After: %v", a.header)
	}
	keptOf(t, ask("GET", "/me", "", "Cookie: session="+p.Credentials["web_session"]), http.StatusServiceUnavailable)
	if w.acme.count() == 0 {
		t.Error("no request ever reached the application: the test proves nothing")
	}
}
