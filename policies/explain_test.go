package policies_test

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/policies"
)

func tenantRules(t *testing.T, text string) *policies.Rules {
	t.Helper()
	m, err := ast.ParseModuleWithOpts("policy/rules.rego", text, ast.ParserOptions{ProcessAnnotation: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := policies.NewRules(t.Context(), policies.RulesOptions{
		Revision: "r1", Modules: map[string]*ast.Module{"policy/rules.rego": m}, Data: map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const explained = `package policy

# METADATA
# title: Titles are known
requirements["title"] := {"message": "the title is unknown", "fix": "send another"} if input.method == "POST"

requirements["name"] := {"message": "a name is missing", "fix": "send one", "mode": "warn"} if input.method == "POST"

requirements["never"] := {"message": "no", "fix": "none"} if input.method == "PATCH"

satisfied contains "title" if {
	is_string(input.resource.title)
	input.resource.title in {"Dr", "Prof"}
}

satisfied contains "title" if input.resource.userType == "robot"

satisfied contains id if {
	some id in ["name", "other"]
	input.resource[id] != ""
}
`

// TestExplain: each requirement of a request has the line that proves it, or the lines that do not hold.
func TestExplain(t *testing.T) {
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rules := tenantRules(t, explained)
	request := func(resource string) string {
		return `{"profile":"rfc7644","tenant":"acme","client":{"id":"c","issuer":"https://i","scopes":["scim"]},"modes":{},` +
			`"method":"POST","route":"POST /Users","resource_type":"User","resource_id":"","raw":[],"canonical":[],` +
			`"deviations":[],"query":{"filter":"","filter_shape":"","attributes":[],"excluded":[]},"resource":` + resource + `}`
	}
	for _, tt := range []struct {
		resource string
		allow    bool
		want     map[string]string // rule to outcome
	}{
		{`{"userName":"ada","title":"Dr","name":"x"}`, true, map[string]string{
			"policy/title": "proved 11", "policy/name": "proved 18",
		}},
		{`{"userName":"ada","title":"Mr","userType":"robot"}`, true, map[string]string{
			"policy/title": "proved 16", "policy/name": "failed 20",
		}},
		{`{"userName":"ada","title":"Mr"}`, false, map[string]string{"policy/title": "failed 13,16"}},
		{`{"userName":"ada","title":7}`, false, map[string]string{"policy/title": "failed 12,16"}},
	} {
		doc, err := policies.ParseDocument([]byte(request(tt.resource)))
		if err != nil {
			t.Fatal(err)
		}
		j, err := e.Explain(t.Context(), "rfc7644", rules, doc)
		if err != nil {
			t.Fatal(err)
		}
		if j.Allow != tt.allow || !strings.HasSuffix(j.Revision, " r1") {
			t.Errorf("%s: allow %v, revision %s, want %v", tt.resource, j.Allow, j.Revision, tt.allow)
		}
		seen := map[string]string{}
		for _, p := range j.Requirements {
			word, lines := "proved ", p.Proved
			if !p.Satisfied {
				word, lines = "failed ", p.Failed
			}
			if p.Satisfied != (len(p.Violations) == 0) || len(lines) == 0 {
				t.Errorf("%s: %+v", tt.resource, p)
			}
			var at []string
			for _, l := range lines {
				at = append(at, l.String()[strings.LastIndex(l.String(), ":")+1:])
			}
			seen[p.Rule] = word + strings.Join(at, ",")
		}
		for rule, want := range tt.want {
			if seen[rule] != want {
				t.Errorf("%s: %s is %q, want %q", tt.resource, rule, seen[rule], want)
			}
		}
		if _, there := seen["policy/never"]; there || len(seen) < 4 {
			t.Errorf("%s: %v, want those of the profile and two of the tenant", tt.resource, seen)
		}
	}
}

// TestExplainAgrees: for every shipped profile and an empty request, Explain has the verdict of Decide.
func TestExplainAgrees(t *testing.T) {
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range policies.Profiles() {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			in := &policies.Input{Profile: profile, Tenant: "acme", Method: method, Route: method + " /Users"}
			doc, err := policies.BuildInput(in)
			if err != nil {
				t.Fatal(err)
			}
			j, err := e.Explain(t.Context(), profile, nil, doc)
			if err != nil {
				t.Fatal(err)
			}
			v := e.Decide(t.Context(), in)
			n := 0
			for _, p := range j.Requirements {
				n += len(p.Violations)
			}
			if j.Allow != v.Allow || n != len(v.Violations) || j.Revision != v.Revision {
				t.Errorf("%s %s: %+v, want %+v", profile, method, j, v)
			}
		}
	}
	if _, err := e.Explain(t.Context(), "none", nil, ast.NewObject()); err == nil {
		t.Error("an unknown profile is explained")
	}
}

// TestDocument: a rule is found by its id with title, answer and places, for a tenant and for each profile.
func TestDocument(t *testing.T) {
	docs := tenantRules(t, explained).Document()
	if len(docs) != 3 || docs[2].Rule != "policy/title" {
		t.Fatalf("%+v, want three rules", docs)
	}
	d := docs[2]
	if d.Title != "Titles are known" || d.Message != "the title is unknown" || d.Fix != "send another" ||
		len(d.Required) != 1 || d.Required[0].Line != 5 || len(d.Proved) != 2 || d.Proved[1].Line != 16 {
		t.Errorf("%+v", d)
	}
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range policies.Profiles() {
		docs := e.DocumentProfile(profile)
		if len(docs) < 5 {
			t.Errorf("%s has %d documented rules", profile, len(docs))
		}
		for _, d := range docs {
			if d.Title == "" || d.Text == "" || len(d.Proved) == 0 {
				t.Errorf("%s: %+v, want title, text and place", profile, d)
			}
		}
	}
	if docs := e.DocumentProfile("none"); docs != nil {
		t.Errorf("an unknown profile has %v", docs)
	}
}
