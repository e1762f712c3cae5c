package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// partSize is about what each part of a value takes besides its text, in bytes.
const partSize = 8

// into is how deep a call looks into a value.
type into int

const (
	flat    into = iota // at its elements
	objects             // also at those of objects in objects
	whole               // at everything
)

// weigh is about how many bytes of a value a call reads or copies. A part that is there several times counts several
// times: an array whose elements are all the same array, and so on, has few bytes in memory and may have more parts
// than any machine could read. So weigh stops beyond limit.
func weigh(t *ast.Term, in into, limit int) int {
	n := partSize
	add := func(t *ast.Term) bool {
		_, object := t.Value.(ast.Object)
		if in == whole || in == objects && object {
			n += weigh(t, in, limit-n)
		} else {
			n += partSize + sizeOf(t)
		}
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

// partsIn is weigh in parts: about how many steps a comparison with the value takes. A value of more than maxMade bytes
// has more than a call may read: to count on would itself take long.
func partsIn(t *ast.Term, in into) int {
	n := weigh(t, in, maxMade)
	if n > maxMade {
		return maxSteps + 1
	}
	return n / partSize
}

// sizeOf is the length of a text or a number, or how many elements a collection has.
func sizeOf(t *ast.Term) int {
	switch v := t.Value.(type) {
	case ast.String:
		return len(v)
	case ast.Number:
		return len(v)
	case *ast.Array:
		return v.Len()
	case ast.Set:
		return v.Len()
	case ast.Object:
		return v.Len()
	}
	return 0
}

// textOf is a text, "" for another value.
func textOf(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

// textSizeOf is how long a value is as text, or more than a call may make.
func textSizeOf(t *ast.Term) int {
	if weigh(t, whole, maxMade/maxPerByte) > maxMade/maxPerByte {
		return maxMade + 1
	}
	return len(t.Value.String())
}

// brief is a value after a word, "" if it is long: that may have names of people, or fill the memory.
func brief(word string, t *ast.Term) string {
	const most = 32
	if weigh(t, whole, most*partSize) > most*partSize {
		return ""
	}
	if s := t.String(); len(s) <= most {
		return word + s
	}
	return ""
}

// digitsIn is how long the numbers of a term are when they are written out, all together.
func digitsIn(t *ast.Term) int {
	n := 0
	eachNumber(t, func(digits int) { n += digits })
	return n
}

// longestIn is how long the longest number of a term is.
func longestIn(t *ast.Term) int {
	n := 0
	eachNumber(t, func(digits int) { n = max(n, digits) })
	return n
}

// eachNumber calls f with the digits of a number, or with those of each number of an array or a set.
func eachNumber(t *ast.Term, f func(digits int)) {
	each := func(t *ast.Term) {
		if v, ok := t.Value.(ast.Number); ok {
			f(digitsOf(string(v)))
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
