package policies_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rego "github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/gendocs/page"
)

// goTests lists the test and fuzz functions of one package of this module.
func goTests(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}

// il1Rules lists the ids that the profile can require of a request, and those it can
// prove: the ids of the heads of `satisfied`.
func il1Rules(t *testing.T) (required, satisfied map[string]bool) {
	t.Helper()
	required, satisfied = map[string]bool{}, map[string]bool{}
	for path, m := range product(regoFiles(t)) {
		if !strings.HasPrefix(path, "ipsie/il1/") {
			continue
		}
		for _, rule := range m.Rules {
			switch rule.Head.Ref()[0].Value.String() {
			case "required", "_of_route":
				rego.WalkTerms(rule.Head.Value, func(term *rego.Term) bool {
					if s, ok := term.Value.(rego.String); ok {
						required[string(s)] = true
					}
					return false
				})
			case "satisfied":
				s, ok := rule.Head.Key.Value.(rego.String)
				if !ok {
					t.Fatalf("%s: satisfied contains %v, not an id", path, rule.Head.Key)
				}
				satisfied[string(s)] = true
			}
		}
	}
	if len(required) == 0 || len(satisfied) == 0 {
		t.Fatal("found no rules")
	}
	return required, satisfied
}

// Every line of the profile has a proof that exists.
func TestRequirementsAreProved(t *testing.T) {
	rules, _ := il1Rules(t)
	tests := map[string]map[string]bool{}
	for _, r := range policies.Requirements() {
		for _, rule := range r.Rules {
			if !rules[rule] {
				t.Errorf("%s: there is no rule %s", r.ID, rule)
			}
		}
		for _, name := range r.Tests {
			pkg, fn, ok := strings.Cut(name, ":")
			if !ok || pkg == "" || strings.Contains(pkg, "..") {
				t.Errorf("%s: %q is not package:Test", r.ID, name)
				continue
			}
			if tests[pkg] == nil {
				tests[pkg] = goTests(t, pkg)
			}
			if !tests[pkg][fn] {
				t.Errorf("%s: there is no test %s in %s", r.ID, fn, pkg)
			}
		}
		if len(r.Rules)+len(r.Tests) == 0 && !r.ClientOnly() {
			t.Errorf("%s: neither a rule nor a test", r.ID)
		}
	}
}

// Every rule belongs to a line of the profile, and no rule is dead.
func TestRulesAreRequirements(t *testing.T) {
	required, satisfied := il1Rules(t)
	listed := map[string]bool{}
	for _, r := range policies.Requirements() {
		if len(r.Rules) > 0 && slices.Contains(r.Rules, r.ID) {
			listed[r.ID] = true
		}
	}
	for rule := range required {
		if !listed[rule] {
			t.Errorf("rule %s is not a requirement that names it", rule)
		}
	}
	for rule := range satisfied {
		if !required[rule] {
			t.Errorf("rule %s is never required", rule)
		}
	}
	// What nothing can satisfy is a refusal on purpose.
	for rule := range required {
		if refusal := strings.HasSuffix(rule, "-patch"); satisfied[rule] == refusal {
			t.Errorf("rule %s: satisfiable %v, want %v", rule, satisfied[rule], !refusal)
		}
	}
}

func TestRequirementsAreWellFormed(t *testing.T) {
	list := policies.Requirements()
	if len(list) < 40 {
		t.Fatalf("only %d requirements", len(list))
	}
	places := []policies.Place{
		policies.PlaceRego, policies.PlaceAuthz, policies.PlaceToken, policies.PlaceOAuth,
		policies.PlaceSCIMHTTP, policies.PlaceStore,
		policies.PlaceRevoke, policies.PlaceEnvoy, policies.PlaceDocs, policies.PlaceClient,
	}
	seen := map[string]bool{}
	last := ""
	for _, r := range list {
		if seen[r.ID] {
			t.Errorf("%s is listed twice", r.ID)
		}
		seen[r.ID] = true
		if !strings.HasPrefix(r.ID, "IL1-"+r.Section+"-") {
			t.Errorf("%s: section %q is not in the id", r.ID, r.Section)
		}
		if r.Section < last {
			t.Errorf("%s: section %s after %s", r.ID, r.Section, last)
		}
		last = r.Section
		if !slices.Contains([]string{"must", "shall", "should"}, r.Level) {
			t.Errorf("%s: level %q", r.ID, r.Level)
		}
		if len(r.Text) < 20 || !strings.HasSuffix(r.Text, ".") {
			t.Errorf("%s: text %q", r.ID, r.Text)
		}
		if len(r.Where) == 0 {
			t.Errorf("%s: held nowhere", r.ID)
		}
		for _, p := range r.Where {
			if !slices.Contains(places, p) {
				t.Errorf("%s: unknown place %q", r.ID, p)
			}
		}
		if (len(r.Rules) > 0) != slices.Contains(r.Where, policies.PlaceRego) {
			t.Errorf("%s: rules %v, held by %v", r.ID, r.Rules, r.Where)
		}
	}
	// No field that the Go type does not know.
	b, err := os.ReadFile("requirements.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&[]policies.Requirement{}); err != nil {
		t.Error(err)
	}
}

// Every section of the profile that demands something is on the list.
func TestRequirementsCoverSections(t *testing.T) {
	have := map[string]bool{}
	for _, r := range policies.Requirements() {
		have[r.Section] = true
	}
	for _, section := range []string{
		"3.1", "3.2.1", "3.2.2", "3.2.3", "3.2.4", "3.2.5", "3.2.6", "3.2.7", "3.2.8",
		"3.3", "3.3.1", "3.3.2", "3.3.3", "3.4.1", "3.4.2", "3.4.3", "4.0", "5.0",
	} {
		if !have[section] {
			t.Errorf("section %s has no requirement", section)
		}
	}
}

func TestConformancePageIsCurrent(t *testing.T) {
	got, err := os.ReadFile(filepath.Join("..", "docs", "ipsie-il1.md"))
	if err != nil {
		t.Fatal(err)
	}
	list := policies.Requirements()
	want := page.Render(list)
	if !bytes.Equal(got, want) {
		t.Error("docs/ipsie-il1.md is not current: run go run ./policies/gendocs")
	}
	if !bytes.Equal(want, page.Render(policies.Requirements())) {
		t.Error("the page differs between two runs")
	}
	for _, r := range list {
		if !bytes.Contains(want, []byte("**"+r.ID+"**")) {
			t.Errorf("%s is not on the page", r.ID)
		}
	}
}
