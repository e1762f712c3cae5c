package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// withSignature exchanges the signature of a token.
func withSignature(raw string, sig []byte) string {
	return raw[:strings.LastIndexByte(raw, '.')+1] + b64(sig)
}

// TestES256Signatures: signatures whose integers start with zeros or with a high bit verify, and no change
// of one does.
func TestES256Signatures(t *testing.T) {
	k := newES256(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	seen := map[string]bool{}
	for i := 0; i < 100_000 && len(seen) < 4; i++ { // a leading zero is one in 256
		raw := sign(t, k, nil, with(accessClaims(), object{"jti": fmt.Sprint("t-", i)}))
		sig, err := base64.RawURLEncoding.DecodeString(raw[strings.LastIndexByte(raw, '.')+1:])
		if err != nil {
			t.Fatal(err)
		}
		r, s := sig[:32], sig[32:]
		shape := ""
		switch {
		case r[0] == 0:
			shape = "zero in r"
		case s[0] == 0:
			shape = "zero in s"
		case r[0] >= 0x80 && s[0] >= 0x80:
			shape = "high bits"
		case r[0] < 0x80 && s[0] < 0x80:
			shape = "low bits"
		}
		if shape == "" || seen[shape] {
			continue
		}
		seen[shape] = true
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
	}
	if len(seen) < 4 {
		t.Errorf("only signatures with %v were made, want four shapes", seen)
	}
	raw := sign(t, k, nil, accessClaims())
	sig, err := base64.RawURLEncoding.DecodeString(raw[strings.LastIndexByte(raw, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	n := k.priv.Public().(*ecdsa.PublicKey).Params().N //nolint:forcetypeassert // the key is one
	over := new(big.Int).Add(n, big.NewInt(1)).FillBytes(make([]byte, 32))
	for name, bad := range map[string][]byte{
		"r of zero":        append(make([]byte, 32), sig[32:]...),
		"s of zero":        append(bytes.Clone(sig[:32]), make([]byte, 32)...),
		"r above n":        append(bytes.Clone(over), sig[32:]...),
		"s above n":        append(bytes.Clone(sig[:32]), over...),
		"all bits":         bytes.Repeat([]byte{0xff}, 64),
		"63 bytes":         sig[:63],
		"65 bytes":         append(bytes.Clone(sig), 0),
		"two in a row":     append(bytes.Clone(sig), sig...),
		"ASN.1":            append([]byte{0x30, 0x44, 2, 0x20}, append(append(bytes.Clone(sig[:32]), 2, 0x20), sig[32:]...)...),
		"r and s swapped":  append(bytes.Clone(sig[32:]), sig[:32]...),
		"one bit":          append([]byte{sig[0] ^ 1}, sig[1:]...),
		"one bit at s":     append(bytes.Clone(sig[:63]), sig[63]^1),
		"one empty string": {0},
	} {
		if _, err := v.Verify(t.Context(), withSignature(raw, bad)); reasonOf(t, err) != token.ReasonSignature {
			t.Errorf("%s: %v, want %q", name, err, token.ReasonSignature)
		}
	}
}

// FuzzES256Signature: our verification of ES256 and that of jwx agree about every signature.
func FuzzES256Signature(f *testing.F) {
	k := newES256(f, "k")
	v := newVerifier(f, accessOptions(jwks(f, k)))
	peer, err := jws.NewVerifier(jwa.ES256)
	if err != nil {
		f.Fatal(err)
	}
	raw := sign(f, k, nil, accessClaims())
	signing := raw[:strings.LastIndexByte(raw, '.')]
	good, err := base64.RawURLEncoding.DecodeString(raw[len(signing)+1:])
	if err != nil {
		f.Fatal(err)
	}
	swapped := append(bytes.Clone(good[32:]), good[:32]...)
	for _, sig := range [][]byte{good, good[:63], make([]byte, 64), bytes.Repeat([]byte{0xff}, 64), swapped} {
		f.Add(sig)
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		if len(sig) == 0 || len(sig) > 4096 {
			t.Skip("a token has a signature, and no long one")
		}
		_, ours := v.Verify(t.Context(), withSignature(raw, sig))
		theirs := peer.Verify([]byte(signing), sig, k.priv.Public())
		if (ours == nil) != (theirs == nil) {
			t.Errorf("signature %x: ours %v, jwx %v", sig, ours, theirs)
		}
	})
}

// TestHeadersAreRemembered: a header that was seen in a valid token is read once, and remembering it never
// lets a token pass that would not pass alone.
func TestHeadersAreRemembered(t *testing.T) {
	k, stranger := newES256(t, "k"), newES256(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	for i := range 3 {
		raw := sign(t, k, nil, with(accessClaims(), object{"jti": fmt.Sprint("t-", i)}))
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		strange := sign(t, stranger, nil, accessClaims())
		if _, err := v.Verify(t.Context(), strange); reasonOf(t, err) != token.ReasonSignature {
			t.Errorf("a stranger's token with a known header: %v", err)
		}
		odd := sign(t, k, object{"crit": []string{"x"}}, accessClaims())
		if _, err := v.Verify(t.Context(), odd); reasonOf(t, err) != token.ReasonHeader {
			t.Errorf("crit after a good header: %v", err)
		}
	}
	for i := range 200 { // more headers than are remembered
		raw := sign(t, k, object{"x": i}, accessClaims())
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("header %d: %v", i, err)
		}
	}
	long := object{"x": strings.Repeat("x", 4000)}
	for range 2 {
		if _, err := v.Verify(t.Context(), sign(t, k, long, accessClaims())); err != nil {
			t.Errorf("a long header: %v", err)
		}
	}
}
