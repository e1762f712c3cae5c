package request

import (
	"math/bits"
	"strings"
)

// MaxTemplate is how many segments of a template count. A longer one covers more.
const MaxTemplate = 60

// Template is a folded path template.
type Template struct {
	names []string // one a segment; "" stands for any one segment
}

// No folded name contains a number sign, so a name of a template with one is special.
const (
	version = "#v" // "v" and digits
	starts  = "#"  // at the end: what starts like this
)

// NewTemplate folds a template such as /api/users/{id}. {name} and * stand for one
// segment.
func NewTemplate(path string) Template {
	var t Template
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "*" || strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}") {
			t.names = append(t.names, "")
			continue
		}
		var p Path
		if text, _, ok := decodePath(seg); ok {
			seg = text
		}
		p.split(foldForms(seg))
		for _, s := range p.pieces {
			if s.name != "" {
				t.names = append(t.names, s.name)
			}
		}
	}
	if len(t.names) > MaxTemplate {
		t.names = t.names[:MaxTemplate]
	}
	return t
}

// NewPrefix folds a path prefix such as /download, which also covers /download-all. With a
// slash at its end, it covers what lies below only.
func NewPrefix(path string) Template {
	t := NewTemplate(path)
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

// match walks all readings at once. Bit j of a set says that in some reading, the first j
// names of the template match what was read so far. The cost is the number of pieces times
// the number of names, however many readings there are.
func (t Template) match(p *Path, below bool) bool {
	if below && len(t.names) == 0 {
		return true
	}
	done := uint64(1) << len(t.names)
	between := uint64(1) // the next piece begins a segment
	within := uint64(0)  // the next piece, after a soft separator, may belong to a segment that is settled
	seen := between
	for i := range p.pieces {
		s := &p.pieces[i]
		between |= within
		if !s.soft {
			within = 0
		}
		if s.dots {
			between |= seen
		}
		ends, open := t.step(between, s)
		within |= open
		between = ends
		switch all := between | within; {
		case all&done != 0 && (below || s.last):
			return true
		case all == 0 && !p.dots:
			return false
		default:
			seen |= all
		}
	}
	return (between|within)&done != 0
}

// step reads one piece as the start of a segment. ends are the positions when the segment
// ends with the piece, and open when the rest of the segment does not matter.
func (t Template) step(from uint64, s *piece) (ends, open uint64) {
	if s.blank {
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
		} else if s.is(name) {
			ends |= next
			if s.open {
				open |= next
			}
		}
	}
	return ends, open
}

func (s *piece) is(name string) bool {
	if name == version {
		return len(s.name) > 1 && s.name[0] == 'v' && strings.Trim(s.name[1:], "0123456789") == ""
	}
	if prefix, ok := strings.CutSuffix(name, starts); ok {
		return strings.HasPrefix(s.name, prefix)
	}
	return s.name == name
}
