package authz

import (
	"net"
	"slices"
	"strings"
)

// UserHeader tells the application who sent the request; it is set when that is
// known and removed when it is not.
const UserHeader = "x-scim-user"

// identityPrefix is the prefix of the headers this service sets.
const identityPrefix = "x-scim-"

// MutationPattern is the expression that Envoy's decoder_header_mutation_rules
// must allow: every header an answer of this package sets or removes matches it.
// One mutation outside of it turns every answer into a 500 (edge §3.3.1 line 8).
const MutationPattern = "^(x-scim-[a-z-]+|x-forwarded-(user|email|groups|preferred-username)|x-auth-request-(user|email)|(x-)?remote-user)$"

// identityHeaders are the names gateways give to who the user is. They are removed
// when a client sent them, unless one is configured as a trusted source.
func identityHeaders() []string {
	return []string{
		"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
		"x-auth-request-user", "x-auth-request-email", "x-remote-user", "remote-user",
	}
}

// overrideHeaders replace the method or the path of a request in some frameworks
// (edge M1, §3.3.1 line 3).
func overrideHeaders() []string {
	return []string{
		"x-method", "x-http-method", "x-http-method-override", "x-method-override",
		"x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url",
		"x-forwarded-uri", "x-forwarded-path", "x-forwarded-method", "x-forwarded-prefix",
	}
}

// HeadersWanted are the request headers a decision looks at: allowed_headers of
// Envoy's filter holds them all, plus the headers of configured sources and
// everything that starts with x-scim-.
func HeadersWanted() []string {
	return append(append(overrideHeaders(), identityHeaders()...),
		"authorization", "cookie", "upgrade", "connection", "accept",
		"content-type", "content-length", "content-encoding", "transfer-encoding", "x-request-id")
}

// one returns the only value of a header. several is true where there are more,
// or where Envoy may have joined more with a comma.
func (h Headers) one(name string) (v string, present, several bool) {
	vs := h[name]
	if len(vs) == 0 {
		return "", false, false
	}
	return vs[0], true, len(vs) > 1 || strings.Contains(vs[0], ",")
}

func (h Headers) has(name string) bool { return len(h[name]) > 0 }

// contains reports whether any value of name holds token, ignoring case.
func (h Headers) contains(name, token string) bool {
	for _, v := range h[name] {
		if strings.Contains(strings.ToLower(v), token) {
			return true
		}
	}
	return false
}

func (h Headers) overridden() bool {
	for _, name := range overrideHeaders() {
		if h.has(name) {
			return true
		}
	}
	return false
}

func (h Headers) upgrades() bool { return h.has("upgrade") || h.contains("connection", "upgrade") }

// queryKeys returns the folded keys of a raw query: decoded until nothing is left,
// lower case, without blanks or brackets, so that none hides. ok is false where a
// key cannot be decoded.
func queryKeys(raw string) (keys []string, ok bool) {
	if raw == "" {
		return nil, true
	}
	for pair := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		k, _, _ := strings.Cut(pair, "=")
		k, decoded := decodeFully(strings.ReplaceAll(k, "+", " "))
		if !decoded {
			return nil, false
		}
		k, _, _ = strings.Cut(k, "[")
		keys = append(keys, foldCase(strings.TrimSpace(k)))
	}
	return keys, true
}

// overrideKey reports whether a folded query key overrides the method everywhere.
func overrideKey(k string) bool {
	switch k {
	case "_method", "x-http-method-override", "x-http-method", "x-method-override", "_http_method":
		return true
	}
	return false
}

// looseOverrideKey reports whether a key does so in some frameworks, while others
// use it for their own things: refused where a write would be one to accounts.
func looseOverrideKey(k string) bool {
	return overrideKey(k) || k == "method" || k == "httpmethod" || k == "http_method"
}

// normalHost returns the authority in lower case without port and trailing dot, ""
// where it is none or more than one (edge §3.3.1 line 9).
func normalHost(h string) string {
	if h == "" || len(h) > 255 || strings.ContainsAny(h, ", \t/@\\") {
		return ""
	}
	if host, _, err := net.SplitHostPort(h); err == nil {
		h = host
	}
	h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
	return strings.ToLower(strings.TrimSuffix(h, "."))
}

type hosts map[string]bool

func newHosts(names []string) hosts {
	h := make(hosts, len(names))
	for _, n := range names {
		h[normalHost(n)] = true
	}
	return h
}

// agrees reports whether an authority is one of h; an empty h takes any.
func (h hosts) agrees(authority string) bool {
	n := normalHost(authority)
	return n != "" && (len(h) == 0 || h[n])
}

// visible reports whether s may stand in a header value we write: one to 256
// visible ASCII characters (edge H5).
func visible(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// twins returns the headers of the request that look like ours, sorted. Only we
// set them (edge H2).
func twins(h Headers) []string {
	var out []string
	for name := range h {
		if removable(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// removable reports whether a name is one of ours that MutationPattern covers.
func removable(name string) bool {
	rest, ok := strings.CutPrefix(name, identityPrefix)
	return ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz-") == ""
}
