package authz_test

import (
	"math/rand/v2"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// modelRouter is a router of which each habit can be chosen.
type modelRouter struct {
	before, after int // how often it decodes before and after it splits

	backslash, bestFit, nfkc, invisible, dropBlank, resolve, params, trim, suffix, question, upper bool
}

func randomRouter(r *rand.Rand) modelRouter {
	yes := func() bool { return r.IntN(2) == 0 }
	return modelRouter{
		before: r.IntN(4), after: r.IntN(3), backslash: yes(), bestFit: yes(), nfkc: yes(), invisible: yes(),
		dropBlank: yes(), resolve: yes(), params: yes(), trim: yes(), suffix: yes(), question: yes(), upper: yes(),
	}
}

var (
	invisible = strings.NewReplacer("\u00ad", "", "\u200b", "", "\u200d", "", "\ufeff", "")
	bestFit   = strings.NewReplacer("\u2215", "/", "\u2044", "/", "\u29f8", "/", "\uff0f", "/", "\uff3c", `\`, "\u2024", ".")
)

func decodeTimes(s string, n int) string {
	for range n {
		d, err := url.PathUnescape(s)
		if err != nil {
			return s
		}
		s = d
	}
	return s
}

func (m *modelRouter) text(s string) string {
	if m.nfkc {
		s = norm.NFKC.String(s)
	}
	if m.invisible {
		s = invisible.Replace(s)
	}
	if m.bestFit {
		s = bestFit.Replace(s)
	}
	if m.backslash {
		s = strings.ReplaceAll(s, `\`, "/")
	}
	return s
}

// segments reads a raw path.
func (m *modelRouter) segments(raw string) []string {
	p := m.text(decodeTimes(raw, m.before))
	if m.question {
		p, _, _ = strings.Cut(p, "?")
		p, _, _ = strings.Cut(p, "#")
	}
	if m.resolve {
		p = path.Clean(p)
	}
	var out []string
	for s := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		s = decodeTimes(s, m.after)
		if m.params {
			s, _, _ = strings.Cut(s, ";")
		}
		if m.trim {
			s = strings.TrimRight(strings.TrimFunc(s, unicode.IsSpace), ". ")
		}
		if m.suffix && strings.LastIndexByte(s, '.') > 0 {
			s = s[:strings.LastIndexByte(s, '.')]
		}
		if !m.dropBlank || strings.TrimSpace(s) != "" {
			out = append(out, s)
		}
	}
	if len(out) > 0 && out[len(out)-1] == "" { // a trailing slash
		out = out[:len(out)-1]
	}
	return out
}

// reaches reports whether the router maps a path to one of the denied routes.
func (m *modelRouter) reaches(raw string) bool {
	same := strings.EqualFold
	if m.upper {
		same = func(x, y string) bool {
			x, y = strings.ToUpper(x), strings.ToUpper(y)
			return x == y
		}
	}
	got := m.segments(raw)
	for _, t := range deniedTemplates() {
		want := strings.Split(t[1:], "/")
		ok := len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = strings.HasPrefix(want[i], "{") || same(m.text(got[i]), want[i])
		}
		if ok {
			return true
		}
	}
	return false
}

// TestModelRouters compares the decisions with routers of all habits at once, which no
// single framework has.
func TestModelRouters(t *testing.T) {
	paths := spellings(spellingCount)
	tries, least := 60, 5000
	if testing.Short() {
		tries, least = 5, 1000
	}
	r := rand.New(rand.NewPCG(3, 1966))
	reached := make([]bool, len(paths))
	count := 0
	for i, p := range paths {
		for n := 0; n < tries && !reached[i]; n++ {
			m := randomRouter(r)
			reached[i] = m.reaches(p)
		}
		if reached[i] {
			count++
		}
	}
	checkRouter(t, "model router", paths, reached)
	if count < least {
		t.Errorf("%d paths reached a handler of some router, want at least %d", count, least)
	}
}
