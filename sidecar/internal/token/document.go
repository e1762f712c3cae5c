package token

import (
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

// VerifyDocument verifies a compact JWS of a [Signer], such as the seal of an evidence report, with
// a JWKS document. It returns the claims, with numbers as json.Number. It accepts only ES256, a kid
// in the set, and exactly the given typ. It ignores exp, because a document does not expire. The
// form must be as strict as for [Verifier.Verify]. The error is an *[Error], unless the JWKS cannot
// be read.
func VerifyDocument(raw, typ string, jwks []byte) (map[string]any, error) {
	if len(raw) > MaxTokenBytes {
		return nil, refuse(ReasonMalformed, fmt.Sprintf("a signature has at most %d bytes", MaxTokenBytes))
	}
	keys, err := parseKeySet(jwks)
	if err != nil {
		return nil, err
	}
	t, refused := parse(raw, []jwa.SignatureAlgorithm{jwa.ES256}, nil)
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
