package scim

// Project returns o as a response shows it (RFC 7644 §3.9, RFC 7643 §7 returned,
// F12, F58): with attributes only the named and the always-returned ones,
// otherwise all but those excluded and those returned on request only. Names may
// be sub-attributes ("name.givenName"), carry a URN, be an extension's URN, and are
// case-insensitive; unknown ones are ignored. Never-returned attributes are left
// out, and so is an extension with nothing left, together with its URN in schemas. o
// is not changed; the result may share values with it.
func Project(t *ResourceType, o Object, attributes, excluded []string) Object {
	p := projection{t: t, only: len(attributes) > 0, named: selectNames(t, attributes), dropped: selectNames(t, excluded)}
	out := p.attributes("", t.Schema.Attributes, o, Object{})
	out = p.attributes("", commonType(), o, out)
	for _, e := range t.Extensions {
		ext, _ := asObject(o[e.ID])
		if kept := p.attributes(e.ID, e.Attributes, ext, Object{}); len(kept) > 0 {
			out[e.ID] = kept
		}
	}
	p.schemas(o, out)
	return out
}

// Wants reports whether a response shows anything of the top-level attribute name
// of t, so that members need not be read when they are not asked for (F59). name
// has the form of [Op.Target]. An unknown name is not wanted.
func Wants(t *ResourceType, attributes, excluded []string, name string) bool {
	ref, ok := lookupRef(t, name)
	if !ok || ref.def == nil {
		return false
	}
	p := projection{t: t, only: len(attributes) > 0, named: selectNames(t, attributes), dropped: selectNames(t, excluded)}
	return p.keeps(ref.URN, ref.def)
}

// nameKey is an attribute by canonical names. Attr "" is a whole extension, Sub ""
// a whole attribute.
type nameKey struct{ urn, attr, sub string }

// nameSet holds the selected names, and under any which attributes have a selected sub-attribute.
type nameSet struct{ all, any map[nameKey]bool }

func selectNames(t *ResourceType, names []string) nameSet {
	s := nameSet{all: map[nameKey]bool{}, any: map[nameKey]bool{}}
	for _, name := range names {
		ref, ok := lookupRef(t, name)
		if !ok {
			continue
		}
		s.all[nameKey{ref.URN, ref.Attr, ref.Sub}] = true
		s.any[nameKey{ref.URN, ref.Attr, ""}] = true
	}
	return s
}

// whole reports whether the attribute itself, or all of its extension, is selected.
func (s nameSet) whole(urn, attr string) bool {
	return s.all[nameKey{urn, attr, ""}] || urn != "" && s.all[nameKey{urn, "", ""}]
}

type projection struct {
	t              *ResourceType
	only           bool // attributes were named
	named, dropped nameSet
}

// keeps reports whether anything of a is shown.
func (p projection) keeps(urn string, a *Attribute) bool {
	whole := p.named.whole(urn, a.Name)
	switch a.Returned {
	case retAlways:
		return true
	case retNever:
		return false
	case retRequest:
		return whole || p.named.any[nameKey{urn, a.Name, ""}]
	}
	if p.dropped.whole(urn, a.Name) {
		return false
	}
	return !p.only || whole || p.named.any[nameKey{urn, a.Name, ""}]
}

func (p projection) attributes(urn string, list []Attribute, o, out Object) Object {
	for i := range list {
		a := &list[i]
		v, ok := o[a.Name]
		if !ok || v == nil || !p.keeps(urn, a) {
			continue
		}
		if len(a.SubAttributes) > 0 {
			v = p.subAttributes(urn, a, v)
		}
		if v != nil {
			out[a.Name] = v
		}
	}
	return out
}

// subAttributes projects a complex value, or each element of one; nil when
// nothing is left.
func (p projection) subAttributes(urn string, a *Attribute, v any) any {
	if list, ok := v.([]any); ok {
		kept := make([]any, 0, len(list))
		for _, e := range list {
			if e := p.subAttributes(urn, a, e); e != nil {
				kept = append(kept, e)
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	}
	o, ok := asObject(v)
	if !ok {
		return v
	}
	all := !p.only || p.named.whole(urn, a.Name)
	out := Object{}
	for i := range a.SubAttributes {
		sub := &a.SubAttributes[i]
		if value := o[sub.Name]; value != nil && p.keepsSub(nameKey{urn, a.Name, sub.Name}, sub, all) {
			out[sub.Name] = value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (p projection) keepsSub(key nameKey, sub *Attribute, all bool) bool {
	switch sub.Returned {
	case retAlways:
		return true
	case retNever:
		return false
	case retRequest:
		return p.named.all[key]
	}
	return (all || p.named.all[key]) && !p.dropped.all[key]
}

// schemas takes the URNs of extensions that are not shown out of schemas.
func (p projection) schemas(o, out Object) {
	list, ok := o["schemas"].([]any)
	if !ok {
		return
	}
	kept := make([]any, 0, len(list))
	for _, urn := range list {
		s, _ := urn.(string)
		if e := p.t.Extension(s); e != nil && out[e.ID] == nil {
			continue
		}
		kept = append(kept, urn)
	}
	out["schemas"] = kept
}
