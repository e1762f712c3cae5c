package suggest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/config"
)

// Suggestion is what to write into local_writes.
type Suggestion struct {
	Title   string  `json:"title"`
	Format  string  `json:"format"`
	Entries []Entry `json:"local_writes"`
	// NotProposed are operations that should be denied, and that no entry can express.
	NotProposed []Operated `json:"not_proposed"`
	// Left are operations that have to do with accounts and stay free.
	Left []Operated `json:"left"`
	// Unread are path items whose operations are not known.
	Unread []Unread `json:"unread"`
	// Absent are configured entries that cover no operation of the document: "POST /signup".
	Absent []string `json:"absent"`
	Counts Counts   `json:"counts"`
	// added means that the application has entries already.
	added bool
}

// Counts are numbers of operations.
type Counts struct {
	Operations int `json:"operations"`
	Writes     int `json:"writes"`
	Proposed   int `json:"proposed"`   // by an entry
	Configured int `json:"configured"` // that the configuration denies already
	Left       int `json:"left"`
}

// Operated is one operation with the reason for what is made of it.
type Operated struct {
	Operation string `json:"operation"` // "PATCH /users/{id}"
	Reason    string `json:"reason"`
}

// Entry is one entry of local_writes.
type Entry struct {
	Path       string     `json:"path"`
	Methods    []string   `json:"methods"`
	Fields     []string   `json:"fields,omitempty"`
	Confidence Confidence `json:"confidence"`
	Operations []Operated `json:"operations"`
	Notes      []string   `json:"notes,omitempty"`
	// Free are fields of the bodies that pass.
	Free []string `json:"free,omitempty"`
	// AlsoDenies are other operations of the document that the entry denies, at least for some bodies.
	AlsoDenies []string `json:"also_denies,omitempty"`

	verdicts []verdict
}

// LocalWrite is the entry as the configuration has it.
func (e *Entry) LocalWrite() config.LocalWrite {
	return config.LocalWrite{Path: e.Path, Methods: e.Methods, Fields: e.Fields, Exempt: "refuse"}
}

// Suggest proposes entries. It leaves out what the configured ones deny already.
func (d *Document) Suggest(configured []config.LocalWrite) *Suggestion {
	s := &Suggestion{
		Title: d.Title, Format: d.Format, Entries: []Entry{}, NotProposed: []Operated{}, Left: []Operated{},
		Unread: append([]Unread{}, d.Unread...), Absent: absent(d.Operations, configured), added: len(configured) > 0,
	}
	s.Counts.Operations = len(d.Operations)
	rules := make([]rule, len(configured))
	for i := range configured {
		rules[i] = newRule(&configured[i])
	}
	var groups groups
	var others []verdict // of operations that an entry should leave alone, at least in part
	for i := range d.Operations {
		o := &d.Operations[i]
		if !o.Write() {
			continue
		}
		s.Counts.Writes++
		v := judge(o)
		path, why := template(o.Path)
		switch {
		case !v.propose:
			others = append(others, v)
			if v.left != "" {
				s.Left = append(s.Left, operated(o, v.left))
			}
		case slices.ContainsFunc(rules, func(r rule) bool { return r.serves(&v) }):
			s.Counts.Configured++
		case why != "":
			s.NotProposed = append(s.NotProposed, operated(o, why))
		default:
			s.Counts.Proposed++
			groups.add(path, &v)
			if len(v.fields) > 0 {
				others = append(others, v)
			}
		}
	}
	s.Counts.Left = s.Counts.Writes - s.Counts.Proposed - s.Counts.Configured - len(s.NotProposed)
	for _, e := range groups.entries {
		e.finish(others)
		s.Entries = append(s.Entries, *e)
	}
	return s
}

// absent returns the configured entries that cover no operation.
func absent(all []Operation, configured []config.LocalWrite) []string {
	out := []string{}
	for i := range configured {
		w := &configured[i]
		r := newRule(w)
		if !slices.ContainsFunc(all, func(o Operation) bool { return r.covers(&o) }) {
			out = append(out, strings.Join(append(slices.Clone(w.Methods), w.Path), " "))
		}
	}
	return out
}

func operated(o *Operation, reason string) Operated {
	return Operated{Operation: short(o.Method + " " + o.Path), Reason: reason}
}

// groups collects the verdicts of one path into as few entries as they allow: uncertain ones apart, as people may leave
// them out, and denials of fields apart from those of every request.
type groups struct {
	entries []*Entry
	at      map[string]*Entry
}

func (g *groups) add(path string, v *verdict) {
	if g.at == nil {
		g.at = map[string]*Entry{}
	}
	id := fmt.Sprint(path, v.confidence == Low, len(v.fields) > 0)
	if v.op.Method == http.MethodDelete { // fields change nothing for it, so that it joins either
		if other := fmt.Sprint(path, v.confidence == Low, true); g.at[other] != nil {
			id = other
		}
	}
	e := g.at[id]
	if e == nil {
		e = &Entry{Path: path, Confidence: v.confidence}
		g.at[id] = e
		g.entries = append(g.entries, e)
	}
	e.Confidence = weaker(e.Confidence, v.confidence)
	e.verdicts = append(e.verdicts, *v)
	e.Operations = append(e.Operations, operated(v.op, v.reason))
	add(&e.Methods, v.op.Method)
	add(&e.Notes, v.notes...)
	add(&e.Fields, v.fields...)
	add(&e.Free, v.free...)
}

// add appends what the list does not have.
func add(to *[]string, more ...string) {
	for _, s := range more {
		if !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	}
}

// finish looks for other operations that the entry would deny, and narrows it if that spares some.
func (e *Entry) finish(others []verdict) {
	hit := e.hits(others)
	if len(hit) > 0 && len(e.Fields) == 0 {
		if fields := e.narrow(hit); len(fields) > 0 {
			narrowed := *e
			narrowed.Fields = fields
			if fewer := narrowed.hits(others); len(fewer) < len(hit) {
				e.Fields, hit = fields, fewer
				add(&e.Notes, "only with these fields, so that other operations below this path stay free")
			}
		}
	}
	for _, o := range hit {
		e.AlsoDenies = append(e.AlsoDenies, short(o.Method+" "+o.Path))
	}
	if len(hit) > 0 && e.Confidence == Medium {
		e.Confidence = Low
	}
}

// hits returns the operations that the entry denies, or hinders beyond what was proposed for them.
func (e *Entry) hits(others []verdict) (out []*Operation) {
	w := e.LocalWrite()
	r := newRule(&w)
	for i := range others {
		o := others[i].op
		own := slices.ContainsFunc(e.verdicts, func(v verdict) bool { return v.op == o })
		if !own && r.hinders(&others[i]) {
			out = append(out, o)
		}
	}
	return out
}

// narrow returns fields that every request of the entry's own operations has and that spare others; nil if there are
// none. A DELETE is denied whatever its body, so that any field narrows the POST that is denied with it.
func (e *Entry) narrow(hit []*Operation) []string {
	taken := func(name string) bool {
		set := newSet([]string{name})
		return slices.ContainsFunc(hit, func(o *Operation) bool {
			return o.Body.Readable && slices.ContainsFunc(o.Body.Fields, func(f Field) bool { return set.Has(f.Name()) })
		})
	}
	var fields []string
	for i := range e.verdicts {
		v := &e.verdicts[i]
		b := &v.op.Body
		if v.op.Method == http.MethodDelete {
			continue
		}
		spare := slices.DeleteFunc(slices.Clone(b.Fields), func(f Field) bool {
			what := cmp.Or(supplied(&f), suppliedOfGroup(&f))
			return what == "" || len(f.Path) > 1 && !wrapper(f.Path[0]) || taken(f.Name())
		})
		if b.Unknown != "" || !slices.ContainsFunc(spare, func(f Field) bool { return v.surely(&f) }) {
			return nil
		}
		for _, f := range spare {
			add(&fields, f.Name())
		}
	}
	if fields == nil {
		for _, f := range []string{"userName", "email"} {
			if !taken(f) {
				fields = append(fields, f)
			}
		}
	}
	return fields
}
