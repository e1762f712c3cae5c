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
	create := func(tx *store.Tx, id string, add func() (int, error)) (err error) {
		if err := h.decideLate(ctx, x, tx, nil, resource); err != nil {
			return err
		}
		made = store.Group{ID: id, Resource: resource.Clone()}
		tx.Changed(slices.Sorted(maps.Keys(x.scim.Resource))...)
		if err := tx.CreateGroup(&made, nil); err != nil {
			return err
		}
		made.Members, err = add()
		return err
	}
	seq, err := h.updateMembers(ctx, x, store.MemberChange{Members: members}, create)
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
	return rest, distinct(listed)
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
	set := &store.MemberChange{GroupID: x.scim.ID, Members: members}
	return h.changeGroup(ctx, w, x, set, func(tx *store.Tx, g *store.Group, setMembers func() (int, error)) (int, error) {
		g.Resource = resource.Clone()
		names, err := tx.UpdateGroup(g)
		if err != nil {
			return 0, err
		}
		n, err := setMembers()
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
	changes = mergeChanges(changes)
	one := onlyChange(x.scim.ID, changes)
	return h.changeGroup(ctx, w, x, one, func(tx *store.Tx, g *store.Group, change func() (int, error)) (int, error) {
		total, err := x.patchAttributes(tx, g, x.scim.Type, rest)
		if err != nil {
			return 0, err
		}
		if one != nil {
			n, err := change()
			return total + n, err
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

// patchAttributes applies operations on other attributes than members and returns the number of changed
// attributes.
func (x *exchange) patchAttributes(tx *store.Tx, g *store.Group, t *scim.ResourceType, ops []scim.Op) (int, error) {
	applied, failed := scim.Apply(t, g.Resource, ops)
	if failed != nil {
		return 0, failed
	}
	x.note(applied.Found)
	if !applied.Changed {
		return 0, nil
	}
	g.Resource = applied.Resource
	names, err := tx.UpdateGroup(g)
	return len(names), err
}

// mergeChanges joins an addition with the addition or replacement before it. Some clients send one
// operation for each member.
func mergeChanges(changes []scim.MemberChange) []scim.MemberChange {
	var out []scim.MemberChange
	for _, c := range changes {
		if n := len(out) - 1; n >= 0 && c.Kind == scim.OpAdd && out[n].Kind != scim.OpRemove {
			out[n].IDs = append(slices.Clip(out[n].IDs), c.IDs...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// onlyChange returns the change of a request that only adds or only replaces members, which may be any
// number. For another request it returns nil.
func onlyChange(gid string, changes []scim.MemberChange) *store.MemberChange {
	if len(changes) != 1 || changes[0].Kind == scim.OpRemove {
		return nil
	}
	return &store.MemberChange{
		GroupID: gid, Add: changes[0].Kind == scim.OpAdd, Members: distinct(changes[0].IDs),
	}
}

// distinct returns the members as the store has them, each once.
func distinct(listed []scim.Member) []store.Member {
	seen := make(map[string]bool, len(listed))
	members := make([]store.Member, 0, len(listed))
	for _, m := range listed {
		if !seen[m.ID] {
			seen[m.ID] = true
			members = append(members, store.Member{ID: m.ID, Type: m.Type})
		}
	}
	return members
}

// changeMembers applies one member change and returns the number of changed edges. Adding a present
// member or removing an absent one changes no edge (RFC 7644 §3.5.2.1).
func changeMembers(tx *store.Tx, gid string, c scim.MemberChange) (int, error) {
	switch {
	case c.Kind == scim.OpAdd:
		return tx.AddMembers(gid, distinct(c.IDs))
	case c.Kind == scim.OpReplace:
		return tx.SetMembers(gid, distinct(c.IDs))
	case c.Kind == scim.OpRemove && c.All:
		return tx.ClearMembers(gid)
	case c.Kind == scim.OpRemove:
		var ids []string
		for _, m := range c.IDs {
			ids = append(ids, m.ID)
		}
		return tx.RemoveMembers(gid, ids)
	}
	return 0, fmt.Errorf("applying a member change of kind %v: unknown kind", c.Kind)
}

// groupChange changes a group in a transaction and returns the number of its changes. It must call
// members, which makes the change of members of the request, if there is one.
type groupChange func(tx *store.Tx, g *store.Group, members func() (int, error)) (int, error)

// changeGroup runs change in one transaction, with the change c of its members, which may be nil. PUT
// answers with the group. PATCH answers 204 unless attributes were requested (RFC 7644 §3.5.2), because
// adding one member must not return 100,000 members.
func (h *Handler) changeGroup(ctx context.Context, w http.ResponseWriter, x *exchange, c *store.MemberChange,
	change groupChange,
) error {
	x.resource = x.scim.ID
	var after store.Group
	n := 0 // changes
	run := func(tx *store.Tx, _ string, members func() (int, error)) error {
		g, err := x.groupToWrite(tx)
		if err != nil {
			return err
		}
		stored := g.Resource
		if n, err = change(tx, &g, members); err != nil {
			return err
		}
		after = g
		return h.decideLate(ctx, x, tx, stored, g.Resource)
	}
	seq, err := h.updateGroup(ctx, x, c, run)
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

// updateGroup runs fn in one transaction. Before it prepares a large change, it judges the preconditions.
func (h *Handler) updateGroup(ctx context.Context, x *exchange, c *store.MemberChange,
	fn func(*store.Tx, string, func() (int, error)) error,
) (store.Seq, error) {
	if c == nil {
		return h.update(ctx, x, func(tx *store.Tx) error { return fn(tx, x.scim.ID, nil) })
	}
	if x.pre != (preconditions{}) {
		if err := h.opts.Store.View(ctx, x.Tenant, func(r *store.Reader) error {
			g, err := r.Group(x.scim.ID)
			if err != nil {
				return err
			}
			return x.pre.written(g.Version)
		}); err != nil {
			return 0, err
		}
	}
	return h.updateMembers(ctx, x, *c, fn)
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
	x.members = g.Members
	return g, x.pre.written(g.Version)
}

// deleteGroup serves DELETE /Groups/{id} (RFC 7644 §3.6).
func (h *Handler) deleteGroup(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	if err := h.remove(ctx, x, func(tx *store.Tx, id string) error {
		g, err := x.groupToWrite(tx)
		if err != nil {
			return err
		}
		if err := h.decideLate(ctx, x, tx, g.Resource, nil); err != nil {
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
