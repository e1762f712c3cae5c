package request

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDecodes is how often a name is percent-decoded at most. A name with an escape left
// after that is refused.
const maxDecodes = 4

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

// decodeEscapes decodes each escape that some parser of names is known to read.
func decodeEscapes(name string) string {
	name = decodeMixed(name)
	if strings.Contains(name, `\`) {
		name = decodeOctal(name)
	}
	return name
}

// decodeMixed decodes both forms of escapes, "%6f" and "%u006f", as often as some chain of parsers might.
func decodeMixed(s string) string {
	for range maxDecodes {
		d := decodeWide(decodeAgain(s), '/')
		if d == s {
			break
		}
		s = d
	}
	return s
}

// decodeWide decodes the escapes "%u0073", which CGI.pm and ASP read. Others stay. slash stands for a decoded slash.
func decodeWide(s string, slash rune) string {
	if !strings.Contains(s, "%u") && !strings.Contains(s, "%U") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+5 < len(s) && s[i+1]|0x20 == 'u' {
			if r, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil {
				if r == '/' || r == '\\' && slash != '/' {
					r = uint64(slash)
				}
				b.WriteRune(rune(r))
				i += 5
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
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
