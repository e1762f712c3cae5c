package scim

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
)

// Match implements [Filter].
func (f *And) Match(t *ResourceType, o Object) bool {
	return !slices.ContainsFunc(f.Terms, func(term Filter) bool { return !term.Match(t, o) })
}

// Match implements [Filter].
func (f *Or) Match(t *ResourceType, o Object) bool {
	return slices.ContainsFunc(f.Terms, func(term Filter) bool { return term.Match(t, o) })
}

// Match implements [Filter].
func (f *Not) Match(t *ResourceType, o Object) bool { return !f.Term.Match(t, o) }

// Match implements [Filter].
func (f *Present) Match(_ *ResourceType, o Object) bool { return f.Attr.any(o, notEmpty) }

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
		return f.Attr.any(o, notEmpty) == (f.Op == OpNe)
	}
	assigned := false
	found := f.Attr.any(o, func(v any) bool {
		assigned = true
		return f.compare(v)
	})
	return found || f.Op == OpNe && !assigned
}

// any reports whether fn returns true for a value of the attribute in o.
func (r AttrRef) any(o Object, fn func(v any) bool) bool {
	if r.URN != "" {
		o, _ = asObject(o[r.URN])
	}
	switch v := o[r.Attr].(type) {
	case nil:
		return false
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return r.visit(e, fn) })
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

// notEmpty reports whether v has content in the sense of pr (RFC 7644 Table 3).
func notEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case []any:
		return slices.ContainsFunc(v, notEmpty)
	}
	o, ok := asObject(v)
	for _, e := range o {
		if notEmpty(e) {
			return true
		}
	}
	return !ok
}

func (f *Compare) compare(v any) bool {
	switch v := v.(type) {
	case bool:
		want, ok := f.Value.(bool)
		return ok && (v == want) == (f.Op == OpEq)
	case string:
		return f.compareString(v)
	case int64, float64:
		x, y := bigNumber(v), bigNumber(f.Value)
		return y != nil && f.accepts(x.Cmp(y))
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
		return ok && f.accepts(when.Compare(f.when))
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
		return f.accepts(cmp.Compare(text, f.text))
	}
}

// accepts reports whether the operator accepts an order, as cmp.Compare returns it.
func (f *Compare) accepts(order int) bool {
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

// bigNumber converts a number exactly, because not every int64 is a float64. It returns nil
// for other values.
func bigNumber(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case float64:
		return big.NewFloat(v)
	}
	return nil
}
