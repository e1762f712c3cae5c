package scim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/scim"
)

// obj decodes a JSON object of a test.
func obj(tb testing.TB, text string) scim.Object {
	tb.Helper()
	o, err := scim.DecodeObject([]byte(text), scim.DefaultLimits())
	if err != nil {
		tb.Fatalf("DecodeObject(%s): %v", text, err)
	}
	return o
}

// text renders an object for comparing.
func text(o scim.Object) string { return string(scim.Encode(o)) }

func wantError(tb testing.TB, err *scim.Error, status int, scimType string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("got no error, want %d %s", status, scimType)
	}
	if err.Status != status || err.Type != scimType {
		tb.Fatalf("got %v, want %d %q", err, status, scimType)
	}
	if err.Detail == "" {
		tb.Fatalf("%v has no detail", err)
	}
}

func noError(tb testing.TB, err *scim.Error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("unexpected error: %v", err)
	}
}

func codes(list []scim.Deviation) []string {
	out := []string{}
	for _, d := range list {
		out = append(out, d.Code)
	}
	return out
}

func same(tb testing.TB, got, want any) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Fatalf("(-want +got):\n%s", diff)
	}
}

// ada is a resource as the store keeps it.
const ada = `{"userName":"ada","externalId":"E1","displayName":"Ada","active":true,
 "name":{"givenName":"Ada","familyName":"Lovelace"},
 "emails":[{"value":"ada@example.com","type":"work","primary":true},{"value":"ada@home.example","type":"home"}],
 "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Engines","manager":{"value":"M1"}}}`

const group = `{"displayName":"Engineers","externalId":"G1"}`

// accept is the mode that accepts the codes.
func accept(codes ...string) scim.Mode { return scim.Mode{Accept: codes} }

// coerce is the mode that accepts values of another JSON type.
func coerce() scim.Mode {
	return accept("BOOLEAN_STRING", "VALUE_ARRAY", "VALUE_OBJECT", "VALUE_STRING", "VALUE_WRAPPED", "EMPTY_STRING")
}

// listed returns the codes that a mode can list.
func listed() []string {
	var out []string
	for _, c := range scim.Codes() {
		if c.Accepted == scim.AcceptListed {
			out = append(out, c.Name)
		}
	}
	return out
}

// lenient is the mode that accepts every code, and drops some names.
func lenient() scim.Mode {
	return scim.Mode{
		Accept: listed(), UnknownSchemas: []string{"urn:scim:schemas:core:1.0", "urn:example:ext"},
		UnknownAttributes: []string{"nonsense", "name.nonsense"},
	}
}
