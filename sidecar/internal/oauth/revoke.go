package oauth

import (
	"errors"
	"net/http"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// revoke serves POST /oauth/revoke (RFC 7009). A token that is not alive needs no revocation, so the answer
// is 200 too.
func (h *handler) revoke(w http.ResponseWriter, r *http.Request) {
	q := h.begin(r, "revoke")
	err := h.revokeToken(w, r, q)
	if err == nil { // also of a token that is dead already, which another process may have refused just now
		err = h.confirm(r.Context())
	}
	if err != nil {
		h.fail(w, r, q, err)
		return
	}
	h.record(r, q, answer{status: http.StatusOK, reason: "done"}, nil)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (h *handler) revokeToken(w http.ResponseWriter, r *http.Request, q *tokenRequest) error {
	t, by, presented, err := h.about(w, r, q)
	if err != nil {
		return err
	}
	c, err := h.alive(r, t, presented)
	switch {
	case err != nil:
		return err
	case c == nil:
		return h.spend(r, q, by.client, by.assertion, nil)
	case c.ClientID != q.client:
		return h.spendRefused(r, q, by,
			refuse(faultGrantOther, "the token was issued to another client, which may revoke it"))
	case t.state.revoked.full():
		return errFull
	}
	q.jti = c.JTI
	until := deadAfter(c.Expires)
	return h.spend(r, q, by.client, by.assertion, func(tx *store.Tx) { tx.RevokeToken(c.JTI, until) })
}

// spendRefused records the request of an authenticated client that gets a refusal: its assertion is used up
// and the request counts, as if it had been granted.
func (h *handler) spendRefused(r *http.Request, q *tokenRequest, by caller, refused error) error {
	err := h.spend(r, q, by.client, by.assertion, func(tx *store.Tx) {
		tx.AuditDone("client:"+q.client, "refused: "+refused.Error())
	})
	if err != nil {
		return err
	}
	return refused
}

// introspect serves POST /oauth/introspect (RFC 7662). A client learns of its own tokens only.
func (h *handler) introspect(w http.ResponseWriter, r *http.Request) {
	q := h.begin(r, "introspect")
	found, err := h.introspectToken(w, r, q)
	if err != nil {
		h.fail(w, r, q, err)
		return
	}
	h.record(r, q, answer{status: http.StatusOK, reason: "done"}, nil)
	writeJSON(w, http.StatusOK, found)
}

func (h *handler) introspectToken(w http.ResponseWriter, r *http.Request, q *tokenRequest) (map[string]any, error) {
	t, by, presented, err := h.about(w, r, q)
	if err != nil {
		return nil, err
	}
	c, err := h.alive(r, t, presented)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"active": false}
	if c != nil && c.ClientID == q.client {
		q.jti = c.JTI
		out = map[string]any{
			"active": true, "scope": token.Scope, "client_id": c.ClientID, "token_type": c.Binding.TokenType(), "sub": c.Subject,
			"iss": c.Issuer, "aud": t.Resource, "jti": c.JTI, "iat": c.IssuedAt.Unix(), "exp": c.Expires.Unix(),
		}
		if cnf := c.Binding.Confirmation(); cnf != nil {
			out["cnf"] = cnf
		}
	}
	return out, h.spend(r, q, by.client, by.assertion, nil)
}

// caller is an authenticated client with the assertion that proves it.
type caller struct {
	client    *Client
	assertion token.Claims
}

// about reads a request about a token: it authenticates the client as at the token endpoint (RFC 7009 §2.1,
// RFC 7662 §2.1) and returns the token, which is not verified yet. token_type_hint does not matter, because
// there is one type.
func (h *handler) about(
	w http.ResponseWriter, r *http.Request, q *tokenRequest,
) (t *tenant, by caller, presented string, err error) {
	t, f, err := h.open(w, r, q)
	if err != nil {
		return nil, by, "", err
	}
	raw, err := f.clientAssertion()
	if err != nil {
		return nil, by, "", err
	}
	presented = f["token"]
	if presented == "" {
		return nil, by, "", refuse(faultRequest, "parameter token is missing")
	}
	if by.client, by.assertion, err = h.authenticate(t, r, q, f, raw); err != nil {
		return nil, by, "", err
	}
	if token.IsStatic(presented) { // operators create and revoke these
		return nil, by, "", h.spendRefused(r, q, by,
			refuse(faultTokenType, "a static token is revoked with `scimward token revoke`"))
	}
	return t, by, presented, nil
}

// alive returns the claims of an access token of the tenant that is valid now, nil for anything else. The tokens
// from before the end of a client are dead, whatever their own end is.
func (h *handler) alive(r *http.Request, t *tenant, raw string) (*token.Claims, error) {
	c, err := t.issued.Verify(r.Context(), raw)
	var refused *token.Error
	switch {
	case err == nil && c.IssuedAt.Before(h.opts.NotBefore(t.Name, c.ClientID)):
		return nil, nil //nolint:nilnil // a dead token is no error
	case err == nil:
		return &c, nil
	case errors.As(err, &refused) && refused.Reason != token.ReasonUnavailable:
		return nil, nil //nolint:nilnil // a dead token is no error
	}
	return nil, err
}
