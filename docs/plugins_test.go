package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// withoutPlugin is a complete configuration to which a plugin section can be added.
const withoutPlugin = `version: 1
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

// TestPluginSectionsParse parses every plugin section that a page shows. The pages that
// explain plugins must show one, and no key that the configuration does not have.
func TestPluginSectionsParse(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range fenceRE.FindAllStringSubmatch(read(t, page), -1) {
			if m[1] != "yaml" || !strings.HasPrefix(m[2], "plugin:\n") {
				continue
			}
			text := withoutPlugin
			for line := range strings.Lines(m[2]) {
				text += "        " + line
			}
			checkConfig(t, page, text)
		}
	}
	wrong := regexp.MustCompile(`(?m)^\s*(?:grant|settings):`)
	sdk, example := "../plugins/sdk/go/README.md", "../examples/plugins/protected-app/README.md"
	for _, page := range []string{"plugins.md", sdk, example} {
		text := read(t, page)
		if !strings.Contains(text, "```yaml\nplugin:\n") {
			t.Errorf("%s shows no plugin section", page)
		}
		if m := wrong.FindString(text); m != "" {
			t.Errorf("%s shows %q, which the configuration does not have", page, strings.TrimSpace(m))
		}
	}
}

// TestExampleTestsPass runs the tests that the SDK's page shows, as an author would: in a folder of their own, with
// the plugin of the page.
func TestExampleTestsPass(t *testing.T) {
	var programs []string
	for _, m := range fenceRE.FindAllStringSubmatch(read(t, "../plugins/sdk/go/README.md"), -1) {
		if m[1] == "go" {
			programs = append(programs, m[2])
		}
	}
	if len(programs) != 2 {
		t.Fatalf("plugins/sdk/go/README.md shows %d programs, want a plugin and its tests", len(programs))
	}
	clone, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	module := regexp.MustCompile(`(?m)^module .*$`).ReplaceAllLiteralString(read(t, filepath.Join(root, "go.mod")),
		"module wiki\n\nrequire github.com/scimward/scimward v0.0.0\n\nreplace github.com/scimward/scimward => "+clone)
	for name, text := range map[string]string{
		"main.go": programs[0], "main_test.go": programs[1],
		"go.mod": module, "go.sum": read(t, filepath.Join(root, "go.sum")), // what go mod tidy finds, but offline
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOSUMDB=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the tests of plugins/sdk/go/README.md: %v\n%s", err, out)
	}
	for _, name := range []string{"TestNative", "TestInTheHost"} {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s did not run:\n%s", name, out)
		}
	}
}
