package scimhttp_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// TestListPaging: pages from an index and from a scan have the requested resources (RFC 7644
// §3.4.2.4).
func TestListPaging(t *testing.T) {
	s := serve(t, il1)
	var ids []string
	for i := range 7 {
		ids = append(ids, s.createUser(fmt.Sprintf("u%d", i)))
	}
	slices.Sort(ids)
	tests := []struct {
		query string
		start int
		want  []string
	}{
		{"", 1, ids},
		{"?startIndex=1&count=3", 1, ids[:3]},
		{"?startIndex=4&count=3", 4, ids[3:6]},
		{"?startIndex=7&count=3", 7, ids[6:]},
		{"?startIndex=8&count=3", 8, nil},
		{"?startIndex=1000000000&count=3", 1000000000, nil},
		{"?startIndex=0", 1, ids},
		{"?startIndex=-5&count=2", 1, ids[:2]},
		{"?count=0", 1, nil},
		{"?count=-1", 1, nil},
		{"?count=100000", 1, ids},
		{"?nonsense=1", 1, ids}, // unknown parameters are ignored
		{"?sortBy=userName&sortOrder=descending", 1, ids},
	}
	filters := map[string]string{"index": "", "scan": "&filter=" + `displayName%20sw%20%22U%22`}
	for plan, f := range filters {
		for _, tt := range tests {
			t.Run(plan+" "+tt.query, func(t *testing.T) {
				q := tt.query + f
				if tt.query == "" && f != "" {
					q = "?" + f[1:]
				}
				a := s.do("GET", "/Users"+q, nil).want(200)
				if diff := cmp.Diff(tt.want, a.ids()); diff != "" {
					t.Errorf("page (-want +got):\n%s", diff)
				}
				if a.total() != 7 {
					t.Errorf("totalResults %d, want 7", a.total())
				}
				if a.body["startIndex"] != float64(tt.start) || a.body["itemsPerPage"] != float64(len(tt.want)) {
					t.Errorf("startIndex %v, itemsPerPage %v, want %d, %d",
						a.body["startIndex"], a.body["itemsPerPage"], tt.start, len(tt.want))
				}
				if diff := cmp.Diff([]any{scim.ListURN}, a.body["schemas"]); diff != "" {
					t.Errorf("schemas (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestPageSizes: a page has 100 resources by default and at most 200.
func TestPageSizes(t *testing.T) {
	s := serve(t, base).bound(func(b *scimhttp.Bounds) { b.PageSize, b.MaxResults = 2, 3 })
	for i := range 5 {
		s.createUser(fmt.Sprintf("u%d", i))
	}
	for query, want := range map[string]int{"": 2, "?count=1": 1, "?count=3": 3, "?count=4": 3} {
		if got := len(s.do("GET", "/Users"+query, nil).want(200).resources()); got != want {
			t.Errorf("%q: %d resources, want %d", query, got, want)
		}
	}
	got := s.do("GET", "/ServiceProviderConfig", nil).want(200).body["filter"]
	if diff := cmp.Diff(map[string]any{"supported": true, "maxResults": 3.0}, got); diff != "" {
		t.Errorf("filter in discovery (-want +got):\n%s", diff)
	}
}

// TestListFilters: a filter finds its resources by index and by scan (RFC 7644 §3.4.2.2).
func TestListFilters(t *testing.T) {
	s := serve(t, base)
	ada := s.createUser("ada")
	body := person("bob")
	body["schemas"] = []string{scim.UserURN, scim.EnterpriseUserURN}
	body["active"] = false
	body["emails"] = []obj{{"value": "bob@acme.example", "type": "work"}, {"value": "bob@home.example", "type": "home"}}
	body[scim.EnterpriseUserURN] = obj{"department": "Sales", "manager": obj{"value": ada}}
	bob := s.do("POST", "/Users", body).want(201).id()
	staff := s.createGroup("Staff", ada, bob)
	empty := s.createGroup("Empty")
	outer := s.createGroup("Outer", staff)
	tests := []struct {
		endpoint, filter string
		want             []string
	}{
		{"Users", `userName eq "ada@acme.example"`, []string{ada}},
		{"Users", `USERNAME EQ "ADA@ACME.EXAMPLE"`, []string{ada}},
		{"Users", `urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada@acme.example"`, []string{ada}},
		{"Users", `externalId eq "ext-ada"`, []string{ada}},
		{"Users", `externalId eq "EXT-ADA"`, nil}, // caseExact (RFC 7643 §3.1)
		{"Users", `emails.value eq "bob@home.example"`, []string{bob}},
		{"Users", `emails eq "BOB@HOME.EXAMPLE"`, []string{bob}},
		{"Users", `emails[value eq "bob@home.example"]`, []string{bob}},
		{"Users", `emails[type eq "home" and value eq "bob@home.example"]`, []string{bob}},
		{"Users", `emails[type eq "work" and value eq "bob@home.example"]`, nil}, // both conditions on one element (RFC 7644 §3.4.2.2)
		{"Users", `emails.type eq "work" and emails.value eq "bob@home.example"`, []string{bob}},
		{"Users", fmt.Sprintf(`id eq %q`, ada), []string{ada}},
		{"Users", `id eq "nobody"`, nil},
		{"Users", fmt.Sprintf(`id eq %q and active eq false`, ada), nil},
		{"Users", `active eq true`, []string{ada}},
		{"Users", `active eq false`, []string{bob}},
		{"Users", `userName eq "ada@acme.example" or userName eq "bob@acme.example"`, sorted(ada, bob)},
		{"Users", `not (userName eq "ada@acme.example")`, []string{bob}},
		{"Users", `displayName eq "ada"`, []string{ada}},
		{"Users", `userName co "acme"`, sorted(ada, bob)},
		{"Users", `userName sw "bob"`, []string{bob}},
		{"Users", `userName ew "example" and name.familyName pr`, sorted(ada, bob)},
		{"Users", `title pr`, nil},
		{"Users", `meta.created gt "2001-01-01T00:00:00Z"`, sorted(ada, bob)},
		{"Users", `meta.lastModified lt "2001-01-01T00:00:00Z"`, nil},
		{"Users", `meta.resourceType eq "User"`, sorted(ada, bob)},
		{"Users", scim.EnterpriseUserURN + `:department eq "sales"`, []string{bob}},
		{"Users", scim.EnterpriseUserURN + fmt.Sprintf(`:manager.value eq %q`, ada), []string{bob}},
		{"Users", fmt.Sprintf(`groups.value eq %q`, staff), sorted(ada, bob)},
		{"Users", fmt.Sprintf(`groups.value eq %q`, empty), nil},
		{"Groups", `displayName eq "staff"`, []string{staff}},
		{"Groups", `displayName sw "S"`, []string{staff}},
		{"Groups", fmt.Sprintf(`members[value eq %q]`, bob), []string{staff}},
		{"Groups", fmt.Sprintf(`members.value eq %q`, bob), []string{staff}},
		{"Groups", fmt.Sprintf(`members eq %q`, bob), []string{staff}},
		{"Groups", fmt.Sprintf(`id eq %q and members eq %q`, staff, bob), []string{staff}},
		{"Groups", fmt.Sprintf(`id eq %q and members eq %q`, empty, bob), nil},
		{"Groups", fmt.Sprintf(`displayName co "t" and members.value eq %q`, bob), []string{staff}},
		{"Groups", fmt.Sprintf(`not (members.value eq %q)`, bob), sorted(empty, outer)},
		{"Groups", `members pr`, sorted(staff, outer)},
		{"Groups", `members.type eq "Group"`, []string{outer}},
		{"Groups", fmt.Sprintf(`members[type eq "User" and value eq %q]`, staff), nil},
		{"Groups", fmt.Sprintf(`members[type eq "Group" and value eq %q]`, staff), []string{outer}},
		{"Groups", fmt.Sprintf(`members[type eq "Group" or value eq %q]`, ada), sorted(staff, outer)},
		{"Groups", `externalId eq "none"`, nil},
		{"Groups", `id eq "4d5cd32e-5b1c-4b0f-8a9d-4a3f7f0a4c9e"`, nil}, // Entra asks this first: not in the index
	}
	for _, tt := range tests {
		t.Run(tt.endpoint+" "+tt.filter, func(t *testing.T) {
			a := s.do("GET", filter(tt.endpoint, tt.filter), nil).want(200)
			if diff := cmp.Diff(tt.want, a.ids()); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
			if a.total() != len(tt.want) {
				t.Errorf("totalResults %d, want %d", a.total(), len(tt.want))
			}
		})
	}
}

// TestScansAreBounded: an index lookup works in a tenant of any size. A filter that
// would scan too much is refused; its result is never truncated.
func TestScansAreBounded(t *testing.T) {
	s := serve(t, base).bound(func(b *scimhttp.Bounds) { b.Scan = 3 })
	for i := range 4 {
		s.createUser(fmt.Sprintf("u%d", i))
		s.createGroup(fmt.Sprintf("g%d", i))
	}
	s.do("GET", filter("Users", `title pr`), nil).wantError(400, "tooMany")
	s.do("GET", filter("Users", `displayName eq "U1"`), nil).wantError(400, "tooMany")
	s.do("GET", filter("Groups", `displayName co "g"`), nil).wantError(400, "tooMany")
	if n := s.do("GET", filter("Users", `userName eq "u1@acme.example"`), nil).want(200).total(); n != 1 {
		t.Errorf("userName eq: %d, want 1", n)
	}
	if n := s.do("GET", filter("Groups", `displayName eq "g1"`), nil).want(200).total(); n != 1 {
		t.Errorf("displayName eq: %d, want 1", n)
	}
	if n := s.do("GET", "/Users", nil).want(200).total(); n != 4 {
		t.Errorf("all: %d, want 4", n)
	}
}

// TestProjection: attributes and excludedAttributes select the parts of the answer (RFC 7644 §3.9).
func TestProjection(t *testing.T) {
	s := serve(t, base)
	id := s.createUser("ada")
	s.createGroup("staff", id)
	tests := []struct {
		query string
		want  []string // names at the top level besides schemas and id
	}{
		{"?attributes=userName", []string{"userName"}},
		{"?attributes=USERNAME", []string{"userName"}},
		{"?attributes=name.givenName", []string{"name"}},
		{"?attributes=urn:ietf:params:scim:schemas:core:2.0:User:displayName,active", []string{"active", "displayName"}},
		{"?attributes=groups", []string{"groups"}},
		{"?attributes=meta", []string{"meta"}},
		{"?attributes=nothing", nil},
		{"?excludedAttributes=groups,meta,emails,name,id", []string{"active", "displayName", "externalId", "userName"}},
		{"", []string{"active", "displayName", "emails", "externalId", "groups", "meta", "name", "userName"}},
	}
	for _, tt := range tests {
		for _, path := range []string{"/Users/" + id, "/Users"} {
			t.Run(path+tt.query, func(t *testing.T) {
				a := s.do("GET", path+tt.query, nil).want(200)
				got := a.body
				if path == "/Users" {
					got = a.resources()[0]
				}
				var names []string
				for name := range got {
					if name != "schemas" && name != "id" {
						names = append(names, name)
					}
				}
				slices.Sort(names)
				if got["id"] != id || got["schemas"] == nil {
					t.Errorf("id or schemas is missing: %v", got)
				}
				if diff := cmp.Diff(tt.want, names); diff != "" {
					t.Errorf("attributes (-want +got):\n%s", diff)
				}
			})
		}
	}
	s.do("GET", "/Users?attributes=userName&excludedAttributes=name", nil).wantError(400, "invalidValue")
	a := s.do("POST", "/Users?attributes=userName", person("bob")).want(201)
	if a.str("userName") == "" || a.body["name"] != nil || a.header.Get("Location") == "" {
		t.Errorf("POST with attributes: %s", a.raw)
	}
	a = s.do("PATCH", "/Users/"+id+"?excludedAttributes=emails", ops(op("replace", "title", "x"))).want(200)
	if a.body["emails"] != nil || a.str("title") != "x" {
		t.Errorf("PATCH with excludedAttributes: %s", a.raw)
	}
}

// TestListGroupsLeavesMembersAlone: a list of groups without members does not read members.
func TestListGroupsLeavesMembersAlone(t *testing.T) {
	s := serve(t, il1)
	ada := s.createUser("ada")
	s.createGroup("staff", ada)
	g := s.do("GET", "/Groups?excludedAttributes=members", nil).want(200).resources()[0]
	if g["members"] != nil || g["displayName"] != "staff" {
		t.Errorf("group %v", g)
	}
	if g := s.do("GET", "/Groups", nil).want(200).resources()[0]; g["members"] == nil {
		t.Errorf("group without members: %v", g)
	}
}

// TestPagesAreComplete: reading all pages finds every user, while others are created.
func TestPagesAreComplete(t *testing.T) {
	s := serve(t, base)
	want := map[string]bool{}
	for i := range 20 {
		want[s.createUser(fmt.Sprintf("u%02d", i))] = true
	}
	seen := map[string]bool{}
	for start := 1; ; start += 3 {
		page := s.do("GET", fmt.Sprintf("/Users?startIndex=%d&count=3", start), nil).want(200).ids()
		if len(page) == 0 {
			break
		}
		for _, id := range page {
			if seen[id] {
				t.Errorf("%s is listed twice, want once", id)
			}
			seen[id] = true
		}
		if start < 10 {
			s.createUser(fmt.Sprintf("late%d", start))
		}
	}
	for id := range want {
		if !seen[id] {
			t.Errorf("%s is missing, want it once", id)
		}
	}
}

// TestUnreadableTotalIsAFault: a total that cannot be read is a 500, never an empty list
// or an unbounded scan.
func TestUnreadableTotalIsAFault(t *testing.T) {
	s := newService(t, storetest.Unreadable(t)).start(base)
	for _, path := range []string{
		"/Users", "/Users?count=0", "/Users?startIndex=9", filter("Users", `title pr`),
		"/Groups", "/Groups?count=0", "/Groups?startIndex=9", filter("Groups", `displayName co "g"`),
	} {
		s.do("GET", path, nil).wantError(500, "")
	}
	if n := s.do("GET", filter("Groups", `displayName eq "g"`), nil).want(200).total(); n != 1 {
		t.Errorf("an index lookup found %d, want 1", n)
	}
}
