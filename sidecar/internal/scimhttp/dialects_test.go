package scimhttp_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/scim/shapes"
)

// fixture has the resources that a shape changes: its user, its group, and the users U1, U2 and U3.
type fixture struct {
	user, group string // ids
	toIDs       *strings.Replacer
	toNames     *strings.Replacer
}

// fixture creates the resources of shapes.Before.
func (s *service) fixture() *fixture {
	s.t.Helper()
	f := &fixture{}
	var toIDs, toNames []string
	for _, name := range []string{"U1", "U2", "U3"} {
		id := s.createUser(name)
		toIDs, toNames = append(toIDs, name, id), append(toNames, id, name)
	}
	f.toIDs, f.toNames = strings.NewReplacer(toIDs...), strings.NewReplacer(toNames...)
	f.renew(s)
	return f
}

// renew makes user and group as they were.
func (f *fixture) renew(s *service) {
	s.t.Helper()
	create := func(old string, t *scim.ResourceType) string {
		if old != "" {
			s.do("DELETE", "/"+t.Endpoint+"/"+old, nil)
		}
		before := shapes.Before(t)
		before["schemas"] = scim.Schemas(t, before)
		return s.do("POST", "/"+t.Endpoint, f.toIDs.Replace(string(scim.Encode(before)))).want(201).id()
	}
	f.user, f.group = create(f.user, scim.UserType()), create(f.group, scim.GroupType())
}

// stored returns a resource of the store as a shape shows it.
func (f *fixture) stored(s *service, t *scim.ResourceType, id string) string {
	s.t.Helper()
	var o scim.Object
	s.view(func(r *store.Reader) error {
		if t.Name == "User" {
			u, err := r.User(id)
			o = u.Resource
			return err
		}
		g, err := r.Group(id)
		if err != nil {
			return err
		}
		o = g.Resource.Clone()
		members, err := r.Members(id, "", 100)
		var list []any
		for _, m := range members {
			list = append(list, scim.Object{"value": f.toNames.Replace(m.ID)})
		}
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		if len(list) > 0 {
			o["members"] = list
		}
		return err
	})
	return f.toNames.Replace(string(scim.Encode(o)))
}

// send plays a shape and returns the answer and the id of the resource.
func (f *fixture) send(s *service, shape *shapes.Shape) (*answer, string) {
	s.t.Helper()
	t := shape.ResourceType()
	path, id := "/"+t.Endpoint, f.user
	if t.Name == "Group" {
		id = f.group
	}
	if shape.Kind != shapes.KindPost {
		path += "/" + id
	}
	a := s.do(shape.Kind, path, f.toIDs.Replace(string(shape.Body())))
	if shape.Kind == shapes.KindPost && a.status == 201 {
		id = a.id()
	}
	return a, id
}

// TestShapes: what identity services send has the effect that package shapes shows, without overlays and
// with each one. A refused request changes nothing.
func TestShapes(t *testing.T) {
	for _, overlay := range append([]string{""}, policies.OverlayNames()...) {
		t.Run("overlay "+overlay, func(t *testing.T) {
			s := serve(t, base)
			if overlay != "" {
				var err error
				if s.dialect, err = policies.NewDialect(base, overlay); err != nil {
					t.Fatal(err)
				}
			}
			f := s.fixture()
			for _, shape := range shapes.All() {
				switch shape.Kind {
				case shapes.KindPatch, shapes.KindPost, shapes.KindPut:
					t.Run(shape.Name, func(t *testing.T) {
						q := *s
						q.t = t
						f.play(&q, &shape)
					})
				}
			}
		})
	}
}

func (f *fixture) play(s *service, shape *shapes.Shape) {
	t := s.t
	want, refused := shape.Result(s.dialect.Parse())
	before := s.state()
	a, id := f.send(s, shape)
	if refused != nil {
		a.wantError(refused.Status, refused.Type)
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("a refused request changed something:\n%s", diff)
		}
		return
	}
	if a.status != 200 && a.status != 201 && a.status != 204 {
		t.Fatalf("status %d, want success: %s", a.status, a.raw)
	}
	if _, named := want.Stored["active"]; !named && shape.Type == "User" {
		want.Stored["active"] = true // the stored value stays
	}
	if diff := cmp.Diff(string(scim.Encode(want.Stored)), f.stored(s, shape.ResourceType(), id)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	var event struct{ Deviations []string }
	lines := strings.Split(strings.TrimSpace(s.logs.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &event); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Codes, append([]string{}, event.Deviations...)); diff != "" {
		t.Errorf("deviations in the log (-want +got):\n%s", diff)
	}
	if shape.Kind == shapes.KindPost {
		s.do("DELETE", "/"+shape.ResourceType().Endpoint+"/"+id, nil).want(204)
	}
	f.renew(s)
}

// TestGroupShapesUnderIL1: of all forms of a group change, the IPSIE profile allows three (IL1 §3.3.3). The
// refusal of each other one names a rule or a scimType, and no member changes.
func TestGroupShapesUnderIL1(t *testing.T) {
	s := serve(t, il1)
	f := s.fixture()
	allowed := []string{"group-add-array", "group-remove-by-filter", "group-remove-all"}
	for _, shape := range shapes.All() {
		if shape.Kind != shapes.KindPatch || shape.Type != "Group" {
			continue
		}
		t.Run(shape.Name, func(t *testing.T) {
			q := *s
			q.t = t
			if slices.Contains(allowed, shape.Name) {
				f.play(&q, &shape)
				return
			}
			q.unchanged(func() {
				a, _ := f.send(&q, &shape)
				if a.status != 400 || !strings.Contains(a.str("detail"), "IL1-") && a.str("scimType") == "" {
					t.Errorf("status %d, want 400 with a rule or a scimType: %s", a.status, a.raw)
				}
			})
		})
	}
}

// TestTransportShapes: requests whose transport is unusual are taken.
func TestTransportShapes(t *testing.T) {
	for _, profile := range []string{il1, base} {
		s := serve(t, profile)
		f := s.fixture()
		for _, shape := range shapes.All() {
			if shape.Kind != shapes.KindHTTP && shape.Kind != shapes.KindFilter {
				continue
			}
			t.Run(profile+"/"+shape.Name, func(t *testing.T) {
				q := *s
				q.t = t
				if shape.Kind == shapes.KindFilter {
					f.filter(&q, &shape)
					return
				}
				var h shapes.HTTP
				if err := json.Unmarshal(shape.Wire, &h); err != nil {
					t.Fatal(err)
				}
				var header []string
				for name, value := range h.Header {
					header = append(header, name, value)
				}
				var body any
				if h.Body != nil {
					body = string(h.Body)
				}
				path := strings.NewReplacer("{user}", f.user, "{group}", f.group).Replace(h.Path)
				q.raw(h.Method, path, body, header...).want(h.Status)
				if bare, mark := strings.CutSuffix(path, "?"); mark {
					if got := q.decider.last; got.Path != "/scim/v2"+bare || got.Query != "" {
						t.Errorf("path %q and query %q, want %q and none", got.Path, got.Query, bare)
					}
				}
				if _, sent := h.Header["User-Agent"]; sent && q.decider.last.Headers.Has("user-agent") {
					t.Error("the request has a User-Agent")
				}
				f.renew(&q)
			})
		}
	}
}

// filter lists the users that a filter selects: the fixture's user, or a refusal.
func (f *fixture) filter(s *service, shape *shapes.Shape) {
	var text string
	if err := json.Unmarshal(shape.Wire, &text); err != nil {
		s.t.Fatal(err)
	}
	a := s.do("GET", filter("Users", text), nil)
	if shape.Refused != nil {
		a.wantError(400, "invalidFilter")
		return
	}
	if diff := cmp.Diff([]string{f.user}, a.want(200).ids()); diff != "" {
		s.t.Errorf("%s selects (-want +got):\n%s", text, diff)
	}
}

// TestPasswordIsNeverStored: a password of a POST or PUT is dropped where the dialect says so and refused
// elsewhere. A PATCH with one is always refused. Nothing of it reaches store, log or audit.
func TestPasswordIsNeverStored(t *testing.T) {
	const secret = "correct-horse-battery"
	for _, overlay := range append([]string{""}, policies.OverlayNames()...) {
		t.Run("overlay "+overlay, func(t *testing.T) {
			s := serve(t, base)
			if overlay != "" {
				var err error
				if s.dialect, err = policies.NewDialect(base, overlay); err != nil {
					t.Fatal(err)
				}
			}
			id := s.createUser("ada")
			body := person("bob")
			body["Password"] = secret
			path := "/Users/" + id
			drops := slices.Contains(s.dialect.Parse().Accept, scim.DevPasswordDropped)
			answers := []*answer{s.do("POST", "/Users", body), s.do("PUT", path, body)}
			for i, a := range answers {
				switch {
				case !drops:
					a.wantError(400, "invalidSyntax")
				case i == 0:
					a.want(201)
				default: // bob has the name by now
					a.wantError(409, "uniqueness")
				}
			}
			for _, o := range []obj{
				op("replace", "password", secret), op("add", "", obj{"password": secret}), op("Replace", "PASSWORD", []string{secret}),
				op("replace", scim.UserURN+":password", secret), op("add", "emails", []obj{{"value": "x@y.example", "password": secret}}),
				op("add", "", obj{scim.EnterpriseUserURN: obj{"password": secret}}),
			} {
				a := s.do("PATCH", path, ops(o)).wantError(400, s.do("PATCH", path, ops(o)).str("scimType"))
				answers = append(answers, a)
			}
			for _, a := range answers {
				if strings.Contains(string(a.raw), secret) {
					t.Errorf("the answer has the password: %s", a.raw)
				}
			}
			kept := fmt.Sprintf("%+v %+v %s", s.state(), s.records(), s.logs)
			if strings.Contains(kept, secret) || strings.Contains(strings.ToLower(fmt.Sprint(s.state())), "password") {
				t.Errorf("the password is kept: %s", kept)
			}
		})
	}
}

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
