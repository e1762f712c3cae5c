package scimhttp

import (
	"errors"
	"fmt"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store"
)

// facts answers what the rules of a tenant read beyond the request, in the transaction of the change.
type facts struct {
	h          *Handler
	tx         *store.Tx
	tenant, id string // id is empty for a create
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
	c := f.h.opts.Recent(f.tenant)
	var err error
	if c.Users, err = f.tx.CountUsers(); err != nil {
		return c, fmt.Errorf("counting the users: %w", err)
	}
	return c, nil
}
