package token

import "errors"

// Signer signs tokens with ES256.
type Signer struct{}

var errSkeleton = errors.New("token: signing is not there yet")

// NewSigner returns a signer for a private JWK.
func NewSigner(jwk []byte) (*Signer, error) { _ = jwk; return nil, errSkeleton }

// GenerateKey returns a new ES256 key as a private JWK, and its kid.
func GenerateKey() (jwk []byte, kid string, err error) { return nil, "", errSkeleton }

// Sign returns the compact form.
func (s *Signer) Sign(claims map[string]any, typ string) (string, error) {
	_, _ = claims, typ
	return "", errSkeleton
}

// KeyID returns the kid.
func (s *Signer) KeyID() string { return "" }

// PublicJWKS returns the JWKS document of the public parts of keys.
func PublicJWKS(keys ...[]byte) ([]byte, error) { _ = keys; return nil, errSkeleton }
