package policies_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/policies"
)

// rulesWith compiles one file of rules.
func rulesWith(t *testing.T, text string) (*policies.Rules, error) {
	t.Helper()
	return policies.NewRules(t.Context(), policies.RulesOptions{
		Revision: "1", Modules: map[string]*ast.Module{"rules.rego": parsed(t, text)}, Data: map[string]any{},
	})
}

// parsed is the module rules.rego of package policy.
func parsed(t *testing.T, text string) *ast.Module {
	t.Helper()
	m, err := ast.ParseModuleWithOpts("rules.rego", "package policy\n\n"+text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRuleLabelsAreBounded: the metric has no series of an id that the rules in force do not declare as a literal, and
// a bundle declares at most 100.
func TestRuleLabelsAreBounded(t *testing.T) {
	declare := func(from, n int) string {
		text := "satisfied contains \"never\" if false\n"
		for i := range n {
			text += fmt.Sprintf("requirements[\"r%d\"] := {\"message\": \"x\"} if input.method == \"PUT\"\n", from+i)
		}
		return text
	}
	if _, err := rulesWith(t, declare(0, 101)); err == nil || !strings.Contains(err.Error(), "more than 100") {
		t.Errorf("101 requirements: %v, want a refusal", err)
	}
	metrics := prometheus.NewRegistry()
	e, err := policies.NewEngine(policies.Options{Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	series := func() int {
		all, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "scimward_policy_violations_total" {
				return len(f.GetMetric())
			}
		}
		return 0
	}
	for generation := range 3 {
		rules, err := rulesWith(t, declare(generation*100, 100))
		if err != nil {
			t.Fatal(err)
		}
		e.SetRules(map[string]*policies.Rules{"acme": rules})
		for i := range 1000 {
			e.Count([]policies.Violated{{Tenant: "acme", Rule: fmt.Sprintf("policy/r%d", i), Mode: "enforce"}})
		}
		if n := series(); n != 101 {
			t.Errorf("%d series with bundle %d, want its 100 ids and policy/other", n, generation)
		}
	}
	e.Count([]policies.Violated{{Tenant: "acme", Rule: "IL1-3.3.3-op", Mode: "enforce"}})
	e.SetRules(nil)
	if n := series(); n != 2 {
		t.Errorf("%d series without a bundle, want policy/other and the one of the profile", n)
	}
}

// TestClientLabelsAreBounded: 500 series of a tenant name their client. The others count for the client other, no
// violation is lost, and another tenant has its own 500. Rules that are not in force any more make room.
func TestClientLabelsAreBounded(t *testing.T) {
	metrics := prometheus.NewRegistry()
	e, err := policies.NewEngine(policies.Options{Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	count := func(tenant string) {
		for i := range 200 { // clients
			for _, rule := range []string{"policy/a", "policy/b", "IL1-3.3.3-op"} {
				e.Count([]policies.Violated{{Tenant: tenant, Client: fmt.Sprint("c", i), Rule: rule, Mode: "enforce"}})
			}
		}
	}
	check := func(when string, named, other int, total float64) {
		t.Helper()
		series := map[bool]int{} // by whether the client is other
		sum := 0.0
		all, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() != "scimward_policy_violations_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				series[m.GetLabel()[0].GetValue() == "other"]++ // client, by name the first label
				sum += m.GetCounter().GetValue()
			}
		}
		if series[false] != named || series[true] != other || sum != total {
			t.Errorf("%s: %d series name the client and %d do not, %.0f violations; want %d, %d, %.0f",
				when, series[false], series[true], sum, named, other, total)
		}
	}
	rules, err := rulesWith(t, `satisfied contains "never" if false
requirements["a"] := {"message": "x"} if input.method == "PUT"
requirements["b"] := {"message": "x"} if input.method == "PUT"
`)
	if err != nil {
		t.Fatal(err)
	}
	e.SetRules(map[string]*policies.Rules{"acme": rules, "globex": rules})
	count("acme")
	check("200 clients violate three rules", 500, 3, 600)
	count("acme")
	check("again", 500, 3, 1200)
	count("globex")
	check("another tenant", 1000, 6, 1800)
	e.SetRules(map[string]*policies.Rules{"globex": rules})
	check("without the rules of acme", 500+166, 3+1, 600+400) // 500 are 167 clients with a and b, 166 with the third
	count("acme")
	check("with room", 500+400, 3+1, 600+400+600)
}

// TestHoldAnswers: a hold waits only for the deletion of a user, and a rule without a clear answer holds it too. No
// answer of the rule refuses the request.
func TestHoldAnswers(t *testing.T) {
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const others = "requirements[id] := {\"message\": \"x\"} if some id in []\nsatisfied contains \"never\" if false\n"
	for _, tt := range []struct{ name, rule, method, typ, want string }{
		{"no rule", "", "DELETE", "User", ""},
		{"a user", `hold["a"] := {"message": "m"} if input.method == "DELETE"`, "DELETE", "User", "policy/a"},
		{"a group", `hold["a"] := {"message": "m"} if input.method == "DELETE"`, "DELETE", "Group", ""},
		{"a read", `hold["a"] := {"message": "m"} if true`, "GET", "User", ""},
		{"two rules", `hold[id] := {"message": id} if some id in ["b", "a"]`, "DELETE", "User", "policy/a, policy/b"},
		{"no message", `hold["a"] := {"why": "m"} if true`, "DELETE", "User", "policy/hold"},
		{"a message of another type", `hold["a"] := {"message": 7} if true`, "DELETE", "User", "policy/hold"},
		{"an id of another type", `hold[7] := {"message": "m"} if true`, "DELETE", "User", "policy/hold"},
		{"a fault", `hold["a"] := {"message": "m"} if to_number(input.method) == 1`, "DELETE", "User", "policy/hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := rulesWith(t, others+tt.rule)
			if err != nil {
				t.Fatal(err)
			}
			e.SetRules(map[string]*policies.Rules{"acme": rules})
			v := e.Decide(t.Context(), &policies.Input{
				Profile: "rfc7644", Tenant: "acme", Method: tt.method, Route: tt.method + " /" + tt.typ + "s/{id}",
				ResourceType: tt.typ, ResourceID: "1", Final: true,
				Client: policies.Client{ID: "c", Issuer: "https://idp.example", Scopes: []string{"scim"}},
			})
			got := ""
			if v.Hold != nil {
				got = v.Hold.Rule
			}
			if got != tt.want || !v.Allow {
				t.Errorf("hold %q, allowed %t %v %s; want %q and allowed", got, v.Allow, v.Violations, v.Failure, tt.want)
			}
		})
	}
	if _, err := rulesWith(t, others+`hold contains "a" if true`); err == nil {
		t.Error("a rule hold of another form compiles")
	}
}
