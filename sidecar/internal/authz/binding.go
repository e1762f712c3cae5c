package authz

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// The schemes of access tokens.
const (
	schemeBearer = "bearer"
	schemeDPoP   = "dpop"
)

// prove checks that the sender has what the access token is bound to, and that the token is bound to what
// its client must use (RFC 9449 §7, RFC 8705 §3).
func (t *tenant) prove(ctx context.Context, r *request.Request, c *credential, claims *token.Claims) *Decision {
	b := &claims.Binding
	switch {
	case b.Key == "" && c.scheme == schemeDPoP:
		return t.unproven(c, claims,
			"it is not bound to a key: send it with the scheme Bearer, or ask for a token with a DPoP proof")
	case b.Key != "" && c.scheme != schemeDPoP:
		return asDPoP(t.unproven(c, claims,
			"it is bound to a key: send it with the scheme DPoP and a DPoP header (RFC 9449)"))
	case b.Certificate != "" && b.Certificate != r.Certificate.Thumbprint():
		return t.unproven(c, claims, "it is bound to a client certificate, and this connection does not use that certificate")
	}
	if t.constraint != nil {
		if missing := t.constraint(claims.Issuer, claims.ClientID).Missing(*b); missing != "" {
			return t.unproven(c, claims, "tokens of this client are bound to "+missing+
				": ask for such a token, or change sender_constrained of the client")
		}
	}
	if b.Key == "" {
		return nil
	}
	return t.checkProof(ctx, r, c, claims)
}

// checkProof checks the DPoP header of a request with a token that is bound to a key.
func (t *tenant) checkProof(
	ctx context.Context, r *request.Request, c *credential, claims *token.Claims,
) *Decision {
	proof, several := r.Headers.Single("dpop")
	err := error(&token.Error{Reason: token.ReasonProof, Detail: "send exactly one DPoP header with the scheme DPoP"})
	if proof != "" && !several && t.proofs != nil {
		_, err = t.proofs.Verify(ctx, proof, &token.ProofRequest{
			Method: r.Method, URL: t.url + r.Path, Token: c.raw, Key: claims.Binding.Key, ID: r.ID,
			Ahead: r.Later, Nonce: t.dpopNonce,
		})
	}
	if err == nil {
		return nil
	}
	var te *token.Error
	if !errors.As(err, &te) {
		return fault(ReasonKeys, "the DPoP proof cannot be verified at the moment: send the request again, with a new proof")
	}
	te.Issuer, te.ClientID, te.KeyID = claims.Issuer, claims.ClientID, claims.KeyID
	d := t.proofDenial(te)
	d.Token = te
	return d
}

// proofDenial maps a refusal of a proof (RFC 9449 §7.1, §9).
func (t *tenant) proofDenial(te *token.Error) *Decision {
	if te.Reason == token.ReasonProofMemory {
		return fault(ReasonProofMemory, te.Detail)
	}
	code, d := "invalid_dpop_proof", deny(http.StatusUnauthorized, ReasonProof, te.Detail)
	if te.Reason == token.ReasonProofNonce {
		code, d.Reason, d.Nonce = "use_dpop_nonce", ReasonProofNonce, t.proofs.Nonce()
	}
	return asDPoP(t.describe(code, "", d))
}

// unproven denies a token that is bound to something else than its sender shows.
func (t *tenant) unproven(c *credential, claims *token.Claims, detail string) *Decision {
	te := &token.Error{
		Reason: token.ReasonBinding, Detail: detail, Issuer: claims.Issuer, ClientID: claims.ClientID, KeyID: claims.KeyID,
	}
	d := t.describe("invalid_token", "", deny(http.StatusUnauthorized, ReasonBinding, "the access token: "+detail))
	d.Token = te
	return c.answer(d)
}

// credential is an access token and the scheme that it came with.
type credential struct{ scheme, raw string }

// answer makes the challenge of a refusal one of the scheme of the request.
func (c *credential) answer(d *Decision) *Decision {
	if c.scheme == schemeDPoP {
		return asDPoP(d)
	}
	return d
}

// asDPoP makes the challenge of a refusal one of the scheme DPoP (RFC 9449 §7.1).
func asDPoP(d *Decision) *Decision {
	if rest, found := strings.CutPrefix(d.Challenge, "Bearer"); found {
		d.Challenge = "DPoP" + rest + `, algs="` + strings.Join(token.ProofAlgorithms(), " ") + `"`
	}
	return d
}
