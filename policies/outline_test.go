package policies_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// text returns texts that a rule may tell apart, and others that it may not.
func (m *maker) text() string {
	return pick(m, "", " ", "\t\n", "\u00a0", "x", "U1", "U2", " U1", "2819c223-7f76", "add", "members", "ann@acme.example")
}

func (m *maker) path() string {
	quoted := func(s string) string { return `members[value eq "` + s + `"]` }
	return pick(m, "", " ", "members", "Members", "members ", "emails", "externalId", "active", "emails.value",
		quoted("U1"), quoted("x"), quoted(""), quoted(" "), quoted(`a\"b`), quoted(`a\\`), quoted("a\x01b"), quoted("é"), quoted("a\xff"),
		quoted(`U1" or value eq "U2`), `members[value eq "U1"].display`, `members[value eq "U1"`, `"members"`, `members[value sw "U1"]`,
		quoted("U1")+quoted("U2"), `members[value eq "`, `emails[type eq "work"].value`, quoted("a\x7fb"))
}

// members returns what an add of members could have as its value.
func (m *maker) members() any {
	list := []any{}
	for range m.IntN(4) {
		list = append(list, pick[any](m, map[string]any{"value": m.text()}, map[string]any{"value": "U1"}, m.deep(1)))
	}
	return pick[any](m, list, list, list, m.deep(3))
}

// deep returns a value with lists and objects in each other.
func (m *maker) deep(depth int) any {
	switch n := m.IntN(8); {
	case depth > 0 && n < 3:
		list := []any{}
		for range m.IntN(4) {
			list = append(list, m.deep(depth-1))
		}
		return list
	case depth > 0 && n < 6:
		o := map[string]any{}
		for range m.IntN(3) {
			o[pick(m, "value", "value", "type", "primary")] = m.deep(depth - 1)
		}
		return o
	case n == 6:
		return pick[any](m, nil, true, false, int64(0), int64(-1), int64(70), 0.5, 12)
	}
	return m.text()
}

// form returns a request with all that a profile may judge.
func (m *maker) form(t *testing.T) *policies.Input {
	t.Helper()
	in := m.request(t)
	in.Client = policies.Client{ID: m.text(), Issuer: m.text()}
	if m.IntN(3) > 0 {
		in.Client = client()
	}
	in.Client.Scopes = pick(m, nil, []string{"scim"}, []string{"scim"}, []string{"scim", ""}, []string{m.text()})
	resource := func() scim.Object {
		o := scim.Object{}
		for _, name := range []string{"userName", "externalId", "emails", "displayName", "members", "active"} {
			if m.IntN(2) == 0 {
				o[name] = pick(m, m.deep(3), any(m.text()), m.members())
			}
		}
		return o
	}
	for _, to := range []*scim.Object{&in.Resource, &in.Stored, &in.Result} {
		if *to != nil {
			*to = pick(m, nil, resource(), resource())
		}
	}
	if in.Method != "PATCH" {
		return in
	}
	in.Raw, in.Canonical = nil, nil
	for i := range m.IntN(4) {
		op := pick(m, "add", "add", "remove", "remove", "Add", "REMOVE", "replace", "", "delete")
		raw := scim.RawOp{Op: op, Path: m.path(), HasPath: m.IntN(4) > 0, Value: m.members(), HasValue: m.IntN(2) == 0}
		in.Raw = append(in.Raw, raw)
		target := pick(m, "members", "members", "externalId", "emails", "displayName", "")
		o := scim.Op{
			Kind: pick(m, scim.OpAdd, scim.OpRemove, scim.OpReplace), Target: target, Path: scim.Path{Attr: target},
			Value: m.members(), HasValue: m.IntN(2) == 0, Raw: i,
		}
		if m.IntN(3) == 0 {
			o.Path.Filter = parseFilter(t, `userName eq "`+pick(m, "a", "b")+`"`)
		}
		in.Canonical = append(in.Canonical, o)
		if m.IntN(3) == 0 {
			in.Deviations = append(in.Deviations, scim.Deviation{Code: pick(m,
				"OP_CASE", "MEMBER_STRING", "UNKNOWN_DROPPED", "PASSWORD_DROPPED", ""), Op: i})
		}
	}
	return in
}

func newWholeEngine(t *testing.T) *policies.Engine {
	t.Helper()
	e, err := policies.NewWholeEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestOutlineJudgesAlike: every shipped profile has the same verdict on an outline as on the whole document, in the
// first evaluation and from the memo.
func TestOutlineJudgesAlike(t *testing.T) {
	m, e, whole, allowed := newMaker(1), newEngine(t), newWholeEngine(t), 0
	for range 3000 {
		in := m.form(t)
		want := whole.Decide(t.Context(), in)
		for _, which := range []string{"first", "second"} {
			if diff := gocmp.Diff(want, e.Decide(t.Context(), in)); diff != "" {
				t.Fatalf("the %s verdict on %+v (-document +outline):\n%s", which, in, diff)
			}
		}
		if want.Allow {
			allowed++
		}
	}
	if allowed < 300 {
		t.Errorf("%d requests were allowed: too few to mean something", allowed)
	}
}

// TestWrongOutlineIsFound: requests like those of the last test show outlines that lose too much.
func TestWrongOutlineIsFound(t *testing.T) {
	same := func(v any) any { return v }
	type mistake struct {
		value func(any) any
		path  func(string) string
	}
	mistakes := map[string]mistake{
		"a blank text is a text":      {value: texts(func(s string) any { return s + "x" })},
		"an empty text is a text":     {value: texts(func(s string) any { return cmp.Or(s, "x") })},
		"a text is a number":          {value: texts(func(string) any { return int64(0) })},
		"a list has its first member": {value: firstOnly},
		"a path is a text":            {value: same, path: func(string) string { return "x" }},
		"a literal has escapes":       {value: same, path: func(s string) string { return strings.ReplaceAll(s, `\`, "x") }},
		"a literal may be empty":      {value: same, path: func(s string) string { return strings.ReplaceAll(s, `""`, `"x"`) }},
	}
	m, whole := newMaker(2), newWholeEngine(t)
	for range 5000 {
		in := m.form(t)
		want := whole.Decide(t.Context(), in)
		for name, wrong := range mistakes {
			changed := *in
			changed.Raw, changed.Resource = slices.Clone(in.Raw), nil
			for i := range changed.Raw {
				changed.Raw[i].Value = wrong.value(changed.Raw[i].Value)
				if wrong.path != nil {
					changed.Raw[i].Path = wrong.path(changed.Raw[i].Path)
				}
			}
			if in.Resource != nil {
				changed.Resource, _ = wrong.value(map[string]any(in.Resource)).(map[string]any)
			}
			if diff := gocmp.Diff(want, whole.Decide(t.Context(), &changed)); diff != "" {
				delete(mistakes, name)
			}
		}
		if len(mistakes) == 0 {
			return
		}
	}
	for name := range mistakes {
		t.Errorf("%s: the mistake was not found", name)
	}
}

// texts returns a function that changes every text of a value.
func texts(change func(string) any) func(any) any {
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return change(v)
		case []any:
			out := []any{}
			for _, one := range v {
				out = append(out, walk(one))
			}
			return out
		case map[string]any:
			out := map[string]any{}
			for name, one := range v {
				out[name] = walk(one)
			}
			return out
		}
		return v
	}
	return walk
}

func firstOnly(v any) any {
	if list, ok := v.([]any); ok && len(list) > 1 {
		return list[:1]
	}
	return v
}

// TestOutlineIsRemembered: changes of the members of a group that have the same form need one evaluation.
func TestOutlineIsRemembered(t *testing.T) {
	e, n := newEngine(t), 0
	allocs := testing.AllocsPerRun(100, func() {
		n++
		id := fmt.Sprint("U", n)
		var members []any
		for range n % 7 {
			members = append(members, map[string]any{"value": id})
		}
		add := member("add", "members", append(members, map[string]any{"value": "last"}))
		remove := member("remove", `members[value eq "`+id+`"]`, nil)
		in := groupPatch("ipsie-il1", []scim.RawOp{add, remove}, append(onMembers("add"), onMembers("remove")...))
		in.ResourceID, in.Client.ID, in.Tenant = id, id, id
		if v := e.Decide(t.Context(), in); !v.Allow {
			t.Fatalf("%+v", v)
		}
	})
	if allocs > 60 { // most are made by this function
		t.Errorf("%v allocations, want at most 60", allocs)
	}
}

// TestFewForms: the changes of members that the profile ipsie-il1 allows have few forms, whatever the ids and whatever
// else the members have. So hardly any needs an evaluation.
func TestFewForms(t *testing.T) {
	m, e, allowed := newMaker(4), newEngine(t), 0
	before := e.Remembered("ipsie-il1")
	for range 3000 {
		var raw []scim.RawOp
		var canonical []scim.Op
		for i := range 2 {
			id := pick(m, "", fmt.Sprint(m.IntN(1000)))
			one := func() any {
				return map[string]any{"value": id, "display": m.text(), fmt.Sprint("a", m.IntN(1000)): m.deep(2)}
			}
			list := pick(m, []any{}, []any{one()}, []any{one(), one(), one()}, []any{one(), one(), one(), one()})
			add, op := member("add", "members", list), onMembers("add")[0]
			op.Value, op.HasValue = list, true
			if m.IntN(2) == 0 {
				add, op = member("remove", pick(m, "members", `members[value eq "`+id+`"]`), nil), onMembers("remove")[0]
			}
			op.Raw = i
			raw, canonical = append(raw, add), append(canonical, op)
		}
		if e.Decide(t.Context(), groupPatch("ipsie-il1", raw, canonical)).Allow {
			allowed++
		}
	}
	if n := e.Remembered("ipsie-il1") - before; n > 100 || allowed < 1000 {
		t.Errorf("%d forms, want at most 100, in 3000 requests of which %d were allowed", n, allowed)
	} else {
		t.Logf("%d forms, %d allowed", n, allowed)
	}
}
