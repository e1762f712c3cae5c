package request

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/scimward/scimward/store/scim"
)

// BodyState says what is known of a request's body.
type BodyState string

// The body states.
const (
	BodyAbsent   BodyState = "absent"
	BodyComplete BodyState = "complete"
	BodyPartial  BodyState = "partial" // the client sent more than is here
	BodyEncoded  BodyState = "encoded" // Content-Encoding other than identity
)

// BodyState judges the body.
func (r *Request) BodyState() BodyState {
	switch {
	case Encoded(r.Headers["content-encoding"]):
		return BodyEncoded
	case r.Partial:
		return BodyPartial
	case len(r.Body) == 0:
		return BodyAbsent
	}
	return BodyComplete
}

// Encoded judges the values of Content-Encoding, for every listener: only identity is
// not an encoding.
func Encoded(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		v = strings.TrimSpace(v)
		return v != "" && !strings.EqualFold(v, "identity")
	})
}

// NeedBody refuses every body that is not whole and plain.
func (r *Request) NeedBody() *Problem {
	switch r.BodyState() {
	case BodyComplete:
		return nil
	case BodyPartial:
		return problem(413, ReasonBodyPartial, "the body is too large or incomplete: send a smaller request")
	case BodyEncoded:
		return problem(415, ReasonBodyEncoded, "send the body without Content-Encoding")
	case BodyAbsent:
	}
	p := problem(400, ReasonBodyMissing, r.Method+" needs a body")
	p.ScimType = scim.TypeInvalidSyntax
	return p
}

// DeclaredLength returns the Content-Length, -1 without exactly one that is a number.
func (r *Request) DeclaredLength() int64 {
	vs := r.Headers["content-length"]
	if len(vs) != 1 {
		return -1
	}
	n, err := strconv.ParseUint(vs[0], 10, 62)
	if err != nil {
		return -1
	}
	return int64(n)
}

// HasBody reports whether the request carries or announces a body.
func (r *Request) HasBody() bool {
	length := r.Headers["content-length"]
	return r.BodyState() != BodyAbsent || r.Headers.Has("transfer-encoding") ||
		len(length) > 1 || len(length) == 1 && length[0] != "0"
}

// NeedSCIMType refuses a body whose only Content-Type is not JSON in UTF-8.
func (r *Request) NeedSCIMType() *Problem {
	if mt := r.mediaType(); mt != "application/scim+json" && mt != "application/json" {
		return problem(415, ReasonContentType, "send Content-Type: application/scim+json, in UTF-8")
	}
	return nil
}

// mediaType returns the only media type of the body, "" when there is none, several, or
// a charset other than UTF-8.
func (r *Request) mediaType() string {
	vs := r.Headers["content-type"]
	if len(vs) != 1 || strings.Contains(vs[0], ",") {
		return ""
	}
	mt, params, err := mime.ParseMediaType(vs[0])
	charset, named := params["charset"]
	if err != nil || named && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return ""
	}
	return mt
}

// Write reports whether the method carries a resource in its body.
func (r *Request) Write() bool {
	return r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
}

// BodyFormat is how a body encodes its fields.
type BodyFormat string

// The formats.
const (
	Form BodyFormat = "form" // application/x-www-form-urlencoded
	JSON BodyFormat = "json" // an object with string fields
)

// Field is one leaf of a body: its names from the outside in, and its value when it is
// text.
type Field struct {
	Path  []string
	flat  string // of a form: the whole name, when some parsers write "_" for what others split at ("a.b", "a[b")
	value string
	text  bool
}

// Fields reads a complete body as f, or as its own content type says when f is "".
func (r *Request) Fields(f BodyFormat) ([]Field, *Problem) {
	if p := r.NeedBody(); p != nil {
		return nil, p
	}
	var is BodyFormat
	switch mt := r.mediaType(); {
	case mt == "application/x-www-form-urlencoded":
		is = Form
	case mt == "application/json" || strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json"):
		is = JSON
	}
	if is == "" || f != "" && f != is {
		return nil, problem(415, ReasonContentType, "send the body of this route as a form or as JSON, in UTF-8")
	}
	if is == Form {
		return formFields(string(r.Body))
	}
	o, se := scim.DecodeObject(r.Body, scim.DefaultLimits())
	if se != nil {
		return nil, problem(400, ReasonBody, "the body is not a JSON object that can be read in one way only")
	}
	return jsonFields(nil, nil, o), nil
}

func formFields(body string) ([]Field, *Problem) {
	values, err := url.ParseQuery(body)
	if err != nil || hasControl(strings.NewReplacer("\r", "", "\n", "", "\t", "").Replace(body)) {
		return nil, problem(400, ReasonBody, "the body is not a form")
	}
	var out []Field
	for k, vs := range values {
		path, flat := []string{k}, ""
		parts := strings.FieldsFunc(k, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
		if len(parts) > 0 && parts[0] != k {
			path = append(parts, "")
			if !strings.Contains(k, "]") {
				flat = k
			}
		}
		for _, v := range vs {
			out = append(out, Field{Path: path, flat: flat, value: v, text: true})
		}
	}
	return out, nil
}

// jsonFields appends the leaves below v. The decoder bounds depth and size.
func jsonFields(out []Field, path []string, v any) []Field {
	at := path[:len(path):len(path)]
	switch v := v.(type) {
	case scim.Object:
		for k, e := range v {
			out = jsonFields(out, append(at, k), e)
		}
		if len(v) == 0 && len(at) > 0 {
			out = append(out, Field{Path: at})
		}
	case []any:
		for _, e := range v {
			out = jsonFields(out, append(at, ""), e)
		}
		if len(v) == 0 {
			out = append(out, Field{Path: at})
		}
	case string:
		out = append(out, Field{Path: at, value: v, text: true})
	default:
		out = append(out, Field{Path: at})
	}
	return out
}

// FoldField folds a field name: case, and the separators in which spellings differ.
func FoldField(name string) string {
	return foldCase(strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-[]", r) || blankOrDot(r) {
			return -1
		}
		return r
	}, name))
}

// field returns the text of the field that a source names, "" when the body has none. A
// field in another spelling, twice, or in the query too is refused: the application
// might read that one.
func (r *Request) field(s *Source) (string, *Problem) {
	if p := r.NeedBody(); p != nil {
		return "", p
	}
	folded := FoldField(s.Name)
	keys, bad := QueryKeys(r.Query)
	for _, k := range keys {
		if FoldField(k) == folded {
			bad = problem(400, ReasonQuery, "")
		}
	}
	if bad != nil {
		return "", problem(400, ReasonBodySource, "send "+s.Name+" in the body only")
	}
	fields, p := r.Fields(s.Body.Format)
	if p != nil {
		return "", p
	}
	value, seen := "", false
	for _, f := range fields {
		if FoldField(f.Path[0]) != folded && FoldField(f.flat) != folded {
			continue
		}
		if seen || len(f.Path) != 1 || f.Path[0] != s.Name || !f.text {
			return "", problem(400, ReasonBodySource, "send "+s.Name+" exactly once, as text, under this name")
		}
		value, seen = f.value, true
	}
	return value, nil
}

// plainText reports whether a credential in a body is visible ASCII, with blanks only
// within (RFC 6749 Appendix A.17). The application gets the credential in a header field,
// which could not contain other characters.
func plainText(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] >= 0x7f {
			return false
		}
	}
	return strings.TrimSpace(v) == v
}
