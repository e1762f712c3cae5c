// Package suggest proposes the local_writes of an application from its OpenAPI document: the operations that
// change what the identity service supplies.
//
// [Read] reads the document, and [Document.Suggest] makes the proposal. A proposal is a start for somebody who knows
// the application: a document says what an operation is called, and not what it does.
package suggest

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/scimward/scimward/store/strictjson"
)

const (
	// MaxBytes bounds a document. The largest public ones have 12 MiB.
	MaxBytes      = 32 << 20
	maxOperations = 5_000
	maxPaths      = 10_000_000 // bytes of all paths together, with the base paths of the servers
	maxRefs       = 32         // references that lead to one another
	maxDepth      = 500        // objects and lists around a value
	maxValues     = 5_000_000
)

// Document is what an OpenAPI document says about its operations.
type Document struct {
	Title      string
	Format     string // "OpenAPI 3.1.0", "Swagger 2.0"
	Operations []Operation
	// Unread are path items that could not be read, with the reason.
	Unread []Unread
}

// Unread is a path item whose operations are not known.
type Unread struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Read reads an OpenAPI document of version 3.0 or 3.1, or Swagger 2.0, as JSON or YAML. References to other files and
// URLs are not followed: what they hide counts as unknown.
func Read(b []byte) (*Document, error) {
	root, err := decode(b)
	if err != nil {
		return nil, err
	}
	r := &reader{root: root}
	openapi, swagger := text(root["openapi"]), text(root["swagger"])
	d := &Document{Title: text(object(root["info"])["title"])}
	switch {
	case strings.HasPrefix(openapi, "3."):
		d.Format = "OpenAPI " + openapi
	case swagger == "2.0" || swagger == "2":
		d.Format, r.swagger = "Swagger 2.0", true
	case openapi != "" || swagger != "":
		return nil, fmt.Errorf("version %q is not one of OpenAPI 3 and Swagger 2.0", openapi+swagger)
	default:
		return nil, errors.New("not an OpenAPI document: it has neither openapi nor swagger at the top")
	}
	if err := r.operations(d); err != nil {
		return nil, err
	}
	return d, nil
}

func decode(b []byte) (map[string]any, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("larger than %d MiB", MaxBytes>>20)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) == 0 {
		return nil, errors.New("empty")
	} else if trimmed[0] == '{' {
		root, bad := strictjson.Decode[map[string]any](b, strictjson.Rules{
			Depth: maxDepth, Nesting: maxDepth, Members: maxValues, Values: maxValues, Lossy: true,
			Number: func(text string) (any, error) { return text, nil },
		})
		if bad != nil {
			return nil, fmt.Errorf("not JSON: byte %d: %w", bad.Offset, bad)
		}
		return root, nil
	}
	v, err := decodeYAML(b)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	root := object(v)
	if root == nil {
		return nil, errors.New("not an OpenAPI document: the top is not an object")
	}
	return root, nil
}

// reader reads one document.
type reader struct {
	root    map[string]any
	swagger bool
	steps   int // schemas visited
	bytes   int // of paths
}

// resolve follows local references. why says what stops it; then the result is nil.
func (r *reader) resolve(v any) (o map[string]any, why string) {
	for range maxRefs {
		o = object(v)
		ref, is := o["$ref"].(string)
		if !is {
			return o, ""
		}
		if v, why = r.at(ref); why != "" {
			return nil, why
		}
	}
	return nil, "its references lead in a circle"
}

// at returns what a local reference names.
func (r *reader) at(ref string) (any, string) {
	pointer, local := strings.CutPrefix(ref, "#")
	if !local {
		return nil, "it refers to " + short(ref) + ", which is not read"
	}
	if decoded, err := url.PathUnescape(pointer); err == nil {
		pointer = decoded
	}
	var v any = r.root
	missing := "it refers to " + short(ref) + ", which does not exist"
	if pointer != "" && pointer[0] != '/' {
		return nil, missing
	}
	for i, name := range strings.Split(pointer, "/") {
		if i == 0 {
			continue
		}
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		var found bool
		if list, is := v.([]any); is {
			n, err := strconv.Atoi(name)
			if found = err == nil && n >= 0 && n < len(list); found {
				v = list[n]
			}
		} else {
			v, found = object(v)[name]
		}
		if !found {
			return nil, missing
		}
	}
	return v, ""
}

// object returns nil for what is none.
func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// text returns a scalar as text, "" for anything else.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

func texts(v any) (out []string) {
	for _, e := range list(v) {
		if s := text(e); s != "" {
			out = append(out, s)
		}
	}
	return out
}
