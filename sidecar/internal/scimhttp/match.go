package scimhttp

import (
	"fmt"
	"net/http"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// userMatcher applies the whole filter to the whole user. It reads the user's groups only if the
// filter mentions them.
func (v *renderer) userMatcher(r *store.Reader, f scim.Filter) func(store.User) (bool, error) {
	refs := referencesOf(f)
	return func(u store.User) (bool, error) {
		o, _, err := v.userObject(r, &u, refs.names["groups"])
		return err == nil && f.Match(v.t, o), err
	}
}

// groupMatcher applies the whole filter to a group. If the filter compares members only with ids,
// it looks up these edges, in a group of any size. Identity services ask `id eq "g" and members eq
// "u"` before every change. Otherwise it reads the members, within the limit of the answer.
func (v *renderer) groupMatcher(r *store.Reader, f scim.Filter) func(store.Group) (bool, error) {
	refs := referencesOf(f)
	return func(g store.Group) (bool, error) {
		o := v.groupFrame(&g)
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

// membersFor returns the members of g that the filter needs.
func (v *renderer) membersFor(r *store.Reader, g *store.Group, refs references) ([]any, error) {
	var out []any
	add := func(m store.Member) {
		out = append(out, scim.Object{"value": m.ID, "type": m.Type, "$ref": v.memberRef(m)})
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
