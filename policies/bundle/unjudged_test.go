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
