package policies_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
)

// TestReads: what rules can read of the input.
func TestReads(t *testing.T) {
	tests := []struct{ condition, want string }{
		{`input.method == "PATCH"`, "method=PATCH"},
		{`every op in input.raw { op.op == "add" }`, "raw.*.op=add"},
		{`every i, op in input.raw { i < 5; op.op == "add"; op.has_value }`, "raw.*.has_value raw.*.op=add"},
		{`some op in input.canonical; op.target == "members"`, "canonical.*.target=members"},
		{`some i, op in input.canonical; op.target == "members"; input.raw[i].path == "members"`, "canonical.*.target=members raw.*.path=members"},
		{`op := input.raw[0]; op.op == "add"`, "raw.*.op=add"},
		{`x := input.result; y := x.emails; y[_].value == "x"`, "result.emails.*.value=x"},
		{`some e in input.result.emails; e.primary; not e.type`, "result.emails.*.primary result.emails.*.type"},
		{`not input.result.active`, "result.active"},
		{`x := input.client; count([1 | x]) == 1`, "client"},
		{`x := input.stored; x == input.result`, "result stored"},
		{`_ = input.result.active`, "result.active?"},
		{`count(input.raw) > 0`, "raw! raw.*?"},
		{`every op in input.raw { op != {} }`, "raw.*"},
		{`some k; input[k] == "PATCH"`, "*=PATCH"},
		{`x := input; x.method == "PATCH"`, "method=PATCH"},
		{`object.keys(input) != set()`, ""},
		{`"x" in {op.op | some op in input.raw}`, "raw.*.op"},
		{`"x" in [op | op := input.raw[_].op]`, "raw.*.op"},
		{`_first.op == "add"`, "raw.*"},
		{`_adds(input.raw[0])`, "raw.*.op=add"},
		{`some op in input.raw; _adds(op)`, "raw.*.op=add"},
		{`_adds(input)`, "op=add"},
		{`some op in input.raw; _either("x", op)`, "raw.*.op=add raw.*.path!"},
		{`_either(input.method, input.raw[0])`, "method=x|y raw.*.op=add raw.*.path!"},
		{`_same(input.raw[0]).op == "add"`, "raw.*"},
		{`_other(input.stored)`, "stored.*.value=y stored.title.value=y stored.title=z"},
		{`_unread(input.raw[0])`, "raw.*?"},
		{`_adds({"op": input.method})`, "method"},
		{`_adds(input.raw[0]) with input.method as "x"`, "method raw.*"},
		{`some op in input.raw; _adds(op) with input.method as input.route`, "method raw.* route"},
		{`_adds(input.raw[0]) with data.policy._adds as true`, "raw.*"},
		{`_first_adds with lower as data.policy._shout`, "raw.*"},
		{`count(input.raw) > 0; true with is_array as false`, "raw"},
		{`_method with input.method as "POST"`, "method route="},
		{`input.raw[input.counts.users].op == "add"`, "counts.users raw.*.op=add"},
		{`[first, _] = input.raw; first.op == "add"`, "raw"},
		{`some name; input.result[name] == input.stored[name]`, "result.* stored.*"},
		{`every name, v in input.result { name != "x"; v }`, "result.*"},
		{`input.result[_] = same; input.stored[_] = same`, "result.* stored.*"},
		{`some x in {"a", "b"}; x = input.method`, "method"},
		{`x := "POST"; input.method == x`, "method=POST"},
		{`input.method in {"POST", "PUT"}; not input.route in ["a", null]`, "method=POST|PUT route=a"},
		{`some op in input.canonical; op.value in {"a", 1}`, "canonical.*.value!"},
		{`some op in input.canonical; op.value in {"a", []}`, "canonical.*.value"},
		{`"add" in input.raw[0]`, "raw.*"},
		{`input.result.title in input.stored.titles`, "result.title stored.titles"},
		{`input.result.title != null; is_string(input.result.name)`, "result.name? result.title?"},
		{`input.result.title == 5`, "result.title!"},
		{`input.result.title == "\u0000"`, "result.title!"},
		{`input.result.title == ["x"]`, "result.title"},
		{`trim_space(input.result.title) != ""`, "result.title!"},
		{`startswith(input.result.title, "x")`, "result.title!"},
		{`to_number(input.result.title) > 1`, "result.title"},
		{`input.result.name.givenName == "x"; input.result[_].familyName`, "result.*.familyName result.name.familyName result.name.givenName=x"},
		{`input.result.name; input.result[_].familyName`, "result.*.familyName result.name"},
	}
	for _, tt := range tests {
		r, err := bundleRules(t, need(tt.condition)+shared)
		if err != nil {
			t.Fatalf("%s: %v", tt.condition, err)
		}
		if got := strings.Join(policies.ReadsOf(r), " "); got != tt.want {
			t.Errorf("%s: reads %q, want %q", tt.condition, got, tt.want)
		}
	}
}

// shared are rules that the conditions of this file use.
const shared = `
_first := input.raw[0]
_adds(op) if op.op == "add"
_removes(op) if op.has_value == false
_shout(_) := "add"
_first_adds if _adds(input.raw[0])
_first_adds if lower(input.raw[0].path) == "add"
_either("x", op) if op.op == "add"
_either("y", op) if lower(op.path) == "members"
_same(op) := op
_unread(_)
_other(o) if {
	some v in o
	v.value == "y"
} else := false if o.title == "z"
_method if { input.route != ""; input.method == "POST" }
_last := op if {
	some op in input.raw
	op.op == "add"
	op.path == "none"
} else := op if {
	op := input.canonical[0]
}
`

// looks are conditions that read the input in many ways.
func (m *maker) look() string {
	return pick(m, m.condition(), m.condition(),
		`every op in input.raw { op.op == "add" }`, `every i, op in input.canonical { input.raw[i].op == op.op }`,
		`some op in input.canonical; op.target == "members"; op.value`, `_adds(input.raw[0])`, `_first.op == "add"`,
		`x := input.result; x.active == false`, `count([v | v := input.raw[_].value; v == "x"]) > 0`,
		`some k; input[k] == "PATCH"; k == "method"`, `{op.path | some op in input.raw} == {"members"}`,
		`every name, v in input.resource { name != "title"; v != false }`, `every v in input.result { is_string(v) }`,
		`op := input.raw[0]; object.get(op, "op", "") == "add"`, `[_, second] = input.raw; second.op == "add"`,
		`object.get(input.resource, "active", true) == false`, `input.stored.emails[_].value == "U1"`,
		`x := input.raw; y := x[_]; y.has_value`, `not input.result.title`, `count(input.query.attributes) == 0`,
		`"add" in {o | o := input.canonical[_].op}`, `x := input.result.members; x[_].value == "U1"`,
		`some name; input.resource[name] == "x"; name != "userName"`, `_method with input.method as "POST"`,
		`_first.op == "add" with input.raw as input.canonical`, `x := input.stored; x == input.result`,
		`input.stored[_] = same; input.result[_] = same`, `_last.target == "active"`, `_ = input.stored.active`,
		`some i; i >= 1; input.raw[i]`, `input.raw[count(input.canonical) - 1].op == "add"`, `input.result; not input.result.active`,
		`some e in input.result.emails; e.value != ""`, `{"active": was} = input.stored; was == true`,
		`some op in input.raw; _either("x", op)`, `_either(input.result.title, {"op": "add"})`, `some op in input.raw; _either("y", op)`,
		`some op in input.raw; _same(op).op == "remove"`, `some op in input.canonical; _unread(op.value)`, `_other(input.result)`,
		`_other(input.stored) with input.stored as input.result`, `_adds(input.raw[0]) with input.raw as input.canonical`,
		`_first_adds with data.policy._adds as data.policy._removes`, `_first_adds with lower as data.policy._shout`,
		`is_string(input.result.title); count(input.result.title) == 1`, `count(input.raw) == 2`, `count(input.result) > 1; is_object(input.result.emails)`, `is_string(input.raw[_].value)`,
		`some op in input.raw; op.value in {"x", "U1", null}`, `some op in input.canonical; not op.value in {"x", 3}`,
		`every op in input.raw { op.value != "x" }`, `some v in input.result; v != "U1"`, `type_name(input.raw[_].value) == "string"`,
		`v := input.resource.title; v == ""`, `input.raw[_].value == "\u0000"`, `some op in input.raw; op.value == [{"value": "U1"}]`,
		`input.resource.members[_].value == "U1"`, `some op in input.raw; is_string(op.value); trim_space(op.value) == "x"`,
		`x := {"a": input.method}; x.a == "PATCH"`, `some op in array.concat(input.raw, input.canonical); op.op == "remove"`,
	)
}

// TestViewJudgesAlike: rules that see only what they read have the same violations as with the whole document, in the
// first evaluation and from the memo.
func TestViewJudgesAlike(t *testing.T) {
	m, e := newMaker(3), newEngine(t)
	violated, remembered := 0, 0
	for range 250 {
		var b strings.Builder
		for _, id := range []string{"a", "b", "c"} {
			b.WriteString("requirements[\"" + id + "\"] := {\"message\": \"m\"} if { " + m.look() + " }\n")
			b.WriteString("satisfied contains \"" + id + "\" if { " + m.look() + " }\n")
		}
		rules, err := bundleRules(t, b.String()+shared)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		for range 25 {
			in := m.request(t)
			doc, err := policies.BuildInput(in)
			if err != nil {
				t.Fatal(err)
			}
			want, err := rules.JudgeDocument(t.Context(), doc)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got := e.JudgeView(t.Context(), rules, in)
				if diff := cmp.Diff(want, got.Violations); diff != "" || got.Failure != "" {
					t.Fatalf("%s of %v\n%v\n%s (-document +view):\n%s", b.String(), policies.ReadsOf(rules), doc, got.Failure, diff)
				}
			}
			violated += len(want)
			remembered++
		}
	}
	if violated < remembered/4 {
		t.Errorf("%d violations in %d requests: too few to mean something", violated, remembered)
	}
}
