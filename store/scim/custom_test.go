package scim_test

import (
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// deviceType has types that User and Group lack, such as numbers, times, simple multi-valued
// attributes, and attributes that are returned never or on request.
func deviceType() *scim.ResourceType {
	attr := func(name, typ, returned string) scim.Attribute {
		return scim.Attribute{
			Name: name, Type: typ, Mutability: "readWrite",
			Returned: returned, Uniqueness: "none", Description: name,
		}
	}
	tags := attr("tags", "string", "default")
	tags.MultiValued = true
	part := attr("part", "complex", "default")
	part.SubAttributes = []scim.Attribute{
		attr("open", "string", "default"), attr("secret", "string", "never"),
		attr("rare", "string", "request"), attr("kept", "string", "always"),
	}
	return &scim.ResourceType{
		ID: "Device", Name: "Device", Endpoint: "Devices", Description: "Device",
		Schema: &scim.Schema{
			ID: "urn:example:2.0:Device", Name: "Device", Description: "Device",
			Attributes: []scim.Attribute{
				attr("slots", "integer", "default"), attr("load", "decimal", "default"), attr("seen", "dateTime", "default"),
				attr("pin", "string", "never"), attr("log", "string", "request"), tags, part,
			},
		},
	}
}

const deviceHead = `{"schemas":["urn:example:2.0:Device"],`

// TestTypesOfOtherSchemas: values of types that User and Group lack are checked (RFC 7643 §2.3).
func TestTypesOfOtherSchemas(t *testing.T) {
	t.Parallel()
	typ := deviceType()
	for body, want := range map[string]string{
		`"slots":3,"load":2,"seen":"2011-05-13T04:42:34Z"`:  `{"load":2.0,"seen":"2011-05-13T04:42:34Z","slots":3}`,
		`"load":2.5,"seen":"2011-05-13T04:42:34.123+02:00"`: `{"load":2.5,"seen":"2011-05-13T04:42:34.123+02:00"}`,
		`"seen":"2011-05-13T04:42:34"`:                      `{"seen":"2011-05-13T04:42:34"}`,
		`"tags":["a","b","A"]`:                              `{"tags":["a","b","A"]}`,
	} {
		got, _, err := scim.Normalize(typ, obj(t, deviceHead+body+`}`), scim.Mode{})
		noError(t, err)
		same(t, text(got), want)
	}
	for _, body := range []string{
		`"slots":3.0`, `"slots":3e0`, `"slots":"3"`, `"slots":true`, `"load":"2"`, `"load":false`,
		`"seen":"2011-05-13"`, `"seen":"04:42:34Z"`, `"seen":"2011-05-13 04:42:34Z"`, `"seen":"2011-05-13T04:42Z"`, `"seen":"2011-13-13T04:42:34Z"`,
		`"seen":"2011-05-13T04:42:34,5Z"`, `"seen":"2011-05-13T04:42:34Zx"`, `"seen":"2011-05-13T4:42:34Z0"`, `"seen":1305261754`,
		`"tags":"a"`, `"tags":[1]`, `"tags":[["a"]]`, `"tags":[{"value":"a"}]`,
	} {
		_, _, err := scim.Normalize(typ, obj(t, deviceHead+body+`}`), scim.Mode{})
		wantError(t, err, 400, scim.TypeInvalidValue)
	}
}

// TestFiltersOfOtherSchemas: filters compare numbers, times and simple multi-valued attributes.
func TestFiltersOfOtherSchemas(t *testing.T) {
	t.Parallel()
	typ := deviceType()
	o := obj(t, `{"slots":9007199254740993,"load":2.5,"seen":"2011-05-13T04:42:34Z","tags":["Alpha","beta"]}`)
	for in, want := range map[string]bool{
		`slots eq 9007199254740993`: true, `slots eq 9007199254740992`: false, `slots gt 9007199254740992`: true, `slots ge 9007199254740994`: false,
		`slots ne 1`: true, `slots lt 1e30`: true, `load eq 2.5`: true, `load le 2`: false, `load gt 2`: true, `load lt -1`: false,
		`seen ge "2011-05-13T06:42:34+02:00"`: true, `seen le "2011-05-13T04:42:33Z"`: false, `seen ew "34Z"`: true,
		`tags eq "alpha"`: true, `tags eq "gamma"`: false, `tags co "ET"`: true, `tags ne "alpha"`: true, `slots eq null`: false, `slots pr`: true,
	} {
		f, err := scim.ParseFilter(typ, in, scim.DefaultLimits())
		noError(t, err)
		if got := f.Match(typ, o); got != want {
			t.Errorf("Match(%s) = %t, want %t", in, got, want)
		}
		again, err := scim.ParseFilter(typ, f.String(), scim.DefaultLimits())
		noError(t, err)
		same(t, again.String(), f.String())
	}
	for _, in := range []string{`slots co 1`, `slots eq "1"`, `slots eq true`, `seen gt "x"`, `tags[value eq "a"]`, `pin eq "1"`, `pin pr`, `part eq "x"`} {
		_, err := scim.ParseFilter(typ, in, scim.DefaultLimits())
		wantError(t, err, 400, scim.TypeInvalidFilter)
	}
}

// TestProjectReturned: Project obeys returned never, request and always (RFC 7643 §7).
func TestProjectReturned(t *testing.T) {
	t.Parallel()
	typ := deviceType()
	o := obj(t, `{"id":"D1","slots":1,"pin":"1","log":"l","part":{"open":"o","secret":"s","rare":"r","kept":"k"}}`)
	tests := []struct {
		attributes, excluded []string
		want                 string
	}{
		{nil, nil, `{"id":"D1","part":{"kept":"k","open":"o"},"slots":1}`},
		{[]string{"log", "pin"}, nil, `{"id":"D1","log":"l"}`},
		{[]string{"part.rare", "part.secret"}, nil, `{"id":"D1","part":{"kept":"k","rare":"r"}}`},
		{nil, []string{"part.kept", "part.open"}, `{"id":"D1","part":{"kept":"k"},"slots":1}`},
		{nil, []string{"part"}, `{"id":"D1","slots":1}`},
	}
	for _, tt := range tests {
		same(t, text(scim.Project(typ, o, tt.attributes, tt.excluded)), tt.want)
	}
}

// TestPatchSimpleValues: operations change simple multi-valued attributes.
func TestPatchSimpleValues(t *testing.T) {
	t.Parallel()
	typ := deviceType()
	tests := []struct{ ops, want string }{
		{`[{"op":"add","path":"tags","value":["b","c"]}]`, `{"tags":["a","b","c"]}`},
		{`[{"op":"replace","path":"tags","value":["c"]}]`, `{"tags":["c"]}`},
		{`[{"op":"remove","path":"tags"}]`, `{}`},
		{`[{"op":"add","path":"slots","value":2}]`, `{"slots":2,"tags":["a","b"]}`},
	}
	for _, tt := range tests {
		got, changed, err := apply(t, typ, `{"tags":["a","b"]}`, tt.ops, scim.Mode{})
		noError(t, err)
		if !changed {
			t.Errorf("Apply(%s): changed = false, want true", tt.ops)
		}
		same(t, text(got), tt.want)
	}
	// A removal cannot list simple elements, because they have no sub-attribute value.
	_, _, err := scim.Canonicalize(typ, patchOps(t, `[{"op":"remove","path":"tags","value":["a"]}]`), scim.Mode{})
	wantError(t, err, 400, scim.TypeInvalidValue)
}

// TestMergeFewAndMany: adding elements one by one or together gives the same result.
func TestMergeFewAndMany(t *testing.T) {
	t.Parallel()
	const resource = `{"userName":"ada","emails":[{"value":"É@x","type":"Work"},{"value":"b@x"},{"display":"no value"}]}`
	added := []string{
		`{"value":"e` + "\u0301" + `@X","type":"work","display":"d"}`, `{"value":"B@x"}`, `{"value":"b@x","type":"home"}`,
		`{"display":"no value"}`, `{"value":"new@x"}`, `{"value":"NEW@x"}`,
	}
	var many, few string
	for i, e := range added {
		if i > 0 {
			many, few = many+",", few+","
		}
		many += e
		few += `{"op":"add","path":"emails","value":[` + e + `]}`
	}
	a, _, err := apply(t, scim.UserType(), resource, `[{"op":"add","path":"emails","value":[`+many+`]}]`, scim.Mode{})
	noError(t, err)
	b, _, err := apply(t, scim.UserType(), resource, `[`+few+`]`, scim.Mode{})
	noError(t, err)
	same(t, a, b)
	emails, ok := a["emails"].([]any)
	if !ok || len(emails) != 5 {
		t.Fatalf("Apply = %s, want 5 emails", text(a))
	}
}
