package scim

import "github.com/scimward/scimward/store/strictjson"

// literal parses a compare value: a JSON string, number, true, false or null (RFC 7644
// §3.4.2.2). It accepts the keywords in any letter case.
func (p *filterParser) literal() (any, *Error) {
	c := p.peek()
	switch {
	case c == '"':
		s, n, err := strictjson.String(p.s[p.i:])
		if err != nil {
			return nil, p.fault("a string is not valid JSON: close it, use UTF-8, escape control characters")
		}
		p.i += n
		return s, nil
	case c == '-' || c >= '0' && c <= '9':
		return p.numberOrWord()
	}
	word := p.bareWord()
	if b, ok := boolText(word); ok {
		return b, nil
	}
	if equalName(word, "null") {
		return nil, nil
	}
	return p.bare(word)
}

func (p *filterParser) numberOrWord() (any, *Error) {
	word := p.bareWord()
	if v, err := number(word); err == nil && strictjson.Valid(word) {
		return v, nil
	}
	return p.bare(word)
}

// bareWord reads up to the next delimiter.
func (p *filterParser) bareWord() string {
	start := p.i
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '(', ')', '[', ']', '"':
			return p.s[start:p.i]
		}
		p.i++
	}
	return p.s[start:]
}

// bare accepts an unquoted or single-quoted string if the mode allows it.
func (p *filterParser) bare(word string) (any, *Error) {
	if word == "" {
		return nil, p.fault("a value is missing")
	}
	if !p.accepts(DevBareValue) {
		return nil, p.fault("a string value must be in double quotes")
	}
	if n := len(word); n >= 2 && word[0] == '\'' && word[n-1] == '\'' {
		word = word[1 : n-1]
	}
	return word, nil
}

// compare checks operator and value against the type of the attribute (RFC 7644
// §3.4.2.2) and prepares the value for Match.
func (p *filterParser) compare(ref AttrRef, op CompareOp, value any) (Filter, *Error) {
	ref, err := p.comparable(ref)
	if err != nil {
		return nil, err
	}
	f := &Compare{Attr: ref, Op: op, Value: value}
	if value == nil {
		if op != OpEq && op != OpNe {
			return nil, p.fault("null compares with eq and ne only")
		}
		return f, nil
	}
	switch ref.leaf().Type {
	case typeBoolean:
		return p.compareBool(f)
	case typeInteger, typeDecimal:
		return p.compareNumber(f)
	default:
		return p.compareText(f)
	}
}

// comparable completes a bare complex attribute by its sub-attribute value.
func (p *filterParser) comparable(ref AttrRef) (AttrRef, *Error) {
	leaf := ref.leaf()
	if leaf.Type != typeComplex {
		return ref, nil
	}
	sub := leaf.sub("value")
	if sub == nil || ref.sub != nil {
		return ref, p.fault("%s is complex; name one of its sub-attributes", ref)
	}
	ref.Sub, ref.sub = sub.Name, sub
	return ref, nil
}

func (p *filterParser) compareBool(f *Compare) (Filter, *Error) {
	if f.Op != OpEq && f.Op != OpNe {
		return nil, p.fault("%s is a boolean; compare it with eq or ne", f.Attr)
	}
	if s, ok := f.Value.(string); ok {
		if b, ok := boolText(s); ok && p.accepts(DevBooleanString) {
			f.Value = b
		}
	}
	if _, ok := f.Value.(bool); !ok {
		return nil, p.fault("%s is a boolean; compare it with true or false without quotes", f.Attr)
	}
	return f, nil
}

func (p *filterParser) compareNumber(f *Compare) (Filter, *Error) {
	if f.Op == OpCo || f.Op == OpSw || f.Op == OpEw {
		return nil, p.fault("%s is a number; it has no text to search", f.Attr)
	}
	switch f.Value.(type) {
	case int64, float64:
		return f, nil
	}
	return nil, p.fault("%s is a number; compare it with a number without quotes", f.Attr)
}

func (p *filterParser) compareText(f *Compare) (Filter, *Error) {
	s, ok := f.Value.(string)
	if !ok {
		return nil, p.fault("%s is a string; compare it with a value in double quotes", f.Attr)
	}
	leaf := f.Attr.leaf()
	f.text = foldValue(leaf, s)
	if isUserName(leaf) && (f.Op == OpEq || f.Op == OpNe) {
		if _, err := FoldUserName(s); err != nil {
			f.text = "\x00" // equals no user name, like in the index
		}
	}
	switch {
	case leaf.Type == typeBinary && ordered(f.Op):
		return nil, p.fault("%s is binary; it has no order", f.Attr)
	case leaf.Type == typeDateTime && byTime(f.Op):
		if f.when, ok = parseTime(s); !ok {
			return nil, p.fault("%s is a dateTime; compare it with one such as \"2011-05-13T04:42:34Z\"", f.Attr)
		}
	}
	return f, nil
}

func ordered(op CompareOp) bool {
	return op == OpGt || op == OpGe || op == OpLt || op == OpLe
}

// byTime reports whether op compares a dateTime as a time. The other operators search text.
func byTime(op CompareOp) bool { return ordered(op) || op == OpEq || op == OpNe }

// boolText reads a boolean that a client sent as text.
func boolText(s string) (value, ok bool) {
	switch foldName(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}
