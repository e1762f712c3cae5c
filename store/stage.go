package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/scimward/scimward/store/machine"
)

// A change of more members than one record can hold goes through a stage: a generation of
// the group with exactly the members of the result, which several records fill while no
// reader sees it. The record of the change then makes it the generation of the group. So
// the change is whole or absent, of any size.
//
// A stage has a sweep mark from its first record on, so what a crash leaves is swept like
// an old generation. While the stage is in use, [stages] keeps housekeeping from it. The
// last record requires the mark of the first one. The deletion of a staged member writes
// the mark again, which invalidates the stage.

// direct is the number of members that one record can add and remove.
const direct = 1000

// stageAttempts bounds how often a change that lost its stage is staged again.
const stageAttempts = 4

// errStale says that the stage of a change is no longer what the change would give.
var errStale = errors.New("store: another change invalidated the staged members")

// MemberChange adds Members to a group, or replaces its members by them. An empty GroupID
// is a new group.
type MemberChange struct {
	GroupID string
	Add     bool
	Members []Member // each once
}

// stage is a hidden generation of a group.
type stage struct {
	base    uint64 // generation of the group when the stage began, 0 for a new group
	gen     uint64 // of the stage
	mark    Seq    // version of its sweep mark
	counted Seq    // version of the group's counter that the members include; 0 for any
	count   int
}

// stages are the stages in use, by their sweep marks.
type stages struct {
	mu   sync.Mutex
	used map[string]bool
}

func (s *stages) set(mark []byte, used bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = map[string]bool{}
	}
	if used {
		s.used[string(mark)] = true
	} else {
		delete(s.used, string(mark))
	}
}

func (s *stages) has(mark []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[string(mark)]
}

// UpdateMembers is Update for one change of any number of members. fn gets the id of the
// group, which it must create when c is for a new one, and must call change once, which
// returns the number of changed members. UpdateMembers returns ErrConflict if other
// requests kept changing the group or deleting its members.
func (s *Store) UpdateMembers(ctx context.Context, tenant string, cause Cause, c MemberChange,
	fn func(tx *Tx, gid string, change func() (int, error)) error,
) (Seq, error) {
	for range stageAttempts {
		seq, err := s.updateMembers(ctx, tenant, cause, c, fn)
		if !errors.Is(err, errStale) {
			return seq, err
		}
	}
	return 0, ErrConflict
}

func (s *Store) updateMembers(ctx context.Context, tenant string, cause Cause, c MemberChange,
	fn func(tx *Tx, gid string, change func() (int, error)) error,
) (Seq, error) {
	gid, members := c.GroupID, c.Members
	var st *stage
	if len(members) > direct {
		var err error
		if members, st, err = s.plan(ctx, tenant, c); err != nil {
			return 0, err
		}
	}
	if gid == "" {
		gid = newID(s.opts.Now())
	}
	if st != nil {
		mark := numberedKey(kindSweep, tenant, gid, st.gen)
		defer func() { s.staged.set(mark, false) }()
		if err := s.fill(ctx, tenant, gid, st, members); err != nil {
			return 0, err
		}
	}
	return s.Update(ctx, tenant, cause, func(tx *Tx) error {
		return fn(tx, gid, func() (int, error) { return tx.changeMembers(gid, c, members, st) })
	})
}

// changeMembers makes a planned change.
func (t *Tx) changeMembers(gid string, c MemberChange, members []Member, st *stage) (int, error) {
	switch {
	case st != nil:
		return t.adopt(gid, st)
	case c.GroupID == "":
		gen, err := t.generation(gid)
		if err != nil {
			return 0, err
		}
		return t.addEdges(gid, gen, members)
	case c.Add:
		return t.AddMembers(gid, members)
	}
	n, err := t.SetMembers(gid, members)
	if errors.Is(err, ErrTooLarge) {
		err = errStale // another change came between
	}
	return n, err
}

// plan returns the members that a change must still add if one record can make it, and
// otherwise the members of the result with the stage for them, which has not begun.
func (s *Store) plan(ctx context.Context, tenant string, c MemberChange) ([]Member, *stage, error) {
	if c.GroupID == "" {
		return c.Members, &stage{count: len(c.Members)}, nil
	}
	st := &stage{}
	members := c.Members
	err := s.View(ctx, tenant, func(r *Reader) (err error) {
		if st.base, err = r.generation(c.GroupID); err != nil {
			return err
		}
		_, counted, err := r.snap.Get(key(kindStat, tenant, c.GroupID))
		if err != nil {
			return err
		}
		present, err := r.Members(c.GroupID, "", 0)
		if err != nil {
			return err
		}
		missing, gone := compareMembers(present, c.Members)
		switch {
		case c.Add && len(missing) <= direct:
			members, st = missing, nil
		case c.Add:
			members, st.counted = append(present, missing...), counted
		case len(missing)+len(gone) <= direct:
			st = nil
		}
		return nil
	})
	if st != nil {
		st.count = len(members)
	}
	return members, st, err
}

// compareMembers returns the members of want that are not present, and the present ones
// that want does not have.
func compareMembers(present, want []Member) (missing, gone []Member) {
	has := make(map[string]bool, len(present))
	for _, m := range present {
		has[m.ID] = true
	}
	keep := make(map[string]bool, len(want))
	for _, m := range want {
		if keep[m.ID] = true; !has[m.ID] {
			missing = append(missing, m)
		}
	}
	for _, m := range present {
		if !keep[m.ID] {
			gone = append(gone, m)
		}
	}
	return missing, gone
}

// fill begins a stage and writes its members. Its records are not audited: the record that
// adopts them is.
func (s *Store) fill(ctx context.Context, tenant, gid string, st *stage, members []Member) error {
	var err error
	st.mark, err = s.update(ctx, tenant, Cause{}, func(t *Tx) error {
		s.staged.set(numberedKey(kindSweep, tenant, gid, st.gen), false) // of an attempt that met a conflict
		if st.gen, err = t.freeGeneration(gid, st.base); err != nil {
			return err
		}
		mark := numberedKey(kindSweep, tenant, gid, st.gen)
		s.staged.set(mark, true)
		t.putMark(mark)
		return nil
	})
	if err != nil {
		return err
	}
	for start := 0; start < len(members); start += direct {
		part := members[start:min(start+direct, len(members))]
		_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) error {
			return t.stageEdges(gid, st, part)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stageEdges writes edges of a stage.
func (t *Tx) stageEdges(gid string, st *stage, members []Member) error {
	var missing []string
	for _, m := range members {
		if m.ID == gid {
			return ErrSelfMember
		}
		kind, err := t.memberType(m)
		if err != nil {
			return err
		}
		if kind == "" {
			missing = append(missing, m.ID)
			continue
		}
		if err := t.putEdge(gid, st.gen, st.base, Member{ID: m.ID, Type: kind}); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return &MissingMembersError{IDs: missing}
	}
	return nil
}

// adopt makes a stage the generation of the group.
func (t *Tx) adopt(gid string, st *stage) (changed int, err error) {
	gen, err := t.generation(gid)
	if err != nil {
		return 0, err
	}
	mark := numberedKey(kindSweep, t.tenant, gid, st.gen)
	_, marked, err := t.snap.Get(mark)
	if errors.Is(err, ErrNotFound) {
		return 0, errStale
	}
	if err != nil {
		return 0, err
	}
	_, counted, err := t.snap.Get(key(kindStat, t.tenant, gid))
	if err != nil {
		return 0, err
	}
	if marked != st.mark || st.base != 0 && gen != st.base || st.counted != 0 && counted != st.counted {
		return 0, errStale
	}
	t.w.Delete(mark)
	t.startGeneration(gid, st.gen)
	t.w.Add(key(kindStat, t.tenant, gid), int64(st.count))
	if st.base == 0 { // the group is new in this record
		t.note(gid, fmt.Sprintf("%d members", st.count))
		return st.count, nil
	}
	t.putMark(numberedKey(kindSweep, t.tenant, gid, gen))
	t.membersChanged(gid, fmt.Sprintf("members replaced: %d", st.count))
	return st.count, nil
}

// freeGeneration returns a generation above gen that no other change of the group uses.
func (t *Tx) freeGeneration(gid string, gen uint64) (uint64, error) {
	for next := max(gen, uint64(t.snap.Seq())) + 1; ; next++ {
		used, err := t.snap.Exists(numberedKey(kindSweep, t.tenant, gid, next))
		if err != nil || !used {
			return next, err
		}
	}
}

// invalidate makes every stage among the generations stale, before a member of it goes.
func (t *Tx) invalidate(gid string, gens []uint64) error {
	for _, gen := range gens {
		mark := numberedKey(kindSweep, t.tenant, gid, gen)
		if ok, err := present(t.snap.Get(mark)); err != nil {
			return err
		} else if ok {
			t.putMark(mark)
		}
	}
	return nil
}

// nextSweep returns the first generation to sweep that is no stage in use, nil for none.
func (s *Store) nextSweep(t *Tx) (mark []byte, err error) {
	err = t.snap.Scan(key(kindSweep, t.tenant), nil, false, func(e machine.Entry) (bool, error) {
		if s.staged.has(e.Key) {
			return true, nil
		}
		mark = bytes.Clone(e.Key)
		return false, nil
	})
	return mark, err
}

// The generations of a reverse edge: the group's own, and those of stages and of old
// generations that are not swept yet.

// generations reads the generations under a reverse edge, none when it is absent.
func (t *Tx) generations(reverse []byte) ([]uint64, error) {
	v, _, err := t.snap.Get(reverse)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeGenerations(v)
}

// keepGenerations leaves the generations for which keep is true under a reverse edge, with
// more.
func (t *Tx) keepGenerations(reverse []byte, keep func(uint64) bool, more ...uint64) error {
	old, err := t.generations(reverse)
	if err != nil {
		return err
	}
	var gens []uint64
	for _, gen := range old {
		if keep(gen) {
			gens = append(gens, gen)
		}
	}
	gens = append(gens, more...)
	v := []byte{valueVersion}
	for _, gen := range gens {
		v = appendU64(v, gen)
	}
	switch {
	case slices.Equal(gens, old):
	case len(gens) == 0:
		t.w.Delete(reverse)
	default:
		t.w.Put(reverse, v)
	}
	return nil
}

func decodeGenerations(v []byte) (gens []uint64, err error) {
	b, err := openValue(v)
	if err != nil {
		return nil, err
	}
	for len(b) > 0 {
		var gen uint64
		if gen, b, err = cutU64(b); err != nil {
			return nil, err
		}
		gens = append(gens, gen)
	}
	if len(gens) == 0 {
		return nil, errBadValue
	}
	return gens, nil
}
