package docs_test

import (
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
