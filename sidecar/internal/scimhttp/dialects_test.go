package scimhttp_test

import (
	"fmt"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// TestOktaSpec: the twelve requests of Okta's SCIM 2.0 test succeed
// (https://developer.okta.com/docs/guides/scim-provisioning-integration-test/).
func TestOktaSpec(t *testing.T) {
	for _, profile := range []string{il1, base} {
		t.Run(profile, func(t *testing.T) {
			s := serve(t, profile)
			s.createUser("seed")
			var seed, made string
			run := func(name string, fn func(s *service)) {
				t.Run(name, func(t *testing.T) {
					q := *s
					q.t = t
					fn(&q)
				})
			}
			run("1 first user", func(s *service) {
				a := s.do("GET", "/Users?count=1&startIndex=1", nil).want(200)
				r := a.resources()
				if len(r) != 1 || a.total() < 1 || a.body["itemsPerPage"] != 1.0 || a.body["startIndex"] != 1.0 {
					s.t.Fatalf("list %s", a.raw)
				}
				seed, _ = r[0]["id"].(string)
				wantOktaUser(s.t, r[0])
			})
			run("2 by id", func(s *service) {
				a := s.do("GET", "/Users/"+seed, nil).want(200)
				wantOktaUser(s.t, a.body)
				if a.id() != seed {
					s.t.Errorf("id %s, want %s", a.id(), seed)
				}
			})
			run("3 invalid userName", func(s *service) {
				if n := s.do("GET", filter("Users", `userName eq "invalid"`), nil).want(200).total(); n != 0 {
					s.t.Errorf("totalResults = %d, want 0", n)
				}
			})
			run("4 unknown id", func(s *service) {
				s.do("GET", "/Users/010101001010101011001010101011", nil).wantError(404, "")
			})
			run("5 random address", func(s *service) {
				if n := s.do("GET", filter("Users", `userName eq "random@example.test"`), nil).want(200).total(); n != 0 {
					s.t.Errorf("totalResults = %d, want 0", n)
				}
			})
			run("6 create", func(s *service) {
				a := s.do("POST", "/Users", person("runscope")).want(201)
				made = a.id()
				wantOktaUser(s.t, a.body)
			})
			run("7 created", func(s *service) { wantOktaUser(s.t, s.do("GET", "/Users/"+made, nil).want(200).body) })
			run("8 again", func(s *service) {
				s.do("POST", "/Users", person("runscope")).wantError(409, "uniqueness")
			})
			run("9 in capitals", func(s *service) {
				if n := s.do("GET", filter("Users", `userName eq "RUNSCOPE@ACME.EXAMPLE"`), nil).want(200).total(); n != 1 {
					s.t.Errorf("totalResults = %d, want 1", n)
				}
			})
			run("10 groups", func(s *service) { s.do("GET", "/Groups", nil).want(200) })
			run("11 bad token", func(s *service) {
				s.do("GET", "/Users", nil, "Authorization", "Bearer 12345").wantError(401, "")
			})
			run("12 numeric id", func(s *service) { s.do("GET", "/Users/00919288221112222", nil).wantError(404, "") })
		})
	}
}

func wantOktaUser(t *testing.T, u map[string]any) {
	t.Helper()
	name, _ := u["name"].(map[string]any)
	emails, _ := u["emails"].([]any)
	if u["id"] == "" || name["familyName"] == "" || name["givenName"] == "" ||
		u["userName"] == "" || u["active"] != true || len(emails) == 0 {
		t.Errorf("user %v, want an active user with id, names and emails", u)
	}
	if schemas, _ := u["schemas"].([]any); len(schemas) == 0 || schemas[0] != scim.UserURN {
		t.Errorf("schemas = %v, want %s first", u["schemas"], scim.UserURN)
	}
}

// TestEntraValidator: the steps of Microsoft's SCIM validator (https://scimvalidator.microsoft.com)
// succeed in its RFC-conformant mode.
func TestEntraValidator(t *testing.T) {
	s := serve(t, base)
	boss := s.createUser("boss")
	id := s.createUser("ada")
	user := "/Users/" + id
	run := func(name string, fn func(s *service)) {
		t.Run(name, func(t *testing.T) {
			q := *s
			q.t = t
			fn(&q)
		})
	}
	run("create duplicate user", func(s *service) { s.do("POST", "/Users", person("ada")).wantError(409, "uniqueness") })
	for f, want := range map[string]int{
		`userName eq "ada@acme.example"`:                     1,
		`userName eq "ADA@ACME.example"`:                     1,
		`userName eq "8c1e9c0f-1b0a-4d43-9c6b-0e3f8d1f4f7a"`: 0,
	} {
		run("filter "+f, func(s *service) {
			if n := s.do("GET", filter("Users", f), nil).want(200).total(); n != want {
				s.t.Errorf("%d, want %d", n, want)
			}
		})
	}
	run("replace userName", func(s *service) {
		s.do("PATCH", user, ops(op("Replace", "userName", "ada2@acme.example"))).want(200)
		if n := s.do("GET", filter("Users", `userName eq "ada2@acme.example"`), nil).total(); n != 1 {
			s.t.Errorf("%d, want 1", n)
		}
	})
	run("disable", func(s *service) {
		if a := s.do("PATCH", user, ops(op("Replace", "active", false))).want(200); a.body["active"] != false {
			s.t.Errorf("active = %v, want false", a.body["active"])
		}
		s.do("PATCH", user, ops(op("Replace", "active", true))).want(200)
	})
	manager := scim.EnterpriseUserURN + ":manager"
	for _, step := range []struct {
		name string
		op   obj
	}{
		{"add attributes", op("Add", "nickName", "Countess")},
		{"replace attributes", op("Replace", "nickName", "Ada")},
		{"remove attributes", op("Remove", "nickName")},
		{"add manager", op("Add", manager, obj{"value": boss})},
		{"replace manager", op("Replace", manager+".value", id)},
		{"remove manager", op("Remove", manager)},
		{"replace several without path", op("replace", "", obj{"displayName": "x", "name": obj{"familyName": "y"}})},
	} {
		run(step.name, func(s *service) { s.do("PATCH", user, ops(step.op)).want(200) })
	}
	run("several operations on one attribute", func(s *service) {
		a := s.do("PATCH", user, ops(
			op("replace", "title", "a"), op("replace", "title", "b"), op("remove", "title"), op("add", "title", "c"),
		)).want(200)
		if a.str("title") != "c" {
			s.t.Errorf("title = %q, want c", a.str("title"))
		}
	})
	g := s.createGroup("staff")
	run("group without members", func(s *service) {
		if a := s.do("GET", "/Groups/"+g+"?excludedAttributes=members", nil).want(200); a.body["members"] != nil {
			s.t.Errorf("group %s, want no members", a.raw)
		}
		path := filter("Groups", `displayName eq "staff"`, "excludedAttributes=members")
		if n := s.do("GET", path, nil).want(200).total(); n != 1 {
			s.t.Errorf("%d, want 1", n)
		}
		if n := s.do("GET", filter("Groups", `displayName eq "none"`), nil).want(200).total(); n != 0 {
			s.t.Errorf("%d, want 0", n)
		}
	})
	run("rename group", func(s *service) {
		s.do("PATCH", "/Groups/"+g, ops(op("Replace", "displayName", "crew"))).want(204)
	})
	run("add and remove a member", func(s *service) {
		s.do("PATCH", "/Groups/"+g, ops(op("Add", "members", refs(id)))).want(204)
		s.do("PATCH", "/Groups/"+g, ops(op("remove", fmt.Sprintf(`members[value eq %q]`, id)))).want(204)
	})
	run("delete", func(s *service) {
		s.do("DELETE", "/Groups/"+g, nil).want(204)
		s.do("DELETE", user, nil).want(204)
		s.do("DELETE", user, nil).wantError(404, "")
		s.do("DELETE", "/Users/5171a35d82074e068ce2", nil).wantError(404, "")
	})
}
