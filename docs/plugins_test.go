package docs_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// around is a whole configuration but for the plugin of its application.
const around = `version: 1
tenants:
  - name: acme
    external_url: https://wiki.acme.example
    identity_services:
      - {client_id: hr, keys: {issuer: "https://id.acme.example"}}
    apps:
      - name: wiki
        upstream: http://127.0.0.1:3000
        subjects: [{header: x-forwarded-user, is: user_name}]
        local_writes: []
`

// TestPluginSectionsParse loads every plugin section that a page shows, and fails
// when a page that explains plugins shows none or another form of it.
func TestPluginSectionsParse(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range fenceRE.FindAllStringSubmatch(read(t, page), -1) {
			if m[1] == "yaml" && strings.HasPrefix(m[2], "plugin:\n") {
				parsePlugin(t, page, m[2])
			}
		}
	}
	other := regexp.MustCompile(`(?m)^\s*(?:grant|settings):`)
	for _, page := range []string{"plugins.md", "../plugins/sdk/go/README.md", "../examples/plugins/protected-app/README.md"} {
		text := read(t, page)
		if !strings.Contains(text, "```yaml\nplugin:\n") {
			t.Errorf("%s shows no plugin section", page)
		}
		if m := other.FindString(text); m != "" {
			t.Errorf("%s shows %q, which the configuration does not have", page, strings.TrimSpace(m))
		}
	}
}

// parsePlugin loads a configuration with section as the plugin of its application.
func parsePlugin(t *testing.T, page, section string) {
	t.Helper()
	text := around
	for line := range strings.Lines(section) {
		text += "        " + line
	}
	_, err := config.Parse(page, t.TempDir(), []byte(text))
	faults := slices.DeleteFunc(config.Faults(err), func(f config.Fault) bool {
		return strings.HasSuffix(f.Msg, " cannot be read") // the reader's files are not here
	})
	if err != nil && (config.Faults(err) == nil || len(faults) > 0) {
		t.Errorf("a plugin section in %s: %v", page, err)
	}
}

// TestCodesAreExplained compares the codes of jobs with the table in operations.md.
func TestCodesAreExplained(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "operations.md"), "\n### Codes\n")
	if !ok {
		t.Fatal("docs/operations.md has no codes")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	page := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(section, -1) {
		page[m[1]] = true
	}
	code := map[string]bool{}
	named := regexp.MustCompile(`(?m)^\s*[cC]ode[A-Z]\w*\s+= "([a-z_]+)"`)
	for _, file := range []string{"plugins/abi/abi.go", "sidecar/internal/revoke/machine.go"} {
		for _, m := range named.FindAllStringSubmatch(read(t, filepath.Join(root, file)), -1) {
			code[m[1]] = true
		}
	}
	if len(code) < 20 {
		t.Fatalf("found %d codes", len(code))
	}
	for name := range code {
		if !page[name] {
			t.Errorf("docs/operations.md does not explain the code %s", name)
		}
	}
	for name := range page {
		if !code[name] {
			t.Errorf("docs/operations.md explains the code %s, which nothing writes", name)
		}
	}
}
