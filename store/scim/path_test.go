package scim_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

const entURN = scim.EnterpriseUserURN

// legalPaths are paths of users and their canonical text; they seed FuzzPath.
func legalPaths() map[string]string {
	return map[string]string{
		`userName`:                             `userName`,
		`USERNAME`:                             `userName`,
		`name.givenName`:                       `name.givenName`,
		`emails`:                               `emails`,
		`emails.value`:                         `emails.value`,
		`emails[type eq "work"]`:               `emails[type eq "work"]`,
		`emails[type eq "work"].value`:         `emails[type eq "work"].value`,
		`Emails [ Type EQ "work" ].VALUE`:      `emails[type eq "work"].value`,
		`emails[primary eq true].value`:        `emails[primary eq true].value`,
		`emails[type eq "]"].value`:            `emails[type eq "]"].value`,
		scim.UserURN + `:active`:               `active`,
		scim.UserURN + `:name.givenName`:       `name.givenName`,
		scim.UserURN + `:emails[value eq "x"]`: `emails[value eq "x"]`,
		entURN:                                 entURN,
		strings.ToUpper(entURN):                entURN,
		entURN + `:department`:                 entURN + `:department`,
		entURN + `:manager.value`:              entURN + `:manager.value`,
		entURN + `:manager[value eq "m"]`:      entURN + `:manager[value eq "m"]`,
		`id`:                                   `id`,
		`groups`:                               `groups`,
		`meta.version`:                         `meta.version`,
	}
}

// TestParsePath: a path prints in canonical form.
func TestParsePath(t *testing.T) {
	t.Parallel()
	for in, want := range legalPaths() {
		p, err := scim.ParsePath(scim.UserType(), in)
		if err != nil {
			t.Errorf("ParsePath(%s) = %v, want no error", in, err)
			continue
		}
		if got := p.String(); got != want {
			t.Errorf("String of %s = %s, want %s", in, got, want)
		}
	}
	p, err := scim.ParsePath(scim.UserType(), entURN+`:manager.value`)
	noError(t, err)
	if p.URN != entURN || p.Attr != "manager" || p.Sub != "value" || p.Filter != nil {
		t.Errorf("ParsePath = %+v, want the URN, manager and value", p)
	}
}

func badPaths() map[string]string {
	return map[string]string{
		``: "invalidPath", ` `: "invalidPath", ` userName`: "invalidPath", `userName `: "invalidPath", `userName title`: "invalidPath",
		`nonsense`: "invalidPath", `name.nonsense`: "invalidPath", `name.givenName.x`: "invalidPath", `.`: "invalidPath", `name.`: "invalidPath",
		`urn:x:userName`: "invalidPath", scim.UserURN: "invalidPath", scim.UserURN + `:`: "invalidPath", scim.UserURN + `:nonsense`: "invalidPath",
		entURN + `:nonsense`: "invalidPath", entURN + `.manager`: "invalidPath", entURN + `[value eq "x"]`: "invalidPath",
		`manager`: "invalidPath", `department`: "invalidPath", `uſerName`: "invalidPath", `__proto__`: "invalidPath",
		`emails[value eq "x"] `: "invalidPath", `emails[value eq "x"]x`: "invalidPath", `emails[value eq "x"].`: "invalidPath",
		`emails[value eq "x"].nonsense`: "invalidPath", `emails[value eq "x"].value.x`: "invalidPath", `emails[value eq "x"][type pr]`: "invalidPath",
		`password`: "invalidSyntax",
		`emails[`:  "invalidFilter", `emails[]`: "invalidFilter", `emails[value eq x]`: "invalidFilter", `emails[value eq "x"`: "invalidFilter",
		`emails[nonsense eq "x"]`: "invalidFilter", `userName[value eq "x"]`: "invalidFilter", `emails.value[x pr]`: "invalidFilter",
		`emails[value eq"x"]`: "invalidFilter", `emails[primary eq "True"]`: "invalidFilter",
		strings.Repeat("a", 5000): "invalidPath",
	}
}

// TestParsePathRefuses: bad paths are errors with the right scimType and a short detail.
func TestParsePathRefuses(t *testing.T) {
	t.Parallel()
	for in, scimType := range badPaths() {
		_, err := scim.ParsePath(scim.UserType(), in)
		if err == nil || err.Status != 400 || err.Type != scimType || err.Detail == "" {
			t.Errorf("ParsePath(%.60q) = %v, want 400 %s with a detail", in, err, scimType)
			continue
		}
		if len(err.Detail) > 500 {
			t.Errorf("ParsePath(%.60q): a detail of %d bytes, want at most 500", in, len(err.Detail))
		}
	}
}
