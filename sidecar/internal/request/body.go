package request

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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

	Multipart BodyFormat = "multipart" // multipart/form-data
	GraphQL   BodyFormat = "graphql"   // a GraphQL request as JSON, or a batch of them
)

// Field is one leaf of a body: its names from the outside in, and its value when it is
// text.
type Field struct {
	Path  []string
	flat  string // of a form: the whole name, when some parsers write "_" for what others split at ("a.b", "a[b")
	value string
	text  bool
}

// AnyName reports whether is holds for a name on the way to the leaf, or for a part of one that some
// frameworks split ("user.email", "form:email", "email(1s)").
func (f *Field) AnyName(is func(string) bool) bool {
	return f.flat != "" && is(f.flat) || slices.ContainsFunc(f.Path, func(name string) bool {
		return is(name) || slices.ContainsFunc(parts(name), is)
	})
}

// nameable reports whether all names are text that no parser cuts or shortens, such as at NUL.
func (f *Field) nameable() bool {
	return !slices.ContainsFunc(f.Path, func(name string) bool { return hasControl(name) || !utf8.ValidString(name) })
}

// Fields reads a complete body as f, or as its own content type says when f is "". It refuses names
// with control characters.
func (r *Request) Fields(f BodyFormat) ([]Field, *Problem) {
	fields, p := r.fields(f)
	if slices.ContainsFunc(fields, func(f Field) bool { return !f.nameable() }) {
		return nil, problem(400, ReasonBody, "a field of the body has a name with control characters or bad UTF-8")
	}
	return fields, p
}

func (r *Request) fields(f BodyFormat) ([]Field, *Problem) {
	if p := r.NeedBody(); p != nil {
		return nil, p
	}
	var is BodyFormat
	switch mt := r.mediaType(); {
	case mt == "application/x-www-form-urlencoded":
		is = Form
	case mt == "multipart/form-data" && f == Multipart:
		return r.multipartFields()
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
		for _, v := range vs {
			out = append(out, formField(k, v))
		}
	}
	return out, nil
}

// formField is a field of a form, whose name some frameworks split.
func formField(name, value string) Field {
	f := Field{Path: []string{name}, value: value, text: true}
	if parts := members(name); len(parts) > 0 {
		f.Path = append(parts, "")
		if !strings.Contains(name, "]") {
			f.flat = name
		}
	}
	return f
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

// FoldField folds a field name: case, the separators in which spellings differ, and the mark of a
// default in Spring ("!email").
func FoldField(name string) string {
	return foldCase(strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-[]!", r) || blankOrDot(r) {
			return -1
		}
		return r
	}, name))
}

// sourceFields returns the texts of the field that a source names: none when the body has none,
// several of a batch. A field in another spelling, twice, or in the query too is refused: the
// application might read that one.
func (r *Request) sourceFields(s *Source) ([]string, *Problem) {
	if p := r.NeedBody(); p != nil {
		return nil, p
	}
	path := fieldPath(s.Name)
	if queryHas(r.Query, path[len(path)-1]) {
		return nil, problem(400, ReasonBodySource, "send "+s.Name+" in the body only")
	}
	if s.Body.Format == GraphQL {
		return r.variables(s.Name, path)
	}
	fields, p := r.Fields(s.Body.Format)
	if p != nil {
		return nil, p
	}
	v, p := oneField(fields, s.Name, path)
	if p != nil || v == "" {
		return nil, p
	}
	return []string{v}, nil
}

// fieldPath returns the members that lead to a field: those of a JSON pointer (RFC 6901), else the
// name itself.
func fieldPath(name string) []string {
	rest, pointer := strings.CutPrefix(name, "/")
	if !pointer {
		return []string{name}
	}
	path := strings.Split(rest, "/")
	for i, member := range path {
		path[i] = strings.ReplaceAll(strings.ReplaceAll(member, "~1", "/"), "~0", "~")
	}
	return path
}

// queryHas reports whether the query has a parameter, or a member of one, in some spelling of name.
func queryHas(query, name string) bool {
	keys, bad := QueryKeys(query)
	return bad != nil || keys.AnyName(func(k string) bool { return FoldField(k) == FoldField(name) })
}

// oneField returns the text at path, "" when there is none.
func oneField(fields []Field, name string, path []string) (string, *Problem) {
	folded := make([]string, len(path))
	for i := range path {
		folded[i] = FoldField(path[i])
	}
	value, seen := "", false
	for _, f := range fields {
		if !f.below(folded) {
			continue
		}
		if seen || !slices.Equal(f.Path, path) || !f.text {
			return "", problem(400, ReasonBodySource, "send "+name+" exactly once, as text, under this name")
		}
		value, seen = f.value, true
	}
	return value, nil
}

// below reports whether some parser might find f at the folded path, or below it.
func (f *Field) below(folded []string) bool {
	if len(folded) == 1 && FoldField(f.flat) == folded[0] {
		return true
	}
	n := 0
	for _, member := range f.Path {
		switch member = FoldField(member); {
		case n == len(folded):
			return true
		case member == "": // an element of a list, or nothing that some parsers see
		case member != folded[n]:
			return false
		default:
			n++
		}
	}
	return n == len(folded)
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
