package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// event is what one token request leaves in the log. Names come in only once
// they are authentic, so strangers cannot write into it.
type event struct {
	tenant    string
	requestID string
	client    string
	kid       string
	jti       string // of the access token
}

// token is POST /oauth/token.
func (h *handler) token(w http.ResponseWriter, r *http.Request) {
	received := h.now()
	e := event{requestID: authz.RequestID(r.Header.Get("X-Request-Id"), h.newID)}
	raw, lifetime, err := h.grant(w, r, received, &e)
	if err != nil {
		a := answerFor(err)
		h.record(r, e, received, a, err)
		writeError(w, a)
		return
	}
	h.record(r, e, received, answer{status: http.StatusOK, reason: "issued"}, nil)
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": raw,
		"token_type":   "Bearer",
		"expires_in":   int(lifetime / time.Second),
		"scope":        Scope,
	})
}

// grant judges one request and returns an access token. The order is: form,
// assertion, signing, then the store record that uses the assertion up, so that
// nothing but the answer is left to do after the record.
func (h *handler) grant(w http.ResponseWriter, r *http.Request, received time.Time, e *event) (string, time.Duration, error) {
	t := h.tenant(r)
	if t == nil {
		return "", 0, &refusal{fault: faultTenant, detail: "no tenant"}
	}
	e.tenant = t.Name
	if r.Method != http.MethodPost {
		return "", 0, &refusal{fault: faultMethod, detail: "not POST"}
	}
	if err := refuseAuthorization(r.Header); err != nil {
		return "", 0, err
	}
	f, err := readForm(w, r)
	if err != nil {
		return "", 0, err
	}
	if err := f.check(t); err != nil {
		return "", 0, err
	}
	claims, err := t.authenticate(r, f)
	if err != nil {
		return "", 0, err
	}
	e.client, e.kid = claims.Subject, claims.KeyID
	raw, jti, err := h.sign(t, claims.Subject, received)
	if err != nil {
		return "", 0, err
	}
	if err := h.useUp(r, t, f, claims, jti, received, e.requestID); err != nil {
		return "", 0, err
	}
	e.jti = jti
	return raw, t.TokenLifetime, nil
}

// refuseAuthorization refuses every Authorization header (B4), and names its
// scheme in the answer when it is one of the known ones (RFC 6749 §5.2, B12).
func refuseAuthorization(h http.Header) error {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return nil
	}
	scheme := "Bearer"
	if word, _, _ := strings.Cut(values[0], " "); strings.EqualFold(word, "Basic") {
		scheme = "Basic"
	}
	return &refusal{
		fault: faultAuthorization, scheme: scheme,
		detail: "the Authorization header is not accepted here; send a client assertion in the body (RFC 7523)",
	}
}

// authenticate verifies the assertion and that it speaks for its own client
// (B6): iss is the configured client, sub and client_id are the same.
func (t *tenant) authenticate(r *http.Request, f form) (token.Claims, error) {
	claims, err := t.verifier.Verify(r.Context(), f["client_assertion"])
	if err != nil {
		return token.Claims{}, err
	}
	if claims.Subject != claims.Issuer {
		return token.Claims{}, &refusal{fault: faultClient, detail: "iss and sub of a client assertion are both the client id"}
	}
	if id, sent := f["client_id"]; sent && id != claims.Subject {
		return token.Claims{}, &refusal{fault: faultClient, detail: "parameter client_id is not the sub of the client assertion"}
	}
	return claims, nil
}

// sign makes the access token (RFC 9068 §2.2, E2). It carries token_endpoint,
// as IL1 asks (B18).
func (h *handler) sign(t *tenant, client string, now time.Time) (raw, jti string, err error) {
	jti = h.newID()
	issued := now.Unix()
	raw, err = t.signer.Sign(map[string]any{
		"iss":            t.Issuer,
		"sub":            client,
		"client_id":      client,
		"aud":            t.Resource,
		"scope":          Scope,
		"iat":            issued,
		"exp":            issued + int64(t.TokenLifetime/time.Second),
		"jti":            jti,
		"token_endpoint": t.TokenEndpoint,
	}, token.TypeAccessToken)
	return raw, jti, err
}

// useUp writes the one record of the grant: the assertion's jti is used, the
// client was seen, and the audit says so. Of two requests with one assertion the
// store lets one through, whatever process they reach (B10).
func (h *handler) useUp(r *http.Request, t *tenant, f form, c token.Claims, jti string, received time.Time, requestID string) error {
	cause := store.Cause{
		Actor: "client:" + c.Subject, ClientID: c.Subject, JTI: jti, RequestID: requestID, Remote: authz.RemoteAddr(r),
		Method: r.Method, Path: r.URL.Path, Action: "oauth.token", Decision: "private_key_jwt", Received: received,
	}
	replay := c.JTI
	if replay == "" {
		replay = signedHash(f["client_assertion"])
	}
	// Remembered for as long as the verifier could accept it.
	until := c.Expires.Add(leeway + time.Second)
	_, err := h.store.Update(r.Context(), t.Name, cause, func(tx *store.Tx) error {
		if err := tx.UseJTI(c.Issuer, replay, until); err != nil {
			return err
		}
		return tx.PutClient(store.Client{ID: c.Subject, LastUsed: tx.Now(), LastKey: c.KeyID})
	})
	return err
}

// signedHash names an assertion by what was signed. The signature is left out:
// for ECDSA anyone can turn a valid one into another.
func signedHash(raw string) string {
	signed := raw[:max(strings.LastIndexByte(raw, '.'), 0)]
	sum := sha256.Sum256([]byte(signed))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// record writes the one log event and counts the outcome. Faults on our side are
// errors with their cause; refusals are the client's business.
func (h *handler) record(r *http.Request, e event, received time.Time, a answer, err error) {
	h.answers.WithLabelValues(e.tenant, a.reason).Inc()
	attrs := []slog.Attr{
		slog.String("tenant", e.tenant), slog.String("request_id", e.requestID),
		slog.Int("status", a.status), slog.String("outcome", a.reason), slog.Duration("took", h.now().Sub(received)),
	}
	if e.client != "" {
		attrs = append(attrs, slog.String("client", e.client), slog.String("kid", e.kid))
	}
	if e.jti != "" {
		attrs = append(attrs, slog.String("jti", e.jti))
	}
	level := slog.LevelInfo
	if a.status >= http.StatusInternalServerError {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	h.log.LogAttrs(r.Context(), level, "token request", attrs...)
}
