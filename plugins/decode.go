package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxManifestDepth bounds the nesting of a manifest.
const maxManifestDepth = 16

// decodeManifest reads b, one strict JSON document, into m. Errors say at which line
// and column of b.
func decodeManifest(b []byte, m *Manifest) error {
	var whole json.RawMessage
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&whole); err != nil {
		return syntaxFault(b, err)
	}
	end := d.InputOffset()
	w := keyWalk{d: json.NewDecoder(bytes.NewReader(b)), at: map[string][]int64{}}
	if err := w.walk(0); err != nil {
		return atOffset(b, w.d.InputOffset(), err)
	}
	d = json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return shapeFault(b, w.at, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return atOffset(b, end, errors.New("data after the document"))
	}
	return nil
}

// syntaxFault places an error of the first decoder over b.
func syntaxFault(b []byte, err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return atOffset(b, syntax.Offset-1, err) // the byte it ends with is the wrong one
	case errors.Is(err, io.EOF) && len(bytes.TrimSpace(b)) == 0:
		return errors.New("the file is empty")
	default: // io.ErrUnexpectedEOF
		return atOffset(b, int64(len(b)), errors.New("the document ends before it is complete"))
	}
}

// shapeFault places the error of a document that is JSON but no manifest. at holds
// where the names stand; encoding/json does not say where an unknown one is.
func shapeFault(b []byte, at map[string][]int64, err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) && typ.Field == "" {
		return atOffset(b, typ.Offset, errors.New("the document must be a JSON object"))
	}
	if errors.As(err, &typ) {
		return atOffset(b, typ.Offset, fmt.Errorf("%s must not be a JSON %s", typ.Field, typ.Value))
	}
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		if where := at[strings.Trim(name, `"`)]; len(where) == 1 {
			return atOffset(b, where[0], fmt.Errorf("unknown field %s", name))
		}
	}
	return err
}

// atOffset says at which line and column of b, both from 1, the byte at offset is.
func atOffset(b []byte, offset int64, err error) error {
	head := b[:min(max(offset, 0), int64(len(b)))]
	line, column := 1+bytes.Count(head, []byte("\n")), len(head)-bytes.LastIndexByte(head, '\n')
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}

// keyWalk refuses a document in which an object has a name twice, also when the two
// differ in case only: encoding/json would take the last and so read another
// document than a reviewer does. It reads the first value and no further.
type keyWalk struct {
	d  *json.Decoder
	at map[string][]int64 // where each name ends
}

func (w *keyWalk) walk(depth int) error {
	if depth > maxManifestDepth {
		return fmt.Errorf("nested deeper than %d levels", maxManifestDepth)
	}
	open, err := w.d.Token()
	if err != nil {
		return err
	}
	if _, nested := open.(json.Delim); !nested {
		return nil
	}
	seen := map[string]bool{}
	for w.d.More() {
		if open == json.Delim('{') {
			if err := w.name(seen); err != nil {
				return err
			}
		}
		if err := w.walk(depth + 1); err != nil {
			return err
		}
	}
	_, err = w.d.Token() // what closes it
	return err
}

// name reads a member's name.
func (w *keyWalk) name(seen map[string]bool) error {
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	name := fmt.Sprint(token)
	fold := strings.ToLower(name)
	if seen[fold] {
		return fmt.Errorf("field %q is there twice", name)
	}
	seen[fold] = true
	w.at[name] = append(w.at[name], w.d.InputOffset())
	return nil
}
