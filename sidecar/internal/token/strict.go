package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of the JSON inside a token. Real tokens stay far below them.
const (
	maxJSONDepth   = 8
	maxJSONMembers = 512
)

// The faults of strictObject.
var (
	errJSON      = errors.New("not a JSON object in UTF-8")
	errDeep      = errors.New("JSON is nested too deeply")
	errMany      = errors.New("JSON has too many members")
	errLossyText = errors.New("JSON holds text that is not Unicode")
)

// strictObject decodes one JSON object. A repeated member at any depth is an
// error, because two readers may take different ones (RFC 8725 §2.4); so are
// trailing data and text that does not survive decoding (lone surrogates).
// Numbers stay json.Number.
func strictObject(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) || !json.Valid(b) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	d := strictDecoder{dec: dec, left: maxJSONMembers}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, errJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return obj, nil
}

type strictDecoder struct {
	dec  *json.Decoder
	left int // members and elements that may still come
}

func (d *strictDecoder) value(depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, errDeep
	}
	if d.left--; d.left < 0 {
		return nil, errMany
	}
	tok, err := d.dec.Token()
	if err != nil {
		return nil, errJSON
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '{' {
			return d.object(depth)
		}
		return d.array(depth)
	case string:
		return t, wholeText(t)
	default:
		return t, nil
	}
}

func (d *strictDecoder) object(depth int) (any, error) {
	obj := make(map[string]any)
	for d.dec.More() {
		tok, err := d.dec.Token()
		if err != nil {
			return nil, errJSON
		}
		name, ok := tok.(string)
		if !ok {
			return nil, errJSON
		}
		if err := wholeText(name); err != nil {
			return nil, err
		}
		if _, dup := obj[name]; dup {
			return nil, fmt.Errorf("member %.64q is repeated", name)
		}
		if obj[name], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	if _, err := d.dec.Token(); err != nil { // the closing brace
		return nil, errJSON
	}
	return obj, nil
}

func (d *strictDecoder) array(depth int) (any, error) {
	list := []any{}
	for d.dec.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if _, err := d.dec.Token(); err != nil { // the closing bracket
		return nil, errJSON
	}
	return list, nil
}

// wholeText refuses U+FFFD: encoding/json writes it where a surrogate had no
// partner, and then two different names would become one.
func wholeText(s string) error {
	if strings.ContainsRune(s, utf8.RuneError) {
		return errLossyText
	}
	return nil
}
