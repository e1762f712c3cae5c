package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestCodesAreExplained: the table of codes in docs/operations.md has a row for each code that a job can get from
// scimward, and no other row.
func TestCodesAreExplained(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "operations.md"), "\n### Codes\n")
	table, _, _ = strings.Cut(table, "\n## ")
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
		explained[m[1]] = true
	}
	codes := codesOf(t)
	if len(codes) < 25 {
		t.Fatalf("%d codes in the source, want 25 and more", len(codes))
	}
	for code, at := range codes {
		if !explained[code] {
			t.Errorf("docs/operations.md does not explain the code %s of %s", code, at)
		}
	}
	for code := range explained {
		if codes[code] == "" {
			t.Errorf("docs/operations.md explains %s, which no source has", code)
		}
	}
}

// codesOf returns the constants whose names begin with Code, with the place of each. It fails the test for a code that
// is written without a constant.
func codesOf(t *testing.T) map[string]string {
	t.Helper()
	codes := map[string]string{}
	set := token.NewFileSet()
	for _, file := range files(t) {
		dir := filepath.ToSlash(filepath.Dir(file))
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") ||
			dir != "plugins/abi" && dir != "plugins" && dir != "sidecar/internal/revoke" && dir != "store" {
			continue
		}
		parsed, err := parser.ParseFile(set, filepath.Join(root, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			name, value := codeIn(n)
			if value == "" {
				return true
			}
			if at := set.Position(n.Pos()).String(); name == "" {
				t.Errorf("%s: make a constant of the code %q, so that a test compares it with docs/operations.md", at, value)
			} else {
				codes[value] = at
			}
			return true
		})
	}
	return codes
}

// codeIn returns the code that a node defines as a constant, or writes into a field without one: then name is empty.
func codeIn(n ast.Node) (name, value string) {
	switch n := n.(type) {
	case *ast.ValueSpec:
		for i, v := range n.Values {
			if id := n.Names[i].Name; strings.HasPrefix(id, "Code") || strings.HasPrefix(id, "code") {
				return id, literal(v)
			}
		}
	case *ast.KeyValueExpr:
		if id, ok := n.Key.(*ast.Ident); ok && id.Name == "Code" {
			return "", literal(n.Value)
		}
	case *ast.AssignStmt:
		for i, to := range n.Lhs {
			if sel, ok := to.(*ast.SelectorExpr); ok && sel.Sel.Name == "Code" && len(n.Rhs) == len(n.Lhs) {
				return "", literal(n.Rhs[i])
			}
		}
	}
	return "", ""
}

func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value) // the parser accepted it
	return s
}
