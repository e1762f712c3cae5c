package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

// Issuer is the iss claim of the application's JWTs.
const Issuer = "https://protected-app.example"

// jwtIssuer signs and checks the application's own JWTs: ES256, iss, sub (the
// user name), iat, exp. Nothing is stored, so nothing can be revoked.
type jwtIssuer struct {
	key  jwk.Key // private
	jwks []byte  // public
	set  jwk.Set
	now  func() time.Time
	ttl  time.Duration
}

func newJWTIssuer(now func() time.Time, ttl time.Duration) (*jwtIssuer, error) {
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the JWT key: %w", err)
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, fmt.Errorf("making the JWT key: %w", err)
	}
	err = errors.Join(jwk.AssignKeyID(key), key.Set(jwk.AlgorithmKey, jwa.ES256), key.Set(jwk.KeyUsageKey, "sig"))
	if err != nil {
		return nil, fmt.Errorf("naming the JWT key: %w", err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("publishing the JWT key: %w", err)
	}
	set := jwk.NewSet()
	if err := set.AddKey(public); err != nil {
		return nil, fmt.Errorf("publishing the JWT key: %w", err)
	}
	jwks, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("publishing the JWT key: %w", err)
	}
	return &jwtIssuer{key: key, jwks: jwks, set: set, now: now, ttl: ttl}, nil
}

// sign makes a JWT for a user.
func (j *jwtIssuer) sign(userName string) (string, error) {
	now := j.now()
	tok, err := jwt.NewBuilder().Issuer(Issuer).Subject(userName).IssuedAt(now).Expiration(now.Add(j.ttl)).Build()
	if err != nil {
		return "", fmt.Errorf("building a JWT: %w", err)
	}
	signed, err := jwt.Sign(tok, jwt.WithKey(jwa.ES256, j.key))
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return string(signed), nil
}

// verify returns the user name and the time of issue of a JWT that this
// application signed and that has not expired.
func (j *jwtIssuer) verify(raw string) (userName string, issued time.Time, err error) {
	tok, err := jwt.Parse([]byte(raw),
		jwt.WithKeySet(j.set), jwt.WithValidate(true), jwt.WithIssuer(Issuer),
		jwt.WithRequiredClaim(jwt.SubjectKey), jwt.WithRequiredClaim(jwt.IssuedAtKey), jwt.WithRequiredClaim(jwt.ExpirationKey),
		jwt.WithClock(jwt.ClockFunc(j.now)))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("checking a JWT: %w", err)
	}
	return tok.Subject(), tok.IssuedAt(), nil
}
