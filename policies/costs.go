package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Bounds of one call of a builtin. The engine ends an evaluation between two calls and not within one. So a call must
// not take long or fill the memory, which would end the process of all tenants.
const (
	maxMade   = 16 << 20 // bytes of what it makes
	maxSteps  = 16 << 20 // of one search: the size of the text times that of what it is searched for
	maxDigits = 1000     // of a number that is computed with
)

// cost is what a call takes.
type cost struct {
	made   int // bytes
	steps  int
	digits int
	wrong  string // why the operands are refused whatever they cost
}

// costs returns what bounds the calls of each builtin. Operands of another type than a builtin takes cost nothing,
// because it refuses them itself.
func costs() map[string]func(operands []*ast.Term) cost {
	all := map[string]func([]*ast.Term) cost{
		"concat": concatCost, "sprintf": sprintfCost, "replace": replaceCost, "split": splitCost,
		"array.concat":  func(o []*ast.Term) cost { return cost{made: placeSize * (sizeOf(o[0]) + sizeOf(o[1]))} },
		"base64.encode": func(o []*ast.Term) cost { return cost{made: 2 * sizeOf(o[0])} },
		"hex.encode":    func(o []*ast.Term) cost { return cost{made: 2 * sizeOf(o[0])} },
		"regex.match":   func(o []*ast.Term) cost { return cost{steps: patternSize(textOf(o[0])) * sizeOf(o[1])} },
		"glob.match":    func(o []*ast.Term) cost { return cost{steps: globSteps(textOf(o[0]), sizeOf(o[2]))} },
		"product":       func(o []*ast.Term) cost { return cost{digits: digitsIn(o[0])} },
	}
	all["object.subset"] = subsetCost
	all["to_number"] = toNumberCost
	for _, name := range []string{"json.filter", "json.remove"} {
		all[name] = func(o []*ast.Term) cost { return cost{made: levelSize * namesIn(o[1])} }
	}
	for _, name := range []string{"indexof", "trim", "trim_left", "trim_right"} {
		all[name] = func(o []*ast.Term) cost { return cost{steps: sizeOf(o[0]) * sizeOf(o[1])} }
	}
	for _, name := range []string{"mul", "div", "rem"} {
		all[name] = func(o []*ast.Term) cost { return cost{digits: digitsIn(o[0]) + digitsIn(o[1])} }
	}
	return all
}

// The engine has one implementation of each builtin, and reads it while it evaluates. So it is replaced before.
var _ = boundCosts()

// boundCosts makes each builtin of costs refuse a call that costs too much.
func boundCosts() int {
	all := costs()
	for name, costOf := range all {
		call := topdown.GetBuiltin(name)
		topdown.RegisterBuiltinFunc(name, func(
			b topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error,
		) error {
			if err := costOf(operands).check(name); err != nil {
				return err
			}
			return call(b, operands, iter)
		})
	}
	return len(all)
}

func (c cost) check(name string) error {
	switch {
	case c.wrong != "":
		return costly("%s: %s", name, c.wrong)
	case c.made > maxMade:
		return costly("%s: the text or list that it makes has more than %d bytes", name, maxMade)
	case c.steps > maxSteps:
		return costly("%s: the text and what it is searched for are too long: the product of their sizes is more than %d",
			name, maxSteps)
	case c.digits > maxDigits:
		return costly("%s: the numbers have more than %d digits", name, maxDigits)
	}
	return nil
}

// costError refuses a call. It has no value of a request.
type costError struct{ error }

func costly(format string, args ...any) error { return costError{fmt.Errorf(format, args...)} }

// toNumberCost refuses what JSON does not write. The engine takes "0x1p-1000000" for a number too, and needs a minute
// to compute with it.
func toNumberCost(o []*ast.Term) cost {
	text := textOf(o[0])
	if strings.ContainsAny(text, "xXpP_") {
		return cost{wrong: "the text is no number as JSON writes it"}
	}
	return cost{digits: len(text)}
}

// globSteps returns how often a search may look at a character of the pattern: each star may end at each character of
// the text, and each list in braces is tried for each of its words.
func globSteps(pattern string, text int) int {
	steps, words := len(pattern)+1, 1
	times := func(n int) { steps = min(steps*n, maxSteps+1) }
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c == '*' && (i == 0 || pattern[i-1] != '*'):
			times(text + 1)
		case c == '{':
			words = 1
		case c == ',':
			words++
		case c == '}':
			times(words)
		}
	}
	return max(steps, min((len(pattern)+1)*text, maxSteps+1))
}

// What an element of an array takes, in bytes: a place there, and about its text.
const (
	placeSize = 16
	textSize  = 64
	levelSize = 512 // of an object with one member, on the stack too
)

func concatCost(o []*ast.Term) cost {
	c := cost{}
	each := func(t *ast.Term) { c.made += sizeOf(t) + sizeOf(o[0]) }
	switch all := o[1].Value.(type) {
	case *ast.Array:
		all.Foreach(each)
	case ast.Set:
		all.Foreach(each)
	}
	return c
}

// What fmt may make of a verb and its operand.
const (
	maxPerByte = 6   // "%# x" makes five of one
	maxPerVerb = 400 // "%f" of the largest number
	maxWidth   = 1e6 // of fmt
)

func sprintfCost(o []*ast.Term) cost {
	format := textOf(o[0])
	c := cost{made: len(format)}
	longest := 0
	if args, ok := o[1].Value.(*ast.Array); ok {
		args.Foreach(func(t *ast.Term) {
			n := sizeOf(t)
			if !ast.IsScalar(t.Value) {
				n = textSizeOf(t)
			}
			longest = max(longest, n)
			c.made += n
		})
	}
	width := 0
	for _, r := range format {
		switch {
		case r == '%':
			c.made += maxPerByte*longest + maxPerVerb
		case r == '*':
			c.made += maxWidth
		case r >= '0' && r <= '9':
			width = min(10*width+int(r-'0'), maxWidth)
			continue
		}
		c.made += width
		width = 0
	}
	return c
}

func replaceCost(o []*ast.Term) cost {
	text, old := textOf(o[0]), textOf(o[1])
	c := cost{steps: len(text) * len(old)}
	if c.steps <= maxSteps {
		c.made = len(text) + strings.Count(text, old)*sizeOf(o[2])
	}
	return c
}

func splitCost(o []*ast.Term) cost {
	text := textOf(o[0])
	return cost{made: len(text) + textSize*strings.Count(text, textOf(o[1]))}
}

func textOf(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

// sizeOf is the length of a text or a number, or how many elements an array has.
func sizeOf(t *ast.Term) int {
	switch v := t.Value.(type) {
	case ast.String:
		return len(v)
	case ast.Number:
		return len(v)
	case *ast.Array:
		return v.Len()
	}
	return 0
}

// weigh is about how many bytes a value has as text. It stops beyond limit: an array whose elements are all the same
// array, and so on, has few bytes in memory and may have more as text than any machine has.
func weigh(t *ast.Term, limit int) int {
	n := 1
	add := func(t *ast.Term) bool {
		n += weigh(t, limit-n)
		return n > limit
	}
	switch v := t.Value.(type) {
	case *ast.Array:
		v.Until(add)
	case ast.Set:
		v.Until(add)
	case ast.Object:
		v.Until(func(key, value *ast.Term) bool { return add(key) || add(value) })
	default:
		n += sizeOf(t)
	}
	return n
}

// textSizeOf is how long a value is as text, or more than a call may make.
func textSizeOf(t *ast.Term) int {
	if weigh(t, maxMade/maxPerByte) > maxMade/maxPerByte {
		return maxMade + 1
	}
	return len(t.Value.String())
}

// subsetCost is that of object.subset, which compares each element of an array with each of another one.
func subsetCost(o []*ast.Term) cost {
	steps := 1
	for _, t := range []*ast.Term{o[1], o[0]} {
		if weigh(t, maxSteps) > maxSteps {
			return cost{steps: maxSteps + 1}
		}
		if steps *= sizeOfArrays(t); steps == 0 {
			break
		}
	}
	return cost{steps: steps}
}

// sizeOfArrays is how much of a value is in arrays.
func sizeOfArrays(t *ast.Term) int {
	n := 0
	switch v := t.Value.(type) {
	case *ast.Array:
		n = weigh(t, maxSteps)
	case ast.Set:
		v.Foreach(func(t *ast.Term) { n += sizeOfArrays(t) })
	case ast.Object:
		v.Foreach(func(_, value *ast.Term) { n += sizeOfArrays(value) })
	}
	return n
}

// namesIn is how many names the paths of json.filter have. Each is a level of an object.
func namesIn(t *ast.Term) int {
	n := 0
	each := func(t *ast.Term) {
		n += 1 + strings.Count(textOf(t), "/")
		if path, ok := t.Value.(*ast.Array); ok {
			n += path.Len()
		}
	}
	switch v := t.Value.(type) {
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	}
	return n
}

// checkNumbers refuses numbers of more than maxDigits digits in rules and data: a comparison with one takes seconds,
// and nothing ends it. Rules cannot make a number that is much longer.
func checkNumbers(modules map[string]*ast.Module, data any) error {
	var errs ast.Errors
	for _, name := range sortedKeys(modules) {
		ast.WalkTerms(modules[name], func(t *ast.Term) bool {
			if n, ok := t.Value.(ast.Number); ok && len(n) > maxDigits {
				errs = append(errs, ast.NewError(ast.CompileErr, t.Location, "write a number of at most %d digits", maxDigits))
			}
			return false
		})
	}
	if len(errs) > 0 {
		return errs
	}
	return checkNumbersOf(data)
}

func checkNumbersOf(data any) error {
	var errs []error
	switch v := data.(type) {
	case json.Number:
		if len(v) > maxDigits {
			return fmt.Errorf("the data files have a number of more than %d digits", maxDigits)
		}
	case []any:
		for _, of := range v {
			errs = append(errs, checkNumbersOf(of))
		}
	case map[string]any:
		for name, of := range v {
			if err := checkNumbersOf(of); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// digitsIn is how long the numbers of a term are when they are written out, all together.
func digitsIn(t *ast.Term) int {
	n := 0
	each := func(t *ast.Term) {
		if v, ok := t.Value.(ast.Number); ok {
			n += digitsOf(string(v))
		}
	}
	switch v := t.Value.(type) {
	case ast.Number:
		each(t)
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	}
	return n
}

// digitsOf is how many digits a number has when it is written out: 1e30 has about 30, although its text is short.
func digitsOf(number string) int {
	at := strings.IndexAny(number, "eE")
	if at < 0 {
		return len(number)
	}
	exponent, err := strconv.Atoi(number[at+1:])
	if err != nil {
		return maxDigits + 1 // OPA has no such number
	}
	return at + max(exponent, -exponent)
}

// patternSize is about how many states a regular expression has: a repetition repeats them.
func patternSize(pattern string) int {
	if !strings.Contains(pattern, "{") {
		return len(pattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // regex.match says why
	}
	return statesOf(re)
}

func statesOf(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += statesOf(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}
