package request

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxFieldName bounds the name of a field, in bytes, where fields of a body or a query matter.
const MaxFieldName = 4 << 10

func longName(what string) string {
	return fmt.Sprintf("%s has a name of more than %d bytes: shorten it", what, MaxFieldName)
}

// FieldSet is a set of names of fields. It finds them in whatever name some framework reads as one of them.
//
// A name is a row of words: letters and digits between separators. The case of letters, compatibility forms and
// separators make no difference. A reading is a run of words that begins and ends where a framework cuts:
//
//   - at the ends, and at every sign except "_" and "-" ("user.email", "user[email]", "form:email", "email(1i)")
//   - beside a number ("0-email", "user-0-email", "email_1")
//   - for a set of [NewFieldSet], behind a hyphen ("profile-email"), before words that frameworks append
//     ("email-clear", "birth_year"), and behind the namespace of a portlet ("_com_example_Portlet_email")
//
// No reading crosses a bracket that is closed: "user[name]" is no "username". What PHP corrects to "_" joins words:
// "display.name[]" and "display[name" are "display_name".
type FieldSet struct {
	names []setName
	tails []string
	plain *FieldSet // the same fields, as headers and cookies name them; only of NewFieldSet
}

type setName struct {
	text   string // the folded words
	across bool   // the name has brackets itself
}

// NewFieldSet returns the set of fields that a rule denies.
func NewFieldSet(fields []string) *FieldSet {
	// Active Record sets an association by the ids of others, and by their attributes.
	set := newFieldSet(fields, "", "attributes", "sattributes", "esattributes", "id", "ids")
	set.plain = newFieldSet(fields, "")
	return set
}

func newFieldSet(fields []string, tails ...string) *FieldSet {
	set := &FieldSet{tails: tails}
	for _, name := range fields {
		text := spell(name, set.forms()).text
		if text == "" {
			continue
		}
		across := strings.Contains(name, "[")
		set.names = append(set.names, setName{text, across})
		if one, several := strings.CutSuffix(text, "s"); several && set.forms() { // role_ids
			set.names = append(set.names, setName{one + "ids", across})
		}
	}
	return set
}

// across reports whether a name of the set is one of a member.
func (set *FieldSet) across() bool {
	return slices.ContainsFunc(set.names, func(n setName) bool { return n.across })
}

// forms reports whether the set looks behind prefixes and before suffixes of forms.
func (set *FieldSet) forms() bool { return len(set.tails) > 1 }

// Empty reports whether the set has no name.
func (set *FieldSet) Empty() bool { return len(set.names) == 0 }

// Has reports whether some framework might read name as one of the set. Its cost is linear in the name.
func (set *FieldSet) Has(name string) bool {
	s := spell(name, set.forms())
	for from, m := range s.marks {
		if m&begins == 0 {
			continue
		}
		for _, n := range set.names {
			if strings.HasPrefix(s.text[from:], n.text) && slices.ContainsFunc(set.tails, func(tail string) bool {
				return s.reads(from, from+len(n.text), tail, n.across)
			}) {
				return true
			}
		}
	}
	return set.namesOddly(name)
}

// equals reports whether a name, as a whole, is one of the set.
func (set *FieldSet) equals(name string) bool {
	if name == "" {
		return false
	}
	text := spell(name, false).text
	return slices.ContainsFunc(set.names, func(n setName) bool { return n.text == text })
}

// formPrefix reports whether a word is one that frameworks put before a name and "_".
func formPrefix(word string) bool {
	switch word {
	case "checkbox", "multiselect": // Struts
		return true
	}
	return false
}

// formSuffix reports whether a word is one that frameworks put behind a name and "_" or "-".
func formSuffix(word string) bool {
	switch word {
	case "clear": // Django: ClearableFileInput
	case "year", "month", "day", "hour", "minute", "second", "meridiem": // Django: SelectDateWidget; Grails
	case "cache": // CarrierWave
	case "repetitions": // FormEncode
	case "input", "hinput": // PrimeFaces
	default:
		return false
	}
	return true
}

// spelled is a name as a row of words.
type spelled struct {
	text  string // the words, folded, without what is between
	marks []mark // one for each byte of text, and one for its end
}

// mark says what may be at a place between two bytes.
type mark uint8

const (
	begins mark = 1 << iota // a reading may begin
	ends                    // a reading may end
	wall                    // no reading crosses
	cut                     // every framework that splits names splits here
)

// gap is what separates two words.
type gap uint8

const (
	soft   gap = 1 << iota // "_" or a blank
	hyphen                 // "-"
	hard                   // any other sign
	closed                 // a bracket that is closed
)

type nameWord struct {
	from, to int // in spelled.text
	before   gap
	text     bool // it is no number
}

// spell reads a name in one pass.
func spell(name string, forms bool) spelled {
	if name = decodeEscapes(name); !ascii(name) {
		name = foldCase(foldForms(name))
	}
	lastClosed := strings.LastIndexByte(name, ']')
	text := make([]byte, 0, len(name))
	var few [8]nameWord
	words, before := few[:0], hard
	for i, r := range name {
		if g := gapOf(r); g != 0 {
			if r == ']' || r == '[' && i < lastClosed {
				g |= closed
			}
			before |= g
			continue
		}
		if before != 0 {
			words = append(words, nameWord{from: len(text), before: before})
			before = 0
		}
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		text = utf8.AppendRune(text, r)
		w := &words[len(words)-1]
		w.to, w.text = len(text), w.text || r < '0' || r > '9'
	}
	s := spelled{string(text), make([]mark, len(text)+1)}
	s.mark(words, forms)
	if forms && strings.HasPrefix(name, "_") {
		s.markPortlet(words)
	}
	return s
}

// markPortlet marks where a name may begin behind the namespace that Liferay puts before each field: "_", the id of the
// portlet, which has two words at least or is a number, and "_".
func (s *spelled) markPortlet(words []nameWord) {
	for i := 2; i < len(words); i++ {
		s.marks[words[i].from] |= begins
	}
}

// gapOf returns 0 for a character of a word.
func gapOf(r rune) gap {
	switch {
	case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
		return 0
	case r == '_' || blank(r):
		return soft
	case r == '-':
		return hyphen
	case unicode.IsPunct(r) || unicode.IsSymbol(r) || unicode.IsControl(r):
		return hard
	}
	return 0
}

func (s *spelled) mark(words []nameWord, forms bool) {
	text := func(w nameWord) string { return s.text[w.from:w.to] }
	for i, w := range words {
		if w.before&closed != 0 {
			s.marks[w.from] |= wall
		}
		if w.before&hard != 0 {
			s.marks[w.from] |= cut
		}
		if i == 0 || w.before&hard != 0 || !words[i-1].text ||
			forms && (w.before&hyphen != 0 || formPrefix(text(words[i-1])) && s.marks[words[i-1].from]&begins != 0) {
			s.marks[w.from] |= begins
		}
	}
	for i := len(words) - 1; i >= 0; i-- {
		if i == len(words)-1 {
			s.marks[words[i].to] |= ends | cut
			continue
		}
		next := words[i+1]
		if next.before&hard != 0 || !next.text || forms && formSuffix(text(next)) && s.marks[next.to]&ends != 0 {
			s.marks[words[i].to] |= ends
		}
	}
}

// reads reports whether the words at from, to the end of a tail that begins at to, are a reading.
func (s *spelled) reads(from, to int, tail string, across bool) bool {
	if !strings.HasPrefix(s.text[to:], tail) {
		return false
	}
	to += len(tail)
	return s.marks[to]&ends != 0 &&
		(across || !slices.ContainsFunc(s.marks[from+1:to], func(m mark) bool { return m&wall != 0 }))
}

// below reports whether some framework might find the name s at a place in a body, or below it. Names have to split
// where the place has a member of another. Within a name of the place, they may only have what PHP corrects to "_".
func (s *spelled) below(place *spelled) bool {
	n := len(place.text)
	if !strings.HasPrefix(s.text, place.text) || s.marks[n]&cut == 0 {
		return false
	}
	for i := 1; i < n; i++ {
		switch within := s.marks[i]; {
		case place.marks[i]&wall != 0 && within&cut == 0, place.marks[i]&cut == 0 && within&wall != 0:
			return false
		}
	}
	return true
}
