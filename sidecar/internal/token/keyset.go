package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Sizes of RSA keys: below is weak (B107), above one verification costs the
// service milliseconds and the sender nothing (edge T1).
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// key is one public key with the algorithms it may be used with, ready to
// verify: nothing is parsed per token.
type key struct {
	kid  string
	algs []jwa.SignatureAlgorithm
	pub  any
}

func (k *key) verify(alg jwa.SignatureAlgorithm, signing string, sig []byte) error {
	// The verifier is chosen by our list and the key, and it works on the exact
	// bytes received; the token's header is not read a second time.
	ver, err := jws.NewVerifier(alg)
	if err != nil {
		return fmt.Errorf("choosing a verifier: %w", err)
	}
	return ver.Verify([]byte(signing), sig, k.pub)
}

// keySet is one published state of an issuer's keys; it never changes.
type keySet struct {
	gen     uint64 // another set of keys has another generation
	keys    []*key
	digest  [sha256.Size]byte
	fetched time.Time
}

// find returns the key for kid and alg. Without kid the answer must be unique:
// trying one key after the other would let a token choose its verifier.
func (s *keySet) find(kid string, alg jwa.SignatureAlgorithm) (found *key, ambiguous bool) {
	for _, k := range s.keys {
		if (kid != "" && k.kid != kid) || !slices.Contains(k.algs, alg) {
			continue
		}
		if kid != "" {
			return k, false
		}
		if found != nil {
			return nil, true
		}
		found = k
	}
	return found, false
}

// digestKeys names a set of keys by what they are, not by the document's bytes.
func digestKeys(keys []*key) ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.pub)
		if err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("encoding a public key: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%q %v %x\n", k.kid, k.algs, der) // a hash takes every write
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// errPrivateKey is a published private key: whoever reads it can sign.
var errPrivateKey = errors.New("the key set holds a private or a shared key")

// parseKeySet reads a JWKS document (RFC 7517 §5). Keys that cannot verify one of
// our algorithms are passed over: issuers publish encryption keys and curves we
// do not take beside the ones we do. A set without any usable key, with more than
// limit keys, or with a secret in it is an error.
func parseKeySet(doc []byte, limit int) ([]*key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	if len(set.Keys) > limit {
		return nil, fmt.Errorf("reading the key set: %d keys are more than %d", len(set.Keys), limit)
	}
	var keys []*key
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if errors.Is(err, errPrivateKey) {
			return nil, err
		}
		if err != nil {
			continue
		}
		switch twin := twinOf(keys, k); {
		case twin == nil:
			keys = append(keys, k)
		case !twin.equal(k):
			return nil, fmt.Errorf("reading the key set: key %d repeats a kid", i+1)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("reading the key set: it has no key for ES256, PS256, RS256 or EdDSA")
	}
	return keys, nil
}

// twinOf returns the key of the set that a token could mean as well as k: it has
// the same kid and fits one of the same algorithms.
func twinOf(set []*key, k *key) *key {
	for _, o := range set {
		if k.kid != "" && o.kid == k.kid && slices.ContainsFunc(o.algs, func(a jwa.SignatureAlgorithm) bool { return slices.Contains(k.algs, a) }) {
			return o
		}
	}
	return nil
}

func (k *key) equal(o *key) bool {
	pub, ok := k.pub.(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(o.pub) && slices.Equal(k.algs, o.algs)
}

// parseKey reads one JWK; an error says why it is of no use.
func parseKey(raw []byte) (*key, error) {
	var hint struct {
		Kty    string   `json:"kty"`
		Use    string   `json:"use"`
		Alg    string   `json:"alg"`
		Kid    string   `json:"kid"`
		KeyOps []string `json:"key_ops"`
		D      any      `json:"d"`
		K      any      `json:"k"`
	}
	if err := json.Unmarshal(raw, &hint); err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	switch {
	case hint.D != nil || hint.K != nil:
		return nil, errPrivateKey
	case hint.Use != "" && hint.Use != "sig":
		return nil, fmt.Errorf("key use is %q", hint.Use)
	case len(hint.KeyOps) > 0 && !slices.Contains(hint.KeyOps, "verify"):
		return nil, errors.New("key_ops lacks verify")
	case len(hint.Kid) > maxKeyIDBytes:
		return nil, errors.New("kid is too long")
	}
	parsedKey, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	var pub any
	if err := parsedKey.Raw(&pub); err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	algs, err := algorithmsOf(pub)
	if err != nil {
		return nil, err
	}
	if hint.Alg != "" && hint.Alg != "Ed25519" { // RFC 9864 names EdDSA over Ed25519 so
		if !slices.Contains(algs, jwa.SignatureAlgorithm(hint.Alg)) {
			return nil, fmt.Errorf("key alg %q does not fit", hint.Alg)
		}
		algs = []jwa.SignatureAlgorithm{jwa.SignatureAlgorithm(hint.Alg)}
	}
	return &key{kid: hint.Kid, algs: algs, pub: pub}, nil
}

// algorithmsOf returns the algorithms a public key fits, or why it fits none.
func algorithmsOf(pub any) ([]jwa.SignatureAlgorithm, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, errors.New("the curve is not P-256")
		}
		if _, err := k.ECDH(); err != nil { // checks that the point is on the curve
			return nil, fmt.Errorf("checking the point: %w", err)
		}
		return []jwa.SignatureAlgorithm{jwa.ES256}, nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("an RSA key has %d to %d bits, this one %d", minRSABits, maxRSABits, n)
		}
		if k.E < 3 || k.E%2 == 0 {
			return nil, errors.New("the RSA exponent is even or too small")
		}
		return []jwa.SignatureAlgorithm{jwa.PS256, jwa.RS256}, nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return nil, errors.New("the Ed25519 key has the wrong length")
		}
		return []jwa.SignatureAlgorithm{jwa.EdDSA}, nil
	}
	return nil, fmt.Errorf("a key of type %T verifies nothing here", pub)
}
