package scim

import (
	"math"
	"strconv"
)

// DecodeObject decodes the JSON object b. It accepts RFC 8259 and nothing more,
// and refuses what two readers could understand differently: a key twice in any
// letter case (F5), trailing data, a byte order mark, invalid UTF-8, half a
// surrogate pair, numbers outside int64 and float64. Integers become int64, numbers with a
// fraction or exponent float64, so that 1.0 is never taken for an integer (F11);
// null becomes nil. The error is 400 invalidSyntax, or 413 when b has more bytes,
// or an array or object more elements, than l allows.
func DecodeObject(b []byte, l Limits) (Object, *Error) {
	if len(b) > l.Bytes {
		return nil, Errorf(413, "", "the request body is larger than %d bytes; send less at once", l.Bytes)
	}
	d := decoder{s: string(b), l: l}
	d.space()
	if d.peek() != '{' {
		return nil, d.fault("the request body must be one JSON object")
	}
	o, err := d.object(1)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.i < len(d.s) {
		return nil, d.fault("data follows the JSON object")
	}
	return o, nil
}

type decoder struct {
	s string
	i int
	l Limits
}

func (d *decoder) fault(what string) *Error {
	return Errorf(400, TypeInvalidSyntax, "%s (at byte %d); send a well-formed JSON object in UTF-8", what, d.i)
}

func (d *decoder) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	if d.i < len(d.s) {
		return d.s[d.i]
	}
	return 0
}

func (d *decoder) value(depth int) (any, *Error) {
	switch c := d.peek(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"':
		return d.str()
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	default:
		return d.literal()
	}
}

func (d *decoder) object(depth int) (Object, *Error) {
	if depth > d.l.Depth {
		return nil, d.fault("the JSON is nested too deeply")
	}
	d.i++
	o := Object{}
	seen := map[string]struct{}{}
	for d.space(); d.peek() != '}'; d.space() {
		if len(o) > 0 {
			if d.peek() != ',' {
				return nil, d.fault("a comma or a closing brace is missing")
			}
			d.i++
			d.space()
		}
		if len(o) == d.l.Members {
			return nil, Errorf(413, "", "an object has more than %d keys", d.l.Members)
		}
		if err := d.member(o, seen, depth); err != nil {
			return nil, err
		}
	}
	d.i++
	return o, nil
}

// member reads one key and value into o. Keys are compared after unescaping.
func (d *decoder) member(o Object, seen map[string]struct{}, depth int) *Error {
	if d.peek() != '"' {
		return d.fault("a key in double quotes is missing")
	}
	key, err := d.str()
	if err != nil {
		return err
	}
	folded := foldName(key)
	if _, twice := seen[folded]; twice {
		return d.fault("a key appears twice, letter case aside")
	}
	seen[folded] = struct{}{}
	d.space()
	if d.peek() != ':' {
		return d.fault("a colon is missing after a key")
	}
	d.i++
	d.space()
	o[key], err = d.value(depth + 1)
	return err
}

func (d *decoder) array(depth int) ([]any, *Error) {
	if depth > d.l.Depth {
		return nil, d.fault("the JSON is nested too deeply")
	}
	d.i++
	list := []any{}
	for d.space(); d.peek() != ']'; d.space() {
		if len(list) > 0 {
			if d.peek() != ',' {
				return nil, d.fault("a comma or a closing bracket is missing")
			}
			d.i++
			d.space()
		}
		if len(list) == d.l.Members {
			return nil, Errorf(413, "", "an array has more than %d elements; send them in several requests", d.l.Members)
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	d.i++
	return list, nil
}

func (d *decoder) str() (string, *Error) {
	s, end, fault := scanString(d.s, d.i)
	if fault != "" {
		d.i = end
		return "", d.fault(fault)
	}
	d.i = end
	return s, nil
}

func (d *decoder) number() (any, *Error) {
	v, end, fault := scanNumber(d.s, d.i)
	if fault != "" {
		return nil, d.fault(fault)
	}
	d.i = end
	return v, nil
}

func (d *decoder) literal() (any, *Error) {
	for _, l := range [...]struct {
		text  string
		value any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if len(d.s)-d.i >= len(l.text) && d.s[d.i:d.i+len(l.text)] == l.text {
			d.i += len(l.text)
			return l.value, nil
		}
	}
	return nil, d.fault("a JSON value is missing")
}

// scanNumber reads a JSON number at s[i]: int64 without, float64 with a fraction
// or exponent.
func scanNumber(s string, i int) (value any, end int, fault string) {
	const bad = "a number is not valid JSON"
	j := i
	if j < len(s) && s[j] == '-' {
		j++
	}
	whole := digits(s, j)
	if whole == j || s[j] == '0' && whole > j+1 {
		return nil, j, bad
	}
	j = whole
	float := false
	if j < len(s) && s[j] == '.' {
		float = true
		if end = digits(s, j+1); end == j+1 {
			return nil, j, bad
		}
		j = end
	}
	if j < len(s) && (s[j] == 'e' || s[j] == 'E') {
		float = true
		j++
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if end = digits(s, j); end == j {
			return nil, j, bad
		}
		j = end
	}
	return convertNumber(s[i:j], j, float)
}

func convertNumber(text string, end int, float bool) (any, int, string) {
	const large = "a number is too large"
	if !float {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, end, large
		}
		return n, end, ""
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, end, large
	}
	return f, end, ""
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
