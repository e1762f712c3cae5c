package scim

import "cmp"

// Path is the target of a PATCH operation (RFC 7644 §3.5.2), with the spelling of the
// schema. The zero Path is invalid.
//
//	members                                   Attr
//	name.givenName                            Attr, Sub
//	emails[type eq "work"].value              Attr, Filter, Sub
//	urn:…:enterprise:2.0:User:department      URN, Attr
//	urn:…:enterprise:2.0:User                 URN, for the whole extension
type Path struct {
	URN    string // of an extension; "" for the core schema
	Attr   string // "" for a whole extension
	Sub    string // "" for the attribute itself
	Filter Filter // selects elements of Attr; nil without brackets
}

// String returns the canonical text of p. Parsing it gives an equal path.
func (p Path) String() string {
	s := p.URN
	if p.Attr != "" {
		s = p.target()
	}
	if p.Filter != nil {
		s += "[" + p.Filter.String() + "]"
	}
	if p.Sub != "" {
		s += "." + p.Sub
	}
	return s
}

// target names the top-level attribute, with the URN of its extension if it has one.
func (p Path) target() string {
	switch {
	case p.URN == "":
		return p.Attr
	case p.Attr == "":
		return p.URN
	}
	return p.URN + ":" + p.Attr
}

// ParsePath parses a PATCH path for resources of the type t. Names and URNs compare
// case-insensitively. The URN of the core schema may precede a core attribute. Errors are
// 400 invalidPath, or invalidFilter for the part in brackets (RFC 7644 Table 9).
// [DefaultLimits] bounds length and filter.
func ParsePath(t *ResourceType, s string) (Path, *Error) {
	p, _, err := parsePath(t, s, Mode{})
	return p, err
}

func pathFault(s, what string) *Error {
	err := Errorf(400, TypeInvalidPath, "path %s: %s", quoteShort(s), what)
	err.Code = DevUnknownDropped
	return err
}

// quoteShort quotes client text for a detail, at most 80 characters.
func quoteShort(s string) string {
	const limit = 80
	runes := 0
	for i := range s {
		if runes++; runes > limit {
			s = s[:i] + "…"
			break
		}
	}
	return string(appendString(nil, s))
}

// parsePath parses s and names the deviations of its spelling from Path.String, also those that m does
// not accept. The code of an error is UNKNOWN_DROPPED if s is not a path of t.
func parsePath(t *ResourceType, s string, m Mode) (Path, []string, *Error) {
	l := DefaultLimits()
	if len(s) > l.FilterBytes {
		return Path{}, nil, pathFault(s, "it is too long")
	}
	fp := &filterParser{t: t, s: s, left: l.FilterNodes, m: m}
	word := fp.word()
	var notes []string
	ref, ok := lookupRef(t, word)
	if !ok {
		if ref, ok = withoutURN(t, word); ok {
			notes = append(notes, DevMissingURN)
			if !m.accepts(DevMissingURN) {
				err := pathFault(s, "the attribute belongs to an extension; write "+ref.String())
				err.Code = DevMissingURN
				return Path{}, notes, err
			}
		}
	}
	if !ok && equalName(word, "password") {
		return Path{}, nil, passwordFault()
	}
	if !ok {
		return Path{}, nil, pathFault(s, t.Name+" has no such attribute; see /Schemas")
	}
	if schema, _ := cutURN(t, word); schema == t.Schema {
		notes = append(notes, DevURNPath)
		word = word[len(schema.ID)+1:]
	}
	p := Path{URN: ref.URN, Attr: ref.Attr, Sub: ref.Sub}
	err := fp.pathFilter(&p, ref)
	notes = append(notes, fp.notes...)
	if err != nil {
		err.Code = cmp.Or(err.Code, fp.refused)
		return Path{}, notes, err
	}
	return p, append(notes, spelling(p, ref, word, s)...), nil
}

// pathFilter parses the optional [filter] and .sub after the attribute.
func (p *filterParser) pathFilter(path *Path, ref AttrRef) *Error {
	p.spaces()
	if p.i == len(p.s) && p.s[p.i-1] != ' ' {
		return nil
	}
	if p.peek() != '[' || ref.Attr == "" {
		return pathFault(p.s, "unexpected text after the attribute")
	}
	f, err := p.bracket(ref)
	if err != nil {
		return err
	}
	path.Filter = f
	if p.peek() == '.' {
		p.i++
		sub := ref.def.sub(p.word())
		if sub == nil {
			return pathFault(p.s, ref.Attr+" has no sub-attribute of that name")
		}
		path.Sub = sub.Name
	}
	if p.i < len(p.s) {
		return pathFault(p.s, "text follows the path")
	}
	return nil
}

// spelling compares the text of a path without the core URN with the canonical text.
func spelling(p Path, ref AttrRef, word, s string) []string {
	var notes []string
	if p.Filter != nil {
		want := "[" + p.Filter.String() + "]"
		if p.Sub != "" {
			want += "." + p.Sub
		}
		if len(s) < len(want) || s[len(s)-len(want):] != want {
			notes = append(notes, DevFilterForm)
		}
		if ref.def != nil && !ref.def.MultiValued {
			notes = append(notes, DevSingleFilter)
		}
	}
	canonical := ref.String()
	if ref.Attr == "" {
		canonical = ref.URN
	}
	if word != canonical && equalName(word, canonical) {
		notes = append(notes, DevPathCase)
	}
	return notes
}

// withoutURN finds an extension attribute by its bare name, such as manager.
func withoutURN(t *ResourceType, word string) (AttrRef, bool) {
	for _, e := range t.Extensions {
		if ref, ok := lookupRef(t, e.ID+":"+word); ok && word != "" {
			return ref, true
		}
	}
	return AttrRef{}, false
}

func passwordFault() *Error {
	return Errorf(400, TypeInvalidSyntax, "password is not supported: "+
		"credentials are never provisioned over SCIM; leave it out")
}
