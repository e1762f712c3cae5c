package token

import (
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

// VerifyDocument verifies a compact JWS that a [Signer] made, such as the seal of
// an evidence report, with a JWKS document, and returns its claims (numbers as
// json.Number). It accepts only ES256, a kid of the set, and exactly the given tyt.
// It ignores exp, because a document stays true. It is as strict about form as
// [Verifier.Verify], and returns an *[Error] unless the JWKS cannot be read.
func VerifyDocument(raw, typ string, jwks []byte) (map[string]any, error) {
	if len(raw) > MaxTokenBytes {
		return nil, refuse(ReasonMalformed, fmt.Sprintf("a signature has at most %d bytes", MaxTokenBytes))
	}
	keys, err := parseKeySet(jwks)
	if err != nil {
		return nil, err
	}
	t, refused := parse(raw, []jwa.SignatureAlgorithm{jwa.ES256})
	if refused != nil {
		return nil, refused
	}
	if typ == "" || t.typ != strings.ToLower(typ) {
		return nil, refuse(ReasonType, "the signature is of another kind of document")
	}
	k, _ := (&keySet{keys: keys}).find(t.kid, t.alg)
	if k == nil || t.kid == "" {
		return nil, refuse(ReasonKey, "no key of the set has the kid of the signature")
	}
	if err := k.verify(t.alg, t.signing, t.sig); err != nil {
		return nil, &Error{Reason: ReasonSignature, Detail: "no key of the set made this signature", Err: err}
	}
	return t.claims, nil
}
