package scim

import (
	"errors"
	"strconv"
	"strings"

	"github.com/scimward/scimward/store/strictjson"
)

// DecodeObject decodes the JSON object b. It accepts RFC 8259 and nothing more, and
// refuses what two readers could understand differently: a key twice in any letter
// case, trailing data, a byte order mark, invalid UTF-8, half a surrogate pair,
// numbers outside int64 and float64. Integers become int64, numbers with a fraction
// or exponent float64, so that 1.0 is not an integer (RFC 7643 §2.3.4);
// null becomes nil. The error is 400 invalidSyntax, or 413 when b has more bytes, or
// an array or object more elements, than l allows.
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
		return nil, Errorf(413, "", "an object has more than %d keys", l.Members)
	case errors.Is(err, strictjson.ErrElements):
		return nil, Errorf(413, "", "an array has more than %d elements; send them in several requests", l.Members)
	default:
		return nil, Errorf(400, TypeInvalidSyntax, "%s (at byte %d); send a well-formed JSON object in UTF-8",
			err, err.Offset)
	}
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
