package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/scimward/scimward/store/machine"
)

// Each member is one key, an edge, below the generation of the group. The preconditions
// of adding a member are that the group has this generation, that the edge is absent and
// that the member exists. Additions to the group's counter do not conflict. So two
// changes that add different members never conflict, whatever the group's size. Emptying
// a group starts a new generation, and housekeeping sweeps the old one. stage.go changes
// more members than one record can hold.

// generation returns the generation of a group's members, or ErrNotFound. In a Tx the
// precondition is that the group was neither deleted nor emptied.
func (r *Reader) generation(gid string) (uint64, error) {
	v, _, err := r.snap.Get(key(kindGen, r.tenant, gid))
	if err != nil {
		return 0, err
	}
	return decodeU64(v)
}

// Members returns members of a group, in the order of ids after after ("" means all), at
// most limit (0 means all). It returns ErrNotFound for an unknown group.
func (r *Reader) Members(gid, after string, limit int) ([]Member, error) {
	gen, err := r.generation(gid)
	if err != nil {
		return nil, err
	}
	var out []Member
	prefix := numberedKey(kindEdge, r.tenant, gid, gen)
	err = r.snap.Scan(prefix, afterKey(prefix, after), true, func(e machine.Entry) (bool, error) {
		id, err := lastPart(e.Key, len(prefix))
		if err != nil {
			return false, err
		}
		kind, err := openValue(e.Value)
		out = append(out, Member{ID: id, Type: string(kind)})
		return limit == 0 || len(out) < limit, err
	})
	return out, err
}

// IsMember reports whether id is a direct member of the group. It returns ErrNotFound for
// an unknown group.
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
	err := r.memberships(id, func(gid string, _ []uint64, _ uint64, live bool) error {
		if live {
			out = append(out, gid)
		}
		return nil
	})
	return out, err
}

// memberships calls fn for every reverse edge of id, with its generations and the group's
// own. live is false when the reverse edge does not have that one or the group was deleted.
func (r *Reader) memberships(id string, fn func(gid string, gens []uint64, current uint64, live bool) error) error {
	prefix := key(kindReverse, r.tenant, id)
	return r.snap.Scan(prefix, nil, true, func(e machine.Entry) (bool, error) {
		gid, err := lastPart(e.Key, len(prefix))
		if err != nil {
			return false, err
		}
		gens, err := decodeGenerations(e.Value)
		if err != nil {
			return false, err
		}
		current, err := r.generation(gid)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		return true, fn(gid, gens, current, err == nil && slices.Contains(gens, current))
	})
}

// AddMembers adds members to a group and returns the number of new ones. A member's Type
// may be empty. It returns ErrNotFound for an unknown group, ErrSelfMember or a
// *MissingMembersError. Update returns ErrTooLarge for too many.
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

// attrMembers is the name of changed members in the audit record.
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
		if present, err := t.snap.Exists(ek); err != nil {
			return 0, err
		} else if present {
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
		if err := t.putEdge(gid, gen, gen, Member{ID: m.ID, Type: kind}); err != nil {
			return 0, err
		}
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

// putEdge writes an edge of a generation. Its reverse edge keeps the generations from
// current on: the group's own and those of stages.
func (t *Tx) putEdge(gid string, gen, current uint64, m Member) error {
	t.w.Put(edgeKey(t.tenant, gid, gen, m.ID), sealValue([]byte(m.Type)))
	t.putMark(key(kindMemberOf, t.tenant, m.ID))
	keep := func(g uint64) bool { return g >= current && g != gen }
	return t.keepGenerations(key(kindReverse, t.tenant, m.ID, gid), keep, gen)
}

// memberType returns "User" or "Group", or "" for an unknown resource.
func (t *Tx) memberType(m Member) (string, error) {
	for _, c := range []struct {
		kind byte
		name string
	}{{kindUser, "User"}, {kindGroup, "Group"}} {
		if m.Type != "" && m.Type != c.name {
			continue
		}
		if present, err := t.snap.Exists(key(c.kind, t.tenant, m.ID)); err != nil {
			return "", err
		} else if present {
			return c.name, nil
		}
	}
	return "", nil
}

// RemoveMembers removes members and returns the number of removed ones. It returns
// ErrNotFound for an unknown group.
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
	if ok, err := present(t.snap.Get(ek)); err != nil || !ok {
		return false, err
	}
	t.w.Delete(ek)
	t.w.Add(key(kindStat, t.tenant, gid), -1)
	return true, t.keepGenerations(key(kindReverse, t.tenant, id, gid), func(g uint64) bool { return g != gen })
}

// SetMembers replaces the members of the group and returns the number of added and removed
// members. If they are more than one record changes one by one, it starts a new generation.
// It returns ErrNotFound, ErrSelfMember or a *MissingMembersError. For more than 1000
// members use [Store.UpdateMembers].
func (t *Tx) SetMembers(gid string, members []Member) (changed int, err error) {
	gen, err := t.generation(gid)
	if err != nil {
		return 0, err
	}
	if _, _, err := t.snap.Get(key(kindStat, t.tenant, gid)); err != nil { // changes with every member
		return 0, err
	}
	old, err := t.Members(gid, "", 0)
	if err != nil {
		return 0, err
	}
	missing, gone := compareMembers(old, members)
	anew := len(gone)+len(missing) > direct
	if anew && len(members) > direct {
		return 0, ErrTooLarge
	}
	if anew {
		if gen, err = t.nextGeneration(gid, gen); err != nil {
			return 0, err
		}
		missing = members
	}
	added, err := t.addEdges(gid, gen, missing)
	if err != nil {
		return 0, err
	}
	if anew {
		t.membersChanged(gid, fmt.Sprintf("members replaced: %d", added))
		return len(gone) + added - (len(old) - len(gone)), nil
	}
	for _, m := range gone {
		if _, err := t.removeEdge(gid, gen, m.ID); err != nil {
			return 0, err
		}
	}
	if changed = added + len(gone); changed > 0 {
		t.membersChanged(gid, fmt.Sprintf("%d members added, %d removed", added, len(gone)))
	}
	return changed, nil
}

// nextGeneration removes all members of a group in one step.
func (t *Tx) nextGeneration(gid string, gen uint64) (uint64, error) {
	next, err := t.freeGeneration(gid, gen)
	if err != nil {
		return 0, err
	}
	t.startGeneration(gid, next)
	t.putMark(numberedKey(kindSweep, t.tenant, gid, gen))
	return next, nil
}

// startGeneration gives a group a generation without members.
func (t *Tx) startGeneration(gid string, gen uint64) {
	t.w.Put(key(kindGen, t.tenant, gid), encodeU64(gen))
	t.w.Put(key(kindStat, t.tenant, gid), machine.Counter{Time: t.now.UnixNano()}.Encode())
}

// ClearMembers empties a group and returns the number of removed members, or ErrNotFound.
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
	if _, err := t.nextGeneration(gid, gen); err != nil {
		return 0, err
	}
	t.membersChanged(gid, fmt.Sprintf("%d members removed", s.Count))
	return int(s.Count), nil
}

// removeMemberships removes a resource from every group, for its deletion. Reading the
// membership mark adds the precondition that the resource joins no group meanwhile.
func (t *Tx) removeMemberships(id string) error {
	mk := key(kindMemberOf, t.tenant, id)
	if ok, err := present(t.snap.Get(mk)); err != nil || !ok {
		return err // the resource was never a member
	}
	t.w.Delete(mk)
	return t.memberships(id, func(gid string, gens []uint64, current uint64, live bool) error {
		if live {
			if _, err := t.removeEdge(gid, current, id); err != nil {
				return err
			}
			t.change(ChangeGroupUpdated, gid, nil)
		}
		t.w.Delete(key(kindReverse, t.tenant, id, gid))
		return t.invalidate(gid, gens)
	})
}
