package bundle_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/scimward/scimward/policies/bundle"
)

// rulesOf packs one file of rules, and a test that passes.
func rulesOf(t *testing.T, more fstest.MapFS, rules string) *bundle.Bundle {
	t.Helper()
	files := fstest.MapFS{
		".manifest":          {Data: []byte(`{"revision":"1","roots":["policy"],"rego_version":1,"metadata":{"serial":1}}`)},
		"policy/a.rego":      {Data: []byte("package policy\n\n" + rules)},
		"policy/a_test.rego": {Data: []byte("package policy.test\n\nimport data.policy\n\ntest_it if is_object(policy.requirements)\n")},
	}
	for name, f := range more {
		files[name] = f
	}
	raw, err := bundle.Archive(files)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.ReadUnverified(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const goodRule = `requirements["a"] := {"message": "m"} if input.method == "POST"

satisfied contains "a" if input.resource.title
`

// TestMistakes: what compiles and cannot be meant is refused with its place, when a bundle is checked and before it
// comes into force.
func TestMistakes(t *testing.T) {
	detail := func(members string) string {
		return "requirements[\"a\"] := {\n\t\"message\": \"m\",\n\t" + members + "\n} if input.method == \"POST\"\n\n" +
			"satisfied contains \"a\" if input.resource.title\n"
	}
	sub := func(rules string) fstest.MapFS {
		return fstest.MapFS{"policy/users/b.rego": {Data: []byte("package policy.users\n\n" + rules)}}
	}
	for _, x := range []struct {
		name, rules string
		more        fstest.MapFS
		want        string
	}{
		{"mode", detail(`"mode": "enforc"`), nil, `policy/a.rego:5: compile: requirements["a"]: mode is "enforc": write enforce, ` +
			`warn or observe; did you mean "enforce"?`},
		{"mode in capitals", detail(`"mode": "Enforce"`), nil, `policy/a.rego:5: compile: requirements["a"]: mode is "Enforce"`},
		{"member", detail(`"mod": "warn"`), nil, `policy/a.rego:5: compile: requirements["a"]: unknown member "mod": write ` +
			`message, fix, status, scimType, mode, ops; did you mean "mode"?`},
		{"status", detail(`"status": 200`), nil, `policy/a.rego:5: compile: requirements["a"]: status is 200: write a whole ` +
			`number from 400 to 499`},
		{"ops", detail(`"ops": [-1]`), nil, `write an array of the numbers of operations`},
		{"type", detail(`"fix": 3`), nil, `fix is 3: write a text`},
		{
			"no message", "requirements[\"a\"] := {\"mesage\": \"m\"} if input.method == \"POST\"\n", nil,
			`policy/a.rego:3: compile: requirements["a"]: message is missing`,
		},
		{"no message 2", "requirements[\"a\"] := {\"mesage\": \"m\"} if input.method == \"POST\"\n", nil, `did you mean "message"?`},
		{"no object", "requirements[\"a\"] := \"m\" if input.method == \"POST\"\n", nil, `write an object, {"message": …}`},
		{"empty id", "requirements[\"\"] := {\"message\": \"m\"} if input.method == \"POST\"\n", nil, `the id of a rule has 1 to 64 of the characters`},
		{"else", "requirements[\"a\"] := {\"message\": \"m\"} if input.method == \"POST\"\nelse := {\"message\": \"m\", \"mode\": 1}\n" +
			"satisfied contains \"a\" if input.resource.title\n", nil, `policy/a.rego:4: compile: requirements["a"]: mode is 1`},
		{
			"hold", goodRule + "hold[\"h\"] := {\"message\": \"m\", \"mode\": \"warn\"} if input.method == \"DELETE\"\n", nil,
			`policy/a.rego:6: compile: hold["h"]: unknown member "mode": write message`,
		},
		{
			"proof of nothing", strings.ReplaceAll(goodRule, `"a"`, `"title"`) + "satisfied contains \"titel\" if input.resource.title\n", nil,
			`policy/a.rego:6: compile: "titel" is proved, and no requirement has this id; did you mean "title"?`,
		},
		{
			"satisfed", goodRule + "satisfed contains \"a\" if input.method == \"PUT\"\n", nil,
			`policy/a.rego:6: compile: nothing reads the rule satisfed: did you mean "satisfied"?`,
		},
		{
			"requirement", goodRule + "requirement[\"b\"] := {\"message\": \"m\"} if input.method == \"PUT\"\n", nil,
			`nothing reads the rule requirement: did you mean "requirements"?`,
		},
		{"=", goodRule + "same if input.stored = input.result\n", nil, `policy/a.rego:6: compile: write := to name a value, or == to ` +
			`compare two, in place of =`},
		{"= in a list", goodRule + "same if count([x | [x, 1] = input.raw[_]]) > 0\n", nil, `policy/a.rego:6: compile: write :=`},
		{
			"answer as an operand", goodRule + "same if {\n\tx := [\"a\"]\n\tsplit(input.method, \"\", x)\n}\n", nil,
			`policy/a.rego:8: compile: split has its answer as an operand: write x := split(…), or compare by ==`,
		},
		{"answer of a function", goodRule + "f(x) := x\nsame if f(1, input.method)\n", nil, `f has its answer as an operand`},
		{"not with a call", goodRule + "f(x) := x\nsame if not f(1) == input.method\n", nil, `policy/a.rego:7: compile: name the answer`},
		{"parameter twice", goodRule + "same(x, x)\n", nil, `policy/a.rego:6: compile: same names the parameter x twice`},
		{"package below", goodRule, sub(goodRule), `policy/users/b.rego:3: compile: requirements counts only in package policy`},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := rulesOf(t, x.more, x.rules)
			_, err := b.Check(t.Context())
			var lines []string
			if err != nil {
				for _, p := range bundle.Problems(err) {
					lines = append(lines, p.String())
				}
			}
			if got := strings.Join(lines, "\n"); !strings.Contains(got, x.want) {
				t.Errorf("check says:\n%s\nwant\n%s", got, x.want)
			}
			if _, err := b.Compile(t.Context()); err == nil {
				t.Error("it would come into force")
			}
		})
	}
}

// TestNoMistakes: rules that are unusual and meant pass.
func TestNoMistakes(t *testing.T) {
	for name, x := range map[string]struct {
		rules string
		more  fstest.MapFS
	}{
		"computed members": {rules: `requirements["a"] := {"message": sprintf("%s", [input.method]), "mode": data.policy.mode, "ops": [
	i | some i, _ in input.canonical
]} if input.method == "POST"

satisfied contains "a" if input.resource.title
`, more: fstest.MapFS{"policy/data.json": {Data: []byte(`{"mode": "warn"}`)}}},
		"computed ids": {rules: `requirements[id] := {"message": "m"} if some id in ["a", "b"]

satisfied contains "a" if input.resource.title
`},
		"a package below that package policy reads": {
			rules: "requirements[id] := detail if some id, detail in data.policy.users.requirements\n\n" +
				"satisfied contains id if some id in data.policy.users.satisfied\n",
			more: fstest.MapFS{"policy/users/b.rego": {Data: []byte("package policy.users\n\n" + goodRule)}},
		},
		"a helper with a near name": {rules: goodRule + "held contains \"x\" if input.method == \"PUT\"\n\n" +
			"satisfied contains \"a\" if \"x\" in held\n"},
		"names and comparisons": {rules: goodRule + `same(x, _, _) if {
	[a, b] := [x, input.method]
	a == b
	input.method = "PUT"
	some i, op in input.raw
	op.op == input.raw[i].op
	f([a, b]) == [b, a]
	not count(a) == count(b)
	not lower(a) == b
}

f([a, b]) := [b, a]
`},
		"no proof": {rules: "requirements[\"a\"] := {\"message\": \"m\"} if input.method == \"POST\"\n\n" +
			"satisfied contains \"never\" if false\n"},
		"nothing proves it": {rules: "requirements[\"a\"] := {\"message\": \"m\"} if input.method == \"POST\"\n\n" +
			"satisfied contains id if some id in data.policy.none\n", more: fstest.MapFS{"policy/data.json": {Data: []byte(`{"none": []}`)}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := rulesOf(t, x.more, x.rules)
			if _, err := b.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnknownMemberOfInput: the names that there are follow, and the one that was probably meant.
func TestUnknownMemberOfInput(t *testing.T) {
	b := rulesOf(t, nil, strings.Replace(goodRule, "input.resource.title", "input.stord.title", 1))
	_, err := b.Check(t.Context())
	if err == nil {
		t.Fatal("it passed")
	}
	got := bundle.Problems(err)[0].String()
	for _, want := range []string{
		"policy/a.rego:5: compile: undefined ref: input.stord.title: there are canonical, client",
		`did you mean "stored"?`, "docs/policy-input.md",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwants %s", got, want)
		}
	}
}
