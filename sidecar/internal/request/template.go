package request

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/scimward/scimward/sidecar/passes"
)

// MaxTemplate is how many segments of a template count, as walk has a bit for each, one for the end and one more for a
// prefix. A longer one covers more.
const MaxTemplate = 60

// Template is a folded path template.
type Template struct {
	names  []string // one a segment; "" stands for any one segment
	joined string   // all names, when each is one: see spelled
	index  int      // how many names at the end are the index page of its folder: see inFolder
}

// No folded name contains a number sign, so a name of a template with one is special: its text counts, not its words.
const (
	version = "#v" // "v" and digits
	starts  = "#"  // at the end: what starts like this
)

// NewTemplate folds a template such as /api/users/{id}. {name} and * stand for one
// segment. /graphql* covers every segment that starts so, and is for the last segment only.
func NewTemplate(path string) Template {
	var t Template
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "*" || strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}") {
			t.names = append(t.names, "")
			continue
		}
		var p Path
		read := decodings(strings.ReplaceAll(seg, `\`, string(softSlash)))
		p.split(read[len(read)-1])
		for _, s := range p.pieces {
			if s.name != "" {
				t.names = append(t.names, s.name)
			}
		}
	}
	if len(t.names) > MaxTemplate {
		t.names = t.names[:MaxTemplate]
	} else if n := len(t.names); n > 0 && t.names[n-1] != "" && strings.HasSuffix(path, "*") {
		t.names[n-1] = strings.TrimSuffix(t.names[n-1], "*") + starts
	}
	if _, found := passes.IndexFolder(path); found {
		t.index = presets(t.names[:len(t.names)-1]) + 1
	}
	if joined := strings.Join(t.names, ""); !slices.Contains(t.names, "") && !strings.Contains(joined, starts) {
		t.joined = joined
	}
	return t
}

// presets counts the names at the end that routers take when the path has none.
func presets(names []string) (n int) {
	for n < len(names) && preset(names[len(names)-1-n]) {
		n++
	}
	return n
}

// NewPrefix folds a path prefix such as /download, which also covers /download-all. With a
// slash at its end, it covers what lies below only.
func NewPrefix(path string) Template {
	t := Template{names: NewTemplate(path).names}
	switch n := len(t.names); {
	case n == 0 || n == MaxTemplate:
	case strings.HasSuffix(path, "/"):
		t.names = append(t.names, "")
	case t.names[n-1] != "":
		t.names[n-1] += starts
	}
	return t
}

// Covers reports whether any reading of p matches t or lies below it.
func (t Template) Covers(p *Path) bool { return t.match(p, true) }

// Matches reports whether any reading of p matches t.
func (t Template) Matches(p *Path) bool { return t.match(p, false) }

func (t Template) match(p *Path, below bool) bool {
	return t.matchOne(p, below) ||
		slices.ContainsFunc(p.routes, func(r route) bool { return r.after == root && t.matchOne(&r.Path, below) })
}

func (t Template) matchOne(p *Path, below bool) bool {
	return t.walk(p.pieces, p.dots, 1, below).at >= 0 || t.spelled(p.pieces, below) || t.index > 0 && t.inFolder(p)
}

// spelled reports whether the pieces are the names without a look at the slashes, as WPGraphQL compares paths:
// "/gra/phql" is "/graphql" (Router::is_graphql_http_request). With below, more pieces may follow.
func (t Template) spelled(pieces []piece, below bool) bool {
	rest := t.joined
	for i := range pieces {
		if below && rest == "" {
			break
		}
		var found bool
		if rest, found = strings.CutPrefix(rest, pieces[i].name); !found || pieces[i].soft {
			return false
		}
	}
	return rest == "" && t.joined != ""
}

// inFolder reports whether p is the folder whose index page or action t is. Servers run it for the folder, and others
// for its other scripts.
func (t Template) inFolder(p *Path) bool {
	last := &p.pieces[len(p.pieces)-1]
	script := last.blank && last.name != ""
	return !script && t.eachFolder(func(folder Template) bool { return folder.Matches(p) })
}

// eachFolder reports whether is holds for a folder whose index page or action t is: for "/admin/default" or "/admin" of
// "/admin/default/index".
func (t Template) eachFolder(is func(folder Template) bool) bool {
	for n := 1; n <= t.index; n++ {
		if is(Template{names: t.names[:len(t.names)-n]}) {
			return true
		}
	}
	return false
}

// Reaches is Covers, also for the routes that [Path.Route] found.
func (t Template) Reaches(p *Path) bool { return t.Covers(p) || t.routed(p) }

// routed reports whether a route in the query matches t or lies below it, or is a folder whose index page t is.
func (t Template) routed(p *Path) bool {
	return len(p.routes) > 0 &&
		(t.routedTo(p, true) || t.eachFolder(func(folder Template) bool { return folder.routedTo(p, false) }))
}

// routedTo reports whether a route in the query matches t, or with below lies below it. It has a name of t at least: a
// search below /feed/{token} is no token.
func (t Template) routedTo(p *Path, below bool) bool {
	w := t.walk(p.pieces, p.dots, 1, true)
	return slices.ContainsFunc(p.routes, func(r route) bool {
		var from uint64
		switch r.after {
		case root:
			from = 1
		case anyObject:
			from = w.seen
		case anyFolder:
			from = w.seen & t.beforeName()
		case rootOrFront:
			from = (w.fronts | 1) & t.beforeName()
		case onlyFront:
			from = w.fronts & t.beforeName()
		}
		return t.walk(r.pieces, r.dots, from, below).at >= 0
	})
}

// beforeName returns the positions before the last segment of t that has a name, none when no segment has one.
func (t Template) beforeName() uint64 {
	for i := len(t.names) - 1; i >= 0; i-- {
		if t.names[i] != "" {
			return 2<<i - 1
		}
	}
	return 0
}

// Names reports whether a path that reaches t names a field of the set: as a segment below t (JSON:API,
// "/users/7/relationships/roles"; OData, "/Users(7)/email"), or behind the last name of t ("/users:email").
func (t Template) Names(p *Path, set *FieldSet) bool {
	if t.namesIn(p, 1, set) {
		return true
	}
	w := t.walk(p.pieces, p.dots, 1, true)
	return slices.ContainsFunc(p.routes, func(r route) bool { return t.namesIn(&r.Path, w.seen, set) })
}

func (t Template) namesIn(p *Path, from uint64, set *FieldSet) bool {
	at := t.walk(p.pieces, p.dots, from, true).at
	if at < 0 {
		return false
	}
	if at > 0 && t.names[len(t.names)-1] != "" {
		if _, rest := cutAny(p.pieces[at-1].text, ":!."); set.plain.equals(rest) {
			return true
		}
	}
	return slices.ContainsFunc(p.pieces[at:], func(s piece) bool {
		return set.plain.equals(s.name) || slices.ContainsFunc(s.more, set.plain.equals)
	})
}

// walked is what walk finds.
type walked struct {
	at     int    // number of pieces until the template matches, -1 when it does not
	seen   uint64 // the union of all sets
	fronts uint64 // those where a front controller may be: at the end of a folder, or before "index.php"
}

// walk takes all readings at once. Bit j of a set says that in some reading, the first j
// names of the template match what was read so far; from is the set at the start. The cost is the number of pieces
// times the number of names, however many readings there are.
//
// An example: the template /{lang}/account and the path /;x/en%2Fb/account. A router may read nothing in ";x", and may
// take "en%2Fb" for one segment or for two.
//
//	piece     between before   ends   within behind
//	;x        0                0 1    0 1             nothing, or a {lang}
//	en        0 1              1      1               a {lang}; where ";x" is one, "en" is not "account"
//	b         1                -      1               may belong to the segment of "en"
//	account   1                2      -               2 is the whole template
func (t Template) walk(pieces []piece, dots bool, from uint64, below bool) walked {
	w := walked{at: -1, seen: from}
	if below && len(t.names) == 0 {
		w.at = 0
		return w
	}
	done := uint64(1) << len(t.names)
	between := from     // the next piece begins a segment
	within := uint64(0) // the next piece, after a soft separator, may belong to a segment that is settled
	for i := range pieces {
		s := &pieces[i]
		between |= within
		if !s.soft {
			within = 0
		}
		if s.dots {
			between |= w.seen
		}
		if s.blank || s.name == "index" {
			w.fronts |= between
		}
		ends, open := t.step(between, s)
		within |= open
		between = ends
		all := between | within
		w.seen |= all
		switch {
		case all&done != 0 && (below || s.last):
			w.at = i + 1
			return w
		case all == 0 && !dots:
			return w
		}
	}
	if (between|within)&done != 0 {
		w.at = len(pieces)
	}
	return w
}

// step reads one piece as the start of a segment. ends are the positions when the segment
// ends with the piece, and open when the rest of the segment does not matter.
func (t Template) step(from uint64, s *piece) (ends, open uint64) {
	if s.blank || s.preset {
		ends = from
		if s.open {
			open = from
		}
	}
	for from &= 1<<len(t.names) - 1; from != 0; from &= from - 1 {
		j := bits.TrailingZeros64(from)
		next := uint64(2) << j
		if name := t.names[j]; name == "" {
			ends, open = ends|next, open|next
		} else if s.hasWords(name) {
			ends, open = ends|next, open|next
		} else if s.is(name) {
			ends |= next
			if s.open {
				open |= next
			}
		}
	}
	return ends, open
}

// hasWords reports whether the whole segment of s has the letters and digits of a name.
func (s *piece) hasWords(name string) bool {
	return s.words != "" && !strings.Contains(name, starts) && sameWords(s.words, name)
}

func (s *piece) is(name string) bool {
	return named(s.name, name) || s.text != "" && named(s.text, name) ||
		len(s.more) > 0 && slices.ContainsFunc(s.more, func(n string) bool { return named(n, name) })
}

// named reports whether the name of a template stands for text.
func named(text, name string) bool {
	if name == version {
		return len(text) > 1 && text[0] == 'v' && strings.Trim(text[1:], "0123456789") == ""
	}
	if prefix, ok := strings.CutSuffix(name, starts); ok {
		return strings.HasPrefix(text, prefix)
	}
	return text == name || sameWords(text, name)
}

// sameWords reports whether text, up to its parameters, has the letters and digits of a folded name, whatever signs
// are between: CakePHP, Laminas, Nette and Phalcon run the action editProfile for "edit-profile" and "edit_profile",
// and OpenCart and WordPress drop every sign.
func sameWords(text, name string) bool {
	found := false
	for i := 0; i < len(text) && text[i] != ';' && text[i] != '#' && text[i] != '?'; i++ {
		c := text[i]
		if between(c) {
			continue
		}
		for name != "" && between(name[0]) {
			name = name[1:]
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if name == "" || name[0] != c {
			return false
		}
		name, found = name[1:], true
	}
	for name != "" && between(name[0]) {
		name = name[1:]
	}
	return found && name == ""
}

// between reports whether a byte is a sign, which words may have between them.
func between(c byte) bool { return c < utf8.RuneSelf && (c == '_' || !nameByte(c)) }
