package request_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// TestEveryCharacter: of each character of Unicode, a template knows what normal forms and
// case mappings make of it, if that is ASCII.
func TestEveryCharacter(t *testing.T) {
	fold := cases.Fold()
	count := 0
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			continue
		}
		s := string(r)
		k := norm.NFKC.String(s)
		upper, lower := strings.ToUpper(k), strings.ToLower(k)
		for _, form := range []string{k, upper, lower, fold.String(k), strings.ToUpper(s), strings.ToLower(s)} {
			if !printable(form) {
				continue
			}
			count++
			if strings.ContainsAny(form, " +%*{}") {
				continue // blanks within a segment count, and the others mean something in a template
			}
			template := strings.ReplaceAll("/a"+form+"b/c", `\`, "/")
			if at := strings.IndexAny(template, ";.#?"); at >= 0 {
				template = template[:at] // a router may drop the rest
			}
			if path := "/a" + url.PathEscape(s) + "b/c"; !covers(template, path) {
				t.Errorf("%U may become %q, but %s does not cover %s", r, form, template, path)
			}
		}
	}
	if count < 2000 {
		t.Errorf("%d forms, want at least 2000", count)
	}
}

func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
