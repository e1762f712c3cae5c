package scim

import (
	"strconv"
	"strings"
	"time"
)

// Filter is a parsed filter (RFC 7644 §3.4.2.2): one of [*And], [*Or], [*Not],
// [*Compare], [*Present] and [*ValuePath]. [ParseFilter] and [ParsePath] make filters,
// for one resource type. Filters are read-only.
type Filter interface {
	// Match reports whether o passes the filter. o is a resource of the type t with the
	// attributes that a client would see, including id and meta (RFC 7644 §3.4.2.2).
	Match(t *ResourceType, o Object) bool
	// String returns the canonical text, with names as in the schema, single spaces and only
	// the necessary parentheses. Parsing it gives an equal filter.
	String() string
}

// CompareOp is a comparison operator in lower case.
type CompareOp string

// The comparison operators. The operator pr is [Present].
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

// AttrRef names an attribute with the spelling of the schema. Within a [ValuePath] Attr is
// a sub-attribute of the element, and URN and Sub are empty.
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

// leaf returns the definition of the values that the reference names.
func (r AttrRef) leaf() *Attribute {
	if r.sub != nil {
		return r.sub
	}
	return r.def
}

// And is true when all terms are true. It has at least two terms. No term is an *And.
type And struct{ Terms []Filter }

// Or is true when a term is true. It has at least two terms. No term is an *Or.
type Or struct{ Terms []Filter }

// Not is true when Term is false. "eq" is false for an unassigned attribute, so "not
// (a eq 1)" is true for it. RFC 7644 leaves this open.
type Not struct{ Term Filter }

// Present is true when the attribute has a value with content. "", [] and a complex value
// without content do not count (RFC 7644 Table 3).
type Present struct{ Attr AttrRef }

// Compare is true when any value of the attribute compares (RFC 7644 §3.4.2.2). A nil
// Value means unassigned, so "eq null" is true without a value and "ne null" with one. For
// an unassigned attribute "ne" is true and every other operator is false.
type Compare struct {
	Attr  AttrRef
	Op    CompareOp
	Value any       // string, bool, int64, float64, or nil for null
	text  string    // folded Value, for string attributes
	when  time.Time // Value, for dateTime attributes
}

// ValuePath is true when one element passes all of Filter (RFC 7644 §3.4.2.2).
type ValuePath struct {
	Attr   AttrRef
	Filter Filter
}

// joinTerms writes a chain. Only a term of an And can be an *Or.
func joinTerms(terms []Filter, word string) string {
	parts := make([]string, len(terms))
	for i, t := range terms {
		parts[i] = t.String()
		if _, ok := t.(*Or); ok {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, word)
}

func (f *And) String() string       { return joinTerms(f.Terms, " and ") }
func (f *Or) String() string        { return joinTerms(f.Terms, " or ") }
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

// newAnd and newOr flatten chains, because grouping does not change their meaning.
func newAnd(a, b Filter) Filter { return &And{Terms: append(andTerms(a), andTerms(b)...)} }
func newOr(a, b Filter) Filter  { return &Or{Terms: append(orTerms(a), orTerms(b)...)} }

func andTerms(f Filter) []Filter {
	if and, ok := f.(*And); ok {
		return and.Terms
	}
	return []Filter{f}
}

func orTerms(f Filter) []Filter {
	if or, ok := f.(*Or); ok {
		return or.Terms
	}
	return []Filter{f}
}
