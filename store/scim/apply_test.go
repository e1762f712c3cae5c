package scim_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// apply runs operations of a test on the resource text.
func apply(tb testing.TB, typ *scim.ResourceType, resource, ops string, m scim.Mode) (scim.Object, bool, *scim.Error) {
	tb.Helper()
	o := obj(tb, resource)
	canonical, _, err := scim.Canonicalize(typ, patchOps(tb, ops), m)
	if err != nil {
		tb.Fatalf("Canonicalize(%s): %v", ops, err)
	}
	before := text(o)
	applied, err := scim.Apply(typ, o, canonical)
	next, changed := applied.Resource, applied.Changed
	if text(o) != before {
		tb.Fatalf("Apply(%s) changed its input", ops)
	}
	return next, changed, err
}

const plain = `{"userName":"ada","active":true}`

// TestApply: each form of add, replace and remove gives the resource of RFC 7644 §3.5.2.
func TestApply(t *testing.T) {
	t.Parallel()
	const mail = `{"userName":"ada","emails":[{"value":"w","type":"work","primary":true},{"value":"h","type":"home"}]}`
	const ent = `"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`
	tests := []struct {
		name, resource, ops, want string
		mode                      scim.Mode
	}{
		{name: "add single", resource: plain, ops: `[{"op":"add","path":"title","value":"t"}]`, want: `{"active":true,"title":"t","userName":"ada"}`},
		{name: "add replaces single", resource: plain, ops: `[{"op":"add","path":"active","value":false}]`, want: `{"active":false,"userName":"ada"}`},
		{name: "replace unassigned adds", resource: plain, ops: `[{"op":"replace","path":"title","value":"t"}]`, want: `{"active":true,"title":"t","userName":"ada"}`},
		{name: "remove single", resource: plain, ops: `[{"op":"add","path":"title","value":"t"},{"op":"add","path":"nickName","value":"n"},{"op":"remove","path":"title"}]`, want: `{"active":true,"nickName":"n","userName":"ada"}`},
		{name: "replace null removes", resource: plain, ops: `[{"op":"add","path":"title","value":"t"},{"op":"add","path":"nickName","value":"n"},{"op":"replace","path":"title","value":null}]`, want: `{"active":true,"nickName":"n","userName":"ada"}`},
		{name: "remove active", resource: plain, ops: `[{"op":"remove","path":"active"}]`, want: `{"active":false,"userName":"ada"}`},
		{name: "replace active null", resource: plain, ops: `[{"op":"replace","path":"active","value":null}]`, want: `{"active":false,"userName":"ada"}`},
		{name: "add active null", resource: plain, ops: `[{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":null}]`, want: `{"active":false,"userName":"ada"}`},
		{name: "path-less active null", resource: plain, ops: `[{"op":"replace","value":{"ACTIVE":null}}]`, want: `{"active":false,"userName":"ada"}`},
		{name: "remove active and set it", resource: plain, ops: `[{"op":"remove","path":"active"},{"op":"add","path":"active","value":true},{"op":"add","path":"title","value":"t"}]`, want: `{"active":true,"title":"t","userName":"ada"}`},
		{name: "path-less", resource: plain, ops: `[{"op":"replace","value":{"active":false,"title":"t"}}]`, want: `{"active":false,"title":"t","userName":"ada"}`},
		{name: "in order", resource: plain, ops: `[{"op":"add","path":"title","value":"a"},{"op":"replace","path":"title","value":"b"},{"op":"remove","path":"nickName"}]`, want: `{"active":true,"title":"b","userName":"ada"}`},
		{name: "parts of name merge", resource: plain, ops: `[{"op":"replace","value":{"name":{"givenName":"A"}}},{"op":"replace","value":{"name":{"familyName":"L"}}}]`, want: `{"active":true,"name":{"familyName":"L","givenName":"A"},"userName":"ada"}`},
		{name: "null part unsets", resource: `{"userName":"ada","name":{"givenName":"A","familyName":"L"}}`, ops: `[{"op":"replace","path":"name","value":{"givenName":null}}]`, want: `{"name":{"familyName":"L"},"userName":"ada"}`},
		{name: "last part goes", resource: `{"userName":"ada","name":{"givenName":"A"}}`, ops: `[{"op":"remove","path":"name.givenName"}]`, want: `{"userName":"ada"}`},
		{name: "remove complex", resource: `{"userName":"ada","name":{"givenName":"A","familyName":"L"}}`, ops: `[{"op":"remove","path":"name"}]`, want: `{"userName":"ada"}`},

		{name: "append", resource: mail, ops: `[{"op":"add","path":"emails","value":[{"value":"x"}]}]`, want: `{"emails":[{"primary":true,"type":"work","value":"w"},{"type":"home","value":"h"},{"value":"x"}],"userName":"ada"}`},
		{name: "append nothing known twice", resource: mail, ops: `[{"op":"add","path":"emails","value":[{"value":"x"},{"value":"h","type":"home"}]}]`, want: `{"emails":[{"primary":true,"type":"work","value":"w"},{"type":"home","value":"h"},{"value":"x"}],"userName":"ada"}`},
		{name: "new primary demotes", resource: mail, ops: `[{"op":"add","path":"emails","value":[{"value":"x","primary":true}]}]`, want: `{"emails":[{"primary":false,"type":"work","value":"w"},{"type":"home","value":"h"},{"primary":true,"value":"x"}],"userName":"ada"}`},
		{name: "primary by path demotes", resource: mail, ops: `[{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}]`, want: `{"emails":[{"primary":false,"type":"work","value":"w"},{"primary":true,"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "replace all", resource: mail, ops: `[{"op":"replace","path":"emails","value":[{"value":"x"}]}]`, want: `{"emails":[{"value":"x"}],"userName":"ada"}`},
		{name: "replace all with none", resource: mail, ops: `[{"op":"replace","path":"emails","value":[]}]`, want: `{"userName":"ada"}`},
		{name: "remove all", resource: mail, ops: `[{"op":"remove","path":"emails"}]`, want: `{"userName":"ada"}`},
		{name: "remove matching", resource: mail, ops: `[{"op":"remove","path":"emails[type eq \"WORK\"]"}]`, want: `{"emails":[{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "remove every matching", resource: mail, ops: `[{"op":"remove","path":"emails[value pr]"}]`, want: `{"userName":"ada"}`},
		{name: "remove a part of matching", resource: mail, ops: `[{"op":"remove","path":"emails[type eq \"work\"].primary"}]`, want: `{"emails":[{"type":"work","value":"w"},{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "remove a part of all", resource: mail, ops: `[{"op":"remove","path":"emails.type"}]`, want: `{"emails":[{"primary":true,"value":"w"},{"value":"h"}],"userName":"ada"}`},
		{name: "remove listed", resource: mail, ops: `[{"op":"remove","path":"emails","value":[{"value":"w"},{"value":"nobody"}]}]`, want: `{"emails":[{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "replace matching", resource: mail, ops: `[{"op":"replace","path":"emails[type eq \"work\"]","value":{"value":"n"}}]`, want: `{"emails":[{"value":"n"},{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "replace matching with null", resource: mail, ops: `[{"op":"replace","path":"emails[type eq \"work\"]","value":null}]`, want: `{"emails":[{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "replace a part of matching", resource: mail, ops: `[{"op":"replace","path":"emails[type eq \"work\"].value","value":"n"}]`, want: `{"emails":[{"primary":true,"type":"work","value":"n"},{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "add to matching merges", resource: mail, ops: `[{"op":"add","path":"emails[type eq \"work\"]","value":{"display":"d"}}]`, want: `{"emails":[{"display":"d","primary":true,"type":"work","value":"w"},{"type":"home","value":"h"}],"userName":"ada"}`},
		{name: "set a part of all", resource: mail, ops: `[{"op":"replace","path":"emails.display","value":"d"}]`, want: `{"emails":[{"display":"d","primary":true,"type":"work","value":"w"},{"display":"d","type":"home","value":"h"}],"userName":"ada"}`},
		{name: "set a part of none", resource: plain, ops: `[{"op":"add","path":"emails.value","value":"x"}]`, want: `{"active":true,"emails":[{"value":"x"}],"userName":"ada"}`},
		{name: "elements that become equal merge", resource: mail, ops: `[{"op":"replace","path":"emails.value","value":"x"},{"op":"replace","path":"emails.type","value":"t"}]`, want: `{"emails":[{"primary":true,"type":"t","value":"x"}],"userName":"ada"}`},

		{name: "extension attribute", resource: plain, ops: `[{"op":"add","path":` + ent[:len(ent)-1] + `:department","value":"d"}]`, want: `{"active":true,` + ent + `:{"department":"d"},"userName":"ada"}`},
		{name: "extension empties", resource: `{"userName":"ada",` + ent + `:{"department":"d"}}`, ops: `[{"op":"remove","path":` + ent[:len(ent)-1] + `:department"}]`, want: `{"userName":"ada"}`},
		{name: "extension removed", resource: `{"userName":"ada",` + ent + `:{"department":"d"}}`, ops: `[{"op":"remove","path":` + ent + `}]`, want: `{"userName":"ada"}`},
		{name: "extension null", resource: `{"userName":"ada",` + ent + `:{"department":"d"}}`, ops: `[{"op":"replace","value":{` + ent + `:null}}]`, want: `{"userName":"ada"}`},
		{name: "extension part of complex", resource: plain, ops: `[{"op":"replace","path":` + ent[:len(ent)-1] + `:manager.value","value":"m"}]`, want: `{"active":true,` + ent + `:{"manager":{"value":"m"}},"userName":"ada"}`},
		{name: "extension kept beside", resource: `{"userName":"ada",` + ent + `:{"department":"d"}}`, ops: `[{"op":"replace","value":{` + ent + `:{"division":"v"}}}]`, want: `{"userName":"ada",` + ent + `:{"department":"d","division":"v"}}`},
		{name: "manager by filter", resource: `{"userName":"ada",` + ent + `:{"manager":{"value":"m"}}}`, ops: `[{"op":"remove","path":"manager[value eq \"m\"]"}]`, want: `{"userName":"ada"}`, mode: accept("MISSING_URN")},

		{name: "missing element is built", resource: plain, ops: `[{"op":"add","path":"emails[type eq \"work\"].value","value":"x"}]`, want: `{"active":true,"emails":[{"type":"work","value":"x"}],"userName":"ada"}`, mode: accept("ELEMENT_BUILT")},
		{name: "and built once", resource: plain, ops: `[{"op":"Add","path":"roles[primary eq \"True\"].value","value":"r"},{"op":"Add","path":"roles[primary eq \"True\"].display","value":"d"}]`, want: `{"active":true,"roles":[{"display":"d","primary":true,"value":"r"}],"userName":"ada"}`, mode: accept("ELEMENT_BUILT", "BOOLEAN_STRING")},
		{name: "built by replace", resource: mail, ops: `[{"op":"replace","path":"emails[type eq \"other\" and primary eq true].value","value":"x"}]`, want: `{"emails":[{"primary":false,"type":"work","value":"w"},{"type":"home","value":"h"},{"primary":true,"type":"other","value":"x"}],"userName":"ada"}`, mode: accept("ELEMENT_BUILT")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, changed, err := apply(t, scim.UserType(), tt.resource, tt.ops, tt.mode)
			noError(t, err)
			same(t, got, obj(t, tt.want))
			if !changed {
				t.Errorf("Apply(%s): changed = false, want true", tt.ops)
			}
		})
	}
}

// TestApplyUnchanged: an operation without effect succeeds, and changed is false (RFC 7644
// §3.5.2.1).
func TestApplyUnchanged(t *testing.T) {
	t.Parallel()
	for name, ops := range map[string]string{
		"same single":         `[{"op":"replace","path":"active","value":true}]`,
		"same add":            `[{"op":"add","path":"userName","value":"ada"}]`,
		"same element":        `[{"op":"add","path":"emails","value":[{"value":"ada@home.example","type":"home"}]}]`,
		"same complex":        `[{"op":"replace","path":"name","value":{"givenName":"Ada"}}]`,
		"same list":           `[{"op":"replace","path":"emails","value":[{"value":"ada@example.com","type":"work","primary":true},{"value":"ada@home.example","type":"home"}]}]`,
		"remove unassigned":   `[{"op":"remove","path":"title"}]`,
		"remove absent parts": `[{"op":"remove","path":"phoneNumbers.type"}]`,
		"absent extension":    `[{"op":"remove","path":"` + entURN + `:division"}]`,
		"there and back":      `[{"op":"replace","path":"active","value":false},{"op":"replace","path":"active","value":true}]`,
		"add nothing":         `[{"op":"add","path":"emails","value":[]},{"op":"add","path":"name","value":{}}]`,
		"null of absent":      `[{"op":"replace","path":"title","value":null}]`,
		"listed but absent":   `[{"op":"remove","path":"emails","value":[{"value":"nobody"}]}]`,
		"id repeated":         `[{"op":"replace","value":{"id":"x","active":true}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, changed, err := apply(t, scim.UserType(), ada, ops, scim.Mode{})
			noError(t, err)
			if changed {
				t.Errorf("Apply(%s) = %s: changed = true, want false", ops, text(got))
			}
			same(t, got, obj(t, ada))
		})
	}
	_, changed, err := apply(t, scim.UserType(), ada,
		`[{"op":"remove","path":"emails[type eq \"nope\"]"}]`, accept("NO_MATCH_IGNORED"))
	if err != nil || changed {
		t.Errorf("Apply with IgnoreNoMatch: changed = %t, %v, want false and no error", changed, err)
	}
}

// TestApplyRefuses: if the second operation fails, none applies (RFC 7644 §3.5.2).
func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, op, scimType string
		mode               scim.Mode
	}{
		{"remove unmatched", `{"op":"remove","path":"emails[type eq \"nope\"]"}`, "noTarget", scim.Mode{}},
		{"replace unmatched", `{"op":"replace","path":"emails[type eq \"nope\"].value","value":"x"}`, "noTarget", scim.Mode{}},
		{"replace unmatched even if removal is lax", `{"op":"replace","path":"emails[type eq \"nope\"].value","value":"x"}`, "noTarget", accept("NO_MATCH_IGNORED")},
		{"add unmatched", `{"op":"add","path":"emails[type eq \"nope\"].value","value":"x"}`, "noTarget", scim.Mode{}},
		{"cannot be built", `{"op":"add","path":"emails[type sw \"nope\"].value","value":"x"}`, "noTarget", accept("ELEMENT_BUILT")},
		{"cannot be built from or", `{"op":"add","path":"emails[type eq \"a\" or type eq \"b\"].value","value":"x"}`, "noTarget", accept("ELEMENT_BUILT")},
		{"single unmatched", `{"op":"remove","path":"` + entURN + `:manager[value eq \"other\"]"}`, "noTarget", scim.Mode{}},
		{"name unmatched", `{"op":"replace","path":"name[givenName eq \"Bob\"].familyName","value":"x"}`, "noTarget", scim.Mode{}},
		{"userName null", `{"op":"replace","path":"userName","value":null}`, "invalidValue", scim.Mode{}},
		{"userName empty", `{"op":"replace","path":"userName","value":""}`, "invalidValue", scim.Mode{}},
		{"userName with space", `{"op":"replace","path":"userName","value":"a b"}`, "invalidValue", scim.Mode{}},
		{"two primary", `{"op":"replace","path":"emails[value pr].primary","value":true}`, "invalidValue", scim.Mode{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, changed, err := apply(t, scim.UserType(), ada,
				`[{"op":"replace","path":"active","value":false},`+tt.op+`]`, tt.mode)
			wantError(t, err, 400, tt.scimType)
			if got != nil || changed {
				t.Errorf("Apply = %v, %t with the error, want nil and false", got, changed)
			}
		})
	}
}

// TestApplyGroup: Apply changes attributes of a group and refuses operations on members.
func TestApplyGroup(t *testing.T) {
	t.Parallel()
	got, changed, err := apply(t, scim.GroupType(), group,
		`[{"op":"replace","value":{"id":"G1","displayName":"New"}}]`, scim.Mode{})
	noError(t, err)
	if !changed || got.String("displayName") != "New" {
		t.Errorf("Apply = %v, %t, want the displayName New and true", got, changed)
	}
	_, changed, err = apply(t, scim.GroupType(), group,
		`[{"op":"replace","value":{"id":"G1","displayName":"Engineers"}}]`, scim.Mode{})
	if err != nil || changed {
		t.Errorf("Apply of the same name: changed = %t, %v, want false and no error", changed, err)
	}
	_, _, err = apply(t, scim.GroupType(), group, `[{"op":"add","path":"members","value":[{"value":"U1"}]}]`, scim.Mode{})
	wantError(t, err, 500, "")
}

// TestApplyForeignOps: Apply refuses operations made by hand without a valid target.
func TestApplyForeignOps(t *testing.T) {
	t.Parallel()
	for _, op := range []scim.Op{
		{},
		{Kind: scim.OpRemove},
		{Kind: scim.OpRemove, Path: scim.Path{Attr: "nonsense"}},
		{Kind: scim.OpRemove, Path: scim.Path{URN: "urn:x", Attr: "title"}},
		{Kind: scim.OpRemove, Path: scim.Path{Attr: "name", Sub: "nonsense"}},
	} {
		_, err := scim.Apply(scim.UserType(), obj(t, ada), []scim.Op{op})
		wantError(t, err, 400, scim.TypeNoTarget)
	}
}

// TestApplySharesNothing: applying operations twice gives equal results and leaves the operations
// unchanged.
func TestApplySharesNothing(t *testing.T) {
	t.Parallel()
	ops, _, err := scim.Canonicalize(scim.UserType(), patchOps(t,
		`[{"op":"add","path":"emails","value":[{"value":"x"}]},{"op":"add","path":"emails[value eq \"x\"].type","value":"t"}]`), scim.Mode{})
	noError(t, err)
	first, err := scim.Apply(scim.UserType(), obj(t, plain), ops)
	noError(t, err)
	second, err := scim.Apply(scim.UserType(), obj(t, plain), ops)
	noError(t, err)
	same(t, first, second)
	same(t, show(ops), []string{`add emails [{"value":"x"}]`, `add emails[value eq "x"].type "t"`})
}

// TestApplyBounds: a list above the limit is an error.
func TestApplyBounds(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"userName":"ada","emails":[`)
	for i := range scim.DefaultLimits().Members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"value":"` + strings.Repeat("a", 1+i%20) + strings.Repeat("b", i/20) + `"}`)
	}
	b.WriteString(`]}`)
	_, _, err := apply(t, scim.UserType(), b.String(),
		`[{"op":"add","path":"emails","value":[{"value":"z"}]}]`, scim.Mode{})
	wantError(t, err, 400, scim.TypeInvalidValue)
	if want := "emails has more than 1000 values"; !strings.Contains(err.Detail, want) {
		t.Errorf("the detail is %q, want one with %q", err.Detail, want)
	}
}
