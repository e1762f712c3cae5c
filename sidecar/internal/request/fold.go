package request

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/scimward/scimward/store/scim"
)

// maxForms is how often compatibility forms and the escapes that they spell are folded.
const maxForms = 4

// checkPath refuses bad escapes in a path as sent, a number sign, control characters after any decoding, and what is no
// UTF-8 after the first. A bad escape that appears only by decoding ("100%25") stays as it is.
func checkPath(s string) (escapedSlash, ok bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f || c == '#':
			return false, false
		case c == '%':
			b, valid := escapedByte(s, i)
			if !valid {
				return false, false
			}
			escapedSlash = escapedSlash || b == '/' || b == '\\'
		}
	}
	if _, ok = collapse(s); !ok {
		return false, false
	}
	for i, text := range decodings(strings.ReplaceAll(s, `\`, string(softSlash))) {
		if strings.ContainsFunc(text, hidden) || i <= 1 && !utf8.ValidString(text) {
			return false, false
		}
	}
	return escapedSlash, true
}

// decodings returns a text as it is, after one decoding, after two and after all of them, without those that are equal.
// Each is what some program reads: "%25ed" is "%ed" for most, and no text any more for one that decodes again. From the
// second on, "%u0065" counts too; as sent, it is bad in a path. An escaped slash is the mark of soft slashes then.
func decodings(s string) []string {
	list := []string{s}
	if !strings.Contains(s, "%") {
		return list
	}
	once := decodeMarked(s)
	twice := decodeMarked(decodeWide(once, softSlash))
	last := twice
	for range maxDecodes {
		d := decodeWide(last, softSlash)
		if all, ok := collapse(d); ok {
			d = all
		} else {
			d = decodeMarked(d)
		}
		if d == last {
			break
		}
		last = d
	}
	return appendNew(appendNew(appendNew(list, once), twice), last)
}

// decodeMarked is decodeOnce with marks for slashes.
func decodeMarked(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c, valid := byte(0), false
		if s[i] == '%' {
			c, valid = escapedByte(s, i)
		}
		switch {
		case !valid:
			out = append(out, s[i])
			continue
		case c == '/' || c == '\\':
			c = softSlash
		case c == softSlash: // a control character stays one, and is no slash
			c++
		}
		out, i = append(out, c), i+2
	}
	return string(out)
}

// collapse decodes escapes until none is left. It refuses control characters. The order of
// decoding does not matter, as escapes do not overlap. So one pass that looks back is enough.
func collapse(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		out = append(out, s[i])
		for n := len(out) - 3; n >= 0 && out[n] == '%'; n -= 2 {
			c, valid := escapedByte(string(out[n:]), 0)
			if !valid {
				break
			}
			switch {
			case c < ' ' || c == 0x7f:
				return "", false
			case c == '/' || c == '\\':
				c = softSlash
			}
			out = append(out[:n], c)
		}
	}
	return string(out), true
}

// hidden reports whether r is a control character apart from the mark of soft slashes.
func hidden(r rune) bool {
	return r != softSlash && (unicode.IsControl(r) || r == '\u2028' || r == '\u2029')
}

// foldForms folds what some programs replace before they compare text: compatibility forms
// (NFKC), characters that nobody sees, and characters that best-fit tables map to slashes
// and dots. ASCII stays as it is.
func foldForms(s string) string {
	for range maxForms {
		if ascii(s) {
			return s
		}
		s = strings.Map(foldRune, norm.NFKC.String(strings.Map(foldRune, s)))
		s = strings.Map(foldRune, scim.FoldCase(s))
		d, ok := collapse(s) // NFKC makes an escape of a fullwidth percent sign
		if !ok || d == s {
			return s
		}
		s = d
	}
	return s
}

// withoutMarks drops the accents of letters, as WordPress does (remove_accents).
func withoutMarks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// foldRune maps r to what best-fit tables and compatibility forms make of it, -1 when
// nothing is seen of it.
func foldRune(r rune) rune {
	switch r {
	case '\u2044', '\u2215', '\u29f8', '\u2571', '\uff0f': // fraction, division, big solidus, box drawing, fullwidth
		return softSlash
	case '\u2216', '\u29f5', '\u29f9', '\ufe68', '\uff3c', '\u00a5', '\u20a9', '\uffe5', '\uffe6': // backslashes, yen, won
		return softSlash
	case '\u2024', '\u3002', '\uff0e', '\ufe52', '\uff61': // one-dot leader, full stops
		return '.'
	case '\u0131', '\u0130': // a Turkish i without its dot, and with it
		return 'i'
	}
	if r >= utf8.RuneSelf && invisible(r) {
		return -1
	}
	return r
}

func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// foldName folds the text of one segment without its parameters: case, blanks and dots
// around it, and everything from the first dot within it on. It reports whether it cut a
// suffix off.
func foldName(s string) (name string, suffixed bool) {
	s = strings.TrimLeftFunc(s, blankOrDot)
	s, _, suffixed = strings.Cut(s, ".")
	return foldCase(strings.TrimRightFunc(s, blankOrDot)), suffixed
}

func blankOrDot(r rune) bool { return r == '.' || blank(r) }

// blank counts the plus sign, which forms decode to a blank.
func blank(r rune) bool { return r == '+' || r == '\ufeff' || r == '\u200b' || unicode.IsSpace(r) }

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
