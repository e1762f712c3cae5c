package request

import (
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// Carried tells where outside of query and body a request has what some framework might take for a field of a set from
// [NewFieldSet]: "headers", "cookies", "path parameters", or "" for nowhere. Spring takes every header for a field,
// without its hyphens.
//
// A hyphen joins words here: "e-mail" is "email", and "x-email" and "content-type" are no "email" and no "type". What
// clients and proxies send with every request does not count, nor does what a source reads: its value must be a
// credential.
func (s *Sources) Carried(r *Request, path *Path, set *FieldSet) (where string) {
	for name := range r.Headers {
		if set.plain.Has(name) && !unasked(name) && !slices.Contains(s.headers, name) {
			return "headers"
		}
	}
	path.parameters(r, ofCookies|ofMatrix, func(p parameter) {
		cookie := p.in == ofCookies
		if !cookie && set.plain.Has(p.name) || cookie && set.inCookie(p.name) && !s.ownCookie(p.name) {
			where = p.in.String()
		}
	})
	return where
}

// inCookie reports whether a cookie might be read as a field of the set. A dot is "_" in PHP and leads to a member in
// Fiber. It does neither in Spring, whose cookies have the names of classes ("….CookieLocaleResolver.LOCALE").
func (set *FieldSet) inCookie(name string) bool {
	return !strings.HasPrefix(name, "org.springframework.") &&
		(set.plain.Has(name) || set.plain.Has(strings.ReplaceAll(name, ".", "_")))
}

// unasked reports whether a header says nothing about what its sender wants. A name with a colon is none.
func unasked(name string) bool {
	return strings.HasPrefix(name, ":") || slices.Contains(headers.Unasked(), name)
}
