package request

import (
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// Carried tells where outside of query and body a request has what some framework might take for a field of a set from
// [NewFieldSet]: "header", "cookie", or "" for nowhere. Spring takes every header for a field, without its hyphens.
// PHP and others take a field from a cookie, see eachCookie.
//
// A hyphen joins words here: "e-mail" is "email", and "x-email" and "content-type" are no "email" and no "type". What
// clients and proxies send with every request does not count, nor does what a source reads: its value must be a
// credential.
func (s *Sources) Carried(h Headers, set *FieldSet) string {
	for name := range h {
		if set.plain.Has(name) && !unasked(name) && !slices.Contains(s.headers, name) {
			return "header"
		}
	}
	found := ""
	h.eachCookie(func(name, _ string) {
		if set.inCookie(name) && !s.ownCookie(name) {
			found = "cookie"
		}
	})
	return found
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
