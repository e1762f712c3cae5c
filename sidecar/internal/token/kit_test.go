package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/scimward/scimward/sidecar/internal/token"
)

const (
	issuer   = "https://as.example"
	audience = "https://app.example/scim/v2"
	endpoint = "https://app.example/oauth/token"
)

// start is the time at which the tests issue their tokens.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keyPair is a key of a test issuer.
type keyPair struct {
	kid  string
	alg  jwa.SignatureAlgorithm
	priv crypto.Signer
}

func newES256(tb testing.TB, kid string) keyPair {
	tb.Helper()
	return newEC(tb, kid, elliptic.P256(), jwa.ES256)
}

func newEC(tb testing.TB, kid string, curve elliptic.Curve, alg jwa.SignatureAlgorithm) keyPair {
	tb.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return keyPair{kid: kid, alg: alg, priv: k}
}

func newEd25519(tb testing.TB, kid string) keyPair {
	tb.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return keyPair{kid: kid, alg: jwa.EdDSA, priv: k}
}

var rsaKeys = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newRSA returns the same 2048-bit key every time: generating one is slow.
func newRSA(tb testing.TB, kid string, alg jwa.SignatureAlgorithm) keyPair {
	tb.Helper()
	k, err := rsaKeys()
	if err != nil {
		tb.Fatal(err)
	}
	return keyPair{kid: kid, alg: alg, priv: k}
}

// jwks is the key set document of keys' public parts.
func jwks(tb testing.TB, keys ...keyPair) []byte {
	tb.Helper()
	var list []map[string]any
	for _, k := range keys {
		list = append(list, publicJWK(tb, k))
	}
	return marshal(tb, map[string]any{"keys": list})
}

func publicJWK(tb testing.TB, k keyPair) map[string]any {
	tb.Helper()
	pub, err := jwk.FromRaw(k.priv.Public())
	if err != nil {
		tb.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(marshal(tb, pub), &m); err != nil {
		tb.Fatal(err)
	}
	if k.kid != "" {
		m["kid"] = k.kid
	}
	return m
}

func marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

type object = map[string]any

// accessClaims are valid claims of an access token.
func accessClaims() object {
	return object{
		"iss": issuer, "sub": "idp", "client_id": "idp", "aud": audience, "scope": "scim", "jti": "t-1",
		"iat": start.Unix(), "exp": start.Add(5 * time.Minute).Unix(),
	}
}

func assertionClaims() object {
	return object{
		"iss": "idp", "sub": "idp", "aud": issuer, "jti": "a-1",
		"iat": start.Unix(), "exp": start.Add(time.Minute).Unix(),
	}
}

// with returns a copy of o with changes; a nil value removes a member.
func with(o, changes object) object {
	o = maps.Clone(o)
	for k, v := range changes {
		if v == nil {
			delete(o, k)
		} else {
			o[k] = v
		}
	}
	return o
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign makes a token of any header and claims, valid or not.
func sign(tb testing.TB, k keyPair, header, claims object) string {
	tb.Helper()
	h := with(object{"alg": k.alg.String(), "kid": k.kid, "typ": "at+jwt"}, header)
	return signText(tb, k, string(marshal(tb, h)), string(marshal(tb, claims)))
}

func signText(tb testing.TB, k keyPair, header, claims string) string {
	tb.Helper()
	s, err := jws.NewSigner(k.alg)
	if err != nil {
		tb.Fatal(err)
	}
	signing := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, err := s.Sign([]byte(signing), k.priv)
	if err != nil {
		tb.Fatal(err)
	}
	return signing + "." + b64(sig)
}

// accessOptions are the options of a verifier of access tokens with one issuer.
func accessOptions(doc []byte) token.Options {
	return token.Options{
		Tenant: "acme", Purpose: token.AccessToken, Audience: audience, TokenEndpoint: endpoint,
		Issuers: []token.IssuerConfig{{Issuer: issuer, JWKS: doc}},
		Now:     func() time.Time { return start },
	}
}

func newVerifier(tb testing.TB, o token.Options) *token.Verifier {
	tb.Helper()
	v, err := token.NewVerifier(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(v.Close)
	return v
}

// reasonOf returns the reason of a refusal, empty for nil.
func reasonOf(tb testing.TB, err error) token.Reason {
	tb.Helper()
	if err == nil {
		return ""
	}
	var e *token.Error
	if !errors.As(err, &e) {
		tb.Fatalf("error %v is not a *token.Error", err)
	}
	if e.Detail == "" {
		tb.Errorf("refusal %q has no detail", e.Reason)
	}
	return e.Reason
}

// hmacToken signs claims with a shared secret.
func hmacToken(tb testing.TB, alg, kid string, secret []byte, claims object) string {
	tb.Helper()
	k := keyPair{kid: kid, alg: jwa.SignatureAlgorithm(alg)}
	h := marshal(tb, object{"alg": alg, "kid": kid, "typ": "at+jwt"})
	s, err := jws.NewSigner(k.alg)
	if err != nil {
		tb.Fatal(err)
	}
	signing := b64(h) + "." + b64(marshal(tb, claims))
	sig, err := s.Sign([]byte(signing), secret)
	if err != nil {
		tb.Fatal(err)
	}
	return signing + "." + b64(sig)
}
