package policies_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/policies"
)

// rulesWithWrites compiles a bundle with the local writes of a JSON text.
func rulesWithWrites(t *testing.T, writes, rego string) (*policies.Rules, error) {
	t.Helper()
	m, err := ast.ParseModuleWithOpts("policy/rules.rego", "package policy\n\n"+need("true")+"\n"+rego,
		ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal([]byte(writes), &doc); err != nil {
		t.Fatal(err)
	}
	return policies.NewRules(t.Context(), policies.RulesOptions{
		Revision: "test", Modules: map[string]*ast.Module{"policy/rules.rego": m},
		Data: map[string]any{"policy": map[string]any{"local_writes": doc}},
	})
}

// TestLocalWritesOfBundle: the routes of a bundle are read as they are written, and a rule may read them too.
func TestLocalWritesOfBundle(t *testing.T) {
	r, err := rulesWithWrites(t, `{"wiki":[{"path":"/signup"},{"path":"/api/me","methods":["PUT"],"fields":["email"]}]}`,
		`requirements["y"] := {"message": "m"} if count(data.policy.local_writes.wiki) == 3`)
	if err != nil {
		t.Fatal(err)
	}
	want := policies.LocalWrites{
		"wiki": {{Path: "/signup"}, {Path: "/api/me", Methods: []string{"PUT"}, Fields: []string{"email"}}},
	}
	if diff := cmp.Diff(want, r.LocalWrites()); diff != "" {
		t.Errorf("local writes (-want +got):\n%s", diff)
	}
	if r, err := bundleRules(t, need("true")); err != nil || len(r.LocalWrites()) != 0 {
		t.Errorf("a bundle without any: %v %v", r.LocalWrites(), err)
	}
}

// TestBadLocalWrites: a bundle whose routes would not be denied as they are written is refused, with the place.
func TestBadLocalWrites(t *testing.T) {
	for _, c := range []struct{ doc, rego, want string }{
		{`[]`, "", `write {"APP": [{"path": "/signup"}]}`},
		{`{"wiki":{"path":"/x"}}`, "", "data.policy.local_writes"},
		{`{"wiki":[{"path":"/x","exempt":"allow"}]}`, "", `unknown field "exempt"`},
		{`{"wiki":[{"path":7}]}`, "", "data.policy.local_writes"},
		{`{"wiki":[{}]}`, "", "data.policy.local_writes.wiki[0].path: required"},
		{`{"wiki":[{"path":"/ok"},{"path":"signup"}]}`, "", `wiki[1].path: "signup" is not a path: write a plain path`},
		{`{"wiki":[{"path":"/u-{id}"}]}`, "", "would match only itself"},
		{`{"wiki":[{"path":"/u*/x"}]}`, "", "would match only itself"},
		{`{"wiki":[{"path":"/u**"}]}`, "", "would match only itself"},
		{`{"wiki":[{"path":"/people/**"}]}`, "", `the segment "**" would match only itself`},
		{`{"wiki":[{"path":"/people/{id}*"}]}`, "", `the segment "{id}*" would match only itself`},
		{`{"wiki":[{"path":"/x","methods":["post"]}]}`, "", `wiki[0].methods[0]: "post" is not a method`},
		{`{"wiki":[{"path":"/x","operations":["a b"]}]}`, "", `wiki[0].operations[0]: "a b" is no name in GraphQL`},
		{`{"wiki":[{"path":"/x","fields":["--"]}]}`, "", `wiki[0].fields[0]: "--" has no letter`},
		{`{"wiki":[{"path":"/` + strings.Repeat("x", 300) + `"}]}`, "", "at most 256 bytes"},
		{`{"wiki":[` + strings.Repeat(`{"path":"/x"},`, 200) + `{"path":"/x"}]}`, "", "201 routes, at most 200"},
	} {
		if _, err := rulesWithWrites(t, c.doc, c.rego); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %q", c.doc, err, c.want)
		}
	}
	_, err := bundleRules(t, need("true")+"\nlocal_writes := {\"wiki\": [{\"path\": \"/signup\"}]}")
	if want := "write them in policy/data.json"; err == nil || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("a rule of this name: %v, want %q", err, want)
	}
}

// TestOpenEnd: a star behind the start of the last segment is a good path.
func TestOpenEnd(t *testing.T) {
	w := policies.LocalWrite{Path: "/api/{v}/graphql*"}
	if faults := w.Faults(); len(faults) > 0 {
		t.Errorf("%s: %v", w.Path, faults)
	}
}
