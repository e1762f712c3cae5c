package scim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// BenchmarkParseFilter parses a filter with brackets.
func BenchmarkParseFilter(b *testing.B) {
	for b.Loop() {
		const in = `emails[type eq "work" and value eq "ada@example.com"]`
		if _, err := scim.ParseFilter(scim.UserType(), in, scim.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatch matches a filter with brackets.
func BenchmarkMatch(b *testing.B) {
	f := userFilter(b, `emails[type eq "work" and value eq "ada@example.com"]`)
	o := obj(b, ada)
	for b.Loop() {
		if !f.Match(scim.UserType(), o) {
			b.Fatal("no match")
		}
	}
}

// BenchmarkPatch decodes, canonicalises and applies a deactivation.
func BenchmarkPatch(b *testing.B) {
	body := []byte(`{"schemas":["` + scim.PatchURN + `"],"Operations":[{"op":"replace","path":"active","value":false}]}`)
	resource := obj(b, ada)
	for b.Loop() {
		o, err := scim.DecodeObject(body, scim.DefaultLimits())
		noError(b, err)
		raw, err := scim.DecodePatch(o, scim.DefaultLimits())
		noError(b, err)
		ops, _, err := scim.Canonicalize(scim.UserType(), raw, scim.Mode{})
		noError(b, err)
		if got, err := scim.Apply(scim.UserType(), resource, ops); err != nil || !got.Changed {
			b.Fatal(got.Changed, err)
		}
	}
}

// BenchmarkPatchWorst measures the largest allowed work of one request, with the maximum of
// operations that each filter the maximum of elements.
func BenchmarkPatchWorst(b *testing.B) {
	l := scim.DefaultLimits()
	var mails, ops []string
	for i := range l.Members {
		mails = append(mails, fmt.Sprintf(`{"value":"Mail%04d@example.com","type":"work"}`, i))
	}
	for i := range l.Operations {
		ops = append(ops, fmt.Sprintf(
			`{"op":"replace","path":"emails[value eq \"MAIL%04d@example.com\"].value","value":"a%04d@b.c"}`, i, i))
	}
	resource := obj(b, `{"userName":"ada","emails":[`+strings.Join(mails, ",")+`]}`)
	raw := patchOps(b, "["+strings.Join(ops, ",")+"]")
	for b.Loop() {
		canonical, _, err := scim.Canonicalize(scim.UserType(), raw, scim.Mode{})
		noError(b, err)
		if _, err := scim.Apply(scim.UserType(), resource, canonical); err != nil {
			b.Fatal(err)
		}
	}
}
