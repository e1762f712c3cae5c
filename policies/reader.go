package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// readsOf finds out what the rules at some paths can read, and the rules that these use.
func readsOf(c *ast.Compiler, paths ...string) reads {
	a := &analysis{compiler: c, params: map[*ast.Rule][]*reads{}, replaced: replacesFunctions(c)}
	for _, path := range paths {
		for _, r := range c.GetRulesWithPrefix(ast.MustParseRef(path)) {
			a.visit(r)
		}
	}
	return *a.root.settle()
}

// analysis is what is known of the rules that a query uses.
type analysis struct {
	compiler *ast.Compiler
	root     reads                  // of the input
	params   map[*ast.Rule][]*reads // of what a function gets
	replaced bool                   // a call may be one of another function
}

// visit reads a rule after those that it uses, so that it knows what each function reads of its arguments. No rule
// uses itself.
func (a *analysis) visit(r *ast.Rule) {
	if _, seen := a.params[r]; seen {
		return
	}
	a.params[r] = make([]*reads, len(r.Head.Args))
	for i := range r.Head.Args {
		a.params[r][i] = &reads{}
	}
	for part := r; part != nil; part = part.Else {
		for used := range a.compiler.Graph.Dependencies(part) {
			a.visit(used.(*ast.Rule)) //nolint:errcheck,forcetypeassert // the graph has only rules
		}
	}
	newReader(a, r).walk(r)
}

// replacesFunctions reports whether a `with` may replace a function.
func replacesFunctions(c *ast.Compiler) (found bool) {
	for _, m := range c.Modules {
		ast.WalkWiths(m, func(w *ast.With) bool {
			target, ok := w.Target.Value.(ast.Ref)
			found = found || !ok || !target[0].Equal(ast.InputRootDocument)
			return false
		})
	}
	return found
}

// reader follows the references to the input in one rule.
//
// A variable that is bound to a reference to the input, or to the elements of one, stands for that part of the input.
// So `every op in input.raw { op.op == "add" }` reads op of each element. So does the parameter of a function for the
// argument of each call. A comparison with a fixed text reads only whether the part is that text, and some builtins
// read only the type. Any other use of such a variable reads the whole part: as an argument, in another comparison, as
// a value, where it is bound again. A reference of another form does so, too. So reads may be more than the rule reads,
// and never less.
type reader struct {
	*analysis
	bound map[ast.Var]*reads
	by    map[*ast.Expr]bool // the expressions that bind them
}

// binding is an expression that may bind a variable to a part of the input: `v = ref`, or an every.
type binding struct {
	expr *ast.Expr
	ref  ast.Ref // of an every: of the elements
}

func newReader(a *analysis, r *ast.Rule) *reader {
	rd := &reader{analysis: a, bound: map[ast.Var]*reads{}, by: map[*ast.Expr]bool{}}
	for part := r; part != nil; part = part.Else {
		for i, arg := range part.Head.Args {
			if v, ok := arg.Value.(ast.Var); ok {
				rd.bound[v] = a.params[r][i]
			} else {
				a.params[r][i].compare(arg.Value)
			}
		}
	}
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
		return &rd.root
	}
	v, _ := ref[0].Value.(ast.Var)
	return rd.bound[v]
}

// walk notes what is read below a node of the rule.
func (rd *reader) walk(node any) {
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Head:
			rd.walkHead(visitor, x)
			return true
		case *ast.Expr:
			if rd.by[x] {
				rd.walkBinding(visitor, x)
				return true
			}
			return rd.walkCall(visitor, x)
		case ast.Ref:
			if part := rd.part(visitor, x); part != nil {
				part.whole = true
				return true
			}
		case ast.Var:
			if part := rd.part(visitor, x); part != nil {
				part.whole = true
			}
		}
		return false
	})
	visitor.Walk(node)
}

// part returns the part of the input that a reference or a variable stands for, nil for another value. It walks what is
// in the brackets of the reference.
func (rd *reader) part(visitor *ast.GenericVisitor, v ast.Value) *reads {
	var ref ast.Ref
	switch v := v.(type) {
	case ast.Ref:
		ref = v
	case ast.Var:
		ref = ast.Ref{ast.NewTerm(v)}
	}
	start := rd.start(ref)
	if start == nil {
		return nil
	}
	for _, t := range ref[1:] {
		visitor.Walk(t)
	}
	return start.follow(ref[1:])
}

// walkHead leaves out the parameters of a function: to have a name reads nothing.
func (rd *reader) walkHead(visitor *ast.GenericVisitor, h *ast.Head) {
	for _, t := range h.Reference {
		visitor.Walk(t)
	}
	for _, t := range [...]*ast.Term{h.Key, h.Value} {
		if t != nil {
			visitor.Walk(t)
		}
	}
}

// walkCall notes what a call reads of its arguments. It reports false if any function may be called.
func (rd *reader) walkCall(visitor *ast.GenericVisitor, x *ast.Expr) bool {
	if !x.IsCall() || len(x.With) > 0 || rd.replaced {
		return false
	}
	for i, arg := range x.Operands() {
		if use := rd.use(x, i); use != nil {
			if part := rd.part(visitor, arg.Value); part != nil {
				use(part)
				continue
			}
		}
		visitor.Walk(arg)
	}
	return true
}

// use returns what a call reads of the part that is its argument i, nil for the whole.
func (rd *reader) use(x *ast.Expr, i int) func(*reads) {
	switch name := x.Operator().String(); {
	case slices.Contains(typeChecks(), name) && i == 0:
		return func(*reads) {}
	case name == ast.Count.Name && i == 0:
		return func(r *reads) {
			r.exact = true // of a text, it counts the characters
			r.every()
		}
	case (x.IsEquality() || name == ast.Equal.Name || name == ast.NotEqual.Name) && i < 2:
		return func(r *reads) { r.compare(x.Operand(1 - i).Value) }
	case name == ast.Member.Name && i == 0:
		return func(r *reads) { r.compareAny(x.Operand(1).Value) }
	}
	if b := ast.BuiltinMap[x.Operator().String()]; b != nil {
		return useOfScalar(b, i)
	}
	rules := rd.compiler.GetRulesExact(x.Operator())
	if !slices.ContainsFunc(rules, func(r *ast.Rule) bool { return i < len(rd.params[r]) }) {
		return nil
	}
	return func(part *reads) {
		for _, r := range rules {
			part.add(rd.params[r][i])
		}
	}
}

// useOfScalar returns what a builtin reads of an argument that must be a text or a number: of any other value it says
// only that the type is wrong. It returns nil for other arguments.
func useOfScalar(b *ast.Builtin, i int) func(*reads) {
	args := b.Decl.FuncArgs()
	if i >= len(args.Args) || types.Compare(args.Arg(i), types.S) != 0 && types.Compare(args.Arg(i), types.N) != 0 {
		return nil
	}
	return func(r *reads) { r.exact = true }
}

// typeChecks are the builtins that read only the type of their argument.
func typeChecks() []string {
	return []string{
		ast.IsArray.Name, ast.IsBoolean.Name, ast.IsNumber.Name, ast.IsObject.Name, ast.IsSet.Name, ast.IsString.Name,
		ast.IsNull.Name, ast.TypeNameBuiltin.Name,
	}
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
