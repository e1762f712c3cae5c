package scim_test

import (
	"fmt"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

const (
	userHead  = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada"`
	groupHead = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Engineers"`
)

// TestNormalizeUser: Normalize gives the canonical form of a user and names the deviations.
func TestNormalizeUser(t *testing.T) {
	t.Parallel()
	in := obj(t, `{"SCHEMAS":["URN:ietf:params:scim:schemas:core:2.0:user"],"username":"Ada","id":"mine","meta":{"version":"x"},
	 "groups":[{"value":"g"}],"title":null,"emails":[],"name":{"GIVENNAME":"Ada","familyName":null},"addresses":[{}],
	 "phoneNumbers":[{"value":"1","type":"work"},{"value":"1","type":"WORK","display":"d"}],
	 "x509Certificates":[{"value":"AA=="}],"profileUrl":"https://a.example/x","active":true,
	 "URN:ietf:params:scim:schemas:extension:enterprise:2.0:USER":{"Department":"d","manager":{"value":"m","displayName":"Boss"}},
	 "externalId":"E"}`)
	before := text(in)
	got, devs, err := scim.Normalize(scim.UserType(), in, scim.Mode{})
	noError(t, err)
	same(t, got, obj(t, `{"userName":"Ada","name":{"givenName":"Ada"},"phoneNumbers":[{"value":"1","type":"WORK","display":"d"}],
	 "x509Certificates":[{"value":"AA=="}],"profileUrl":"https://a.example/x","active":true,"externalId":"E",
	 "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"d","manager":{"value":"m"}}}`))
	same(t, scim.Schemas(scim.UserType(), got), []any{scim.UserURN, scim.EnterpriseUserURN})
	same(t, codes(devs), []string{scim.DevPathCase, scim.DevReadOnlyDropped})
	if text(in) != before {
		t.Fatalf("the input is %s after Normalize, want %s", text(in), before)
	}
	if devs[0].Op != -1 {
		t.Errorf("the deviation has the operation %d, want -1", devs[0].Op)
	}
}

// TestNormalizeEmptyExtension: an extension without values is dropped, with its URN.
func TestNormalizeEmptyExtension(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{`{}`, `null`, `{"department":null}`, `{"manager":{}}`} {
		got, _, err := scim.Normalize(scim.UserType(), obj(t, userHead+`,"`+scim.EnterpriseUserURN+`":`+ext+`}`), scim.Mode{})
		noError(t, err)
		same(t, scim.Schemas(scim.UserType(), got), []any{scim.UserURN})
		same(t, text(got), `{"userName":"ada"}`)
	}
}

// TestNormalizeGroup: TakeMembers returns each member of a normalised group once.
func TestNormalizeGroup(t *testing.T) {
	t.Parallel()
	got, _, err := scim.Normalize(scim.GroupType(), obj(t,
		groupHead+`,"members":[{"value":"U1","$ref":null,"type":"user","display":"x"},{"value":"U2"},{"value":"U1"}]}`), scim.Mode{})
	noError(t, err)
	rest, members := scim.TakeMembers(got)
	same(t, text(rest), `{"displayName":"Engineers"}`)
	same(t, members, []scim.Member{{ID: "U1", Type: "User"}, {ID: "U2"}})
}

// TestNormalizeRefuses: in strict mode an invalid body is an error with the right scimType.
func TestNormalizeRefuses(t *testing.T) {
	t.Parallel()
	user, grp := scim.UserType(), scim.GroupType()
	tests := []struct {
		name     string
		typ      *scim.ResourceType
		body     string
		scimType string
	}{
		// RFC 7643 §3, schemas
		{"no schemas", user, `{"userName":"a"}`, "invalidSyntax"},
		{"empty schemas", user, `{"schemas":[],"userName":"a"}`, "invalidSyntax"},
		{"schemas a string", user, `{"schemas":"` + scim.UserURN + `","userName":"a"}`, "invalidSyntax"},
		{"schemas of numbers", user, `{"schemas":[1],"userName":"a"}`, "invalidSyntax"},
		{"schemas null", user, `{"schemas":null,"userName":"a"}`, "invalidSyntax"},
		{"duplicate schemas", user, fmt.Sprintf(`{"schemas":[%q,%q],"userName":"a"}`, scim.UserURN, scim.UserURN), "invalidSyntax"},
		{"duplicate schemas by case", user, fmt.Sprintf(`{"schemas":[%q,"URN:ietf:params:scim:schemas:core:2.0:User"],"userName":"a"}`, scim.UserURN), "invalidSyntax"},
		{"unknown schema", user, fmt.Sprintf(`{"schemas":[%q,"urn:x"],"userName":"a"}`, scim.UserURN), "invalidSyntax"},
		{"schema of another type", grp, fmt.Sprintf(`{"schemas":[%q],"displayName":"a"}`, scim.UserURN), "invalidSyntax"},
		{"extension only", user, fmt.Sprintf(`{"schemas":[%q],"userName":"a"}`, scim.EnterpriseUserURN), "invalidSyntax"},
		{"patch message", user, fmt.Sprintf(`{"schemas":[%q],"userName":"a"}`, scim.PatchURN), "invalidSyntax"},
		// unknown attributes, password
		{"unknown attribute", user, userHead + `,"nonsense":1}`, "invalidSyntax"},
		{"unknown attribute null", user, userHead + `,"nonsense":null}`, "invalidSyntax"},
		{"look-alike name", user, `{"schemas":["` + scim.UserURN + `"],"u` + "ſ" + `erName":"x","userName":"a"}`, "invalidSyntax"},
		{"unknown sub-attribute", user, userHead + `,"name":{"x":"y"}}`, "invalidSyntax"},
		{"unknown element key", user, userHead + `,"emails":[{"value":"a","x":1}]}`, "invalidSyntax"},
		{"unknown extension", user, userHead + `,"urn:x":{}}`, "invalidSyntax"},
		{"unknown in extension", user, userHead + `,"` + scim.EnterpriseUserURN + `":{"x":1}}`, "invalidSyntax"},
		{"dotted key", user, userHead + `,"name.givenName":"x"}`, "invalidSyntax"},
		{"urn key", user, userHead + `,"` + scim.EnterpriseUserURN + `:department":"x"}`, "invalidSyntax"},
		{"password", user, userHead + `,"password":"x"}`, "invalidSyntax"},
		{"Password null", user, userHead + `,"Password":null}`, "invalidSyntax"},
		{"extension of another type", grp, groupHead + `,"` + scim.EnterpriseUserURN + `":{}}`, "invalidSyntax"},
		{"prototype", user, userHead + `,"__proto__":{}}`, "invalidSyntax"},
		// RFC 7644 Table 9, required attributes
		{"no userName", user, `{"schemas":["` + scim.UserURN + `"]}`, "invalidValue"},
		{"empty userName", user, `{"schemas":["` + scim.UserURN + `"],"userName":""}`, "invalidValue"},
		{"only null in a list", user, userHead + `,"emails":[null]}`, "invalidValue"},
		{"null in a list", user, userHead + `,"emails":[{"value":"a"},null]}`, "invalidValue"},
		{"null member", scim.GroupType(), groupHead + `,"members":[null]}`, "invalidValue"},
		{"null userName", user, `{"schemas":["` + scim.UserURN + `"],"userName":null}`, "invalidValue"},
		{"userName with space", user, `{"schemas":["` + scim.UserURN + `"],"userName":"a b"}`, "invalidValue"},
		{"no displayName", grp, `{"schemas":["` + scim.GroupURN + `"]}`, "invalidValue"},
		// RFC 7643 §2.3, types
		{"userName a number", user, `{"schemas":["` + scim.UserURN + `"],"userName":1}`, "invalidValue"},
		{"userName an array", user, `{"schemas":["` + scim.UserURN + `"],"userName":["a"]}`, "invalidValue"},
		{"active a string", user, userHead + `,"active":"False"}`, "invalidValue"},
		{"active a number", user, userHead + `,"active":0}`, "invalidValue"},
		{"active an array", user, userHead + `,"active":[false]}`, "invalidValue"},
		{"active an object", user, userHead + `,"active":{"value":false}}`, "invalidValue"},
		{"title a bool", user, userHead + `,"title":true}`, "invalidValue"},
		{"title with NUL", user, userHead + `,"title":"a\u0000b"}`, "invalidValue"},
		{"name a string", user, userHead + `,"name":"Ada"}`, "invalidValue"},
		{"name an array", user, userHead + `,"name":[{"givenName":"x"}]}`, "invalidValue"},
		{"complex in complex", user, userHead + `,"name":{"givenName":{"x":"y"}}}`, "invalidValue"},
		{"emails an object", user, userHead + `,"emails":{"value":"a"}}`, "invalidValue"},
		{"emails of strings", user, userHead + `,"emails":["a"]}`, "invalidValue"},
		{"emails nested", user, userHead + `,"emails":[[{"value":"a"}]]}`, "invalidValue"},
		{"primary a string", user, userHead + `,"emails":[{"value":"a","primary":"true"}]}`, "invalidValue"},
		{"bad base64", user, userHead + `,"x509Certificates":[{"value":"%%"}]}`, "invalidValue"},
		{"base64 with line break", user, userHead + `,"x509Certificates":[{"value":"AA\nAA"}]}`, "invalidValue"},
		{"bad reference", user, userHead + `,"profileUrl":"http://a b"}`, "invalidValue"},
		{"empty reference", user, userHead + `,"profileUrl":""}`, "invalidValue"},
		{"extension a string", user, userHead + `,"` + scim.EnterpriseUserURN + `":"x"}`, "invalidValue"},
		{"manager a string", user, userHead + `,"` + scim.EnterpriseUserURN + `":{"manager":"m"}}`, "invalidValue"},
		// RFC 7643 §2.4, primary
		{"two primary", user, userHead + `,"emails":[{"value":"a","primary":true},{"value":"b","primary":true}]}`, "invalidValue"},
		// IL1 §3.3.3, members
		{"member without value", grp, groupHead + `,"members":[{"display":"x"}]}`, "invalidValue"},
		{"member with empty value", grp, groupHead + `,"members":[{"value":""}]}`, "invalidValue"},
		{"member a string", grp, groupHead + `,"members":["U1"]}`, "invalidValue"},
		{"members an object", grp, groupHead + `,"members":{"value":"U1"}}`, "invalidValue"},
		{"member of another type", grp, groupHead + `,"members":[{"value":"U1","type":"Device"}]}`, "invalidValue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, _, err := scim.Normalize(tt.typ, obj(t, tt.body), scim.Mode{})
			wantError(t, err, 400, tt.scimType)
			if out != nil {
				t.Fatalf("Normalize = %v with the error, want nil", out)
			}
		})
	}
}

// TestNormalizeTolerant: a tolerant mode accepts its deviations and no others.
func TestNormalizeTolerant(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, want string
		mode             scim.Mode
		code             string
	}{
		{"unknown dropped", userHead + `,"nonsense":1,"name":{"x":1,"givenName":"A"}}`, `{"name":{"givenName":"A"},"userName":"ada"}`, scim.Mode{UnknownAttributes: []string{"NONSENSE", "name.x"}}, scim.DevUnknownDropped},
		{"foreign schema", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:scim:schemas:core:1.0"],"userName":"ada"}`, `{"userName":"ada"}`, scim.Mode{UnknownSchemas: []string{"urn:scim:schemas:CORE:1.0"}}, scim.DevUnknownSchema},
		{"password dropped", userHead + `,"password":"x"}`, `{"userName":"ada"}`, accept("PASSWORD_DROPPED"), scim.DevPasswordDropped},
		{"string boolean", userHead + `,"active":"False"}`, `{"active":false,"userName":"ada"}`, coerce(), scim.DevBooleanString},
		{"boolean in array", userHead + `,"active":[false]}`, `{"active":false,"userName":"ada"}`, coerce(), scim.DevValueArray},
		{"emails as one object", userHead + `,"emails":{"value":"a"}}`, `{"emails":[{"value":"a"}],"userName":"ada"}`, coerce(), scim.DevValueObject},
		{"emails of strings", userHead + `,"emails":["a"]}`, `{"emails":[{"value":"a"}],"userName":"ada"}`, coerce(), scim.DevValueString},
		{"manager as a string", userHead + `,"` + scim.EnterpriseUserURN + `":{"manager":"m"}}`, `{"` + scim.EnterpriseUserURN + `":{"manager":{"value":"m"}},"userName":"ada"}`, coerce(), scim.DevValueString},
		{"manager empty", userHead + `,"` + scim.EnterpriseUserURN + `":{"manager":""}}`, `{"userName":"ada"}`, coerce(), scim.DevEmptyString},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, devs, err := scim.Normalize(scim.UserType(), obj(t, tt.body), tt.mode)
			noError(t, err)
			same(t, text(got), tt.want)
			same(t, codes(devs), []string{tt.code})
		})
	}
	// A mode that drops unknown attributes does not drop a password or other errors.
	_, _, err := scim.Normalize(scim.UserType(), obj(t, userHead+`,"password":"x"}`),
		coerce().Merge(scim.Mode{UnknownAttributes: []string{"password"}}))
	wantError(t, err, 400, scim.TypeInvalidSyntax)
	_, _, err = scim.Normalize(scim.UserType(), obj(t, userHead+`,"active":"maybe"}`), coerce())
	wantError(t, err, 400, scim.TypeInvalidValue)
}
