package scim

import "slices"

// Project returns o for a response (RFC 7644 §3.9, RFC 7643 §7). With attributes it shows
// the named attributes and the ones that are always returned. Without, it leaves out the
// excluded ones and the ones that are returned on request. It never shows attributes that
// are never returned, nor an empty extension or its URN in schemas.
//
// Names are case-insensitive. They may be sub-attributes ("name.givenName"), have a URN, or
// be the URN of an extension. Unknown names are ignored. Project does not change o, but
// the result may share values with o.
func Project(t *ResourceType, o Object, attributes, excluded []string) Object {
	p := newProjection(t, attributes, excluded)
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

// Wants reports whether a response shows any part of the top-level attribute name, so that
// the store need not read unwanted members. name has the form of [Op.Target]. An unknown
// name is not wanted.
func Wants(t *ResourceType, attributes, excluded []string, name string) bool {
	ref, ok := lookupRef(t, name)
	if !ok || ref.def == nil {
		return false
	}
	return newProjection(t, attributes, excluded).keeps(ref.URN, ref.def)
}

// nameKey is the canonical name of an attribute, of an extension without attr, or of a
// sub-attribute with sub.
type nameKey struct{ urn, attr, sub string }

// nameSet is a set of selected names. any also has each attribute with a selected
// sub-attribute.
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

// whole reports whether the attribute itself or its whole extension is selected.
func (s nameSet) whole(urn, attr string) bool {
	return s.all[nameKey{urn, attr, ""}] || urn != "" && s.all[nameKey{urn, "", ""}]
}

type projection struct {
	t              *ResourceType
	only           bool // attributes were named
	named, dropped nameSet
}

func newProjection(t *ResourceType, attributes, excluded []string) projection {
	return projection{t, len(attributes) > 0, selectNames(t, attributes), selectNames(t, excluded)}
}

// keeps reports whether a response shows any part of a.
func (p projection) keeps(urn string, a *Attribute) bool {
	named := p.named.whole(urn, a.Name) || p.named.any[nameKey{urn, a.Name, ""}]
	switch a.Returned {
	case retAlways:
		return true
	case retNever:
		return false
	case retRequest:
		return named
	}
	return (named || !p.only) && !p.dropped.whole(urn, a.Name)
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

// subAttributes projects a complex value or each element of a list. It returns nil for an
// empty result.
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

// schemas removes the URNs of extensions that out does not show from its schemas.
func (p projection) schemas(o, out Object) {
	list, ok := o["schemas"].([]any)
	if !ok {
		return
	}
	out["schemas"] = slices.DeleteFunc(slices.Clone(list), func(urn any) bool {
		s, _ := urn.(string)
		e := p.t.Extension(s)
		return e != nil && out[e.ID] == nil
	})
}
