package request

import "strings"

// Bounds on the Cookie header. Beyond them some parsers find no cookie, and a locked user
// would look anonymous.
const (
	maxCookieBytes = 16 << 10
	maxCookies     = 150
)

// CheckCookies bounds the cookie headers before they are parsed. plainCookie judges the
// form of each cookie with a credential.
func (h Headers) CheckCookies() *Problem {
	size, pairs := 0, 0
	for _, v := range h["cookie"] {
		size += len(v)
		pairs += 1 + strings.Count(v, ";") + strings.Count(v, ",")
	}
	if size > maxCookieBytes || pairs > maxCookies {
		return problem(431, ReasonCookies, "the request carries too many cookies")
	}
	for _, v := range h["cookie"] {
		if hasControl(v) {
			return problem(400, ReasonCookieForm, "a cookie contains control characters")
		}
	}
	return nil
}

// plainCookie returns the value of the cookie name, "" when it is absent or when the
// application emptied it at sign-out. It finds whatever a lenient parser might take for
// the cookie, and accepts only the plain form, once. escapes lets %-escapes pass in the
// value.
func (h Headers) plainCookie(name string, escapes bool) (string, *Problem) {
	folded, value, seen := foldCookie(name), "", false
	for _, line := range h["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if !mentions(pair, folded) {
				continue
			}
			n, v, ok := strings.Cut(strings.TrimPrefix(pair, " "), "=")
			if seen || !ok || n != name || v != "" && (!plainValue(v, escapes) || !plainEscapes(v)) {
				return "", problem(400, ReasonCookieForm, "send the cookie "+name+" exactly once, in its plain form")
			}
			seen, value = true, v
		}
	}
	return value, nil
}

// mentions reports whether a pair, or a part of it after a comma, might be read as the
// cookie with the folded name.
func mentions(pair, folded string) bool {
	for part := range strings.SplitSeq(pair, ",") {
		n, _, _ := strings.Cut(part, "=")
		n = foldCookie(n)
		if n == folded {
			return true
		}
		if rest, ok := strings.CutPrefix(n, folded); ok && numbered(rest) {
			return true
		}
	}
	return false
}

// numbered reports whether what follows a name counts the parts of a split cookie:
// ".0", "-1", "_2", "3", "*0".
func numbered(rest string) bool {
	rest = strings.TrimLeft(rest, "_-*")
	return rest != "" && strings.Trim(rest, "0123456789") == ""
}

// foldCookie folds a cookie name as all lenient parsers together do: escapes decoded,
// quotes, dollar signs and blanks dropped, an array suffix cut, dots as underscores,
// lower case.
func foldCookie(n string) string {
	for range maxDecodes {
		d, _ := decodeOnce(n, nil)
		if d == n {
			break
		}
		n = d
	}
	n = strings.TrimSpace(n)
	if i := strings.IndexByte(n, '['); i > 0 {
		n = n[:i]
	}
	n = strings.Map(func(r rune) rune {
		switch {
		case r == '.':
			return '_'
		case strings.ContainsRune(`"'\$+`, r) || blankOrDot(r) || r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, n)
	return foldCase(n)
}

// plainEscapes refuses an escaped control character, percent sign or unreserved character
// (except ~), because such an escape can spell one credential as another.
func plainEscapes(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] != '%' {
			continue
		}
		c, ok := escapedByte(v, i)
		if !ok || c < ' ' || c == 0x7f || c == '%' || c != '~' && unreserved(c) {
			return false
		}
		i += 2
	}
	return true
}

// plainValue reports whether v is made of cookie-octets (RFC 6265 §4.1.1) that no parser
// rewrites; escapes lets percent signs pass.
func plainValue(v string, escapes bool) bool {
	return visible(v, len(v)) && !strings.ContainsAny(v, `",;\`) && (escapes || !strings.Contains(v, "%"))
}
