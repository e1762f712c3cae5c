package scim

import (
	"strconv"
	"strings"
	"time"
)

// Filter is a parsed filter (RFC 7644 §3.4.2.2): one of [*And], [*Or], [*Not],
// [*Compare], [*Present] and [*ValuePath]. Filters come from [ParseFilter] and
// [ParsePath], are bound to the resource type they were parsed for, and are
// read-only.
type Filter interface {
	// Match reports whether o, a resource of the type t with the attributes the
	// client would see (id and meta too, F63), passes the filter.
	Match(t *ResourceType, o Object) bool
	// String returns the canonical text: names as in the schema, one space,
	// parentheses only where needed. Parsing it gives an equal filter.
	String() string
}

// CompareOp is a comparison operator in lower case.
type CompareOp string

// The comparison operators; pr is [Present].
const (
	OpEq CompareOp = "eq"
	OpNe CompareOp = "ne"
	OpCo CompareOp = "co"
	OpSw CompareOp = "sw"
	OpEw CompareOp = "ew"
	OpGt CompareOp = "gt"
	OpGe CompareOp = "ge"
	OpLt CompareOp = "lt"
	OpLe CompareOp = "le"
)

// AttrRef names an attribute with the spelling of the schema. Within a
// [ValuePath] Attr is a sub-attribute of the element and the rest is empty.
type AttrRef struct {
	URN  string // of an extension, "" for core and common attributes
	Attr string
	Sub  string // "" for the attribute itself
	def  *Attribute
	sub  *Attribute
}

func (r AttrRef) String() string {
	s := r.Attr
	if r.URN != "" {
		s = r.URN + ":" + s
	}
	if r.Sub != "" {
		s += "." + r.Sub
	}
	return s
}

// leaf is the definition of the values the reference leads to.
func (r AttrRef) leaf() *Attribute {
	if r.sub != nil {
		return r.sub
	}
	return r.def
}

// And holds when all terms do. It has at least two, none of them an *And.
type And struct{ Terms []Filter }

// Or holds when a term does. It has at least two, none of them an *Or.
type Or struct{ Terms []Filter }

// Not holds when Term does not. An unassigned attribute fails "eq", so "not
// (a eq 1)" holds for it (F73).
type Not struct{ Term Filter }

// Present holds when the attribute has a value that is not empty: "", [] and a
// complex value without content do not count (F73).
type Present struct{ Attr AttrRef }

// Compare holds when any value of the attribute compares (F70). A nil Value
// stands for unassigned: "eq null" holds without a value and "ne null" with one.
// "ne" holds for an unassigned attribute; every other operator does not (F73).
type Compare struct {
	Attr  AttrRef
	Op    CompareOp
	Value any       // string, bool, int64, float64, or nil for null
	text  string    // folded Value, for string attributes
	when  time.Time // Value, for dateTime attributes
}

// ValuePath holds when one and the same element passes Filter (F71).
type ValuePath struct {
	Attr   AttrRef
	Filter Filter
}

func (f *And) String() string {
	parts := make([]string, len(f.Terms))
	for i, t := range f.Terms {
		parts[i] = t.String()
		if _, ok := t.(*Or); ok {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, " and ")
}

func (f *Or) String() string {
	parts := make([]string, len(f.Terms))
	for i, t := range f.Terms {
		parts[i] = t.String()
	}
	return strings.Join(parts, " or ")
}

func (f *Not) String() string       { return "not (" + f.Term.String() + ")" }
func (f *Present) String() string   { return f.Attr.String() + " pr" }
func (f *ValuePath) String() string { return f.Attr.String() + "[" + f.Filter.String() + "]" }

func (f *Compare) String() string {
	return f.Attr.String() + " " + string(f.Op) + " " + literalText(f.Value)
}

func literalText(v any) string {
	switch v := v.(type) {
	case string:
		return string(appendString(nil, v))
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return formatFloat(v)
	default:
		return "null"
	}
}

// newAnd and newOr flatten, so that a chain has one form however it was grouped.
func newAnd(a, b Filter) Filter {
	return &And{Terms: append(andTerms(a), andTerms(b)...)}
}

func andTerms(f Filter) []Filter {
	if and, ok := f.(*And); ok {
		return and.Terms
	}
	return []Filter{f}
}

func newOr(a, b Filter) Filter {
	return &Or{Terms: append(orTerms(a), orTerms(b)...)}
}

func orTerms(f Filter) []Filter {
	if or, ok := f.(*Or); ok {
		return or.Terms
	}
	return []Filter{f}
}
