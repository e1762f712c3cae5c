package request

import "strings"

// eachCookie calls f for each cookie that some parser might read from the headers, with name and value as they are
// sent, without blanks and quotes around them. PHP puts cookies among the parameters of $_REQUEST unless its
// request_order says otherwise, and ASP.NET, Zope, Hertz and Fiber bind them, so a cookie may be what a parameter may
// be. Parsers also begin a cookie behind a comma, a blank or a quote, and Werkzeug 1 takes a name in quotes with octal
// escapes.
func (h Headers) eachCookie(f func(name, value string)) {
	for _, line := range h["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.TrimSpace(pair)
			name, value, _ := strings.Cut(pair, "=")
			f(name, bareValue(value))
			if strings.Contains(name, `\`) {
				f(decodeOctal(bareValue(name)), bareValue(value))
			}
			if strings.ContainsFunc(pair, beginsCookie) {
				eachWithin(pair, f)
			}
		}
	}
}

// eachWithin calls f for the cookies that begin within a pair. Blanks may be around "=", and quotes around the value.
func eachWithin(pair string, f func(name, value string)) {
	parts := strings.FieldsFunc(pair, beginsCookie)
	for i, part := range parts {
		name, value, found := strings.Cut(part, "=")
		if !found {
			continue
		}
		if name == "" && i > 0 {
			name = parts[i-1]
		}
		if value == "" && i+1 < len(parts) {
			value = parts[i+1]
		}
		f(name, value)
	}
}

// beginsCookie reports whether some parser looks for another cookie behind a character within a pair.
func beginsCookie(r rune) bool { return r == ',' || endsCookie(r) }

// bareValue takes blanks and quotes off a value or name. Servers decode neither alike.
func bareValue(v string) string { return strings.Trim(v, " \t\"") }

// CookieOverrides reports whether a cookie replaces the method: Flight and Phalcon read $_REQUEST["_method"].
func (h Headers) CookieOverrides() (found bool) {
	h.eachCookie(func(name, _ string) { found = found || overrides(cookieText(name)) })
	return found
}

// cookieText is the name of a cookie as PHP decodes it. It ends at NUL.
func cookieText(name string) string {
	if !strings.ContainsAny(name, "%+") {
		return name
	}
	name, _, _ = strings.Cut(strings.ReplaceAll(decodeAgain(name), "+", " "), "\x00")
	return name
}
