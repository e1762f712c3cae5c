package policies

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Mistakes finds in the parsed rules of a new bundle what compiles and cannot be meant: a requirement with a wrong
// member, a proof of what nothing requires, rules that no verdict reads, and a zone that is not UTC; and what makes the
// engine unify two values. Each has its place in a file. A bundle that was in force before is not asked again: another
// verdict on it would leave its tenant without rules.
func Mistakes(modules map[string]*ast.Module) ast.Errors {
	m := mistakes{required: map[string]bool{}, modules: modules}
	for _, name := range sortedKeys(modules) {
		m.zones(modules[name])
		for _, r := range modules[name].Rules {
			m.rule(r)
			m.unifies(r)
		}
	}
	m.unrequired()
	m.found.Sort()
	return m.found
}

type mistakes struct {
	modules  map[string]*ast.Module
	required map[string]bool // literal ids
	computed bool            // there are other ids
	proofs   []*ast.Rule     // with a literal id, of package policy
	found    ast.Errors
}

func (m *mistakes) add(at *ast.Location, format string, args ...any) {
	m.found = append(m.found, ast.NewError(ast.CompileErr, at, format, args...))
}

// rootPackage is the package whose rules decide.
const rootPackage = "data.policy"

func (m *mistakes) rule(r *ast.Rule) {
	in, name := r.Module.Package.Path, headName(r)
	decides := []string{requirementsVar, satisfiedVar, holdVar}
	if in.String() != rootPackage {
		if slices.Contains(decides, name) && !m.refersTo(in) {
			m.add(r.Location, "%s counts only in package policy, and no rule there refers to %s: move it, or write "+
				"`package policy`", name, in)
		}
		return
	}
	switch {
	case name == requirementsVar || name == holdVar:
		m.details(name, r)
	case name == satisfiedVar:
		never := r.Body.Equal(ast.MustParseBody("false")) // how one writes that nothing is proved
		if _, ok := literalKey(r); ok && r.Head.DocKind() == ast.PartialSetDoc && !never {
			m.proofs = append(m.proofs, r)
		}
	case isPartial(r) && Nearest(name, decides) != "" && !m.uses(name):
		m.add(r.Location, "nothing reads the rule %s: did you mean %q?", name, Nearest(name, decides))
	}
}

// isPartial reports whether a rule adds to a set or an object, as those that decide do.
func isPartial(r *ast.Rule) bool {
	return len(r.Head.Ref()) > 1 || r.Head.DocKind() == ast.PartialSetDoc
}

func headName(r *ast.Rule) string {
	v, _ := r.Head.Ref()[0].Value.(ast.Var)
	return string(v)
}

// literalKey returns the id of `satisfied contains "id"`.
func literalKey(r *ast.Rule) (string, bool) {
	if r.Head.Key == nil {
		return "", false
	}
	s, ok := r.Head.Key.Value.(ast.String)
	return string(s), ok
}

// details judges the literals of a requirement or a hold.
func (m *mistakes) details(name string, r *ast.Rule) {
	ref := r.Head.Ref()
	if len(ref) != 2 || r.Head.Value == nil {
		return // NewRules refuses the form
	}
	if id, ok := ref[1].Value.(ast.String); ok && name == requirementsVar {
		m.required[string(id)] = true
	} else if name == requirementsVar {
		m.computed = true
	}
	for ; r != nil; r = r.Else {
		for _, f := range faultsOf(name, ref[1], r.Head.Value) {
			at := r.Location
			if f.at != nil && f.at.Location != nil {
				at = f.at.Location
			}
			m.add(at, "%s[%s]: %s", name, ref[1], f.text)
		}
	}
}

// unrequired finds proofs of ids that no rule requires, unless rules compute ids.
func (m *mistakes) unrequired() {
	if m.computed {
		return
	}
	for _, r := range m.proofs {
		if id, _ := literalKey(r); !m.required[id] {
			m.add(r.Location, "%q is proved, and no requirement has this id%s", id, meant(id, sortedKeys(m.required)))
		}
	}
}

// refersTo reports whether a rule of package policy refers to another package. A reference with a variable in it may.
func (m *mistakes) refersTo(pkg ast.Ref) bool {
	return m.mentions(func(x any) bool {
		r, ok := x.(ast.Ref)
		if !ok || len(r) == 0 {
			return false
		}
		prefix := r.ConstantPrefix()
		return r.HasPrefix(pkg) || len(prefix) > 1 && pkg.HasPrefix(prefix)
	})
}

// uses reports whether a rule of package policy refers to another rule of it.
func (m *mistakes) uses(name string) bool {
	long := ast.MustParseRef(rootPackage).Append(ast.StringTerm(name))
	return m.mentions(func(x any) bool {
		r, _ := x.(ast.Ref)
		return x == ast.Var(name) || r.HasPrefix(long)
	})
}

// mentions reports whether fits holds for a node in an import, a body, a key or a value of package policy.
func (m *mistakes) mentions(fits func(any) bool) (found bool) {
	visitor := ast.NewGenericVisitor(func(x any) bool {
		switch x.(type) {
		case ast.Ref, ast.Var:
			found = found || fits(x)
		}
		return found
	})
	for _, mod := range m.modules {
		if mod.Package.Path.String() != rootPackage {
			continue
		}
		for _, i := range mod.Imports {
			visitor.Walk(i)
		}
		for _, r := range mod.Rules {
			walkRule(visitor, r)
		}
	}
	return found
}

// walkRule visits what a rule and its branches refer to, but not the name of the rule.
func walkRule(visitor *ast.GenericVisitor, r *ast.Rule) {
	for ; r != nil; r = r.Else {
		visitor.Walk(r.Body)
		for _, t := range []*ast.Term{r.Head.Key, r.Head.Value} {
			if t != nil {
				visitor.Walk(t)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
