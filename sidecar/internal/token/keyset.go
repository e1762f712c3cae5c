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

// Sizes of RSA keys in bits. Smaller keys are weak. Larger keys make each verification cost
// milliseconds, which strangers could exploit.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// key is a parsed public key with the algorithms that it may be used with.
type key struct {
	kid  string
	algs []jwa.SignatureAlgorithm
	pub  any
	gen  uint64 // of its set
}

func (k *key) verify(alg jwa.SignatureAlgorithm, signing string, sig []byte) error {
	// The fixed list and the key choose the verifier. It verifies the received bytes and does not read
	// the header of the token again.
	if pub, ok := k.pub.(*ecdsa.PublicKey); ok && alg == jwa.ES256 {
		return verifyES256(pub, signing, sig)
	}
	ver, err := jws.NewVerifier(alg)
	if err != nil {
		return fmt.Errorf("choosing a verifier: %w", err)
	}
	return ver.Verify([]byte(signing), sig, k.pub)
}

var errSignature = errors.New("the signature does not verify")

// verifyES256 verifies the integers r and s of 32 bytes each (RFC 7518 §3.4) with crypto/ecdsa, which takes
// them as ASN.1. jwx would check the point and convert the integers twice more for each token.
func verifyES256(pub *ecdsa.PublicKey, signing string, sig []byte) error {
	if len(sig) != 64 {
		return errSignature
	}
	sum := sha256.Sum256([]byte(signing))
	der := make([]byte, 2, 72)
	der = appendInteger(appendInteger(der, sig[:32]), sig[32:])
	der[0], der[1] = 0x30, byte(len(der)-2) // SEQUENCE
	if !ecdsa.VerifyASN1(pub, sum[:], der) {
		return errSignature
	}
	return nil
}

// appendInteger appends an unsigned big-endian integer as the shortest ASN.1 INTEGER.
func appendInteger(der, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0]&0x80 != 0 {
		return append(append(der, 2, byte(len(n)+1), 0), n...)
	}
	return append(append(der, 2, byte(len(n))), n...)
}

// keySet is one published state of an issuer's keys. It never changes.
type keySet struct {
	gen     uint64 // a different set of keys has a different generation
	keys    []*key
	digest  [sha256.Size]byte
	fetched time.Time
}

// find returns the key for kid and alg. Without kid exactly one key must fit. With several, a token
// could choose its verifier. The set may be nil.
func (s *keySet) find(kid string, alg jwa.SignatureAlgorithm) (found *key, ambiguous bool) {
	if s == nil {
		return nil, false
	}
	for _, k := range s.keys {
		switch {
		case kid != k.kid && kid != "", !slices.Contains(k.algs, alg):
		case kid != "":
			return k, false
		case found != nil:
			return nil, true
		default:
			found = k
		}
	}
	return found, false
}

// digestKeys returns a hash of the keys. It does not depend on the bytes of the document.
func digestKeys(keys []*key) ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.pub)
		if err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("encoding a public key: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%q %v %x\n", k.kid, k.algs, der) // a hash never fails
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// errPrivateKey reports a published private key, which lets every reader sign.
var errPrivateKey = errors.New("the key set contains a private or a shared key")

// parseKeySet reads a JWKS document (RFC 7517 §5). It skips keys that cannot verify an accepted
// algorithm, because issuers also publish encryption keys and other curves. A set without a usable
// key, with more than maxKeys keys, or with a secret is an error.
func parseKeySet(doc []byte) ([]*key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("reading the key set: %d keys are more than %d", len(set.Keys), maxKeys)
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

// twinOf returns a key of the set with the kid of k and a common algorithm. A token could mean
// either.
func twinOf(set []*key, k *key) *key {
	fits := func(a jwa.SignatureAlgorithm) bool { return slices.Contains(k.algs, a) }
	for _, o := range set {
		if k.kid != "" && o.kid == k.kid && slices.ContainsFunc(o.algs, fits) {
			return o
		}
	}
	return nil
}

func (k *key) equal(o *key) bool {
	pub, ok := k.pub.(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(o.pub) && slices.Equal(k.algs, o.algs)
}

// parseKey reads one JWK. The error tells why the key cannot be used.
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
	if hint.Alg != "" && hint.Alg != "Ed25519" { // the name of EdDSA over Ed25519 in RFC 9864
		if !slices.Contains(algs, jwa.SignatureAlgorithm(hint.Alg)) {
			return nil, fmt.Errorf("key alg %q does not fit", hint.Alg)
		}
		algs = []jwa.SignatureAlgorithm{jwa.SignatureAlgorithm(hint.Alg)}
	}
	return &key{kid: hint.Kid, algs: algs, pub: pub}, nil
}

// algorithmsOf returns the algorithms of a public key. If there are none, the error tells why.
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
	return nil, fmt.Errorf("a key of type %T fits no accepted algorithm", pub)
}
