package scim_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// patchOps decodes the operations of a test, given as the Operations array.
func patchOps(tb testing.TB, ops string) []scim.RawOp {
	tb.Helper()
	raw, err := scim.DecodePatch(obj(tb, `{"schemas":["`+scim.PatchURN+`"],"Operations":`+ops+`}`), scim.DefaultLimits())
	if err != nil {
		tb.Fatalf("DecodePatch(%s): %v", ops, err)
	}
	return raw
}

// TestDecodePatch: DecodePatch distinguishes absent, null and empty fields.
func TestDecodePatch(t *testing.T) {
	t.Parallel()
	raw := patchOps(t, `[{"op":"Add","path":"title","value":null},{"OP":"remove","Path":null},{"op":"remove","path":""}]`)
	same(t, raw, []scim.RawOp{
		{Op: "Add", Path: "title", HasPath: true, HasValue: true},
		{Op: "remove"},
		{Op: "remove", HasPath: true},
	})
}

// TestDecodePatchRefuses: malformed PatchOp messages are errors (RFC 7644 §3.5.2).
func TestDecodePatchRefuses(t *testing.T) {
	t.Parallel()
	const head = `{"schemas":["` + scim.PatchURN + `"],`
	for name, body := range map[string]string{
		"empty":             `{}`,
		"no schemas":        `{"Operations":[{"op":"remove","path":"title"}]}`,
		"empty schemas":     `{"schemas":[],"Operations":[{"op":"remove","path":"title"}]}`,
		"wrong schemas":     `{"schemas":["` + scim.UserURN + `"],"Operations":[{"op":"remove","path":"title"}]}`,
		"schemas twice":     `{"schemas":["` + scim.PatchURN + `","` + scim.PatchURN + `"],"Operations":[{"op":"remove","path":"title"}]}`,
		"schemas a string":  `{"schemas":"` + scim.PatchURN + `","Operations":[{"op":"remove","path":"title"}]}`,
		"no operations":     head + `"x":1}`,
		"operations absent": `{"schemas":["` + scim.PatchURN + `"]}`,
		"operations empty":  head + `"Operations":[]}`,
		"operations object": head + `"Operations":{"op":"remove"}}`,
		"operations null":   head + `"Operations":null}`,
		"operation null":    head + `"Operations":[null]}`,
		"operation string":  head + `"Operations":["remove"]}`,
		"op absent":         head + `"Operations":[{"path":"title"}]}`,
		"op null":           head + `"Operations":[{"op":null,"path":"title"}]}`,
		"op a number":       head + `"Operations":[{"op":1,"path":"title"}]}`,
		"path a number":     head + `"Operations":[{"op":"remove","path":1}]}`,
		"misspelt value":    head + `"Operations":[{"op":"remove","path":"members","vaule":[{"value":"U1"}]}]}`,
		"foreign key":       head + `"Operations":[{"op":"remove","path":"title"}],"attributes":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := scim.DecodePatch(obj(t, body), scim.DefaultLimits())
			wantError(t, err, 400, scim.TypeInvalidSyntax)
		})
	}
	l := scim.DefaultLimits()
	l.Operations = 2
	body := obj(t, head+`"Operations":[`+
		strings.Repeat(`{"op":"remove","path":"title"},`, 2)+`{"op":"remove","path":"title"}]}`)
	_, err := scim.DecodePatch(body, l)
	wantError(t, err, 400, scim.TypeInvalidValue)
}

// show renders canonical operations one a line: "add members [{"value":"U1"}]".
func show(ops []scim.Op) []string {
	out := []string{}
	for _, op := range ops {
		line := string(op.Kind) + " " + op.Path.String()
		if op.HasValue {
			encoded := string(scim.Encode(scim.Object{"v": op.Value}))
			line += " " + strings.TrimSuffix(strings.TrimPrefix(encoded, `{"v":`), "}")
		}
		out = append(out, line)
	}
	return out
}

type canonicalCase struct {
	name string
	typ  *scim.ResourceType
	ops  string
	want []string
	devs []string
	mode scim.Mode
}

// groupShapes are the forms in which identity services change a group (IL1 §3.3.3 and
// others).
func groupShapes() []canonicalCase {
	g := scim.GroupType()
	const (
		add  = `add members [{"value":"U1"}]`
		del  = `remove members[value eq "U1"]`
		del2 = `remove members[value eq "U2"]`
	)
	return []canonicalCase{
		{name: "IL1 add", typ: g, ops: `[{"op":"add","path":"members","value":[{"value":"U1"}]}]`, want: []string{add}},
		{name: "IL1 remove", typ: g, ops: `[{"op":"remove","path":"members[value eq \"U1\"]"}]`, want: []string{del}},
		{name: "IL1 remove all", typ: g, ops: `[{"op":"remove","path":"members"}]`, want: []string{"remove members"}},
		{name: "Entra remove", typ: g, ops: `[{"op":"Remove","path":"members","value":[{"$ref":null,"value":"U1"},{"value":"U2"}]}]`, want: []string{del, del2}, devs: []string{"OP_CASE", "REMOVE_VALUE_ARRAY", "NULL_DROPPED"}},
		{name: "remove with an object", typ: g, ops: `[{"op":"remove","path":"members","value":{"value":"U1"}}]`, want: []string{del}, devs: []string{"REMOVE_VALUE_ARRAY"}},
		{name: "remove with a string", typ: g, ops: `[{"op":"remove","path":"members","value":"U1"}]`, want: []string{del}, devs: []string{"REMOVE_VALUE_ARRAY", "MEMBER_STRING"}},
		{name: "Entra add", typ: g, ops: `[{"op":"Add","path":"members","value":[{"$ref":null,"value":"U1"}]}]`, want: []string{add}, devs: []string{"OP_CASE", "NULL_DROPPED"}},
		{name: "Entra rename", typ: g, ops: `[{"op":"Replace","path":"displayName","value":"G2"}]`, want: []string{`replace displayName "G2"`}, devs: []string{"OP_CASE"}},
		{name: "Okta rename", typ: g, ops: `[{"op":"replace","value":{"id":"G1","displayName":"G"}}]`, want: []string{`replace displayName "G"`}, devs: []string{"PATHLESS", "READONLY_DROPPED"}},
		{name: "replace all", typ: g, ops: `[{"op":"replace","path":"members","value":[{"value":"U1"},{"value":"U2"},{"value":"U1"}]}]`, want: []string{`replace members [{"value":"U1"},{"value":"U2"}]`}},
		{name: "replace with none", typ: g, ops: `[{"op":"replace","path":"members","value":[]}]`, want: []string{`replace members []`}},
		{name: "Okta empty", typ: g, ops: `[{"op":"replace","value":{"members":[],"id":"G1","displayName":"G"}}]`, want: []string{`replace displayName "G"`, `replace members []`}, devs: []string{"PATHLESS", "READONLY_DROPPED"}},
		{name: "path-less add", typ: g, ops: `[{"op":"add","value":{"members":[{"value":"U1"}]}}]`, want: []string{add}, devs: []string{"PATHLESS"}},
		{name: "object", typ: g, ops: `[{"op":"add","path":"members","value":{"value":"U1"}}]`, want: []string{add}, devs: []string{"MEMBER_OBJECT"}},
		{name: "strings", typ: g, ops: `[{"op":"add","path":"members","value":["U1"]}]`, want: []string{add}, devs: []string{"MEMBER_STRING"}},
		{name: "string", typ: g, ops: `[{"op":"add","path":"members","value":"U1"}]`, want: []string{add}, devs: []string{"MEMBER_STRING"}},
		{name: "core urn", typ: g, ops: `[{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:Group:members","value":[{"value":"U1"}]}]`, want: []string{add}, devs: []string{"URN_PATH"}},
		{name: "case and spaces", typ: g, ops: `[{"op":"remove","path":"members[Value  EQ \"U1\"]"}]`, want: []string{del}, devs: []string{"FILTER_FORM"}},
		{name: "path case", typ: g, ops: `[{"op":"add","path":"Members","value":[{"value":"U1"}]}]`, want: []string{add}, devs: []string{"PATH_CASE"}},
		{name: "bare id", typ: g, ops: `[{"op":"remove","path":"members[value eq U1]"}]`, want: []string{del}, devs: []string{"BARE_VALUE", "FILTER_FORM"}, mode: accept("MISSING_URN", "BARE_VALUE", "BOOLEAN_STRING")},
		{name: "single quotes", typ: g, ops: `[{"op":"remove","path":"members[value eq 'U1']"}]`, want: []string{del}, devs: []string{"BARE_VALUE", "FILTER_FORM"}, mode: accept("MISSING_URN", "BARE_VALUE", "BOOLEAN_STRING")},
		{name: "batched", typ: g, ops: `[{"op":"remove","path":"members[value eq \"U1\" or value eq \"U2\"]"}]`, want: []string{del, del2}, devs: []string{"MEMBER_FILTER_OR"}},
		{name: "by display", typ: g, ops: `[{"op":"remove","path":"members[display eq \"x\"]"}]`, want: []string{`remove members[display eq "x"]`}, devs: []string{"MEMBER_FILTER_OTHER"}},
		{name: "by type", typ: g, ops: `[{"op":"remove","path":"members[type eq \"Group\"]"}]`, want: []string{`remove members[type eq "Group"]`}, devs: []string{"MEMBER_FILTER_OTHER"}},
		{name: "OneLogin add", typ: g, ops: `[{"op":"add","path":"members[value eq \"U1\"]","value":[{"value":"U1"}]}]`, want: []string{add}, devs: []string{"MEMBER_FILTER_ADD"}},
		{name: "filter and value", typ: g, ops: `[{"op":"remove","path":"members[value eq \"U1\"]","value":[{"value":"U2"}]}]`, want: []string{del}, devs: []string{"REMOVE_VALUE"}},
		{name: "add none", typ: g, ops: `[{"op":"add","path":"members","value":[]}]`, want: []string{`add members []`}},
	}
}

// userShapes are the forms in which identity services change a user (RFC 7644 §3.5.2 and
// others).
func userShapes() []canonicalCase {
	u := scim.UserType()
	return []canonicalCase{
		{name: "Okta deactivate", typ: u, ops: `[{"op":"replace","value":{"active":false}}]`, want: []string{`replace active false`}, devs: []string{"PATHLESS"}},
		{name: "SailPoint deactivate", typ: u, ops: `[{"op":"add","value":{"active":false}}]`, want: []string{`add active false`}, devs: []string{"PATHLESS"}},
		{name: "urn path", typ: u, ops: `[{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":false}]`, want: []string{`replace active false`}, devs: []string{"URN_PATH"}},
		{name: "Entra deactivate", typ: u, ops: `[{"op":"Replace","path":"active","value":"False"}]`, want: []string{`replace active false`}, devs: []string{"OP_CASE", "BOOLEAN_STRING"}, mode: coerce()},
		{name: "boolean in array", typ: u, ops: `[{"op":"replace","path":"active","value":[false]}]`, want: []string{`replace active false`}, devs: []string{"VALUE_ARRAY"}, mode: coerce()},
		{name: "dotted keys", typ: u, ops: `[{"op":"replace","value":{"name.givenName":"A","name.familyName":"L"}}]`, want: []string{`replace name.familyName "L"`, `replace name.givenName "A"`}, devs: []string{"PATHLESS", "DOTTED_KEY"}},
		{name: "urn keys", typ: u, ops: `[{"op":"replace","value":{"` + entURN + `:department":"d","` + scim.UserURN + `:title":"t"}}]`, want: []string{`replace title "t"`, `replace ` + entURN + `:department "d"`}, devs: []string{"PATHLESS", "URN_PATH", "URN_KEY"}},
		{name: "filter keys", typ: u, ops: `[{"op":"replace","value":{"emails[type eq \"work\"].value":"x"}}]`, want: []string{`replace emails[type eq "work"].value "x"`}, devs: []string{"PATHLESS", "FILTER_KEY"}},
		{name: "extension key", typ: u, ops: `[{"op":"add","value":{"` + entURN + `":{"department":"d","manager":{"value":"m"}}}}]`, want: []string{`add ` + entURN + `:department "d"`, `add ` + entURN + `:manager {"value":"m"}`}, devs: []string{"PATHLESS"}},
		{name: "whole extension", typ: u, ops: `[{"op":"replace","path":"` + entURN + `","value":{"Department":"d"}}]`, want: []string{`replace ` + entURN + `:department "d"`}, devs: []string{"PATH_CASE"}},
		{name: "whole extension null", typ: u, ops: `[{"op":"replace","path":"` + entURN + `","value":null}]`, want: []string{`replace ` + entURN + ` null`}},
		{name: "whole extension removed", typ: u, ops: `[{"op":"remove","path":"` + entURN + `"}]`, want: []string{`remove ` + entURN}},
		{name: "null is unset", typ: u, ops: `[{"op":"replace","path":"title","value":null}]`, want: []string{`replace title null`}},
		{name: "null part", typ: u, ops: `[{"op":"replace","path":"name","value":{"givenName":"A","familyName":null}}]`, want: []string{`replace name.familyName null`, `replace name {"givenName":"A"}`}, devs: []string{"NULL_DROPPED"}},
		{name: "null part of an add", typ: u, ops: `[{"op":"add","path":"name","value":{"givenName":"A","familyName":null}}]`, want: []string{`add name {"givenName":"A"}`}, devs: []string{"NULL_DROPPED"}},
		{name: "manager without urn", typ: u, ops: `[{"op":"remove","path":"manager[value eq \"m\"]"}]`, want: []string{`remove ` + entURN + `:manager[value eq "m"]`}, devs: []string{"MISSING_URN", "SINGLE_FILTER"}, mode: accept("MISSING_URN", "BARE_VALUE", "BOOLEAN_STRING")},
		{name: "manager emptied", typ: u, ops: `[{"op":"Replace","path":"` + entURN + `:manager","value":""}]`, want: []string{`replace ` + entURN + `:manager null`}, devs: []string{"OP_CASE", "EMPTY_STRING"}, mode: coerce()},
		{name: "manager as a string", typ: u, ops: `[{"op":"add","path":"` + entURN + `:manager","value":"m"}]`, want: []string{`add ` + entURN + `:manager {"value":"m"}`}, devs: []string{"VALUE_STRING"}, mode: coerce()},
		{name: "manager name is ignored", typ: u, ops: `[{"op":"replace","path":"` + entURN + `:manager","value":{"value":"m","displayName":"B"}}]`, want: []string{`replace ` + entURN + `:manager {"value":"m"}`}, devs: []string{"READONLY_DROPPED"}},
		{name: "removal with a value", typ: u, ops: `[{"op":"Remove","path":"emails[type eq \"other\"].value","value":"x"}]`, want: []string{`remove emails[type eq "other"].value`}, devs: []string{"OP_CASE", "REMOVE_VALUE"}},
		{name: "removal of a single with a value", typ: u, ops: `[{"op":"remove","path":"title","value":"x"}]`, want: []string{`remove title`}, devs: []string{"REMOVE_VALUE"}},
		{name: "listed removal", typ: u, ops: `[{"op":"remove","path":"emails","value":[{"value":"a","type":"work"},{"value":"b"}]}]`, want: []string{`remove emails[value eq "a" and type eq "work"]`, `remove emails[value eq "b"]`}, devs: []string{"REMOVE_VALUE_ARRAY"}},
		{name: "emails as an object", typ: u, ops: `[{"op":"add","path":"emails","value":{"value":"a"}}]`, want: []string{`add emails [{"value":"a"}]`}, devs: []string{"VALUE_OBJECT"}, mode: coerce()},
		{name: "Entra roles", typ: u, ops: `[{"op":"Add","path":"roles[primary eq \"True\"].value","value":"r"}]`, want: []string{`add roles[primary eq true].value "r"`}, devs: []string{"OP_CASE", "BOOLEAN_STRING", "FILTER_FORM"}, mode: accept("MISSING_URN", "BARE_VALUE", "BOOLEAN_STRING")},
		{name: "unknown dropped", typ: u, ops: `[{"op":"replace","value":{"nonsense":1,"title":"t"}}]`, want: []string{`replace title "t"`}, devs: []string{"PATHLESS", "UNKNOWN_DROPPED"}, mode: scim.Mode{UnknownAttributes: []string{"nonsense"}}},
	}
}

// TestCanonicalize: each form of an operation has its canonical form and its deviations.
func TestCanonicalize(t *testing.T) {
	t.Parallel()
	for _, tt := range append(groupShapes(), userShapes()...) {
		t.Run(tt.typ.Name+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			raw := patchOps(t, tt.ops)
			ops, devs, err := scim.Canonicalize(tt.typ, raw, tt.mode)
			noError(t, err)
			same(t, show(ops), tt.want)
			want := tt.devs
			if want == nil {
				want = []string{}
			}
			same(t, codes(devs), want)
			same(t, raw, patchOps(t, tt.ops)) // the input does not change
		})
	}
}

// TestCanonicalizeTargets: canonical operations name their target and the operation of the client.
func TestCanonicalizeTargets(t *testing.T) {
	t.Parallel()
	raw := patchOps(t,
		`[{"op":"add","path":"title","value":"t"},{"op":"replace","value":{"active":false,"`+entURN+`":{"manager":{"value":"m"}}}},{"op":"remove","path":"`+entURN+`"}]`)
	ops, devs, err := scim.Canonicalize(scim.UserType(), raw, scim.Mode{})
	noError(t, err)
	targets := []string{}
	raws := []int{}
	for _, op := range ops {
		targets = append(targets, op.Target)
		raws = append(raws, op.Raw)
	}
	same(t, targets, []string{"title", "active", entURN + ":manager", entURN})
	same(t, raws, []int{0, 1, 1, 2})
	same(t, devs, []scim.Deviation{{Code: "PATHLESS", Op: 1}})
}

// TestCanonicalizeRefuses: strict mode refuses an operation, names it in the detail, and names the
// deviation.
func TestCanonicalizeRefuses(t *testing.T) {
	t.Parallel()
	u, g := scim.UserType(), scim.GroupType()
	tests := []struct {
		name          string
		typ           *scim.ResourceType
		op            string
		scimType, dev string
	}{
		{"unknown op", u, `{"op":"delete","path":"title"}`, "invalidSyntax", ""},
		{"op with space", u, `{"op":"add ","path":"title","value":"x"}`, "invalidSyntax", ""},
		{"remove without path", u, `{"op":"remove"}`, "noTarget", "PATHLESS"},
		{"remove without path with value", u, `{"op":"remove","value":{"title":"x"}}`, "noTarget", "PATHLESS"},
		{"empty path", u, `{"op":"replace","path":"","value":"x"}`, "invalidPath", ""},
		{"unknown path", u, `{"op":"replace","path":"nonsense","value":"x"}`, "invalidPath", ""},
		{"unknown key", u, `{"op":"replace","value":{"nonsense":"x"}}`, "invalidSyntax", "UNKNOWN_DROPPED"},
		{"unknown dotted key", u, `{"op":"replace","value":{"name.nonsense":"x"}}`, "invalidSyntax", "UNKNOWN_DROPPED"},
		{"unknown urn key", u, `{"op":"replace","value":{"urn:x:title":"x"}}`, "invalidSyntax", "UNKNOWN_DROPPED"},
		{"bad filter key", u, `{"op":"replace","value":{"emails[type eq work].value":"x"}}`, "invalidFilter", "BARE_VALUE"},
		{"unknown in extension", u, `{"op":"add","path":"` + entURN + `","value":{"nonsense":"x"}}`, "invalidSyntax", "UNKNOWN_DROPPED"},
		{"unknown sub in value", u, `{"op":"add","path":"name","value":{"nonsense":"x"}}`, "invalidSyntax", "UNKNOWN_DROPPED"},
		{"no value", u, `{"op":"replace","path":"title"}`, "invalidValue", ""},
		{"no value, no path", u, `{"op":"add"}`, "invalidValue", "PATHLESS"},
		{"path-less string", u, `{"op":"replace","value":"x"}`, "invalidValue", "PATHLESS"},
		{"one attribute by two keys", u, `{"op":"replace","value":{"active":true,"` + scim.UserURN + `:active":false}}`, "invalidSyntax", "URN_PATH"},
		{"one part by two keys", u, `{"op":"replace","value":{"name":{"givenName":null},"name.givenName":"x"}}`, "invalidSyntax", "DOTTED_KEY"},
		{"path-less array", u, `{"op":"replace","value":[{"active":false}]}`, "invalidValue", "PATHLESS"},
		{"wrong type", u, `{"op":"replace","path":"title","value":1}`, "invalidValue", ""},
		{"string boolean", u, `{"op":"replace","path":"active","value":"False"}`, "invalidValue", "BOOLEAN_STRING"},
		{"boolean in array", u, `{"op":"replace","path":"active","value":[false]}`, "invalidValue", "VALUE_ARRAY"},
		{"emails as an object", u, `{"op":"add","path":"emails","value":{"value":"x"}}`, "invalidValue", "VALUE_OBJECT"},
		{"emails as a string", u, `{"op":"add","path":"emails","value":"x"}`, "invalidValue", "VALUE_OBJECT"},
		{"element as a string", u, `{"op":"replace","path":"emails[type eq \"work\"]","value":"x"}`, "invalidValue", "VALUE_STRING"},
		{"complex as a string", u, `{"op":"replace","path":"name","value":"x"}`, "invalidValue", ""},
		{"manager emptied", u, `{"op":"replace","path":"` + entURN + `:manager","value":""}`, "invalidValue", "EMPTY_STRING"},
		{"manager without urn", u, `{"op":"remove","path":"manager"}`, "invalidPath", "MISSING_URN"},
		{"two primary", u, `{"op":"add","path":"emails","value":[{"value":"a","primary":true},{"value":"b","primary":true}]}`, "invalidValue", ""},
		{"id", u, `{"op":"replace","path":"id","value":"x"}`, "mutability", ""},
		{"meta", u, `{"op":"replace","path":"meta.version","value":"x"}`, "mutability", ""},
		{"schemas", u, `{"op":"add","path":"schemas","value":["urn:x"]}`, "mutability", ""},
		{"groups", u, `{"op":"add","path":"groups","value":[{"value":"g"}]}`, "mutability", ""},
		{"groups path-less", u, `{"op":"replace","value":{"groups":[]}}`, "mutability", "PATHLESS"},
		{"manager name", u, `{"op":"replace","path":"` + entURN + `:manager.displayName","value":"x"}`, "mutability", ""},
		{"remove required", u, `{"op":"remove","path":"userName"}`, "mutability", ""},
		{"remove required of a group", g, `{"op":"remove","path":"displayName"}`, "mutability", ""},
		{"password", u, `{"op":"replace","path":"password","value":"x"}`, "invalidSyntax", ""},
		{"password path-less", u, `{"op":"replace","value":{"Password":"x"}}`, "invalidSyntax", "PASSWORD_DROPPED"},
		{"bad filter", u, `{"op":"remove","path":"emails[type eq]"}`, "invalidFilter", ""},
		// A removal with a value never removes all, not even with an empty list.
		{"remove members []", g, `{"op":"remove","path":"members","value":[]}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"replace members with null inside", g, `{"op":"replace","path":"members","value":[null]}`, "invalidValue", ""},
		{"replace emails with null inside", u, `{"op":"replace","path":"emails","value":[null]}`, "invalidValue", ""},
		{"path-less emails with null inside", u, `{"op":"replace","value":{"emails":[{"value":"a"},null]}}`, "invalidValue", "PATHLESS"},
		{"add nothing to emails", u, `{"op":"add","path":"emails","value":[{}]}`, "invalidValue", ""},
		{"replace emails by an empty element", u, `{"op":"replace","path":"emails","value":[{"value":null}]}`, "invalidValue", "NULL_DROPPED"},
		{"remove members null inside", g, `{"op":"remove","path":"members","value":[null]}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"remove members null", g, `{"op":"remove","path":"members","value":null}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"remove members [null]", g, `{"op":"remove","path":"members","value":[null]}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"remove members {}", g, `{"op":"remove","path":"members","value":{}}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"remove members true", g, `{"op":"remove","path":"members","value":true}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"remove emails []", u, `{"op":"remove","path":"emails","value":[]}`, "invalidValue", "REMOVE_VALUE_ARRAY"},
		{"bare member id", g, `{"op":"remove","path":"members[value eq U1]"}`, "invalidFilter", "BARE_VALUE"},
		{"no space", g, `{"op":"remove","path":"members[value eq\"U1\"]"}`, "invalidFilter", "FILTER_SPACE"},
		// RFC 7643 §4.2: members are immutable
		{"edit a member", g, `{"op":"replace","path":"members[value eq \"U1\"]","value":{"value":"U2"}}`, "mutability", ""},
		{"edit a member's value", g, `{"op":"replace","path":"members[value eq \"U1\"].value","value":"U2"}`, "mutability", ""},
		{"remove a member's value", g, `{"op":"remove","path":"members[value eq \"x\"].value"}`, "mutability", ""},
		{"remove all values", g, `{"op":"remove","path":"members.value"}`, "mutability", ""},
		{"member's display", g, `{"op":"replace","path":"members[value eq \"U1\"].display","value":"x"}`, "mutability", ""},
		{"member without value", g, `{"op":"add","path":"members","value":[{"display":"x"}]}`, "invalidValue", "READONLY_DROPPED"},
		{"member a number", g, `{"op":"add","path":"members","value":[1]}`, "invalidValue", ""},
		{"member nested", g, `{"op":"add","path":"members","value":[["U1"]]}`, "invalidValue", ""},
		{"members without value", g, `{"op":"add","path":"members"}`, "invalidValue", ""},
		{"add by display", g, `{"op":"add","path":"members[display eq \"x\"]","value":[]}`, "invalidFilter", "MEMBER_FILTER_OTHER"},
		{"add with two names", g, `{"op":"add","path":"members[value eq \"U1\"]","value":[{"value":"U2"}]}`, "invalidValue", "MEMBER_FILTER_ADD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ops, devs, err := scim.Canonicalize(tt.typ, patchOps(t,
				`[{"op":"add","path":"externalId","value":"x"},`+tt.op+`]`), scim.Mode{})
			wantError(t, err, 400, tt.scimType)
			if !strings.HasPrefix(err.Detail, "operation 2: ") {
				t.Errorf("the detail is %q, want it to name the operation", err.Detail)
			}
			if ops != nil {
				t.Errorf("Canonicalize = %v with the error, want nil", show(ops))
			}
			if got := strings.Join(codes(devs), " "); tt.dev != "" && !strings.Contains(got, tt.dev) {
				t.Errorf("the deviations are %q, want %s among them", got, tt.dev)
			}
		})
	}
}

// TestMemberChanges: MemberChanges splits the changes of members from the other operations.
func TestMemberChanges(t *testing.T) {
	t.Parallel()
	raw := patchOps(t, `[
	 {"op":"add","path":"members","value":[{"value":"U1","type":"User"},{"value":"G2","type":"group"}]},
	 {"op":"replace","path":"displayName","value":"New"},
	 {"op":"remove","path":"members[value eq \"U1\"]"},
	 {"op":"remove","path":"members"},
	 {"op":"replace","path":"members","value":[{"value":"U3"}]},
	 {"op":"replace","path":"members","value":null}]`)
	ops, _, err := scim.Canonicalize(scim.GroupType(), raw, scim.Mode{})
	noError(t, err)
	members, rest, err := scim.MemberChanges(ops)
	noError(t, err)
	same(t, members, []scim.MemberChange{
		{Kind: scim.OpAdd, IDs: []scim.Member{{ID: "U1", Type: "User"}, {ID: "G2", Type: "Group"}}},
		{Kind: scim.OpRemove, IDs: []scim.Member{{ID: "U1"}}},
		{Kind: scim.OpRemove, All: true},
		{Kind: scim.OpReplace, IDs: []scim.Member{{ID: "U3"}}},
		{Kind: scim.OpReplace, IDs: []scim.Member{}},
	})
	same(t, show(rest), []string{`replace displayName "New"`})

	ops, _, err = scim.Canonicalize(scim.GroupType(), patchOps(t,
		`[{"op":"remove","path":"members[type eq \"User\"]"}]`), scim.Mode{})
	noError(t, err)
	_, _, err = scim.MemberChanges(ops)
	wantError(t, err, 400, scim.TypeInvalidFilter)
}

// TestOnlyPlainRemoveMeansAll: only a removal without filter and value removes all members.
func TestOnlyPlainRemoveMeansAll(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`null`, `[]`, `{}`, `""`, `"U1"`, `["U1"]`, `[{"value":"U1"}]`, `{"value":"U1"}`, `[{"value":""}]`,
		`false`, `0`, `[null]`, `[[]]`, `{"members":[]}`,
	} {
		modes := []scim.Mode{{}, lenient()}
		for _, code := range listed() {
			modes = append(modes, accept(code))
		}
		for _, m := range modes {
			ops, _, err := scim.Canonicalize(scim.GroupType(), patchOps(t,
				`[{"op":"remove","path":"members","value":`+value+`}]`), m)
			if err != nil {
				continue
			}
			changes, _, err := scim.MemberChanges(ops)
			noError(t, err)
			for _, c := range changes {
				if c.All || c.Kind != scim.OpRemove || len(c.IDs) != 1 || c.IDs[0].ID != "U1" {
					t.Errorf("remove with the value %s became %+v, want no removal of all members", value, c)
				}
			}
		}
	}
}
