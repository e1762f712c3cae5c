package scim_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// mutations returns every name that is one edit away from name: a letter less, more or other, and two
// neighbours swapped.
func mutations(name string) []string {
	const letters = "abcdefghijklmnopqrstuvwxyz01"
	var out []string
	for i := range len(name) + 1 {
		for _, c := range letters {
			out = append(out, name[:i]+string(c)+name[i:])
			if i < len(name) {
				out = append(out, name[:i]+string(c)+name[i+1:])
			}
		}
		if i < len(name) {
			out = append(out, name[:i]+name[i+1:])
		}
		if i+1 < len(name) {
			out = append(out, name[:i]+name[i+1:i+2]+name[i:i+1]+name[i+2:])
		}
	}
	return out
}

// listedLookalikes returns the names of lookalikes.txt.
func listedLookalikes(tb testing.TB) []string {
	tb.Helper()
	f, err := os.Open("lookalikes.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			out = append(out, strings.Replace(strings.TrimPrefix(line, "-"), "*", "employee", 1))
		}
	}
	if len(out) < 100 {
		tb.Fatalf("%d names in lookalikes.txt, want at least 100", len(out))
	}
	return out
}

// TestLookalike: every name within two edits of active is a lookalike, and every listed one, in any
// spelling. Other names are not.
func TestLookalike(t *testing.T) {
	t.Parallel()
	for _, once := range mutations("active") {
		for _, twice := range append(mutations(once), once) {
			if !scim.Lookalike(twice) {
				t.Fatalf("Lookalike(%s) = false, want true", twice)
			}
		}
	}
	for _, name := range listedLookalikes(t) {
		for _, spelt := range []string{name, strings.ToUpper(name), "urn:x:2.0:User:" + name, "a." + name + ".b", name + `[x eq "y"].z`, "_" + name} {
			if !scim.Lookalike(spelt) {
				t.Errorf("Lookalike(%s) = false, want true", spelt)
			}
		}
	}
	for _, name := range []string{
		"is_active", "is-active", "x-active", "Account Enabled", "account_enabled", "ＡＣＴＩＶＥ", "аctive", "асtive", "désactivé",
		"ac\u200btive", "a\u0301ctive", `x["active`, "acitev",
	} {
		if !scim.Lookalike(name) {
			t.Errorf("Lookalike(%s) = false, want true", name)
		}
	}
	for _, name := range []string{"", "nonsense", "badge", "costCenter", "ac", "value", "activity", "octave12", `emails[type eq "active"].label`} {
		if scim.Lookalike(name) {
			t.Errorf("Lookalike(%s) = true, want false", name)
		}
	}
}

// TestOppositeOfActive: names whose true ends access are told from the others.
func TestOppositeOfActive(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"disabled": true, "urn:x:User:isSuspended": true, "account_locked": true, "inactive": true, "gelöscht": true,
		"active": false, "enabled": false, "accountNonLocked": false, "status": false, "actve": false, "title": false, "": false,
	} {
		if got := scim.OppositeOfActive(name); got != want {
			t.Errorf("OppositeOfActive(%s) = %t, want %t", name, got, want)
		}
	}
}

// TestNoAttributeIsALookalike: dropping or reading an attribute of the schemas never meets the rule.
func TestNoAttributeIsALookalike(t *testing.T) {
	t.Parallel()
	var check func(prefix string, list []scim.Attribute)
	check = func(prefix string, list []scim.Attribute) {
		for _, a := range list {
			if name := prefix + a.Name; scim.Lookalike(name) && name != "active" {
				t.Errorf("the attribute %s is a lookalike of active", name)
			}
			check(prefix+a.Name+".", a.SubAttributes)
		}
	}
	for _, typ := range scim.Types() {
		check("", typ.Schema.Attributes)
		for _, e := range typ.Extensions {
			check(e.ID+":", e.Attributes)
		}
	}
	check("", []scim.Attribute{{Name: "schemas"}, {Name: "id"}, {Name: "meta", SubAttributes: []scim.Attribute{
		{Name: "resourceType"}, {Name: "created"}, {Name: "lastModified"}, {Name: "location"}, {Name: "version"},
	}}})
}

// activePatches are the places of a PATCH where a client may write the name N with the value V, and
// activeBodies those of a PUT. JSON texts are in J.
func activePatches() []string {
	return []string{
		`{"op":"replace","path":"N","value":V}`, `{"op":"Add","path":"N","value":V}`, `{"op":"remove","path":"N"}`,
		`{"op":"remove","path":"N","value":V}`, `{"op":"replace","path":"` + scim.UserURN + `:N","value":V}`,
		`{"op":"replace","path":"` + entURN + `:N","value":V}`, `{"op":"replace","path":"urn:example:ext:N","value":V}`,
		`{"op":"replace","path":"name.N","value":V}`, `{"op":"replace","path":"emails[type eq \"work\"].N","value":V}`,
		`{"op":"replace","path":"N.value","value":V}`, `{"op":"replace","path":"N[value eq true]","value":V}`,
		`{"op":"replace","path":"` + entURN + `","value":{"N":V}}`, `{"op":"replace","path":"urn:example:ext","value":{"N":V}}`,
		`{"op":"add","path":"emails","value":[{"value":"x","N":V}]}`, `{"op":"replace","path":"name","value":{"N":V}}`,
		`{"op":"replace","path":"emails[type eq \"work\"]","value":{"value":"x","N":V}}`,
		`{"op":"remove","path":"title","value":{"N":V}}`, `{"op":"remove","path":"emails","value":[{"value":"x","N":V}]}`,
		`{"op":"remove","path":"emails[type eq \"work\"]","value":[{"deep":{"N":V}}]}`,
		`{"op":"replace","path":"badge","value":{"N":V}}`,
	}
}

func activeBodies() []string {
	return []string{
		`"N":V`, `"` + scim.UserURN + `:N":V`, `"` + scim.UserURN + `":{"N":V}`, `"` + entURN + `":{"N":V}`,
		`"` + entURN + `:N":V`, `"urn:example:ext":{"N":V}`, `"urn:example:ext":{"a":[{"b":{"N":V}}]}`, `"badge":[[{"N":V}]]`,
		`"name":{"N":V}`, `"name.N":V`, `"emails":[{"value":"x","N":V}]`, `"meta":{"N":V}`, `"groups":[{"N":V}]`, `"id":{"N":V}`,
		`"roles":[{"value":"{\"value\":\"r\",\"N\":false}"}]`, `"roles":["{\"id\":\"r\",\"N\":\"False\"}"]`,
		`"password":{"N":V}`, `"title":{"N":V}`, `"` + entURN + `":{"manager":{"value":"m","displayName":{"N":V}}}`,
	}
}

// offValues say that somebody is inactive, or nothing that can be understood.
func offValues() []string {
	return []string{
		`false`, `"False"`, `"false"`, `[false]`, `["False"]`, `{"value":false}`, `[{"value":"false"}]`, `null`, `0`, `"no"`, `[]`,
		`{}`, `""`, `{"value":null}`, `{"x":1}`, `[null]`, `1e3`,
	}
}

// ending is the strictest test of a mode: it accepts every code and drops everything that has the name.
func ending(name string) scim.Mode {
	return lenient().Merge(scim.Mode{
		UnknownSchemas: []string{scim.UserURN},
		UnknownAttributes: []string{
			name, "badge", "emails", "name", "meta", "roles", "title", "groups", "password", "name." + name, "emails." + name,
			"roles." + name, entURN + ":" + name, entURN + ":manager." + name,
		},
	})
}

// keepsAccess applies a request that asks to end the access of ada, and fails if it succeeds without that.
func keepsAccess(t *testing.T, ops, body string, m scim.Mode) {
	t.Helper()
	o, err := scim.DecodeObject([]byte(userHead+`,`+body+`}`), scim.DefaultLimits())
	if body != "" && err == nil {
		got, _, err := scim.Normalize(scim.UserType(), o, m)
		if err == nil && got["active"] != false {
			t.Fatalf("a PUT with %s is accepted and does not deactivate (mode %+v)", body, m)
		}
	}
	if body != "" {
		ops = `{"op":"replace","value":{` + body + `}}`
	}
	o, err = scim.DecodeObject([]byte(`{"schemas":["`+scim.PatchURN+`"],"Operations":[`+ops+`]}`), scim.DefaultLimits())
	if err != nil {
		return
	}
	raw, err := scim.DecodePatch(o, scim.DefaultLimits())
	if err != nil {
		return
	}
	canonical, _, err := scim.Canonicalize(scim.UserType(), raw, m)
	if err != nil {
		return
	}
	got, err := scim.Apply(scim.UserType(), obj(t, ada), canonical)
	if err == nil && got.Resource["active"] != false {
		t.Fatalf("a PATCH with %s is accepted and does not deactivate (mode %+v)", ops, m)
	}
}

// askOff asks in one place to end the access of ada.
func askOff(t *testing.T, place int, name, value string, m scim.Mode) {
	t.Helper()
	quoted, err := json.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	write := strings.NewReplacer("N", strings.Trim(string(quoted), `"`), "V", value)
	patches, bodies := activePatches(), activeBodies()
	if place %= len(patches) + len(bodies); place < len(patches) {
		keepsAccess(t, write.Replace(patches[place]), "", m)
		return
	}
	keepsAccess(t, "", write.Replace(bodies[place-len(patches)]), m)
}

// TestDeactivationIsNeverLost: no mode accepts a request that asks to end somebody's access, in any
// spelling and at any place, without doing it.
func TestDeactivationIsNeverLost(t *testing.T) {
	t.Parallel()
	names := []string{"active", "Active", "is_active", "actve", "acitve", "ＡＣＴＩＶＥ", "enabled"} // with every value
	whole := len(names)
	names = append(append(names, mutations("active")...), listedLookalikes(t)...)
	places := len(activePatches()) + len(activeBodies())
	for i, name := range names {
		for place := range places {
			values := offValues()
			if i >= whole {
				values = values[(i+place)%len(values):][:1]
			}
			for _, value := range values {
				for _, m := range []scim.Mode{{}, lenient(), ending(name)} {
					askOff(t, place, name, value, m)
				}
			}
		}
	}
}

// TestTextsOfIgnoredValues: an ignored value that names active in a text, not by a member, is refused; other texts
// are ignored.
func TestTextsOfIgnoredValues(t *testing.T) {
	t.Parallel()
	for value, refused := range map[string]bool{
		`{"name":"active","value":false}`:               true,
		`[[{"attribute":"Account-Enabled","to":"no"}]]`: true,
		`"inactive"`:           true,
		`"{\"active\":false}"`: true,
		`{"x":" [{\"y\":{\"actve\":\"False\"}}]"}`: true,
		`"{\"a\":\"[{\\\"disabled\\\":true}]\"}"`:  true,
		`"active=false"`:                                  true,
		`"colour: red, active : false"`:                   true,
		`"{'active': false}"`:                             true,
		`"{\"a\":1,\"active\":false,}"`:                   true,
		`{"name":"colour","value":"red"}`:                 false,
		`"colour=red; see https://app.example/colours"`:   false,
		`"{\"colour\":\"red\"}"`:                          false,
		`"{no JSON}"`:                                     false,
		`"a text about somebody who is active, and more"`: false,
	} {
		for _, op := range []string{
			`{"op":"replace","path":"nonsense","value":V}`, `{"op":"add","value":{"urn:example:ext":V}}`,
		} {
			raw := patchOps(t, "["+strings.Replace(op, "V", value, 1)+"]")
			_, _, err := scim.Canonicalize(scim.UserType(), raw, lenient())
			if got := err != nil && err.Code == scim.DevLookalike; got != refused || (err != nil) != refused {
				t.Errorf("%s: %v, refused as a lookalike: %t, want %t", raw[0].Value, err, got, refused)
			}
		}
	}
	raw := patchOps(t, `[{"op":"replace","path":"nonsense[\"active\"]","value":false}]`)
	if _, _, err := scim.Canonicalize(scim.UserType(), raw, lenient()); err == nil {
		t.Error("a path with active in quotes is ignored")
	}
}

// TestActiveIsCoerced: a value of active in another JSON type is understood where the mode says, and refused
// elsewhere.
func TestActiveIsCoerced(t *testing.T) {
	t.Parallel()
	for value, mode := range map[string]scim.Mode{
		`false`: {}, `null`: {}, `"False"`: accept("BOOLEAN_STRING"), `"false"`: accept("BOOLEAN_STRING"),
		`[false]`: accept("VALUE_ARRAY"), `["FALSE"]`: accept("VALUE_ARRAY", "BOOLEAN_STRING"),
		`{"value":false}`: accept("VALUE_WRAPPED"), `{"Value":"false"}`: accept("VALUE_WRAPPED", "BOOLEAN_STRING"),
	} {
		for _, op := range []string{
			`{"op":"replace","path":"active","value":V}`, `{"op":"add","value":{"active":V}}`,
			`{"op":"replace","value":{"` + scim.UserURN + `:Active":V}}`,
		} {
			ops := `[` + strings.Replace(op, "V", value, 1) + `]`
			got, _, err := apply(t, scim.UserType(), ada, ops, mode)
			noError(t, err)
			if got["active"] != false {
				t.Errorf("%s: active is %v, want false", ops, got["active"])
			}
			if mode.Accept == nil {
				continue
			}
			_, _, err = scim.Canonicalize(scim.UserType(), patchOps(t, ops), scim.Mode{})
			wantError(t, err, 400, scim.TypeInvalidValue)
		}
	}
	for _, value := range []string{`0`, `"no"`, `"0"`, `[]`, `{}`, `""`, `[false,false]`, `{"value":false,"x":1}`, `[[false]]`} {
		raw := patchOps(t, `[{"op":"replace","path":"active","value":`+value+`}]`)
		_, _, err := scim.Canonicalize(scim.UserType(), raw, lenient())
		wantError(t, err, 400, scim.TypeInvalidValue)
	}
}

// FuzzDeactivation: TestDeactivationIsNeverLost for any name that is a lookalike.
func FuzzDeactivation(f *testing.F) {
	for i, name := range append(listedLookalikes(f), "active", "actve", "Is-Active", "асtive", "x.active", "urn:x:active") {
		f.Add(name, uint8(i), uint8(i/3), ^uint32(0))
	}
	f.Fuzz(func(t *testing.T, name string, place, value uint8, bits uint32) {
		if strings.ContainsAny(name, `[ "\`) || !scim.Lookalike(name) {
			return // a filter is a value, and a JSON text in a JSON text has other escapes
		}
		values := offValues()
		for _, m := range []scim.Mode{modeOf(bits), modeOf(bits).Merge(ending(name))} {
			askOff(t, int(place), name, values[int(value)%len(values)], m)
		}
	})
}
