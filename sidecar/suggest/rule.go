package suggest

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/request"
)

func newSet(fields []string) *request.FieldSet { return request.NewFieldSet(fields) }

// rule is an entry of local_writes as the proxy applies it.
type rule struct {
	path    request.Template
	methods []string
	fields  *request.FieldSet
}

func newRule(w *config.LocalWrite) rule {
	return rule{request.NewTemplate(w.Path), w.Methods, newSet(w.Fields)}
}

// covers reports whether the rule is about an operation, apart from its fields.
func (r *rule) covers(o *Operation) bool {
	if len(r.methods) > 0 && !slices.Contains(r.methods, o.Method) && o.Method != http.MethodPost ||
		len(r.methods) == 0 && !o.Write() {
		return false
	}
	return o.path != nil && r.path.Covers(o.path)
}

// hinders reports whether the rule denies some request of an operation beyond those that v denies.
func (r *rule) hinders(v *verdict) bool {
	o := v.op
	if !r.covers(o) {
		return false
	}
	if r.fields.Empty() || o.Method == http.MethodDelete || !o.Body.Readable {
		return true
	}
	proposed := newSet(v.fields)
	return slices.ContainsFunc(o.Body.Fields, func(f Field) bool {
		return r.fields.Has(f.Name()) && !proposed.Has(f.Name())
	})
}

// serves reports whether the rule already denies what is proposed.
func (r *rule) serves(v *verdict) bool {
	if !r.covers(v.op) {
		return false
	}
	switch {
	case r.fields.Empty() || v.op.Method == http.MethodDelete:
		return true
	case len(v.fields) == 0: // every request has to be denied
		return !v.op.Body.Readable || slices.ContainsFunc(v.op.Body.Fields, func(f Field) bool {
			return v.surely(&f) && r.fields.Has(f.Name())
		})
	}
	return !slices.ContainsFunc(v.fields, func(f string) bool { return !r.fields.Has(f) })
}

// sample is a path of a template.
func sample(template string) string {
	segments := strings.Split(template, "/")
	for i, s := range segments {
		for {
			open := strings.IndexByte(s, '{')
			end := strings.IndexByte(s, '}')
			if open < 0 || end < open {
				break
			}
			s = s[:open] + "x-1" + s[end+1:]
		}
		segments[i] = s
	}
	return strings.Join(segments, "/")
}

// parameter returns the parameter that a segment is, {id} of {id}.json or {id}.{format}; "" if it is more or none.
func parameter(segment string) (name string, suffixed bool) {
	end := strings.IndexByte(segment, '}')
	if end < 0 || segment[0] != '{' {
		return "", false
	}
	name, rest := segment[:end+1], segment[end+1:]
	if suffixed = strings.HasPrefix(rest, "."); rest != "" && !suffixed {
		return "", false
	}
	return name, suffixed
}

// template makes the path of a local_writes entry of a path of the document. why says what it cannot express.
func template(path string) (out, why string) {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if !strings.ContainsAny(s, "{}*") {
			continue
		}
		if name, suffixed := parameter(s); suffixed {
			s, segments[i] = name, name // a template covers every suffix
		}
		if s != "*" && (!strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") || strings.Count(s, "{") != 1) {
			return "", "a template stands for a whole segment, and " + short(s) + " is part of one"
		}
	}
	switch out = strings.Join(segments, "/"); {
	case strings.ContainsAny(out, "?#% ;\\") || strings.ContainsFunc(out, unicode.IsControl):
		return "", "a template has no query, escape, blank or control character"
	case len(segments) > 61:
		return "", "a template has at most 60 segments"
	}
	return out, ""
}
