package authz_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// deniedTemplates are the local writes that the routers serve in these tests.
func deniedTemplates() []string {
	return []string{"/{lang}/account/profile", "/users/{id}/email", "/account/email"}
}

// spellings returns at least n different paths, the same at each call. Each starts as a
// path of a template and then gets up to four changes that some router undoes or ignores.
func spellings(n int) []string {
	g := &speller{rand.New(rand.NewPCG(7, 1966))}
	seen := map[string]bool{}
	var out []string
	for _, t := range deniedTemplates() {
		for _, v := range fillings() {
			if p := strings.NewReplacer("{lang}", v, "{id}", v).Replace(t); !seen[p] {
				seen[p], out = true, append(out, p)
			}
		}
	}
	for len(out) < n {
		p := g.path(deniedTemplates()[g.IntN(3)])
		if !seen[p] {
			seen[p], out = true, append(out, p)
		}
	}
	return out
}

// fillings are values of a placeholder.
func fillings() []string {
	return []string{
		"en", "7", "a.b", "@me", "A~b", "%20", ";x", ";7", "%C2%A0", "%C2%AD", "%E2%80%8B", "+", "%2B", ".x", "...", "%25", "%2520", "a%2Fb",
		"a%252Fb", "a%25252Fb", "%2F", "%5C", "a%5Cb", "%2F%2F", "%20%2F%20", "a%2F;x", ";x%2Fy", "a;b%2Fc", "%3B", "%3Bx", "%3Fx", "x%3Fy",
		"%23", "users", "account", "email", "profile", "account%2Femail", "users%2F7%2Femail", "%E2%88%95", "a%E2%88%95b", "%EF%BC%8F",
		"%E2%80%A5", "%EF%BC%8E", "%E3%82%A2", "%C4%B1", "a%2Eb", "%2E", "x=1;y=2", "a,b", "a:b", "a%20b", "%2525", "'", "(a)",
	}
}

type speller struct{ *rand.Rand }

func (g *speller) pick(of []string) string { return of[g.IntN(len(of))] }

func (g *speller) path(template string) string {
	segments := strings.Split(template[1:], "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = g.pick(fillings())
		}
	}
	separators := slices.Repeat([]string{"/"}, len(segments))
	end := ""
	for range 1 + g.IntN(4) {
		i := g.IntN(len(segments))
		switch g.IntN(6) {
		case 0:
			separators[i] = g.pick([]string{
				"//", "%2F", "%2f", "%252F", "%5C", `\`, "%255c", "%E2%88%95", "%E2%81%84", "%EF%BC%8F", "%E2%A7%B8", "%EF%BC%BC", "/./",
				"/%20/", "/;x/", "/.x/", "/%C2%AD/", "/%C2%A0/", "/;a%2Fb/", "/+/", "///",
			})
		case 1:
			end = g.pick([]string{"/", "//", "/x", "%2F", "/%20", "%20", ";x", "/;x", ".json", ".", "%2E", "%3Fx", "%3F", "%23x", "%2523", "/.", "+"})
		case 2:
			segments[i] += g.pick([]string{"%20", ".", ";x", ";x=1", "%3Bx", ".json", "%C2%AD", "%E2%80%8D", "%E2%80%A4", "+", "%C2%A0", "%EF%BB%BF"})
		case 3:
			segments[i] = g.pick([]string{"%20", ".", "+", "%C2%AD", "%E2%80%8B"}) + segments[i]
		default:
			segments[i] = g.letter(segments[i])
		}
	}
	out := ""
	for i, s := range segments {
		out += separators[i] + s
	}
	if out = out + end; out[0] != '/' {
		out = "/" + out
	}
	return out
}

// letter writes one letter of a segment in another way.
func (g *speller) letter(s string) string {
	i := g.IntN(len(s) + 1)
	if i == len(s) || s[i] < 'a' || s[i] > 'z' || i > 0 && s[i-1] == '%' || i > 1 && s[i-2] == '%' {
		return s
	}
	c := s[i]
	other := map[byte][]string{
		'i': {"\u0131", "\u0130", "I"}, 'f': {"\uff46", "F"}, 's': {"\u017f", "S"}, 'k': {"\u212a"},
	}[c]
	other = append(other, string(c-32), string(rune(c)+0xff41-'a'), string(rune(c)+0xff21-'a'), string(c)+"\u00ad", string(c)+"\u200d")
	change := g.pick(other)
	if g.IntN(2) == 0 {
		change = string(c)
	}
	if strings.HasPrefix(s[i:], "fi") && g.IntN(2) == 0 {
		return s[:i] + escape("\ufb01") + s[i+2:]
	}
	if change[0] < utf8.RuneSelf && g.IntN(2) == 0 && len(change) == 1 {
		change = escape(change)
		for g.IntN(3) == 0 {
			change = strings.ReplaceAll(change, "%", "%25")
		}
		return s[:i] + change + s[i+1:]
	}
	return s[:i] + escapeNonASCII(change) + s[i+1:]
}

func escape(s string) string {
	const digits = "0123456789ABCDEF"
	out := ""
	for i := range len(s) {
		out += "%" + string(digits[s[i]>>4]) + string(digits[s[i]&15])
	}
	return out
}

func escapeNonASCII(s string) string {
	out := ""
	for _, r := range s {
		if r < utf8.RuneSelf {
			out += string(r)
		} else {
			out += escape(string(r))
		}
	}
	return out
}
