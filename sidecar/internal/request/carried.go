package request

import (
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// Carried tells where outside of query and body a request has what some framework might take for a field of a set from
// [NewFieldSet]: "header", "cookie", or "" for nowhere. Spring takes every header for a field, without its hyphens.
// PHP puts cookies among the fields of $_REQUEST unless its request_order says otherwise, and Fiber binds both.
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
	for _, line := range h["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimPrefix(pair, " "), "=")
			read := slices.ContainsFunc(s.cookies, func(c Source) bool { return c.names(name) })
			// A dot is no separator of members in the name of a cookie.
			if !read && set.plain.Has(strings.ReplaceAll(name, ".", "_")) {
				return "cookie"
			}
		}
	}
	return ""
}

// unasked reports whether a header says nothing about what its sender wants. A name with a colon is none.
func unasked(name string) bool {
	return strings.HasPrefix(name, ":") || slices.Contains(headers.Unasked(), name)
}
