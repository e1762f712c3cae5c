package templates_test

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
	"testing"

	templates "github.com/scimward/scimward/examples/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// TestTemplates: every template compiles, is formatted, and its tests pass and reach every line.
func TestTemplates(t *testing.T) {
	for _, name := range templates.Names() {
		files, err := templates.Files(name)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := bundle.Archive(files)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.ReadUnverified(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := b.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		report, err := b.Test(t.Context(), bundle.TestOptions{Coverage: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range report.Tests {
			if !r.Pass {
				t.Errorf("%s: %s of %s:%d fails %s", name, r.Name, r.File, r.Line, r.Error)
			}
		}
		if report.Coverage.Percent != 100 {
			t.Errorf("%s: the tests do not reach %v", name, report.Coverage.Uncovered)
		}
		err = fs.WalkDir(files, ".", func(file string, _ fs.DirEntry, err error) error {
			if err != nil || path.Ext(file) != ".rego" {
				return err
			}
			text, err := fs.ReadFile(files, file)
			if err != nil {
				return err
			}
			if want, err := bundle.Format(file, text); err != nil || !bytes.Equal(text, want) {
				t.Errorf("%s: %s is not formatted: %v\n%s", name, file, err, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := fs.ReadFile(mustFiles(t, "template"), "README.md")
	if n := strings.Count(string(text), "\n"); err != nil || n > 25 {
		t.Errorf("the README of the template has %d lines: %v", n, err)
	}
}

func mustFiles(t *testing.T, name string) fs.FS {
	t.Helper()
	files, err := templates.Files(name)
	if err != nil {
		t.Fatal(err)
	}
	return files
}
