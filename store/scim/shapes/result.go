package shapes

import (
	"slices"
	"strings"

	"github.com/scimward/scimward/store/scim"
)

// Before returns the resource that every PATCH and PUT of a type changes. The members of the group are
// U1 and U2; the user's manager is U1.
func Before(t *scim.ResourceType) scim.Object {
	if t.Name == scim.GroupType().Name {
		return scim.Object{"displayName": "Engineers", "externalId": "G1", "members": refs([]string{"U1", "U2"})}
	}
	return scim.Object{
		"userName": "ada@acme.example", "externalId": "ext-ada", "displayName": "Ada", "active": true,
		"name": scim.Object{"givenName": "Ada", "familyName": "Lovelace"},
		"emails": []any{
			scim.Object{"value": "ada@acme.example", "type": "work", "primary": true},
			scim.Object{"value": "ada@home.example", "type": "home"},
		},
		scim.EnterpriseUserURN: scim.Object{"department": "Engines", "manager": scim.Object{"value": "U1"}},
	}
}

// Result is what a request does.
type Result struct {
	Codes     []string    // deviations, each once
	Canonical []string    // operations, or the filter
	Stored    scim.Object // the resource afterwards, nil for a filter and for [KindHTTP]
}

// Result runs the request in the mode m on [Before]. The codes are there with an error too.
func (s *Shape) Result(m scim.Mode) (Result, *scim.Error) {
	p, err := s.Parse(m)
	r := Result{Codes: codes(nil, p.Deviations), Canonical: []string{}}
	if err != nil {
		return r, err
	}
	switch s.Kind {
	case KindFilter:
		r.Canonical = append(r.Canonical, p.Filter.String())
	case KindPost, KindPut:
		r.Stored = p.Resource
	case KindPatch:
		for _, op := range p.Ops {
			r.Canonical = append(r.Canonical, Text(op))
		}
		err = r.patch(s.ResourceType(), p.Ops)
	}
	return r, err
}

// Text renders a canonical operation: add members [{"value":"U1"}].
func Text(op scim.Op) string {
	line := string(op.Kind) + " " + op.Path.String()
	if op.HasValue {
		value := string(scim.Encode(scim.Object{"v": op.Value}))
		line += " " + strings.TrimSuffix(strings.TrimPrefix(value, `{"v":`), "}")
	}
	return line
}

func (r *Result) patch(t *scim.ResourceType, ops []scim.Op) *scim.Error {
	changes, rest, err := scim.MemberChanges(ops)
	if t.Name != scim.GroupType().Name {
		changes, rest, err = nil, ops, nil
	}
	if err != nil {
		return err
	}
	before, members := scim.TakeMembers(Before(t))
	ids := memberIDs(members)
	for _, c := range changes {
		ids = change(ids, c)
	}
	applied, err := scim.Apply(t, before, rest)
	r.Codes = codes(r.Codes, applied.Found)
	if err != nil {
		return err
	}
	r.Stored = applied.Resource
	if len(ids) > 0 {
		r.Stored["members"] = refs(ids)
	}
	return nil
}

// change applies a change of members as the store does.
func change(ids []string, c scim.MemberChange) []string {
	switch {
	case c.Kind == scim.OpRemove && c.All:
		return nil
	case c.Kind == scim.OpRemove:
		return slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(memberIDs(c.IDs), id) })
	case c.Kind == scim.OpReplace:
		ids = nil
	}
	for _, id := range memberIDs(c.IDs) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func memberIDs(members []scim.Member) []string {
	ids := make([]string, 0, len(members))
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

func refs(ids []string) []any {
	out := make([]any, 0, len(ids))
	for _, id := range ids {
		out = append(out, scim.Object{"value": id})
	}
	return out
}

// codes appends the codes of deviations, each once.
func codes(list []string, found []scim.Deviation) []string {
	out := append([]string{}, list...)
	for _, d := range found {
		if !slices.Contains(out, d.Code) {
			out = append(out, d.Code)
		}
	}
	return out
}
