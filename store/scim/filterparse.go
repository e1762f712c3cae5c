package scim

import (
	"cmp"
	"fmt"
	"strings"
)

// ParseFilter parses the filter s (RFC 7644 §3.4.2.2) for resources of the type t. l bounds
// length and nodes, and so the depth of the recursion. Names and operators compare
// case-insensitively. Beyond the grammar of the RFC it accepts:
//
//   - emails eq "x" for emails.value eq "x", as in the RFC's examples, also on single
//     complex attributes with a value, such as manager;
//   - emails[type eq "work"].value eq "x", which identity providers send, as
//     emails[type eq "work" and value eq "x"];
//   - parentheses within brackets, and several spaces for one.
//
// Every error is 400 invalidFilter, for bad syntax, an unknown attribute, or a value or
// operator that does not fit the type of the attribute.
func ParseFilter(t *ResourceType, s string, l Limits) (Filter, *Error) {
	f, _, err := parseFilter(t, s, l, Mode{})
	return f, err
}

// parseFilter is ParseFilter where m may accept attributes of extensions without URN. It returns the codes of
// the deviations.
func parseFilter(t *ResourceType, s string, l Limits, m Mode) (Filter, []string, *Error) {
	if len(s) > l.FilterBytes {
		return nil, nil, Errorf(400, TypeInvalidFilter, "the filter is longer than %d bytes; send a shorter one",
			l.FilterBytes)
	}
	p := &filterParser{t: t, s: s, left: l.FilterNodes, m: m, query: true}
	p.spaces()
	f, err := p.or()
	if err != nil {
		err.Code = cmp.Or(err.Code, p.refused)
		return nil, p.notes, err
	}
	p.spaces()
	if p.i < len(s) {
		return nil, p.notes, p.fault("text follows the filter")
	}
	return f, p.notes, nil
}

// filterParser parses filters and, for ParsePath, the part in brackets.
type filterParser struct {
	t       *ResourceType
	s       string
	i       int
	left    int        // nodes still allowed
	parent  *Attribute // the attribute before the brackets, nil outside brackets
	m       Mode
	query   bool     // of a query, which has no deviation but a missing URN
	notes   []string // codes of deviations, also of those that m does not accept
	refused string   // the last code that m did not accept
}

// accepts records a deviation and reports whether the mode lists it.
func (p *filterParser) accepts(code string) bool {
	if p.query && code != DevMissingURN {
		return false
	}
	p.notes = append(p.notes, code)
	if p.m.accepts(code) {
		return true
	}
	p.refused = code
	return false
}

func (p *filterParser) fault(format string, args ...any) *Error {
	return Errorf(400, TypeInvalidFilter, "%s (at character %d of the filter)", fmt.Sprintf(format, args...), p.i+1)
}

func (p *filterParser) spaces() bool {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] == ' ' {
		p.i++
	}
	return p.i > start
}

func (p *filterParser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *filterParser) node() *Error {
	if p.left--; p.left < 0 {
		return p.fault("the filter has too many expressions; send a simpler one")
	}
	return nil
}

func (p *filterParser) or() (Filter, *Error)  { return p.chain("or", p.and, newOr) }
func (p *filterParser) and() (Filter, *Error) { return p.chain("and", p.term, newAnd) }

// chain parses a sequence of filters joined by word.
func (p *filterParser) chain(
	word string, next func() (Filter, *Error), join func(a, b Filter) Filter,
) (Filter, *Error) {
	f, err := next()
	for err == nil && p.keyword(word) {
		var more Filter
		if more, err = next(); err == nil {
			f = join(f, more)
		}
	}
	return f, err
}

// keyword reads " word " and reports whether it is there.
func (p *filterParser) keyword(word string) bool {
	start := p.i
	if p.spaces() {
		end := p.i + len(word)
		if end < len(p.s) && equalName(p.s[p.i:end], word) && p.s[end] == ' ' {
			p.i = end
			p.spaces()
			return true
		}
	}
	p.i = start
	return false
}

func (p *filterParser) term() (Filter, *Error) {
	if err := p.node(); err != nil {
		return nil, err
	}
	if p.peek() == '(' {
		return p.group()
	}
	word := p.word()
	if equalName(word, "not") {
		start := p.i
		p.spaces()
		if p.peek() == '(' {
			f, err := p.group()
			return &Not{Term: f}, err
		}
		p.i = start
	}
	if word == "" {
		return nil, p.fault("an attribute name is missing")
	}
	return p.expression(word)
}

func (p *filterParser) group() (Filter, *Error) {
	p.i++
	p.spaces()
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	p.spaces()
	if p.peek() != ')' {
		return nil, p.fault("a closing parenthesis is missing")
	}
	p.i++
	return f, nil
}

// word reads an attribute path. lookupRef splits the path later with the schemas, because
// the colon in "2.0:User" is no separator (RFC 7644 §3.10).
func (p *filterParser) word() string {
	start := p.i
	for p.i < len(p.s) && wordByte(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == ':' || c == '$' || c == '-' || c == '_'
}

// expression parses the rest after an attribute path, which is brackets, pr, or an operator
// and a value.
func (p *filterParser) expression(word string) (Filter, *Error) {
	ref, err := p.attribute(word)
	if err != nil {
		return nil, err
	}
	spaced := p.spaces()
	if p.peek() == '[' {
		return p.valuePath(ref)
	}
	if !spaced {
		return nil, p.fault("a space and an operator are missing after %s", ref)
	}
	return p.operator(ref)
}

func (p *filterParser) operator(ref AttrRef) (Filter, *Error) {
	op := foldName(p.word())
	if op == "pr" {
		return &Present{Attr: ref}, nil
	}
	switch CompareOp(op) {
	case OpEq, OpNe, OpCo, OpSw, OpEw, OpGt, OpGe, OpLt, OpLe:
	default:
		return nil, p.fault("an operator is missing after %s; use one of eq, ne, co, sw, ew, gt, ge, lt, le, pr", ref)
	}
	if !p.spaces() && !p.accepts(DevFilterSpace) {
		return nil, p.fault("a space is missing after %s", op)
	}
	value, err := p.literal()
	if err != nil {
		return nil, err
	}
	return p.compare(ref, CompareOp(op), value)
}

// valuePath parses the brackets of attr[filter], and .sub op value after them.
func (p *filterParser) valuePath(ref AttrRef) (Filter, *Error) {
	inner, err := p.bracket(ref)
	if err != nil {
		return nil, err
	}
	vp := &ValuePath{Attr: ref, Filter: inner}
	if p.peek() != '.' {
		return vp, nil
	}
	p.i++
	if err := p.node(); err != nil {
		return nil, err
	}
	outer := p.parent
	p.parent = ref.def
	defer func() { p.parent = outer }()
	sub, err := p.attribute(p.word())
	if err != nil {
		return nil, err
	}
	if !p.spaces() {
		return nil, p.fault("a space and an operator are missing after %s", sub)
	}
	last, err := p.operator(sub)
	if err != nil {
		return nil, err
	}
	vp.Filter = newAnd(inner, last)
	return vp, nil
}

// bracket parses [filter], where names are sub-attributes of ref.
func (p *filterParser) bracket(ref AttrRef) (Filter, *Error) {
	if p.parent != nil {
		return nil, p.fault("a filter in brackets cannot contain another")
	}
	if ref.Sub != "" || len(ref.def.SubAttributes) == 0 {
		return nil, p.fault("%s has no sub-attributes to filter in brackets", ref)
	}
	p.i++
	p.spaces()
	p.parent = ref.def
	f, err := p.or()
	p.parent = nil
	if err != nil {
		return nil, err
	}
	p.spaces()
	if p.peek() != ']' {
		return nil, p.fault("a closing bracket is missing")
	}
	p.i++
	return f, nil
}

// attribute resolves a name, within brackets against the sub-attributes.
func (p *filterParser) attribute(word string) (AttrRef, *Error) {
	if p.parent != nil {
		def := p.parent.sub(word)
		if def == nil {
			return AttrRef{}, p.fault("%s has no sub-attribute of that name", p.parent.Name)
		}
		return AttrRef{Attr: def.Name, def: def}, nil
	}
	ref, ok := lookupRef(p.t, word)
	if !ok {
		if ref, ok = withoutURN(p.t, word); ok && !p.accepts(DevMissingURN) {
			return AttrRef{}, p.fault("the attribute belongs to an extension; write %s", ref)
		}
	}
	if !ok || ref.Attr == "" || ref.leaf().Returned == retNever {
		return AttrRef{}, p.fault("%s has no attribute of that name", p.t.Name)
	}
	return ref, nil
}

// lookupRef resolves [URN:]attr[.sub]. It first cuts off the URN of a known schema, because
// colons and dots of the URN are no separators. The URN of an extension without more
// gives a reference without Attr.
func lookupRef(t *ResourceType, word string) (AttrRef, bool) {
	schema, rest := cutURN(t, word)
	var ref AttrRef
	if schema != nil && schema != t.Schema {
		ref.URN = schema.ID
		if rest == "" {
			return ref, true
		}
	}
	name, sub, dotted := strings.Cut(rest, ".")
	if schema == nil {
		ref.def = t.attribute(name)
	} else {
		ref.def = schema.Attribute(name)
	}
	if ref.def == nil {
		return ref, false
	}
	ref.Attr = ref.def.Name
	if dotted {
		if ref.sub = ref.def.sub(sub); ref.sub == nil {
			return ref, false
		}
		ref.Sub = ref.sub.Name
	}
	return ref, true
}

// cutURN splits the URN of a known schema off the front of word. Without such a URN the
// schema is nil and the rest is word.
func cutURN(t *ResourceType, word string) (*Schema, string) {
	for _, s := range append([]*Schema{t.Schema}, t.Extensions...) {
		n := len(s.ID)
		if len(word) < n || !equalName(word[:n], s.ID) {
			continue
		}
		if len(word) == n {
			return s, ""
		}
		if word[n] == ':' && len(word) > n+1 {
			return s, word[n+1:]
		}
	}
	return nil, word
}
