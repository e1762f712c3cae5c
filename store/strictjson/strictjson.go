// Package strictjson reads untrusted JSON, such as SCIM bodies, parts of tokens and plugin
// manifests. It accepts one object in the grammar of RFC 8259. It refuses documents that
// two readers could understand differently, because of a repeated name, data after the
// object, a byte order mark, or text that is not Unicode. Call [Decode] with the [Rules]
// of the caller. The package is pure, without I/O or clock.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Rules bounds a document. Every number is required, and a zero refuses every document. The
// caller bounds the length of the document.
type Rules struct {
	Depth   int // arrays and objects around a value
	Nesting int // nested arrays and objects; less than Depth+1 also refuses an innermost empty one
	Members int // members of one object, elements of one array
	Values  int // values of the whole document, itself included

	Lossy  bool // replace text that is not Unicode by U+FFFD, like encoding/json, instead of refusing it
	NoFFFD bool // refuse U+FFFD, because another program may have replaced text by it

	FoldName func(name string) string       // names that fold to one name are equal; nil compares exactly
	Number   func(text string) (any, error) // converts a number; nil keeps it as a [json.Number]
}

// Error says why and where a document is invalid. Err is one of the errors below or a
// fault in the grammar.
type Error struct {
	Offset  int64  // in bytes
	Pointer string // JSON pointer (RFC 6901) to the object or array of an ErrMembers or ErrElements
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// The errors of [Decode], except faults in the grammar.
var (
	ErrEmpty      = errors.New("the document is empty")
	ErrIncomplete = errors.New("the document ends before it is complete")
	ErrNotObject  = errors.New("the document must be a JSON object")
	ErrTrailing   = errors.New("data follows the document")
	ErrDeep       = errors.New("the JSON is nested too deeply")
	ErrMembers    = errors.New("an object has too many members")
	ErrElements   = errors.New("an array has too many elements")
	ErrValues     = errors.New("the JSON has too many values")
	ErrRepeated   = errors.New("a name appears twice")
	ErrFFFD       = errors.New("a string has U+FFFD, which replaces text that is not Unicode")
)

// Decode decodes b, one JSON object. Objects become M, arrays []any, null nil. Names
// are compared after unescaping.
func Decode[M ~map[string]any](b []byte, r Rules) (M, *Error) {
	d, _ := readers.Get().(*reader)
	defer d.close()
	d.open(b, r)
	if d.dec.PeekKind() != '{' {
		if _, err := d.dec.ReadToken(); err != nil {
			return nil, d.syntax(err)
		}
		return nil, d.fault(ErrNotObject)
	}
	v, err := value[M](d, 0)
	if err != nil {
		return nil, err
	}
	o, _ := v.(M)
	end := d.dec.InputOffset()
	if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, &Error{Offset: end, Err: ErrTrailing}
	}
	return o, nil
}

// reader decodes one document. Strings of the result are substrings of text.
type reader struct {
	Rules
	text   string
	buf    bytes.Buffer
	dec    jsontext.Decoder
	values int
	names  []string // folded names of the open objects, see names
}

// readers keeps the readers of decoded documents for the next ones.
//
//nolint:gochecknoglobals // a pool must be shared
var readers = sync.Pool{New: func() any { return new(reader) }}

func (d *reader) open(b []byte, r Rules) {
	d.Rules, d.text, d.values = r, string(b), 0
	d.buf = *bytes.NewBuffer(b)
	d.dec.Reset(&d.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(r.Lossy))
}

// close forgets the document.
func (d *reader) close() {
	clear(d.names[:cap(d.names)])
	d.Rules, d.text, d.names, d.buf = Rules{}, "", d.names[:0], bytes.Buffer{}
	d.dec.Reset(&d.buf)
	readers.Put(d)
}

func (d *reader) fault(err error) *Error { return &Error{Offset: d.dec.InputOffset(), Err: err} }

// full is the fault of an object or array with too many parts, which ends before the next part.
func (d *reader) full(err error) *Error {
	e := d.fault(err)
	kind, parts := d.dec.StackIndex(d.dec.StackDepth())
	e.Pointer = string(d.dec.StackPointer())
	if parts > 0 && (kind == '[' || kind == '{') { // the pointer names the newest part
		e.Pointer = e.Pointer[:strings.LastIndexByte(e.Pointer, '/')]
	}
	return e
}

// syntax turns an error of the library into one of ours.
func (d *reader) syntax(err error) *Error {
	var fault *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Offset: int64(len(d.text)), Err: ErrIncomplete}
	case errors.As(err, &fault):
		return &Error{Offset: fault.ByteOffset, Err: fault.Err}
	default: // io.EOF
		return &Error{Err: ErrEmpty}
	}
}

// value reads the next value. depth is the number of arrays and objects around it.
func value[M ~map[string]any](d *reader, depth int) (any, *Error) {
	if d.values++; d.values > d.Values {
		return nil, d.fault(ErrValues)
	}
	kind := d.dec.PeekKind()
	nests := kind == '{' || kind == '['
	if depth > d.Depth || nests && depth >= d.Nesting {
		return nil, d.fault(ErrDeep)
	}
	if kind == '"' {
		return d.str()
	}
	token, err := d.dec.ReadToken()
	if err != nil {
		return nil, d.syntax(err)
	}
	switch token.Kind() {
	case '{':
		return object[M](d, depth)
	case '[':
		return array[M](d, depth)
	case 't', 'f':
		return token.Bool(), nil
	case '0':
		return d.number(token.String())
	default:
		return nil, nil
	}
}

// object reads the members of an object and its closing brace.
func object[M ~map[string]any](d *reader, depth int) (any, *Error) {
	o := M{}
	seen := names{first: len(d.names)}
	for d.dec.PeekKind() != '}' {
		if len(o) == d.Members {
			return nil, d.full(ErrMembers)
		}
		name, err := d.str()
		if err != nil {
			return nil, err
		}
		if !d.isNew(&seen, name) {
			return nil, d.fault(fmt.Errorf("%w: %.64q", ErrRepeated, name))
		}
		if o[name], err = value[M](d, depth+1); err != nil {
			return nil, err
		}
	}
	d.names = d.names[:seen.first]
	return o, d.end()
}

// names are the folded names of one object. A small object has them in reader.names from
// first on, a large one in set.
type names struct {
	first int
	set   map[string]bool
}

// isNew adds name to seen and reports whether it is new.
func (d *reader) isNew(seen *names, name string) bool {
	const few = 16
	if d.FoldName != nil {
		name = d.FoldName(name)
	}
	list := d.names[seen.first:]
	switch {
	case seen.set[name] || seen.set == nil && slices.Contains(list, name):
		return false
	case len(list) < few:
		d.names = append(d.names, name)
		return true
	case seen.set == nil:
		seen.set = make(map[string]bool, 2*few)
		for _, known := range list {
			seen.set[known] = true
		}
	}
	seen.set[name] = true
	return true
}

// array reads the elements of an array and its closing bracket.
func array[M ~map[string]any](d *reader, depth int) (any, *Error) {
	list := []any{}
	for d.dec.PeekKind() != ']' {
		if len(list) == d.Members {
			return nil, d.full(ErrElements)
		}
		v, err := value[M](d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, d.end()
}

// end reads the closing brace or bracket.
func (d *reader) end() *Error {
	if _, err := d.dec.ReadToken(); err != nil {
		return d.syntax(err)
	}
	return nil
}

// str reads a string. The library has checked the text.
func (d *reader) str() (string, *Error) {
	raw, err := d.dec.ReadValue()
	if err != nil {
		return "", d.syntax(err)
	}
	end := int(d.dec.InputOffset())
	s := d.text[end-len(raw)+1 : end-1]
	if d.Lossy || strings.IndexByte(s, '\\') >= 0 {
		plain, _ := jsontext.AppendUnquote(nil, raw) // fails only for text that Lossy allows
		s = string(plain)
	}
	if d.NoFFFD && strings.ContainsRune(s, utf8.RuneError) {
		return "", d.fault(ErrFFFD)
	}
	return s, nil
}

func (d *reader) number(text string) (any, *Error) {
	if d.Number == nil {
		return json.Number(text), nil
	}
	v, err := d.Number(text)
	if err != nil {
		return nil, d.fault(err)
	}
	return v, nil
}

// String reads the JSON string at the start of s, which starts with a quote. n is its
// length in s.
func String(s string) (value string, n int, err error) {
	plain := true
	for n = 1; n < len(s) && s[n] != '"'; n++ {
		plain = plain && s[n] >= ' ' && s[n] < utf8.RuneSelf && s[n] != '\\'
		if s[n] == '\\' {
			n++
		}
	}
	if n >= len(s) {
		return "", 0, ErrIncomplete
	}
	if plain {
		return s[1:n], n + 1, nil
	}
	b, err := jsontext.AppendUnquote(nil, s[:n+1])
	return string(b), n + 1, err
}

// Valid reports whether text is one JSON value.
func Valid(text string) bool { return jsontext.Value(text).IsValid() }
