package authz

import (
	"net/http"
	"strings"
)

// Bounds on what is parsed of the Cookie header (edge §3.3.1 line 6): beyond them
// some parsers see no cookie at all, and a locked user would look like nobody.
const (
	maxCookieBytes = 16 << 10
	maxCookies     = 150
)

// refuseCookies bounds the cookie headers before anything parses them.
func refuseCookies(h Headers) (Decision, bool) {
	size, pairs := 0, 0
	for _, v := range h["cookie"] {
		size += len(v)
		pairs += 1 + strings.Count(v, ";") + strings.Count(v, ",")
	}
	if size > maxCookieBytes || pairs > maxCookies {
		return deny(http.StatusRequestHeaderFieldsTooLarge, ReasonCookies, "the request carries too many cookies"), true
	}
	for _, v := range h["cookie"] {
		if hasControl(v) {
			return deny(http.StatusBadRequest, ReasonCookieForm, "a cookie holds control characters"), true
		}
	}
	return Decision{}, false
}

// findCookie looks for the cookie name. Anything that a lenient parser might take
// for it is found; only the plain form, exactly once, is accepted (edge §3.3.1
// line 5). escapes lets %-escapes pass in the value. A cookie that an application
// emptied at sign-out holds no credential and is not present.
func findCookie(h Headers, name string, escapes bool) (value string, present bool, d Decision, refused bool) {
	folded, seen := foldCookie(name), false
	for _, line := range h["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if !mentions(pair, folded) {
				continue
			}
			pair = strings.TrimPrefix(pair, " ")
			n, v, ok := strings.Cut(pair, "=")
			if seen || !ok || n != name || v != "" && (!plainValue(v, escapes) || !plainEscapes(v)) {
				d := deny(http.StatusBadRequest, ReasonCookieForm, "send the cookie "+name+" exactly once, in its plain form")
				return "", false, d, true
			}
			seen = true
			value, present = v, v != ""
		}
	}
	return value, present, Decision{}, false
}

// mentions reports whether a pair, or a part of it after a comma, might be read as
// the cookie with the folded name.
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

// foldCookie folds a cookie name as lenient parsers do together: escapes decoded,
// quotes, dollar signs and blanks dropped, an array suffix cut, dots as underscores,
// lower case.
func foldCookie(n string) string {
	for range maxDecodes {
		d, _ := decodeOnce(n)
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
		case r == '"' || r == '\'' || r == '\\' || r == '$' || r == '+' || blankOrDot(r) || r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, n)
	return foldCase(n)
}

// plainEscapes reports whether the %-escapes of v are of a kind that applications
// write. Nobody escapes what every encoder leaves alone, a control character or the
// percent sign itself: that is one credential spelt as another.
func plainEscapes(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] != '%' {
			continue
		}
		if i+2 >= len(v) || !isHex(v[i+1]) || !isHex(v[i+2]) {
			return false
		}
		c := unhex(v[i+1])<<4 | unhex(v[i+2])
		if c < ' ' || c == 0x7f || c == '%' || c != '~' && unreserved(c) {
			return false
		}
		i += 2
	}
	return true
}

// plainValue reports whether v is made of cookie-octets (RFC 6265 §4.1.1) that no
// parser rewrites; escapes lets percent signs pass.
func plainValue(v string, escapes bool) bool {
	if v == "" {
		return false
	}
	for i := range len(v) {
		c := v[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`",;\`, c) >= 0 || c == '%' && !escapes {
			return false
		}
	}
	return true
}
