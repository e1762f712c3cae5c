package scim_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// TestCodesAreComplete: every Dev constant has one description, which is one sentence or two.
func TestCodesAreComplete(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Dev") {
			lit, _ := spec.Values[0].(*ast.BasicLit)
			code, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			constants[code] = true
		}
		return true
	})
	for _, c := range scim.Codes() {
		if !constants[c.Name] {
			t.Errorf("%s is described twice, or has no constant", c.Name)
		}
		delete(constants, c.Name)
		if c.Accepted == "" || !strings.HasSuffix(c.Text, ".") {
			t.Errorf("%s: %q, %q: want an acceptance and a sentence", c.Name, c.Accepted, c.Text)
		}
	}
	for code := range constants {
		t.Errorf("%s has no description in Codes", code)
	}
}

// TestModeMerge: a merged mode accepts what either accepts, and the zero mode changes nothing.
func TestModeMerge(t *testing.T) {
	t.Parallel()
	a := scim.Mode{Accept: []string{"VALUE_ARRAY", "BARE_VALUE"}, UnknownSchemas: []string{"urn:a"}}
	b := scim.Mode{Accept: []string{"BARE_VALUE"}, UnknownSchemas: []string{"URN:A", "urn:b"}, UnknownAttributes: []string{"x"}}
	same(t, a.Merge(b), scim.Mode{
		Accept: []string{"BARE_VALUE", "VALUE_ARRAY"}, UnknownSchemas: []string{"urn:a", "urn:b"}, UnknownAttributes: []string{"x"},
	})
	same(t, scim.Mode{}.Merge(scim.Mode{}), scim.Mode{})
	same(t, a.Accept, []string{"VALUE_ARRAY", "BARE_VALUE"})
}

// TestModeCheck: a mode that could not do what its author means is refused.
func TestModeCheck(t *testing.T) {
	t.Parallel()
	if err := lenient().Check(); err != nil {
		t.Errorf("Check of the lenient mode = %v, want no error", err)
	}
	for name, m := range map[string]scim.Mode{
		"NOTHING":                     {Accept: []string{"NOTHING"}},
		"always":                      {Accept: []string{scim.DevOpCase}},
		"never":                       {Accept: []string{scim.DevLookalike}},
		"when named":                  {Accept: []string{scim.DevUnknownDropped}},
		"a name is empty":             {UnknownAttributes: []string{""}},
		`"IsActive" looks like`:       {UnknownAttributes: []string{"IsActive"}},
		`"urn:x:accountEnabled"`:      {UnknownSchemas: []string{"urn:x:accountEnabled"}},
		"attribute or schema of User": {UnknownAttributes: []string{"name.givenname"}},
		"schema of Group":             {UnknownSchemas: []string{scim.GroupURN}},
		"schema of User":              {UnknownSchemas: []string{strings.ToLower(scim.EnterpriseUserURN)}},
	} {
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Check(%+v) = %v, want %s in it", m, err, name)
		}
	}
}

// TestUnknownIsNamed: an unknown attribute or schema is dropped only if the mode names it, at every place.
func TestUnknownIsNamed(t *testing.T) {
	t.Parallel()
	named := scim.Mode{
		UnknownSchemas:    []string{"urn:example:ext"},
		UnknownAttributes: []string{"badge", "emails.label", scim.EnterpriseUserURN + ":badge"},
	}
	for _, body := range []string{
		`"BADGE":{"color":"red"}`, `"urn:example:EXT":{"any":["thing"]}`, `"emails":[{"value":"a","Label":"x"}]`,
		`"` + entURN + `":{"badge":1}`,
	} {
		o := obj(t, userHead+`,`+body+`}`)
		got, devs, err := scim.Normalize(scim.UserType(), o, named)
		noError(t, err)
		if strings.Contains(strings.ToLower(text(got)), "badge") || codes(devs)[0] != scim.DevUnknownDropped {
			t.Errorf("Normalize(%s) = %s, %v, want it dropped", body, text(got), devs)
		}
		for _, m := range []scim.Mode{{}, accept(listed()...)} {
			_, _, err = scim.Normalize(scim.UserType(), o, m)
			wantError(t, err, 400, scim.TypeInvalidSyntax)
			same(t, err.Code, scim.DevUnknownDropped)
		}
	}
	for op, scimType := range map[string]string{
		`{"op":"replace","path":"badge","value":1}`:                              scim.TypeInvalidPath,
		`{"op":"add","path":"badge[type eq \"x\"].color","value":1}`:             scim.TypeInvalidPath,
		`{"op":"remove","path":"urn:example:ext:any"}`:                           scim.TypeInvalidPath,
		`{"op":"replace","path":"emails[type eq \"work\"].label","value":"x"}`:   scim.TypeInvalidPath,
		`{"op":"replace","value":{"badge":1}}`:                                   scim.TypeInvalidSyntax,
		`{"op":"replace","value":{"urn:example:ext":{"any":1}}}`:                 scim.TypeInvalidSyntax,
		`{"op":"replace","value":{"` + entURN + `:badge":1}}`:                    scim.TypeInvalidSyntax,
		`{"op":"add","path":"` + entURN + `","value":{"badge":1}}`:               scim.TypeInvalidSyntax,
		`{"op":"add","path":"emails","value":[{"value":"v","label":"x"}]}`:       scim.TypeInvalidSyntax,
		`{"op":"replace","path":"emails[type eq \"work\"]","value":{"label":1}}`: scim.TypeInvalidSyntax,
	} {
		raw := patchOps(t, `[`+op+`]`)
		_, devs, err := scim.Canonicalize(scim.UserType(), raw, named)
		noError(t, err)
		same(t, codes(devs)[len(devs)-1], scim.DevUnknownDropped)
		_, _, err = scim.Canonicalize(scim.UserType(), raw, accept(listed()...))
		wantError(t, err, 400, scimType)
		same(t, err.Code, scim.DevUnknownDropped)
	}
}

// TestRefusalNamesItsCode: a code alone accepts its deviation. All others together do not, and the error
// names the code.
func TestRefusalNamesItsCode(t *testing.T) {
	t.Parallel()
	for code, op := range map[string]string{
		scim.DevMissingURN:    `{"op":"remove","path":"manager"}`,
		scim.DevFilterSpace:   `{"op":"remove","path":"emails[type eq\"work\"]"}`,
		scim.DevBareValue:     `{"op":"remove","path":"emails[type eq work]"}`,
		scim.DevValueObject:   `{"op":"add","path":"emails","value":{"value":"x"}}`,
		scim.DevValueArray:    `{"op":"replace","path":"active","value":[false]}`,
		scim.DevValueString:   `{"op":"add","path":"` + entURN + `:manager","value":"m"}`,
		scim.DevValueWrapped:  `{"op":"replace","path":"active","value":{"value":false}}`,
		scim.DevBooleanString: `{"op":"replace","path":"active","value":"False"}`,
		scim.DevEmptyString:   `{"op":"replace","path":"` + entURN + `:manager","value":""}`,
		scim.DevJSONString:    `{"op":"add","path":"roles","value":[{"value":"{\"id\":\"i\"}"}]}`,
	} {
		raw := patchOps(t, `[`+op+`]`)
		others := scim.Mode{}
		for _, other := range listed() {
			if other != code {
				others.Accept = append(others.Accept, other)
			}
		}
		for _, m := range []scim.Mode{{}, others} {
			_, _, err := scim.Canonicalize(scim.UserType(), raw, m)
			if err == nil || err.Code != code || err.Status != 400 {
				t.Errorf("%s: error %+v, want 400 because of %s", op, err, code)
			}
		}
		_, devs, err := scim.Canonicalize(scim.UserType(), raw, accept(code))
		noError(t, err)
		if got := strings.Join(codes(devs), " "); !strings.Contains(got, code) {
			t.Errorf("%s: deviations %s, want %s", op, got, code)
		}
	}
}
