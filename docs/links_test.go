package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// pages lists every Markdown file of the tree.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ".md") {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("%d pages, want all of them", len(out))
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	linkRE  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenceRE = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	spanRE  = regexp.MustCompile("`[^`\n]*`")
)

// TestLinksResolve follows every relative link to its file, and its fragment to a
// heading.
func TestLinksResolve(t *testing.T) {
	for _, page := range pages(t) {
		text := spanRE.ReplaceAllString(fenceRE.ReplaceAllString(read(t, page), ""), "")
		for _, m := range linkRE.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, fragment, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
				continue
			}
			if fragment != "" && !slices.Contains(anchors(read(t, target)), fragment) {
				t.Errorf("%s links to %s, but there is no such heading", page, m[1])
			}
		}
	}
}

// anchors are the fragments of the headings, as GitHub makes them.
func anchors(text string) []string {
	var out []string
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(fenceRE.ReplaceAllString(text, "")) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			title = strings.ToLower(strings.TrimSpace(title))
			out = append(out, strings.ReplaceAll(drop.ReplaceAllString(title, ""), " ", "-"))
		}
	}
	return out
}

// TestConfigurationsParse loads every complete configuration that a page shows.
func TestConfigurationsParse(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		for _, m := range fenceRE.FindAllStringSubmatch(read(t, page), -1) {
			if m[1] != "yaml" || !strings.HasPrefix(m[2], "version: 1\n") {
				continue
			}
			found++
			_, err := config.Parse(page, t.TempDir(), []byte(m[2]))
			faults := slices.DeleteFunc(config.Faults(err), func(f config.Fault) bool {
				return strings.HasSuffix(f.Msg, " cannot be read") // the reader's files are not here
			})
			if err != nil && (config.Faults(err) == nil || len(faults) > 0) {
				t.Errorf("a configuration in %s: %v", page, err)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a whole configuration")
	}
}

// testRE is a test by its package, pkg/path:TestName.
var testRE = regexp.MustCompile("`([a-z][a-z0-9/_-]*):((?:Test|Fuzz)\\w+)`")

// TestNamedTestsExist fails when a page names a test that does not exist.
func TestNamedTestsExist(t *testing.T) {
	known := map[string]string{}
	found := 0
	for _, page := range pages(t) {
		for _, m := range testRE.FindAllStringSubmatch(read(t, page), -1) {
			found++
			if _, ok := known[m[1]]; !ok {
				files, err := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					known[m[1]] += read(t, f)
				}
			}
			if !strings.Contains(known[m[1]], "\nfunc "+m[2]+"(") {
				t.Errorf("%s names %s:%s, which does not exist", page, m[1], m[2])
			}
		}
	}
	if found < 20 {
		t.Errorf("%d tests named, want those of the threat model", found)
	}
}

// TestMetricsAreListed compares docs/operations.md with the names in the code.
func TestMetricsAreListed(t *testing.T) {
	named := regexp.MustCompile("`(scimward_[a-z_]+)`")
	page := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(read(t, "operations.md"), -1) {
		page[m[1]] = true
	}
	code := map[string]bool{}
	direct := regexp.MustCompile(`Name:\s+"(scimward_[a-z_]+)"`)
	built := regexp.MustCompile(`(?:counter|gauge|vec)\("([a-z_]+)"`) // plugins and revoke put a prefix before
	for pkg := range tree(t) {
		for _, file := range goFiles(t, filepath.Join(root, pkg)) {
			text := read(t, file)
			for _, m := range direct.FindAllStringSubmatch(text, -1) {
				if !strings.HasSuffix(m[1], "_") {
					code[m[1]] = true
				}
			}
			prefix := map[string]string{"plugins": "scimward_plugin_", "sidecar/internal/revoke": "scimward_revocation_"}[pkg]
			if prefix == "" || filepath.Base(file) != "metrics.go" {
				continue
			}
			for _, m := range built.FindAllStringSubmatch(text, -1) {
				code[prefix+m[1]] = true
			}
		}
	}
	if len(code) < 20 {
		t.Fatalf("found %d metrics in the code", len(code))
	}
	for name := range code {
		if !page[name] {
			t.Errorf("docs/operations.md does not list %s", name)
		}
	}
	for name := range page {
		if !code[name] {
			t.Errorf("docs/operations.md lists %s, which no package registers", name)
		}
	}
}
