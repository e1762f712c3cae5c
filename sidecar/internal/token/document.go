package token

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

// VerifyDocument checks a compact JWS that a [Signer] made, such as the seal of an
// evidence report, against a JWK set document, and returns its claims (numbers as
// json.Number). Only ES256 with a kid of the set and exactly the type typ are
// accepted; expiry is no matter here, for a document stays true. It is as strict
// about form as [Verifier.Verify].
func VerifyDocument(raw, typ string, jwks []byte) (map[string]any, error) {
	if len(raw) > MaxTokenBytes {
		return nil, refuse(ReasonMalformed, fmt.Sprintf("a signature has at most %d bytes", MaxTokenBytes))
	}
	keys, err := parseKeySet(jwks, defaultMaxKeys)
	if err != nil {
		return nil, err
	}
	p, refused := parse(raw, base64.RawURLEncoding.Strict(), []jwa.SignatureAlgorithm{jwa.ES256})
	if refused != nil {
		return nil, refused
	}
	if typ == "" || p.typ != strings.ToLower(typ) {
		return nil, refuse(ReasonType, "the signature is of another kind of document")
	}
	set := keySet{keys: keys}
	k, _ := set.find(p.kid, p.alg)
	if k == nil || p.kid == "" {
		return nil, refuse(ReasonKey, "no key of the set has the kid of the signature")
	}
	if err := k.verify(p.alg, p.signing, p.sig); err != nil {
		return nil, &Error{Reason: ReasonSignature, Detail: "no key of the set made this signature", Err: err}
	}
	return p.claims, nil
}
