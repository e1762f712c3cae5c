package bundle_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/scimward/scimward/policies"
)

// TestComparisonsMeanTheSame: `==` is a call in the rules of a tenant, and holds where `=` does, which is none. So do
// both after `not`, also where an operand is undefined or has several values.
func TestComparisonsMeanTheSame(t *testing.T) {
	operands := []string{
		"input.resource.none", "input.resource.userName", "input.resource.displayName", "data.policy.v.text",
		"data.policy.v.none",
		"data.policy.v.list", "data.policy.v.one", "data.policy.v.float", "data.policy.v.nested", "data.policy.v.object",
		"data.policy.v.null", "data.policy.v[_]", "upper(input.resource.none)", "lower(input.resource.userName)",
		"named(1)", "named(3)", "word", "of(1)",
	}
	const eve = " with input.resource.userName as \"eve\""
	const values = `{"v": {"text": "ada", "list": ["ada"], "one": 1, "float": 1.0, "nested": [[1], {"a": ["ada"]}],
		"object": {"a": [1]}, "null": null}}`
	var rules strings.Builder
	rules.WriteString("word := data.policy.v.text\n\nnamed(1) := data.policy.v.list\n\nof(x) := data.policy.v.object if x\n\n" +
		"requirements[id] := {\"message\": \"m\"} if some id in differs\n\n" +
		"satisfied contains id if {\n\tsome id in differs\n\tinput.resource.none\n}\n")
	n := 0
	for i, a := range operands {
		for j, b := range operands {
			for _, x := range []struct{ not, with string }{{}, {"not ", ""}, {"not ", eve}} {
				if x.not != "" && strings.Contains(a+b, "_") {
					continue // it does not compile
				}
				compared, unified := x.not+a+" == "+b+x.with, x.not+a+" = "+b+x.with
				fmt.Fprintf(&rules, "\ndiffers contains \"%d.%d%s\" if {\n\tcount([1 | %s]) != count([1 | %s])\n}\n",
					i, j, strings.TrimSpace(x.not), compared, unified)
				n++
			}
		}
	}
	r, err := rulesOf(t, fstest.MapFS{"policy/data.json": {Data: []byte(values)}}, rules.String()).Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.NewEngine(policies.Options{Deadline: 1 << 36})
	if err != nil {
		t.Fatal(err)
	}
	e.SetRules(map[string]*policies.Rules{"acme": r})
	if v := e.Decide(t.Context(), create("Ada")); v.Failure != "" || !v.Allow {
		t.Errorf("of %d comparisons these differ: %+v", n, v)
	}
}
