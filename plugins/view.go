package plugins

import (
	"bytes"
	"html"
	"iter"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxViews bounds the layers of escapes that are undone.
const maxViews = 5

// view is a text with folded letters and some layers of escapes undone. It knows where each byte comes
// from.
type view struct {
	text []byte
	from []int32 // for each byte, where its part of the original begins; one more entry for the end
}

// views yields the folded text, and then the text with one layer of escapes after the other undone. A layer
// is all of JSON (\/, \u0026), URLs (%2F, +) and HTML (&amp;, &#38;) at once.
func views(text []byte) iter.Seq[view] {
	return func(yield func(view) bool) {
		v := newView(text).fold()
		for range maxViews {
			if !yield(v) || !bytes.ContainsAny(v.text, `\%&+`) {
				return
			}
			next := v.unescape().fold()
			if bytes.Equal(next.text, v.text) {
				return
			}
			v = next
		}
	}
}

// start and end return the part of the original behind the bytes from i, and before j.
func (v view) start(i int) int { return int(v.from[i]) }

func (v view) end(j int) int {
	last := v.from[j-1]
	for v.from[j] == last { // within a character of several bytes
		j++
	}
	return int(v.from[j])
}

// newView returns text as it is.
func newView(text []byte) view {
	v := view{text, make([]int32, len(text)+1)}
	for i := range v.from {
		v.from[i] = int32(i)
	}
	return v
}

// fold folds the letters.
func (v view) fold() view {
	out := view{make([]byte, 0, len(v.text)), make([]int32, 0, len(v.from))}
	for i := 0; i < len(v.text); {
		r, n := utf8.DecodeRune(v.text[i:])
		if r == utf8.RuneError && n == 1 {
			out.put(v.text[i:i+1], v.from[i])
		} else {
			out.put(utf8.AppendRune(nil, foldRune(r)), v.from[i])
		}
		i += n
	}
	out.from = append(out.from, v.from[len(v.text)])
	return out
}

// foldRune maps the letters that [unicode.SimpleFold] connects to one of them, ASCII in lower case.
func foldRune(r rune) rune {
	if r >= utf8.RuneSelf {
		r = leastFold(r)
	}
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// leastFold returns the least of the letters that differ from r in case only.
func leastFold(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

func (v *view) put(b []byte, from int32) {
	for _, c := range b {
		v.text, v.from = append(v.text, c), append(v.from, from)
	}
}

// unescape undoes one layer.
func (v view) unescape() view {
	out := view{make([]byte, 0, len(v.text)), make([]int32, 0, len(v.from))}
	for i := 0; i < len(v.text); {
		char, n := unescapeAt(v.text[i:])
		out.put(char, v.from[i])
		i += n
	}
	out.from = append(out.from, v.from[len(v.text)])
	return out
}

// unescapeAt reads one byte or one escape, and returns what it means and its length.
func unescapeAt(b []byte) ([]byte, int) {
	switch b[0] {
	case '+':
		return []byte{' '}, 1
	case '%':
		if c, ok := hexNumber(b, 1, 2); ok {
			return []byte{byte(c)}, 3
		}
	case '&':
		return unescapeHTML(b)
	case '\\':
		return unescapeJSON(b)
	}
	return b[:1], 1
}

func unescapeHTML(b []byte) ([]byte, int) {
	const longest = 33 // of the names in HTML
	end := bytes.IndexByte(b[:min(len(b), longest)], ';')
	if end < 0 {
		return b[:1], 1
	}
	entity := string(b[:end+1])
	if char := html.UnescapeString(entity); char != entity {
		return []byte(char), end + 1
	}
	return b[:1], 1
}

func unescapeJSON(b []byte) ([]byte, int) {
	if len(b) < 2 {
		return b[:1], 1
	}
	switch c := b[1]; c {
	case '"', '\\', '/', '\'':
		return b[1:2], 2
	case 'n', 't', 'r', 'b', 'f':
		return []byte{"\n\t\r\b\f"[bytes.IndexByte([]byte("ntrbf"), c)]}, 2
	case 'x':
		if n, ok := hexNumber(b, 2, 2); ok {
			return utf8.AppendRune(nil, n), 4
		}
	case 'u':
		n, ok := hexNumber(b, 2, 4)
		if !ok {
			break
		}
		if utf16.IsSurrogate(n) && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if low, ok := hexNumber(b, 8, 4); ok && utf16.DecodeRune(n, low) != unicode.ReplacementChar {
				return utf8.AppendRune(nil, utf16.DecodeRune(n, low)), 12
			}
		}
		return utf8.AppendRune(nil, n), 6
	}
	return b[:1], 1
}

// hexNumber reads exactly digits hexadecimal digits at start.
func hexNumber(b []byte, start, digits int) (rune, bool) {
	if len(b) < start+digits {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[start:start+digits]), 16, 32)
	return rune(n), err == nil
}
