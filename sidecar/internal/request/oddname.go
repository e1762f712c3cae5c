package request

import (
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// odd reports whether a name, decoded, still has characters of which some decoder might make others: an escape that is
// left, a control character, or a character beyond ASCII.
func odd(name string) bool {
	for i := range len(name) {
		if c := name[i]; c == '%' || c == '\\' || c < ' ' || c >= 0x7f {
			return true
		}
	}
	return false
}

// maxOddKnown is how many characters of a known name couldBe looks at.
const maxOddKnown = 62

// escapeLetters is how many letters and digits an escape has at most behind its sign: "u0073".
const escapeLetters = 5

// couldBe reports whether some decoder might make known, a folded name, of an odd name that is decoded as far as we
// know how. No list of decoders is complete, so each odd character stands for several things:
//
//   - "%" and "\": one character or none, with up to escapeLetters letters and digits behind it
//   - a control character: one character or none
//   - a character that nobody sees: nothing
//   - another character beyond ASCII, or a byte that is no text: its base letter, the letter of its low byte, or
//     nothing; and any one character in a name that is mostly ASCII, as words of other alphabets are no names
//
// Case and signs between letters make no difference, but a bracket is in no name. Its cost is linear in the name.
func couldBe(name, known string) bool {
	return couldStart(name, known, func(rune) bool { return false })
}

// couldStart is couldBe for a name that goes on behind the known one with characters that goesOn takes.
func couldStart(name, known string, goesOn func(rune) bool) bool {
	if !odd(name) {
		return false
	}
	var room [maxOddKnown]rune
	m := oddMatch{known: room[:0], any: mostlyASCII(name)}
	for _, r := range known {
		switch {
		case r < utf8.RuneSelf && between(byte(r)):
		case len(m.known) == maxOddKnown:
			goesOn = func(rune) bool { return true } // the rest may be anything
		default:
			m.known = append(m.known, r)
		}
	}
	if len(m.known) == 0 {
		return false
	}
	m.at[0] = 1
	done := uint64(1) << len(m.known)
	for _, r := range name {
		all := m.all()
		if all == 0 {
			return false
		}
		m.step(r, all)
		if goesOn(r) {
			m.at[0] |= all & done
		}
	}
	return m.all()&done != 0
}

// oddMatch reads an odd name. Bit j of at[n] says that in some reading, the first j characters of the known name are
// read, and the next n letters may belong to an escape.
//
// "%u0073e" and the known "se": "%" may be nothing or "s", so 0 and 1 are in at[5]. Each of "u0073" is a letter of the
// escape, so they go down to at[0], where "e" makes 2 of 1: the name is read.
type oddMatch struct {
	known []rune
	any   bool
	at    [escapeLetters + 1]uint64
}

func (m *oddMatch) all() (set uint64) {
	for _, s := range m.at {
		set |= s
	}
	return set
}

func (m *oddMatch) step(r rune, all uint64) {
	before := m.at
	m.at = [escapeLetters + 1]uint64{}
	switch {
	case r == '%' || r == '\\':
		m.at[escapeLetters] = all | all<<1
	case r < ' ' || r == 0x7f:
		m.at[0] = all | all<<1
	case r == '[' || r == ']':
	case r >= utf8.RuneSelf && invisible(r):
		m.at[0] = all
	case r >= utf8.RuneSelf:
		m.at[0] = all | m.reads(all, r&0xff) | m.reads(all, baseLetter(r))
		if m.any {
			m.at[0] |= all << 1
		}
	case between(byte(r)):
		m.at[0] = all
	default:
		copy(m.at[:], before[1:])
		m.at[0] |= m.reads(all, r)
	}
}

// reads returns the positions behind a character.
func (m *oddMatch) reads(from uint64, r rune) (to uint64) {
	r = unicode.ToLower(r)
	for from &= 1<<len(m.known) - 1; from != 0; from &= from - 1 {
		if j := bits.TrailingZeros64(from); m.known[j] == r {
			to |= 2 << j
		}
	}
	return to
}

// baseLetter is the letter below an accent.
func baseLetter(r rune) rune {
	base, _ := utf8.DecodeRuneInString(withoutMarks(string(r)))
	return base
}

// mostlyASCII reports whether at least half of the characters of a name are ASCII.
func mostlyASCII(name string) bool {
	beyond, within := 0, 0
	for _, r := range name {
		if r >= utf8.RuneSelf {
			beyond++
		} else {
			within++
		}
	}
	return beyond <= within
}

// couldBeOf returns each known name that an odd name, or what stands in it before the first brackets, could be.
func couldBeOf(name string, known func() []string) (list []string) {
	if !odd(name) {
		return nil
	}
	first := firstName(name)
	for _, k := range known() {
		if couldBe(name, k) || first != name && couldBe(first, k) {
			list = append(list, k)
		}
	}
	return list
}

// namesOddly reports whether a part of an odd name could be one of the set.
func (set *FieldSet) namesOddly(name string) bool {
	if !odd(name) {
		return false
	}
	name = decodeEscapes(name)
	parts := func(r rune) bool { return strings.ContainsRune(".[]:/", r) }
	for part := range strings.FieldsFuncSeq(name, parts) {
		if odd(part) && slices.ContainsFunc(set.names, func(n setName) bool { return couldBe(part, n.text) }) {
			return true
		}
	}
	return false
}
