package policies_test

import (
	"bytes"
	"cmp"
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

// prefixes of the ids, by profile.
var prefixes = map[string]string{
	"ipsie-il1": "IL1-", "ipsie-al-draft-00": "AL-", "scim-interop-01": "IOP-", "rfc7644": "RFC7644-",
}

// rulesOf lists the ids that a profile can require of a request, and those it can prove: the ids of the heads
// of `satisfied`.
func rulesOf(t *testing.T, profile string) (required, satisfied map[string]bool) {
	t.Helper()
	required, satisfied = map[string]bool{}, map[string]bool{}
	for path, m := range product(regoFiles(t)) {
		if !slices.Contains(policies.Dirs(profile), filepath.ToSlash(filepath.Dir(path))) {
			continue
		}
		for _, rule := range m.Rules {
			switch rule.Head.Ref()[0].Value.String() {
			case "required", "_of_route":
				rego.WalkTerms(rule.Head.Value, func(term *rego.Term) bool {
					if s, ok := term.Value.(rego.String); ok && strings.Contains(string(s), "-") {
						required[string(s)] = true
					}
					return false
				})
			case "satisfied":
				if s, ok := rule.Head.Key.Value.(rego.String); ok { // otherwise those of another profile
					satisfied[string(s)] = true
				}
			}
		}
	}
	if len(required) == 0 || len(satisfied) == 0 {
		t.Fatalf("found no rules of %q", profile)
	}
	return required, satisfied
}

// Every line of a profile has a proof that exists, or says what is missing.
func TestRequirementsAreProved(t *testing.T) {
	tests := map[string]map[string]bool{}
	for _, profile := range policies.Profiles() {
		rules, _ := rulesOf(t, profile)
		for _, r := range policies.Requirements(profile) {
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
			if len(r.Rules)+len(r.Tests) == 0 && !r.ClientOnly() && r.Missing == "" {
				t.Errorf("%s: neither a rule nor a test", r.ID)
			}
		}
	}
}

// Every rule belongs to a line of its profile, and no rule is dead.
func TestRulesAreRequirements(t *testing.T) {
	for _, profile := range policies.Profiles() {
		required, satisfied := rulesOf(t, profile)
		listed := map[string]bool{}
		for _, r := range policies.Requirements(profile) {
			for _, rule := range r.Rules {
				own := strings.HasPrefix(rule, prefixes[profile])
				listed[rule] = listed[rule] || !own || rule == r.ID
			}
		}
		for rule := range required {
			if !listed[rule] {
				t.Errorf("%s: rule %s is not a requirement that names it", profile, rule)
			}
		}
		for rule := range satisfied {
			if !required[rule] {
				t.Errorf("%s: rule %s is never required", profile, rule)
			}
		}
		// What nothing can satisfy is a refusal on purpose.
		for rule := range required {
			if refusal := strings.HasSuffix(rule, "-patch"); satisfied[rule] == refusal {
				t.Errorf("%s: rule %s: satisfiable %v, want %v", profile, rule, satisfied[rule], !refusal)
			}
		}
	}
}

func TestRequirementsAreWellFormed(t *testing.T) {
	for _, profile := range policies.Profiles() {
		t.Run(profile, func(t *testing.T) { wellFormed(t, profile) })
	}
}

func wellFormed(t *testing.T, profile string) {
	t.Helper()
	list := policies.Requirements(profile)
	if len(list) < 20 {
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
		if !strings.HasPrefix(r.ID, prefixes[profile]+r.Section+"-") {
			t.Errorf("%s: section %q is not in the id", r.ID, r.Section)
		}
		if compareSections(r.Section, last) < 0 {
			t.Errorf("%s: section %s after %s", r.ID, r.Section, last)
		}
		last = r.Section
		if !slices.Contains([]string{"must", "shall", "should", "may"}, r.Level) {
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
	b, err := os.ReadFile("requirements/" + profile + ".json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&[]policies.Requirement{}); err != nil {
		t.Error(err)
	}
}

// compareSections compares "3.10" and "3.2" by their numbers.
func compareSections(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		return cmp.Or(len(a)-len(b), cmp.Compare(a, b))
	})
}

// Every section of IL1 that demands something is on the list.
func TestRequirementsCoverSections(t *testing.T) {
	have := map[string]bool{}
	for _, r := range policies.Requirements(policies.DefaultProfile) {
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

// TestPagesAreCurrent: the generated pages of docs are what gendocs writes, and have every line.
func TestPagesAreCurrent(t *testing.T) {
	pages, err := page.All()
	if err != nil {
		t.Fatal(err)
	}
	again, err := page.All()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join("..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not current: run go run ./policies/gendocs", name)
		}
		if !bytes.Equal(want, again[name]) {
			t.Errorf("docs/%s differs between two runs", name)
		}
	}
	for _, profile := range policies.Profiles() {
		for _, r := range policies.Requirements(profile) {
			if !bytes.Contains(again[profile+".md"], []byte("**"+r.ID+"**")) {
				t.Errorf("%s is not on the page", r.ID)
			}
		}
	}
}
