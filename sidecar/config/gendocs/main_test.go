package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPageIsCurrent compares docs/configuration.md with the comments.
func TestPageIsCurrent(t *testing.T) {
	want, err := generate(filepath.Join("..", "config.go"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/configuration.md is old; run: go run ./sidecar/config/gendocs (-want +got):\n%s", d)
	}
	for _, must := range []string{
		"## The file", "## Tenant\n", "## HTTPGrant\n", "- `credential_lifetime` (duration): ", "[App](#app)", "list of text",
	} {
		if !strings.Contains(want, must) {
			t.Errorf("the page has no %q", must)
		}
	}
}

// TestUndocumentedFieldIsRefused: a field without a comment or a yaml key is an error.
func TestUndocumentedFieldIsRefused(t *testing.T) {
	for name, src := range map[string]string{
		"no comment": "package config\n\ntype Config struct {\n\tA int `yaml:\"a\"`\n}\n",
		"no key":     "package config\n\ntype Config struct {\n\t// A is.\n\tA int\n}\n",
		"no Config":  "package config\n\ntype Other struct{}\n",
		"not Go":     "hello",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.go")
			if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := generate(file); err == nil {
				t.Error("no error")
			}
		})
	}
}
