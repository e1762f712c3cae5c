package policies_test

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// fullInput has a value in every field.
func fullInput(t *testing.T) *policies.Input {
	t.Helper()
	d, err := policies.NewDialect("ipsie-il1", "entra")
	if err != nil {
		t.Fatal(err)
	}
	recent := policies.Recent{Minute: 1, TenMinutes: 2, Hour: 3}
	path := scim.Path{Attr: "title"}
	in := &policies.Input{
		Profile: "ipsie-il1", Tenant: "acme", Client: client(), Dialect: d, Method: "PATCH", Route: "PATCH /Users/{id}",
		ResourceType: "User", ResourceID: "U1", Resource: scim.Object{"a": "b"}, Stored: scim.Object{"a": "b"},
		Result:     scim.Object{"a": "b"},
		Raw:        []scim.RawOp{{Op: "Add", Path: "title", HasPath: true, Value: "x", HasValue: true}},
		Canonical:  []scim.Op{{Kind: "add", Path: path, Target: "title", Value: "x", HasValue: true}},
		Deviations: []scim.Deviation{{Code: "OP_CASE", Op: 0}},
		Query:      &scim.Query{Filter: parseFilter(t, "id pr"), Attributes: []string{"a"}, Excluded: []string{"b"}},
		Size:       9, Final: true, Received: time.Date(2026, 3, 1, 9, 0, 0, 7, time.FixedZone("", 3600)),
		Groups:  &policies.Groups{List: []policies.Group{{ID: "G1", DisplayName: "Breakglass"}}, Complete: true},
		Members: &policies.Members{Stored: 2, Result: 3},
		Counts: &policies.Counts{
			Users: 7, Creates: recent, Deactivations: recent, Deletions: recent, GroupChanges: recent, Complete: true,
		},
	}
	in.Client.Label = "idp"
	v := reflect.ValueOf(*in)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Facts" { // where Groups and Counts come from
			t.Fatalf("Input.%s is empty: give it a value here", name)
		}
	}
	return in
}

// membersOf lists the members of a document: "client.id", "raw[].op".
func membersOf(prefix string, v any, out map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			at := strings.TrimPrefix(prefix+"."+name, ".")
			out[at] = true
			if !slices.Contains([]string{"resource", "stored", "result", "modes"}, at) {
				membersOf(at, value, out)
			}
		}
	case []any:
		for _, one := range v {
			membersOf(prefix+"[]", one, out)
		}
	}
}

// TestInputSchema: the document that is built from the Go types has every member of the schema, and no other.
func TestInputSchema(t *testing.T) {
	built, err := policies.BuildInput(fullInput(t))
	if err != nil {
		t.Fatal(err)
	}
	document, err := ast.JSON(built)
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[string]bool{}, map[string]bool{}
	membersOf("", document, got)
	for _, m := range policies.InputMembers() {
		want[m.Name] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("members of the document (-schema +built):\n%s", diff)
	}
	if d, ok := document.(map[string]any); !ok || d["version"] != json.Number("1") || d["received"] != "2026-03-01T08:00:00Z" {
		t.Errorf("the document is %v, want version 1 and the time in UTC", document)
	}
}

// TestInputSchemaDescribes: every member of the schema has a type that fits what is built, and a description.
func TestInputSchemaDescribes(t *testing.T) {
	for _, m := range policies.InputMembers() {
		if m.Text == "" || m.Type == "" {
			t.Errorf("%s: type %q, description %q", m.Name, m.Type, m.Text)
		}
	}
}

// bundleRules compiles rules of a tenant.
func bundleRules(tb testing.TB, rego string) (*policies.Rules, error) {
	tb.Helper()
	m, err := ast.ParseModuleWithOpts("policy/rules.rego", "package policy\n\n"+rego, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		tb.Fatal(err)
	}
	return policies.NewRules(tb.Context(), policies.RulesOptions{
		Revision: "test", Modules: map[string]*ast.Module{"policy/rules.rego": m},
	})
}

// need returns a rule that violates need-x unless a condition holds.
func need(condition string) string {
	return `requirements["x"] := {"message": "m", "fix": "f"} if true
satisfied contains "x" if { ` + condition + ` }`
}

// TestMisspeltInputDoesNotCompile: rules that name what the input does not have are refused, with the name, the place
// and the names that there are.
func TestMisspeltInputDoesNotCompile(t *testing.T) {
	for ref, name := range map[string]string{
		"input.stord.active": "stord", "input.client.idd": "idd", "input.groups[_].name": "name", "input.operations": "operations",
		`input.counts.deactivations["5m"]`: "5m", "input.canonical[_].kind": "kind", `input.counts.deletes["1m"]`: "deletes",
		"input.member_count.before": "before",
	} {
		_, err := bundleRules(t, need(ref+" == 1"))
		for _, want := range []string{"policy/rules.rego:4", `"` + name + `"`, "docs/policy-input.md"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s in it", ref, err, want)
			}
		}
	}
	for _, ref := range []string{
		`input.stored["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"].costCenter`, "input.version",
		"input.result.active", `input.counts.deactivations["10m"]`, "input.groups[_].displayName", "input.canonical[_].value.x",
		"input.received", "input.groups_complete", "input.modes.some", "input.member_count.stored",
		`input.counts.deactivations["10m"] >= max([50, (input.counts.users * 5) / 100])`, // of docs/policy-input.md
	} {
		if _, err := bundleRules(t, need("_ := "+ref)); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestExamplesOfThePageCompile: the rules that docs/policy-input.md shows compile.
func TestExamplesOfThePageCompile(t *testing.T) {
	page, err := os.ReadFile("../docs/policy-input.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := ""
	for _, m := range regexp.MustCompile(`(?m)^    requirements\[(.*\n)+?    }\n`).FindAllString(string(page), -1) {
		rules += m
	}
	if strings.Count(rules, "member_count") < 3 {
		t.Fatalf("the page shows no rules about members: %s", rules)
	}
	if _, err := bundleRules(t, rules+"satisfied contains \"never\" if false"); err != nil {
		t.Error(err)
	}
}
