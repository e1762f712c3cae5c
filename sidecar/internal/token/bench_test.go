package token_test

import (
	"fmt"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// BenchmarkVerifyWarm verifies a cached token: a SHA-256 and a map read.
func BenchmarkVerifyWarm(b *testing.B) {
	k := newES256(b, "k")
	v := newVerifier(b, accessOptions(jwks(b, k)))
	raw := sign(b, k, nil, with(accessClaims(), object{"token_endpoint": endpoint}))
	if _, err := v.Verify(b.Context(), raw); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyCold verifies a token that is not cached, by algorithm.
func BenchmarkVerifyCold(b *testing.B) {
	for _, k := range []keyPair{newES256(b, "es"), newRSA(b, "ps", jwa.PS256), newEd25519(b, "ed")} {
		b.Run(k.alg.String(), func(b *testing.B) {
			o := accessOptions(jwks(b, k))
			o.Purpose = token.Assertion // never cached
			v := newVerifier(b, o)
			raw := sign(b, k, object{"typ": "JWT"}, accessClaims())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestWarmPathAllocations bounds the garbage of a cached token.
func TestWarmPathAllocations(t *testing.T) {
	k := newES256(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	raw := sign(t, k, nil, accessClaims())
	ctx := t.Context()
	verify := func() {
		if _, err := v.Verify(ctx, raw); err != nil {
			t.Fatal(err)
		}
	}
	verify()
	if n := testing.AllocsPerRun(100, verify); n > 1 {
		t.Errorf("%v allocations for a cached token, want at most 1", n)
	}
}

// TestCacheIsBounded: more tokens than the cache has room for all verify, each with its own claims.
func TestCacheIsBounded(t *testing.T) {
	k := newEd25519(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	var raws []string
	for i := range 4100 { // the cache has room for 4096
		raws = append(raws, sign(t, k, nil, with(accessClaims(), object{"jti": fmt.Sprint("t-", i)})))
	}
	for range 2 {
		for i, raw := range raws {
			c, err := v.Verify(t.Context(), raw)
			if err != nil || c.JTI != fmt.Sprint("t-", i) {
				t.Errorf("token %d: %v, jti %q", i, err, c.JTI)
			}
		}
	}
}

// FuzzToken: no text verifies unless the issuer's key signed it, and none panics.
func FuzzToken(f *testing.F) {
	k := newES256(f, "k")
	stranger := newES256(f, "k")
	for _, raw := range []string{
		"", "..", "a.b.c", sign(f, stranger, nil, accessClaims()),
		signText(f, stranger, `{"alg":"ES256","kid":"k","typ":"at+jwt","crit":["x"]}`, `{"iss":"https://as.example"}`),
		signText(f, stranger, `{"alg":"none","alg":"ES256"}`, `{"a":{"a":1}}`),
		b64([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + b64(marshal(f, accessClaims())) + ".",
		hmacToken(f, "HS256", "k", []byte("k"), accessClaims()),
	} {
		f.Add(raw)
	}
	var verifiers []*token.Verifier
	for _, p := range []token.Purpose{token.AccessToken, token.Assertion, token.Subject} {
		o := accessOptions(jwks(f, k))
		o.Purpose = p
		o.Issuers[0].AllowNoExpiry, o.Issuers[0].AllowRS256 = true, true
		verifiers = append(verifiers, newVerifier(f, o))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, v := range verifiers {
			if c, err := v.Verify(t.Context(), raw); reasonOf(t, err) == "" {
				t.Errorf("verified as %+v", c)
			}
		}
	})
}
