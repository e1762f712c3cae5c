package scimhttp

import "github.com/scimward/scimward/store/scim"

// references lists the attributes and ids that a filter mentions.
type references struct {
	names   map[string]bool // top-level attributes, spelled as in the schema
	ids     []string        // ids that members are compared with
	onlyIDs bool            // members are compared only by eq with an id
}

// referencesOf walks a filter, which may be nil.
func referencesOf(f scim.Filter) references {
	r := references{names: map[string]bool{}, onlyIDs: true}
	if f != nil {
		r.walk(f)
	}
	return r
}

func (r *references) walk(f scim.Filter) {
	switch f := f.(type) {
	case *scim.And:
		r.walkAll(f.Terms)
	case *scim.Or:
		r.walkAll(f.Terms)
	case *scim.Not:
		r.walk(f.Term)
	case *scim.Present:
		r.name(f.Attr)
		r.onlyIDs = r.onlyIDs && f.Attr.Attr != attrMembers
	case *scim.Compare:
		r.name(f.Attr)
		if f.Attr.Attr == attrMembers {
			r.member(f, f.Attr.Sub)
		}
	case *scim.ValuePath:
		r.name(f.Attr)
		if f.Attr.Attr != attrMembers {
			return
		}
		if c, ok := f.Filter.(*scim.Compare); ok {
			r.member(c, c.Attr.Attr)
		} else { // the filter needs the members
			r.onlyIDs = false
		}
	}
}

func (r *references) walkAll(terms []scim.Filter) {
	for _, t := range terms {
		r.walk(t)
	}
}

func (r *references) name(a scim.AttrRef) {
	if a.URN == "" {
		r.names[a.Attr] = true
	}
}

func (r *references) member(c *scim.Compare, sub string) {
	id, ok := c.Value.(string)
	if !ok || c.Op != scim.OpEq || (sub != "value" && sub != "") {
		r.onlyIDs = false
		return
	}
	r.ids = append(r.ids, id)
}
