package request

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/scimward/scimward/store/scim"
)

// Asked says what a SCIM request asks for.
type Asked string

// The requests that end a user's access.
const (
	AskedDeactivate Asked = "deactivate"
	AskedDelete     Asked = "delete"
	AskedUnseen     Asked = "unseen" // the body could not be read, so the request may ask for a deactivation
)

// Leaver is a user whose access a SCIM request asks to end.
type Leaver struct {
	ID    string // SCIM id as the path has it
	Asked Asked
}

// The bounds of Leavers.
const (
	maxLeaverBody  = 4 << 20 // a larger body counts as not read
	maxLeaverDepth = 32
	maxBulkLeavers = 100
)

// Leavers returns the users whose access a PATCH, PUT or DELETE asks to end. It is for requests that were
// refused, so it reads tolerantly where the strict decoder refuses: any spelling of active and names that look
// like it, any value that is not clearly true, a path or none, and Bulk. A body that was not read may have asked.
func (r *Request) Leavers() []Leaver {
	id, bulk := r.leaverPath()
	method := r.Method
	if method == http.MethodPost && id != "" && r.Headers.Overridden() {
		return []Leaver{{id, AskedUnseen}} // a PATCH or DELETE in disguise
	}
	switch {
	case bulk && method == http.MethodPost:
		return r.bulkLeavers()
	case id == "":
		return nil
	case method == http.MethodDelete:
		return []Leaver{{id, AskedDelete}}
	case method != http.MethodPatch && method != http.MethodPut:
		return nil
	}
	if asked := r.bodyAsks(); asked != "" {
		return []Leaver{{id, asked}}
	}
	return nil
}

// leaverPath finds the user in a path, in any spelling, and says whether it is the path of Bulk.
func (r *Request) leaverPath() (id string, bulk bool) {
	return leaverPath(r.Path)
}

func leaverPath(path string) (id string, bulk bool) {
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	segs := strings.FieldsFunc(path, func(c rune) bool { return c == '/' || c == '\\' })
	for i, s := range segs {
		s, _, _ = strings.Cut(strings.TrimSpace(s), ";")
		switch {
		case strings.EqualFold(s, "Bulk"):
			return "", true
		case strings.EqualFold(s, "Users") && i+1 < len(segs):
			id, _, _ = strings.Cut(strings.TrimSpace(segs[i+1]), ";")
			if !ResourceID(id) {
				return "", false
			}
			return id, false
		}
	}
	return "", false
}

// bodyAsks returns what the body of a PATCH or PUT asks for, "" for something else.
func (r *Request) bodyAsks() Asked {
	if r.BodyState() != BodyComplete || len(r.Body) > maxLeaverBody {
		if !r.HasBody() {
			return ""
		}
		return AskedUnseen
	}
	doc, whole := readTree(r.Body)
	switch {
	case doc != nil && asksDeactivation(doc):
		return AskedDeactivate
	case whole:
		return ""
	}
	return textAsks(r.Body)
}

func (r *Request) bulkLeavers() []Leaver {
	if r.BodyState() != BodyComplete || len(r.Body) > maxLeaverBody {
		return nil // it names no user
	}
	doc, _ := readTree(r.Body)
	var out []Leaver
	for _, list := range doc.members("operations") {
		for _, op := range list.kids {
			for _, p := range op.members("path") {
				id, _ := leaverPath(p.text)
				if asked := bulkAsks(op); id != "" && asked != "" && len(out) < maxBulkLeavers {
					out = append(out, Leaver{id, asked})
				}
			}
		}
	}
	return out
}

// bulkAsks returns what one operation of Bulk asks for.
func bulkAsks(op *tree) Asked {
	for _, m := range op.members("method") {
		switch strings.ToUpper(strings.TrimSpace(m.text)) {
		case http.MethodDelete:
			return AskedDelete
		case http.MethodPatch, http.MethodPut:
			if slices.ContainsFunc(op.members("data"), asksDeactivation) {
				return AskedDeactivate
			}
		}
	}
	return ""
}

// tree is a JSON value that keeps every member, also one that is written twice.
type tree struct {
	kind byte     // 'o', 'a', 's', 'n', 't', 'f' or '0' for null
	text string   // of a string or number
	keys []string // of an object, beside kids
	kids []*tree
}

// members returns the values of the members with a name, whatever its case.
func (t *tree) members(name string) []*tree {
	var out []*tree
	if t == nil {
		return nil
	}
	for i, k := range t.keys {
		if strings.EqualFold(strings.TrimSpace(k), name) {
			out = append(out, t.kids[i])
		}
	}
	return out
}

// readTree reads the first JSON value of a body, and reports whether the body is nothing else.
func readTree(body []byte) (doc *tree, whole bool) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\uFEFF"))))
	dec.UseNumber()
	doc, err := readValue(dec, 0)
	if err != nil {
		return nil, false
	}
	_, err = dec.Token()
	return doc, err != nil && !dec.More()
}

func readValue(dec *json.Decoder, depth int) (*tree, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxLeaverDepth {
		return nil, strconv.ErrRange
	}
	switch v := tok.(type) {
	case json.Delim:
		return readChildren(dec, &tree{kind: map[json.Delim]byte{'{': 'o', '[': 'a'}[v]}, depth)
	case string:
		return &tree{kind: 's', text: v}, nil
	case json.Number:
		return &tree{kind: 'n', text: v.String()}, nil
	case bool:
		if v {
			return &tree{kind: 't'}, nil
		}
		return &tree{kind: 'f'}, nil
	}
	return &tree{kind: '0'}, nil
}

func readChildren(dec *json.Decoder, t *tree, depth int) (*tree, error) {
	for dec.More() {
		if t.kind == 'o' {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			t.keys = append(t.keys, name)
		}
		kid, err := readValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		t.kids = append(t.kids, kid)
	}
	_, err := dec.Token()
	return t, err
}

// asksDeactivation reports whether a user document, a PATCH or one of its operations asks to set active
// to something that is not clearly true.
func asksDeactivation(t *tree) bool {
	if t.kind == 'a' {
		return slices.ContainsFunc(t.kids, asksDeactivation)
	}
	paths := t.members("path")
	if asks, named := pathAsks(t, paths); named {
		return asks
	}
	for i, k := range t.keys {
		fold := strings.ToLower(strings.TrimSpace(k))
		holds := fold == "operations" || fold == "value" && wholeUser(paths) || strings.HasPrefix(fold, "urn:")
		if ends := endsAccess(k); ends != nil && ends(t.kids[i]) || holds && asksDeactivation(t.kids[i]) {
			return true
		}
	}
	return false
}

// pathAsks judges an operation by its paths: named says whether one is active or looks like it.
func pathAsks(t *tree, paths []*tree) (asks, named bool) {
	ops, values := t.members("op"), t.members("value")
	sets := len(ops) > 0 && !slices.ContainsFunc(ops, func(o *tree) bool { return !setsValue(o.text) })
	if !sets || len(values) == 0 {
		values = []*tree{{kind: '0'}}
	}
	for _, p := range paths {
		if ends := endsAccess(p.text); ends != nil {
			named = true
			asks = asks || slices.ContainsFunc(values, ends)
		}
	}
	return asks, named
}

// setsValue reports whether an operation sets the value that it has.
func setsValue(op string) bool {
	op = strings.TrimSpace(op)
	return strings.EqualFold(op, "add") || strings.EqualFold(op, "replace")
}

// wholeUser reports whether the paths of an operation name the user itself and no attribute.
func wholeUser(paths []*tree) bool {
	return !slices.ContainsFunc(paths, func(p *tree) bool {
		s := strings.ToLower(strings.Trim(p.text, " /"))
		return s != "" && !strings.HasPrefix(s, "urn:")
	})
}

// namesActive reports whether a path or a member name means the attribute active.
func namesActive(s string) bool {
	s = strings.ToLower(strings.Trim(s, " \t\r\n/\"'$."))
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		s = s[i+1:]
	}
	s, _, _ = strings.Cut(s, "[")
	s, _, _ = strings.Cut(s, ".")
	return strings.TrimSpace(s) == "active"
}

// endsAccess returns what judges a value of the member or path called name: nil if it is neither active nor
// looks like it. A lookalike is refused, but the sender may have meant a deactivation.
func endsAccess(name string) func(*tree) bool {
	switch {
	case namesActive(name):
		return notTrue
	case scim.OppositeOfActive(name):
		return notFalse
	case scim.Lookalike(name):
		return notTrue
	}
	return nil
}

// notFalse reports whether a value of an opposite of active is anything but clearly false or unset.
func notFalse(t *tree) bool {
	switch t.kind {
	case 'f', '0':
		return false
	case 'n':
		f, err := strconv.ParseFloat(t.text, 64)
		return err != nil || f != 0
	case 's':
		return !slices.Contains([]string{"", "false", "0", "no", "n", "off", "f"}, strings.ToLower(strings.TrimSpace(t.text)))
	case 'a':
		return slices.ContainsFunc(t.kids, notFalse)
	}
	return true
}

// notTrue reports whether a value of active is anything but clearly true.
func notTrue(t *tree) bool {
	switch t.kind {
	case 't':
		return false
	case 'n':
		f, err := strconv.ParseFloat(t.text, 64)
		return err == nil && f == 0
	case 's':
		return !slices.Contains([]string{"true", "1", "yes", "y", "on", "t", "active", "enabled"},
			strings.ToLower(strings.TrimSpace(t.text)))
	case 'a':
		return len(t.kids) == 0 || slices.ContainsFunc(t.kids, notTrue)
	case 'o':
		values := append(t.members("value"), t.members("active")...)
		return len(values) == 0 || slices.ContainsFunc(values, notTrue)
	}
	return true
}

// nearActive is how far from "active" textAsks looks, in bytes.
const nearActive = 128

// textAsks judges a body that is no JSON by its text: "active" near a word that ends access.
func textAsks(body []byte) Asked {
	text := strings.ToLower(string(bytes.ReplaceAll(body, []byte{0}, nil)))
	for at := 0; ; {
		i := strings.Index(text[at:], "active")
		if i < 0 {
			break
		}
		at += i + len("active")
		near := text[max(at-len("active")-nearActive, 0):min(at+nearActive, len(text))]
		for _, word := range []string{"false", "null", "remove", ":0", ": 0", `"0`, "=0"} {
			if strings.Contains(near, word) {
				return AskedDeactivate
			}
		}
	}
	if strings.Contains(text, `\u`) || !utf8.Valid(body) {
		return AskedUnseen // its letters are not in the text
	}
	return ""
}
