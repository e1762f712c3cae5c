package request

import (
	"mime"
	"net/http"
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

// MayHaveBody is HasBody, and true for a write of unknown length: over HTTP/2 a body need not be announced (RFC 9113
// §8.1.1), and Envoy buffers a write only where the path is spelled as in the configuration.
func (r *Request) MayHaveBody() bool {
	write := r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH"
	return r.HasBody() || write && len(r.Headers["content-length"]) == 0
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
	if err != nil || named && !utf8Name(charset) || !sameCharset(vs[0], named) {
		return ""
	}
	return mt
}

// QueryCharset reports whether no application decodes the query in another charset than it seems: Django and ASP.NET
// take the charset of the Content-Type for the query too, and "+AGE-" is "a" in UTF-7. Charsets that have ASCII as it
// is pass.
func (r *Request) QueryCharset() bool {
	return r.Query == "" || !slices.ContainsFunc(r.Headers["content-type"], func(v string) bool {
		if !strings.Contains(strings.ToLower(v), "charset") {
			return false
		}
		// Whatever parser cuts the parameters how: each charset that is named has ASCII as it is.
		text := strings.Join(strings.Fields(strings.ToLower(v)), "")
		named := strings.Split(text, "charset=")[1:]
		return len(named) == 0 || strings.ContainsAny(text, `*\`) || slices.ContainsFunc(named, func(rest string) bool {
			charset, _ := cutAny(strings.TrimLeft(rest, `"'`), `"',;`)
			return !asciiCharset(charset)
		})
	})
}

// asciiCharset reports whether a charset, in lower case, has the letters of ASCII as they are. An empty one is none.
func asciiCharset(name string) bool {
	switch name {
	case "", "us-ascii", "ascii", "latin1", "shift_jis", "gbk", "gb2312", "gb18030", "big5", "utf8mb4":
		return true
	}
	return utf8Name(name) || slices.ContainsFunc([]string{"iso-8859-", "windows-125", "cp125", "euc-", "koi8-"},
		func(family string) bool { return strings.HasPrefix(name, family) })
}

func utf8Name(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// sameCharset reports whether all parsers find the same charset in a Content-Type: not with parts of the parameter
// (RFC 2231), which override it for some, nor with a name that only ends so, which Tomcat takes for it.
func sameCharset(contentType string, named bool) bool {
	text := strings.Join(strings.Fields(strings.ToLower(contentType)), "")
	n := strings.Count(text, "charset=")
	return !strings.ContainsAny(text, `*\`) && (n == 0 && !named || n == 1 && named)
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

// sourceFields returns the texts of the field that a source names: none when the body has none,
// several of a batch. A field in another spelling, twice, or in the query too is refused: the
// application might read that one.
//
// own says that the source describes the request. Otherwise the body may have another format.
func (r *Request) sourceFields(s *Source, own bool) ([]string, *Problem) {
	if !own && r.BodyState() == BodyAbsent { // Envoy did not buffer it
		return nil, problem(400, ReasonBodyMissing,
			"the body may hold "+s.Name+" and is not checked here: send it by "+s.Body.Method+" to "+s.Body.Path)
	}
	if p := r.NeedBody(); p != nil {
		return nil, p
	}
	path := fieldPath(s.Name)
	if queryHas(r.Query, path[len(path)-1]) {
		return nil, problem(400, ReasonBodySource, "send "+s.Name+" in the body only")
	}
	format := s.Body.Format
	if !own { // another method or route may take another one
		if p := r.otherReading(s, path); p != nil || r.upload() {
			return nil, p
		}
		format = ""
	}
	if s.Body.Format == GraphQL {
		return r.variables(s.Name, path)
	}
	fields, p := r.fields(format)
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
	if query == "" {
		return false
	}
	keys, bad := QueryKeys(query)
	if bad != nil {
		return true
	}
	found, bad := keys.Mention(newFieldSet([]string{name}, ""))
	return found || bad != nil
}

// oneField returns the text at path, "" when there is none.
func oneField(fields []field, name string, path []string) (string, *Problem) {
	place := spell(bracketed(path), false)
	value, seen := "", false
	for _, f := range fields {
		if s := spell(f.name(), false); !s.below(&place) {
			continue
		}
		if seen || !slices.Equal(f.path, path) || !f.text {
			return "", problem(400, ReasonBodySource, "send "+name+" exactly once, as text, under this name")
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
