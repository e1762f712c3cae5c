// Package docs_test compares the documents with the code: imports, functions, commands,
// metrics and tests that a page names must exist. It also checks the words and the lines
// of the whole repository.
package docs_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

const root = ".."

// files lists the files of the repository by their path from the root, without build
// output and hidden folders other than .ci.
func files(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && name != ".ci" && (name[0] == '.' || name == "bin"):
			return filepath.SkipDir
		case d.Type().IsRegular():
			path, err = filepath.Rel(root, path)
			out = append(out, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 100 {
		t.Fatalf("found %d files, want the whole repository", len(out))
	}
	return out
}

// pages lists the Markdown files, relative to this folder.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, file := range files(t) {
		if strings.HasSuffix(file, ".md") && !strings.Contains(file, "/testdata/") {
			out = append(out, filepath.Join(root, file))
		}
	}
	return out
}

// goFiles lists the Go files of dir without its tests.
func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// matches returns what the first group of re matches in text, as a set.
func matches(re *regexp.Regexp, text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		out[m[1]] = true
	}
	return out
}

// compare reports the names that only a page or only the code has.
func compare(t *testing.T, page string, listed, code map[string]bool) {
	t.Helper()
	if len(code) < 20 {
		t.Fatalf("found %d names in the code, want at least 20", len(code))
	}
	for _, name := range slices.Sorted(maps.Keys(code)) {
		if !listed[name] {
			t.Errorf("%s does not list %s", page, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		if !code[name] {
			t.Errorf("%s lists %s, which the code does not have", page, name)
		}
	}
}

// checkConfig parses a configuration that a page shows. The files that it names need not
// exist.
func checkConfig(t *testing.T, page, text string) {
	t.Helper()
	_, err := config.Parse(page, t.TempDir(), []byte(text))
	var e *config.FaultsError
	isFault := func(f config.Fault) bool { return !strings.HasSuffix(f.Msg, " cannot be read: it does not exist") }
	if err != nil && (!errors.As(err, &e) || slices.ContainsFunc(e.Faults, isFault)) {
		t.Errorf("a configuration in %s: %v", page, err)
	}
}
