package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "github.com/scimward/scimward/"
	architecture = "architecture.md"
)

// row has the imports that the table allows a package.
type row struct{ local, families []string }

// TestImportsAreAllowed compares the imports of all code except tests with the table,
// whatever its build constraints.
func TestImportsAreAllowed(t *testing.T) {
	rows, families := importTable(t)
	found := packages(t)
	for pkg, imports := range found {
		r, ok := rows[pkg]
		if !ok {
			t.Errorf("package %s has no row in the import table of docs/%s", pkg, architecture)
			continue
		}
		for _, imp := range imports {
			if msg := fault(r, families, imp); msg != "" {
				t.Errorf("%s imports %s: %s", pkg, imp, msg)
			}
		}
	}
	for pkg := range rows {
		if found[pkg] == nil {
			t.Errorf("the import table has a row for %s, which does not exist", pkg)
		}
	}
}

// fault says why a package may not import imp; "" if it may.
func fault(r row, families map[string][]string, imp string) string {
	if local, ok := strings.CutPrefix(imp, module); ok {
		if slices.Contains(r.local, local) {
			return ""
		}
		return "its row does not list this local import"
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
				return "its row does not list the family " + name
			}
		}
	}
	return "no family of the page contains it"
}

// TestForbiddenImportsAreFound proves that the comparison can fail.
func TestForbiddenImportsAreFound(t *testing.T) {
	r := row{local: []string{"store/log"}, families: []string{"sys"}}
	families := map[string][]string{"sys": {"golang.org/x/sys"}, "opa": {"github.com/open-policy-agent/opa"}}
	for imp, want := range map[string]bool{
		"fmt":                      false,
		module + "store/log":       false,
		module + "store":           true,
		module + "store/log/local": true,
		"golang.org/x/sys/unix":    false,
		"golang.org/x/system":      true,
		"github.com/open-policy-agent/opa/v1/rego": true,
		"example.com/new/dependency":               true,
	} {
		if got := fault(r, families, imp) != ""; got != want {
			t.Errorf("%s is forbidden: %v, want %v", imp, got, want)
		}
	}
}

// TestDirectionOfImports checks the rules that no edit of the table may change.
func TestDirectionOfImports(t *testing.T) {
	rows, _ := importTable(t)
	top := func(pkg string) string { first, _, _ := strings.Cut(pkg, "/"); return first }
	separate := []string{"store", "policies", "plugins"} // none imports another, nor sidecar
	pure := []string{"store/scim", "store/scim/shapes", "store/strictjson", "store/subject"}
	for pkg, r := range rows {
		from := top(pkg)
		for _, imp := range r.local {
			to := top(imp)
			apart := to == "sidecar" || slices.Contains(separate, to) && !slices.Contains(pure, imp)
			if slices.Contains(separate, from) && from != to && apart {
				t.Errorf("the table lets %s import %s: %s and %s must stay separate", pkg, imp, from, to)
			}
			if slices.Contains(pure, pkg) && !slices.Contains(pure, imp) {
				t.Errorf("the table lets %s import %s, but it must stay pure", pkg, imp)
			}
			// A command writes the bundles of examples/policies.
			if to == "cmd" || to == "examples" && from != "examples" && imp != "examples/policies" {
				t.Errorf("the table lets %s import %s", pkg, imp)
			}
		}
	}
	surfaces := []string{"extauthz", "scimhttp", "oauth", "revoke", "admin"}
	for _, name := range []string{"authz", "token"} {
		for _, imp := range rows["sidecar/internal/"+name].local {
			if imp == "store" || slices.Contains(surfaces, strings.TrimPrefix(imp, "sidecar/internal/")) {
				t.Errorf("the table lets %s import %s, which is above it or beside it", name, imp)
			}
		}
	}
	for _, imp := range rows["store/machine"].local {
		if !strings.HasPrefix(imp, "store/log") {
			t.Errorf("the table lets store/machine import %s, but it knows bytes only", imp)
		}
	}
	if got := rows["store/strictjson"].local; len(got) > 0 {
		t.Errorf("the table lets store/strictjson import %v, but it must stay pure", got)
	}
	if got := rows["plugins/abi"]; len(got.local)+len(got.families) != 0 {
		t.Errorf("the table lets plugins/abi import %v, but guests are built from it", got)
	}
	owners := map[string][]string{
		"badger": {"store"}, "opa": {"policies"}, "wazero": {"plugins"}, "jwx": {"sidecar/internal/token", "examples"},
		"control-plane": {"sidecar/internal/extauthz", "envoy"}, "cobra": {"cmd"},
		"yaml": {"policies/bundle", "sidecar/config", "sidecar/suggest", "envoy"},
		"json": {"store/strictjson"},
	}
	for pkg, r := range rows {
		inside := func(owner string) bool { return pkg == owner || strings.HasPrefix(pkg, owner+"/") }
		for _, family := range r.families {
			if list, owned := owners[family]; owned && !slices.ContainsFunc(list, inside) {
				t.Errorf("the table lets %s import %s, which belongs to %v", pkg, family, list)
			}
		}
	}
}

// TestWalksNameRealFunctions checks that the functions of each step exist.
func TestWalksNameRealFunctions(t *testing.T) {
	walks := sections(t, "walk")
	if len(walks) != 2 {
		t.Fatalf("%d walks, want 2", len(walks))
	}
	known := map[string]map[string]bool{}
	for _, walk := range walks {
		steps := regexp.MustCompile(`(?m)^\d+\. `).Split(walk, -1)[1:]
		if len(steps) < 10 {
			t.Errorf("found %d steps of a walk, want at least 10", len(steps))
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
				t.Errorf("`%s` in a walk does not have the form pkg/path.Func or pkg/path.(*Type).Method", span[1])
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

// packages returns the imports of every package that has code besides tests.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, file := range files(t) {
		dir := path.Dir(file)
		if !strings.HasSuffix(file, ".go") || out[dir] != nil || strings.Contains("/"+file, "/testdata/") {
			continue
		}
		if list := goFiles(t, filepath.Join(root, dir)); len(list) > 0 {
			out[dir] = importsOf(t, list)
		}
	}
	return out
}

func importsOf(t *testing.T, list []string) []string {
	t.Helper()
	out := []string{}
	for _, file := range list {
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

// importTable reads both tables of the page. A row without a package continues the row
// above it.
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
	pkg := ""
	for _, cells := range table(t, "imports", 3) {
		if cells[0] != "" {
			pkg = strings.Trim(cells[0], "`")
			if _, twice := rows[pkg]; twice {
				t.Errorf("the table has two rows for %s", pkg)
			}
		}
		r := rows[pkg]
		r.local = append(r.local, quoted(cells[1])...)
		for _, f := range strings.Fields(strings.Trim(cells[2], "-")) {
			if families[f] == nil {
				t.Errorf("the row of %s names the family %q, which has no row of its own", pkg, f)
			}
			r.families = append(r.families, f)
		}
		rows[pkg] = r
	}
	if len(rows) < 30 || len(families) < 10 {
		t.Fatalf("found %d packages and %d families, want at least 30 and 10", len(rows), len(families))
	}
	return rows, families
}

// table returns the rows of the Markdown table after the marker, without its head.
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

// sections returns the text after each marker, up to the next heading.
func sections(t *testing.T, marker string) []string {
	t.Helper()
	parts := strings.Split(read(t, architecture), "<!-- "+marker+" -->\n")
	for i, p := range parts {
		if end := strings.Index(p, "\n#"); end >= 0 {
			parts[i] = p[:end]
		}
	}
	return parts[1:]
}
