package bundle_test

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/store/scim"
)

// TestComputedMistake: a wrong member that only a request shows gives no verdict. Log, count and explanation name the
// rule, the member and what to write.
func TestComputedMistake(t *testing.T) {
	rules, err := rulesOf(t, fstest.MapFS{"policy/data.json": {Data: []byte(`{"mode": "enforc"}`)}},
		`requirements["a"] := {"message": "m", "mode": data.policy.mode} if input.resource.userName

satisfied contains "a" if input.resource.title
`).Compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	e, err := policies.NewEngine(policies.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	e.SetRules(map[string]*policies.Rules{"acme": rules})
	const want = `policy/a: mode is "enforc": write enforce, warn or observe; did you mean "enforce"?`
	for _, method := range []string{"POST", "GET", "POST"} {
		in := &policies.Input{
			Profile: "rfc7644", Tenant: "acme", Method: method, Route: method + " /Users", ResourceType: "User",
			Client: policies.Client{ID: "c", Issuer: "https://idp.example", Scopes: []string{"scim"}},
		}
		if method == "POST" {
			in.Resource = scim.Object{"userName": "ada"}
		}
		v := e.Decide(t.Context(), in)
		if fails := method == "POST"; fails != (v.Failure == policies.FailureResult && v.Reason == want) {
			t.Errorf("%s: %+v", method, v)
		}
	}
	if got := rules.Unjudged(); got.Requests != 2 || got.Last != want {
		t.Errorf("%+v, want 2 requests and the reason", got)
	}
	if !strings.Contains(log.String(), `policy/a: mode is \"enforc\"`) {
		t.Errorf("the log does not name rule and member: %s", log.String())
	}
	doc, err := policies.ParseDocument([]byte(`{"resource": {"userName": "ada"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Explain(t.Context(), "rfc7644", rules, doc); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("explained as %v", err)
	}
}

// TestStopsLeaving: a rule that keeps people in is named, whatever form a deactivation has. No template has one.
func TestStopsLeaving(t *testing.T) {
	for _, name := range []string{"template", "breakglass", "reactivation", "hold", "brake"} {
		raw, err := bundle.Archive(os.DirFS("../../examples/policies/" + name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.ReadUnverified(raw)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := b.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := rules.StopsLeaving(t.Context()); len(got) > 0 {
			t.Errorf("template %s: %v", name, got)
		}
	}
	for rule, want := range map[string][]string{
		`requirements["a"] := {"message": "m"} if input.method == "DELETE"`:                                      {"policy/a"},
		`requirements["a"] := {"message": "m"} if input.method == "PUT"`:                                         {"policy/a"},
		`requirements["a"] := {"message": "m"} if input.canonical[_].target == "active"`:                         {"policy/a"},
		`requirements["a"] := {"message": "m"} if { some op in input.raw; op.value.active == false }`:            {"policy/a"},
		`requirements["a"] := {"message": "m", "mode": "observe"} if input.method == "DELETE"`:                   nil,
		`requirements["a"] := {"message": "m"} if { input.method == "PATCH"; not input.result.active == false }`: nil,
	} {
		rules, err := rulesOf(t, nil, rule+"\n\nsatisfied contains \"a\" if input.resource.title\n").Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := rules.StopsLeaving(t.Context()); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", rule, got, want)
		}
	}
}

// TestUnjudgedPlace: the reason of a request that the rules cannot judge names the line. A compiled bundle keeps few
// places, and rules may replace what they read.
func TestUnjudgedPlace(t *testing.T) {
	for name, tt := range map[string]struct{ rule, want string }{
		"function": {
			"ok if to_number(input.resource.title) > 1\n", `policy/a.rego:3: eval_builtin_error`,
		},
		"two values for a key": {
			`ok if {
	of := {
		"k": v |
			some v in input.resource.emails
	}
	of.k == "x"
}
`, `policy/a.rego:5: eval_conflict_error`,
		},
		"two values": {
			"value := x if some x in input.resource.emails\n\nok if value == \"x\"\n", `policy/a.rego:3: eval_conflict_error`,
		},
		"replaced": {
			`inner if to_number(input.resource.title) > 1

ok if {
	input.resource.title
	inner with input.resource.title as "y"
}
`,
			`policy/a.rego:3: eval_builtin_error`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := rulesOf(t, nil, tt.rule+`
requirements["a"] := {"message": "m"} if input.method == "POST"

satisfied contains "a" if ok
`).Compile(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			e, err := policies.NewEngine(policies.Options{})
			if err != nil {
				t.Fatal(err)
			}
			e.SetRules(map[string]*policies.Rules{"acme": rules})
			v := e.Decide(t.Context(), &policies.Input{
				Profile: "rfc7644", Tenant: "acme", Method: "POST", Route: "POST /Users", ResourceType: "User",
				Client:   policies.Client{ID: "c", Issuer: "https://idp.example", Scopes: []string{"scim"}},
				Resource: scim.Object{"userName": "a", "title": "t", "emails": []any{"x", "y"}},
			})
			if v.Failure != policies.FailureEvaluation || v.Reason != tt.want {
				t.Errorf("%+v, want the reason %s", v, tt.want)
			}
		})
	}
}
