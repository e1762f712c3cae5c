package scim

import (
	"maps"
	"slices"
)

// Object is a SCIM JSON object. Values are string, bool, int64, float64, Object and []any
// of these. The result of [DecodeObject] also has nil for null. After normalisation,
// attribute names have the spelling of the schema, and extension attributes are under
// their URN.
type Object map[string]any

// String returns the string attribute name, "" when it is unassigned.
func (o Object) String(name string) string {
	s, _ := o[name].(string)
	return s
}

// Bool returns the boolean attribute name, def when it is unassigned.
func (o Object) Bool(name string, def bool) bool {
	if b, ok := o[name].(bool); ok {
		return b
	}
	return def
}

// Strings returns sub of every element of the multi-valued attribute name.
func (o Object) Strings(name, sub string) []string {
	elems, _ := o[name].([]any)
	var out []string
	for _, e := range elems {
		m, _ := e.(Object)
		if s := m.String(sub); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Clone returns a copy that shares nothing with o. A nil Object stays nil.
func (o Object) Clone() Object {
	if o == nil {
		return nil
	}
	c := make(Object, len(o))
	for k, v := range o {
		c[k] = cloneValue(v)
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case Object:
		return v.Clone()
	case map[string]any:
		return Object(v).Clone()
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = cloneValue(e)
		}
		return c
	default:
		return v
	}
}

// asObject returns v as an Object. Callers may use the plain map type.
func asObject(v any) (Object, bool) {
	switch v := v.(type) {
	case Object:
		return v, v != nil
	case map[string]any:
		return Object(v), v != nil
	default:
		return nil, false
	}
}

// equalValue compares values of an Object.
func equalValue(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValue)
	case Object, map[string]any:
		x, _ := asObject(a)
		y, ok := asObject(b)
		return ok && maps.EqualFunc(x, y, equalValue)
	default:
		return a == b
	}
}

// keys returns the names in o, sorted.
func (o Object) keys() []string {
	keys := slices.AppendSeq(make([]string, 0, len(o)), maps.Keys(o))
	slices.Sort(keys)
	return keys
}
