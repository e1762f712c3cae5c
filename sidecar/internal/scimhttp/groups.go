package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// attrMembers is the attribute that the store keeps as edges, outside the resource.
const attrMembers = "members"

// createGroup serves POST /Groups, with or without members (RFC 7644 §3.3).
func (h *Handler) createGroup(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	if err := x.pre.created(); err != nil {
		return err
	}
	resource, members := splitMembers(x.scim.Resource)
	var made store.Group
	seq, err := h.opts.Store.Update(ctx, x.Tenant, x.cause(), func(tx *store.Tx) error {
		made = store.Group{Resource: resource.Clone()}
		tx.Changed(slices.Sorted(maps.Keys(x.scim.Resource))...)
		return tx.CreateGroup(&made, members)
	})
	if err != nil {
		return fmt.Errorf("creating a group: %w", err)
	}
	made.Version = seq
	x.resource, x.seq = made.ID, uint64(seq)
	h.answerGroup(ctx, w, x, http.StatusCreated, &made)
	return nil
}

// splitMembers returns a group resource without its members, and the members without duplicates.
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

// readGroup serves GET /Groups/{id} (RFC 7644 §3.4.1).
func (h *Handler) readGroup(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	x.resource = x.scim.ID
	v := h.renderer(x)
	a, err := render(ctx, h, x, func(r *store.Reader) (rendered, error) {
		g, err := r.Group(x.scim.ID)
		if err != nil {
			return rendered{}, fmt.Errorf("reading group %s: %w", x.scim.ID, err)
		}
		if same, err := x.pre.read(tagOf(g.Version)); same || err != nil {
			return rendered{tag: tagOf(g.Version)}, err // without reading the members
		}
		return v.group(r, &g)
	})
	if err != nil {
		return err
	}
	return a.writeRead(w, x.pre)
}

// replaceGroup serves PUT /Groups/{id} (RFC 7644 §3.5.1). It writes only the members that differ.
func (h *Handler) replaceGroup(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	resource, members := splitMembers(x.scim.Resource)
	return h.changeGroup(ctx, w, x, func(tx *store.Tx, g *store.Group) (int, error) {
		g.Resource = resource.Clone()
		names, err := tx.UpdateGroup(g)
		if err != nil {
			return 0, err
		}
		n, err := tx.SetMembers(g.ID, members)
		return len(names) + n, err
	})
}

// patchGroup serves PATCH /Groups/{id} (RFC 7644 §3.5.2). Operations on members change one edge
// each, without reading the others. So clients that change different members do not conflict.
func (h *Handler) patchGroup(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	changes, rest, failed := scim.MemberChanges(x.scim.Ops)
	if failed != nil {
		return failed
	}
	return h.changeGroup(ctx, w, x, func(tx *store.Tx, g *store.Group) (int, error) {
		resource, changed, failed := scim.Apply(x.scim.Type, g.Resource, rest)
		if failed != nil {
			return 0, failed
		}
		total := 0
		if changed {
			g.Resource = resource
			names, err := tx.UpdateGroup(g)
			if err != nil {
				return 0, err
			}
			total = len(names)
		}
		for _, c := range changes {
			n, err := changeMembers(tx, g.ID, c)
			if err != nil {
				return 0, err
			}
			total += n
		}
		return total, nil
	})
}

// changeMembers applies one member change and returns the number of changed edges. Adding a present
// member or removing an absent one changes no edge (RFC 7644 §3.5.2.1).
func changeMembers(tx *store.Tx, gid string, c scim.MemberChange) (int, error) {
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

// changeGroup runs change in one transaction. change returns its number of changes. PUT answers
// with the group. PATCH answers 204 unless attributes were requested (RFC 7644 §3.5.2), because
// adding one member must not return 100,000 members.
func (h *Handler) changeGroup(ctx context.Context, w http.ResponseWriter, x *exchange,
	change func(*store.Tx, *store.Group) (int, error),
) error {
	x.resource = x.scim.ID
	var after store.Group
	n := 0 // changes
	seq, err := h.opts.Store.Update(ctx, x.Tenant, x.cause(), func(tx *store.Tx) error {
		g, err := x.groupToWrite(tx)
		if err != nil {
			return err
		}
		n, err = change(tx, &g)
		after = g
		return err
	})
	if err != nil {
		return fmt.Errorf("changing group %s: %w", x.scim.ID, err)
	}
	if n > 0 {
		after.Version, x.seq = seq, uint64(seq)
	}
	if x.Method == http.MethodPatch && len(x.scim.Query.Attributes) == 0 {
		writeEmpty(w, tagOf(after.Version))
		return nil
	}
	h.answerGroup(ctx, w, x, http.StatusOK, &after)
	return nil
}

// groupToWrite reads the group of a change and judges the preconditions of the request. With
// preconditions the members must not change before the commit.
func (x *exchange) groupToWrite(tx *store.Tx) (store.Group, error) {
	read := tx.Group
	if x.pre != (preconditions{}) {
		read = tx.GroupAndMembers
	}
	g, err := read(x.scim.ID)
	if err != nil {
		return g, fmt.Errorf("reading group %s: %w", x.scim.ID, err)
	}
	return g, x.pre.written(g.Version)
}

// deleteGroup serves DELETE /Groups/{id} (RFC 7644 §3.6).
func (h *Handler) deleteGroup(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	if err := h.remove(ctx, x, func(tx *store.Tx, id string) error {
		if _, err := x.groupToWrite(tx); err != nil {
			return err
		}
		return tx.DeleteGroup(id)
	}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answerGroup renders a group and its members after a change, from one snapshot. If the group was
// deleted meanwhile or cannot be read, it renders the committed resource without members. The
// change is durable, so the answer reports success.
func (h *Handler) answerGroup(ctx context.Context, w http.ResponseWriter, x *exchange, status int, g *store.Group) {
	v := h.renderer(x)
	a, err := render(context.WithoutCancel(ctx), h, x, func(r *store.Reader) (rendered, error) {
		now, err := r.Group(g.ID)
		if err != nil {
			return rendered{}, fmt.Errorf("reading group %s: %w", g.ID, err)
		}
		return v.group(r, &now)
	})
	if err != nil {
		a = rendered{v.encode(v.groupFrame(g)), tagOf(g.Version)}
		if !errors.Is(err, store.ErrNotFound) {
			x.err = fmt.Errorf("rendering group %s after the change: %w", g.ID, err)
		}
	}
	v.writeChanged(w, status, g.ID, a)
}
