package scimhttp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// TestCreateUser: POST creates a user and answers with its members (RFC 7644 §3.3).
func TestCreateUser(t *testing.T) {
	for _, profile := range []string{il1, base} {
		t.Run(profile, func(t *testing.T) {
			s := serve(t, profile)
			body := person("ada")
			body["id"] = "mine"                       // read-only: ignored
			body["meta"] = obj{"location": "http://"} // read-only: ignored
			delete(body, "active")
			a := s.do("POST", "/Users", body).want(201)
			id := a.id()
			want := "https://acme.test/scim/v2/Users/" + id
			if id == "mine" || a.header.Get("Location") != want || a.meta("location") != want {
				t.Errorf("id %q, Location %q, meta.location %q, want %q", id, a.header.Get("Location"), a.meta("location"), want)
			}
			if a.body["active"] != true {
				t.Errorf("active is %v, want the default true", a.body["active"])
			}
			if a.meta("resourceType") != "User" || a.meta("created") == "" || a.meta("created") != a.meta("lastModified") {
				t.Errorf("meta %v", a.body["meta"])
			}
			if !strings.HasPrefix(a.meta("version"), `W/"`) {
				t.Errorf("meta.version %q", a.meta("version"))
			}
			if diff := cmp.Diff([]any{scim.UserURN}, a.body["schemas"]); diff != "" {
				t.Errorf("schemas (-want +got):\n%s", diff)
			}
			got := s.do("GET", "/Users/"+id, nil).want(200)
			if diff := cmp.Diff(a.body, got.body); diff != "" {
				t.Errorf("GET differs from the answer to POST (-post +get):\n%s", diff)
			}
		})
	}
}

// TestCreateUserTwice: userName, without regard to case, and externalId are unique.
func TestCreateUserTwice(t *testing.T) {
	s := serve(t, il1)
	s.createUser("ada")
	upper := person("ada")
	upper["userName"], upper["externalId"] = "ADA@ACME.EXAMPLE", "ext-2"
	sameExternal := person("bob")
	sameExternal["externalId"] = "ext-ada"
	for name, body := range map[string]obj{
		"the same": person("ada"), "in capitals": upper, "same externalId": sameExternal,
	} {
		t.Run(name, func(t *testing.T) {
			s.unchanged(func() { s.do("POST", "/Users", body).wantError(409, "uniqueness") })
		})
	}
}

// TestEnterpriseExtension: the extension is stored and listed in schemas (RFC 7643 §4.3).
func TestEnterpriseExtension(t *testing.T) {
	s := serve(t, base)
	boss := s.createUser("boss")
	body := person("ada")
	body["schemas"] = []string{scim.UserURN, scim.EnterpriseUserURN}
	body[scim.EnterpriseUserURN] = obj{"department": "R&D", "manager": obj{"value": boss}}
	a := s.do("POST", "/Users", body).want(201)
	if diff := cmp.Diff([]any{scim.UserURN, scim.EnterpriseUserURN}, a.body["schemas"]); diff != "" {
		t.Errorf("schemas (-want +got):\n%s", diff)
	}
	manager := map[string]any{"value": boss, "$ref": "https://acme.test/scim/v2/Users/" + boss}
	want := map[string]any{"department": "R&D", "manager": manager}
	if diff := cmp.Diff(want, a.body[scim.EnterpriseUserURN]); diff != "" {
		t.Errorf("extension (-want +got):\n%s", diff)
	}
	path := "/Users/" + a.id()
	s.do("PATCH", path, ops(op("replace", scim.EnterpriseUserURN+":department", "Sales"))).want(200)
	got := s.do("GET", path, nil).want(200)
	if ext, _ := got.body[scim.EnterpriseUserURN].(map[string]any); ext["department"] != "Sales" || ext["manager"] == nil {
		t.Errorf("extension after the patch: %v", got.body[scim.EnterpriseUserURN])
	}
	s.do("PATCH", path, ops(
		op("remove", scim.EnterpriseUserURN+":department"), op("remove", scim.EnterpriseUserURN+":manager"),
	)).want(200)
	got = s.do("GET", path, nil).want(200)
	if _, there := got.body[scim.EnterpriseUserURN]; there {
		t.Errorf("an empty extension is shown: %s, want none", got.raw)
	}
	if diff := cmp.Diff([]any{scim.UserURN}, got.body["schemas"]); diff != "" {
		t.Errorf("schemas without the extension (-want +got):\n%s", diff)
	}
}

// TestPatchUser: each operation of a PATCH has its effect (RFC 7644 §3.5.2).
func TestPatchUser(t *testing.T) {
	for _, profile := range []string{il1, base} {
		t.Run(profile, func(t *testing.T) {
			s := serve(t, profile)
			path := "/Users/" + s.createUser("ada")
			before := s.do("GET", path, nil).want(200)
			a := s.do("PATCH", path, ops(
				op("replace", "displayName", "Ada L."),
				op("add", "title", "Countess"),
				op("replace", "name.familyName", "Lovelace"),
				op("replace", `emails[type eq "work"].value`, "countess@acme.example"),
			)).want(200)
			if a.str("displayName") != "Ada L." || a.str("title") != "Countess" {
				t.Errorf("the answer is not the patched user: %s", a.raw)
			}
			if name, _ := a.body["name"].(map[string]any); name["familyName"] != "Lovelace" || name["givenName"] != "Given" {
				t.Errorf("name %v", a.body["name"])
			}
			if a.meta("version") == before.meta("version") {
				t.Errorf("the version stayed %s, want a new one", a.meta("version"))
			}
			got := s.do("GET", path, nil).want(200)
			if diff := cmp.Diff(a.body, got.body); diff != "" {
				t.Errorf("GET differs from the answer to PATCH (-patch +get):\n%s", diff)
			}
			if n := s.do("GET", filter("Users", `emails.value eq "countess@acme.example"`), nil).want(200).total(); n != 1 {
				t.Errorf("%d users with the new address, want 1", n)
			}
			if n := s.do("GET", filter("Users", `emails.value eq "ada@acme.example"`), nil).want(200).total(); n != 0 {
				t.Errorf("%d users with the old address, want 0", n)
			}
		})
	}
}

// TestPatchKeepsWhatTheProfileRequires: under ipsie-il1 no sequence of operations takes the externalId or the
// last e-mail address of a user, and the user as stored decides. Nobody is kept from being deactivated.
func TestPatchKeepsWhatTheProfileRequires(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	work := obj{"value": "new@acme.example", "type": "work"}
	for name, list := range map[string][]obj{
		"remove externalId":            {op("remove", "externalId")},
		"externalId null":              {op("replace", "externalId", nil)},
		"externalId blank":             {op("replace", "externalId", " ")},
		"path-less null":               {op("replace", "", obj{"externalId": nil})},
		"remove emails":                {op("remove", "emails")},
		"no emails":                    {op("replace", "emails", []obj{})},
		"emails with a URN":            {op("remove", scim.UserURN+":emails")},
		"the only address by a filter": {op("remove", `emails[type eq "work"]`)},
		"the only address by value":    {op("remove", "emails", []obj{{"value": "ada@acme.example", "type": "work"}})},
		"the value of every address":   {op("remove", "emails.value")},
		"the value by a filter":        {op("remove", `emails[type eq "work"].value`)},
		"add and remove":               {op("add", "emails", []obj{work}), op("remove", "emails")},
		"one by one": {
			op("add", "emails", []obj{work}), op("remove", `emails[value eq "ada@acme.example"]`),
			op("remove", `emails[value eq "new@acme.example"]`),
		},
		"with a deactivation": {op("replace", "active", false), op("remove", "externalId")},
	} {
		t.Run(name, func(t *testing.T) {
			s.unchanged(func() {
				d := s.do("PATCH", "/Users/"+id, ops(list...)).wantError(400, "mutability").str("detail")
				if !strings.Contains(d, "IL1-3.2.3-keep") {
					t.Errorf("the detail names no rule: %q", d)
				}
			})
		})
	}
	s.do("PATCH", "/Users/"+id, ops(op("remove", "emails"), op("add", "emails", []obj{work}))).want(200)
	s.do("PATCH", "/Users/"+id, ops(op("remove", "externalId"), op("add", "externalId", "e-2"))).want(200)
	s.do("PATCH", "/Users/"+id, ops(op("remove", `emails[type eq "home"]`), op("replace", "title", "x"))).wantError(400, "noTarget")

	// A user from before the profile.
	old := newService(t, s.store).start(base)
	bare := old.do("POST", "/Users", obj{"schemas": []string{scim.UserURN}, "userName": "bob"}).want(201).id()
	s.do("PATCH", "/Users/"+bare, ops(op("replace", "active", false))).want(200)
	s.wantLock(bare, store.LockDeactivated)
	old.do("PATCH", "/Users/"+id, ops(op("remove", "externalId"), op("remove", "emails"))).want(200)
}

// TestPatchIsAtomic: if one operation fails, none takes effect (RFC 7644 §3.5.2).
func TestPatchIsAtomic(t *testing.T) {
	s := serve(t, base)
	path := "/Users/" + s.createUser("ada")
	s.unchanged(func() {
		d := s.do("PATCH", path, ops(
			op("replace", "displayName", "new"), op("replace", `emails[type eq "home"].value`, "x@x.example"),
		)).wantError(400, "noTarget").str("detail")
		if !strings.Contains(d, "set dialects for this client, to the one that it is: entra, ") {
			t.Errorf("the detail names no setting: %q", d)
		}
	})
	member, gpath := s.createUser("bob"), "/Groups/"+s.createGroup("g")
	s.unchanged(func() {
		s.do("PATCH", gpath, ops(op("add", "members", refs(member)), op("add", "members", refs("nobody")))).
			wantError(400, "invalidValue")
	})
}

// TestNoChangeKeepsTheVersion: a request without effect does not write.
func TestNoChangeKeepsTheVersion(t *testing.T) {
	s := serve(t, base)
	member := s.createUser("bob")
	user, grp := "/Users/"+s.createUser("ada"), "/Groups/"+s.createGroup("g", member)
	seen := s.do("GET", user, nil).want(200)
	tests := []struct {
		name, method, path string
		body               any
		status             int
	}{
		{"replace with the same", "PATCH", user, ops(op("replace", "displayName", "ADA")), 200},
		{"add the same", "PATCH", user, ops(op("add", "active", true)), 200},
		{"add the same email", "PATCH", user, ops(op("add", "emails", []obj{{"value": "ada@acme.example", "type": "work", "primary": true}})), 200},
		{"remove what is not there", "PATCH", user, ops(op("remove", "title")), 200},
		{"PUT of what is there", "PUT", user, seen.body, 200},
		{"add a member who is there", "PATCH", grp, ops(op("add", "members", refs(member))), 204},
		{"remove a member who is not there", "PATCH", grp, ops(op("remove", `members[value eq "nobody"]`)), 204},
		{"replace members with the same", "PATCH", grp, ops(op("replace", "members", refs(member))), 204},
		{"rename to the same", "PATCH", grp, ops(op("replace", "displayName", "g")), 204},
		{"PUT of the same group", "PUT", grp, group("g", member), 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.unchanged(func() { s.do(tt.method, tt.path, tt.body).want(tt.status) })
		})
	}
}

// TestPutUser: PUT replaces a user (RFC 7644 §3.5.1), and without active it does not unlock. IL1
// allows no PUT.
func TestPutUser(t *testing.T) {
	s := serve(t, base)
	path := "/Users/" + s.createUser("ada")
	s.do("PATCH", path, ops(op("add", "title", "Countess"), op("replace", "active", false))).want(200)
	body := person("ada")
	delete(body, "active")
	body["displayName"] = "Ada"
	a := s.do("PUT", path, body).want(200)
	if a.str("displayName") != "Ada" || a.body["title"] != nil {
		t.Errorf("PUT did not replace: %s", a.raw)
	}
	if a.body["active"] != false {
		t.Errorf("PUT without active unlocked the user: active is %v", a.body["active"])
	}
	s.unchanged(func() { s.do("PUT", "/Users/nobody", body).wantError(404, "") })
	strict := serve(t, il1)
	path = "/Users/" + strict.createUser("ada")
	strict.unchanged(func() {
		if d := strict.do("PUT", path, body).wantError(403, "").str("detail"); !strings.Contains(d, "IL1-") {
			t.Errorf("the refusal does not name the rule: %q", d)
		}
	})
}

// TestDeleteFreesUserName: a deleted user is gone everywhere, and a new user may have
// the same userName.
func TestDeleteFreesUserName(t *testing.T) {
	for _, profile := range []string{il1, base} {
		t.Run(profile, func(t *testing.T) {
			s := serve(t, profile)
			old := s.createUser("ada")
			grp := s.createGroup("g", old)
			a := s.do("DELETE", "/Users/"+old, nil).want(204)
			if len(a.raw) != 0 {
				t.Errorf("204 with a body: %s, want none", a.raw)
			}
			for _, m := range []string{"GET", "DELETE"} {
				s.do(m, "/Users/"+old, nil).wantError(404, "")
			}
			s.do("PATCH", "/Users/"+old, ops(op("replace", "displayName", "x"))).wantError(404, "")
			if n := s.do("GET", filter("Users", `userName eq "ada@acme.example"`), nil).total(); n != 0 {
				t.Errorf("the deleted user is found %d times, want 0", n)
			}
			if m := s.do("GET", "/Groups/"+grp, nil).want(200).body["members"]; m != nil {
				t.Errorf("the deleted user is still a member: %v", m)
			}
			if fresh := s.createUser("ada"); fresh == old {
				t.Errorf("the new user has the id %s of the old one, want a new id", fresh)
			}
		})
	}
}

// TestUserNameRace: only one of several requests for one userName succeeds.
func TestUserNameRace(t *testing.T) {
	s := serve(t, il1)
	for round := range 10 {
		got := parallel(8, func(i int) int {
			p := person(fmt.Sprintf("racer%d", round))
			p["externalId"] = fmt.Sprintf("ext-%d-%d", round, i)
			return s.do("POST", "/Users", p).status
		})
		slices.Sort(got)
		if want := []int{201, 409, 409, 409, 409, 409, 409, 409}; !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
	}
	if n := s.do("GET", "/Users?count=0", nil).total(); n != 10 {
		t.Errorf("%d users, want 10", n)
	}
}

// TestParallelPatchesOfOneUser: no change is lost.
func TestParallelPatchesOfOneUser(t *testing.T) {
	s := serve(t, base)
	path := "/Users/" + s.createUser("ada")
	attrs := []string{"title", "nickName", "locale", "userType", "preferredLanguage", "timezone"}
	got := parallel(len(attrs), func(i int) int {
		for {
			if a := s.do("PATCH", path, ops(op("replace", attrs[i], "x-"+attrs[i]))); a.status != 503 {
				return a.status
			}
		}
	})
	for i, status := range got {
		if status != 200 {
			t.Errorf("%s: status %d", attrs[i], status)
		}
	}
	a := s.do("GET", path, nil).want(200)
	for _, name := range attrs {
		if a.str(name) != "x-"+name {
			t.Errorf("%s is lost: %s", name, a.raw)
		}
	}
}

// TestReplaceWholeComplexAttribute: under the interoperability profile, the replace of name clears the parts
// that its value omits, and add merges. RFC 7644 §3.5.2.3 keeps them in both.
func TestReplaceWholeComplexAttribute(t *testing.T) {
	for _, tt := range []struct {
		profile, op string
		want        obj
	}{
		{"scim-interop-01", "replace", obj{"givenName": "Ada M."}},
		{"scim-interop-01", "add", obj{"givenName": "Ada M.", "familyName": "L"}},
		{"ipsie-al-draft-00", "replace", obj{"givenName": "Ada M."}},
		{base, "replace", obj{"givenName": "Ada M.", "familyName": "L"}},
		{il1, "replace", obj{"givenName": "Ada M.", "familyName": "L"}},
	} {
		t.Run(tt.profile+" "+tt.op, func(t *testing.T) {
			s := serve(t, tt.profile)
			ada := s.createUser("ada")
			s.do("PATCH", "/Users/"+ada, ops(op("replace", "name.givenName", "Ada"), op("replace", "name.familyName", "L"),
				op("remove", "name.formatted"))).want(200)
			got := s.do("PATCH", "/Users/"+ada, ops(op(tt.op, "name", obj{"givenName": "Ada M."}))).want(200)
			if diff := cmp.Diff(any(tt.want), got.body["name"]); diff != "" {
				t.Errorf("name (-want +got):\n%s", diff)
			}
			u := "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"
			s.do("PATCH", "/Users/"+ada, ops(op("replace", u, obj{"value": ada}))).want(200)
		})
	}
}
