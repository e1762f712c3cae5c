package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/recipe"
)

// TestClientRecipe: the recipe has the values of the tenant of the file, and says on standard error what the
// file lacks for it.
func TestClientRecipe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	code, _, stderr := command("init", dir, "--app-url", "http://127.0.0.1:3000", "--client-id", "idp",
		"--issuer", "https://idp.example.com", "--url", "https://acme.example.com")
	if code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(dir, "scimward.yaml")
	code, out, stderr := command("client", "recipe", "okta-oin", "-c", file)
	for _, want := range []string{
		"  Base URL   https://acme.example.com/scim/v2\n", "client add okta --tenant main --static-tokens --dialect okta\n",
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want 0 with %q; printed:\n%s", code, want, out)
		}
	}
	if !strings.Contains(stderr, "tenant main refuses static tokens: write static_tokens: allow") {
		t.Errorf("standard error does not say what is missing: %q", stderr)
	}
	code, out, stderr = command("client", "recipe", "curl", "--client", "hr", "--json", "-c", file)
	var r recipe.Recipe
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || stderr != "" || r.Client != "hr" ||
		r.URL != "https://acme.example.com/scim/v2" {
		t.Errorf("exit %d, %+v, %v, %q; want the recipe as JSON and nothing missing", code, r, err, stderr)
	}
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"PROVIDER is missing", nil},
		{`no recipe "nobody"; there are auth0, curl,`, []string{"nobody"}},
		{`no tenant "globex"; there are main`, []string{"curl", "--tenant", "globex"}},
	} {
		code, _, stderr = command(append(append([]string{"client", "recipe"}, tt.args...), "-c", file)...)
		if code != 2 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit %d, want 2 with %q; %s", tt.args, code, tt.want, stderr)
		}
	}
}
