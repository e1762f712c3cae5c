package request

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scimward/scimward/sidecar/headers"
)

// Headers are request headers: lower-case name to values in order. Envoy joins
// duplicates with a comma.
type Headers map[string][]string

// Single returns the only value of a header, "" when it is absent. several is true when
// there are more values, or when Envoy may have joined them with a comma.
func (h Headers) Single(name string) (v string, several bool) {
	vs := h[name]
	if len(vs) == 0 {
		return "", false
	}
	return vs[0], len(vs) > 1 || strings.Contains(vs[0], ",")
}

// Has reports whether the request carries the header, even empty.
func (h Headers) Has(name string) bool { return len(h[name]) > 0 }

// Overridden reports whether a header replaces the method or the path.
func (h Headers) Overridden() bool { return slices.ContainsFunc(headers.Override(), h.Has) }

// Ambiguous reports whether a server may take the name of a header for another name. Envoy removes such headers.
func (h Headers) Ambiguous() bool {
	for name := range h {
		if headers.Ambiguous(name) {
			return true
		}
	}
	return false
}

// Upgrades reports whether the client asks for another protocol.
func (h Headers) Upgrades() bool {
	return h.Has("upgrade") || slices.ContainsFunc(h["connection"], func(v string) bool {
		return strings.Contains(strings.ToLower(v), "upgrade")
	})
}

// IdentityHeaders returns the sorted x-scim- headers of the request, which only the
// authorizer sets. unremovable is true if Envoy's mutation rules do not let an answer
// remove one of them.
func (h Headers) IdentityHeaders() (names []string, unremovable bool) {
	for name := range h {
		if headers.Ours(name) {
			names = append(names, name)
		} else if strings.HasPrefix(name, headers.Prefix) {
			unremovable = true
		}
	}
	slices.Sort(names)
	return names, unremovable
}

// Visible reports whether s may stand in a header value that we write: one to 256
// visible ASCII characters.
func Visible(s string) bool { return visible(s, 256) }

func visible(s string, most int) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// headerName reads the name in a header that a gateway sets: visible text in UTF-8, or
// UTF-8 in the form of RFC 8187 §3.2 (UTF-8'de'j%C3%BCrgen). A backslash is part of names such
// as CORP\carl. ok is false for anything that readers of the header might take for another
// name.
func headerName(v string) (name string, ok bool) {
	if len(v) >= 7 && strings.EqualFold(v[:6], "utf-8'") {
		_, escaped, found := strings.Cut(v[6:], "'")
		if !found {
			return "", false
		}
		var err error
		if v, err = url.PathUnescape(escaped); err != nil {
			return "", false
		}
	}
	ok = v != "" && utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool {
		return r == ' ' || r == '"' || r == ',' || r == ';' || !unicode.IsPrint(r)
	})
	return v, ok
}

// Token68 reports whether s has the form of a bearer token (RFC 6750 §2.1).
func Token68(s string) bool {
	core := strings.TrimRight(s, "=")
	for i := range len(core) {
		if c := core[i]; !unreserved(c) && c != '+' && c != '/' {
			return false
		}
	}
	return core != ""
}

// Hosts are the authorities of a tenant or an application.
type Hosts []string // normal, sorted

// NewHosts returns the set of names, in any case, ports ignored.
func NewHosts(names []string) Hosts {
	h := make(Hosts, len(names))
	for i, n := range names {
		h[i] = normalHost(n)
	}
	slices.Sort(h)
	return h
}

// Match reports whether a Host or :authority is one of h. An empty h matches any
// single authority.
func (h Hosts) Match(authority string) bool {
	n := normalHost(authority)
	if n == "" || len(h) == 0 {
		return n != ""
	}
	_, found := slices.BinarySearch(h, n)
	return found
}

// normalHost returns the authority in lower case without port and trailing dot, "" when
// it is none or more than one.
func normalHost(h string) string {
	if h == "" || len(h) > 255 || strings.ContainsAny(h, ", \t/@\\") {
		return ""
	}
	if strings.Contains(h, ":") { // the error for a missing port would cost an allocation
		if host, _, err := net.SplitHostPort(h); err == nil {
			h = host
		}
	}
	h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
	return strings.ToLower(strings.TrimSuffix(h, "."))
}
