package docs_test

import (
	"fmt"
	"go/scanner"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	goColumns       = 120 // a tab counts as one column
	markdownColumns = 200
)

// TestCitationsCanBeOpened fails on a citation of something that the repository does
// not contain and the public cannot read, such as an id of a planning note.
func TestCitationsCanBeOpened(t *testing.T) {
	for _, file := range files(t) {
		if file == "docs/style_test.go" {
			continue // it quotes what it looks for
		}
		for _, f := range privateCitations(file, read(t, filepath.Join(root, file))) {
			t.Errorf("%s:%d: nobody can open %q: cite an RFC, IL1, an ADR or a page, or give the reason",
				file, f.line, f.text)
		}
	}
}

// TestLinesFit checks the length of lines in Go and Markdown. Lines with a URL may be
// longer, and so may table rows and string literals of Go tests.
func TestLinesFit(t *testing.T) {
	for _, file := range files(t) {
		if ext := filepath.Ext(file); ext != ".go" && ext != ".md" {
			continue
		}
		for _, f := range longLines(file, read(t, filepath.Join(root, file))) {
			t.Errorf("%s:%d: %s: wrap the line", file, f.line, f.text)
		}
	}
}

// finding is a fault at a line of a file.
type finding struct {
	line int
	text string
}

// publicRE is a citation by section of a document that everyone can open. Add the document
// here when a comment cites a new one.
var publicRE = regexp.MustCompile(
	`(?:RFC \d{3,5}|IL1|draft-[a-z0-9-]+|OpenID Connect \w+(?: \d\.\d)?|WebAssembly Core \d\.\d)` +
		`(?:[,;]? (?:and |or |to )?§[\w.-]*\w)+`)

// planID is an id of a planning note, such as a B with a number.
const planID = `(?:edge )?(?:[BF]\d{1,3}|[EHLMPQRSTW]\d{1,2})`

// privateREs match what is left of the planning notes: sections of no public document,
// names of the notes, and ids.
var (
	privateREs = []*regexp.Regexp{
		regexp.MustCompile(`((?:[\w:./-]+ )?§[\w.-]*)`),
		regexp.MustCompile(`(\bDESIGN\b|\bSTYLE\.md|\b[dD]esign: \w+|\bdesign/[a-z]+)`),
		regexp.MustCompile("(?:^|[\\s(\\[\"'`,/])(" + planID + ")(?:[\\s)\\]\"'`,.;:/–-]|$)"),
	}
	planIDAtStart = regexp.MustCompile("^[\"`](" + planID + `)(?:\W|$)`)
)

// privateCitations finds citations that a reader cannot open. In Go it reads comments and
// string literals. An id counts only at the start of a literal, where tests have names.
func privateCitations(file, text string) []finding {
	switch {
	case strings.Contains(file, "testdata/fuzz/"), strings.HasSuffix(file, ".sum"), !utf8.ValidString(text):
		return nil
	case !strings.HasSuffix(file, ".go"):
		return inProse(text, 1, privateREs)
	}
	var out []finding
	var comment strings.Builder // adjacent line comments are one text
	first, next := 0, 0
	flush := func() {
		out = append(out, inProse(comment.String(), first, privateREs)...)
		comment.Reset()
	}
	for _, tok := range tokens(text) {
		switch tok.kind {
		case token.COMMENT:
			if comment.Len() == 0 || tok.line != next {
				flush()
				first = tok.line
			}
			comment.WriteString(tok.text + "\n")
			next = tok.line + 1 + strings.Count(tok.text, "\n")
		case token.STRING:
			out = append(out, inProse(tok.text, tok.line, privateREs[:2])...)
			if id := planIDAtStart.FindStringSubmatch(tok.text); id != nil {
				out = append(out, finding{tok.line, id[1]})
			}
		}
	}
	flush()
	return out
}

// lineBreakRE is a line break with the comment mark of the next line.
var lineBreakRE = regexp.MustCompile(`\n[ \t]*(?://|#|\*)?[ \t]*`)

// inProse finds the patterns in text, but not in public citations. The first line of text
// has the number first.
func inProse(text string, first int, patterns []*regexp.Regexp) []finding {
	// A citation may go over a line break, so the break becomes a space. The form feed
	// keeps its place for counting lines.
	broken := lineBreakRE.ReplaceAllString(text, "\f")
	prose := publicRE.ReplaceAllStringFunc(strings.ReplaceAll(broken, "\f", " "), func(s string) string {
		return strings.Repeat("x", len(s))
	})
	var out []finding
	for _, re := range patterns {
		for _, m := range re.FindAllStringSubmatchIndex(prose, -1) {
			line := first + strings.Count(broken[:m[2]], "\f")
			out = append(out, finding{line, prose[m[2]:m[3]]})
		}
	}
	return out
}

// longLines finds lines over the limit of their language.
func longLines(file, text string) []finding {
	limit, isTest := markdownColumns, strings.HasSuffix(file, "_test.go")
	if strings.HasSuffix(file, ".go") {
		limit = goColumns
	}
	var out []finding
	literals := map[int]int{} // columns of string literals, by line
	if isTest {
		for _, tok := range tokens(text) {
			if tok.kind == token.STRING {
				for i, part := range strings.Split(tok.text, "\n") {
					literals[tok.line+i] += utf8.RuneCountInString(part)
				}
			}
		}
	}
	line := 0
	for l := range strings.Lines(text) {
		line++
		l = strings.TrimRight(l, "\n")
		columns := utf8.RuneCountInString(l)
		trimmed := strings.TrimSpace(l)
		row := isTest && strings.HasSuffix(trimmed, "},") && strings.ContainsAny(trimmed[:1], "{\"")
		if columns-literals[line] > limit && !row && !strings.Contains(l, "://") {
			out = append(out, finding{line, fmt.Sprintf("%d columns, at most %d", columns, limit)})
		}
	}
	return out
}

type goToken struct {
	kind token.Token
	line int
	text string
}

// tokens lists the comments and the string literals of a Go file.
func tokens(text string) []goToken {
	var s scanner.Scanner
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(text))
	s.Init(file, []byte(text), nil, scanner.ScanComments)
	var out []goToken
	for {
		pos, kind, lit := s.Scan()
		if kind == token.EOF {
			return out
		}
		if kind == token.COMMENT || kind == token.STRING {
			out = append(out, goToken{kind, file.Line(pos), lit})
		}
	}
}

// TestPrivateCitationsAreFound proves that citations are told apart.
func TestPrivateCitationsAreFound(t *testing.T) {
	for text, found := range map[string]bool{
		"// See RFC 7644 §3.5.2.2 and §3.5.2.3.":                false,
		"// See RFC 7644\n// §3.5.2.2 and IL1 §3.3.3.":          false,
		"// IL1-3.3.3-op on P256 with SHA256, 401, 0xB47":       false,
		"var id = \"IL1-3.3.3-op\"":                             false,
		"var group = `{\"id\":\"G1\",\"externalId\":\"E1\"}`":   false,
		"var B47, F90 = 1, 2":                                   false,
		"// It is judged once (B47).":                           true,
		"// Proves F90: one word.":                              true,
		"// TestPaths is P1 to P10.":                            true,
		"// of edge H2, too":                                    true,
		"// the form (edge §3.3.1 line 2)":                      true,
		"// the form (edge\n// §3.3.1)":                         true,
		"// one cause (DESIGN §3.4)":                            true,
		"// a lock (revocation §1.1 row 13)":                    true,
		"// after §3.5.2 of it":                                 true,
		"// tuned as design/store.md says":                      true,
		"// an epoch (design: store §6.6)":                      true,
		"var name = \"P9 two hosts joined\"":                    true,
		"var name = \"§3.3.1-8\"":                               true,
		"// RFC 7644 §3.4.2 lists them.\n\n// dialects §2.6 no": true,
	} {
		if got := privateCitations("x.go", "package x\n\n"+text+"\n"); (len(got) > 0) != found {
			t.Errorf("%s: found %v, want found: %v", text, got, found)
		}
	}
	got := privateCitations("x.md", "one\ntwo (B101)\n# RFC 7644 §3\n")
	if want := []finding{{2, "B101"}}; !slices.Equal(got, want) {
		t.Errorf("in Markdown: %v, want %v", got, want)
	}
}

// TestLongLinesAreFound proves that long lines are told apart.
func TestLongLinesAreFound(t *testing.T) {
	long := strings.Repeat("x", 121)
	for text, lines := range map[string]int{
		"package x\n\nvar a = `" + long + "`\n":                     0,
		"package x\n\nvar a = f{\n\t{1, " + long + "},\n}\n":        0,
		"package x\n\n// http://" + long + "\n":                     0,
		"package x\n\n// " + long + "\n":                            1,
		"package x\n\nvar " + long + " = `\n" + long + "\n" + "`\n": 1,
	} {
		if got := longLines("x_test.go", text); len(got) != lines {
			t.Errorf("%s: found %v, want %d lines", text, got, lines)
		}
	}
	for file, lines := range map[string]int{"x.go": 1, "x.md": 0} {
		if got := longLines(file, "package x\n\nvar a = `"+long+"`\n"); len(got) != lines {
			t.Errorf("%s: found %v, want %d lines", file, got, lines)
		}
	}
}
