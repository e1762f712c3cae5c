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
			if err := s.dialect.Parse().Check(); err != nil {
				t.Errorf("the mode of the overlay: %v", err)
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

// TestOverlaysAcceptTheirShapes: the overlay of a sender accepts what that sender is known to send, except
// what no mode accepts.
func TestOverlaysAcceptTheirShapes(t *testing.T) {
	for _, shape := range shapes.All() {
		for _, sender := range shape.Senders {
			d, err := policies.NewDialect(base, sender)
			if err != nil {
				t.Errorf("%s: %v", shape.Name, err)
				continue
			}
			if _, refused := shape.Result(d.Parse()); refused != nil && shape.Refused == nil {
				t.Errorf("the overlay %s refuses %s: %v (%s)", sender, shape.Name, refused, refused.Code)
			}
		}
	}
}
