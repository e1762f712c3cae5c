package policies

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// reads is the part of the input document that rules can read: a tree of its members. Nil is nothing. Of every part,
// the rules also see the type, and null, true and false.
type reads struct {
	whole bool                // with all that is in it
	exact bool                // a text or a number as it is
	among map[string]bool     // a text only if it is one of these: rules compare it with them, so all others are alike
	names map[string]*reads   // by name
	each  *reads              // every member of an object, and every element of an array
	known *[numMembers]*reads // what of says, so that a decision looks nothing up in a map; not of the whole
}

// of returns what is read of a member.
func (r *reads) of(m member) *reads {
	if r.whole {
		return r
	}
	return r.known[m]
}

// named returns what is read of a member with any name.
func (r *reads) named(name string) *reads {
	if r.whole {
		return r
	}
	if c := r.names[name]; c != nil {
		return c
	}
	return r.each
}

// element returns what is read of the elements of an array.
func (r *reads) element() *reads {
	if r.whole {
		return r
	}
	return r.each
}

// otherText stands for every text that is alike for the rules.
const otherText = "\x00"

// shown is what rules see of a text.
func (r *reads) shown(s string) string {
	if r.whole || r.exact || r.among[s] {
		return s
	}
	return otherText
}

// compare notes that rules compare a part with a fixed value.
func (r *reads) compare(v ast.Value) {
	switch v := v.(type) {
	case ast.Null, ast.Boolean:
	case ast.Number:
		r.exact = true
	case ast.String:
		if v == otherText {
			r.exact = true
		}
		if r.among == nil {
			r.among = map[string]bool{}
		}
		r.among[string(v)] = true
	default:
		r.whole = true
	}
}

// compareAny notes that rules ask whether a part is in a list or set.
func (r *reads) compareAny(v ast.Value) {
	switch v := v.(type) {
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { r.compare(t.Value) })
	case ast.Set:
		v.Foreach(func(t *ast.Term) { r.compare(t.Value) })
	default:
		r.whole = true
	}
}

// add notes that a part is read like another one.
func (r *reads) add(o *reads) {
	r.whole, r.exact = r.whole || o.whole, r.exact || o.exact
	for s := range o.among {
		r.compare(ast.String(s))
	}
	for name, c := range o.names {
		r.follow(ast.Ref{ast.StringTerm(name)}).add(c)
	}
	if o.each != nil {
		r.every().add(o.each)
	}
}

// every returns the part that stands for each member, to note what is read of it.
func (r *reads) every() *reads {
	if r.each == nil {
		r.each = &reads{}
	}
	return r.each
}

// needsFinal reports whether the rules read what only the service that applies a change knows.
func (r *reads) needsFinal() bool {
	return r.of(mStored) != nil || r.of(mResult) != nil || r.of(mReceived) != nil ||
		r.groups() || r.counts() || r.of(mMemberCount) != nil
}

func (r *reads) groups() bool { return r.of(mGroups) != nil || r.of(mGroupsComplete) != nil }

func (r *reads) counts() bool { return r.of(mCounts) != nil }

// view is how rules see the input.
type view struct {
	reads   reads
	outline bool
}

// everything is the view of the whole document.
func everything() *view { return &view{reads: reads{whole: true}} }

// follow returns the part at the end of a reference. Only a text names a member.
func (r *reads) follow(ref ast.Ref) *reads {
	for _, t := range ref {
		if name, ok := t.Value.(ast.String); ok {
			if r.names[string(name)] == nil {
				if r.names == nil {
					r.names = map[string]*reads{}
				}
				r.names[string(name)] = &reads{}
			}
			r = r.names[string(name)]
			continue
		}
		r = r.every()
	}
	return r
}

// settle makes the tree that decisions use: what is read of every member is read of each.
func (r *reads) settle() *reads {
	if r == nil || r.whole {
		return r
	}
	out := &reads{
		exact: r.exact, among: r.among,
		each: r.each.settle(), names: map[string]*reads{}, known: &[numMembers]*reads{},
	}
	for name, c := range r.names {
		out.names[name] = c.merge(r.each).settle()
	}
	for m, name := range memberNames() {
		out.known[m] = out.named(name)
	}
	return out
}

// merge returns what either reads.
func (r *reads) merge(other *reads) *reads {
	out := &reads{}
	for _, one := range [...]*reads{r, other} {
		if one != nil {
			out.add(one)
		}
	}
	return out
}
