package scimhttp

import (
	"fmt"
	"net/http"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// userMatcher judges the whole filter on the whole user, groups included where
// the filter speaks of them.
func (v *renderer) userMatcher(r *store.Reader, f scim.Filter) func(store.User) (bool, error) {
	refs := referencesOf(f)
	return func(u store.User) (bool, error) {
		o := v.userFrame(&u)
		if refs.names["groups"] {
			groups, err := v.groupsOf(r, u.ID)
			if err != nil {
				return false, err
			}
			if len(groups) > 0 {
				o["groups"] = groups
			}
		}
		return f.Match(v.t, o), nil
	}
}

// groupMatcher judges the whole filter on a group. Where every mention of members
// is an equality of ids, only those edges are looked up, whatever the size of the
// group (a provider asks `id eq "g" and members eq "u"` before every change);
// otherwise the members are read, within the budget of the answer.
func (v *renderer) groupMatcher(r *store.Reader, f scim.Filter) func(store.Group) (bool, error) {
	refs := referencesOf(f)
	return func(g store.Group) (bool, error) {
		o := v.frame(g.Resource, g.ID, g.Created, g.Modified, g.Version)
		if refs.names[attrMembers] && g.Members > 0 {
			members, err := v.membersFor(r, &g, refs)
			if err != nil {
				return false, err
			}
			if len(members) > 0 {
				o[attrMembers] = members
			}
		}
		return f.Match(v.t, o), nil
	}
}

// membersFor returns enough members of g for the filter to be judged.
func (v *renderer) membersFor(r *store.Reader, g *store.Group, refs references) ([]any, error) {
	var out []any
	add := func(m store.Member) {
		out = append(out, scim.Object{"value": m.ID, "type": m.Type, "$ref": v.base + "/" + endpointOfMember(m) + "/" + m.ID})
	}
	if refs.onlyIDs {
		for _, id := range refs.ids {
			is, err := r.IsMember(g.ID, id)
			if err != nil {
				return nil, fmt.Errorf("looking for %s in group %s: %w", id, g.ID, err)
			}
			if is {
				add(store.Member{ID: id})
			}
		}
		return out, nil
	}
	if v.budget -= g.Members; v.budget < 0 {
		return nil, scim.Errorf(http.StatusBadRequest, scim.TypeTooMany,
			"this filter would read more than %d members; use members[value eq \"id\"]", v.limit)
	}
	return out, eachMember(r, g.ID, add)
}
