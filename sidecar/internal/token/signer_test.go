package token_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestSigner: what is signed here verifies here, and the published set has no
// private part.
func TestSigner(t *testing.T) {
	one, kid, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	two, otherKid, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if kid == otherKid || len(kid) < 40 {
		t.Errorf("kids %q and %q", kid, otherKid)
	}
	doc, err := token.PublicJWKS(one, two)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(doc, &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		if _, private := k["d"]; private || k["alg"] != "ES256" || k["use"] != "sig" || k["crv"] != "P-256" {
			t.Errorf("published key %v", k)
		}
	}
	s, err := token.NewSigner(two)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(accessClaims(), token.TypeAccessToken)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newVerifier(t, accessOptions(doc)).Verify(t.Context(), raw)
	if err != nil || c.KeyID != otherKid || s.KeyID() != otherKid {
		t.Errorf("claims %+v, error %v", c, err)
	}
}

func TestSignerRefusesKeys(t *testing.T) {
	doc, _, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	var k object
	if err := json.Unmarshal(doc, &k); err != nil {
		t.Fatal(err)
	}
	tests := map[string][]byte{
		"nothing":   nil,
		"not JSON":  []byte("secret-text"),
		"no kid":    marshal(t, with(k, object{"kid": nil})),
		"public":    marshal(t, with(k, object{"d": nil})),
		"symmetric": []byte(`{"kty":"oct","k":"c2VjcmV0LXRleHQ","kid":"s"}`),
	}
	for name, doc := range tests {
		if _, err := token.NewSigner(doc); err == nil || strings.Contains(err.Error(), "secret-text") {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := token.PublicJWKS(doc); err == nil {
			t.Errorf("%s: was published", name)
		}
	}
}
