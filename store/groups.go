package store

import (
	"fmt"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// Group returns a group without its members, or ErrNotFound. In a Tx the attributes
// become a precondition, the members do not.
func (r *Reader) Group(id string) (Group, error) {
	res, err := r.resource(kindGroup, id)
	if err != nil {
		return Group{}, err
	}
	res.object = r.own(res.object)
	return r.newGroup(id, res)
}

// GroupAndMembers is [Reader.Group] with the members as a precondition too: no change of them commits
// before this one.
func (t *Tx) GroupAndMembers(id string) (Group, error) {
	if _, _, err := t.snap.Get(key(kindStat, t.tenant, id)); err != nil {
		return Group{}, err
	}
	return t.Group(id)
}

// newGroup builds a group from its row and its counter.
func (r *Reader) newGroup(id string, res resource) (Group, error) {
	v, seq, err := r.snap.Peek(key(kindStat, r.tenant, id))
	var c machine.Counter
	if err == nil {
		c, err = machine.DecodeCounter(v)
	}
	if err != nil {
		return Group{}, fmt.Errorf("reading the counter of group %s: %w", id, err)
	}
	g := Group{
		ID: id, Resource: res.object, Members: int(c.Count),
		Created: res.created, Modified: res.modified, Version: max(res.version, seq),
	}
	if at := time.Unix(0, c.Time).UTC(); at.After(g.Modified) {
		g.Modified = at
	}
	return g, nil
}

// GroupIDs finds groups by one of [GroupAttributes]. A displayName compares without
// regard to case. Another attribute is an error.
func (r *Reader) GroupIDs(attr, value string) ([]string, error) {
	if attr == membersValue {
		return r.GroupsOf(value)
	}
	return r.find(groupIndexes, attr, value)
}

// CountGroups is the number of groups. Inside a Tx it is no precondition.
func (r *Reader) CountGroups() (int, error) { return r.counter(counterGroups) }

// Groups calls fn for every group, in the order of ids after after ("" means all),
// until fn returns false.
func (r *Reader) Groups(after string, fn func(Group) bool) error {
	return each(r, kindGroup, after, r.newGroup, fn)
}

// GroupPage returns groups offset, offset+1, … in the order of ids, at most limit.
func (r *Reader) GroupPage(offset, limit int) ([]Group, error) {
	return page(r, kindGroup, offset, limit, r.newGroup)
}

// CreateGroup adds a group with its members and sets ID (when empty), Created, Modified
// and Members. It returns a *MissingMembersError for members that do not exist,
// ErrSelfMember for a group among its own members, and a *LimitError.
func (t *Tx) CreateGroup(g *Group, members []Member) error {
	if g.ID == "" {
		g.ID = newID(t.now)
	}
	if err := t.createResource(kindGroup, g.ID, g.Resource); err != nil {
		return err
	}
	g.Created, g.Modified = t.now, t.now
	names := namesOf(groupIndexes, g.Resource)
	if err := checkNames(nil, names); err != nil {
		return err
	}
	if err := t.moveIndexes(g.ID, nil, names); err != nil {
		return err
	}
	gen := uint64(t.snap.Seq()) + 1
	t.startGeneration(g.ID, gen)
	t.w.Add(key(kindCounter, t.tenant, counterGroups), 1)
	t.change(ChangeGroupCreated, g.ID, nil)
	t.note(g.ID, "")
	var err error
	g.Members, err = t.addEdges(g.ID, gen, members)
	return err
}

// UpdateGroup replaces the attributes of a group and sets Modified. The members stay. It
// returns the sorted names of the changed top-level attributes, which the audit record
// gets too. Without a change it writes nothing and returns nil. It returns ErrNotFound
// for an unknown group.
func (t *Tx) UpdateGroup(g *Group) (changed []string, err error) {
	res, err := t.resource(kindGroup, g.ID)
	if err != nil {
		return nil, err
	}
	old, err := t.newGroup(g.ID, res)
	if err != nil {
		return nil, err
	}
	g.Created, g.Modified, g.Members = old.Created, old.Modified, old.Members
	if changed, err = changedAttributes(old.Resource, g.Resource); err != nil || len(changed) == 0 {
		return nil, err
	}
	g.Modified = t.now
	if err := t.putResource(key(kindGroup, t.tenant, g.ID), g.Resource, g.Created, g.Modified); err != nil {
		return nil, err
	}
	before, after := namesOf(groupIndexes, old.Resource), namesOf(groupIndexes, g.Resource)
	if err := checkNames(before, after); err != nil {
		return nil, err
	}
	if err := t.moveIndexes(g.ID, before, after); err != nil {
		return nil, err
	}
	t.Changed(changed...)
	t.change(ChangeGroupUpdated, g.ID, nil)
	t.note(g.ID, "")
	return changed, nil
}

// DeleteGroup removes a group, its members and its own memberships, or returns ErrNotFound.
func (t *Tx) DeleteGroup(id string) error {
	res, err := t.resource(kindGroup, id)
	if err != nil {
		return err
	}
	gen, err := t.generation(id)
	if err != nil {
		return err
	}
	if err := t.deleteResource(kindGroup, id, namesOf(groupIndexes, res.object)); err != nil {
		return err
	}
	t.w.Delete(key(kindGen, t.tenant, id))
	t.w.Delete(key(kindStat, t.tenant, id))
	t.putMark(numberedKey(kindSweep, t.tenant, id, gen))
	t.w.Add(key(kindCounter, t.tenant, counterGroups), -1)
	t.change(ChangeGroupDeleted, id, nil)
	t.note(id, "")
	return nil
}
