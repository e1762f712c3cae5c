package authz

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/scimward/scimward/store/scim"
)

// readField reads the field that a body source names. present is false where the
// body has no such field. A field in another spelling, twice, or in the query too
// is refused: whoever reads the request behind the proxy might take that one.
func readField(r *Request, s *source, l scim.Limits) (value string, present bool, d Decision, refused bool) {
	if d, refused := refuseBodyState(r); refused {
		return "", false, d, true
	}
	folded := foldField(s.Name)
	keys, ok := queryKeys(r.Query)
	for _, k := range keys {
		ok = ok && foldField(k) != folded
	}
	if !ok {
		return "", false, badField("send " + s.Name + " in the body only"), true
	}
	fields, d, refused := bodyFields(r, s.Body.Format, l)
	if refused {
		return "", false, d, true
	}
	for _, f := range fields {
		if foldField(f.path[0]) != folded && foldField(f.flat) != folded {
			continue
		}
		if present || len(f.path) != 1 || f.path[0] != s.Name || !f.text {
			return "", false, badField("send " + s.Name + " exactly once, as text, under this name"), true
		}
		value, present = f.value, true
	}
	return value, present, Decision{}, false
}

// plainText reports whether a credential of a body is made of visible ASCII, with
// blanks only within (RFC 6749 Appendix A.17). Another could not be put into the
// header field in which an application is asked whose it is.
func plainText(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] >= 0x7f {
			return false
		}
	}
	return strings.TrimSpace(v) == v
}

func badField(detail string) Decision {
	return deny(http.StatusBadRequest, ReasonBodySource, detail)
}

// field is one leaf of a body: its names from the outside in, and its value where
// it is text.
type field struct {
	path  []string
	flat  string // of a form: the whole name, where some parsers write "_" for what splits it in others ("a.b", "a[b")
	value string
	text  bool
}

// bodyFields reads a body as f, or as its own content type says where f is "".
func bodyFields(r *Request, f BodyFormat, l scim.Limits) ([]field, Decision, bool) {
	mt, params, ok := mediaType(r.Headers["content-type"])
	var is BodyFormat
	switch {
	case !ok || !utf8Charset(params):
	case mt == "application/x-www-form-urlencoded":
		is = Form
	case mt == "application/json" || strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json"):
		is = JSON
	}
	if is == "" || f != "" && f != is {
		return nil, deny(http.StatusUnsupportedMediaType, ReasonContentType, "the body of this route is read as form or JSON, in UTF-8, and as nothing else"), true
	}
	if is == Form {
		return formFields(string(r.Body))
	}
	o, se := scim.DecodeObject(r.Body, l)
	if se != nil {
		return nil, deny(http.StatusBadRequest, ReasonBody, "the body is not a JSON object that can be read in one way only"), true
	}
	return jsonFields(nil, nil, o), Decision{}, false
}

func formFields(body string) ([]field, Decision, bool) {
	values, err := url.ParseQuery(body)
	if err != nil || hasControl(strings.NewReplacer("\r", "", "\n", "", "\t", "").Replace(body)) {
		return nil, deny(http.StatusBadRequest, ReasonBody, "the body is not a form"), true
	}
	var out []field
	for k, vs := range values {
		path, flat := []string{k}, ""
		if parts := strings.FieldsFunc(k, func(r rune) bool { return r == '[' || r == ']' || r == '.' }); len(parts) > 0 && parts[0] != k {
			path = append(parts, "")
			if !strings.Contains(k, "]") {
				flat = k
			}
		}
		for _, v := range vs {
			out = append(out, field{path: path, flat: flat, value: v, text: true})
		}
	}
	return out, Decision{}, false
}

// jsonFields appends the leaves below v. Depth and size are bounded by the decoder.
func jsonFields(out []field, path []string, v any) []field {
	at := path[:len(path):len(path)]
	switch v := v.(type) {
	case scim.Object:
		for k, e := range v {
			out = jsonFields(out, append(at, k), e)
		}
		if len(v) == 0 && len(at) > 0 {
			out = append(out, field{path: at})
		}
	case []any:
		for _, e := range v {
			out = jsonFields(out, append(at, ""), e)
		}
		if len(v) == 0 {
			out = append(out, field{path: at})
		}
	case string:
		out = append(out, field{path: at, value: v, text: true})
	default:
		out = append(out, field{path: at})
	}
	return out
}

// foldField folds a field name: case, and the separators in which spellings differ.
func foldField(name string) string {
	return foldCase(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '[' || r == ']' || blankOrDot(r) {
			return -1
		}
		return r
	}, name))
}
