package scimhttp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// TestBadInput: every row gets a SCIM error and changes nothing. {user} and {group} are
// the ids of a stored user and group.
func TestBadInput(t *testing.T) {
	const patch = `{"schemas":["` + scim.PatchURN + `"],"Operations":%s}`
	single := func(op string) string { return fmt.Sprintf(patch, "["+op+"]") }
	user := func(rest string) string {
		return `{"schemas":["` + scim.UserURN + `"],"userName":"new@acme.example","externalId":"new",` +
			`"emails":[{"value":"new@acme.example"}]` + rest + `}`
	}
	grp := func(rest string) string {
		return `{"schemas":["` + scim.GroupURN + `"],"displayName":"new"` + rest + `}`
	}
	tests := []struct {
		name, method, path, body string
		status                   int
		scimType                 string
		header                   []string
	}{
		// Bodies.
		{name: "no body", method: "POST", path: "/Users", status: 400, scimType: "invalidSyntax"},
		{name: "not JSON", method: "POST", path: "/Users", body: `userName=x`, status: 400, scimType: "invalidSyntax"},
		{name: "JSON array", method: "POST", path: "/Users", body: `[]`, status: 400, scimType: "invalidSyntax"},
		{name: "JSON string", method: "POST", path: "/Users", body: `"x"`, status: 400, scimType: "invalidSyntax"},
		{name: "null", method: "POST", path: "/Users", body: `null`, status: 400, scimType: "invalidSyntax"},
		{name: "cut off", method: "POST", path: "/Users", body: `{"schemas":[`, status: 400, scimType: "invalidSyntax"},
		{name: "trailing data", method: "POST", path: "/Users", body: user("") + `{}`, status: 400, scimType: "invalidSyntax"},
		{name: "the same key twice", method: "POST", path: "/Users", body: user(`,"userName":"b"`), status: 400, scimType: "invalidSyntax"},
		{name: "the same key in another case", method: "POST", path: "/Users", body: user(`,"USERNAME":"b"`), status: 400, scimType: "invalidSyntax"},
		{name: "byte order mark", method: "POST", path: "/Users", body: "\ufeff" + user(""), status: 400, scimType: "invalidSyntax"},
		{name: "not UTF-8", method: "POST", path: "/Users", body: user(`,"title":"` + "\xff\xfe" + `"`), status: 400, scimType: "invalidSyntax"},
		{name: "lone surrogate", method: "POST", path: "/Users", body: user(`,"title":"\ud800"`), status: 400, scimType: "invalidSyntax"},
		{name: "number out of range", method: "POST", path: "/Users", body: user(`,"title":1e400`), status: 400, scimType: "invalidSyntax"},
		{name: "a thousand levels", method: "POST", path: "/Users", body: user(`,"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), status: 400, scimType: "invalidSyntax"},
		{name: "larger than the limit", method: "POST", path: "/Users", body: user(`,"title":"` + strings.Repeat("a", 300<<10) + `"`), status: 413},
		{name: "compressed", method: "POST", path: "/Users", body: user(""), status: 415, header: []string{"Content-Encoding", "gzip"}},
		{name: "another media type", method: "POST", path: "/Users", body: user(""), status: 415, header: []string{"Content-Type", "text/plain"}},
		{name: "no media type", method: "POST", path: "/Users", body: user(""), status: 415, header: []string{"Content-Type", ""}},
		{name: "GET with a body", method: "GET", path: "/Users", body: `{}`, status: 400, scimType: "invalidSyntax"},
		{name: "DELETE with a body", method: "DELETE", path: "/Users/{user}", body: `{}`, status: 400, scimType: "invalidSyntax"},

		// Resources.
		{name: "no schemas", method: "POST", path: "/Users", body: `{"userName":"x"}`, status: 400, scimType: "invalidSyntax"},
		{name: "schemas of a group", method: "POST", path: "/Users", body: grp(""), status: 400, scimType: "invalidSyntax"},
		{name: "unknown schema", method: "POST", path: "/Users", body: `{"schemas":["` + scim.UserURN + `","urn:x"],"userName":"x"}`, status: 400, scimType: "invalidSyntax"},
		{name: "unknown attribute", method: "POST", path: "/Users", body: user(`,"shoeSize":43`), status: 400, scimType: "invalidSyntax"},
		{name: "password", method: "POST", path: "/Users", body: user(`,"password":"hunter2"`), status: 400, scimType: "invalidSyntax"},
		{name: "userName missing", method: "POST", path: "/Users", body: `{"schemas":["` + scim.UserURN + `"],"displayName":"x"}`, status: 400, scimType: "invalidValue"},
		{name: "userName empty", method: "POST", path: "/Users", body: `{"schemas":["` + scim.UserURN + `"],"userName":""}`, status: 400, scimType: "invalidValue"},
		{name: "userName null", method: "POST", path: "/Users", body: `{"schemas":["` + scim.UserURN + `"],"userName":null}`, status: 400, scimType: "invalidValue"},
		{name: "userName a number", method: "POST", path: "/Users", body: `{"schemas":["` + scim.UserURN + `"],"userName":1}`, status: 400, scimType: "invalidValue"},
		{name: "active a string", method: "POST", path: "/Users", body: user(`,"active":"True"`), status: 400, scimType: "invalidValue"},
		{name: "emails an object", method: "POST", path: "/Users", body: user(`,"phoneNumbers":{"value":"1"}`), status: 400, scimType: "invalidValue"},
		{name: "two primaries", method: "POST", path: "/Users", body: user(`,"phoneNumbers":[{"value":"1","primary":true},{"value":"2","primary":true}]`), status: 400, scimType: "invalidValue"},
		{name: "name a string", method: "POST", path: "/Users", body: user(`,"name":"Ada"`), status: 400, scimType: "invalidValue"},
		{name: "group without displayName", method: "POST", path: "/Groups", body: `{"schemas":["` + scim.GroupURN + `"]}`, status: 400, scimType: "invalidValue"},
		{name: "member that does not exist", method: "POST", path: "/Groups", body: grp(`,"members":[{"value":"nobody"}]`), status: 400, scimType: "invalidValue"},
		{name: "member without a value", method: "POST", path: "/Groups", body: grp(`,"members":[{"type":"User"}]`), status: 400, scimType: "invalidValue"},
		{name: "member a string", method: "POST", path: "/Groups", body: grp(`,"members":["x"]`), status: 400, scimType: "invalidValue"},
		{name: "userName of another", method: "POST", path: "/Users", body: strings.Replace(user(""), `"userName":"new@acme.example"`, `"userName":"ADA@acme.example"`, 1), status: 409, scimType: "uniqueness"},

		// PATCH.
		{name: "PATCH without schemas", method: "PATCH", path: "/Users/{user}", body: `{"Operations":[{"op":"replace","path":"title","value":"x"}]}`, status: 400, scimType: "invalidSyntax"},
		{name: "PATCH without operations", method: "PATCH", path: "/Users/{user}", body: `{"schemas":["` + scim.PatchURN + `"]}`, status: 400, scimType: "invalidSyntax"},
		{name: "PATCH with no operation", method: "PATCH", path: "/Users/{user}", body: fmt.Sprintf(patch, "[]"), status: 400, scimType: "invalidSyntax"},
		{name: "operations an object", method: "PATCH", path: "/Users/{user}", body: fmt.Sprintf(patch, "{}"), status: 400, scimType: "invalidSyntax"},
		{name: "operation a string", method: "PATCH", path: "/Users/{user}", body: single(`"replace"`), status: 400, scimType: "invalidSyntax"},
		{name: "unknown op", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"move","path":"title","value":"x"}`), status: 400, scimType: "invalidSyntax"},
		{name: "op missing", method: "PATCH", path: "/Users/{user}", body: single(`{"path":"title","value":"x"}`), status: 400, scimType: "invalidSyntax"},
		{name: "remove without path", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"remove"}`), status: 400, scimType: "noTarget"},
		{name: "path without grammar", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"emails[","value":"x"}`), status: 400, scimType: "invalidFilter"},
		{name: "path of dots", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"name..givenName","value":"x"}`), status: 400, scimType: "invalidPath"},
		{name: "path of an unknown attribute", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"shoeSize","value":1}`), status: 400, scimType: "invalidPath"},
		{name: "filter that matches nothing", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"emails[type eq \"fax\"].value","value":"x"}`), status: 400, scimType: "noTarget"},
		{name: "wrong type", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"active","value":"no"}`), status: 400, scimType: "invalidValue"},
		{name: "remove a required attribute", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"remove","path":"userName"}`), status: 400, scimType: "mutability"},
		{name: "write id", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"id","value":"x"}`), status: 400, scimType: "mutability"},
		{name: "write groups", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"add","path":"groups","value":[{"value":"x"}]}`), status: 400, scimType: "mutability"},
		{name: "write the password", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"password","value":"x"}`), status: 400, scimType: "invalidSyntax"},
		{name: "one good and one bad", method: "PATCH", path: "/Users/{user}", body: fmt.Sprintf(patch, `[{"op":"replace","path":"title","value":"x"},{"op":"replace","path":"active","value":1}]`), status: 400, scimType: "invalidValue"},
		{name: "userName of another", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"userName","value":"bob@acme.example"}`), status: 409, scimType: "uniqueness"},
		{name: "add a member who does not exist", method: "PATCH", path: "/Groups/{group}", body: single(`{"op":"add","path":"members","value":[{"value":"nobody"}]}`), status: 400, scimType: "invalidValue"},
		{name: "unknown user", method: "PATCH", path: "/Users/nobody", body: single(`{"op":"replace","path":"title","value":"x"}`), status: 404},
		{name: "a group's id as a user", method: "PATCH", path: "/Users/{group}", body: single(`{"op":"replace","path":"title","value":"x"}`), status: 404},
		{name: "1001 operations", method: "PATCH", path: "/Users/{user}", body: fmt.Sprintf(patch, "["+strings.TrimSuffix(strings.Repeat(`{"op":"replace","path":"title","value":"x"},`, 1001), ",")+"]"), status: 400, scimType: "invalidValue"},
		{name: "null in a list", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"emails","value":[null]}`), status: 400, scimType: "invalidValue"},
		{name: "255 addresses", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"add","path":"emails","value":[` + numbered(255) + `]}`), status: 400, scimType: "invalidValue"},
		{name: "1001 addresses", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"add","path":"emails","value":[` + numbered(1001) + `]}`), status: 400, scimType: "invalidValue"},
		{name: "a long userName", method: "PATCH", path: "/Users/{user}", body: single(`{"op":"replace","path":"userName","value":"` + strings.Repeat("a", 1025) + `"}`), status: 400, scimType: "invalidValue"},
		{name: "a long displayName of a group", method: "POST", path: "/Groups", body: `{"schemas":["` + scim.GroupURN + `"],"displayName":"` + strings.Repeat("a", 70_000) + `"}`, status: 400, scimType: "invalidValue"},

		// Queries.
		{name: "filter empty", method: "GET", path: "/Users?filter=", status: 400, scimType: "invalidFilter"},
		{name: "filter without operator", method: "GET", path: filter("Users", "userName"), status: 400, scimType: "invalidFilter"},
		{name: "filter unbalanced", method: "GET", path: filter("Users", `(userName eq "x"`), status: 400, scimType: "invalidFilter"},
		{name: "filter with trailing text", method: "GET", path: filter("Users", `userName eq "x" y`), status: 400, scimType: "invalidFilter"},
		{name: "filter value without quotes", method: "GET", path: filter("Users", `userName eq x`), status: 400, scimType: "invalidFilter"},
		{name: "filter on a password", method: "GET", path: filter("Users", `password eq "x"`), status: 400, scimType: "invalidFilter"},
		{name: "filter of an unknown attribute", method: "GET", path: filter("Users", `shoeSize eq 43`), status: 400, scimType: "invalidFilter"},
		{name: "order of booleans", method: "GET", path: filter("Users", `active gt false`), status: 400, scimType: "invalidFilter"},
		{name: "filter too long", method: "GET", path: filter("Users", `userName eq "`+strings.Repeat("a", 5000)+`"`), status: 400, scimType: "invalidFilter"},
		{name: "filter too deep", method: "GET", path: filter("Users", strings.Repeat("(", 200)+`active eq true`+strings.Repeat(")", 200)), status: 400, scimType: "invalidFilter"},
		{name: "count a word", method: "GET", path: "/Users?count=many", status: 400, scimType: "invalidValue"},
		{name: "startIndex a fraction", method: "GET", path: "/Users?startIndex=1.5", status: 400, scimType: "invalidValue"},
		{name: "count twice", method: "GET", path: "/Users?count=1&count=2", status: 400, scimType: "invalidSyntax"},
		{name: "both projections", method: "GET", path: "/Users?attributes=name&excludedAttributes=name", status: 400, scimType: "invalidValue"},
		{name: "token in the query", method: "GET", path: "/Users?access_token=x", status: 400},
		{name: "bad escape in the query", method: "GET", path: "/Users?filter=%zz", status: 400, scimType: "invalidSyntax"},

		// Paths and credentials.
		{name: "unknown user", method: "GET", path: "/Users/nobody", status: 404},
		{name: "id as long as a novel", method: "GET", path: "/Users/" + strings.Repeat("a", 3000), status: 404},
		{name: "trailing slash", method: "GET", path: "/Users/", status: 400},
		{name: "two slashes", method: "GET", path: "//Users", status: 400},
		{name: "dot segments", method: "DELETE", path: "/Groups/../Users/{user}", status: 400},
		{name: "encoded slash", method: "DELETE", path: "/Users%2F{user}", status: 400},
		{name: "encoded letter", method: "DELETE", path: "/%55sers/{user}", status: 400},
		{name: "method override", method: "POST", path: "/Users/{user}", body: `{}`, status: 400, header: []string{"X-HTTP-Method-Override", "DELETE"}},
		{name: "bad token", method: "DELETE", path: "/Users/{user}", status: 401, header: []string{"Authorization", "Bearer nope"}},
		{name: "no token", method: "DELETE", path: "/Users/{user}", status: 401, header: []string{"Authorization", ""}},
		{name: "Basic", method: "DELETE", path: "/Users/{user}", status: 401, header: []string{"Authorization", "Basic eDp5"}},
		{name: "two credentials in one", method: "DELETE", path: "/Users/{user}", status: 400, header: []string{"Authorization", "Bearer acme-token,Bearer acme-token"}},
		{name: "another tenant's token", method: "DELETE", path: "/Users/{user}", status: 401, header: []string{"Authorization", "Bearer globex-token"}},
		{name: "another version", method: "GET", path: "/../v1/Users", status: 400},
	}
	for _, profile := range []string{il1, base} {
		s := serve(t, profile)
		id, gid := s.createUser("ada"), s.createGroup("staff", s.createUser("bob"))
		fill := strings.NewReplacer("{user}", id, "{group}", gid)
		for _, tt := range tests {
			t.Run(profile+"/"+tt.name, func(t *testing.T) {
				q := *s
				q.t = t
				var body any
				if tt.body != "" {
					body = fill.Replace(tt.body)
				}
				q.unchanged(func() {
					q.raw(tt.method, fill.Replace(tt.path), body, tt.header...).wantError(tt.status, tt.scimType)
				})
			})
		}
	}
}

// numbered returns n different e-mail addresses, as the elements of an array.
func numbered(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`{"value":"a%d@acme.example"}`, i))
	}
	return strings.Join(out, ",")
}
