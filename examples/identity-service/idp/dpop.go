package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// prover signs a DPoP proof for each request (RFC 9449 §4.2), with a key of its own and the latest nonce of
// the application. The access token is bound to this key: whoever steals the token cannot use it.
type prover struct {
	key, public jwk.Key
	now         func() time.Time

	mu    sync.Mutex
	nonce string
}

func newProver(now func() time.Time) (*prover, error) {
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("making a key for DPoP: %w", err)
	}
	public, err := jwk.PublicKeyOf(key)
	if err != nil {
		return nil, fmt.Errorf("making a key for DPoP: %w", err)
	}
	return &prover{key: key, public: public, now: now}, nil
}

// scheme is the authorization scheme of access tokens. A nil prover uses plain bearer tokens.
func (p *prover) scheme() string {
	if p == nil {
		return "Bearer"
	}
	return "DPoP"
}

// prove adds a proof to a request. token is the access token of the request, if it has one.
func (p *prover) prove(r *http.Request, token string) error {
	if p == nil {
		return nil
	}
	where := *r.URL
	where.RawQuery, where.Fragment = "", ""
	claims := map[string]any{"jti": rand.Text(), "htm": r.Method, "htu": where.String(), "iat": p.now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	p.mu.Lock()
	if p.nonce != "" {
		claims["nonce"] = p.nonce
	}
	p.mu.Unlock()
	payload, err := json.Marshal(claims)
	if err != nil {
		return fmt.Errorf("encoding a proof: %w", err)
	}
	h := jws.NewHeaders()
	for name, value := range map[string]any{jws.TypeKey: "dpop+jwt", jws.JWKKey: p.public} {
		if err := h.Set(name, value); err != nil {
			return fmt.Errorf("building a proof: %w", err)
		}
	}
	proof, err := jws.Sign(payload, jws.WithKey(jwa.ES256, p.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		return fmt.Errorf("signing a proof: %w", err)
	}
	r.Header.Set("DPoP", string(proof))
	return nil
}

// learn keeps the nonce of an answer. It reports whether the application refused the request only because
// the proof lacked this nonce (RFC 9449 §8, §9): the request may be sent once more.
func (p *prover) learn(resp *http.Response, answer []byte) (again bool) {
	nonce := resp.Header.Get("DPoP-Nonce")
	if p == nil || nonce == "" {
		return false
	}
	p.mu.Lock()
	p.nonce = nonce
	p.mu.Unlock()
	const code = `"use_dpop_nonce"`
	return resp.StatusCode == http.StatusUnauthorized && strings.Contains(resp.Header.Get("WWW-Authenticate"), code) ||
		resp.StatusCode == http.StatusBadRequest && strings.Contains(string(answer), code)
}
