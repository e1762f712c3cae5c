package policies

import (
	"fmt"
	"math/bits"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Bounds of one call of a builtin. The engine ends an evaluation between two calls and not within one. So a call must
// not take long or fill the memory, which would end the process of all tenants.
const (
	maxMade   = 16 << 20 // bytes of what it makes
	maxSteps  = 16 << 20 // of what it compares or searches, such as the size of a text times that of the pattern
	maxDigits = 1000     // of a number that is computed with
)

// What an element takes in what a call makes, in bytes.
const (
	placeSize  = 32  // of an array
	memberSize = 64  // of a set, or of an object with its key
	levelSize  = 128 // of an object that is made for another one
	textSize   = 64  // of an array of new texts
)

// cost is what a call takes.
type cost struct {
	made   int // bytes
	steps  int
	digits int
	wrong  string // why the operands are refused whatever they cost
}

// costOf judges the operands of a call.
type costOf = func(operands []*ast.Term) cost

// costs returns what bounds the calls of each builtin that reads, copies or keeps as much as its operands have.
// Operands of another type than a builtin takes cost nothing, because it refuses them itself.
func costs() map[string]costOf {
	all := map[string]costOf{
		"concat": concatCost, "sprintf": sprintfCost, "replace": replaceCost, "split": splitCost,
		"contains":       func(o []*ast.Term) cost { return cost{steps: searchSteps(textOf(o[0]), textOf(o[1]))} },
		"glob.match":     globCost,
		"regex.match":    func([]*ast.Term) cost { return cost{} }, // matchPattern judges them, it knows the pattern
		"to_number":      toNumberCost,
		"internal.print": func(o []*ast.Term) cost { return cost{made: weigh(o[0], whole, maxMade)} },

		"sum":     func(o []*ast.Term) cost { return cost{steps: partsIn(o[0], flat), digits: longestIn(o[0])} },
		"product": func(o []*ast.Term) cost { return cost{digits: digitsIn(o[0])} },

		"object.get":    func(o []*ast.Term) cost { return cost{steps: partsIn(o[1], whole)} },
		"object.subset": func(o []*ast.Term) cost { return cost{steps: subsetSteps(o[0], o[1])} },
		"object.union":  mergeCost,
		"sort":          sortCost,
	}
	for _, x := range []struct {
		of    costOf
		names []string
	}{
		{textCost, []string{
			"count", "lower", "upper", "substring", "startswith", "endswith", "trim_space", "trim_prefix", "trim_suffix",
			"strings.reverse", "base64.encode", "hex.encode", "time.parse_rfc3339_ns",
		}},
		{cutCost, []string{"indexof", "trim", "trim_left", "trim_right"}},
		{digitsCost, []string{"mul", "div", "rem", "abs", "ceil", "floor", "round", "format_int"}},
		{timeCost, []string{"time.add_date", "time.clock", "time.date", "time.diff", "time.format", "time.weekday"}},
		{compareCost, []string{"equal", "neq", "gt", "gte", "lt", "lte"}},
		{memberCost, []string{"internal.member_2", "internal.member_3"}},
		{addCost, []string{"plus", "minus"}},
		{setCost, []string{"and", "or", "union", "intersection"}},
		{leastCost, []string{"max", "min"}},
		{listCost, []string{"array.concat", "array.reverse", "array.slice"}},
		{membersCost, []string{"object.keys", "object.remove", "object.filter"}},
		{affixCost, []string{"strings.any_prefix_match", "strings.any_suffix_match"}},
	} {
		for _, name := range x.names {
			all[name] = x.of
		}
	}
	return all
}

// constant lists the builtins that take no longer for a large operand. The engine has no call for eq and assign: it
// compares itself, and [lane] ends the rules of a tenant if that does not end.
func constant() []string {
	return []string{
		"assign", "eq", "type_name",
		"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string",
	}
}

// The engine has one implementation of each builtin, and reads it while it evaluates. So it is replaced before.
var _ = boundCosts()

// boundCosts makes each builtin of costs refuse a call that costs too much.
func boundCosts() int {
	topdown.RegisterBuiltinFunc("regex.match", matchPattern)
	all := costs()
	for name, of := range all {
		call, written := topdown.GetBuiltin(name), asWritten(name)
		topdown.RegisterBuiltinFunc(name, func(
			b topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error,
		) error {
			if err := of(operands).check(written); err != nil {
				return err
			}
			return call(b, operands, iter)
		})
	}
	return len(all)
}

// asWritten is a builtin as rules write it.
func asWritten(name string) string {
	switch b := ast.BuiltinMap[name]; {
	case name == "internal.member_2" || name == "internal.member_3":
		return "in"
	case name == "internal.print":
		return "print"
	case b != nil && b.Infix != "":
		return b.Infix
	}
	return name
}

func (c cost) check(name string) error {
	switch {
	case c.wrong != "":
		return costly("%s: %s", name, c.wrong)
	case c.made > maxMade:
		return costly("%s: the text or list that it makes has more than %d bytes", name, maxMade)
	case c.steps > maxSteps:
		return costly("%s: the values are too large: it would read or compare more than %d parts", name, maxSteps)
	case c.digits > maxDigits:
		return costly("%s: the numbers have more than %d digits", name, maxDigits)
	}
	return nil
}

// costError refuses a call. It has no value of a request.
type costError struct{ error }

func costly(format string, args ...any) error { return costError{fmt.Errorf(format, args...)} }

// isCollection reports whether a value has parts.
func isCollection(t *ast.Term) bool { return !ast.IsScalar(t.Value) }

// compareCost is that of a comparison, which ends at the end of the smaller value.
func compareCost(o []*ast.Term) cost {
	if !isCollection(o[0]) || !isCollection(o[1]) {
		return cost{}
	}
	n := partsIn(o[0], whole)
	if n > maxSteps {
		n = partsIn(o[1], whole)
	}
	return cost{steps: n}
}

// memberCost is that of `x in of` and `key, x in of`, which compare with each element.
func memberCost(o []*ast.Term) cost {
	of, each := o[len(o)-1], 0
	for _, x := range o[:len(o)-1] {
		each += partsIn(x, whole)
	}
	n := sizeOf(of) * each
	if n > maxSteps {
		n = partsIn(of, whole)
	}
	return cost{steps: n}
}

// leastCost is that of max and min.
func leastCost(o []*ast.Term) cost { return cost{steps: 2 * partsIn(o[0], whole)} }

// setCost is that of what makes one set of others. Elements with one hash are compared.
func setCost(o []*ast.Term) cost {
	c := cost{}
	for _, t := range o {
		c.steps += partsIn(t, whole)
		c.made += memberSize * sizeOf(t)
		if all, ok := t.Value.(ast.Set); ok {
			all.Foreach(func(t *ast.Term) {
				if isCollection(t) {
					c.made += memberSize * sizeOf(t)
				}
			})
		}
	}
	return c
}

func addCost(o []*ast.Term) cost {
	if isCollection(o[0]) && isCollection(o[1]) {
		return setCost(o)
	}
	return digitsCost(o)
}

// listCost is that of what makes an array of the elements of others. The engine hashes the texts.
func listCost(o []*ast.Term) cost {
	c := cost{}
	for _, t := range o {
		c.steps += partsIn(t, flat)
		c.made += placeSize * sizeOf(t)
	}
	return c
}

// membersCost is that of what makes an object or a set of some members of an object.
func membersCost(o []*ast.Term) cost {
	c := cost{steps: partsIn(o[0], flat), made: memberSize * sizeOf(o[0])}
	if len(o) > 1 {
		c.steps += partsIn(o[1], whole)
		c.made += memberSize * sizeOf(o[1])
	}
	return c
}

// mergeCost is that of object.union, which makes new objects, and compares the two before.
func mergeCost(o []*ast.Term) cost {
	c := compareCost(o)
	for _, t := range o {
		const limit = maxMade * partSize / levelSize
		c.made += weigh(t, objects, limit) * levelSize / partSize / 2 // a member has a key and a value
	}
	return c
}

func sortCost(o []*ast.Term) cost {
	n := sizeOf(o[0])
	return cost{steps: partsIn(o[0], whole) * bits.Len(uint(n)), made: placeSize * n}
}

// subsetSteps is how many steps object.subset takes. It compares each member before it looks into it, and begins to
// compare with an array at each element of the other one.
func subsetSteps(super, sub *ast.Term) int {
	n := partsIn(sub, whole)
	switch of := sub.Value.(type) {
	case *ast.Array:
		if in, ok := super.Value.(*ast.Array); ok && in.Len() >= of.Len() {
			return n * max(in.Len(), 1)
		}
	case ast.Set:
		if in, ok := super.Value.(*ast.Array); ok {
			n += in.Len() + partsIn(super, flat)
		}
	case ast.Object:
		in, ok := super.Value.(ast.Object)
		if !ok {
			return n
		}
		of.Until(func(key, value *ast.Term) bool {
			if other := in.Get(key); other != nil {
				n += subsetSteps(other, value)
			}
			return n > maxSteps
		})
	}
	return n
}

// digitsCost is that of what computes with numbers.
func digitsCost(o []*ast.Term) cost {
	c := cost{}
	for _, t := range o {
		if v, ok := t.Value.(ast.Number); ok {
			c.digits += digitsOf(string(v))
		}
	}
	return c
}

// timeCost is that of what takes a time, as a number or as an array that begins with one and may have a format.
func timeCost(o []*ast.Term) cost {
	c := cost{}
	for _, t := range o {
		c.made += 4 * weigh(t, flat, maxMade)
		c.digits = max(c.digits, longestIn(t))
	}
	return c
}
