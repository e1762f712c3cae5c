package scim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/scim"
)

// obj decodes a JSON object of a test.
func obj(t testing.TB, text string) scim.Object {
	t.Helper()
	o, err := scim.DecodeObject([]byte(text), scim.DefaultLimits())
	if err != nil {
		t.Fatalf("DecodeObject(%s): %v", text, err)
	}
	return o
}

// text renders an object for comparing.
func text(o scim.Object) string { return string(scim.Encode(o)) }

func wantError(t testing.TB, err *scim.Error, status int, scimType string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %d %s", status, scimType)
	}
	if err.Status != status || err.Type != scimType {
		t.Fatalf("got %v, want %d %q", err, status, scimType)
	}
	if err.Detail == "" {
		t.Fatalf("%v has no detail", err)
	}
}

func noError(t testing.TB, err *scim.Error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func codes(list []scim.Deviation) []string {
	out := []string{}
	for _, d := range list {
		out = append(out, d.Code)
	}
	return out
}

func same(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

// ada is a resource as the store keeps it.
const ada = `{"userName":"ada","externalId":"E1","displayName":"Ada","active":true,
 "name":{"givenName":"Ada","familyName":"Lovelace"},
 "emails":[{"value":"ada@example.com","type":"work","primary":true},{"value":"ada@home.example","type":"home"}],
 "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Engines","manager":{"value":"M1"}}}`

const group = `{"displayName":"Engineers","externalId":"G1"}`
