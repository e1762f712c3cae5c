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

// jwtIssuer signs and verifies the application's own JWTs: ES256, with iss, sub (the user name),
// iat and exp. It stores none, so none can be revoked.
type jwtIssuer struct {
	key  jwk.Key // private
	set  jwk.Set // public
	jwks []byte  // set as JSON
	now  func() time.Time
}

func newJWTIssuer(now func() time.Time) (*jwtIssuer, error) {
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, err
	}
	err = errors.Join(jwk.AssignKeyID(key), key.Set(jwk.AlgorithmKey, jwa.ES256), key.Set(jwk.KeyUsageKey, "sig"))
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, err
	}
	set := jwk.NewSet()
	if err := set.AddKey(public); err != nil {
		return nil, err
	}
	jwks, err := json.Marshal(set)
	return &jwtIssuer{key: key, set: set, jwks: jwks, now: now}, err
}

// sign issues a JWT to a user.
func (j *jwtIssuer) sign(userName string) (string, error) {
	now := j.now()
	tok, err := jwt.NewBuilder().
		Issuer(Issuer).Subject(userName).IssuedAt(now).Expiration(now.Add(accessTokenTTL)).
		Build()
	if err != nil {
		return "", fmt.Errorf("building a JWT: %w", err)
	}
	signed, err := jwt.Sign(tok, jwt.WithKey(jwa.ES256, j.key))
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return string(signed), nil
}

// verify returns the user name and the time of issue of a JWT. This application must have signed
// it, and it must not have expired.
func (j *jwtIssuer) verify(raw string) (userName string, issued time.Time, err error) {
	tok, err := jwt.Parse([]byte(raw),
		jwt.WithKeySet(j.set),
		jwt.WithValidate(true),
		jwt.WithIssuer(Issuer),
		jwt.WithRequiredClaim(jwt.SubjectKey),
		jwt.WithRequiredClaim(jwt.IssuedAtKey),
		jwt.WithRequiredClaim(jwt.ExpirationKey),
		jwt.WithClock(jwt.ClockFunc(j.now)))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("verifying a JWT: %w", err)
	}
	return tok.Subject(), tok.IssuedAt(), nil
}
