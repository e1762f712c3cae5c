package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

func users(tb testing.TB, s *store.Store, tenant string, n int) []store.Member {
	tb.Helper()
	var out []store.Member
	for base := 0; base < n; base += 200 {
		var part []store.Member
		update(tb, s, tenant, func(tx *store.Tx) error {
			part = nil
			for i := base; i < min(n, base+200); i++ {
				u := &store.User{ID: fmt.Sprintf("m%07d", i), Resource: scim.Object{"userName": fmt.Sprintf("member%d", i)}}
				if err := tx.CreateUser(u); err != nil {
					return err
				}
				part = append(part, store.Member{ID: u.ID, Type: "User"})
			}
			return nil
		})
		out = append(out, part...)
	}
	return out
}

func group(tb testing.TB, s *store.Store, tenant, name string, members ...store.Member) string {
	tb.Helper()
	g := &store.Group{Resource: scim.Object{"displayName": name, "externalId": "gx-" + name}}
	update(tb, s, tenant, func(tx *store.Tx) error { g.ID = ""; return tx.CreateGroup(g, members) })
	return g.ID
}

func members(tb testing.TB, s *store.Store, tenant, gid string) []store.Member {
	tb.Helper()
	var out []store.Member
	view(tb, s, tenant, func(r *store.Reader) (err error) {
		out, err = r.Members(gid, "", 0)
		if err != nil {
			return err
		}
		g, err := r.Group(gid)
		if g.Members != len(out) {
			tb.Errorf("Group: %d members, want %d", g.Members, len(out))
		}
		return err
	})
	return out
}

// TestGroupRoundTrip: a new group is found under every indexed attribute, with each member once.
func TestGroupRoundTrip(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 5)
	inner := group(t, s, "acme", "Inner")
	gid := group(t, s, "acme", "Team", m[0], m[1], store.Member{ID: inner}, m[1])
	want := []store.Member{{ID: inner, Type: "Group"}, m[0], m[1]}
	slices.SortFunc(want, func(a, b store.Member) int { return strings.Compare(a.ID, b.ID) })
	if diff := cmp.Diff(want, members(t, s, "acme", gid)); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	for _, q := range []struct{ attr, value string }{
		{"displayName", "tEAM"}, {"externalId", "gx-Team"}, {"members.value", m[0].ID},
	} {
		view(t, s, "acme", func(r *store.Reader) error {
			ids, err := r.GroupIDs(q.attr, q.value)
			if diff := cmp.Diff([]string{gid}, ids); diff != "" {
				t.Errorf("GroupIDs(%q, %q) (-want +got):\n%s", q.attr, q.value, diff)
			}
			return err
		})
	}
	view(t, s, "acme", func(r *store.Reader) error {
		page, err := r.Members(gid, want[0].ID, 1)
		if diff := cmp.Diff(want[1:2], page); diff != "" {
			t.Errorf("Members after %s (-want +got):\n%s", want[0].ID, diff)
		}
		yes, _ := r.IsMember(gid, m[1].ID)
		no, _ := r.IsMember(gid, m[2].ID)
		n, cerr := r.CountGroups()
		if !yes || no || n != 2 {
			t.Errorf("IsMember = %t and %t, want true and false; CountGroups = %d, want 2", yes, no, n)
		}
		return errors.Join(err, cerr)
	})
	verify(t, s)
}

// TestDifferentAddersDoNotConflict: changes that add different members never conflict, so fn
// runs once for each.
func TestDifferentAddersDoNotConflict(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 128)
	gid := group(t, s, "acme", "all")
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, member := range m {
		wg.Go(func() {
			<-start
			runs := 0
			err := try(s, func(tx *store.Tx) error {
				runs++
				if _, err := tx.Group(gid); err != nil { // as a PATCH handler does
					return err
				}
				n, err := tx.AddMembers(gid, []store.Member{member})
				if n != 1 {
					t.Errorf("AddMembers = %d, want 1", n)
				}
				return err
			})
			if err != nil || runs != 1 {
				t.Errorf("adding %s: %v after %d runs of fn, want no error after 1", member.ID, err, runs)
			}
		})
	}
	close(start)
	wg.Wait()
	if diff := cmp.Diff(m, members(t, s, "acme", gid)); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	verify(t, s)
}

// TestSameMemberIsAddedOnce: of many changes that add the same member, one adds it.
func TestSameMemberIsAddedOnce(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 1)
	gid := group(t, s, "acme", "g")
	var wg sync.WaitGroup
	total := make(chan int, 32)
	for range 32 {
		wg.Go(func() {
			n := 0
			err := try(s, func(tx *store.Tx) (err error) {
				n, err = tx.AddMembers(gid, m)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			total <- n
		})
	}
	wg.Wait()
	close(total)
	sum := 0
	for n := range total {
		sum += n
	}
	if n := len(members(t, s, "acme", gid)); sum != 1 || n != 1 {
		t.Errorf("the member was added %d times and the group has %d members, want 1 and 1", sum, n)
	}
	verify(t, s)
}

// TestMemberOperations: each operation, alone or with others in one change, leaves the right members.
func TestMemberOperations(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 6)
	for _, c := range []struct {
		name string
		run  func(tx *store.Tx, gid string) error
		want []store.Member
	}{
		{"remove", func(tx *store.Tx, gid string) error {
			n, err := tx.RemoveMembers(gid, []string{m[0].ID, m[5].ID})
			if n != 1 {
				t.Errorf("RemoveMembers = %d, want 1", n)
			}
			return err
		}, m[1:3]},
		{"clear", func(tx *store.Tx, gid string) error {
			n, err := tx.ClearMembers(gid)
			if n != 3 {
				t.Errorf("ClearMembers = %d, want 3", n)
			}
			return err
		}, nil},
		{"set", func(tx *store.Tx, gid string) error {
			n, err := tx.SetMembers(gid, m[2:5])
			if n != 4 {
				t.Errorf("SetMembers = %d, want 4", n)
			}
			return err
		}, m[2:5]},
		{"set same", func(tx *store.Tx, gid string) error {
			n, err := tx.SetMembers(gid, m[:3])
			if n != 0 {
				t.Errorf("SetMembers = %d, want 0", n)
			}
			return err
		}, m[:3]},
		{"clear, add, clear, add in one change", func(tx *store.Tx, gid string) error {
			for _, add := range [][]store.Member{m[3:5], m[4:6]} {
				if _, err := tx.ClearMembers(gid); err != nil {
					return err
				}
				if _, err := tx.AddMembers(gid, add); err != nil {
					return err
				}
			}
			return nil
		}, m[4:6]},
		{"add, set, remove in one change", func(tx *store.Tx, gid string) error {
			if _, err := tx.AddMembers(gid, m[5:]); err != nil {
				return err
			}
			if _, err := tx.SetMembers(gid, m[:2]); err != nil {
				return err
			}
			_, err := tx.RemoveMembers(gid, []string{m[0].ID})
			return err
		}, m[1:2]},
	} {
		t.Run(c.name, func(t *testing.T) {
			gid := group(t, s, "acme", c.name, m[:3]...)
			update(t, s, "acme", func(tx *store.Tx) error { return c.run(tx, gid) })
			if diff := cmp.Diff(c.want, members(t, s, "acme", gid)); diff != "" {
				t.Errorf("Members (-want +got):\n%s", diff)
			}
			verify(t, s)
			sweep(t, s)
			verify(t, s)
		})
	}
}

// TestMissingMembersAreNamed: an unknown member makes the change fail.
func TestMissingMembersAreNamed(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 1)
	gid := group(t, s, "acme", "g")
	err := try(s, func(tx *store.Tx) error {
		_, err := tx.AddMembers(gid, []store.Member{m[0], {ID: "ghost"}, {ID: m[0].ID + "x"}})
		return err
	})
	var missing *store.MissingMembersError
	if !errors.As(err, &missing) || !slices.Equal(missing.IDs, []string{"ghost", m[0].ID + "x"}) {
		t.Errorf("AddMembers = %v, want a MissingMembersError for the two unknown ids", err)
	}
	if got := members(t, s, "acme", gid); len(got) != 0 {
		t.Errorf("Members = %v after the failed change, want none", got)
	}
}

// TestNoGroupInItself tries every operation, also together with good members. Longer
// cycles are stored as sent.
func TestNoGroupInItself(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 1)
	gid := group(t, s, "acme", "g", m...)
	self := store.Member{ID: gid, Type: "Group"}
	for name, change := range map[string]func(*store.Tx) error{
		"add":          func(tx *store.Tx) error { _, err := tx.AddMembers(gid, []store.Member{self}); return err },
		"add, untyped": func(tx *store.Tx) error { _, err := tx.AddMembers(gid, []store.Member{{ID: gid}}); return err },
		"add as a user": func(tx *store.Tx) error {
			_, err := tx.AddMembers(gid, []store.Member{{ID: gid, Type: "User"}})
			return err
		},
		"set":            func(tx *store.Tx) error { _, err := tx.SetMembers(gid, []store.Member{m[0], self}); return err },
		"set, to itself": func(tx *store.Tx) error { _, err := tx.SetMembers(gid, []store.Member{self}); return err },
		"create": func(tx *store.Tx) error {
			g := &store.Group{ID: "chosen", Resource: scim.Object{"displayName": "x"}}
			return tx.CreateGroup(g, []store.Member{{ID: "chosen"}})
		},
	} {
		if err := try(s, change); !errors.Is(err, store.ErrSelfMember) {
			t.Errorf("%s: %v, want ErrSelfMember", name, err)
		}
	}
	if diff := cmp.Diff(m, members(t, s, "acme", gid)); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	outer := group(t, s, "acme", "outer", self)
	update(t, s, "acme", func(tx *store.Tx) error {
		_, err := tx.AddMembers(gid, []store.Member{{ID: outer}})
		return err
	})
	verify(t, s)
}

// TestUpdateGroupWithoutAttributes: the first attribute of a group that has none is a change.
func TestUpdateGroupWithoutAttributes(t *testing.T) {
	s := storetest.New(t)
	var g store.Group
	update(t, s, "acme", func(tx *store.Tx) error { g = store.Group{}; return tx.CreateGroup(&g, nil) })
	update(t, s, "acme", func(tx *store.Tx) error {
		g.Resource = scim.Object{"displayName": "g"}
		changed, err := tx.UpdateGroup(&g)
		if diff := cmp.Diff([]string{"displayName"}, changed); diff != "" {
			t.Error(diff)
		}
		return err
	})
}

// TestDeletingRemovesMemberships: a deleted user or group is no member of any group.
func TestDeletingRemovesMemberships(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 3)
	inner := group(t, s, "acme", "inner", m...)
	outer := group(t, s, "acme", "outer", m[0], store.Member{ID: inner})
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteUser(m[0].ID) })
	if diff := cmp.Diff(m[1:], members(t, s, "acme", inner)); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteGroup(inner) })
	if got := members(t, s, "acme", outer); len(got) != 0 {
		t.Errorf("Members of outer = %v after its members were deleted, want none", got)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		gs, err := r.GroupsOf(m[1].ID)
		if len(gs) != 0 {
			t.Errorf("GroupsOf = %v after the group was deleted, want none", gs)
		}
		return err
	})
	verify(t, s)
	sweep(t, s)
	verify(t, s)
}

// TestDeleteRacesWithAdd deletes users and adds them to groups at the same time. No
// edge may remain.
func TestDeleteRacesWithAdd(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 16)
	gids := []string{group(t, s, "acme", "a"), group(t, s, "acme", "b"), group(t, s, "acme", "c")}
	var wg sync.WaitGroup
	for _, member := range m {
		for _, gid := range gids {
			wg.Go(func() {
				err := try(s, func(tx *store.Tx) error {
					_, err := tx.AddMembers(gid, []store.Member{member})
					return err
				})
				var missing *store.MissingMembersError
				if err != nil && !errors.As(err, &missing) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := try(s, func(tx *store.Tx) error { return tx.DeleteUser(member.ID) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, gid := range gids {
		if got := members(t, s, "acme", gid); len(got) != 0 {
			t.Errorf("the group has the members %v, want none after all users were deleted", got)
		}
	}
	verify(t, s)
}

// TestTooLargeChangesNothing: a change that does not fit into one record is refused.
func TestTooLargeChangesNothing(t *testing.T) {
	s := storetest.New(t)
	before := s.Health().Applied
	err := try(s, func(tx *store.Tx) error {
		for i := range 5000 {
			if err := tx.CreateUser(user(fmt.Sprint("u", i))); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, store.ErrTooLarge) || s.Health().Applied != before {
		t.Errorf("Update = %v at position %d, want ErrTooLarge at %d", err, s.Health().Applied, before)
	}
}

// TestLargeGroups: emptying or replacing a group of any size is one small record, and
// sweeping removes the old edges.
func TestLargeGroups(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 6000)
	gid := group(t, s, "acme", "large")
	for base := 0; base < len(m); base += 1000 {
		update(t, s, "acme", func(tx *store.Tx) error {
			_, err := tx.AddMembers(gid, m[base:base+1000])
			return err
		})
	}
	update(t, s, "acme", func(tx *store.Tx) error {
		n, err := tx.SetMembers(gid, m[5990:])
		if n != 5990 {
			t.Errorf("SetMembers = %d, want 5990", n)
		}
		return err
	})
	if diff := cmp.Diff(m[5990:], members(t, s, "acme", gid)); diff != "" {
		t.Errorf("Members (-want +got):\n%s", diff)
	}
	verify(t, s)
	sweep(t, s)
	verify(t, s)
	update(t, s, "acme", func(tx *store.Tx) error { return tx.DeleteGroup(gid) })
	sweep(t, s)
	verify(t, s)
}
