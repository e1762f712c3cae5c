package request

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scimward/scimward/sidecar/headers"
)

// Bounds on the Cookie header. Beyond them some parsers find no cookie, and a locked user
// would look anonymous.
const (
	maxCookieBytes = 16 << 10
	maxCookies     = 150
)

// CheckCookies bounds the cookie headers before they are parsed. credentialCookies judges
// the form of each cookie with a credential.
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

// foundCookie is a credential in one cookie, or in the chunks of one.
type foundCookie struct {
	names string // separated by blanks
	value string
}

// credentialCookies returns the credentials of a place. A cookie that is absent, or that the
// application emptied at sign-out, has none. It finds whatever a lenient parser might take for a
// cookie of the place, and accepts only the plain form, each name once. Source.Escapes lets
// %-escapes pass in the value. For Source.Chunked, it finds every cookie whose name starts with
// the name, apart from Source.Apart: NextAuth joins all of these, whatever follows.
func (h Headers) credentialCookies(s *Source) ([]foundCookie, *Problem) {
	folded := foldCookie(s.Name)
	bad := func() *Problem {
		return problem(400, ReasonCookieForm, "send the cookie "+s.Name+" exactly once, in its plain form")
	}
	var found []foundCookie
	for _, line := range h["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if !s.mentioned(pair, folded) {
				continue
			}
			n, v, ok := strings.Cut(strings.TrimPrefix(pair, " "), "=")
			if !ok || contains(found, n) || !s.names(n) || v != "" && (!plainValue(v, s.Escapes) || !plainEscapes(v)) {
				return nil, bad()
			}
			found = append(found, foundCookie{n, v})
		}
	}
	if s.Chunked && len(found) > 0 && found[0].names != s.Name {
		return joinChunks(s.Name, found)
	}
	if s.Chunked && len(found) > 1 { // the whole value and chunks
		return nil, bad()
	}
	return slices.DeleteFunc(found, func(f foundCookie) bool { return f.value == "" }), nil
}

// mentioned reports whether a pair might be read as a cookie of the place. The plain form of a cookie that is apart is
// none.
func (s *Source) mentioned(pair, folded string) (found bool) {
	starts := s.Starts || s.Chunked
	eachInPair(pair, func(name, _ string) {
		found = found || isCookie(name, folded, starts) && !slices.Contains(s.Apart, name)
	})
	return found
}

func contains(found []foundCookie, name string) bool {
	return slices.ContainsFunc(found, func(f foundCookie) bool { return foldCookie(f.names) == foldCookie(name) })
}

// names reports whether a cookie of the place may have this name.
func (s *Source) names(name string) bool {
	if rest, ok := strings.CutPrefix(name, s.Name+"."); ok && s.Chunked {
		n, err := strconv.ParseUint(rest, 10, 8)
		return err == nil && strconv.FormatUint(n, 10) == rest
	}
	if s.Starts {
		return strings.HasPrefix(name, s.Name) && headers.IsToken(name)
	}
	return name == s.Name
}

// joinChunks joins the cookies NAME.0, NAME.1 and so on. One that is absent or empty, and the
// whole value beside them, could be read in two ways.
func joinChunks(name string, found []foundCookie) ([]foundCookie, *Problem) {
	values := make([]string, len(found))
	empty := 0
	for _, f := range found {
		n, err := strconv.Atoi(strings.TrimPrefix(f.names, name+"."))
		if err != nil || n >= len(values) {
			return nil, problem(400, ReasonCookieForm, "send every part of the cookie "+name+" exactly once, numbered from 0")
		}
		if values[n] = f.value; f.value == "" {
			empty++
		}
	}
	switch {
	case empty == len(found): // emptied at sign-out
		return nil, nil
	case empty > 0:
		return nil, problem(400, ReasonCookieForm, "a part of the cookie "+name+" is empty: sign in again")
	}
	names := make([]string, len(found))
	for i := range names {
		names[i] = name + "." + strconv.Itoa(i)
	}
	return []foundCookie{{strings.Join(names, " "), strings.Join(values, "")}}, nil
}

// decodeOctal decodes "\163" as "s". Other backslashes stay.
func decodeOctal(name string) string {
	var out []byte
	for i := 0; i < len(name); i++ {
		if name[i] == '\\' && i+3 < len(name) {
			if c, err := strconv.ParseUint(name[i+1:i+4], 8, 8); err == nil {
				out, i = append(out, byte(c)), i+3
				continue
			}
		}
		out = append(out, name[i])
	}
	return string(out)
}

// skipped are the separators of RFC 2616, which Tomcat's LegacyCookieProcessor skips before a name.
const skipped = "()<>@,:\\\"/[]?={} \t"

// isCookie reports whether a name might be read as the folded one, or as that of a part of its cookie.
func isCookie(name, folded string, starts bool) bool {
	is := func(name string) bool {
		rest, is := strings.CutPrefix(foldCookie(name), folded)
		return is && (rest == "" || starts || numbered(rest))
	}
	if is(strings.TrimSpace(name)) {
		return true
	}
	if odd(name) {
		wide, _ := cutAny(decodeEscapes(name), "[")
		if is(wide) || couldStart(wide, folded, func(r rune) bool { return starts || '0' <= r && r <= '9' }) {
			return true
		}
	}
	if name = strings.TrimLeft(name, " "); !strings.ContainsAny(name, " +[%") {
		return false
	}
	name, _, _ = strings.Cut(decodeAgain(name), "\x00") // a name ends there in PHP, and a blank at its end is "_"
	return is(phpName(strings.ReplaceAll(name, "+", " ")))
}

// endsCookie reports whether r ends a cookie for some parsers, apart from a comma.
func endsCookie(r rune) bool {
	return unicode.IsSpace(r) || r >= utf8.RuneSelf || strings.ContainsRune(`"[]\`, r)
}

// numbered reports whether what follows a name counts the parts of a split cookie:
// ".0", "-1", "_2", "3", "*0", and "C1" of ASP.NET.
func numbered(rest string) bool {
	rest = strings.TrimPrefix(strings.TrimLeft(rest, "_-*"), "c")
	return rest != "" && strings.Trim(rest, "0123456789") == ""
}

// foldedCookie are characters that foldCookie does not change.
const foldedCookie = "_-0123456789abcdefghijklmnopqrstuvwxyz"

// foldCookie folds a cookie name as all lenient parsers together do: escapes decoded,
// quotes, dollar signs and blanks dropped, an array suffix and what follows NUL cut, dots as
// underscores, lower case. A byte that is no UTF-8 may be a blank of Latin-1, which many trim.
func foldCookie(n string) string {
	if t := strings.TrimSpace(n); strings.Trim(t, foldedCookie) == "" {
		return t // most names
	}
	n = strings.TrimSpace(decodeAgain(n))
	if i := strings.IndexAny(n, "[\x00"); i > 0 {
		n = n[:i]
	}
	n = strings.Map(func(r rune) rune {
		switch {
		case r == '.':
			return '_'
		case strings.ContainsRune(`"'\$+`, r) || blankOrDot(r) || unicode.IsControl(r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, n)
	return foldCase(n)
}

// decodeAgain decodes escapes as often as some chain of parsers might.
func decodeAgain(s string) string {
	for range maxDecodes {
		d, _ := decodeOnce(s, nil)
		if d == s {
			break
		}
		s = d
	}
	return s
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
