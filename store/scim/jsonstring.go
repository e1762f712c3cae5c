package scim

import (
	"unicode/utf16"
	"unicode/utf8"
)

// scanString reads the JSON string that starts at the quote s[i] and returns its
// value and the index behind the closing quote. Unlike encoding/json it refuses
// invalid UTF-8 and lone surrogates instead of replacing them (B8): a value that
// two readers see differently must not pass. fault says what is wrong, "" if
// nothing.
func scanString(s string, i int) (value string, end int, fault string) {
	start := i + 1
	for j := start; j < len(s); {
		c := s[j]
		switch {
		case c == '"':
			return s[start:j], j + 1, ""
		case c == '\\':
			return scanEscaped(s, start, j)
		case c < 0x20:
			return "", j, "a control character in a string must be escaped"
		case c < utf8.RuneSelf:
			j++
		default:
			r, n := utf8.DecodeRuneInString(s[j:])
			if r == utf8.RuneError && n <= 1 {
				return "", j, "a string is not valid UTF-8"
			}
			j += n
		}
	}
	return "", len(s), "a string is not closed"
}

// scanEscaped goes on from the first backslash at j of a string that started at start.
func scanEscaped(s string, start, j int) (string, int, string) {
	buf := append(make([]byte, 0, j-start+16), s[start:j]...)
	for j < len(s) {
		c := s[j]
		switch {
		case c == '"':
			return string(buf), j + 1, ""
		case c == '\\':
			r, n, fault := scanEscape(s[j:])
			if fault != "" {
				return "", j, fault
			}
			buf = utf8.AppendRune(buf, r)
			j += n
		case c < 0x20:
			return "", j, "a control character in a string must be escaped"
		default:
			r, n := utf8.DecodeRuneInString(s[j:])
			if r == utf8.RuneError && n <= 1 {
				return "", j, "a string is not valid UTF-8"
			}
			buf = append(buf, s[j:j+n]...)
			j += n
		}
	}
	return "", len(s), "a string is not closed"
}

// scanEscape reads one escape sequence; s starts at the backslash.
func scanEscape(s string) (r rune, n int, fault string) {
	const bad = "a string holds an unknown escape"
	if len(s) < 2 {
		return 0, 0, bad
	}
	switch s[1] {
	case '"', '\\', '/':
		return rune(s[1]), 2, ""
	case 'b':
		return '\b', 2, ""
	case 'f':
		return '\f', 2, ""
	case 'n':
		return '\n', 2, ""
	case 'r':
		return '\r', 2, ""
	case 't':
		return '\t', 2, ""
	case 'u':
		return scanUnicode(s)
	}
	return 0, 0, bad
}

func scanUnicode(s string) (rune, int, string) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0, "a string holds an unknown escape"
	}
	if !utf16.IsSurrogate(r) {
		return r, 6, ""
	}
	if low, ok := hex4(s[6:]); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12, ""
		}
	}
	return 0, 0, "a string holds half of a surrogate pair"
}

// hex4 reads \uXXXX at the start of s.
func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[2:6]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// appendString writes s as a JSON string with the fewest escapes.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
