package policies_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/policies"
)

// noRequirements are the two rules of a bundle that demands nothing.
const noRequirements = "requirements[id] := {\"message\": \"x\"} if some id in []\nsatisfied contains \"never\" if false\n"

// deletion is a DELETE of a user of acme that the profile allows.
func deletion() *policies.Input {
	in := request("rfc7644", "DELETE /Users/{id}")
	in.ResourceType, in.ResourceID, in.Final = "User", "U1", true
	return in
}

// TestFailedHoldIsSeen: a rule hold without a clear answer is in the log with its cause and its place, and counts as a
// failure. Such a bundle does not come into force if the rule fails on every request.
func TestFailedHoldIsSeen(t *testing.T) {
	for _, tt := range []struct{ name, rule, cause string }{
		{"a fault", `hold["a"] := {"message": "m"} if to_number(input.method) == 1`, "evaluation error, rules.rego:5"},
		{"no message", `hold["a"] := d if d := object.get({}, input.method, {"why": "m"})`, "policy/a: the message is no text of up to 1000 bytes"},
		{"an id with a blank", `hold[id] := {"message": "m"} if id := sprintf("a %s", [input.method])`, "the id of a rule has"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := rulesWith(t, noRequirements+tt.rule)
			if err != nil {
				t.Fatal(err)
			}
			if err := rules.Smoke(t.Context()); err == nil || !strings.Contains(err.Error(), tt.cause) {
				t.Errorf("it may come into force: %v, want a refusal because of %q", err, tt.cause)
			}
			var log bytes.Buffer
			registry := prometheus.NewRegistry()
			e, err := policies.NewEngine(policies.Options{
				Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: registry,
			})
			if err != nil {
				t.Fatal(err)
			}
			e.SetRules(map[string]*policies.Rules{"acme": rules})
			v := e.Decide(t.Context(), deletion())
			if !v.Allow || v.Hold == nil || v.Hold.Rule != "policy/hold" || !strings.Contains(v.Hold.Failure, tt.cause) {
				t.Errorf("%+v with %+v, want allow and a hold that failed", v, v.Hold)
			}
			if !strings.Contains(log.String(), tt.cause) || !strings.Contains(log.String(), "tenant=acme") {
				t.Errorf("the log is %q, want the tenant and %q", log.String(), tt.cause)
			}
			want := map[string]float64{
				"scimward_policy_decisions_total outcome=failure profile=rfc7644 tenant=acme": 1,
			}
			if diff := cmp.Diff(want, counters(t, registry)); diff != "" {
				t.Errorf("metrics (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHoldsOfDocument: an author sees which rules hold a request document, and where they are.
func TestHoldsOfDocument(t *testing.T) {
	const rules = `package policy

requirements["r"] := {"message": "x"} if input.resource_id == "refused"
satisfied contains "never" if false
hold["legal"] := {"message": "legal hold"} if input.method == "DELETE"
hold[id] := {"message": "m"} if some id in ["mass"]
hold["fault"] := {"message": "m"} if to_number(input.resource_id) == 1
`
	e := newEngine(t)
	r := tenantRules(t, rules)
	for _, tt := range []struct{ name, method, kind, id, want string }{
		{"a deletion", "DELETE", "User", "2", "policy/legal policy/rules.rego:5, policy/mass policy/rules.rego:6"},
		{"of a group", "DELETE", "Group", "2", ""},
		{"a deactivation", "PATCH", "User", "2", ""},
		{"refused", "DELETE", "User", "refused", ""},
		{"a fault", "DELETE", "User", "x", "policy/hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := deletion()
			in.Method, in.ResourceType, in.ResourceID = tt.method, tt.kind, tt.id
			in.Route = tt.method + " /" + tt.kind + "s/{id}"
			text, err := e.InputDocument(in)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := policies.ParseDocument(text)
			if err != nil {
				t.Fatal(err)
			}
			j, err := e.Explain(t.Context(), "rfc7644", r, doc)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range j.Holds {
				one := h.Rule
				for _, at := range h.At {
					one += " " + at.String()
				}
				got = append(got, one)
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("held by %q, want %q", s, tt.want)
			}
		})
	}
	var held []string
	for _, d := range append(r.Document(), r.DocumentHold()...) {
		if len(d.Held) > 0 {
			held = append(held, d.Rule)
		}
	}
	if diff := cmp.Diff([]string{"policy/fault", "policy/legal", "policy/hold"}, held); diff != "" {
		t.Errorf("documented (-want +got):\n%s", diff)
	}
}

// TestIDsOfRules: an id has no blank, comma or any other character that divides lists of ids. A literal one is refused
// with its place; a computed one gives no verdict.
func TestIDsOfRules(t *testing.T) {
	const proofs = "satisfied contains \"never\" if false\n"
	long := strings.Repeat("a", 64)
	for id, good := range map[string]bool{
		"Cost-Center_2.0": true, long: true,
		"cost center": false, "a,b": false, "a/b": false, "": false, "é": false, "a\nb": false, long + "a": false,
	} {
		literal := strings.ReplaceAll(id, "\n", `\n`)
		for _, head := range []string{"requirements", "hold"} {
			other := noRequirements
			if head == "requirements" {
				other = proofs
			}
			text := other + head + `["` + literal + `"] := {"message": "m"} if input.method == "PUT"`
			found := policies.Mistakes(map[string]*ast.Module{"rules.rego": parsed(t, text)})
			found = slices.DeleteFunc(found, func(e *ast.Error) bool { return !strings.Contains(e.Message, "the id of a rule") })
			if (len(found) == 0) != good {
				t.Errorf("%s[%q]: %v", head, id, found)
			}
			if !good && !strings.Contains(found.Error(), "rules.rego:") {
				t.Errorf("%s[%q]: %v, want file and line", head, id, found)
			}
		}
		rules, err := rulesWith(t, proofs+`requirements[id] := {"message": "m"} if {
	input.method == "DELETE"
	some id in ["`+literal+`"]
}`)
		if err != nil {
			t.Fatal(err)
		}
		e := newEngine(t)
		e.SetRules(map[string]*policies.Rules{"acme": rules})
		v := e.Decide(t.Context(), deletion())
		if v.Allow || good != (v.Failure == "") || !good && v.Failure != policies.FailureResult {
			t.Errorf("computed %q: %+v", id, v)
		}
	}
}
