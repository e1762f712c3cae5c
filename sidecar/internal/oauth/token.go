package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// tokenRequest is a request of a client with its fields for the log. A field is empty until it is
// verified, so that strangers cannot write into the log.
type tokenRequest struct {
	endpoint string // token, revoke or introspect
	id       string
	received time.Time
	tenant   string
	client   string
	kid      string    // of the client's key
	jti      string    // of the access token
	earliest time.Time // iat that the access token may have
	source   string    // whose failed attempts count together; empty if it is not known
	bearer   bool      // the assertion is the grant (RFC 7523 §2.1)
	spent    bool      // the assertion is used up, and the request counts
	// over is how long the source has to wait after too many failed attempts; zero is not at all.
	over time.Duration
}

// token serves POST /oauth/token.
func (h *handler) token(w http.ResponseWriter, r *http.Request) {
	q := h.begin(r, "token")
	granted, err := h.grant(w, r, q)
	if err != nil {
		h.fail(w, r, q, err)
		return
	}
	h.record(r, q, answer{status: http.StatusOK, reason: "issued"}, nil)
	h.offerNonce(w, r, q, nil)
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": granted.token,
		"token_type":   granted.binding.TokenType(),
		"expires_in":   int(granted.lifetime / time.Second),
		"scope":        token.Scope,
	})
}

func (h *handler) begin(r *http.Request, endpoint string) *tokenRequest {
	return &tokenRequest{
		endpoint: endpoint, id: request.ID(r.Header.Get("X-Request-Id"), newID), received: h.opts.Now(),
	}
}

// fail answers a request with an error.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, q *tokenRequest, err error) {
	a := answerFor(err)
	h.offerNonce(w, r, q, err)
	if q.bearer && a.code == "invalid_client" { // RFC 7521 §4.1.1: the grant is invalid
		a.status, a.code = http.StatusBadRequest, "invalid_grant"
	}
	a = h.failed(q, a)
	h.record(r, q, a, err)
	writeError(w, a)
}

// grant is an access token.
type grant struct {
	token    string
	lifetime time.Duration
	binding  token.Binding
}

// grant checks a request and returns an access token. Its last steps record the assertion as used, and then the
// proof: if two requests have one proof, one of them has used up its assertion in vain.
func (h *handler) grant(w http.ResponseWriter, r *http.Request, q *tokenRequest) (grant, error) {
	t, f, err := h.open(w, r, q)
	if err != nil {
		return grant{}, err
	}
	raw, bearer, err := f.assertion(t)
	q.bearer = bearer
	if err != nil {
		return grant{}, err
	}
	c, claims, err := h.authenticate(t, r, q, f, raw)
	if err != nil {
		return grant{}, err
	}
	if bearer && !c.AllowJWTBearer {
		return grant{}, refuse(faultUnauthorized, "this client may not use the grant "+grantJWTBearer+
			": use "+grantClientCredentials+", or set allow_jwt_bearer for it")
	}
	q.earliest = h.opts.NotBefore(t.Name, c.ID)
	jti := newID()
	g := grant{lifetime: t.lifetime(c)}
	proof, err := t.bind(r, q, c, &g.binding)
	if err != nil {
		return grant{}, err
	}
	if g.token, err = t.sign(q, jti, g); err != nil {
		return grant{}, err
	}
	q.jti = jti
	if err := h.spend(r, q, c, claims, nil); err != nil {
		q.jti = ""
		return grant{}, err
	}
	if t.state.ring.current.Load().young(q.received) {
		if err := h.confirm(r.Context()); err != nil {
			return grant{}, err
		}
	}
	return g, proof.Use(r.Context()) // now, so that nobody fills the memory of proofs with a used assertion
}

// confirm waits for the other processes.
func (h *handler) confirm(ctx context.Context) error {
	if err := h.opts.Confirm(ctx); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// open finds the tenant and reads the parameters of a request of a client.
func (h *handler) open(w http.ResponseWriter, r *http.Request, q *tokenRequest) (*tenant, form, error) {
	t := h.tenant(r)
	if t == nil {
		return nil, nil, refuse(faultTenant, noTenant)
	}
	q.tenant = t.Name
	if r.Method != http.MethodPost {
		return nil, nil, refuse(faultMethod, "send POST to this endpoint")
	}
	h.admit(q, r)
	if err := refuseAuthorization(r.Header); err != nil {
		return nil, nil, err
	}
	f, err := readForm(w, r)
	if err != nil {
		return nil, nil, err
	}
	// The sender chooses when the body ends. What counts are the clients and keys of that moment.
	if t = h.tenant(r); t == nil {
		return nil, nil, refuse(faultTenant, noTenant)
	}
	return t, f, nil
}

// refuseAuthorization refuses every Authorization header, because the assertion in the body is the
// only credential.
func refuseAuthorization(h http.Header) error {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return nil
	}
	if word, _, _ := strings.Cut(values[0], " "); strings.EqualFold(word, "Basic") {
		return refuse(faultBasic, "the Authorization header is not accepted here, and "+secretRefused)
	}
	return refuse(faultAuthorization,
		"the Authorization header is not accepted here; send a client assertion in the body (RFC 7523)")
}

// authenticate verifies an assertion and returns its client. Without an issuer of its own for them, iss
// and sub are the client id (RFC 7523 §3). Parameter client_id must agree.
func (h *handler) authenticate(
	t *tenant, r *http.Request, q *tokenRequest, f form, raw string,
) (*Client, token.Claims, error) {
	if q.over > 0 && !h.throttles.verify(t, raw, int(h.clients.Load()), q.received) {
		return nil, token.Claims{}, q.tooMany()
	}
	claims, err := t.verifier.Verify(r.Context(), raw)
	if err != nil {
		return nil, token.Claims{}, err
	}
	c := t.client(claims.ClientID)
	if c.AssertionIssuer == "" && claims.Subject != c.ID {
		return nil, token.Claims{}, refuse(faultClient, "iss and sub of a client assertion are both the client id")
	}
	if id, sent := f["client_id"]; sent && id != c.ID {
		return nil, token.Claims{}, refuse(faultClient, "parameter client_id is not the client of the client assertion")
	}
	q.client, q.kid = c.ID, claims.KeyID
	return c, claims, nil
}

// sign makes the access token (RFC 9068 §2.2). IL1 §3.1 requires the claim token_endpoint.
func (t *tenant) sign(q *tokenRequest, jti string, g grant) (string, error) {
	issued := max(q.received.Unix(), q.earliest.Unix())
	claims := map[string]any{
		"iss":            t.Issuer,
		"sub":            q.client,
		"client_id":      q.client,
		"aud":            t.Resource,
		"scope":          token.Scope,
		"iat":            issued,
		"exp":            issued + int64(g.lifetime/time.Second),
		"jti":            jti,
		"token_endpoint": t.TokenEndpoint,
	}
	if cnf := g.binding.Confirmation(); cnf != nil {
		claims["cnf"] = cnf
	}
	return t.signer(q.received).Sign(claims, token.TypeAccessToken)
}

// spend records a request of a client in one transaction: the jti of its assertion as used, the client as
// seen, the audit record, and what also does, if it is not nil. If several requests use one assertion, in any
// process, the store accepts only one.
func (h *handler) spend(r *http.Request, q *tokenRequest, client *Client, c token.Claims, also func(*store.Tx)) error {
	if err := h.spare(q); err != nil {
		return err
	}
	if err := h.opts.Current(r.Context()); err != nil {
		return fmt.Errorf("%w: %w", errApart, err)
	}
	decision := "private_key_jwt"
	if q.bearer {
		decision = "jwt_bearer"
	}
	cause := store.Cause{
		Actor: "client:" + q.client, ClientID: q.client, JTI: q.jti, RequestID: q.id, Remote: request.RemoteAddr(r),
		Method: r.Method, Path: r.URL.Path, Action: "oauth." + q.endpoint, Decision: decision, Received: q.received,
	}
	_, err := h.opts.Store.Update(r.Context(), q.tenant, cause, func(tx *store.Tx) error {
		if err := sameKeys(tx, client); err != nil {
			return err
		}
		// As long as the verifier could accept the assertion.
		if err := tx.UseJTI(q.client, c.JTI, deadAfter(c.Expires)); err != nil {
			return err
		}
		if also != nil {
			also(tx)
		}
		return tx.UseClient(store.ClientUse{ID: q.client, LastUsed: tx.Now(), LastKey: q.kid})
	})
	if err == nil {
		h.served(client, q)
	}
	return err
}

// sameKeys refuses a client of a command whose keys an operator replaced after they verified the assertion,
// also by adding a client of the same name again.
func sameKeys(tx *store.Tx, c *Client) error {
	row, err := tx.Client(store.ClientName{ID: c.ID})
	switch {
	case !c.Optional, errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case row.File || !bytes.Equal(row.JWKS, c.JWKS) || row.JWKSURI != c.JWKSURL || row.KeyIssuer != c.Issuer:
		return store.ErrClientEnded
	}
	return nil
}

// record writes the log event of a request and counts its outcome. Faults of this service are
// logged as errors with their cause. Refusals are logged as information.
func (h *handler) record(r *http.Request, q *tokenRequest, a answer, err error) {
	event := "token request"
	if q.endpoint == "token" {
		h.requests.WithLabelValues(q.tenant, a.reason).Inc()
	} else {
		event = "request about a token"
		h.checks.WithLabelValues(q.tenant, q.endpoint, a.reason).Inc()
	}
	attrs := []slog.Attr{
		slog.String("endpoint", q.endpoint), slog.String("tenant", q.tenant), slog.String("request_id", q.id),
		slog.Int("status", a.status), slog.String("outcome", a.reason), slog.Duration("took", h.opts.Now().Sub(q.received)),
	}
	if q.client != "" {
		attrs = append(attrs, slog.String("client", q.client), slog.String("kid", q.kid))
	}
	if q.jti != "" {
		attrs = append(attrs, slog.String("jti", q.jti))
	}
	var refused *token.Error
	if errors.As(err, &refused) {
		attrs = append(attrs, refused.Attrs()...)
	}
	level := slog.LevelInfo
	if a.status >= http.StatusInternalServerError {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	h.opts.Logger.LogAttrs(r.Context(), level, event, attrs...)
}
