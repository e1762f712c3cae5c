package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// callComparisons returns the modules with each `a == b` as a call of the builtin, which has a bound, unless a or b is
// a text, a number, true, false or null there. The engine unifies other operands of == without a call, and takes stack
// for each part of them until it has a GiB, which ends the process. [Mistakes] refuses other ways to unify.
func callComparisons(modules map[string]*ast.Module) map[string]*ast.Module {
	out := make(map[string]*ast.Module, len(modules))
	for name, m := range modules {
		m = m.Copy()
		fixed := withFixed(m)
		ast.WalkExprs(m, func(x *ast.Expr) bool {
			terms, ok := x.Terms.([]*ast.Term)
			if ok && len(terms) == 3 && x.Operator().Equal(ast.Equal.Ref()) && comparesAny(terms[1:]) && !fixed[x] {
				callEqual(x, terms)
			}
			return false
		})
		out[name] = m
	}
	return out
}

// callEqual makes a comparison a call. With an operand for the answer, the compiler leaves it alone.
func callEqual(x *ast.Expr, terms []*ast.Term) {
	called := append(slices.Clone(terms), ast.BooleanTerm(true))
	if !x.Negated {
		x.Terms = called
		return
	}
	if callsAny(terms[1:]) {
		return // the compiler takes them out of the comparison; Mistakes refuses them
	}
	// `not a == b` holds if a or b is undefined. The compiler takes operands out of a call, and `not f(a)` does not
	// hold then. So there is no true for which the comparison holds.
	inner := x.Copy()
	inner.Terms, inner.Negated, inner.With = called, false, nil
	none, found := ast.ArrayTerm(), ast.ArrayComprehensionTerm(ast.BooleanTerm(true), ast.NewBody(inner))
	none.Location, found.Location = x.Location, x.Location
	x.Terms, x.Negated = []*ast.Term{ast.NewTerm(ast.Equality.Ref()), none, found}, false
}

// withFixed finds the comparisons with a name that the same body gives to a text, a number, true, false or null.
func withFixed(m *ast.Module) map[*ast.Expr]bool {
	out := map[*ast.Expr]bool{}
	ast.WalkBodies(m, func(body ast.Body) bool {
		named := map[ast.Var]bool{}
		for _, x := range body {
			if terms, ok := x.Terms.([]*ast.Term); ok && len(terms) == 3 && x.Operator().Equal(ast.Assign.Ref()) {
				v, isVar := terms[1].Value.(ast.Var)
				named[v] = isVar && ast.IsScalar(terms[2].Value)
			}
		}
		for _, x := range body {
			terms, _ := x.Terms.([]*ast.Term)
			out[x] = slices.ContainsFunc(terms, func(t *ast.Term) bool {
				v, ok := t.Value.(ast.Var)
				return ok && named[v]
			})
		}
		return false
	})
	return out
}

// comparesAny reports whether a comparison may be one of two collections.
func comparesAny(terms []*ast.Term) bool {
	return !slices.ContainsFunc(terms, isScalar)
}

// isScalar reports whether an operand is a text, a number, true, false or null, or a call of a builtin that makes one.
func isScalar(t *ast.Term) bool {
	call, ok := t.Value.(ast.Call)
	if !ok {
		return ast.IsScalar(t.Value)
	}
	b := ast.BuiltinMap[call[0].String()]
	return b != nil && slices.ContainsFunc([]types.Type{types.S, types.N, types.B}, func(of types.Type) bool {
		return types.Compare(b.Decl.Result(), of) == 0
	})
}

// callsAny reports whether one of the operands has a call that may make a collection.
func callsAny(terms []*ast.Term) (found bool) {
	for _, t := range terms {
		ast.WalkTerms(t, func(t *ast.Term) bool {
			_, call := t.Value.(ast.Call)
			found = found || call && !isScalar(t)
			return found
		})
	}
	return found
}

// unifies finds what makes the engine unify two values: `=`, a call with its answer as an operand, and a parameter that
// a function names twice.
func (m *mistakes) unifies(r *ast.Rule) {
	params := map[ast.Var]bool{}
	for _, arg := range r.Head.Args {
		ast.WalkVars(arg, func(v ast.Var) bool {
			if params[v] && !v.IsWildcard() {
				m.add(r.Location, "%s names the parameter %s twice: give them two names, and compare them by ==", headName(r), v)
			}
			params[v] = true
			return false
		})
	}
	ast.WalkExprs(r, func(x *ast.Expr) bool {
		terms, ok := x.Terms.([]*ast.Term)
		switch {
		case !ok || len(terms) < 2 || x.Operator().Equal(ast.Assign.Ref()):
		case x.Negated && x.Operator().Equal(ast.Equal.Ref()) && comparesAny(terms[1:]) && callsAny(terms[1:]):
			m.add(x.Location, "name the answer of the call before the comparison: x := …, then not x == …")
		case x.IsEquality():
			if comparesAny(terms[1:]) {
				m.add(x.Location, "write := to name a value, or == to compare two, in place of =")
			}
		case len(terms)-1 > m.arity(x.Operator()):
			m.add(x.Location, "%s has its answer as an operand: write x := %[1]s(…), or compare by ==", x.Operator())
		}
		return false
	})
}

// arity is how many operands a builtin or a function of the bundle has.
func (m *mistakes) arity(name ast.Ref) int {
	if b := ast.BuiltinMap[name.String()]; b != nil {
		if b.Relation {
			return b.Decl.Arity() + 1 // such as walk, which rules may not call
		}
		return b.Decl.Arity()
	}
	n := 0
	last, _ := name[len(name)-1].Value.(ast.String)
	if v, ok := name[0].Value.(ast.Var); ok && len(name) == 1 {
		last = ast.String(v)
	}
	for _, mod := range m.modules {
		for _, r := range mod.Rules {
			if headName(r) == string(last) {
				n = max(n, len(r.Head.Args))
			}
		}
	}
	return n
}
