package suggest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// short makes a text of the document fit for a line.
func short(s string) string {
	const most = 120
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

func shortList(list []string) (out []string) {
	const most = 6
	for i, s := range list {
		if i == most {
			return append(out, fmt.Sprintf("and %d more", len(list)-most))
		}
		out = append(out, short(s))
	}
	return out
}

// indent is how far the keys of an app are indented in a file of `scimward init`.
const indent = "        "

// YAML returns the entries to paste below the app, with comments. Entries of low confidence are comments.
func (s *Suggestion) YAML() string {
	var b strings.Builder
	comment := func(format string, args ...any) { b.WriteString(indent + "# " + fmt.Sprintf(format, args...) + "\n") }
	comment("Proposed from %s (%s).", short(s.Title), short(s.Format))
	comment("Read each entry: a document says what an operation is called, and not what it")
	comment("does. An entry also covers every path below its own.")
	if s.added {
		comment("Add these entries to local_writes of the app.")
	} else {
		comment("Paste this in place of local_writes of the app.")
		b.WriteString(indent + "local_writes:")
		if !s.sure() {
			b.WriteString(" []")
		}
		b.WriteString("\n")
	}
	for i := range s.Entries {
		s.Entries[i].yaml(&b)
	}
	section := func(title string, list []Operated) {
		if len(list) == 0 {
			return
		}
		b.WriteString("\n")
		comment("%s", title)
		for i, o := range list {
			if i == maxListed {
				comment("  and %d more: see --json", len(list)-i)
				break
			}
			comment("  %s: %s", o.Operation, o.Reason)
		}
	}
	section("Not proposed, because no entry can express it:", s.NotProposed)
	section("Looked at and left:", s.Left)
	var unread []Operated
	for _, u := range s.Unread {
		unread = append(unread, Operated{short(u.Path), u.Reason})
	}
	section("Not read, so look at these yourself:", unread)
	return b.String()
}

// maxListed bounds a list in the comments.
const maxListed = 50

// sure reports whether some entry is no comment.
func (s *Suggestion) sure() bool {
	for i := range s.Entries {
		if s.Entries[i].Confidence != Low {
			return true
		}
	}
	return false
}

func (e *Entry) yaml(b *strings.Builder) {
	line := func(mark, text string) { b.WriteString(indent + "  " + mark + text + "\n") }
	code, hint := "", ""
	if e.Confidence == Low {
		code, hint = "# ", ": remove the # of the entry to use it"
	}
	b.WriteString("\n")
	line("# ", string(e.Confidence)+" confidence"+hint)
	for _, o := range e.Operations {
		line("#   ", o.Operation+": "+o.Reason)
	}
	for _, n := range e.Notes {
		line("# ", n)
	}
	if len(e.Free) > 0 {
		line("# ", "stays free: "+strings.Join(shortList(e.Free), ", "))
	}
	if len(e.AlsoDenies) > 0 {
		line("# ", "also denies, at least in part: "+strings.Join(shortList(e.AlsoDenies), ", "))
	}
	line(code, "- path: "+scalar(e.Path))
	line(code, "  methods: ["+strings.Join(e.Methods, ", ")+"]")
	if len(e.Fields) > 0 {
		fields := make([]string, len(e.Fields))
		for i, f := range e.Fields {
			fields[i] = scalar(f)
		}
		line(code, "  fields: ["+strings.Join(fields, ", ")+"]")
	}
}

// scalar writes a text that no YAML reader takes for anything else.
func scalar(s string) string {
	plain := regexp.MustCompile(`^(/[A-Za-z0-9/_.{}~@$-]*|[A-Za-z][A-Za-z0-9_-]{3,})$`)
	if plain.MatchString(s) && s != "null" && s != "true" && s != "false" {
		return s
	}
	return strconv.Quote(s)
}

// Summary says in one line what was read and proposed.
func (s *Suggestion) Summary() string {
	c := s.Counts
	entries := "entries"
	if len(s.Entries) == 1 {
		entries = "entry"
	}
	text := fmt.Sprintf("%d operations read, %d of them write: %d proposed in %d %s, ", c.Operations, c.Writes,
		c.Proposed, len(s.Entries), entries)
	if s.added {
		text += fmt.Sprintf("%d denied already, ", c.Configured)
	}
	if n := len(s.NotProposed); n > 0 {
		text += fmt.Sprintf("%d that no entry can express, ", n)
	}
	return text + fmt.Sprintf("%d left", c.Left)
}
