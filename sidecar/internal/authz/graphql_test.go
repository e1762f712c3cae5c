package authz_test

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// graph is a kit with a GraphQL route that denies the argument email and the operation deleteUser, and one with a
// credential in the variable email.
func graph(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/api/me", Fields: []string{"email", "roles"}},
			{Path: "/operations", Operations: []string{"email", "roles"}},
		}
		app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InBody, Name: "email", Body: request.BodyRoute{Method: "POST", Path: "/graphql", Format: request.GraphQL},
		}})
		o.Tenants["acme"].Apps["app"] = app
	})
}

func document(path, text string) request.Request {
	b, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		panic(err)
	}
	return appReq("POST", path, jsonBody(string(b)))
}

// TestGraphQLAsOthersRead: a document that some server splits at other places than the others neither changes a denied
// field, nor runs a denied operation, nor hides the credential of a locked person.
func TestGraphQLAsOthersRead(t *testing.T) {
	k := graph(t)
	for name, text := range map[string]string{
		"block string that ends at escaped quotes, graph-gophers": `mutation { me(a: """\""" email: "locked" #"""` + "\n) }",
		"block string behind two backslashes":                     `mutation { me(a: """\\""" email: "locked" #"""` + "\n) }",
		"comment that goes on behind CR, graphql-ruby":            "mutation { me(#\r\"\"\"\n email: \"locked\" #\r\"\"\"\n) { id } }",
		"comment that goes on behind CR, plain string":            "mutation { me(a: 1 #\r \" \n email: \"locked\" #\r\"\n) { id } }",
		"server without block strings":                            `mutation { me(a: ["""a"] email: ["locked"""]) { id } }`,
		"block string with four quotes at its end":                `mutation { me(a: """a"""" email: "locked" b: "") { id } }`,
		"block string with four quotes at its start":              `mutation { me(a: """" email: "locked" b: """") { id } }`,
		"block string of lines, old graph-gophers":                "mutation { me(a: \"\"\"\n email: $locked b: \"\"\"\n) { id } }",
		"comment that ends at NEL, graphql-java":                  "mutation { me(a: 1 #\u0085 email: \"locked\"\n) { id } }",
		"comment that ends at a form feed":                        "mutation { me(a: 1 #\f email: \"locked\"\n) { id } }",
		"string that ends at a line separator":                    "mutation { me(a: \"\u2028 email: $locked b: \"\") { id } }",
		"escape of four characters with a quote, graphql-ruby":    `mutation { me(a: "\u"   " email: "locked") { id } }`,
		"escape that is none":                                     `mutation { me(a: "\" email: \' b: \") { id } }`,
		"single quotes":                                           `mutation { me(a: '"' email: "locked" b: '"') { id } }`,
		"raw quotes":                                              "mutation { me(a: `\"` email: $x b: `\"`) { id } }",
		"hexadecimal number and a name, text/scanner":             `mutation { me(a: 0x1p0email: "locked") { id } }`,
		"number with an underscore and a name":                    `mutation { me(a: 1_000email: "locked") { id } }`,
		"number with a suffix and a name":                         `mutation { me(a: 1.5femail: "locked") { id } }`,
		"long number and a name":                                  `mutation { me(a: 0x00000000000000000000000000000000000000000000000000000000000000000000000000001roles: "locked", email: 1) }`,
		"name behind a letter that is none for others":            "mutation { me(a: 1\u00e9email: \"locked\") { id } }",
		"name between backslashes":                                `mutation { me(a: 1 \email: "locked") { id } }`,
		"bracket too many":                                        `mutation { me ) (email: "locked") { id } }`,
		"string that does not end":                                `mutation { me(a: "x, email: "y") { id } }`,
	} {
		for _, path := range []string{"/api/me", "/operations", "/graphql"} {
			if d := k.Decide(t.Context(), document(path, text)); d.Allowed() {
				t.Errorf("%s: %s: allowed", path, name)
			}
		}
		if d := k.Decide(t.Context(), appReq("POST", "/api/me", body(form, "query="+url.QueryEscape(text)))); d.Allowed() {
			t.Errorf("as a form: %s: allowed", name)
		}
	}
}

// TestUsualDocumentsPass: documents as clients print them.
func TestUsualDocumentsPass(t *testing.T) {
	k := graph(t)
	for name, text := range map[string]string{
		"Apollo":            "mutation SetTheme($input: ThemeInput!, $id: ID!) {\n  setTheme(input: $input, id: $id) {\n    id\n    ...UserParts\n    __typename\n  }\n}\n\nfragment UserParts on User {\n  id\n  name\n  __typename\n}",
		"Relay":             "mutation SetThemeMutation(\n  $input: ThemeInput!\n) {\n  setTheme(input: $input) {\n    user {\n      id\n    }\n    clientMutationId\n  }\n}\n",
		"urql":              "query ($after: String, $first: Int = 10) {\n  list(after: $after, first: $first, order: {by: NAME, desc: true}) @connection(key: \"list\", filter: [\"a\", \"b\"]) {\n    edges {\n      node {\n        id\n      }\n    }\n  }\n}",
		"graphql-ruby":      "query Q__Users($first: Int!) {\n  users(first: $first, ratio: -1.5e10) {\n    __typename\n    nodes {\n      id @include(if: true)\n    }\n  }\n}",
		"Windows lines":     "query Q {\r\n\tme { id } # the id\r\n}\r\n",
		"minified":          "query Q($a:[Int!]!=[1,2]){a:list(in:$a){id,...on B{name}}}",
		"comments":          "# a \"comment\" with a # sign, it's long: naïve\nquery Q { me { id } } # at the end",
		"block string":      `mutation { note(text: """A line: with it's (marks) # and é""") { id } }`,
		"empty block":       `mutation { note(text: """""") { id } }`,
		"lines":             "mutation {\n  note(text: \"\"\"\n  Some \"lines\"\n  of text\n  \"\"\") {\n    id\n  }\n}",
		"escapes":           `mutation { note(text: "a \"b\" \\ \/ \n \u00e9 \u{1F600} c") { id } }`,
		"texts":             `mutation { note(text: "日本語 email: x", more: "") { id } }`,
		"several":           "query A { me { id } }\nmutation B { setTheme(theme: DARK) { id } }\nsubscription C { ping }",
		"introspection":     "query IntrospectionQuery { __schema { queryType { name } types { ...T } } } fragment T on __Type { kind fields(includeDeprecated: true) { name } }",
		"byte order mark":   "\ufeffquery Q { me { id } }",
		"number and a unit": `{ list(name: "2fa", n: 0) { id } }`,
	} {
		for _, path := range []string{"/api/me", "/operations"} {
			if d := k.Decide(t.Context(), document(path, text)); !d.Allowed() {
				t.Errorf("%s: %s: %d %s (%s)", path, name, d.Status, d.Reason, d.Detail)
			}
		}
		odd := name == "lines" || name == "byte order mark" // a place takes no document of several readings
		if d := k.Decide(t.Context(), document("/graphql", text)); d.Allowed() == odd {
			t.Errorf("/graphql: %s: %d %s (%s)", name, d.Status, d.Reason, d.Detail)
		}
	}
}
