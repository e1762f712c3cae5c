package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPageIsCurrent: docs/configuration.md is what the comments say.
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
	again, err := generate(filepath.Join("..", "config.go"))
	if err != nil || again != want {
		t.Errorf("two runs differ (%v)", err)
	}
	for _, must := range []string{"## The file", "## Tenant\n", "## HTTPGrant\n", "| `credential_lifetime` | duration |", "[App](#app)", "list of text"} {
		if !strings.Contains(want, must) {
			t.Errorf("the page has no %q", must)
		}
	}
}

// TestUndocumentedFieldIsRefused: a field without a comment or a key stops the generator.
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

// TestRun writes where it is told to.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run("..", "-", &out); err != nil || !strings.HasPrefix(out.String(), "<!-- Generated") {
		t.Errorf("standard output: %v", err)
	}
	file := filepath.Join(t.TempDir(), "page.md")
	if err := run("..", file, &out); err != nil {
		t.Error(err)
	}
	if err := run("..", filepath.Join(file, "below"), &out); err == nil {
		t.Error("wrote below a file")
	}
}
