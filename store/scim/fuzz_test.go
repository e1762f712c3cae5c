package scim_test

import (
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// decodeSeeds are bodies for FuzzDecode.
func decodeSeeds() []string {
	return []string{
		ada, group, plain, `{}`, `{"a":[1,1.5,-0,1e9,null,true,"\ud83d\ude00"]}`, `{"a":{"b":{"c":[]}}}`,
		`{"active":true,"Active":false}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":1e400}`, `[`,
	}
}

// patchSeeds are the Operations arrays of the other tests.
func patchSeeds() []string {
	var seeds []string
	for _, c := range append(groupShapes(), userShapes()...) {
		seeds = append(seeds, c.ops)
	}
	return seeds
}

// TestFuzzSeeds: each fuzz target has seeds.
func TestFuzzSeeds(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{
		"filters": len(legalFilters()) + len(badFilters()), "paths": len(legalPaths()) + len(badPaths()),
		"patches": len(patchSeeds()), "bodies": len(decodeSeeds()),
	} {
		if n < 10 {
			t.Errorf("%d seeds of %s, want at least 10", n, name)
		}
	}
}

// FuzzDecode: a decoded object encodes and decodes to itself, and normalising a normalised
// resource changes nothing.
func FuzzDecode(f *testing.F) {
	for _, s := range decodeSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := scim.DecodeObject(b, scim.DefaultLimits())
		if err != nil {
			if o != nil || err.Status < 400 {
				t.Fatalf("DecodeObject = %v, %v, want nil and a status of at least 400", o, err)
			}
			return
		}
		same(t, obj(t, text(o)), o)
		for _, typ := range scim.Types() {
			normalizeTwice(t, typ, o)
		}
	})
}

func normalizeTwice(t *testing.T, typ *scim.ResourceType, o scim.Object) {
	t.Helper()
	before := text(o)
	got, _, err := scim.Normalize(typ, o, lenient())
	if text(o) != before {
		t.Fatalf("the input is %s after Normalize, want %s", text(o), before)
	}
	if err != nil {
		return
	}
	rereads(t, typ, got)
	scim.Project(typ, got, []string{"userName", "emails.value", "members"}, nil)
}

// rereads checks that a strict reader accepts o and does not change it.
func rereads(t *testing.T, typ *scim.ResourceType, o scim.Object) {
	t.Helper()
	body := o.Clone()
	body["schemas"] = scim.Schemas(typ, o)
	again, devs, err := scim.Normalize(typ, obj(t, text(body)), scim.Mode{})
	if err != nil {
		t.Fatalf("Normalize(%s) = %v in strict mode, want no error", text(o), err)
	}
	if len(devs) > 0 {
		t.Fatalf("Normalize(%s) found the deviations %v, want none", text(o), devs)
	}
	same(t, again, o)
}

// FuzzFilter: a filter prints to text that parses to an equal filter, which matches the same
// resources. The oracle sees the same structure.
func FuzzFilter(f *testing.F) {
	for in := range legalFilters() {
		f.Add(in)
	}
	for _, in := range badFilters() {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		first, err := scim.ParseFilter(scim.UserType(), in, scim.DefaultLimits())
		if err != nil {
			if err.Status != 400 || err.Type != scim.TypeInvalidFilter {
				t.Fatalf("ParseFilter(%s) = %v, want 400 invalidFilter", in, err)
			}
			return
		}
		// The canonical text may be longer than the limit, because it has more escapes.
		l := scim.DefaultLimits()
		l.FilterBytes *= 8
		second, err := scim.ParseFilter(scim.UserType(), first.String(), l)
		if err != nil {
			t.Fatalf("%s prints as %s, and ParseFilter of that = %v, want no error", in, first, err)
		}
		if got, want := ourTree(second), ourTree(first); got != want || second.String() != first.String() {
			t.Fatalf("%s prints as %s, which parses to %s, want the same filter", in, first, second)
		}
		for _, resource := range []string{ada, plain, `{}`} {
			o := obj(t, resource)
			if first.Match(scim.UserType(), o) != second.Match(scim.UserType(), o) {
				t.Fatalf("Match of %s and %s differ on %s, want the same result", in, second, resource)
			}
		}
		checkLookup(t, first)
		compareWithOracle(t, in)
	})
}

// checkLookup: an exact lookup has a shape, and a lookup finds ada if the filter matches
// ada.
func checkLookup(t *testing.T, f scim.Filter) {
	t.Helper()
	l := scim.EqLookup(f)
	if l == nil {
		return
	}
	if l.Exact && scim.Shape(f) == scim.ShapeOther {
		t.Fatalf("%s has an exact lookup of %s and the shape %s, want a named shape", f, l.Attr, scim.Shape(f))
	}
	o := obj(t, ada)
	if !f.Match(scim.UserType(), o) {
		return
	}
	hit := false
	switch l.Attr {
	case "userName":
		a, err := scim.FoldUserName(l.Value)
		hit = err == nil && a == o.String("userName")
	case "externalId":
		hit = l.Value == o.String("externalId")
	case "emails.value":
		for _, mail := range o.Strings("emails", "value") {
			hit = hit || scim.FoldCase(l.Value) == scim.FoldCase(mail)
		}
	}
	if !hit {
		t.Fatalf("%s matches ada, but the lookup of %s %q does not find ada", f, l.Attr, l.Value)
	}
}

// FuzzPath: a path prints to text that parses to an equal path.
func FuzzPath(f *testing.F) {
	for in := range legalPaths() {
		f.Add(in)
	}
	for in := range badPaths() {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, typ := range scim.Types() {
			p, err := scim.ParsePath(typ, in)
			if err != nil || len(p.String()) > scim.DefaultLimits().FilterBytes {
				continue
			}
			again, err := scim.ParsePath(typ, p.String())
			if err != nil || again.String() != p.String() || again.URN != p.URN || again.Attr != p.Attr || again.Sub != p.Sub {
				t.Fatalf("%s prints as %s, which parses to %s, %v, want the same path", in, p, again, err)
			}
		}
	})
}

// modeOf is the mode that accepts the codes of the bits that are set, and drops names if bit 31 is.
func modeOf(bits uint32) scim.Mode {
	var m scim.Mode
	for i, code := range listed() {
		if bits>>i&1 == 1 {
			m.Accept = append(m.Accept, code)
		}
	}
	if bits>>31 == 1 {
		m = m.Merge(scim.Mode{
			UnknownSchemas: lenient().UnknownSchemas, UnknownAttributes: lenient().UnknownAttributes,
		})
	}
	return m
}

// FuzzPatch: in any mode, no input panics or changes, and a strict reader accepts the result
// of Apply. changed is right. Only a plain remove clears a group.
func FuzzPatch(f *testing.F) {
	for _, ops := range patchSeeds() {
		f.Add(ops, uint32(0))
		f.Add(ops, ^uint32(0))
	}
	f.Fuzz(func(t *testing.T, ops string, mode uint32) {
		m := modeOf(mode)
		o, err := scim.DecodeObject([]byte(`{"schemas":["`+scim.PatchURN+`"],"Operations":`+ops+`}`), scim.DefaultLimits())
		if err != nil {
			return
		}
		raw, err := scim.DecodePatch(o, scim.DefaultLimits())
		if err != nil {
			return
		}
		before := text(o)
		patchUser(t, raw, m)
		patchGroup(t, raw, m)
		if text(o) != before {
			t.Fatalf("the body is %s after the patch, want %s", text(o), before)
		}
	})
}

func patchUser(t *testing.T, raw []scim.RawOp, m scim.Mode) {
	t.Helper()
	ops, _, err := scim.Canonicalize(scim.UserType(), raw, m)
	if err != nil {
		return
	}
	resource := obj(t, ada)
	applied, err := scim.Apply(scim.UserType(), resource, ops)
	same(t, resource, obj(t, ada))
	if err != nil {
		if err.Status < 400 || err.Status >= 500 {
			t.Fatalf("Apply = %v, want a status from 400 to 499", err)
		}
		return
	}
	next, changed := applied.Resource, applied.Changed
	if changed == (text(next) == text(resource)) {
		t.Fatalf("Apply(%s) = %s with changed %t, want %t", text(resource), text(next), changed, !changed)
	}
	rereads(t, scim.UserType(), next)
}

func patchGroup(t *testing.T, raw []scim.RawOp, m scim.Mode) {
	t.Helper()
	ops, _, err := scim.Canonicalize(scim.GroupType(), raw, m)
	if err != nil {
		return
	}
	changes, rest, err := scim.MemberChanges(ops)
	if err != nil {
		return
	}
	clears := 0
	for _, c := range changes {
		if c.All {
			clears++
		}
		for _, id := range c.IDs {
			if id.ID == "" {
				t.Fatalf("MemberChanges has a member without id in %+v, want ids", c)
			}
		}
	}
	for _, r := range raw {
		if r.HasPath && !r.HasValue {
			clears-- // each plain remove may clear the group once
		}
	}
	if clears > 0 {
		t.Fatalf("an operation with a value or filter clears the group, want none: %v", show(ops))
	}
	applied, err := scim.Apply(scim.GroupType(), obj(t, group), rest)
	if err == nil {
		rereads(t, scim.GroupType(), applied.Resource)
	}
}
