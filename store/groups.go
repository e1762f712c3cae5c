package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// Members are one edge key each, below a generation of the group. Adding one
// requires that the group lives in that generation, that the edge is absent and
// that the member exists; it moves the group's counter, which commutes. So two
// who add different members never conflict, whatever the group's size. Emptying
// a group starts a new generation, and housekeeping sweeps the old one away.

// Group returns a group without its members, ErrNotFound when there is none. In a
// Tx the precondition is on the attributes alone, not on the members.
func (r *Reader) Group(id string) (Group, error) {
	res, err := r.resource(kindGroup, id)
	if err != nil {
		return Group{}, err
	}
	res.object = r.own(res.object)
	return r.newGroup(id, res)
}

// newGroup adds what the group's counter knows.
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

// GroupIDs finds groups by "displayName" (without regard to case), "externalId"
// or "members.value". Another attribute is an error.
func (r *Reader) GroupIDs(attr, value string) ([]string, error) {
	if attr == "members.value" {
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

// generation of a living group; ErrNotFound otherwise. In a Tx it is the
// precondition that the group was neither deleted nor emptied.
func (r *Reader) generation(gid string) (uint64, error) {
	v, _, err := r.snap.Get(key(kindGen, r.tenant, gid))
	if err != nil {
		return 0, err
	}
	return decodeU64(v)
}

// Members returns members of a group in the order of ids after after ("": from
// the first), at most limit (0: all). ErrNotFound when there is no such group.
func (r *Reader) Members(gid, after string, limit int) ([]Member, error) {
	gen, err := r.generation(gid)
	if err != nil {
		return nil, err
	}
	var out []Member
	prefix := numberedKey(kindEdge, r.tenant, gid, gen)
	err = r.snap.Scan(prefix, afterKey(prefix, after), true, func(e machine.Entry) (bool, error) {
		m, err := memberOf(e, len(prefix))
		if err != nil {
			return false, err
		}
		out = append(out, m)
		return limit == 0 || len(out) < limit, nil
	})
	return out, err
}

func memberOf(e machine.Entry, prefix int) (Member, error) {
	id, err := lastPart(e.Key, prefix)
	if err != nil {
		return Member{}, err
	}
	b, err := openValue(e.Value)
	return Member{ID: id, Type: string(b)}, err
}

// IsMember reports whether id is a direct member of the group; ErrNotFound when
// there is no such group.
func (r *Reader) IsMember(gid, id string) (bool, error) {
	gen, err := r.generation(gid)
	if err != nil {
		return false, err
	}
	return r.snap.Exists(edgeKey(r.tenant, gid, gen, id))
}

// GroupsOf returns the ids of the groups that have id as a direct member.
func (r *Reader) GroupsOf(id string) ([]string, error) {
	var out []string
	err := r.reverseEdges(id, func(gid string, gen uint64) error {
		live, err := r.liveGeneration(gid, gen)
		if live {
			out = append(out, gid)
		}
		return err
	})
	return out, err
}

func (r *Reader) liveGeneration(gid string, gen uint64) (bool, error) {
	current, err := r.generation(gid)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && current == gen, err
}

func (r *Reader) reverseEdges(id string, fn func(gid string, gen uint64) error) error {
	prefix := key(kindReverse, r.tenant, id)
	return r.snap.Scan(prefix, nil, true, func(e machine.Entry) (bool, error) {
		gid, err := lastPart(e.Key, len(prefix))
		if err != nil {
			return false, err
		}
		gen, err := decodeU64(e.Value)
		if err != nil {
			return false, err
		}
		return true, fn(gid, gen)
	})
}

// CreateGroup adds a group with its members and sets ID (when empty), Created,
// Modified and Members. *MissingMembersError names members that do not exist;
// ErrSelfMember is a group among its own members.
func (t *Tx) CreateGroup(g *Group, members []Member) error {
	if g.ID == "" {
		g.ID = t.makeID()
	}
	if err := t.createResource(kindGroup, g.ID, g.Resource); err != nil {
		return err
	}
	g.Created, g.Modified = t.now, t.now
	if err := t.moveIndexes(g.ID, nil, namesOf(groupIndexes, g.Resource)); err != nil {
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

// startGeneration gives a group a generation without members.
func (t *Tx) startGeneration(gid string, gen uint64) {
	t.w.Put(key(kindGen, t.tenant, gid), encodeU64(gen))
	t.w.Put(key(kindStat, t.tenant, gid), machine.Counter{Time: t.now.UnixNano()}.Encode())
}

// UpdateGroup replaces the attributes of a group, sets Modified and returns the
// sorted names of the top-level attributes that changed; members stay as they are.
// Nil means that nothing did: then it writes nothing and the version stays. The
// audit record gets the names. ErrNotFound.
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
	if err := t.moveIndexes(g.ID, before, after); err != nil {
		return nil, err
	}
	t.Changed(changed...)
	t.change(ChangeGroupUpdated, g.ID, nil)
	t.note(g.ID, "")
	return changed, nil
}

// DeleteGroup removes a group, its members and its own memberships. ErrNotFound.
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

// AddMembers adds members to a group and returns how many were not there before.
// A member's Type may be empty. ErrNotFound, ErrSelfMember, *MissingMembersError;
// ErrTooLarge comes from Update.
func (t *Tx) AddMembers(gid string, members []Member) (added int, err error) {
	gen, err := t.generation(gid)
	if err != nil {
		return 0, err
	}
	added, err = t.addEdges(gid, gen, members)
	if err != nil || added == 0 {
		return 0, err
	}
	t.membersChanged(gid, fmt.Sprintf("%d members added", added))
	return added, nil
}

// attrMembers is what the audit record calls a change of members.
const attrMembers = "members"

func (t *Tx) membersChanged(gid, detail string) {
	t.Changed(attrMembers)
	t.change(ChangeGroupUpdated, gid, nil)
	t.note(gid, detail)
}

func (t *Tx) addEdges(gid string, gen uint64, members []Member) (added int, err error) {
	var missing []string
	for _, m := range members {
		if m.ID == gid {
			return 0, ErrSelfMember
		}
		ek := edgeKey(t.tenant, gid, gen, m.ID)
		there, err := t.snap.Exists(ek)
		if err != nil {
			return 0, err
		}
		if there {
			continue
		}
		kind, err := t.memberType(m)
		if err != nil {
			return 0, err
		}
		if kind == "" {
			missing = append(missing, m.ID)
			continue
		}
		t.w.Put(ek, sealValue([]byte(kind)))
		t.w.Put(key(kindReverse, t.tenant, m.ID, gid), encodeU64(gen))
		t.putMark(key(kindMemberOf, t.tenant, m.ID))
		added++
	}
	if len(missing) > 0 {
		return 0, &MissingMembersError{IDs: missing}
	}
	if added > 0 {
		t.w.Add(key(kindStat, t.tenant, gid), int64(added))
	}
	return added, nil
}

// memberType is "User" or "Group", "" when the tenant has no such resource.
func (t *Tx) memberType(m Member) (string, error) {
	for _, c := range []struct {
		kind byte
		name string
	}{{kindUser, "User"}, {kindGroup, "Group"}} {
		if m.Type != "" && m.Type != c.name {
			continue
		}
		there, err := t.snap.Exists(key(c.kind, t.tenant, m.ID))
		if err != nil {
			return "", err
		}
		if there {
			return c.name, nil
		}
	}
	return "", nil
}

// RemoveMembers removes members and returns how many were there. ErrNotFound when
// there is no such group.
func (t *Tx) RemoveMembers(gid string, ids []string) (removed int, err error) {
	gen, err := t.generation(gid)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		ok, err := t.removeEdge(gid, gen, id)
		if err != nil {
			return 0, err
		}
		if ok {
			removed++
		}
	}
	if removed > 0 {
		t.membersChanged(gid, fmt.Sprintf("%d members removed", removed))
	}
	return removed, nil
}

func (t *Tx) removeEdge(gid string, gen uint64, id string) (bool, error) {
	ek := edgeKey(t.tenant, gid, gen, id)
	_, _, err := t.snap.Get(ek)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.w.Delete(ek)
	t.w.Delete(key(kindReverse, t.tenant, id, gid))
	t.w.Add(key(kindStat, t.tenant, gid), -1)
	return true, nil
}

// setDirect is how many edges SetMembers removes one by one; above it starts a
// new generation.
const setDirect = 2000

// SetMembers makes members the members of the group and returns how many edges
// came or went. ErrNotFound, ErrSelfMember, *MissingMembersError.
func (t *Tx) SetMembers(gid string, members []Member) (changed int, err error) {
	gen, err := t.generation(gid)
	if err != nil {
		return 0, err
	}
	if _, _, err := t.snap.Get(key(kindStat, t.tenant, gid)); err != nil { // no phantoms: it moves with every edge
		return 0, err
	}
	want := make(map[string]bool, len(members))
	for _, m := range members {
		want[m.ID] = true
	}
	var gone []string
	kept := 0
	if err := t.scanLast(numberedKey(kindEdge, t.tenant, gid, gen), func(id string) (bool, error) {
		if want[id] {
			kept++
		} else {
			gone = append(gone, id)
		}
		return true, nil
	}); err != nil {
		return 0, err
	}
	if len(gone) > setDirect {
		gen = t.nextGeneration(gid, gen)
		added, err := t.addEdges(gid, gen, members)
		if err != nil {
			return 0, err
		}
		t.membersChanged(gid, fmt.Sprintf("members replaced: %d", added))
		return len(gone) + added - kept, nil
	}
	added, err := t.addEdges(gid, gen, members)
	if err != nil {
		return 0, err
	}
	for _, id := range gone {
		if _, err := t.removeEdge(gid, gen, id); err != nil {
			return 0, err
		}
	}
	if changed = added + len(gone); changed > 0 {
		t.membersChanged(gid, fmt.Sprintf("%d members added, %d removed", added, len(gone)))
	}
	return changed, nil
}

// nextGeneration removes all members of a group in one step, whatever their number.
func (t *Tx) nextGeneration(gid string, gen uint64) uint64 {
	next := max(gen, uint64(t.snap.Seq())) + 1
	t.startGeneration(gid, next)
	t.putMark(numberedKey(kindSweep, t.tenant, gid, gen))
	return next
}

// ClearMembers empties a group and returns how many members it had. ErrNotFound.
func (t *Tx) ClearMembers(gid string) (removed int, err error) {
	gen, err := t.generation(gid)
	if err != nil {
		return 0, err
	}
	v, _, err := t.snap.Get(key(kindStat, t.tenant, gid))
	if err != nil {
		return 0, err
	}
	s, err := machine.DecodeCounter(v)
	if err != nil {
		return 0, fmt.Errorf("reading the counter of group %s: %w", gid, err)
	}
	if s.Count == 0 {
		return 0, nil
	}
	t.nextGeneration(gid, gen)
	t.membersChanged(gid, fmt.Sprintf("%d members removed", s.Count))
	return int(s.Count), nil
}

// removeMemberships takes a resource that is being deleted out of every group.
// The touched key is the precondition that no membership was added meanwhile.
func (t *Tx) removeMemberships(id string) error {
	mk := key(kindMemberOf, t.tenant, id)
	_, _, err := t.snap.Get(mk)
	if errors.Is(err, ErrNotFound) {
		return nil // never was a member
	}
	if err != nil {
		return err
	}
	t.w.Delete(mk)
	return t.reverseEdges(id, func(gid string, gen uint64) error {
		live, err := t.liveGeneration(gid, gen)
		if err != nil {
			return err
		}
		if !live {
			t.w.Delete(key(kindReverse, t.tenant, id, gid))
			return nil
		}
		if _, err := t.removeEdge(gid, gen, id); err != nil {
			return err
		}
		t.change(ChangeGroupUpdated, gid, nil)
		return nil
	})
}
