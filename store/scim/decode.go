package scim

import (
	"errors"
	"strconv"
	"strings"

	"github.com/scimward/scimward/store/strictjson"
)

// DecodeObject decodes the JSON object b in the grammar of RFC 8259. It refuses documents
// that two readers could understand differently: a key twice in any letter case, trailing
// data, a byte order mark, invalid UTF-8, half a surrogate pair, numbers outside int64 and
// float64. Integers become int64 and null becomes nil. Numbers with a fraction or exponent
// become float64, so 1.0 is no integer (RFC 7643 §2.3.4).
//
// The error is 400 invalidSyntax. It is 413 when b has more bytes than l allows, and 400
// invalidValue with the name of the attribute when an array or object has more elements.
func DecodeObject(b []byte, l Limits) (Object, *Error) {
	if len(b) > l.Bytes {
		return nil, Errorf(413, "", "the request body is larger than %d bytes; send less at once", l.Bytes)
	}
	o, err := strictjson.Decode[Object](b, strictjson.Rules{
		Depth: l.Depth, Nesting: l.Depth, Members: l.Members, Values: l.Bytes, FoldName: foldName, Number: number,
	})
	switch {
	case err == nil:
		return o, nil
	case errors.Is(err, strictjson.ErrMembers):
		return nil, Errorf(400, TypeInvalidValue, "%s has an object with more than %d keys; send fewer",
			pointed(err.Pointer), l.Members)
	case errors.Is(err, strictjson.ErrElements):
		return nil, tooMany(pointed(err.Pointer), l.Members)
	default:
		return nil, Errorf(400, TypeInvalidSyntax, "%s (at byte %d); send a well-formed JSON object in UTF-8",
			err, err.Offset)
	}
}

// tooMany is 400 invalidValue for an attribute with more values than the limit.
func tooMany(name string, limit int) *Error {
	return Errorf(400, TypeInvalidValue, "%s has more than %d values, which is the limit of one request; "+
		"send them in several requests", name, limit)
}

// pointed names the attribute that a JSON pointer into a body leads to.
func pointed(pointer string) string {
	if pointer == "" {
		return "the body"
	}
	parts := strings.Split(pointer[1:], "/")
	name, prefix := "", ""
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		switch {
		case err != nil:
			name = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		case i == 1 && equalName(parts[0], "Operations"):
			prefix = "operation " + strconv.Itoa(n+1) + ": "
		}
	}
	return prefix + quoteShort(name)
}

var errNumber = errors.New("a number is too large")

// number converts the text of a JSON number.
func number(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errNumber
		}
		return f, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errNumber
	}
	return n, nil
}
