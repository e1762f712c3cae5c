package policies

import "strings"

// An outline is a document with forms in the place of contents. The rules of a shipped profile judge only the form of
// a request: whether a value is a text, whether it is blank, whether a path selects one element. They never compare a
// userName or an id with another text. So requests of the same form have the same verdict, and their outlines are
// equal:
//
//	a text that is not blank         x
//	a blank text                     one space, or nothing if it is empty
//	a number                         0
//	members[value eq "2819c223"]     members[value eq "x"]
//	equal elements in a row          one of them
//
// Operations, names of attributes, routes, scopes, codes of deviations and the query stay as they are.
// TestOutlineJudgesAlike compares the verdicts on outlines with those on the documents.

// formOfText is what an outline has for a text that is not blank.
const formOfText = "x"

// form is the form of a text of which the rules read r.
func (w *writer) form(r *reads, s string) string {
	switch {
	case !w.outline || s == "" || !r.whole && !r.exact:
		return r.shown(s)
	case strings.TrimSpace(s) == "":
		return " "
	}
	return formOfText
}

func (w *writer) formOfNumber(r *reads, s string) string {
	if w.outline || !r.whole && !r.exact {
		return "0"
	}
	return s
}

// pathForm is the form of a path. Of a literal in quotes, an outline has the form: any characters but quotes,
// backslashes and controls. What follows another literal stays as it is.
func (w *writer) pathForm(r *reads, s string) string {
	if !w.outline || !r.whole && !r.exact {
		return r.shown(s)
	}
	return pathForm(s)
}

func pathForm(s string) string {
	if strings.IndexByte(s, '"') < 0 {
		return s
	}
	var out []byte
	for {
		before, rest, open := strings.Cut(s, `"`)
		literal, after, shut := strings.Cut(rest, `"`)
		if !open || !shut || literal == "" || strings.ContainsFunc(literal, escaped) {
			return string(append(out, s...))
		}
		out = append(out, before...)
		out = append(out, '"')
		out = append(out, formOfText...)
		out = append(out, '"')
		s = after
	}
}

// escaped reports whether a character may only stand as an escape in a JSON string.
func escaped(r rune) bool { return r < ' ' || r == '\\' }
