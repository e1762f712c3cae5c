package envoytest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// TestSharedUpstream: two tenants share an application behind a gateway that names the user. A lock of
// one tenant refuses the person at the host of the other, and so do its local writes. A stranger is
// refused, and a name beyond ASCII matches.
func TestSharedUpstream(t *testing.T) {
	w := newWorld(t, func(text string) string {
		lines := upstreamLine.FindAllString(text, 2)
		text = strings.ReplaceAll(text, lines[1], lines[0])
		text = strings.ReplaceAll(text, lines[0], lines[0]+"\n        shared_upstream: true")
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
	if err := w.Acme.Client.Deactivate(t.Context(), leaver.ID); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []*stack.Tenant{w.Acme, w.Globex} {
		if a := as(tenant, http.MethodGet, "/healthz", name); a.status != http.StatusUnauthorized {
			t.Errorf("the leaver of acme at %s: %d %s", tenant.Name, a.status, a.body)
		}
	}
}
