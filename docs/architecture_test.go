// Package docs_test holds the documents to the code: what a page says of imports,
// functions, commands and files must be so.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "github.com/scimward/scimward/"
	root         = ".."
	architecture = "architecture.md"
)

// row is what the import table allows a package.
type row struct{ local, families []string }

// TestImportsAreAllowed compares the imports of all code but tests with the table,
// whatever the build constraints.
func TestImportsAreAllowed(t *testing.T) {
	rows, families := importTable(t)
	found := map[string]bool{}
	for pkg, imports := range tree(t) {
		found[pkg] = true
		r, ok := rows[pkg]
		if !ok {
			t.Errorf("package %s has no row in the import table of docs/%s", pkg, architecture)
			continue
		}
		for _, imp := range imports {
			if msg := refuse(r, families, imp); msg != "" {
				t.Errorf("%s imports %s: %s", pkg, imp, msg)
			}
		}
	}
	for pkg := range rows {
		if !found[pkg] {
			t.Errorf("the import table has a row for %s, which does not exist", pkg)
		}
	}
}

// refuse says why a package may not import imp; "" when it may.
func refuse(r row, families map[string][]string, imp string) string {
	if local, ok := strings.CutPrefix(imp, module); ok {
		if slices.Contains(r.local, local) {
			return ""
		}
		return "not among the local imports of its row"
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return "" // standard library
	}
	for name, prefixes := range families {
		for _, p := range prefixes {
			if imp == p || strings.HasPrefix(imp, p+"/") {
				if slices.Contains(r.families, name) {
					return ""
				}
				return "the family " + name + " is not in its row"
			}
		}
	}
	return "it belongs to no family of the page"
}

// TestImportsAreRefused proves that the comparison can fail.
func TestImportsAreRefused(t *testing.T) {
	r := row{local: []string{"store/log"}, families: []string{"sys"}}
	families := map[string][]string{"sys": {"golang.org/x/sys"}, "opa": {"github.com/open-policy-agent/opa"}}
	for imp, refused := range map[string]bool{
		"fmt":                      false,
		module + "store/log":       false,
		module + "store":           true,
		module + "store/log/local": true,
		"golang.org/x/sys/unix":    false,
		"golang.org/x/system":      true,
		"github.com/open-policy-agent/opa/v1/rego": true,
		"example.com/new/dependency":               true,
	} {
		if got := refuse(r, families, imp) != ""; got != refused {
			t.Errorf("%s refused: %v, want %v", imp, got, refused)
		}
	}
}

// TestTableKeepsTheDirection holds the laws that no edit of the table may loosen.
func TestTableKeepsTheDirection(t *testing.T) {
	rows, _ := importTable(t)
	top := func(pkg string) string { first, _, _ := strings.Cut(pkg, "/"); return first }
	apart := []string{"store", "policies", "plugins", "sidecar"}
	surfaces := []string{"extauthz", "scimhttp", "oauth", "revoke", "admin"}
	pure := []string{"store/scim", "store/strictjson", "store/subject"} // all may import these
	for pkg, r := range rows {
		for _, imp := range r.local {
			from, to := top(pkg), top(imp)
			if slices.Contains(pure, pkg) && !slices.Contains(pure, imp) {
				t.Errorf("%s may import %s: the packages that all may import must stay pure", pkg, imp)
			}
			if from != "sidecar" && !slices.Contains(pure, imp) && slices.Contains(apart, from) && slices.Contains(apart, to) && from != to {
				t.Errorf("%s may import %s: %s and %s are apart", pkg, imp, from, to)
			}
			if to == "cmd" || to == "examples" && from != "examples" {
				t.Errorf("%s may import %s", pkg, imp)
			}
		}
	}
	for _, name := range []string{"authz", "token"} {
		for _, imp := range rows["sidecar/internal/"+name].local {
			if imp == "store" || slices.Contains(surfaces, strings.TrimPrefix(imp, "sidecar/internal/")) {
				t.Errorf("%s may import %s, which is above or beside it", name, imp)
			}
		}
	}
	if got := rows["store/strictjson"].local; len(got) != 0 {
		t.Errorf("store/strictjson may import %v: it is pure", got)
	}
	if got := rows["plugins/abi"]; len(got.local)+len(got.families) != 0 {
		t.Errorf("plugins/abi may import %v: guests are built from it", got)
	}
	owners := map[string][]string{
		"badger": {"store"}, "opa": {"policies"}, "wazero": {"plugins"}, "jwx": {"sidecar/internal/token", "examples"},
		"control-plane": {"sidecar/internal/extauthz", "envoy"}, "cobra": {"cmd"}, "yaml": {"sidecar/config", "envoy"},
		"json": {"store/strictjson"},
	}
	for pkg, r := range rows {
		for _, f := range r.families {
			list, owned := owners[f]
			if owned && !slices.ContainsFunc(list, func(o string) bool { return pkg == o || strings.HasPrefix(pkg, o+"/") }) {
				t.Errorf("%s may import %s, which belongs to %v", pkg, f, list)
			}
		}
	}
}

// TestWalksNameRealFunctions fails when a step names a function that does not exist.
func TestWalksNameRealFunctions(t *testing.T) {
	walks := sections(t, "walk")
	if len(walks) != 2 {
		t.Fatalf("%d walks, want 2", len(walks))
	}
	known := map[string]map[string]bool{}
	for _, walk := range walks {
		steps := regexp.MustCompile(`(?m)^\d+\. `).Split(walk, -1)[1:]
		if len(steps) < 12 {
			t.Errorf("a walk of %d steps, want at least 12", len(steps))
		}
		for _, step := range steps {
			refs := functionRE.FindAllStringSubmatch(step, -1)
			if len(refs) == 0 {
				t.Errorf("a step names no function: %.70s", step)
			}
			for _, ref := range refs {
				pkg, name := ref[1], ref[2]+ref[3]
				if known[pkg] == nil {
					known[pkg] = functions(t, pkg)
				}
				if !known[pkg][name] {
					t.Errorf("package %s has no function %s", pkg, name)
				}
			}
		}
		for _, span := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(walk, -1) {
			if strings.Contains(span[1], ".") && !functionRE.MatchString(span[0]) {
				t.Errorf("`%s` in a walk is not pkg/path.Func or pkg/path.(*Type).Method", span[1])
			}
		}
	}
}

// functionRE is pkg/path.Func or pkg/path.(Type).Method, in backticks.
var functionRE = regexp.MustCompile("`([a-z][a-z0-9/_-]*)\\.(\\(\\*?\\w+\\)\\.)?(\\w+)`")

// functions lists what pkg declares: "Func", "(Type).Method", "(*Type).Method".
func functions(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, file := range goFiles(t, filepath.Join(root, pkg)) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				name = receiver(fn.Recv.List[0].Type) + "." + name
			}
			out[name] = true
		}
	}
	return out
}

func receiver(e ast.Expr) string {
	star := ""
	if p, ok := e.(*ast.StarExpr); ok {
		star, e = "*", p.X
	}
	switch g := e.(type) {
	case *ast.IndexExpr:
		e = g.X
	case *ast.IndexListExpr:
		e = g.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return "(" + star + id.Name + ")"
	}
	return "(?)"
}

// tree returns the imports of every package with code that is not a test.
func tree(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		files := goFiles(t, path)
		if len(files) == 0 {
			return nil
		}
		pkg, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		out[filepath.ToSlash(pkg)] = importsOf(t, files)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func importsOf(t *testing.T, files []string) []string {
	t.Helper()
	var out []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// goFiles lists the Go files of dir that are no tests.
func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
}

func importTable(t *testing.T) (rows map[string]row, families map[string][]string) {
	t.Helper()
	span := regexp.MustCompile("`([^`]+)`")
	quoted := func(cell string) []string {
		var out []string
		for _, m := range span.FindAllStringSubmatch(cell, -1) {
			out = append(out, m[1])
		}
		return out
	}
	families = map[string][]string{}
	for _, cells := range table(t, "families", 3) {
		families[cells[0]] = quoted(cells[1])
	}
	rows = map[string]row{}
	for _, cells := range table(t, "imports", 3) {
		pkg := strings.Trim(cells[0], "`")
		if _, twice := rows[pkg]; twice {
			t.Errorf("two rows for %s", pkg)
		}
		r := row{local: quoted(cells[1])}
		if cells[2] != "-" {
			r.families = strings.Fields(cells[2])
		}
		for _, f := range r.families {
			if families[f] == nil {
				t.Errorf("the row of %s names the family %q, which has no row", pkg, f)
			}
		}
		rows[pkg] = r
	}
	if len(rows) < 30 || len(families) < 10 {
		t.Fatalf("read %d packages and %d families: the tables are not where they were", len(rows), len(families))
	}
	return rows, families
}

// table reads the Markdown table behind the marker, without its head.
func table(t *testing.T, marker string, columns int) [][]string {
	t.Helper()
	parts := sections(t, marker)
	if len(parts) != 1 {
		t.Fatalf("%d tables marked %q, want 1", len(parts), marker)
	}
	var out [][]string
	for line := range strings.Lines(parts[0]) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != columns {
			t.Fatalf("%d columns, want %d: %s", len(cells), columns, line)
		}
		out = append(out, cells)
	}
	if len(out) < 3 {
		t.Fatalf("the table marked %q is empty", marker)
	}
	return out[2:]
}

// sections returns the text behind each marker, up to the next heading.
func sections(t *testing.T, marker string) []string {
	t.Helper()
	b, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(b), "<!-- "+marker+" -->\n")
	for i, p := range parts {
		if end := strings.Index(p, "\n#"); end >= 0 {
			parts[i] = p[:end]
		}
	}
	return parts[1:]
}
