package request

import (
	"strings"
	"unicode/utf8"
)

// carrier is a part of a request in which frameworks look for a parameter. Several may be joined.
type carrier uint8

const (
	ofCookies  carrier = 1 << iota // PHP's $_REQUEST has them without a request_order; ASP.NET, Zope, Hertz and Fiber too
	ofQuery                        // Zope and ColdFusion look for a cookie there first
	ofMatrix                       // ";name=value" of a segment: the session of a servlet container
	ofSegments                     // "/name/value": Yii 1, Zend Framework 1, ThinkPHP ("/x-name/value" too)
)

// String is for people.
func (c carrier) String() string {
	switch c {
	case ofCookies:
		return "cookies"
	case ofQuery:
		return "query parameters"
	case ofMatrix, ofSegments:
	}
	return "path parameters"
}

// parameter is a name and a value that some parser finds in a carrier. Those of cookies and query are as sent; those of
// the path have no escapes.
type parameter struct {
	in          carrier
	name, value string
}

// parameters calls f with each parameter of the carriers. Whatever may be in several of them is looked for here; a
// rule then asks [parameter.reads] for the name. The readers of a place in its own carrier are apart: they refuse
// odd forms.
func (r *Request) parameters(in carrier, f func(parameter)) {
	if in&ofCookies != 0 {
		r.Headers.eachCookie(func(name, value string) { f(parameter{ofCookies, name, value}) })
	}
	if in&ofQuery != 0 && r.Query != "" {
		eachPair(r.Query, func(name, value string) { f(parameter{ofQuery, name, value}) })
	}
	switch {
	case in&(ofMatrix|ofSegments) == 0:
	case !strings.Contains(r.Path, "%"):
		inPath(r.Path, in, f)
	default:
		for _, text := range decodings(r.Path) {
			inPath(text, in, f)
		}
	}
}

// parameters calls f with each parameter of the carriers, also with those in routes of the path that the query names:
// "?s=index/index/name/value" of ThinkPHP.
func (p *Path) parameters(r *Request, in carrier, f func(parameter)) {
	r.parameters(in, f)
	for i := range p.routes {
		inPath(p.routes[i].text, in, f)
	}
}

// inPath calls f with each parameter of a decoded path in the carriers.
func inPath(text string, in carrier, f func(parameter)) {
	if in&ofMatrix != 0 && strings.Contains(text, ";") {
		eachSegment(text, func(_, matrix string) {
			for pair := range strings.FieldsFuncSeq(matrix, endsMatrix) {
				name, value := cutPair(pair)
				f(parameter{ofMatrix, name, value})
			}
		})
		inLongMatrix(text, f)
	}
	if in&ofSegments != 0 {
		inSegments(text, f)
	}
}

// inSegments calls f with each segment and the one behind it. Only some routers cut off what follows a semicolon, and
// for ThinkPHP the name begins behind the last sign in its segment.
func inSegments(text string, f func(parameter)) {
	name := ""
	for value := range strings.FieldsFuncSeq(text, separates) {
		if name != "" && plainName(name) && plainName(value) && !strings.Contains(name, "-") {
			f(parameter{ofSegments, name, value})
			name = value
			continue
		}
		for _, n := range several(name, lastWord(name)) {
			for _, v := range several(value, "") {
				f(parameter{ofSegments, n, v})
			}
		}
		name = value
	}
}

// several returns a text and another, each also up to its first semicolon, without those that are empty or equal.
func several(text, other string) (list []string) {
	for _, t := range [...]string{text, other} {
		short, _, _ := strings.Cut(t, ";")
		for _, v := range [...]string{t, short} {
			if v != "" {
				list = appendNew(list, v)
			}
		}
	}
	return list
}

// inLongMatrix calls f with the parameters behind the first semicolon of a path that reach beyond its segment: all of
// them are the query for Fastify 4 (useSemicolonDelimiter).
func inLongMatrix(text string, f func(parameter)) {
	_, query, _ := strings.Cut(text, ";")
	end := strings.IndexFunc(query, separates)
	if end < 0 {
		return
	}
	query = query[strings.LastIndexAny(query[:end], ";&")+1:]
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == ';' || c == '&' }) {
		name, value := cutPair(strings.ReplaceAll(pair, string(softSlash), "/"))
		f(parameter{ofMatrix, name, value})
	}
}

// endsMatrix reports whether a character ends a parameter of a segment. Fastify 4 splits at "&".
func endsMatrix(c rune) bool { return c == ';' || c == ',' || c == '&' }

// eachSegment calls f with the segments of a decoded path, and what follows their first semicolon.
func eachSegment(text string, f func(segment, matrix string)) {
	for segment := range strings.FieldsFuncSeq(text, separates) {
		segment, matrix, _ := strings.Cut(segment, ";")
		f(segment, matrix)
	}
}

// lastWord is the letters, digits and underscores at the end of text.
func lastWord(text string) string {
	i := len(text)
	for i > 0 && nameByte(text[i-1]) {
		i--
	}
	return text[i:]
}

// eachPair calls f with every name and value of a query, as sent. A semicolon ends a parameter for some.
func eachPair(query string, f func(name, value string)) {
	for pair := range strings.SplitSeq(query, "&") {
		f(cutPair(pair))
		if !strings.Contains(pair, ";") {
			continue
		}
		for part := range strings.SplitSeq(pair, ";") {
			f(cutPair(part))
		}
	}
}

// eachParameter is eachPair for names and values that are decoded once.
func eachParameter(query string, f func(name, value string)) {
	eachPair(query, func(name, value string) { f(unescapeForm(name), unescapeForm(value)) })
}

// eachCookie calls f for each cookie that some parser might read from the headers, with name and value as they are
// sent.
func (h Headers) eachCookie(f func(name, value string)) {
	for _, line := range h["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			eachInPair(pair, f)
		}
	}
}

// eachInPair calls f for each cookie that some parser might read from a pair. Parsers also begin a cookie behind a
// comma, a blank or a quote: Python's http.cookies ends a value at a blank, WebOb looks for names behind whatever has
// no place in a name or value, and Tomcat skips signs before a name. Werkzeug 1 takes a name in quotes with octal
// escapes.
func eachInPair(pair string, f func(name, value string)) {
	pair = strings.TrimSpace(pair)
	name, value := cutPair(pair)
	f(name, value)
	if !hasCookieWithin(pair) && strings.TrimLeft(pair, skipped) == pair {
		return
	}
	if strings.Contains(name, `\`) {
		f(decodeOctal(bareValue(name)), value)
	}
	for part := range strings.SplitSeq(pair, ",") {
		if strings.Contains(part, "=") {
			f(cutPair(strings.TrimLeft(part, skipped)))
		}
	}
	eachWithin(pair, f)
}

func cutPair(pair string) (name, value string) {
	name, value, _ = strings.Cut(pair, "=")
	return name, value
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

// hasCookieWithin reports whether a pair has a character of beginsCookie. It looks at bytes, as tokens are long.
func hasCookieWithin(pair string) bool {
	for i := range len(pair) {
		if c := pair[i]; c <= ' ' || c == '"' || c == ',' || c >= '[' && c <= ']' || c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// sentName is the name of a parameter as it was sent, and the names that somebody looks for.
type sentName struct {
	text  string
	known func() []string
}

// readings yields the names, in lower case, that frameworks make of it: decoded, up to NUL, as PHP corrects it, between
// brackets (Rack, qs), before a converter of Zope, without quotes. Of the known names it also yields each that an odd
// name could be. It is no function that returns an iterator, as loops over one need memory.
func (n sentName) readings(yield func(string) bool) {
	if plainName(n.text) {
		yield(foldCase(n.text))
		return
	}
	for _, reading := range oddReadings(n.text, n.known) {
		if !yield(reading) {
			return
		}
	}
}

func oddReadings(name string, known func() []string) []string {
	name = decodeEscapes(strings.ReplaceAll(name, "+", " "))
	list := couldBeOf(name, known)
	if !ascii(name) {
		name = foldForms(name)
	}
	name = foldCase(name)
	short, _, _ := strings.Cut(name, "\x00")
	typed, _, _ := strings.Cut(short, ":")
	for _, n := range [...]string{name, short, typed} {
		n = strings.Map(unquoted, n)
		bare := strings.TrimSpace(n)
		for _, reading := range [...]string{bare, phpName(n), phpName(bare), firstName(bare)} {
			list = appendNew(list, reading)
		}
	}
	return list
}

// plainName reports whether every framework reads a name as it is.
func plainName(name string) bool {
	for i := range len(name) {
		if !nameByte(name[i]) && name[i] != '-' {
			return false
		}
	}
	return true
}

// unquoted drops the signs that parsers of cookies take off, and bytes that are no text.
func unquoted(r rune) rune {
	if strings.ContainsRune(`"'\$`, r) || r < ' ' || r == 0x7f || r == '\ufffd' {
		return -1
	}
	return r
}

// values returns what frameworks make of the value, without blanks and quotes around it: as sent, decoded once or as
// often as it can be, with the escapes of Python's cookies, and of a segment without its suffix.
func (p *parameter) values() []string {
	list := []string{bareValue(p.value)}
	add := func(v string) { list = appendNew(list, bareValue(v)) }
	switch p.in {
	case ofCookies, ofQuery:
		form := strings.ReplaceAll(p.value, "+", " ")
		once, _ := decodeOnce(form, nil)
		add(once)
		add(decodeAgain(form))
		add(decodeWide(form, '/'))
		add(decodeMixed(form))
		add(decodeMixed(p.value))
		if strings.Contains(p.value, `\`) {
			add(strings.ReplaceAll(decodeOctal(p.value), `\`, ""))
		}
	case ofSegments:
		if i := strings.LastIndexByte(p.value, '.'); i > 0 { // ThinkPHP: url_html_suffix; Yii 1: urlSuffix
			add(p.value[:i])
		}
	case ofMatrix:
	}
	return list
}

// bareValue takes off what applications trim, and quotes.
func bareValue(v string) string { return strings.Trim(v, " \t\r\n\v\x00\"") }
