package bundle_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/store/scim"
)

// create is a request to create a user with a name, which the profile allows.
func create(name string) *policies.Input {
	return &policies.Input{
		Profile: "rfc7644", Tenant: "acme", Method: "POST", Route: "POST /Users", ResourceType: "User",
		Client:   policies.Client{ID: "c", Issuer: "https://idp.example", Scopes: []string{"scim"}},
		Resource: scim.Object{"userName": "ada", "displayName": name}, Final: true,
	}
}

// TestOddFiles: no file of a bundle turns the rule of another file off, or a refusal of the profile: such a bundle is
// refused, or the request is.
func TestOddFiles(t *testing.T) {
	const weak = `{"message": "m", "mode": "observe"}`
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ file, text, stage string }{
		"the mode of the rule, by itself":     {"policy/x.rego", "package policy\n\nrequirements.word.mode := \"observe\"\n", "compile"},
		"the mode, from a package of its own": {"policy/x.rego", "package policy.requirements.word\n\nmode := \"observe\"\n", "compile"},
		"a package in the place of the rules": {"policy/x.rego", "package policy.requirements\n\nword := " + weak + "\n", "compile"},
		"a package in the place of proofs":    {"policy/x.rego", "package policy.satisfied\n\nword := true\n", "compile"},
		"all proofs at once":                  {"policy/x.rego", "package policy\n\nsatisfied := {\"word\"}\n", "compile"},
		"a default of the proofs":             {"policy/x.rego", "package policy\n\ndefault satisfied := {\"word\"}\n", "compile"},
		"proofs of an object":                 {"policy/x.rego", "package policy\n\nsatisfied[\"word\"] := true\n", "compile"},
		"a file of proofs":                    {"policy/satisfied/data.json", `{"word": true}`, "compile"},
		"a file of a mode":                    {"policy/requirements/word/data.json", `{"mode": "observe"}`, "compile"},
		"a rule named input":                  {"policy/x.rego", "package policy\n\ninput := {}\n", "compile"},
		"a rule named data":                   {"policy/x.rego", "package policy\n\ndata := {}\n", "compile"},
		"an import named input":               {"policy/x.rego", "package policy\n\nimport input.client as input\n", "parse"},
		"a rule that is weaker":               {"policy/x.rego", "package policy\n\nrequirements[\"word\"] := " + weak + " if input.method == \"POST\"\n", ""},
		"a rule named as a function":          {"policy/x.rego", "package policy\n\ncount(_) := 0\n\nobject.keys(_) := set()\n", ""},
		"imports of versions": {
			"policy/x.rego", "package policy\n\nimport rego.v1\n\nimport future.keywords.if\nimport data.policy.other as satisfied\n\n" +
				"x if satisfied\n", "",
		},
		"the package of the profile":      {"policy/x.rego", "package policy.scim.interop\n\nverdict := {\"allow\": true, \"violations\": []}\n", ""},
		"a package with another alphabet": {"policy/x.rego", "package policy[\"rfc7644\"][\"ſatisfied\"]\n\nverdict := true\n", ""},
		"an answer":                       {"policy/x.rego", "package policy\n\nallow := true\n\nverdict := {\"allow\": true, \"violations\": []}\n", ""},
		"another request for the rule": {
			"policy/x.rego", "package policy\n\nother := x if x := requirements with input as {}\n\nsatisfied contains id if some id, _ in other\n", "",
		},
		"no text in UTF-8": {
			"policy/x.rego", "package policy\n\nrequirements[\"odd\"] := {\"message\": `a\xff\xfeb`} if input.resource\n", "parse",
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := bundletest.With(bundletest.Files(1, "bad"), tt.file, tt.text)
			b, err := bundle.ReadUnverified(bundletest.Pack(files))
			var rules *policies.Rules
			if err == nil {
				rules, err = b.Compile(t.Context())
			}
			if stage(err) != tt.stage || tt.stage == "" && err != nil {
				t.Fatalf("%v, want a refusal at %q", err, tt.stage)
			}
			if err != nil {
				return
			}
			e.SetRules(map[string]*policies.Rules{"acme": rules})
			if v := e.Decide(t.Context(), create("bad")); v.Allow {
				t.Errorf("the rule does not hold any more: %+v", v)
			}
			in := create("good")
			in.Client.Scopes = nil
			if v := e.Decide(t.Context(), in); v.Allow {
				t.Errorf("the profile does not hold any more: %+v", v)
			}
		})
	}
}

// verdictOf judges the request to create a good user by rules and what else is in their bundle. It fails if that takes
// long.
func verdictOf(t *testing.T, e *policies.Engine, more fstest.MapFS, rules string) policies.Verdict {
	t.Helper()
	r, err := rulesOf(t, more, rules).Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.SetRules(map[string]*policies.Rules{"acme": r})
	began := time.Now()
	v := e.Decide(t.Context(), create("good"))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the rules took %s", took)
	}
	return v
}

// TestHugeAnswer: a requirement with a value that stands for more than there is memory gives no verdict, at once.
func TestHugeAnswer(t *testing.T) {
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, detail := range []string{`{"message": x4}`, `{"message": "m", "status": x4}`, `{"message": "m", "ops": x4}`, `{"message": "m", x4: 1}`, "x4"} {
		v := verdictOf(t, e, nil, `x0 := split(sprintf("%1000d", [1]), "")
x1 := [x0 | some _ in x0]
x2 := [x1 | some _ in x0]
x3 := [x2 | some _ in x0]
x4 := [x3 | some _ in x0]

requirements["a"] := `+detail+` if input.resource.userName

satisfied contains "a" if input.resource.title
`)
		if v.Allow || v.Failure != policies.FailureResult {
			t.Errorf("%s: %+v", detail, v)
		}
	}
}

// TestManyOperations: however many operations the requirements of one request name, the verdict has few of them, and
// takes neither long nor much memory.
func TestManyOperations(t *testing.T) {
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		ops     int
		failure string
	}{
		"as many as there may be": {10_000, ""},
		"a file of them":          {900_000, policies.FailureResult},
	} {
		list := strings.TrimSuffix(strings.Repeat("1,0,", tt.ops/2), ",")
		v := verdictOf(t, e, fstest.MapFS{"policy/data.json": {Data: []byte(`{"ops": [` + list + `]}`)}},
			`requirements[id] := {"message": "m", "ops": data.policy.ops} if {
	input.resource.userName
	some i, _ in split(sprintf("%199d", [1]), "")
	id := sprintf("r%d", [i])
}

satisfied contains "a" if input.resource.title
`)
		if v.Allow || v.Failure != tt.failure || len(v.Violations) > 300 {
			t.Errorf("%s: %d violations, failure %q", name, len(v.Violations), v.Failure)
		}
	}
}
