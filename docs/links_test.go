package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	linkRE  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenceRE = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	spanRE  = regexp.MustCompile("`[^`\n]*`")
)

// TestLinksResolve checks that the file and the heading of each relative link exist.
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
			} else if fragment != "" && !slices.Contains(anchors(read(t, target)), fragment) {
				t.Errorf("%s links to %s, but there is no such heading", page, m[1])
			}
		}
	}
}

// anchors returns the fragments of the headings, in the form of GitHub.
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

// TestConfigurationsParse parses every complete configuration that a page shows.
func TestConfigurationsParse(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		for _, m := range fenceRE.FindAllStringSubmatch(read(t, page), -1) {
			if m[1] == "yaml" && strings.HasPrefix(m[2], "version: 1\n") {
				found++
				checkConfig(t, page, m[2])
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a complete configuration")
	}
}

// testRE is a test with its package, pkg/path:TestName.
var testRE = regexp.MustCompile("`([a-z][a-z0-9/_-]*):((?:Test|Fuzz)\\w+)`")

// TestNamedTestsExist checks that the tests that a page names exist.
func TestNamedTestsExist(t *testing.T) {
	declared := map[string]map[string]bool{}
	found := 0
	for _, page := range pages(t) {
		for _, m := range testRE.FindAllStringSubmatch(read(t, page), -1) {
			found++
			if declared[m[1]] == nil {
				declared[m[1]] = tests(t, m[1])
			}
			if !declared[m[1]][m[2]] {
				t.Errorf("%s names %s:%s, which does not exist", page, m[1], m[2])
			}
		}
	}
	if found < 20 {
		t.Errorf("the pages name %d tests, want those of the threat model", found)
	}
}

// tests returns the names of the tests of a package.
func tests(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, file := range list {
		text += read(t, file)
	}
	return matches(regexp.MustCompile(`(?m)^func (\w+)\(`), text)
}

// TestMetricsAreListed compares docs/operations.md with the metrics in the code.
func TestMetricsAreListed(t *testing.T) {
	direct := regexp.MustCompile(`(?:Name:\s+|NewDesc\()"(scimward_[a-z_]*[a-z])"`)
	// plugins, revoke and the cluster add a prefix to the names in these files.
	short := regexp.MustCompile(`(?:counter|gauge|vec)\("([a-z_]+)"`)
	prefixes := map[string]string{
		"plugins/metrics.go":                  "scimward_plugin_",
		"sidecar/internal/revoke/metrics.go":  "scimward_revocation_",
		"sidecar/internal/cluster/metrics.go": "scimward_cluster_",
		"sidecar/clusterstatus.go":            "scimward_cluster_",
	}
	code := map[string]bool{}
	for _, file := range files(t) {
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		text := read(t, filepath.Join(root, file))
		for name := range matches(direct, text) {
			code[name] = true
		}
		if prefix := prefixes[file]; prefix != "" {
			for name := range matches(short, text) {
				code[prefix+name] = true
			}
		}
	}
	listed := matches(regexp.MustCompile("`(scimward_[a-z_]+)`"), read(t, "operations.md"))
	compare(t, "docs/operations.md", listed, code)
}
