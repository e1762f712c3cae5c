package scim

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

//go:embed lookalikes.txt
var lookalikeText string

// lookalikes are the folded names of lookalikes.txt.
type lookalikes struct {
	names    map[string]bool // true for an opposite of active
	suffixes []string        // of the names with a star
}

//nolint:gochecknoglobals // built once, read-only afterwards
var lookalikeList = sync.OnceValue(func() lookalikes {
	l := lookalikes{names: map[string]bool{}}
	for line := range strings.Lines(lookalikeText) {
		name := foldWord(line)
		switch {
		case name == "" || line[0] == '#':
		case line[0] == '*':
			l.suffixes = append(l.suffixes, name)
		default:
			l.names[name] = line[0] == '-'
		}
	}
	return l
})

// Lookalike reports whether a name or path may mean active in another spelling or another directory: a
// part of it is within two edits of active (Damerau-Levenshtein), or in lookalikes.txt. Letter case,
// accents and signs do not count. A member of that name is never ignored, because ignoring it could lose
// a deactivation. No attribute of the schemas is a lookalike.
func Lookalike(name string) bool { return slices.ContainsFunc(words(name), lookalikeWord) }

// OppositeOfActive reports whether a [Lookalike] means the opposite of active, such as disabled.
func OppositeOfActive(name string) bool {
	return slices.ContainsFunc(words(name), func(word string) bool { return lookalikeList().names[word] })
}

// words returns the parts of a path, each whole and in words, folded.
func words(name string) []string {
	var out []string
	for _, part := range nameParts(name) {
		out = append(out, foldWord(part))
		inner := strings.FieldsFunc(part, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		for _, word := range inner {
			if len(inner) > 1 {
				out = append(out, foldWord(word))
			}
		}
	}
	return out
}

// nameParts splits a path, and leaves out texts in double quotes: they are values.
func nameParts(name string) []string {
	quoted, pairs := false, strings.Count(name, `"`)%2 == 0
	return strings.FieldsFunc(name, func(r rune) bool {
		if r == '"' {
			quoted = pairs && !quoted
			return true
		}
		return quoted || strings.ContainsRune(":.[]() /", r)
	})
}

// foldWord folds letter case and compatibility forms, and keeps letters and digits only.
func foldWord(s string) string {
	if !isASCII(s) {
		s = FoldCase(norm.NFKD.String(s))
		s = norm.NFKD.String(s)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			return -1
		case r == 'ı': // its capital is I
			return 'i'
		}
		return lower(r)
	}, s)
}

func lookalikeWord(word string) bool {
	const name, edits = "active", 2
	l := lookalikeList()
	if _, listed := l.names[word]; listed {
		return true
	}
	for _, suffix := range l.suffixes {
		if strings.HasSuffix(word, suffix) {
			return true
		}
	}
	runes := []rune(word)
	return len(runes) >= len(name)-edits && len(runes) <= len(name)+edits && distance([]rune(name), runes) <= edits
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours between a and b.
// An edited neighbour may be swapped again, so it is the unrestricted Damerau-Levenshtein distance.
func distance(a, b []rune) int {
	far := len(a) + len(b)
	d := make([][]int, len(a)+2)
	for i := range d {
		d[i] = make([]int, len(b)+2)
		d[i][0] = far
		if i > 0 {
			d[i][1] = i - 1
		}
	}
	for j := range len(b) + 1 {
		d[0][j+1], d[1][j+1] = far, j
	}
	lastRow := map[rune]int{} // of each letter of b, the last row where a has it
	for i := 1; i <= len(a); i++ {
		lastCol := 0 // the last column of this row with equal letters
		for j := 1; j <= len(b); j++ {
			row, col, cost := lastRow[b[j-1]], lastCol, 1
			if a[i-1] == b[j-1] {
				cost, lastCol = 0, j
			}
			d[i+1][j+1] = min(d[i][j]+cost, d[i+1][j]+1, d[i][j+1]+1,
				d[row][col]+(i-row-1)+1+(j-col-1))
		}
		lastRow[a[i-1]] = i
	}
	return d[len(a)+1][len(b)+1]
}

// lookalike refuses a member that would be ignored although it may be a deactivation. shown is the member
// as the client sees it.
func (n *normalizer) lookalike(shown, name string) *Error {
	if n.t.Schema.Attribute("active") == nil || !Lookalike(name) {
		return nil
	}
	n.note(DevLookalike)
	err := Errorf(400, TypeInvalidSyntax, "%s is not read here, but looks like active, which says whether the user "+
		`has access; send "active": false or "active": true instead, or leave it out`, quoteShort(shown))
	err.Code = DevLookalike
	return err
}

// dropped checks the members of a value that is ignored.
func (n *normalizer) dropped(name string, v any) *Error {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			if err := n.dropped(name, e); err != nil {
				return err
			}
		}
	}
	o, _ := asObject(v)
	for _, key := range o.keys() {
		inner := name + "." + key
		if err := n.lookalike(inner, key); err != nil {
			return err
		}
		if err := n.dropped(inner, o[key]); err != nil {
			return err
		}
	}
	return nil
}

// hidden checks an unknown value that is ignored. Beside its members, a text in it may name active, as in
// {"name": "active", "value": false}, or be a JSON text that has such a member.
func (n *normalizer) hidden(name string, v any) *Error {
	switch v := v.(type) {
	case string:
		if inside, ok := jsonText(v); ok {
			return n.hidden(name, inside)
		}
		return n.text(name, v)
	case []any:
		for _, e := range v {
			if err := n.hidden(name, e); err != nil {
				return err
			}
		}
	case Object, map[string]any:
		o, _ := asObject(v)
		if err := n.dropped(name, o); err != nil {
			return err
		}
		for _, key := range o.keys() {
			if err := n.hidden(name+"."+key, o[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// text checks a text in an unknown value that is ignored: it may be a word, or give values to words.
func (n *normalizer) text(name, text string) *Error {
	const longest = 64 // of a word
	var words []string
	if len(text) <= longest {
		words = append(words, text)
	}
	for _, set := range assignment.FindAllStringSubmatch(text, -1) {
		words = append(words, set[1])
	}
	for _, word := range words {
		if err := n.lookalike("a text in "+name, foldWord(word)); err != nil {
			return err
		}
	}
	return nil
}

// assignment is a word that a text gives a value, as in active=false and {'active': false}.
var assignment = regexp.MustCompile(`([\pL\pN_.-]{1,64})["']?\s*[:=]`)

// jsonText returns the value of a JSON text with an object or an array.
func jsonText(s string) (any, bool) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "{") && !strings.HasPrefix(s, "[") {
		return nil, false
	}
	o, err := DecodeObject([]byte(`{"text":`+s+`}`), DefaultLimits())
	return o["text"], err == nil
}
