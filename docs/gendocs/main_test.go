package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPagesAreCurrent compares the pages with the comments.
func TestPagesAreCurrent(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	must := map[string][]string{
		"docs/configuration.md": {
			"## The file", "## Tenant\n", "## HTTPGrant\n", "- `credential_lifetime` (duration): ", "[App](#app)", "list of text",
		},
		"docs/plugin-manifest.md": {"- `sha256` (text): ", "## HTTPNeed\n", "- `memory_mib` (whole number): "},
		"docs/plugin-abi.md":      {"## Output of identify\n", "- `anonymous` (true or false): ", "- `ssh_key`", "- `-3`", "- `app_denied`: "},
	}
	for _, p := range pages() {
		want, err := p.generate()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(p.out)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, string(got)); d != "" {
			t.Errorf("%s is old; run: go run ./docs/gendocs (-want +got):\n%s", p.out, d)
		}
		if len(must[p.out]) == 0 {
			t.Errorf("the test says nothing about %s", p.out)
		}
		for _, text := range must[p.out] {
			if !strings.Contains(want, text) {
				t.Errorf("%s has no %q", p.out, text)
			}
		}
	}
}

// TestUndocumentedFieldIsRefused: a field without a comment or a key is an error.
func TestUndocumentedFieldIsRefused(t *testing.T) {
	for name, src := range map[string]string{
		"no comment": "package config\n\ntype Config struct {\n\tA int `yaml:\"a\"`\n}\n",
		"no key":     "package config\n\ntype Config struct {\n\t// B is.\n\tB int `yaml:\"b\"`\n\t// A is.\n\tA int\n}\n",
		"no Config":  "package config\n\ntype Other struct{}\n",
		"not Go":     "hello",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.go")
			if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
			p := page{sources: []string{file}, tag: "yaml", roots: []root{{"Config", "The file"}}}
			if _, err := p.generate(); err == nil {
				t.Error("no error")
			}
		})
	}
}
