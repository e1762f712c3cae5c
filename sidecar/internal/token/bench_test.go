package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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

// BenchmarkFirstSight compares the first sight of an ES256 access token with bare verifications
// (crypto/ecdsa), in turns. verifies is the median of the ratios.
func BenchmarkFirstSight(b *testing.B) {
	const batch = 50
	k := newES256(b, "k")
	v := newVerifier(b, accessOptions(jwks(b, k)))
	pub, sum, sig := bareSignature(b, k)
	var ratios []float64
	n := 0
	for b.Loop() {
		raws := make([]string, batch)
		for i := range raws {
			n++
			raws[i] = sign(b, k, nil, with(accessClaims(), object{"jti": fmt.Sprint("t-", n), "token_endpoint": endpoint}))
		}
		began := time.Now()
		for range batch {
			if !ecdsa.VerifyASN1(pub, sum, sig) {
				b.Fatal("VerifyASN1() = false, want true")
			}
		}
		bare := time.Since(began)
		began = time.Now()
		for _, raw := range raws {
			if _, err := v.Verify(b.Context(), raw); err != nil {
				b.Fatal(err)
			}
		}
		ratios = append(ratios, float64(time.Since(began))/float64(bare))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "verifies")
}

// bareSignature returns what crypto/ecdsa needs for one verification.
func bareSignature(b *testing.B, k keyPair) (*ecdsa.PublicKey, []byte, []byte) {
	b.Helper()
	sum := sha256.Sum256([]byte("a token"))
	sig, err := k.priv.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	pub, _ := k.priv.Public().(*ecdsa.PublicKey)
	return pub, sum[:], sig
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

// TestFirstSightAllocations bounds the garbage of a token that was not seen before, at an issuer whose
// header was.
func TestFirstSightAllocations(t *testing.T) {
	k := newES256(t, "k")
	o := accessOptions(jwks(t, k))
	o.Purpose = token.Assertion // never cached
	v := newVerifier(t, o)
	raw := sign(t, k, object{"typ": "JWT"}, accessClaims())
	verify := func() {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, verify); n > 36 {
		t.Errorf("%v allocations for a token at first sight, want at most 36", n)
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

// heap is the live heap in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sightings verifies n tokens that nobody has seen, each with padding of so many bytes.
func sightings(tb testing.TB, v *token.Verifier, k keyPair, serial *int, n, padding int) {
	tb.Helper()
	for range n {
		*serial++
		raw := sign(tb, k, nil, with(accessClaims(), object{"jti": fmt.Sprint("t-", *serial), "x": strings.Repeat("x", padding)}))
		if _, err := v.Verify(tb.Context(), raw); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestMemoryIsFlat: once the cache is full, further tokens need no further memory, and long tokens need
// no more than short ones. BenchmarkMemoryOfAMillion is the long run.
func TestMemoryIsFlat(t *testing.T) {
	k := newEd25519(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	serial := 0
	sightings(t, v, k, &serial, 4200, 0) // the cache has room for 4096
	full := heap()
	sightings(t, v, k, &serial, 4200, 0)
	if more := heap() - full; more > 1<<20 { // unbounded, it would be 4 MiB
		t.Errorf("%d KiB more after 4200 further tokens, want none", more>>10)
	}
	sightings(t, v, k, &serial, 4200, 8<<10)
	if more := heap() - full; more > 2<<20 { // with their text, it would be 33 MiB
		t.Errorf("%d KiB more with long tokens, want none", more>>10)
	}
}

// BenchmarkMemoryOfAMillion verifies b.N different tokens: run it with -benchtime 1000000x. MiB-more is what
// the heap has grown by since the cache was full.
func BenchmarkMemoryOfAMillion(b *testing.B) {
	k := newEd25519(b, "k")
	v := newVerifier(b, accessOptions(jwks(b, k)))
	serial := 0
	sightings(b, v, k, &serial, 4200, 0)
	full := heap()
	b.ResetTimer()
	sightings(b, v, k, &serial, b.N, 0)
	b.ReportMetric(float64(heap()-full)/(1<<20), "MiB-more")
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
