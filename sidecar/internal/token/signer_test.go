package token_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestSigner: a signed token verifies with the published set, which has no private part.
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
		t.Errorf("kids %q and %q, want two different", kid, otherKid)
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

// TestSignerRefusesKeys: NewSigner rejects every key except a private P-256 key with a kid, and its
// errors quote no secret.
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
			t.Errorf("%s: the key was published, want an error", name)
		}
	}
}

// TestVerifyDocument: only the right type, key and form verify.
func TestVerifyDocument(t *testing.T) {
	doc, kid, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := token.NewSigner(doc)
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.PublicJWKS(doc)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(typ string) string {
		raw, err := s.Sign(object{"sub": "u-1"}, typ)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := seal("evidence+jwt")
	claims, err := token.VerifyDocument(good, "evidence+jwt", set)
	if err != nil || claims["sub"] != "u-1" {
		t.Fatalf("claims %v, error %v", claims, err)
	}
	stranger := newES256(t, kid)
	ps := newRSA(t, "ps", jwa.PS256)
	tests := map[string]struct {
		raw, typ string
		set      []byte
		want     token.Reason
	}{
		"an access token":     {seal(token.TypeAccessToken), "evidence+jwt", set, token.ReasonType},
		"no type asked for":   {seal(""), "", set, token.ReasonType},
		"a stranger's key":    {sign(t, stranger, object{"typ": "evidence+jwt"}, object{}), "evidence+jwt", set, token.ReasonSignature},
		"a key that is gone":  {good, "evidence+jwt", jwks(t, newES256(t, "other")), token.ReasonKey},
		"no kid":              {sign(t, stranger, object{"typ": "evidence+jwt", "kid": nil}, object{}), "evidence+jwt", jwks(t, stranger), token.ReasonKey},
		"another algorithm":   {sign(t, ps, object{"typ": "evidence+jwt"}, object{}), "evidence+jwt", jwks(t, ps), token.ReasonAlgorithm},
		"claims exchanged":    {strings.Replace(good, ".", "."+b64([]byte(" ")), 1), "evidence+jwt", set, token.ReasonMalformed},
		"JSON serialization":  {`{"payload":"e30","signatures":[]}`, "evidence+jwt", set, token.ReasonMalformed},
		"something very long": {strings.Repeat("x", token.MaxTokenBytes+1), "evidence+jwt", set, token.ReasonMalformed},
		"nothing":             {"", "evidence+jwt", set, token.ReasonMalformed},
		"critical header":     {sign(t, stranger, object{"typ": "evidence+jwt", "crit": []string{"x"}}, object{}), "evidence+jwt", jwks(t, stranger), token.ReasonHeader},
	}
	for name, tt := range tests {
		_, err := token.VerifyDocument(tt.raw, tt.typ, tt.set)
		if got := reasonOf(t, err); got != tt.want {
			t.Errorf("%s: reason = %q (%v), want %q", name, got, err, tt.want)
		}
	}
	if _, err := token.VerifyDocument(good, "evidence+jwt", []byte("{}")); err == nil {
		t.Error("VerifyDocument() = nil without keys, want an error")
	}
}
