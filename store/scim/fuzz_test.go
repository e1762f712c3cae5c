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

// patchSeeds are Operations arrays: every shape the tests know.
func patchSeeds() []string {
	var seeds []string
	for _, c := range append(groupShapes(), userShapes()...) {
		seeds = append(seeds, c.ops)
	}
	return seeds
}

// With an empty seed set the fuzz targets would test nothing.
func TestFuzzSeeds(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{
		"filters": len(legalFilters()) + len(badFilters()), "paths": len(legalPaths()) + len(badPaths()),
		"patches": len(patchSeeds()), "bodies": len(decodeSeeds()),
	} {
		if n < 10 {
			t.Errorf("%d seeds of %s", n, name)
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
				t.Fatalf("%v with %v", err, o)
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
	loose := scim.Mode{IgnoreUnknown: true, DropPassword: true, Coerce: true}
	before := text(o)
	got, _, err := scim.Normalize(typ, o, loose)
	if text(o) != before {
		t.Fatalf("Normalize changed its input")
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
		t.Fatalf("%s is refused: %v", text(o), err)
	}
	if len(devs) > 0 {
		t.Fatalf("%s deviates: %v", text(o), devs)
	}
	same(t, again, o)
}

// FuzzFilter: a filter prints to text that parses to an equal filter, which matches the
// same resources; the oracle sees the same structure.
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
				t.Fatalf("%v", err)
			}
			return
		}
		// The canonical text may be longer than the limit: it has no core URNs, but more escapes.
		l := scim.DefaultLimits()
		l.FilterBytes *= 8
		second, err := scim.ParseFilter(scim.UserType(), first.String(), l)
		if err != nil {
			t.Fatalf("%s prints as %s, which is refused: %v", in, first, err)
		}
		if got, want := ourTree(second), ourTree(first); got != want || second.String() != first.String() {
			t.Fatalf("%s prints as %s, which parses to %s", in, first, second)
		}
		for _, resource := range []string{ada, plain, `{}`} {
			o := obj(t, resource)
			if first.Match(scim.UserType(), o) != second.Match(scim.UserType(), o) {
				t.Fatalf("%s and %s differ on %s", in, second, resource)
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
		t.Fatalf("%s: exact lookup of %s, shape %s", f, l.Attr, scim.Shape(f))
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
		t.Fatalf("%s matches, but the lookup of %s %q would miss it", f, l.Attr, l.Value)
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
				t.Fatalf("%s prints as %s, which parses to %s, %v", in, p, again, err)
			}
		}
	})
}

// everything is the mode that accepts every deviation, for modeOf.
const everything = 1<<6 - 1

func modeOf(bits byte) scim.Mode {
	bit := func(i int) bool { return bits>>i&1 == 1 }
	return scim.Mode{
		IgnoreUnknown: bit(0), DropPassword: bit(1), Coerce: bit(2),
		LooseFilters: bit(3), BuildMissing: bit(4), IgnoreNoMatch: bit(5),
	}
}

// FuzzPatch, in any mode: no input panics or changes; a strict reader accepts what Apply
// returns; changed is right; only a plain remove clears a group.
func FuzzPatch(f *testing.F) {
	for _, ops := range patchSeeds() {
		for mode := range byte(2) {
			f.Add(ops, mode*everything)
		}
	}
	f.Fuzz(func(t *testing.T, ops string, mode byte) {
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
			t.Fatalf("the body was changed: %s", text(o))
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
	next, changed, err := scim.Apply(scim.UserType(), resource, ops)
	same(t, resource, obj(t, ada))
	if err != nil {
		if err.Status < 400 || err.Status >= 500 {
			t.Fatalf("%v", err)
		}
		return
	}
	if changed == (text(next) == text(resource)) {
		t.Fatalf("changed is %v: %s", changed, text(next))
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
				t.Fatal("a member without id")
			}
		}
	}
	for _, r := range raw {
		if r.HasPath && !r.HasValue {
			clears-- // each plain remove may clear the group once
		}
	}
	if clears > 0 {
		t.Fatalf("an operation with a value cleared the group: %v", show(ops))
	}
	next, _, err := scim.Apply(scim.GroupType(), obj(t, group), rest)
	if err == nil {
		rereads(t, scim.GroupType(), next)
	}
}
