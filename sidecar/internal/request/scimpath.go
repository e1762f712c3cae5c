package request

import (
	"strings"

	"github.com/scimward/scimward/store/scim"
)

// maxSCIMPath bounds a SCIM path in bytes.
const maxSCIMPath = 4096

// SplitSCIMPath checks a raw path against the grammar of SCIM paths and returns the
// decoded segments after the prefix.
//
//	path    = "/scim/v2" 1*( "/" segment )
//	segment = 1*( unreserved | sub-delim except ";" | ":" | "@" | escape )
//	escape  = "%" HEXDIG HEXDIG   ; only where the byte could not stand for itself
func SplitSCIMPath(p string) ([]string, *Problem) {
	const prefix = "/scim/v2"
	bad := problem(400, ReasonPath, "the path does not start with /scim/v2/ exactly")
	switch {
	case len(p) > maxSCIMPath:
		bad.Detail = "the path is too long"
		return nil, bad
	case strings.HasPrefix(p, prefix+"/"):
	case strings.HasPrefix(p, "/scim/v") && p != prefix:
		bad.ScimType, bad.Detail = scim.TypeInvalidVers, "this service has version v2: use a path below /scim/v2/"
		return nil, bad
	default:
		return nil, bad
	}
	var segs []string
	for raw := range strings.SplitSeq(p[len(prefix)+1:], "/") {
		seg, msg := decodeSegment(raw)
		if segs = append(segs, seg); msg == "" && len(segs) > 4 {
			msg = "the path has too many segments"
		}
		if msg != "" {
			bad.Detail = msg
			return nil, bad
		}
	}
	return segs, nil
}

// decodeSegment decodes a segment once; the message says why it cannot. An escape of a
// byte that could stand for itself, or that would be another separator, is not canonical.
func decodeSegment(raw string) (seg, msg string) {
	switch raw {
	case "":
		return "", "the path has an empty segment or a trailing slash"
	case ".", "..":
		return "", "the path has a dot segment"
	}
	for i := range len(raw) {
		if raw[i] != '%' && !unreserved(raw[i]) && strings.IndexByte("!$&'()*+,=:@", raw[i]) < 0 {
			return "", "the path contains a character that is not allowed"
		}
	}
	seg, bad := decodeOnce(raw, func(b byte) bool {
		// ':' and '@' may stand for themselves, but common libraries escape them in
		// schema URNs.
		return b >= 0x20 && b < 0x7f && strings.IndexByte(`/\%;?#.`, b) < 0 && !unreserved(b)
	})
	if bad {
		return "", "the path contains an escape that is bad or not canonical"
	}
	return seg, ""
}

// ResourceID reports whether s could be an id that this service made. Anything else
// does not exist. Ids are logged, so a static token that somebody puts in the path is none.
func ResourceID(s string) bool {
	if s == "" || len(s) > 64 || strings.HasPrefix(s, "scimward_st_") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !unreserved(c) || c == '.' || c == '~' {
			return false
		}
	}
	return true
}

// unreserved are the characters that never need an escape (RFC 3986 §2.3).
func unreserved(c byte) bool { return unreservedBytes[c] }

// unreservedBytes is a table, because the processor cannot predict comparisons of the characters of a token.
//
//nolint:gochecknoglobals // never changes
var unreservedBytes = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") {
		table[c] = true
	}
	return table
}()
