package policies

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// reads is the part of the input document that rules can read: a tree of its members. Nil is nothing.
type reads struct {
	whole bool                // with all that is in it
	names map[string]*reads   // by name
	each  *reads              // every member of an object, and every element of an array
	known *[numMembers]*reads // what of says, so that a decision looks nothing up in a map; not of the whole
}

// of returns what is read of a member.
func (r *reads) of(m member) *reads {
	if r.whole {
		return r
	}
	return r.known[m]
}

// named returns what is read of a member with any name.
func (r *reads) named(name string) *reads {
	if r.whole {
		return r
	}
	if c := r.names[name]; c != nil {
		return c
	}
	return r.each
}

// element returns what is read of the elements of an array.
func (r *reads) element() *reads {
	if r.whole {
		return r
	}
	return r.each
}

// needsFinal reports whether the rules read what only the service that applies a change knows.
func (r *reads) needsFinal() bool {
	return r.of(mStored) != nil || r.of(mResult) != nil || r.of(mReceived) != nil ||
		r.groups() || r.counts() || r.of(mMemberCount) != nil
}

func (r *reads) groups() bool { return r.of(mGroups) != nil || r.of(mGroupsComplete) != nil }

func (r *reads) counts() bool { return r.of(mCounts) != nil }

// view is how rules see the input.
type view struct {
	reads   reads
	outline bool
}

// everything is the view of the whole document.
func everything() *view { return &view{reads: reads{whole: true}} }

// readsOf finds out what the rules at some paths can read, and the rules that these use.
func readsOf(c *ast.Compiler, paths ...string) reads {
	root := &reads{}
	seen := map[*ast.Rule]bool{}
	var visit func(r *ast.Rule)
	visit = func(r *ast.Rule) {
		if seen[r] {
			return
		}
		seen[r] = true
		newReader(root, r).walk(r)
		for ; r != nil; r = r.Else {
			for used := range c.Graph.Dependencies(r) {
				visit(used.(*ast.Rule)) //nolint:errcheck,forcetypeassert // the graph has only rules
			}
		}
	}
	for _, path := range paths {
		for _, r := range c.GetRulesWithPrefix(ast.MustParseRef(path)) {
			visit(r)
		}
	}
	return *root.settle()
}

// reader follows the references to the input in one rule.
//
// A variable that is bound to a reference to the input, or to the elements of one, stands for that part of the input.
// So `every op in input.raw { op.op == "add" }` reads op of each element. Any other use of such a variable reads the
// whole part: as an argument, in a comparison, as a value, where it is bound again. A reference of another form does
// so, too. So reads may be more than the rule reads, and never less.
type reader struct {
	root  *reads
	bound map[ast.Var]*reads
	by    map[*ast.Expr]bool // the expressions that bind them
}

// binding is an expression that may bind a variable to a part of the input: `v = ref`, or an every.
type binding struct {
	expr *ast.Expr
	ref  ast.Ref // of an every: of the elements
}

func newReader(root *reads, r *ast.Rule) *reader {
	rd := &reader{root: root, bound: map[ast.Var]*reads{}, by: map[*ast.Expr]bool{}}
	found := map[ast.Var]binding{}
	ast.WalkExprs(r, func(x *ast.Expr) bool {
		v, ref := bindingOf(x)
		if _, twice := found[v]; ref != nil && !twice {
			found[v] = binding{x, ref}
		}
		return false
	})
	for again := true; again; {
		again = false
		for v, b := range found {
			if start := rd.start(b.ref); start != nil && rd.bound[v] == nil {
				rd.bound[v], rd.by[b.expr] = start.follow(b.ref[1:]), true
				again = true
			}
		}
	}
	return rd
}

// bindingOf returns the variable that an expression may bind, and to what.
func bindingOf(x *ast.Expr) (ast.Var, ast.Ref) {
	if x.Negated || len(x.With) > 0 {
		return "", nil
	}
	if every, ok := x.Terms.(*ast.Every); ok {
		v, isVar := every.Value.Value.(ast.Var)
		each := ast.RefTerm(every.Domain, ast.VarTerm("_")).Value.(ast.Ref) //nolint:errcheck // a RefTerm is a Ref
		if domain, ok := every.Domain.Value.(ast.Ref); ok {
			each = domain.Append(ast.VarTerm("_"))
		}
		if !isVar {
			return "", nil
		}
		return v, each
	}
	if !x.IsEquality() || len(x.Operands()) != 2 {
		return "", nil
	}
	for i := range 2 {
		v, isVar := x.Operand(i).Value.(ast.Var)
		ref, isRef := x.Operand(1 - i).Value.(ast.Ref)
		if isVar && isRef {
			return v, ref
		}
	}
	return "", nil
}

// start returns the part of the input at which a reference starts, nil for another one.
func (rd *reader) start(ref ast.Ref) *reads {
	if len(ref) == 0 {
		return nil
	}
	if ref[0].Equal(ast.InputRootDocument) {
		return rd.root
	}
	v, _ := ref[0].Value.(ast.Var)
	return rd.bound[v]
}

// follow returns the part at the end of a reference. Only a text names a member.
func (r *reads) follow(ref ast.Ref) *reads {
	for _, t := range ref {
		if name, ok := t.Value.(ast.String); ok {
			if r.names[string(name)] == nil {
				if r.names == nil {
					r.names = map[string]*reads{}
				}
				r.names[string(name)] = &reads{}
			}
			r = r.names[string(name)]
			continue
		}
		if r.each == nil {
			r.each = &reads{}
		}
		r = r.each
	}
	return r
}

// walk notes what is read below a node of the rule.
func (rd *reader) walk(node any) {
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Head:
			for _, t := range x.Reference { // the visitor leaves it out
				visitor.Walk(t)
			}
		case *ast.Expr:
			if rd.by[x] {
				rd.walkBinding(visitor, x)
				return true
			}
		case ast.Ref:
			if start := rd.start(x); start != nil {
				start.follow(x[1:]).whole = true
				for _, t := range x[1:] {
					visitor.Walk(t)
				}
				return true
			}
		case ast.Var:
			if part := rd.start(ast.Ref{ast.NewTerm(x)}); part != nil {
				part.whole = true
			}
		}
		return false
	})
	visitor.Walk(node)
}

// walkBinding notes what an expression reads beside the part that it binds: what is in the brackets of the reference,
// and the body of an every.
func (rd *reader) walkBinding(visitor *ast.GenericVisitor, x *ast.Expr) {
	_, ref := bindingOf(x)
	for _, t := range ref[1:] {
		visitor.Walk(t)
	}
	if every, ok := x.Terms.(*ast.Every); ok {
		visitor.Walk(every.Body)
	}
}

// settle makes the tree that decisions use: what is read of every member is read of each.
func (r *reads) settle() *reads {
	if r == nil || r.whole {
		return r
	}
	out := &reads{each: r.each.settle(), names: map[string]*reads{}, known: &[numMembers]*reads{}}
	for name, c := range r.names {
		out.names[name] = c.merge(r.each).settle()
	}
	for m, name := range memberNames() {
		out.known[m] = out.named(name)
	}
	return out
}

// merge returns what either reads.
func (r *reads) merge(other *reads) *reads {
	switch {
	case r == nil && other == nil:
		return nil
	case r == nil:
		return other
	case r.whole || other != nil && other.whole:
		return &reads{whole: true}
	case other == nil:
		return r
	}
	out := &reads{each: r.each.merge(other.each), names: map[string]*reads{}}
	for name, c := range r.names {
		out.names[name] = c.merge(other.names[name])
	}
	for name, c := range other.names {
		out.names[name] = c.merge(r.names[name])
	}
	return out
}
