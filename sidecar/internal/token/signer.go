package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// TypeAccessToken is the typ header of access tokens (RFC 9068 §2.1).
const TypeAccessToken = "at+jwt"

// typeAssertion is the typ header of client assertions (RFC 7523bis).
const typeAssertion = "client-authentication+jwt"

// Signer signs tokens with ES256.
type Signer struct {
	key *ecdsa.PrivateKey
	kid string
}

// NewSigner returns a signer for a private P-256 JWK with a kid, as [GenerateKey] makes it. Errors
// never quote doc.
func NewSigner(doc []byte) (*Signer, error) {
	k, err := jwk.ParseKey(doc)
	if err != nil {
		// The parser's error may quote the document, which is a secret.
		return nil, errors.New("token: the signing key is not a JWK")
	}
	var priv ecdsa.PrivateKey
	if err := k.Raw(&priv); err != nil || priv.Curve != elliptic.P256() {
		return nil, errors.New("token: the signing key is not a private P-256 key")
	}
	if k.KeyID() == "" {
		return nil, errors.New("token: the signing key has no kid")
	}
	return &Signer{key: &priv, kid: k.KeyID()}, nil
}

// GenerateKey returns a new ES256 key as a private JWK, and its kid. The kid is the RFC 7638
// thumbprint, so two keys never have the same.
func GenerateKey() (doc []byte, kid string, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("generating a signing key: %w", err)
	}
	k, err := jwk.FromRaw(priv)
	if err != nil {
		return nil, "", fmt.Errorf("encoding a signing key: %w", err)
	}
	print, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, "", fmt.Errorf("naming a signing key: %w", err)
	}
	kid = base64.RawURLEncoding.EncodeToString(print)
	if err := describe(k, kid); err != nil {
		return nil, "", err
	}
	if doc, err = json.Marshal(k); err != nil {
		return nil, "", fmt.Errorf("encoding a signing key: %w", err)
	}
	return doc, kid, nil
}

func describe(k jwk.Key, kid string) error {
	return errors.Join(
		k.Set(jwk.KeyIDKey, kid), k.Set(jwk.AlgorithmKey, jwa.ES256), k.Set(jwk.KeyUsageKey, jwk.ForSignature),
	)
}

// KeyID returns the kid of the signatures.
func (s *Signer) KeyID() string { return s.kid }

// Sign returns claims as a compact JWS with the given typ and the key's kid.
func (s *Signer) Sign(claims map[string]any, typ string) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	h := jws.NewHeaders()
	if err := errors.Join(h.Set(jws.TypeKey, typ), h.Set(jws.KeyIDKey, s.kid)); err != nil {
		return "", fmt.Errorf("building a token header: %w", err)
	}
	signed, err := jws.Sign(payload, jws.WithKey(jwa.ES256, s.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return string(signed), nil
}

// PublicJWK returns the public part of the key as a JWK. It has no private member.
func (s *Signer) PublicJWK() ([]byte, error) {
	pub, err := jwk.FromRaw(s.key.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	if err := describe(pub, s.kid); err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return json.Marshal(pub)
}

// JWKS returns the JWKS document (RFC 7517 §5) of public JWKs.
func JWKS(public ...[]byte) []byte {
	return slices.Concat([]byte(`{"keys":[`), bytes.Join(public, []byte(",")), []byte("]}"))
}

// PublicJWKS returns the JWKS document with the public parts of keys. Each key is a private JWK of
// [GenerateKey].
func PublicJWKS(keys ...[]byte) ([]byte, error) {
	var public [][]byte
	for _, doc := range keys {
		s, err := NewSigner(doc)
		if err != nil {
			return nil, err
		}
		k, err := s.PublicJWK()
		if err != nil {
			return nil, err
		}
		public = append(public, k)
	}
	return JWKS(public...), nil
}
