package sidecar_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"
)

// forger signs anything with anything.
type forger struct {
	t    *testing.T
	keys map[string]crypto.Signer // by kid
	now  int64
	n    int
}

// newForger has the keys of everybody. A key whose name starts with ec is for ES256, with p384 for ES384,
// with rsa for RSA and with ed for EdDSA.
func newForger(t *testing.T) *forger {
	t.Helper()
	f := &forger{t: t, keys: map[string]crypto.Signer{}, now: time.Now().Unix()}
	for _, kid := range []string{"ec-idp", "ec-other", "ec-globex", "ec-issuer", "ec-mapped", "ec-stranger", "ec-gone"} {
		f.keys[kid] = f.made(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	f.keys["p384-idp"] = f.made(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	f.keys["rsa-idp"] = f.made(rsa.GenerateKey(rand.Reader, 2048))
	f.keys["rsa-issuer"] = f.keys["rsa-idp"]
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	f.keys["ed-idp"] = f.made(ed, err)
	return f
}

func (f *forger) made(k crypto.Signer, err error) crypto.Signer {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	return k
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (f *forger) json(v any) string {
	f.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// jwk is the public key of a kid.
func (f *forger) jwk(kid string) claims {
	switch pub := f.keys[kid].Public().(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, x, y
		if err != nil {
			f.t.Fatal(err)
		}
		half := (len(point) - 1) / 2
		return claims{
			"kty": "EC", "crv": pub.Params().Name, "kid": kid, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:]),
		}
	case *rsa.PublicKey:
		return claims{"kty": "RSA", "kid": kid, "n": b64(pub.N.Bytes()), "e": b64(big.NewInt(int64(pub.E)).Bytes())}
	case ed25519.PublicKey:
		return claims{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pub)}
	}
	return nil
}

func (f *forger) jwks(kids ...string) string {
	var list []claims
	for _, kid := range kids {
		list = append(list, f.jwk(kid))
	}
	return f.json(claims{"keys": list})
}

// secrets are the forms of a public key that confused verifiers take for a shared secret.
func (f *forger) secrets(kid string) map[string][]byte {
	f.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(f.keys[kid].Public())
	if err != nil {
		f.t.Fatal(err)
	}
	return map[string][]byte{
		"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "JWK": []byte(f.json(f.jwk(kid))),
	}
}

// text signs a header and claims, both given as text, with the key of kid by an algorithm.
func (f *forger) text(alg, kid, header, payload string) string {
	f.t.Helper()
	signing := b64([]byte(header)) + "." + b64([]byte(payload))
	return signing + "." + b64(f.signature(alg, kid, signing))
}

func (f *forger) signature(alg, kid, signing string) []byte {
	f.t.Helper()
	sum256, sum384 := sha256.Sum256([]byte(signing)), sha512.Sum384([]byte(signing))
	var sig []byte
	var err error
	switch k := f.keys[kid].(type) {
	case *ecdsa.PrivateKey:
		sum, size := sum256[:], 32
		if alg == "ES384" {
			sum, size = sum384[:], 48
		}
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, k, sum); err == nil {
			size = max(size, (k.Params().BitSize+7)/8)
			sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		if alg == "PS256" {
			o := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum256[:], o)
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum256[:])
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(signing))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return sig
}

// mac signs with a shared secret.
func (f *forger) mac(secret []byte, header, c claims) string {
	signing := b64([]byte(f.json(header))) + "." + b64([]byte(f.json(c)))
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write([]byte(signing)) // a hash never fails
	return signing + "." + b64(h.Sum(nil))
}

// next is an id that nothing had before.
func (f *forger) next() string {
	f.n++
	return fmt.Sprint("misuse-", f.n)
}

// kind is one kind of token with its good form.
type kind struct {
	kid    string
	header claims
	claims func() claims
}

// assertion is a client assertion of idp at acme.
func (f *forger) assertion() kind {
	return kind{"ec-idp", claims{"alg": "ES256", "kid": "ec-idp", "typ": "JWT"}, func() claims {
		return claims{"iss": "idp", "sub": "idp", "aud": own, "jti": f.next(), "iat": f.now, "exp": f.now + 60}
	}}
}

// access is an access token of the external issuer that follows RFC 9068.
func (f *forger) access() kind {
	return kind{"ec-issuer", claims{"alg": "ES256", "kid": "ec-issuer", "typ": "at+jwt"}, func() claims {
		return claims{
			"iss": "https://issuer.example", "sub": "sync", "client_id": "sync", "aud": scimAPI, "scope": "scim",
			"jti": f.next(), "iat": f.now, "exp": f.now + 300,
		}
	}}
}

// mapped is an access token of the external issuer with a mapping.
func (f *forger) mapped() kind {
	return kind{"ec-mapped", claims{"alg": "ES256", "kid": "ec-mapped", "typ": "JWT"}, func() claims {
		return claims{
			"iss": "https://mapped.example", "azp": "sync", "aud": scimAPI, "scp": []string{"scim"}, "tid": "t-1",
			"jti": f.next(), "iat": f.now, "exp": f.now + 300,
		}
	}}
}

// misuse is one bad token.
type misuse struct {
	name   string
	at     string // oauth or scim
	raw    string
	jti    string // that a good assertion must still be able to use
	status int
	code   string // OAuth error code
	reason string // of the refusal of the token in the log; empty: refused before the token is looked at
}

// forge makes a row from a kind of token with changes of the header and of the claims.
func (f *forger) forge(name, at string, k kind, header, c claims, status int, code, reason string) misuse {
	f.t.Helper()
	full := changed(k.claims(), c)
	jti, _ := full["jti"].(string)
	h := changed(k.header, header)
	alg, _ := h["alg"].(string)
	return misuse{name, at, f.text(alg, k.kid, f.json(h), f.json(full)), jti, status, code, reason}
}

// textual makes a row from a kind of token whose header or claims are edited as text.
func (f *forger) textual(
	name, at string, k kind, edit func(header, payload string) (string, string), status int, code, reason string,
) misuse {
	f.t.Helper()
	full := k.claims()
	jti, _ := full["jti"].(string)
	h, p := edit(f.json(k.header), f.json(full))
	return misuse{name, at, f.text("ES256", k.kid, h, p), jti, status, code, reason}
}
