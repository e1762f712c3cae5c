package request

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scimward/scimward/store/scim"
)

// maxPath bounds a path in bytes; Envoy's header limit is larger.
const maxPath = 4096

// maxDecodes is how often a path or a name is percent-decoded at most. A path with an
// escape left after that is refused.
const maxDecodes = 4

// Path is an application path, normalised as the most lenient router would. It is fully
// decoded and in lower case. Backslashes are slashes. Parameters, suffixes, and blanks or
// dots around a segment are removed.
type Path []string

// ReadPath folds a raw application path. It refuses what no application needs: control
// bytes, bad escapes, a question mark after decoding, a number sign, dot segments.
func ReadPath(raw string) (Path, *Problem) {
	bad := problem(400, ReasonPath, "the path contains characters, escapes or dot segments that are not allowed")
	if raw == "" || raw[0] != '/' || len(raw) > maxPath || strings.Contains(raw, "#") {
		return nil, bad
	}
	full, ok := decodeFully(raw)
	if !ok || strings.Contains(full, "?") {
		return nil, bad
	}
	var path Path
	for seg := range strings.SplitSeq(strings.ReplaceAll(full, `\`, "/"), "/") {
		if i := strings.IndexAny(seg, ";#"); i >= 0 {
			seg = seg[:i]
		}
		if strings.TrimSpace(seg) == ".." {
			return nil, bad
		}
		if seg = foldSegment(seg); seg != "" {
			path = append(path, seg)
		}
	}
	return path, nil
}

// SCIM reports whether the path is one of a SCIM service: /scim, /scim/v2 and below.
func (p Path) SCIM() bool {
	if len(p) == 0 || p[0] != "scim" {
		return false
	}
	return len(p) == 1 || len(p[1]) > 1 && p[1][0] == 'v' && strings.Trim(p[1][1:], "0123456789") == ""
}

// Template is a folded path template; "" stands for any one segment.
type Template []string

// NewTemplate folds a template such as /api/users/{id}. {name} and * stand for one
// segment.
func NewTemplate(p string) Template {
	var t Template
	for seg := range strings.SplitSeq(p, "/") {
		switch {
		case seg == "":
		case seg == "*" || strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}"):
			t = append(t, "")
		default:
			t = append(t, foldSegment(seg))
		}
	}
	return t
}

// Covers reports whether p matches t or lies below it.
func (t Template) Covers(p Path) bool {
	if len(p) < len(t) {
		return false
	}
	for i, s := range t {
		if s != "" && s != p[i] {
			return false
		}
	}
	return true
}

// Matches reports whether p matches t.
func (t Template) Matches(p Path) bool { return len(p) == len(t) && t.Covers(p) }

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
	case len(p) > maxPath:
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
// does not exist.
func ResourceID(s string) bool {
	if s == "" || len(s) > 64 {
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
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// escapedByte decodes the escape at s[i], which is a percent sign.
func escapedByte(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	high, ok := unhex(s[i+1])
	low, also := unhex(s[i+2])
	return high<<4 | low, ok && also
}

// decodeOnce decodes the escapes of s that accept takes (nil: all). It keeps the others
// as they are and reports them as bad.
func decodeOnce(s string, accept func(byte) bool) (out string, bad bool) {
	if !strings.Contains(s, "%") {
		return s, false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		c, ok := escapedByte(s, i)
		if !ok || accept != nil && !accept(c) {
			bad = true
			b.WriteByte('%')
			continue
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String(), bad
}

// decodeFully decodes escapes until none is left. It refuses bad escapes in s as sent,
// control bytes and invalid UTF-8 at any depth, and too many layers of escapes. A bad
// escape that appears only by decoding ("100%25") stays as it is.
func decodeFully(s string) (string, bool) {
	for i := 0; ; i++ {
		if hasControl(s) || !utf8.ValidString(s) {
			return "", false
		}
		d, bad := decodeOnce(s, nil)
		if bad && i == 0 {
			return "", false
		}
		if d == s {
			return s, true
		}
		if i == maxDecodes {
			return "", false
		}
		s = d
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}

// foldSegment folds one decoded segment: case, blanks and dots around it, and
// everything from the first dot within it on.
func foldSegment(s string) string {
	s = strings.TrimLeftFunc(s, blankOrDot)
	s, _, _ = strings.Cut(s, ".")
	return foldCase(strings.TrimRightFunc(s, blankOrDot))
}

func blankOrDot(r rune) bool { return r == '.' || r == '\ufeff' || r == '\u200b' || unicode.IsSpace(r) }

// foldCase maps every rune to the smallest of its case orbit, in lower case for ASCII,
// so that "ſ" is "s" and the Kelvin sign is "k". Unlike scim.FoldCase it never changes
// the number of runes, as the comparisons of routers and frameworks do not either.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return unicode.ToLower(r)
		}
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return unicode.ToLower(least)
	}, s)
}
