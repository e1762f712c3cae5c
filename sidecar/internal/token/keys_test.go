package token_test

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// web serves documents by URL without a network, so that time can be virtual. It counts
// the requests.
type web struct {
	mu     sync.Mutex
	docs   map[string]page
	down   bool
	asked  map[string]int
	answer chan struct{} // if not nil, requests wait for it
}

type page struct {
	status int // 0 is 200
	body   []byte
	header http.Header
	stream func(ctx context.Context) io.ReadCloser // in place of body
	hang   bool                                    // no answer
}

func newWeb() *web { return &web{docs: map[string]page{}, asked: map[string]int{}} }

func (w *web) put(url string, body []byte, header ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := page{body: body, header: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		p.header.Set(header[i], header[i+1])
	}
	w.docs[url] = p
}

func (w *web) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *web) count(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[url]
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked[r.URL.String()]++
	p, ok := w.docs[r.URL.String()]
	down, answer := w.down, w.answer
	w.mu.Unlock()
	if answer != nil {
		select {
		case <-answer:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	switch {
	case down:
		return nil, errors.New("connection refused")
	case p.hang:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case p.stream != nil:
		return &http.Response{
			StatusCode: http.StatusOK, Header: p.header.Clone(), Body: p.stream(r.Context()), Request: r,
		}, nil
	}
	if !ok {
		p.status = http.StatusNotFound
	}
	if p.status == 0 {
		p.status = http.StatusOK
	}
	return &http.Response{
		StatusCode: p.status, Header: p.header.Clone(), Body: io.NopCloser(strings.NewReader(string(p.body))), Request: r,
	}, nil
}

func (w *web) client() *http.Client { return &http.Client{Transport: w} }

const jwksURL = "https://as.example/jwks"

// fetching returns a verifier of access tokens with keys from jwksURL on w, and the clock of the
// bubble. It also returns a function that signs tokens for a year.
func fetching(tb testing.TB, w *web) (*token.Verifier, func(keyPair) string) {
	tb.Helper()
	o := accessOptions(nil)
	o.Issuers[0].JWKSURL, o.Issuers[0].HTTPClient, o.Now = jwksURL, w.client(), time.Now
	o.Rand = func() float64 { return 0.5 } // no jitter: the middle of the range
	mint := func(k keyPair) string {
		exp := time.Now().Add(365 * 24 * time.Hour)
		return sign(tb, k, nil, with(accessClaims(), object{"iat": time.Now().Unix(), "exp": exp.Unix()}))
	}
	return newVerifier(tb, o), mint
}

// TestKeyRotation: the first token of a new key fetches the key. A removed key stops working at the
// next refresh, also for cached tokens.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, oldKey, newKey := newWeb(), newES256(t, "old"), newES256(t, "new")
		w.put(jwksURL, jwks(t, oldKey), "Cache-Control", "max-age=600")
		v, mint := fetching(t, w)
		if err := v.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		step := func(name string, key string, raw string, want token.Reason) {
			t.Helper()
			_, err := v.Verify(t.Context(), raw)
			if got := reasonOf(t, err); got != want {
				t.Errorf("%s, token of %s key: reason = %q, want %q", name, key, got, want)
			}
		}
		byOld, byNew := mint(oldKey), mint(newKey)
		step("before", "old", byOld, "")
		step("before", "new", byNew, token.ReasonKey)

		w.put(jwksURL, jwks(t, oldKey, newKey), "Cache-Control", "max-age=600")
		time.Sleep(31 * time.Second) // the cooldown of the first unknown kid
		step("both published", "new", byNew, "")
		step("both published", "old", byOld, "")

		w.put(jwksURL, jwks(t, newKey), "Cache-Control", "max-age=600")
		time.Sleep(599 * time.Second)
		step("before the refresh", "old", byOld, "")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		step("after the refresh", "old", byOld, token.ReasonKey)
		step("after the refresh", "new", byNew, "")
	})
}

// TestKeysReplacedUnderTheSameKid: a new key under the same kid invalidates cached tokens.
func TestKeysReplacedUnderTheSameKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first, second := newWeb(), newES256(t, "k"), newES256(t, "k")
		w.put(jwksURL, jwks(t, first))
		v, mint := fetching(t, w)
		synctest.Wait()
		raw := mint(first)
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		w.put(jwksURL, jwks(t, second))
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		_, err := v.Verify(t.Context(), raw)
		if got := reasonOf(t, err); got != token.ReasonSignature {
			t.Errorf("reason = %q, want %q", got, token.ReasonSignature)
		}
	})
}

// TestUnknownKidFetchesOnce: any number of unknown kids cause one fetch in a cooldown, and all
// callers wait for it.
func TestUnknownKidFetchesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, known, fresh := newWeb(), newES256(t, "known"), newES256(t, "fresh")
		w.put(jwksURL, jwks(t, known))
		v, mint := fetching(t, w)
		synctest.Wait()
		raw := mint(fresh)
		w.put(jwksURL, jwks(t, known, fresh))
		w.answer = make(chan struct{})
		before := w.count(jwksURL)

		const callers = 50
		reasons := make([]token.Reason, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				_, err := v.Verify(t.Context(), raw)
				reasons[i] = reasonOf(t, err)
			})
		}
		synctest.Wait() // all wait for the one fetch
		close(w.answer)
		wg.Wait()
		if diff := cmp.Diff(make([]token.Reason, callers), reasons); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		if got := w.count(jwksURL) - before; got != 1 {
			t.Errorf("%d fetches, want 1", got)
		}

		for range 100 { // a stranger who makes up kids
			_, err := v.Verify(t.Context(), mint(newES256(t, "made-up")))
			if got := reasonOf(t, err); got != token.ReasonKey {
				t.Fatalf("reason = %q, want %q", got, token.ReasonKey)
			}
		}
		if got := w.count(jwksURL) - before; got != 1 {
			t.Errorf("%d fetches after made-up kids within the cooldown, want 1", got)
		}
	})
}

// TestUnknownKidWaitIsBounded: the caller's deadline ends the caller's wait, not the fetch.
func TestUnknownKidWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, known := newWeb(), newES256(t, "known")
		w.put(jwksURL, jwks(t, known))
		v, mint := fetching(t, w)
		synctest.Wait()
		w.answer = make(chan struct{}) // never closed: the fetch lasts until its timeout
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := v.Verify(ctx, mint(newES256(t, "fresh")))
		if got := reasonOf(t, err); got != token.ReasonUnavailable {
			t.Errorf("reason = %q, want %q", got, token.ReasonUnavailable)
		}
		if took := time.Since(begun); took > 251*time.Millisecond {
			t.Errorf("waited %s", took)
		}
		if _, err := v.Verify(t.Context(), mint(known)); err != nil {
			t.Errorf("a known key while a fetch hangs: %v", err)
		}
	})
}

// TestKeysOutage: the last good keys stay in use for 24 hours of an outage. Then no token
// verifies, and recovery needs no restart.
func TestKeysOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, key := newWeb(), newES256(t, "k")
		w.put(jwksURL, jwks(t, key))
		v, mint := fetching(t, w)
		synctest.Wait()
		cached := mint(key)
		verify := func(raw string) token.Reason {
			t.Helper()
			_, err := v.Verify(t.Context(), raw)
			return reasonOf(t, err)
		}
		if got := verify(cached); got != "" {
			t.Fatalf("before the outage: %q, want no refusal", got)
		}
		w.setDown(true)
		time.Sleep(23*time.Hour + 40*time.Minute)
		if got := verify(cached); got != "" {
			t.Errorf("cached token in the outage: %q, want no refusal", got)
		}
		if got := verify(mint(key)); got != "" {
			t.Errorf("new token in the outage: %q, want no refusal", got)
		}
		if got := verify(mint(newES256(t, "rotated"))); got != token.ReasonUnavailable {
			t.Errorf("unknown kid in the outage: %q, want %q", got, token.ReasonUnavailable)
		}
		for name, broken := range map[string][]byte{
			"empty": []byte(`{"keys":[]}`), "not JSON": []byte("<html>"), "huge": []byte(strings.Repeat(" ", 300<<10)),
		} {
			w.setDown(false)
			w.put(jwksURL, broken)
			time.Sleep(2 * time.Minute)
			if got := verify(mint(key)); got != "" {
				t.Errorf("a document that is %s replaced the good keys: %q", name, got)
			}
		}
		w.setDown(true)
		time.Sleep(25 * time.Minute)
		for name, raw := range map[string]string{"cached": cached, "new": mint(key)} {
			if got := verify(raw); got != token.ReasonUnavailable {
				t.Errorf("%s token after the bound: %q, want %q", name, got, token.ReasonUnavailable)
			}
		}
		if err := v.Ready(t.Context()); err == nil {
			t.Error("Ready() = nil without usable keys, want an error")
		}
		w.put(jwksURL, jwks(t, key))
		w.setDown(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := verify(cached); got != "" {
			t.Errorf("after the outage: %q, want no refusal", got)
		}
	})
}

// TestKeysRefreshBounds: refreshes follow the cache headers within bounds. Failures are
// retried sooner, with backoff.
func TestKeysRefreshBounds(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		down   bool
		within time.Duration
		min    int // fetches
		max    int
	}{
		{"max-age", []string{"Cache-Control", "public, max-age=600"}, false, time.Hour, 6, 7},
		{"max-age less age", []string{"Cache-Control", "max-age=600", "Age", "300"}, false, time.Hour, 12, 13},
		{"no headers", nil, false, time.Hour, 12, 13},
		{"no-store", []string{"Cache-Control", "no-store"}, false, time.Hour, 60, 61},
		{"max-age of zero", []string{"Cache-Control", "max-age=0"}, false, time.Hour, 60, 61},
		{"a year", []string{"Cache-Control", "max-age=31536000"}, false, time.Hour, 4, 5},
		{"nonsense", []string{"Cache-Control", "max-age=soon"}, false, time.Hour, 12, 13},
		{"down from the start", nil, true, time.Hour, 60, 70},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb()
				w.put(jwksURL, jwks(t, newES256(t, "k")), tt.header...)
				w.setDown(tt.down)
				fetching(t, w)
				time.Sleep(tt.within)
				synctest.Wait()
				if got := w.count(jwksURL); got < tt.min || got > tt.max {
					t.Errorf("%d fetches in %s, want %d to %d", got, tt.within, tt.min, tt.max)
				}
			})
		})
	}
}

// TestKeysDiscovery: the issuer's metadata names the keys (RFC 8414 §3).
func TestKeysDiscovery(t *testing.T) {
	const (
		oauthPath = "/.well-known/oauth-authorization-server"
		oidcPath  = "/.well-known/openid-configuration"
	)
	meta := func(issuer, uri string) []byte { return marshal(t, object{"issuer": issuer, "jwks_uri": uri}) }
	tests := []struct {
		name   string
		issuer string
		docs   map[string][]byte
		want   string // in the error; empty for success
	}{
		{"RFC 8414", issuer, map[string][]byte{issuer + oauthPath: meta(issuer, jwksURL)}, ""},
		{
			"RFC 8414 with a path",
			issuer + "/t/acme",
			map[string][]byte{issuer + oauthPath + "/t/acme": meta(issuer+"/t/acme", jwksURL)},
			"",
		},
		{
			"RFC 8414 with a slash at the end",
			issuer + "/t/",
			map[string][]byte{issuer + oauthPath + "/t": meta(issuer+"/t/", jwksURL)},
			"",
		},
		{
			"OpenID Connect as the second choice",
			issuer + "/t",
			map[string][]byte{issuer + "/t" + oidcPath: meta(issuer+"/t", jwksURL)},
			"",
		},
		{"another issuer", issuer, map[string][]byte{issuer + oauthPath: meta("https://evil.example", jwksURL)}, "it is of issuer"},
		{"issuer with a slash more", issuer, map[string][]byte{issuer + oauthPath: meta(issuer+"/", jwksURL)}, "it is of issuer"},
		{
			"another issuer is not a reason to look further",
			issuer,
			map[string][]byte{
				issuer + oauthPath: meta("https://evil.example", jwksURL),
				issuer + oidcPath:  meta(issuer, jwksURL),
			},
			"it is of issuer",
		},
		{"no jwks_uri", issuer, map[string][]byte{issuer + oauthPath: meta(issuer, "")}, "no jwks_uri"},
		{"jwks_uri over http", issuer, map[string][]byte{issuer + oauthPath: meta(issuer, "http://as.example/jwks")}, "not https"},
		{"jwks_uri on loopback", issuer, map[string][]byte{issuer + oauthPath: meta(issuer, "http://127.0.0.1/jwks")}, "not https"},
		{"jwks_uri with credentials", issuer, map[string][]byte{issuer + oauthPath: meta(issuer, "https://u:p@as.example/jwks")}, "credentials"},
		{"nothing there", issuer, nil, "status 404"},
		{"not JSON", issuer, map[string][]byte{issuer + oauthPath: []byte("<html>")}, "reading metadata"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb()
				w.put(jwksURL, jwks(t, newES256(t, "k")))
				for url, doc := range tt.docs {
					w.put(url, doc)
				}
				v := newVerifier(t, token.Options{
					Purpose: token.Subject, Issuers: []token.IssuerConfig{{Issuer: tt.issuer, HTTPClient: w.client()}},
				})
				err := v.Ready(t.Context())
				if tt.want == "" && err != nil {
					t.Error(err)
				}
				if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("error = %v, want one with %q", err, tt.want)
				}
			})
		})
	}
}

// TestKeysRedirect: a redirect is not followed.
func TestKeysRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.docs[jwksURL] = page{status: http.StatusFound, header: http.Header{"Location": {"https://evil.example/jwks"}}}
		w.put("https://evil.example/jwks", jwks(t, newES256(t, "k")))
		v, _ := fetching(t, w)
		if err := v.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "status 302") {
			t.Errorf("error = %v, want one with status 302", err)
		}
		if n := w.count("https://evil.example/jwks"); n != 0 {
			t.Errorf("the target of the redirect got %d requests, want 0", n)
		}
	})
}

// TestKeySetContents: a set may contain unusable keys beside usable ones.
func TestKeySetContents(t *testing.T) {
	good := newES256(t, "good")
	mixed := func(more ...object) []byte {
		return marshal(t, object{"keys": append([]object{publicJWK(t, good)}, more...)})
	}
	enc := with(publicJWK(t, newES256(t, "enc")), object{"use": "enc"})
	tests := []struct {
		name string
		doc  []byte
		want string // in the error of the set
	}{
		{"encryption key", mixed(enc), ""},
		{"key_ops without verify", mixed(with(enc, object{"use": nil, "key_ops": []string{"encrypt"}})), ""},
		{"unknown type", mixed(object{"kty": "AKP", "kid": "x"}), ""},
		{"point off the curve", mixed(with(publicJWK(t, newES256(t, "off")), object{"y": b64(make([]byte, 32))})), ""},
		{"small RSA", mixed(object{"kty": "RSA", "kid": "small", "e": "AQAB", "n": b64([]byte("\x80" + strings.Repeat("\x01", 127)))}), ""},
		{"huge RSA", mixed(object{"kty": "RSA", "kid": "huge", "e": "AQAB", "n": b64([]byte("\x80" + strings.Repeat("\x01", 2047)))}), ""},
		{"even RSA exponent", mixed(object{"kty": "RSA", "kid": "even", "e": "Ag", "n": b64([]byte("\x80" + strings.Repeat("\x01", 255)))}), ""},
		{"short Ed25519", mixed(object{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "AAAA"}), ""},
		{"X25519", mixed(object{"kty": "OKP", "crv": "X25519", "kid": "x", "x": b64(make([]byte, 32))}), ""},
		{"the same key twice", mixed(publicJWK(t, good)), ""},
		{"not an object", []byte(`{"keys":[7,` + string(marshal(t, publicJWK(t, good))) + `]}`), ""},
		{"too many keys", marshal(t, object{"keys": make([]object, 65)}), "65 keys"},
		{"private member", mixed(with(publicJWK(t, newES256(t, "p")), object{"d": "AA"})), "private"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := token.NewVerifier(accessOptions(tt.doc))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error = %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if _, err := v.Verify(t.Context(), sign(t, good, nil, accessClaims())); err != nil {
				t.Errorf("the good key beside it: %v", err)
			}
			// Without kid, exactly one key must fit: the others must not count.
			if _, err := v.Verify(t.Context(), sign(t, good, object{"kid": nil}, accessClaims())); err != nil {
				t.Errorf("without kid: %v", err)
			}
		})
	}
	t.Run("two keys, no kid", func(t *testing.T) {
		v := newVerifier(t, accessOptions(mixed(publicJWK(t, newES256(t, "other")))))
		_, err := v.Verify(t.Context(), sign(t, good, object{"kid": nil}, accessClaims()))
		if got := reasonOf(t, err); got != token.ReasonKey {
			t.Errorf("reason = %q, want %q", got, token.ReasonKey)
		}
	})
}

// TestUnusableKeys: a set that contains only a key that must not verify has no usable key.
func TestUnusableKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := func(size int, exponent string) object {
		return object{"kty": "RSA", "kid": "k", "e": exponent, "n": b64([]byte("\x80" + strings.Repeat("\x01", size-1)))}
	}
	tests := map[string]object{
		"RSA of 1024 bits":  publicJWK(t, keyPair{kid: "k", priv: small}),
		"RSA of 16384 bits": rsaKey(2048, "AQAB"),
		"RSA exponent 1":    rsaKey(256, "AQ"),
		"RSA exponent 2":    rsaKey(256, "Ag"),
		"P-384":             publicJWK(t, newEC(t, "k", elliptic.P384(), jwa.ES384)),
		"P-521":             publicJWK(t, newEC(t, "k", elliptic.P521(), jwa.ES512)),
		"off the curve":     with(publicJWK(t, newES256(t, "k")), object{"y": b64(make([]byte, 32))}),
		"use enc":           with(publicJWK(t, newES256(t, "k")), object{"use": "enc"}),
		"key_ops of others": with(publicJWK(t, newES256(t, "k")), object{"key_ops": []string{"wrapKey"}}),
		"alg of another":    with(publicJWK(t, newES256(t, "k")), object{"alg": "PS256"}),
		"long kid":          with(publicJWK(t, newES256(t, "k")), object{"kid": strings.Repeat("k", 300)}),
	}
	for name, k := range tests {
		v, err := token.NewVerifier(accessOptions(marshal(t, object{"keys": []object{k}})))
		if err == nil {
			v.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "no key for") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

// TestKeysClose: Close ends the waits and the goroutines.
func TestKeysClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.answer = make(chan struct{})
		v, mint := fetching(t, w)
		raw := mint(newES256(t, "k"))
		done := make(chan token.Reason, 1)
		go func() {
			_, err := v.Verify(context.WithoutCancel(t.Context()), raw)
			done <- reasonOf(t, err)
		}()
		synctest.Wait()
		v.Close()
		if got := <-done; got != token.ReasonUnavailable {
			t.Errorf("reason = %q, want %q", got, token.ReasonUnavailable)
		}
		_, err := v.Verify(t.Context(), raw)
		if got := reasonOf(t, err); got != token.ReasonUnavailable {
			t.Errorf("after close: reason = %q, want %q", got, token.ReasonUnavailable)
		}
	})
}
