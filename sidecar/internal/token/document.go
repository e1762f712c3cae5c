package token

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// VerifyDocument checks a compact JWS that a [Signer] made, such as the seal of an
// evidence report, against a JWK set document, and returns its claims. Only ES256
// with a kid of the set and exactly the type typ are accepted; expiry is no
// matter here, for a document stays true.
func VerifyDocument(raw, typ string, jwks []byte) (map[string]any, error) {
	msg, err := jws.ParseString(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	if len(msg.Signatures()) != 1 {
		return nil, errors.New("a document carries one signature")
	}
	h := msg.Signatures()[0].ProtectedHeaders()
	if h.Algorithm() != jwa.ES256 || h.Type() != typ {
		return nil, fmt.Errorf("the signature is not an ES256 %s", typ)
	}
	set, err := jwk.Parse(jwks)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	payload, err := jws.Verify([]byte(raw), jws.WithKeySet(set, jws.WithRequireKid(true)))
	if err != nil {
		return nil, errors.New("no key of the set made this signature")
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, fmt.Errorf("reading the claims: %w", err)
	}
	return claims, nil
}
