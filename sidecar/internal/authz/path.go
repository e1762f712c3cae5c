package authz

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath bounds a path; Envoy's header limit is larger.
const maxPath = 4096

// maxDecodes is how often a folded path is percent-decoded at most. What still
// holds an escape after that is refused.
const maxDecodes = 4

// splitSCIMPath checks p against the grammar of SCIM paths and returns the decoded
// segments after the prefix (edge P1 to P10). The message is for people.
//
//	path    = "/scim/v2" 1*( "/" segment )
//	segment = 1*( unreserved | sub-delim except ";" | ":" | "@" | escape )
//	escape  = "%" HEXDIG HEXDIG   ; only where the byte could not stand for itself
func splitSCIMPath(p string) (segs []string, scimType, msg string) {
	const prefix = "/scim/v2"
	if len(p) > maxPath {
		return nil, "", "the path is too long"
	}
	if !strings.HasPrefix(p, prefix+"/") {
		if strings.HasPrefix(p, "/scim/v") && p != prefix {
			return nil, "invalidVers", "this service has version v2: use a path below /scim/v2/"
		}
		return nil, "", "the path does not start with /scim/v2/ exactly"
	}
	for raw := range strings.SplitSeq(p[len(prefix)+1:], "/") {
		seg, msg := decodeSegment(raw)
		if msg != "" {
			return nil, "", msg
		}
		segs = append(segs, seg)
		if len(segs) > 4 {
			return nil, "", "the path has too many segments"
		}
	}
	return segs, "", ""
}

// decodeSegment decodes one segment once. An escape of a byte that could stand for
// itself, or that would be another separator, is not canonical.
func decodeSegment(raw string) (string, string) {
	switch raw {
	case "":
		return "", "the path has an empty segment or a trailing slash"
	case ".", "..":
		return "", "the path has a dot segment"
	}
	for i := range len(raw) {
		if raw[i] != '%' && !pathByte(raw[i]) {
			return "", "the path holds a character that may not stand in it"
		}
	}
	if !strings.Contains(raw, "%") {
		return raw, ""
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
			return "", "the path holds a bad escape"
		}
		d := unhex(raw[i+1])<<4 | unhex(raw[i+2])
		i += 2
		// ':' and '@' may stand for themselves, but common libraries escape them
		// in schema URNs.
		if d < 0x20 || d >= 0x7f || strings.IndexByte(`/\%;?#.`, d) >= 0 || unreserved(d) {
			return "", "the path holds an escape that is not canonical"
		}
		b.WriteByte(d)
	}
	return b.String(), ""
}

func pathByte(c byte) bool {
	return unreserved(c) || strings.IndexByte("!$&'()*+,=:@", c) >= 0
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

// foldPath returns the segments of an application path as the most lenient router
// might read them: decoded until nothing is left to decode, backslashes as slashes,
// lower case, no parameters, no blanks or dots around a segment, no suffix. ok is
// false where a path holds what no application needs: control bytes, bad escapes, a
// question mark after decoding, a number sign as sent, dot segments (edge §3.3.1 line 1).
func foldPath(p string) (segs []string, ok bool) {
	if p == "" || p[0] != '/' || len(p) > maxPath || strings.Contains(p, "#") {
		return nil, false
	}
	full, ok := decodeFully(p)
	if !ok || strings.Contains(full, "?") {
		return nil, false
	}
	for seg := range strings.SplitSeq(strings.ReplaceAll(full, `\`, "/"), "/") {
		if i := strings.IndexAny(seg, ";#"); i >= 0 {
			seg = seg[:i]
		}
		if strings.TrimSpace(seg) == ".." {
			return nil, false
		}
		if seg = foldSegment(seg); seg != "" {
			segs = append(segs, seg)
		}
	}
	return segs, true
}

// decodeFully decodes escapes until none is left. It refuses bad escapes in s as
// sent, control bytes and invalid UTF-8 at any depth, and what is escaped too
// often. A bad escape that appears only by decoding ("100%25") stays as it is.
func decodeFully(s string) (string, bool) {
	for i := 0; ; i++ {
		if hasControl(s) || !utf8.ValidString(s) {
			return "", false
		}
		d, bad := decodeOnce(s)
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

// decodeOnce decodes every good escape of s and leaves bad ones standing.
func decodeOnce(s string) (out string, bad bool) {
	if !strings.Contains(s, "%") {
		return s, false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '%':
			b.WriteByte(s[i])
		case i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		default:
			bad = true
			b.WriteByte('%')
		}
	}
	return b.String(), bad
}

func hasControl(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return true
		}
	}
	return false
}

// foldSegment folds one decoded segment: case, blanks and dots around it, and
// everything from the first dot within it on.
func foldSegment(s string) string {
	s = strings.TrimLeftFunc(s, blankOrDot)
	s, _, _ = strings.Cut(s, ".")
	return foldCase(strings.TrimRightFunc(s, blankOrDot))
}

func blankOrDot(r rune) bool { return r == '.' || r == '\ufeff' || r == '\u200b' || unicode.IsSpace(r) }

// foldCase maps every rune to the smallest one of its case orbit, in lower case
// for ASCII, so that "ſ" is "s" and the Kelvin sign is "k".
func foldCase(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return unicode.ToLower(r)
		}
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f < least {
				least = f
			}
		}
		return unicode.ToLower(least)
	}, s)
}

// template is a folded path template; "" stands for any one segment.
type template []string

func newTemplate(p string) template {
	var t template
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

// covers reports whether segs is t or lies below it.
func (t template) covers(segs []string) bool {
	if len(segs) < len(t) {
		return false
	}
	for i, s := range t {
		if s != "" && s != segs[i] {
			return false
		}
	}
	return true
}

func (t template) equals(segs []string) bool { return len(segs) == len(t) && t.covers(segs) }

// isSCIMPath reports whether a folded application path is one of a SCIM service
// (edge §3.3.1 line 7).
func isSCIMPath(segs []string) bool {
	if len(segs) == 0 || segs[0] != "scim" {
		return false
	}
	return len(segs) == 1 || len(segs[1]) > 1 && segs[1][0] == 'v' && strings.Trim(segs[1][1:], "0123456789") == ""
}
