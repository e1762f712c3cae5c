package store_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// change runs a change of members of any number.
func change(
	ctx context.Context, s *store.Store, c store.MemberChange, before ...func(),
) (gid string, n int, err error) {
	fn := func(tx *store.Tx, id string, do func() (int, error)) (err error) {
		for _, fn := range before {
			fn()
		}
		if gid = id; c.GroupID == "" {
			g := &store.Group{ID: id, Resource: scim.Object{"displayName": "new"}}
			if err := tx.CreateGroup(g, nil); err != nil {
				return err
			}
		}
		n, err = do()
		return err
	}
	_, err = s.UpdateMembers(ctx, "acme", patch("PATCH"), c, fn)
	return gid, n, err
}

// wantMembers compares the members of a group, its counter and the groups of some members.
func wantMembers(t *testing.T, s *store.Store, gid string, want []store.Member) {
	t.Helper()
	if diff := cmp.Diff(want, members(t, s, "acme", gid)); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	if err := s.View(t.Context(), "acme", func(r *store.Reader) error {
		g, err := r.Group(gid)
		if g.Members != len(want) {
			t.Errorf("the group counts %d members, want %d", g.Members, len(want))
		}
		for i := 0; i < len(want); i += 101 {
			groups, err := r.GroupsOf(want[i].ID)
			if err != nil || !slices.Contains(groups, gid) {
				t.Errorf("GroupsOf(%s) = %v, %v, want the group in it", want[i].ID, groups, err)
			}
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	verify(t, s)
}

// TestUpdateMembers: a change of more members than one record holds is whole, whether it creates,
// replaces or adds, and needs no stage when few members differ.
func TestUpdateMembers(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 3300)
	gid, n, err := change(t.Context(), s, store.MemberChange{Members: m[:3000]})
	if err != nil || n != 3000 {
		t.Fatalf("creating: %d, %v, want 3000", n, err)
	}
	wantMembers(t, s, gid, m[:3000])
	for _, tt := range []struct {
		name string
		add  bool
		with []store.Member
		want []store.Member
		n    int
	}{
		{"the same", false, m[:3000], m[:3000], 0},
		{"one more", false, m[:3001], m[:3001], 1},
		{"all others", false, m[1650:], m[1650:], 1650},
		{"add what is there", true, m[1650:], m[1650:], 0},
		{"add few", true, m[1000:], m[1000:], 650},
		{"replace by few", false, m[:10], m[:10], 2310},
		{"add many", true, m[5:3000], m[:3000], 3000},
		{"no members", false, nil, nil, 3000},
	} {
		c := store.MemberChange{GroupID: gid, Add: tt.add, Members: tt.with}
		if _, n, err := change(t.Context(), s, c); err != nil || n != tt.n {
			t.Errorf("%s: %d, %v, want %d", tt.name, n, err, tt.n)
		}
		wantMembers(t, s, gid, tt.want)
		sweep(t, s)
		wantMembers(t, s, gid, tt.want)
	}
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteGroup(gid) })
	sweep(t, s)
	verify(t, s)
}

// TestRefusedStagesLeaveNothing: a change that fails, and one that its client gives up, show no member and
// are swept.
func TestRefusedStagesLeaveNothing(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 2500)
	gid := group(t, s, "acme", "staff", m[:5]...)
	unknown := append(slices.Clone(m), store.Member{ID: "nobody"})
	var missing *store.MissingMembersError
	if _, _, err := change(t.Context(), s, store.MemberChange{GroupID: gid, Members: unknown}); !errors.As(err, &missing) {
		t.Errorf("with a member that does not exist: %v, want a MissingMembersError", err)
	}
	self := append(slices.Clone(m), store.Member{ID: gid, Type: "Group"})
	_, _, err := change(t.Context(), s, store.MemberChange{GroupID: gid, Members: self})
	if !errors.Is(err, store.ErrSelfMember) {
		t.Errorf("with the group itself: %v, want ErrSelfMember", err)
	}
	if _, _, err := change(t.Context(), s, store.MemberChange{GroupID: "none", Members: m}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of an unknown group: %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := change(ctx, s, store.MemberChange{GroupID: gid, Members: m}, func() {
		wantMembers(t, s, gid, m[:5]) // everything is staged, and nobody sees it
		sweep(t, s)                   // must leave a stage in use
		cancel()
	}); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("cancelled at the end: %v", err)
	}
	for range 2 {
		sweep(t, s)
		verify(t, s)
	}
}

// TestChangesDuringAStage: a change of the group, or the deletion of a staged member, before the stage is
// adopted is never lost, and no deleted user becomes a member.
func TestChangesDuringAStage(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(t *testing.T, s *store.Store, gid string, m []store.Member)
		add     bool
		want    func(m []store.Member) []store.Member
		err     bool
	}{
		"another member joins, the change replaces": {
			func(t *testing.T, s *store.Store, gid string, m []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.AddMembers(gid, m[2400:2401]); return err })
			}, false, func(m []store.Member) []store.Member { return m[:2000] }, false,
		},
		"another member joins, the change adds": {
			func(t *testing.T, s *store.Store, gid string, m []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.AddMembers(gid, m[2400:2401]); return err })
			}, true, func(m []store.Member) []store.Member { return append(slices.Clone(m[:2000]), m[2400]) }, false,
		},
		"a staged member joins": {
			func(t *testing.T, s *store.Store, gid string, m []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.AddMembers(gid, m[1000:1010]); return err })
			}, false, func(m []store.Member) []store.Member { return m[:2000] }, false,
		},
		"a staged member leaves": {
			func(t *testing.T, s *store.Store, gid string, m []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.RemoveMembers(gid, []string{m[3].ID}); return err })
			}, false, func(m []store.Member) []store.Member { return m[:2000] }, false,
		},
		"the group is emptied": {
			func(t *testing.T, s *store.Store, gid string, _ []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.ClearMembers(gid); return err })
			}, false, func(m []store.Member) []store.Member { return m[:2000] }, false,
		},
		"a new member is deleted": {
			func(t *testing.T, s *store.Store, _ string, m []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(m[1999].ID) })
			}, false, func(m []store.Member) []store.Member { return m[:5] }, true,
		},
		"an old member is deleted": {
			func(t *testing.T, s *store.Store, _ string, m []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(m[4].ID) })
			}, false, func(m []store.Member) []store.Member { return m[:4] }, true,
		},
		"the group is deleted": {
			func(t *testing.T, s *store.Store, gid string, _ []store.Member) {
				t.Helper()
				update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteGroup(gid) })
			}, false, nil, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.New(t)
			m := users(t, s, "acme", 2500)
			gid := group(t, s, "acme", "staff", m[:5]...)
			once := sync.OnceFunc(func() { tt.between(t, s, gid, m) })
			_, _, err := change(t.Context(), s, store.MemberChange{GroupID: gid, Add: tt.add, Members: m[:2000]}, once)
			if (err != nil) != tt.err {
				t.Fatalf("UpdateMembers = %v, want an error: %t", err, tt.err)
			}
			for range 2 {
				if tt.want != nil {
					wantMembers(t, s, gid, tt.want(m))
				}
				sweep(t, s)
			}
			verify(t, s)
		})
	}
}

// TestParallelStages: of parallel replacements each is whole, and the last one stays.
func TestParallelStages(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 2600)
	gid := group(t, s, "acme", "staff")
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			_, _, err := change(t.Context(), s, store.MemberChange{GroupID: gid, Members: m[i*500 : i*500+1500]})
			if err != nil && !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := members(t, s, "acme", gid)
	if len(got) != 1500 {
		t.Fatalf("%d members, want the 1500 of one change", len(got))
	}
	i := slices.Index(m, got[0])
	wantMembers(t, s, gid, m[i:i+1500])
	sweep(t, s)
	wantMembers(t, s, gid, m[i:i+1500])
}

// TestStageSurvivesNoRestart: what a crash leaves of a stage is invisible, and swept after the start.
func TestStageSurvivesNoRestart(t *testing.T) {
	o := storetest.Options()
	o.Dir = t.TempDir()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	m := users(t, s, "acme", 2000)
	gid := group(t, s, "acme", "staff", m[:2]...)
	stop := errors.New("stop")
	_, err = s.UpdateMembers(t.Context(), "acme", patch("PATCH"), store.MemberChange{GroupID: gid, Members: m},
		func(*store.Tx, string, func() (int, error)) error { return stop })
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		wantMembers(t, s, gid, m[:2])
		sweep(t, s)
	}
}
