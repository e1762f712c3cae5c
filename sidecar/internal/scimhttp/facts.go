package scimhttp

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store"
)

// facts answers what the rules of a tenant read beyond the request, in the transaction of the change.
type facts struct {
	h  *Handler
	tx *store.Tx
	x  *exchange
	id string // empty for a create
}

// Groups implements [policies.Facts].
func (f facts) Groups(limit int) (policies.Groups, error) {
	out := policies.Groups{Complete: true}
	if f.id == "" {
		return out, nil
	}
	ids, err := f.tx.GroupsOf(f.id)
	if err != nil {
		return out, fmt.Errorf("reading the groups of %s: %w", f.id, err)
	}
	if len(ids) > limit {
		ids, out.Complete = ids[:limit], false
	}
	for _, gid := range ids {
		g, err := f.tx.Group(gid)
		if errors.Is(err, store.ErrNotFound) {
			continue // the group is deleted and the edge remains
		}
		if err != nil {
			return out, fmt.Errorf("reading group %s: %w", gid, err)
		}
		out.List = append(out.List, policies.Group{ID: gid, DisplayName: g.Resource.String("displayName")})
	}
	return out, nil
}

var errNoCounts = errors.New("nobody counts the changes of the tenant")

// Counts implements [policies.Facts].
func (f facts) Counts() (policies.Counts, error) {
	if f.h.opts.Recent == nil {
		return policies.Counts{}, errNoCounts
	}
	c := f.h.opts.Recent(f.x.Tenant)
	var err error
	if c.Users, err = f.tx.CountUsers(); err != nil {
		return c, fmt.Errorf("counting the users: %w", err)
	}
	return c, nil
}

// Members implements [policies.Facts]. The change is in the transaction already, but for a create and a deletion.
func (f facts) Members(exact bool) (policies.Members, error) {
	if f.id == "" {
		_, members := splitMembers(f.x.scim.Resource)
		return policies.Members{Result: len(members)}, nil
	}
	read := f.tx.Group
	if exact {
		read = f.tx.GroupAndMembers
	}
	g, err := read(f.id)
	if err != nil {
		return policies.Members{}, fmt.Errorf("reading group %s: %w", f.id, err)
	}
	if f.x.Method == http.MethodDelete {
		return policies.Members{Stored: g.Members}, nil
	}
	return policies.Members{Stored: f.x.members, Result: g.Members}, nil
}
