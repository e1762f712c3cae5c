package scim

import (
	"cmp"
	"math/big"
	"strings"
)

// Match implements [Filter].
func (f *And) Match(t *ResourceType, o Object) bool {
	for _, term := range f.Terms {
		if !term.Match(t, o) {
			return false
		}
	}
	return true
}

// Match implements [Filter].
func (f *Or) Match(t *ResourceType, o Object) bool {
	for _, term := range f.Terms {
		if term.Match(t, o) {
			return true
		}
	}
	return false
}

// Match implements [Filter].
func (f *Not) Match(t *ResourceType, o Object) bool { return !f.Term.Match(t, o) }

// Match implements [Filter].
func (f *Present) Match(_ *ResourceType, o Object) bool {
	return f.Attr.any(o, func(v any) bool { return !emptyValue(v) })
}

// Match implements [Filter].
func (f *ValuePath) Match(t *ResourceType, o Object) bool {
	return f.Attr.any(o, func(v any) bool {
		e, ok := asObject(v)
		return ok && f.Filter.Match(t, e)
	})
}

// Match implements [Filter].
func (f *Compare) Match(_ *ResourceType, o Object) bool {
	if f.Value == nil {
		present := f.Attr.any(o, func(v any) bool { return !emptyValue(v) })
		return present == (f.Op == OpNe)
	}
	assigned := false
	found := f.Attr.any(o, func(v any) bool {
		assigned = true
		return f.compare(v)
	})
	return found || f.Op == OpNe && !assigned
}

// any calls fn with every value the reference leads to in o until fn holds.
func (r AttrRef) any(o Object, fn func(v any) bool) bool {
	if r.URN != "" {
		o, _ = asObject(o[r.URN])
	}
	switch v := o[r.Attr].(type) {
	case nil:
		return false
	case []any:
		for _, e := range v {
			if r.visit(e, fn) {
				return true
			}
		}
		return false
	default:
		return r.visit(v, fn)
	}
}

func (r AttrRef) visit(v any, fn func(v any) bool) bool {
	if r.Sub == "" {
		return fn(v)
	}
	o, _ := asObject(v)
	if sub := o[r.Sub]; sub != nil {
		return fn(sub)
	}
	return false
}

// emptyValue reports whether v has no content in the sense of pr (F73).
func emptyValue(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		for _, e := range v {
			if !emptyValue(e) {
				return false
			}
		}
		return true
	}
	if o, ok := asObject(v); ok {
		for _, e := range o {
			if !emptyValue(e) {
				return false
			}
		}
		return true
	}
	return false
}

func (f *Compare) compare(v any) bool {
	switch v := v.(type) {
	case bool:
		want, ok := f.Value.(bool)
		return ok && (v == want) == (f.Op == OpEq)
	case string:
		return f.compareString(v)
	case int64, float64:
		order, ok := compareNumbers(v, f.Value)
		return ok && f.holds(order)
	}
	return false
}

func (f *Compare) compareString(v string) bool {
	if _, ok := f.Value.(string); !ok {
		return f.Op == OpNe
	}
	leaf := f.Attr.leaf()
	if leaf.Type == typeDateTime && byTime(f.Op) {
		when, ok := parseTime(v)
		return ok && f.holds(when.Compare(f.when))
	}
	if (f.Op == OpEq || f.Op == OpNe) && isASCII(v) && isASCII(f.text) {
		equal := v == f.text || !leaf.CaseExact && equalName(v, f.text)
		return equal == (f.Op == OpEq)
	}
	text := foldValue(leaf, v)
	switch f.Op {
	case OpCo:
		return strings.Contains(text, f.text)
	case OpSw:
		return strings.HasPrefix(text, f.text)
	case OpEw:
		return strings.HasSuffix(text, f.text)
	default:
		return f.holds(cmp.Compare(text, f.text))
	}
}

// holds judges an order as cmp.Compare gives it.
func (f *Compare) holds(order int) bool {
	switch f.Op {
	case OpEq:
		return order == 0
	case OpNe:
		return order != 0
	case OpGt:
		return order > 0
	case OpGe:
		return order >= 0
	case OpLt:
		return order < 0
	case OpLe:
		return order <= 0
	default:
		return false
	}
}

// compareNumbers compares exactly: an int64 may not fit into a float64.
func compareNumbers(a, b any) (order int, ok bool) {
	x, y := bigNumber(a), bigNumber(b)
	if x == nil || y == nil {
		return 0, false
	}
	return x.Cmp(y), true
}

func bigNumber(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case float64:
		return big.NewFloat(v)
	}
	return nil
}
