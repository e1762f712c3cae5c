package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// attrMembers is the attribute that lives in edges, not in the resource.
const attrMembers = "members"

// createGroup serves POST /Groups, with or without members (B72).
func (h *Handler) createGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	resource, members := splitMembers(s.Resource)
	var made store.Group
	seq, err := h.o.Store.Update(ctx, x.tenant, x.cause("group.create"), func(tx *store.Tx) error {
		made = store.Group{Resource: resource.Clone()}
		tx.Changed(slices.Sorted(maps.Keys(s.Resource))...)
		return tx.CreateGroup(&made, members)
	})
	if err != nil {
		return fmt.Errorf("creating a group: %w", err)
	}
	made.Version = seq
	x.resource, x.seq = made.ID, uint64(seq)
	h.answerGroup(ctx, w, x, s, http.StatusCreated, &made)
	return nil
}

// splitMembers takes the members out of a group resource, each id once.
func splitMembers(o scim.Object) (scim.Object, []store.Member) {
	rest, listed := scim.TakeMembers(o)
	seen := make(map[string]bool, len(listed))
	members := make([]store.Member, 0, len(listed))
	for _, m := range listed {
		if !seen[m.ID] {
			seen[m.ID] = true
			members = append(members, store.Member{ID: m.ID, Type: m.Type})
		}
	}
	return rest, members
}

// readGroup serves GET /Groups/{id} (B74).
func (h *Handler) readGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	x.resource = s.ID
	v := h.renderer(x.tenant, s.Type, s.Query)
	var body []byte
	err := h.o.Store.View(ctx, x.tenant, func(r *store.Reader) error {
		g, err := r.Group(s.ID)
		if err != nil {
			return fmt.Errorf("reading group %s: %w", s.ID, err)
		}
		v.budget = max(v.budget, g.Members) // one group may be as large as it is
		body, err = v.group(r, &g)
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// replaceGroup serves PUT /Groups/{id}: members are diffed, so that those who stay
// are not touched (design: dialects §2.1 row 14).
func (h *Handler) replaceGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	resource, members := splitMembers(s.Resource)
	return h.changeGroup(ctx, w, x, s, "group.put", func(tx *store.Tx, g *store.Group) (int, error) {
		names := changedNames(g.Resource, resource)
		if len(names) > 0 {
			g.Resource = resource.Clone()
			tx.Changed(names...)
			if err := tx.UpdateGroup(g); err != nil {
				return 0, err
			}
		}
		moved, err := tx.SetMembers(g.ID, members)
		if moved > 0 {
			tx.Changed(attrMembers)
		}
		return len(names) + moved, err
	})
}

// patchGroup serves PATCH /Groups/{id}. Operations on members become edges, one
// key each: two clients that add different members do not meet, and none of them
// reads the others (B77, B78, B79).
func (h *Handler) patchGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	changes, rest, failed := scim.MemberChanges(s.Ops)
	if failed != nil {
		return failed
	}
	return h.changeGroup(ctx, w, x, s, "group.patch", func(tx *store.Tx, g *store.Group) (int, error) {
		resource, changed, failed := scim.Apply(s.Type, g.Resource, rest)
		if failed != nil {
			return 0, failed
		}
		moved := 0
		if changed {
			tx.Changed(changedNames(g.Resource, resource)...)
			g.Resource = resource
			if err := tx.UpdateGroup(g); err != nil {
				return 0, err
			}
			moved = 1
		}
		for _, c := range changes {
			n, err := moveMembers(tx, g.ID, c)
			if err != nil {
				return 0, err
			}
			if n > 0 {
				tx.Changed(attrMembers)
			}
			moved += n
		}
		return moved, nil
	})
}

// moveMembers applies one member change and returns how many edges it moved.
// Adding a member that is there, and removing one that is not, moves none (B84, F90).
func moveMembers(tx *store.Tx, gid string, c scim.MemberChange) (int, error) {
	members := make([]store.Member, 0, len(c.IDs))
	ids := make([]string, 0, len(c.IDs))
	for _, m := range c.IDs {
		members = append(members, store.Member{ID: m.ID, Type: m.Type})
		ids = append(ids, m.ID)
	}
	switch {
	case c.Kind == scim.OpAdd:
		return tx.AddMembers(gid, members)
	case c.Kind == scim.OpReplace:
		return tx.SetMembers(gid, members)
	case c.Kind == scim.OpRemove && c.All:
		return tx.ClearMembers(gid)
	case c.Kind == scim.OpRemove:
		return tx.RemoveMembers(gid, ids)
	}
	return 0, fmt.Errorf("applying a member change of kind %v: unknown kind", c.Kind)
}

// changeGroup runs change inside one transaction. PUT answers with the group,
// PATCH with 204 unless attributes were asked for (F83): a group of 100,000
// members is not sent back because one was added.
func (h *Handler) changeGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest, action string,
	change func(*store.Tx, *store.Group) (int, error),
) error {
	x.resource = s.ID
	var after store.Group
	seq, err := h.o.Store.Update(ctx, x.tenant, x.cause(action), func(tx *store.Tx) error {
		g, err := tx.Group(s.ID)
		if err != nil {
			return fmt.Errorf("reading group %s: %w", s.ID, err)
		}
		moved, err := change(tx, &g)
		after = g
		if err == nil && moved == 0 {
			return errUnchanged
		}
		return err
	})
	switch {
	case errors.Is(err, errUnchanged):
	case err != nil:
		return fmt.Errorf("changing group %s: %w", s.ID, err)
	default:
		after.Version, x.seq = seq, uint64(seq)
	}
	if x.method == http.MethodPatch && len(s.Query.Attributes) == 0 {
		writeEmpty(w)
		return nil
	}
	h.answerGroup(ctx, w, x, s, http.StatusOK, &after)
	return nil
}

// deleteGroup serves DELETE /Groups/{id} (F40).
func (h *Handler) deleteGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	x.resource = s.ID
	seq, err := h.o.Store.Update(ctx, x.tenant, x.cause("group.delete"), func(tx *store.Tx) error {
		return tx.DeleteGroup(s.ID)
	})
	if err != nil {
		return fmt.Errorf("deleting group %s: %w", s.ID, err)
	}
	x.seq = uint64(seq)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answerGroup renders a group after a change: header and members of one snapshot,
// or the header as committed when the group is gone again or cannot be read. The
// change stands, so the answer is never an error.
func (h *Handler) answerGroup(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest, status int, g *store.Group) {
	v := h.renderer(x.tenant, s.Type, s.Query)
	var body []byte
	err := h.o.Store.View(context.WithoutCancel(ctx), x.tenant, func(r *store.Reader) error {
		now, err := r.Group(g.ID)
		if err != nil {
			return err
		}
		v.budget = max(v.budget, now.Members)
		body, err = v.group(r, &now)
		return err
	})
	if err != nil {
		body = v.encode(v.frame(g.Resource, g.ID, g.Created, g.Modified, g.Version))
		if !errors.Is(err, store.ErrNotFound) {
			x.err = fmt.Errorf("rendering group %s after the change: %w", g.ID, err)
		}
	}
	if status == http.StatusCreated {
		w.Header().Set("Location", v.location(g.ID))
	}
	writeJSON(w, status, body)
}
