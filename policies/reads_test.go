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
		{`input.method == "PATCH"`, "method"},
		{`every op in input.raw { op.op == "add" }`, "raw.*.op"},
		{`every i, op in input.raw { i < 5; op.op == "add"; op.has_value }`, "raw.*.has_value raw.*.op"},
		{`some op in input.canonical; op.target == "members"`, "canonical.*.target"},
		{`some i, op in input.canonical; op.target == "members"; input.raw[i].path == "members"`, "canonical.*.target raw.*.path"},
		{`op := input.raw[0]; op.op == "add"`, "raw.*.op"},
		{`x := input.result; y := x.emails; y[_].value == "x"`, "result.emails.*.value"},
		{`some e in input.result.emails; e.primary; not e.type`, "result.emails.*.primary result.emails.*.type"},
		{`not input.result.active`, "result.active"},
		{`x := input.client; count([1 | x]) == 1`, "client"},
		{`x := input.stored; x == input.result`, "result stored"},
		{`_ = input.result.active`, "result.active?"},
		{`count(input.raw) > 0`, "raw"},
		{`every op in input.raw { op != {} }`, "raw.*"},
		{`some k; input[k] == "PATCH"`, "*"},
		{`x := input; x.method == "PATCH"`, "method"},
		{`count(input) > 0`, ""},
		{`"x" in {op.op | some op in input.raw}`, "raw.*.op"},
		{`"x" in [op | op := input.raw[_].op]`, "raw.*.op"},
		{`_first.op == "add"`, "raw.*"},
		{`_adds(input.raw[0])`, "raw.*"},
		{`some op in input.raw; _adds(op)`, "raw.*"},
		{`_method with input.method as "POST"`, "method route"},
		{`input.raw[input.counts.users].op == "add"`, "counts.users raw.*.op"},
		{`[first, _] = input.raw; first.op == "add"`, "raw"},
		{`some name; input.result[name] == input.stored[name]`, "result.* stored.*"},
		{`every name, v in input.result { name != "x"; v }`, "result.*"},
		{`input.result[_] = same; input.stored[_] = same`, "result.* stored.*"},
		{`some x in {"a", "b"}; x = input.method`, "method"},
		{`input.result.name.givenName == "x"; input.result[_].familyName`, "result.*.familyName result.name.familyName result.name.givenName"},
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
