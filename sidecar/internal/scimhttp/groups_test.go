package scimhttp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/scimhttp"
)

// members returns the sorted ids of the members of a group.
func (s *service) members(gid string) []string {
	s.t.Helper()
	out := []string{}
	list, _ := s.do("GET", "/Groups/"+gid, nil).want(200).body["members"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		id, _ := m["value"].(string)
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func sorted(ids ...string) []string {
	slices.Sort(ids)
	return ids
}

// TestGroupMembers: member changes in the forms of IL1 have their effect.
func TestGroupMembers(t *testing.T) {
	for _, profile := range []string{il1, base} {
		t.Run(profile, func(t *testing.T) {
			s := serve(t, profile)
			ada, bob, eve := s.createUser("ada"), s.createUser("bob"), s.createUser("eve")
			g := s.createGroup("staff")
			if got := s.members(g); len(got) != 0 {
				t.Fatalf("a new group has members %v", got)
			}
			path := "/Groups/" + g
			steps := []struct {
				name string
				op   obj
				want []string
			}{
				{"add two", op("add", "members", refs(ada, bob)), sorted(ada, bob)},
				{"add a present one and a new one", op("add", "members", refs(bob, eve)), sorted(ada, bob, eve)},
				{"remove one", op("remove", fmt.Sprintf(`members[value eq "%s"]`, bob)), sorted(ada, eve)},
				{"remove one again", op("remove", fmt.Sprintf(`members[value eq "%s"]`, bob)), sorted(ada, eve)},
				{"remove all", op("remove", "members"), []string{}},
			}
			for _, st := range steps {
				a := s.do("PATCH", path, ops(st.op)).want(204)
				if len(a.raw) != 0 || a.header.Get("Content-Type") != "application/scim+json" {
					t.Errorf("%s: body %q, Content-Type %q", st.name, a.raw, a.header.Get("Content-Type"))
				}
				if diff := cmp.Diff(st.want, s.members(g)); diff != "" {
					t.Errorf("%s: members (-want +got):\n%s", st.name, diff)
				}
			}
			s.unchanged(func() {
				a := s.do("PATCH", path, ops(op("add", "members", refs(ada, "nobody")))).wantError(400, "invalidValue")
				if !strings.Contains(a.str("detail"), "nobody") {
					t.Errorf("the detail does not name the missing member: %q", a.str("detail"))
				}
				s.do("POST", "/Groups", group("other", "nobody")).wantError(400, "invalidValue")
			})
		})
	}
}

// TestNoGroupInItself: PATCH and PUT get 400 and change nothing. Two groups may contain each other.
func TestNoGroupInItself(t *testing.T) {
	s := serve(t, base)
	ada := s.createUser("ada")
	g := s.createGroup("staff", ada)
	path := "/Groups/" + g
	s.unchanged(func() {
		for name, a := range map[string]*answer{
			"add":           s.do("PATCH", path, ops(op("add", "members", refs(g)))),
			"add after":     s.do("PATCH", path, ops(op("replace", "displayName", "x"), op("add", "members", refs(ada, g)))),
			"replace":       s.do("PATCH", path, ops(op("replace", "members", refs(g)))),
			"without path":  s.do("PATCH", path, ops(op("add", "", obj{"members": refs(g)}))),
			"put":           s.do("PUT", path, group("staff", ada, g)),
			"put, only one": s.do("PUT", path, group("staff", g)),
		} {
			if a.wantError(400, "invalidValue"); !strings.Contains(a.str("detail"), "itself") {
				t.Errorf("%s: %s", name, a.raw)
			}
		}
	})
	outer := s.createGroup("outer", g)
	s.do("PATCH", path, ops(op("add", "members", refs(outer)))).want(204)
	if diff := cmp.Diff(sorted(ada, outer), s.members(g)); diff != "" {
		t.Error(diff)
	}
	s.do("GET", path, nil).want(200)
}

// TestGroupAnswer: a group is complete, and its projections contain the requested attributes.
func TestGroupAnswer(t *testing.T) {
	s := serve(t, base)
	ada := s.createUser("ada")
	inner := s.createGroup("inner")
	g := s.createGroup("outer", ada, inner)
	group := s.do("GET", "/Groups/"+g, nil).want(200)
	want := map[string]map[string]any{
		ada:   {"value": ada, "type": "User", "$ref": "https://acme.test/scim/v2/Users/" + ada},
		inner: {"value": inner, "type": "Group", "$ref": "https://acme.test/scim/v2/Groups/" + inner},
	}
	list, _ := group.body["members"].([]any)
	if len(list) != 2 {
		t.Fatalf("members = %v, want all", group.body["members"])
	}
	for _, e := range list {
		m, _ := e.(map[string]any)
		id, _ := m["value"].(string)
		if diff := cmp.Diff(want[id], m); diff != "" {
			t.Errorf("member (-want +got):\n%s", diff)
		}
	}
	a := s.do("GET", "/Groups/"+g+"?excludedAttributes=members", nil).want(200)
	if a.body["members"] != nil || a.str("displayName") != "outer" {
		t.Errorf("excludedAttributes=members: %s", a.raw)
	}
	a = s.do("GET", "/Groups/"+g+"?attributes=displayName", nil).want(200)
	if a.body["members"] != nil || a.body["id"] != g || a.body["schemas"] == nil {
		t.Errorf("attributes=displayName: %s", a.raw)
	}
	a = s.do("GET", "/Groups/"+g+"?attributes=members.value", nil).want(200)
	if parts, _ := a.body["members"].([]any); len(parts) != 2 {
		t.Errorf("attributes=members.value: %s", a.raw)
	} else if m, _ := parts[0].(map[string]any); len(m) != 1 || m["value"] == nil {
		t.Errorf("a member with only its value requested is %v", m)
	}
	user := s.do("GET", "/Users/"+ada, nil).want(200)
	wantGroups := []any{map[string]any{
		"value": g, "display": "outer", "type": "direct", "$ref": "https://acme.test/scim/v2/Groups/" + g,
	}}
	if diff := cmp.Diff(wantGroups, user.body["groups"]); diff != "" {
		t.Errorf("groups of the user (-want +got):\n%s", diff)
	}
}

// TestPatchGroupWithAttributes: PATCH answers with the group when attributes are
// requested (RFC 7644 §3.5.2).
func TestPatchGroupWithAttributes(t *testing.T) {
	s := serve(t, il1)
	ada := s.createUser("ada")
	g := s.createGroup("staff")
	a := s.do("PATCH", "/Groups/"+g+"?attributes=members", ops(op("add", "members", refs(ada)))).want(200)
	if list, _ := a.body["members"].([]any); len(list) != 1 {
		t.Errorf("members = %v, want one", a.body["members"])
	}
	if got := s.do("GET", "/Groups/"+g, nil).meta("version"); got == "" {
		t.Error("meta.version is empty, want a version")
	}
}

// TestPutGroup: PUT removes the members that the body omits (RFC 7644 §3.5.1).
func TestPutGroup(t *testing.T) {
	s := serve(t, base)
	ada, bob, eve := s.createUser("ada"), s.createUser("bob"), s.createUser("eve")
	g := s.createGroup("staff", ada, bob)
	a := s.do("PUT", "/Groups/"+g, group("crew", bob, eve)).want(200)
	if a.str("displayName") != "crew" {
		t.Errorf("displayName %q, want the new name", a.str("displayName"))
	}
	if diff := cmp.Diff(sorted(bob, eve), s.members(g)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	s.do("PUT", "/Groups/"+g, group("crew")).want(200)
	if got := s.members(g); len(got) != 0 {
		t.Errorf("PUT without members left %v", got)
	}
	s.unchanged(func() {
		s.do("PUT", "/Groups/"+g, group("crew", "nobody")).wantError(400, "invalidValue")
		s.do("PUT", "/Groups/nothing", group("x")).wantError(404, "")
	})
}

// TestDeleteGroup: a deleted group is gone, also from its members (RFC 7644 §3.6).
func TestDeleteGroup(t *testing.T) {
	s := serve(t, il1)
	ada := s.createUser("ada")
	g := s.createGroup("staff", ada)
	s.do("DELETE", "/Groups/"+g, nil).want(204)
	s.do("GET", "/Groups/"+g, nil).wantError(404, "")
	s.do("DELETE", "/Groups/"+g, nil).wantError(404, "")
	if got := s.do("GET", "/Users/"+ada, nil).want(200).body["groups"]; got != nil {
		t.Errorf("the user is in the deleted group: %v", got)
	}
}

// TestFiftyOperations: one PATCH applies many operations.
func TestFiftyOperations(t *testing.T) {
	s := serve(t, il1)
	var list []obj
	var ids []string
	for i := range 50 {
		id := s.createUser(fmt.Sprintf("u%02d", i))
		ids = append(ids, id)
		list = append(list, op("add", "members", refs(id)))
	}
	g := s.createGroup("staff")
	s.do("PATCH", "/Groups/"+g, ops(list...)).want(204)
	if diff := cmp.Diff(sorted(ids...), s.members(g)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// TestParallelMemberPatches: no change is lost when clients change different members.
func TestParallelMemberPatches(t *testing.T) {
	s := serve(t, il1)
	const n = 24
	ids := make([]string, n)
	for i := range ids {
		ids[i] = s.createUser(fmt.Sprintf("u%02d", i))
	}
	g := s.createGroup("staff", ids[:n/2]...)
	got := parallel(n, func(i int) int {
		patch := ops(op("add", "members", refs(ids[i])))
		if i < n/2 {
			patch = ops(op("remove", fmt.Sprintf(`members[value eq "%s"]`, ids[i])))
		}
		for {
			if a := s.do("PATCH", "/Groups/"+g, patch); a.status != 503 {
				return a.status
			}
		}
	})
	for i, status := range got {
		if status != 204 {
			t.Errorf("patch %d: status %d, want 204", i, status)
		}
	}
	if diff := cmp.Diff(sorted(ids[n/2:]...), s.members(g)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// TestLargeGroup: the answer has all members of several pages of edges.
func TestLargeGroup(t *testing.T) {
	s := serve(t, base)
	const n = 1203 // more than one page of edges
	var ids []string
	for len(ids) < n {
		ids = append(ids, s.createUser(fmt.Sprintf("u%04d", len(ids))))
	}
	g := s.createGroup("staff", ids[:600]...)
	s.do("PATCH", "/Groups/"+g, ops(op("add", "members", refs(ids[600:]...)))).want(204)
	if diff := cmp.Diff(sorted(slices.Clone(ids)...), s.members(g)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// TestListsOfLargeGroupsAreShort: a page with too many members is shorter, and page after page has every
// group, each complete. A filter that reads too many members is refused.
func TestListsOfLargeGroupsAreShort(t *testing.T) {
	s := serve(t, base).bound(func(b *scimhttp.Bounds) { b.Members = 3 })
	var ids []string
	for i := range 5 {
		ids = append(ids, s.createUser(fmt.Sprintf("u%d", i)))
	}
	small, large := s.createGroup("small", ids[0]), s.createGroup("large", ids...)
	s.createGroup("empty")
	s.createGroup("after", ids[:3]...)
	var got []string
	for start, pages := 1, 0; start <= 4; pages++ {
		a := s.do("GET", fmt.Sprintf("/Groups?startIndex=%d", start), nil).want(200)
		n := len(a.resources())
		if n == 0 || a.total() != 4 || a.body["itemsPerPage"] != float64(n) || pages > 3 {
			t.Fatalf("the page from %d has %d resources: %s", start, n, a.raw)
		}
		for _, g := range a.resources() {
			members, _ := g["members"].([]any)
			got = append(got, fmt.Sprint(g["displayName"], " ", len(members)))
		}
		start += n
	}
	if diff := cmp.Diff([]string{"after 3", "empty 0", "large 5", "small 1"}, sorted(got...)); diff != "" {
		t.Errorf("groups with members (-want +got):\n%s", diff)
	}
	s.do("GET", filter("Groups", `members.type eq "Group"`), nil).wantError(400, "tooMany")
	if n := len(s.do("GET", "/Groups?excludedAttributes=members", nil).want(200).resources()); n != 4 {
		t.Errorf("%d groups, want 4", n)
	}
	membership := fmt.Sprintf(`id eq %q and members eq %q`, large, ids[3])
	a := s.do("GET", filter("Groups", membership), nil).want(200)
	if members, _ := a.resources()[0]["members"].([]any); len(members) != 5 {
		t.Errorf("%d members of the only match, want 5", len(members))
	}
	a = s.do("GET", filter("Groups", membership, "attributes=id"), nil).want(200)
	if a.total() != 1 {
		t.Errorf("%d, want 1: membership of a large group is one lookup", a.total())
	}
	if got := s.members(large); len(got) != 5 {
		t.Errorf("%d members of the large group, want 5", len(got))
	}
	if got := s.members(small); len(got) != 1 {
		t.Errorf("%d members of the small group, want 1", len(got))
	}
}
