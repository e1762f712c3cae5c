package sidecar_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
)

// TestUnusableClients: status lists each client that nobody disabled and that cannot come in, says why, and what
// mends it. A usable and a disabled client are not listed.
func TestUnusableClients(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	r := start(t, allowing)
	listed := func() map[string]string {
		out := map[string]string{}
		for _, u := range r.status().UnusableClients {
			out[u.Client] = u.Fault + " | " + u.Fix
		}
		return out
	}
	if got := listed(); len(got) != 0 {
		t.Fatalf("before: %v, want none", got)
	}
	r.must("clients/add", sidecar.ClientAdd{ClientRef: named("okta"), StaticTokens: true}, nil)
	r.must("clients/add", sidecar.ClientAdd{ClientRef: named("keyless"), JWKSURI: gone.URL}, nil)
	r.must("clients/add", sidecar.ClientAdd{
		ClientRef: named("short"), JWKSURI: gone.URL, Expires: time.Now().Add(time.Second).UTC().Format(time.RFC3339),
	}, nil)
	wants := func(client, want string) {
		t.Helper()
		until(t, client+": "+want, func() bool { return strings.Contains(listed()[client], want) })
	}
	wants("okta", "no static token | `scimward token create --client okta --tenant acme`")
	wants("keyless", "`scimward client check keyless --tenant acme`")
	wants("short", "`scimward client set short --tenant acme --expires never`")
	made := r.static("okta", 90*24*time.Hour)
	r.must("clients/disable", named("keyless"), nil)
	r.must("clients/disable", named("short"), nil)
	if got := listed(); len(got) != 0 {
		t.Errorf("a usable and two disabled clients: %v, want none", got)
	}
	r.write("scimward.yaml", strings.Replace(allowing, "static_tokens: allow", "static_tokens: refuse", 1))
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.checked("acme", made.Token); got != 401 {
		t.Errorf("the token of a tenant that takes none: %d, want 401", got)
	}
	wants("okta", "the tenant refuses static tokens")
}
