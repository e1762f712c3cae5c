package config_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/config"
)

// digests loads a configuration in a folder of its own, with a key set.
func digests(t *testing.T, text, keys string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"scimward.yaml": text, "keys.json": keys} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.LoadLenient(filepath.Join(dir, "scimward.yaml"))
	if c == nil {
		t.Fatal(err)
	}
	return c.Digests()
}

// TestDigests: each part that must be equal in all processes has a digest of its own. Folders, listeners and the names
// of processes do not count, and the content of a key set does.
func TestDigests(t *testing.T) {
	const text = `version: 1
data_dir: a
tenants:
  - name: acme
    external_url: https://app.example.com
    identity_services:
      - {client_id: idp, keys: {jwks_file: keys.json}}
    apps:
      - name: crm
        upstream: http://127.0.0.1:3000
        subjects: [{header: x-user, is: user_name}]
        local_writes: [{path: /api/users}]
`
	first := digests(t, text, "{}")
	want := []string{"acme", "acme/apps/crm", "acme/issuers"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(first))); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name, old, other, keys string
		differs                []string
	}{
		{"nothing", "", "", "{}", nil},
		{"this process", "data_dir: a", "data_dir: b\nlisten: {scim: \"127.0.0.1:1\"}\ndrain: 3s", "{}", nil},
		{"the profile", "https://app.example.com", "https://app.example.com\n    reprovision: reactivate", "{}", []string{"acme"}},
		{"a route", "/api/users", "/x/users", "{}", []string{"acme/apps/crm"}},
		{"a client", "client_id: idp", "client_id: idp2", "{}", []string{"acme/issuers"}},
		{"a key set", "", "", `{"keys":[]}`, []string{"acme/issuers"}},
		{"the name of a file", "keys.json", "other.json", "{}", []string{"acme/issuers"}},
	} {
		got := digests(t, strings.Replace(text, c.old, c.other, 1), c.keys)
		var differs []string
		for _, part := range want {
			if got[part] != first[part] || got[part] == "" {
				differs = append(differs, part)
			}
		}
		if diff := cmp.Diff(c.differs, differs); diff != "" {
			t.Errorf("%s: parts that differ (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestDigestsAreBounded: the parts of many applications, and then of many tenants, are joined.
func TestDigestsAreBounded(t *testing.T) {
	var c config.Config
	parts := func() int { return len(c.Digests()) }
	for i := range 200 {
		c.Tenants = append(c.Tenants, config.Tenant{Name: fmt.Sprint("t", i), Apps: []config.App{{Name: "a"}}})
	}
	if n := parts(); n != 200 {
		t.Errorf("%d parts of 200 tenants, want one each", n)
	}
	for i := range 200 {
		c.Tenants = append(c.Tenants, config.Tenant{Name: fmt.Sprint("u", i)})
	}
	all := c.Digests()
	slices.Reverse(c.Tenants)
	if diff := cmp.Diff(all, c.Digests()); len(all) != 1 || diff != "" {
		t.Errorf("%d parts of 400 tenants, want one, whatever their order:\n%s", len(all), diff)
	}
}
