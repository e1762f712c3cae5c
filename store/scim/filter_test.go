package scim_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

func userFilter(tb testing.TB, s string) scim.Filter {
	tb.Helper()
	f, err := scim.ParseFilter(scim.UserType(), s, scim.DefaultLimits())
	if err != nil {
		tb.Fatalf("ParseFilter(%s): %v", s, err)
	}
	return f
}

// legalFilters are filters and their canonical text; they seed the fuzz targets.
func legalFilters() map[string]string {
	legal := map[string]string{}
	for _, row := range [][2]string{
		{`userName eq "bjensen"`, `userName eq "bjensen"`},
		{`USERNAME EQ "bjensen"`, `userName eq "bjensen"`},
		{`  userName   eq  "x"  `, `userName eq "x"`},
		{`userName eq "a\"\\\u0041"`, `userName eq "a\"\\A"`},
		{`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`, `userName sw "J"`},
		{`URN:IETF:params:scim:schemas:core:2.0:user:NAME.familyname co "O'Malley"`, `name.familyName co "O'Malley"`},
		{`title pr`, `title pr`},
		{`emails pr`, `emails pr`},
		{`name pr`, `name pr`},
		{`title pr and userType eq "Employee"`, `title pr and userType eq "Employee"`},
		{`title pr or userType eq "a" and nickName pr`, `title pr or userType eq "a" and nickName pr`},
		{`(title pr or userType eq "a") and nickName pr`, `(title pr or userType eq "a") and nickName pr`},
		{`((title pr)) and ((nickName pr and locale pr))`, `title pr and nickName pr and locale pr`},
		{`not (title pr)`, `not (title pr)`},
		{`NOT(title pr)`, `not (title pr)`},
		{`not ( title pr OR nickName pr )`, `not (title pr or nickName pr)`},
		{`emails[value eq "x"]`, `emails[value eq "x"]`},
		{`emails[type eq "work" and value co "@example.com"]`, `emails[type eq "work" and value co "@example.com"]`},
		{`emails[(type eq "work") and not (value pr)]`, `emails[type eq "work" and not (value pr)]`},
		{`Emails [ Type EQ "work" ]`, `emails[type eq "work"]`},
		{`emails[type eq "work"].value eq "x"`, `emails[type eq "work" and value eq "x"]`},
		{`emails[type eq "a" or type eq "b"].value eq "x"`, `emails[(type eq "a" or type eq "b") and value eq "x"]`},
		{`emails co "example.com"`, `emails.value co "example.com"`},
		{`emails.type eq "work"`, `emails.type eq "work"`},
		{`groups.value eq "g"`, `groups.value eq "g"`},
		{`groups.$ref pr`, `groups.$ref pr`},
		{`active eq true`, `active eq true`},
		{`active ne FALSE`, `active ne false`},
		{`title eq null`, `title eq null`},
		{`schemas eq "urn:x"`, `schemas eq "urn:x"`},
		{`meta.lastModified gt "2011-05-13T04:42:34Z"`, `meta.lastModified gt "2011-05-13T04:42:34Z"`},
		{`id eq "1" and externalId eq "2"`, `id eq "1" and externalId eq "2"`},
		{`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m"`, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m"`},
		{`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "m"`, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m"`},
		{`name[givenName eq "x"]`, `name[givenName eq "x"]`},
	} {
		legal[row[0]] = row[1]
	}
	return legal
}

// TestParseFilterCanonical: a filter prints in canonical form, which parses to the same text.
func TestParseFilterCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range legalFilters() {
		f := userFilter(t, in)
		if got := f.String(); got != want {
			t.Errorf("String of %s\n got %s\nwant %s", in, got, want)
			continue
		}
		if again := userFilter(t, want).String(); again != want {
			t.Errorf("String of %s = %s, want the same text", want, again)
		}
	}
}

// badFilters are refused with invalidFilter; they seed the fuzz targets too.
func badFilters() []string {
	return []string{
		``, ` `, `userName`, `userName `, `userName eq`, `userName eq `, `userName foo "x"`, `eq "x"`,
		`userName eq 'x'`, `userName eq x`, `userName eq"x"`, `userName eq "x`, `userName eq "\x"`, `userName eq "\ud800"`,
		`userName eq "x" and`, `userName eq "x" or `, `and userName pr`, `userName pr userName pr`, `userName pr and and title pr`,
		`userName pr)`, `(userName pr`, `()`, `not userName pr`, `not ()`, `not`, `userName pr "x"`, `title prx`,
		`userName eq "x" trailing`, `userName eq "x"and title pr`, `(title pr)and (title pr)`,
		`nonsense eq "x"`, `password eq "x"`, `password pr`, `userName.sub eq "x"`, `name.nonsense eq "x"`, `name.givenName.x eq "x"`,
		`urn:x:userName eq "x"`, `urn:ietf:params:scim:schemas:core:2.0:User eq "x"`, `urn:ietf:params:scim:schemas:core:2.0:User: pr`,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:nonsense eq "x"`, `uſerName eq "x"`,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User pr`, `department eq "x"`,
		`emails[`, `emails[]`, `emails[value eq "x"`, `emails[value eq "x"]]`, `emails[nonsense eq "x"]`, `emails[value.x eq "x"]`,
		`emails[emails[value eq "x"]]`, `userName[value eq "x"]`, `emails.value[x eq "y"]`, `emails[type eq "w"].`, `emails[type eq "w"].value`,
		`emails[type eq "w"].nonsense eq "x"`, `emails[type eq "w"] eq "x"`,
		`active gt true`, `active co true`, `active eq "true"`, `active eq 1`, `userName eq true`, `userName eq 1`,
		`x509Certificates.value gt "AA=="`, `name eq "x"`, `addresses eq "x"`, `title gt null`, `meta.created gt "yesterday"`,
		`meta.created eq "2011-05-13"`, `userName eq 01`, "userName eq \"a\nb\"", "userName\teq \"x\"", `"userName" eq "x"`, `userName eq {}`, `userName eq ["x"]`,
	}
}

// TestParseFilterRefuses: bad filters are errors 400 invalidFilter.
func TestParseFilterRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range badFilters() {
		_, err := scim.ParseFilter(scim.UserType(), in, scim.DefaultLimits())
		if err == nil {
			t.Errorf("ParseFilter(%s) succeeded, want an error", in)
			continue
		}
		if err.Status != 400 || err.Type != scim.TypeInvalidFilter || err.Detail == "" {
			t.Errorf("ParseFilter(%s) = %v, want 400 invalidFilter with a detail", in, err)
		}
	}
}

// TestParseFilterBounds: length, nodes and depth of a filter are bounded.
func TestParseFilterBounds(t *testing.T) {
	t.Parallel()
	l := scim.DefaultLimits()
	for name, in := range map[string]string{
		"length": `userName eq "` + strings.Repeat("x", l.FilterBytes) + `"`,
		"terms":  strings.Repeat("title pr or ", l.FilterNodes) + "title pr",
		"depth":  strings.Repeat("(", l.FilterNodes) + "title pr" + strings.Repeat(")", l.FilterNodes),
		"not":    strings.Repeat("not (", l.FilterNodes) + "title pr" + strings.Repeat(")", l.FilterNodes),
		"open":   strings.Repeat("(", l.FilterBytes),
	} {
		_, err := scim.ParseFilter(scim.UserType(), in, l)
		if err == nil || err.Type != scim.TypeInvalidFilter {
			t.Errorf("%s: ParseFilter = %v, want invalidFilter", name, err)
		}
	}
	largest := strings.Repeat("title pr or ", l.FilterNodes-1) + "title pr"
	if _, err := scim.ParseFilter(scim.UserType(), largest, l); err != nil {
		t.Errorf("ParseFilter of a filter at the limit = %v, want no error", err)
	}
}

// TestFilterMatch: each operator matches as RFC 7644 §3.4.2.2 says.
func TestFilterMatch(t *testing.T) {
	t.Parallel()
	o := obj(t, `{"id":"A1","userName":"BJensen","externalId":"Ext","active":true,"title":"","nickName":"Babs",
	 "meta":{"created":"2011-05-13T04:42:34Z","resourceType":"User"},"schemas":["urn:a","urn:b"],
	 "emails":[{"value":"a@Work.example","type":"work"},{"value":"b@home.example","type":"home","primary":true}],
	 "x509Certificates":[{"value":"AAEC"}],"name":{"familyName":"Jensen"},
	 "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"M1"}}}`)
	const ent = `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:`
	tests := map[string]bool{
		`userName eq "bjensen"`: true, `userName eq "bjense"`: false, `userName ne "BJENSEN"`: false, // RFC 7643 §7 caseExact
		`userName co "JEN"`: true, `userName sw "bj"`: true, `userName ew "SEN"`: true, `userName sw "j"`: false,
		`externalId eq "Ext"`: true, `externalId eq "ext"`: false, `externalId co "xt"`: true, `externalId co "XT"`: false,
		`id eq "A1"`: true, `id eq "a1"`: false,
		`userName gt "a"`: true, `userName lt "a"`: false, `userName ge "bjensen"`: true, `userName le "bjensen"`: true, `userName gt "bjensen"`: false,
		`active eq true`: true, `active eq false`: false, `active ne false`: true,
		// Empty counts as absent for pr (RFC 7644 Table 3).
		`title pr`: false, `nickName pr`: true, `locale pr`: false, `emails pr`: true, `phoneNumbers pr`: false, `name pr`: true, `name.givenName pr`: false, `name.familyName pr`: true,
		`locale eq null`: true, `nickName eq null`: false, `nickName ne null`: true, `locale ne null`: false,
		`locale eq "x"`: false, `locale ne "x"`: true, `not (locale eq "x")`: true, `locale co ""`: false, `locale gt "a"`: false,
		`emails.value ne "a@work.example"`: true, `phoneNumbers.value ne "x"`: true,
		// Any element, or the same element (RFC 7644 §3.4.2.2).
		`emails eq "B@home.example"`: true, `emails.value co "work"`: true, `emails.value eq "c"`: false,
		`emails[type eq "work" and value co "home"]`: false, `emails.type eq "work" and emails.value co "home"`: true,
		`emails[type eq "WORK" and value co "WORK"]`: true, `emails[primary eq true]`: true, `emails[primary eq true and type eq "work"]`: false,
		`emails[not (type eq "work")]`: true, `emails[type eq "x" or type eq "home"]`: true, `phoneNumbers[type eq "work"]`: false, `not (phoneNumbers[type eq "work"])`: true,
		`emails[primary eq null]`: true,
		// Precedence (RFC 7644 §3.4.2.2).
		`nickName pr or locale pr and title pr`: true, `(nickName pr or locale pr) and title pr`: false, `not (locale pr) and nickName pr`: true,
		// A dateTime compares as a time, not as text.
		`meta.created eq "2011-05-13T06:42:34+02:00"`: true, `meta.created gt "2011-05-13T04:42:33.9Z"`: true, `meta.created lt "2011-05-13T04:42:34"`: false,
		`meta.created ne "2011-05-13T04:42:34.000Z"`: false, `meta.created sw "2011"`: true, `meta.resourceType eq "User"`: true,
		`schemas eq "urn:b"`: true, `schemas eq "urn:c"`: false, `schemas pr`: true,
		ent + `manager.value eq "M1"`: true, ent + `manager.value eq "m1"`: false, ent + `department pr`: false, ent + `manager eq "M1"`: true, ent + `manager[value eq "M1"]`: true,
		`x509Certificates.value eq "AAEC"`: true, `x509Certificates.value eq "aaec"`: false,
		`name[familyName eq "jensen"]`: true, `groups.value eq "g"`: false,
	}
	for in, want := range tests {
		if got := userFilter(t, in).Match(scim.UserType(), o); got != want {
			t.Errorf("Match(%s) = %t, want %t", in, got, want)
		}
	}
}

// TestFilterMatchOddValues: a stored value of the wrong type never matches and never panics.
func TestFilterMatchOddValues(t *testing.T) {
	t.Parallel()
	o := scim.Object{
		"userName": int64(1), "emails": "x", "name": []any{"y"},
		"active": "true", "title": []any{}, "meta": nil,
	}
	for in := range legalFilters() {
		userFilter(t, in).Match(scim.UserType(), o)
		userFilter(t, in).Match(scim.UserType(), nil)
	}
	if userFilter(t, `userName eq "1"`).Match(scim.UserType(), o) ||
		userFilter(t, `active eq true`).Match(scim.UserType(), o) {
		t.Error("Match = true for a value of another type, want false")
	}
}

// TestShapeAndEqLookup: Shape and EqLookup recognise the filters that an index can answer.
func TestShapeAndEqLookup(t *testing.T) {
	t.Parallel()
	tests := []struct {
		typ           *scim.ResourceType
		filter, shape string
		lookup        *scim.Lookup
	}{
		{scim.UserType(), `userName eq "A"`, "userName eq", &scim.Lookup{Attr: "userName", Value: "A", Exact: true}},
		{scim.UserType(), `externalId eq "A"`, "externalId eq", &scim.Lookup{Attr: "externalId", Value: "A", Exact: true}},
		{scim.UserType(), `id eq "A"`, "id eq", &scim.Lookup{Attr: "id", Value: "A", Exact: true}},
		{scim.UserType(), `displayName eq "A"`, "displayName eq", nil},
		{scim.GroupType(), `displayName eq "A"`, "displayName eq", &scim.Lookup{Attr: "displayName", Value: "A", Exact: true}},
		{scim.UserType(), `emails[value eq "A"]`, "emails[value eq]", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: true}},
		{scim.UserType(), `emails.value eq "A"`, "emails[value eq]", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: true}},
		{scim.UserType(), `emails eq "A"`, "emails[value eq]", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: true}},
		{scim.UserType(), `emails[type eq "work" and value eq "A"]`, "emails[type eq and value eq]", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: false}},
		{scim.UserType(), `emails[value eq "A" and type eq "work"]`, "emails[type eq and value eq]", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: false}},
		{scim.UserType(), `emails[type eq "work"].value eq "A"`, "emails[type eq and value eq]", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: false}},
		{scim.UserType(), `emails[value eq "A" and primary eq true]`, "other", &scim.Lookup{Attr: "emails.value", Value: "A", Exact: false}},
		{scim.UserType(), `emails[value eq "A" or type eq "work"]`, "other", nil},
		{scim.UserType(), `emails[not (value eq "A")]`, "other", nil},
		{scim.UserType(), `emails[value co "A"]`, "other", nil},
		{scim.UserType(), `emails[value eq null]`, "other", nil},
		{scim.UserType(), `phoneNumbers[value eq "A"]`, "other", nil},
		{scim.GroupType(), `members[value eq "A"]`, "members[value eq]", &scim.Lookup{Attr: "members.value", Value: "A", Exact: true}},
		{scim.GroupType(), `members.value eq "A"`, "members[value eq]", &scim.Lookup{Attr: "members.value", Value: "A", Exact: true}},
		{scim.GroupType(), `id eq "g" and members eq "u"`, "other", &scim.Lookup{Attr: "id", Value: "g", Exact: false}},
		{scim.UserType(), `active eq true and userName eq "A"`, "other", &scim.Lookup{Attr: "userName", Value: "A", Exact: false}},
		{scim.UserType(), `userName eq "A" or userName eq "B"`, "other", nil},
		{scim.UserType(), `not (userName eq "A")`, "other", nil},
		{scim.UserType(), `userName ne "A"`, "other", nil},
		{scim.UserType(), `userName eq ""`, "userName eq", nil},
		{scim.UserType(), `userName eq null`, "other", nil},
		{scim.UserType(), `title pr`, "other", nil},
	}
	for _, tt := range tests {
		f, err := scim.ParseFilter(tt.typ, tt.filter, scim.DefaultLimits())
		noError(t, err)
		if got := scim.Shape(f); got != tt.shape {
			t.Errorf("Shape(%s) = %q, want %q", tt.filter, got, tt.shape)
		}
		same(t, scim.EqLookup(f), tt.lookup)
	}
	if got := scim.Shape(nil); got != "" {
		t.Errorf("Shape(nil) = %q, want none", got)
	}
	if l := scim.EqLookup(nil); l != nil {
		t.Errorf("EqLookup(nil) = %v, want nil", l)
	}
}
