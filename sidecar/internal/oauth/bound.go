package oauth

import (
	"errors"
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// bind sets what the access token of an authenticated client is bound to: the key of the DPoP proof, if the
// request has one (RFC 9449 §5), or else the client certificate, if the client may use it (RFC 8705 §3). The proof
// is not used yet, and nil without one.
func (t *tenant) bind(
	r *http.Request, q *tokenRequest, c *Client, to *token.Binding,
) (proof *token.CheckedProof, err error) {
	proofs := r.Header.Values("DPoP")
	switch {
	case len(proofs) > 1:
		return nil, &token.Error{Reason: token.ReasonProof, Detail: "send one DPoP header"}
	case len(proofs) == 1:
		proof, err = t.state.Proofs.Check(proofs[0], &token.ProofRequest{
			Method: r.Method, URL: t.TokenEndpoint, ID: q.id, Nonce: t.DPoPNonce,
		})
		if err != nil {
			return nil, err
		}
		to.Key = proof.Key
	case c.Constraint.Certificates():
		to.Certificate = request.ForwardedCertificate(r.Header.Values("X-Forwarded-Client-Cert")).Thumbprint()
	}
	if missing := c.Constraint.Missing(*to); missing != "" {
		return nil, refuseUnbound(c.Constraint, missing)
	}
	return proof, nil
}

// refuseUnbound answers a client that must bind its tokens and does not.
func refuseUnbound(c token.Constraint, missing string) error {
	detail := "the access tokens of this client are bound to " + missing + ": send it with the request"
	if c == token.ConstraintCertificate {
		return refuse(faultRequest, detail)
	}
	return &token.Error{Reason: token.ReasonProof, Detail: detail}
}

// proofAnswer is the answer to a refused proof (RFC 9449 §5, §8), ok is false for any other error.
func proofAnswer(err *token.Error) (a answer, ok bool) {
	a = answer{
		status: http.StatusBadRequest, code: "invalid_dpop_proof", description: err.Detail, reason: string(err.Reason),
	}
	switch err.Reason {
	case token.ReasonProof, token.ReasonProofReplay:
	case token.ReasonProofNonce:
		a.code = "use_dpop_nonce"
	case token.ReasonProofMemory:
		a = unavailable(err.Detail, string(err.Reason))
	default:
		return answer{}, false
	}
	return a, true
}

// offerNonce sends a nonce if the client needs one now, or for its next request.
func (h *handler) offerNonce(w http.ResponseWriter, r *http.Request, q *tokenRequest, err error) {
	var refused *token.Error
	needed := errors.As(err, &refused) && refused.Reason == token.ReasonProofNonce
	t := h.Server.tenant(q.tenant)
	if t != nil && (needed || t.DPoPNonce && len(r.Header.Values("DPoP")) > 0) {
		w.Header().Set("DPoP-Nonce", t.state.Proofs.Nonce())
	}
}

// onlyDPoP reports whether every client must use DPoP.
func (t *Tenant) onlyDPoP() bool {
	other := func(c Client) bool { return c.Constraint != token.ConstraintDPoP }
	return t.DPoPRequired && !slices.ContainsFunc(t.Clients, other)
}
