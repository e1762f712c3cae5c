package authz_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// TestEveryReasonIsKnown reads the declarations: a code that KnownReason forgets
// would be counted as "other", and two names for one code could not be told apart.
func TestEveryReasonIsKnown(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", spec.Names[0].Name)
		}
		code, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if other := named[code]; other != "" {
			t.Errorf("%s and %s are both %q", other, spec.Names[0].Name, code)
		}
		named[code] = spec.Names[0].Name
		if !authz.KnownReason(code) {
			t.Errorf("%s (%q) is not known", spec.Names[0].Name, code)
		}
		return true
	})
	if len(named) < 30 {
		t.Errorf("only %d reasons were found", len(named))
	}
	for _, code := range []string{"", "made_up", "Allowed"} {
		if authz.KnownReason(code) {
			t.Errorf("%q is known", code)
		}
	}
}
