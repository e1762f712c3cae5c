package envoytest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// sharedLines are the lines that lead to the application of a tenant.
var sharedLines = regexp.MustCompile(`upstream: http://\S+|base_url: "\S+"|port: \d+|admin_token: \S+\.token`)

// share leads the second tenant to the application of the first.
func share(text string) string {
	first := sharedLines.FindAllString(text, -1)
	first = first[:len(first)/2]
	n := 0
	text = sharedLines.ReplaceAllStringFunc(text, func(string) string {
		n++
		return first[(n-1)%len(first)]
	})
	return strings.ReplaceAll(text, first[0], first[0]+"\n        shared_upstream: true")
}

// TestSharedUpstream: two tenants share an application behind a gateway that names the user. A lock of
// one tenant refuses the person at the host of the other, and so do its local writes. A stranger is
// refused, and a name beyond ASCII matches.
func TestSharedUpstream(t *testing.T) {
	w := newWorld(t, func(text string) string {
		text = share(text)
		text = strings.ReplaceAll(text, "        subjects:\n", "        subjects:\n          - {header: x-webauth-user, is: user_name}\n")
		return strings.Replace(text, "          - {path: /signup}\n", "          - {path: /signup}\n          - {path: /only-of-acme}\n", 1)
	})
	const name = "jürgen@people.example"
	leaver := userNamed(t, w.Acme, name)
	userNamed(t, w.Globex, name)
	as := func(tenant *stack.Tenant, method, path, user string) answer {
		return w.raw(t, tenant, h1(method, path, strings.TrimPrefix(tenant.URL, "https://"), "", "X-Webauth-User: "+user))
	}
	for _, tenant := range []*stack.Tenant{w.Acme, w.Globex} {
		for _, user := range []string{name, "UTF-8''j%C3%BCrgen@people.example"} {
			if a := as(tenant, http.MethodGet, "/healthz", user); a.status != http.StatusOK {
				t.Errorf("%s as %q: %d %s", tenant.Name, user, a.status, a.body)
			}
		}
		if a := as(tenant, http.MethodGet, "/healthz", "stranger"); a.status != http.StatusForbidden ||
			!strings.Contains(a.body, `no user with the user name "stranger"`) {
			t.Errorf("%s as a stranger: %d %s", tenant.Name, a.status, a.body)
		}
		if a := as(tenant, http.MethodGet, "/healthz", "j\xfcrgen@people.example"); a.status != http.StatusBadRequest {
			t.Errorf("%s in Latin-1: %d %s", tenant.Name, a.status, a.body)
		}
		if a := as(tenant, http.MethodDelete, "/only-of-acme", name); a.status != http.StatusForbidden {
			t.Errorf("a local write of acme at %s: %d %s", tenant.Name, a.status, a.body)
		}
	}
	const other = "other@people.example"
	userNamed(t, w.Acme, other)
	userNamed(t, w.Globex, other)
	b := newBrowser(w)
	b.base = w.Globex.URL
	b.want(t, "first sign-in", "POST", "/login", keeping(other), http.StatusOK)
	b.want(t, "cached", "GET", "/me", nil, http.StatusOK)
	b.want(t, "second sign-in with the same session", "POST", "/login", keeping(name), http.StatusOK)
	if body := b.want(t, "with the new owner", "GET", "/me", nil, http.StatusOK); !strings.Contains(body, name) {
		t.Fatalf("the application serves %s, want the new owner", body)
	}
	if err := w.Acme.Client.Deactivate(t.Context(), leaver.ID); err != nil {
		t.Fatal(err)
	}
	b.want(t, "the leaver of acme at globex, with a session that another user had", "GET", "/me", nil, http.StatusUnauthorized)
	for _, tenant := range []*stack.Tenant{w.Acme, w.Globex} {
		if a := as(tenant, http.MethodGet, "/healthz", name); a.status != http.StatusUnauthorized {
			t.Errorf("the leaver of acme at %s: %d %s", tenant.Name, a.status, a.body)
		}
	}
}
