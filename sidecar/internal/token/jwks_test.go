package token_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// drip is a body that gives a byte each second.
type drip struct{ done <-chan struct{} }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.done:
		return 0, context.DeadlineExceeded
	}
}

func (drip) Close() error { return nil }

// endless is a body of 64 MiB that counts what is read.
type endless struct {
	left int
	read *atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range p[:n] {
		p[i] = ' '
	}
	e.left -= n
	e.read.Add(int64(n))
	return n, nil
}

func (*endless) Close() error { return nil }

// TestBadKeySets: whatever the issuer's key set turns into, the last good keys stay in use, known tokens
// never wait, an unknown kid waits no longer than one refresh, and good keys come back in the background.
func TestBadKeySets(t *testing.T) {
	known, next := newES256(t, "known"), newES256(t, "next")
	var many []keyPair
	for i := range 80 {
		k := known
		k.kid = fmt.Sprint("k-", i)
		many = append(many, k)
	}
	var read atomic.Int64
	for name, bad := range map[string]page{
		"no answer": {hang: true},
		"dripping":  {stream: func(ctx context.Context) io.ReadCloser { return drip{ctx.Done()} }},
		"64 MiB": {stream: func(context.Context) io.ReadCloser {
			return &endless{64 << 20, &read}
		}},
		"two keys of one kid": {body: jwks(t, known, newES256(t, "known"))},
		"80 keys":             {body: jwks(t, many...)},
		"redirect":            {status: http.StatusFound, header: http.Header{"Location": {"https://evil.example/jwks"}}},
		"page for people":     {body: []byte("<html>down</html>"), header: http.Header{"Content-Type": {"text/html"}}},
		"error with keys":     {status: http.StatusInternalServerError, body: jwks(t, next)},
		"cut":                 {body: jwks(t, known)[:40]},
		"a shared key":        {body: []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"known"}]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb()
				w.put(jwksURL, jwks(t, known), "Cache-Control", "max-age=60")
				w.put("https://evil.example/jwks", jwks(t, next))
				v, mint := fetching(t, w)
				synctest.Wait()
				cached := mint(known)
				passes := func(when string, raw string) {
					t.Helper()
					began := time.Now()
					if _, err := v.Verify(t.Context(), raw); err != nil || time.Since(began) > 0 {
						t.Errorf("%s: %v after %s, want a pass at once", when, err, time.Since(began))
					}
				}
				passes("before", cached)

				w.mu.Lock()
				w.docs[jwksURL] = bad
				w.mu.Unlock()
				before := w.count(jwksURL)
				time.Sleep(10 * time.Minute)
				if n := w.count(jwksURL) - before; n < 5 || n > 20 {
					t.Errorf("%d refreshes in 10 minutes, want 5 to 20", n)
				}
				passes("a token that was seen", cached)
				passes("a new token of a known key", mint(known))
				began := time.Now()
				_, err := v.Verify(t.Context(), mint(next))
				if reasonOf(t, err) != token.ReasonUnavailable || time.Since(began) > 10*time.Second {
					t.Errorf("an unknown kid: %v after %s, want %q within one refresh", err, time.Since(began), token.ReasonUnavailable)
				}

				w.put(jwksURL, jwks(t, known, next), "Content-Type", "text/plain")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				before = w.count(jwksURL)
				passes("a new key, fetched in the background", mint(next))
				passes("the old key beside it", cached)
				if n := w.count(jwksURL) - before; n != 0 {
					t.Errorf("%d fetches for a key that the background refresh brought, want 0", n)
				}
				if n := w.count("https://evil.example/jwks"); n != 0 {
					t.Errorf("the target of the redirect got %d requests, want 0", n)
				}
			})
		})
	}
	if n := read.Load(); n == 0 || n > 64*(256<<10+64<<10) {
		t.Errorf("%d bytes of 64 MiB were read, want a little over 256 KiB for each of a few refreshes", n)
	}
}

// TestOutageOfAnHour: while the issuer's keys cannot be fetched, tokens of known keys pass as ever, those
// that were seen and new ones, with no wait.
func TestOutageOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, key := newWeb(), newES256(t, "k")
		w.put(jwksURL, jwks(t, key), "Cache-Control", "max-age=300")
		v, _ := fetching(t, w)
		synctest.Wait()
		mint := func(life time.Duration) string {
			now := time.Now()
			return sign(t, key, nil, with(accessClaims(), object{"iat": now.Unix(), "exp": now.Add(life).Unix()}))
		}
		cached := mint(2 * time.Hour)
		w.setDown(true)
		began := time.Now()
		for time.Since(began) < time.Hour {
			for name, raw := range map[string]string{"seen": cached, "new": mint(5 * time.Minute)} {
				at := time.Now()
				if _, err := v.Verify(t.Context(), raw); err != nil || time.Since(at) > 0 {
					t.Fatalf("a %s token, %s into the outage: %v after %s", name, at.Sub(began), err, time.Since(at))
				}
			}
			if err := v.Ready(t.Context()); err != nil {
				t.Fatalf("%s into the outage: %v", time.Since(began), err)
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestKeySetOverHTTP: a real server that sends 64 MiB gets rid of a fraction of it, and the target of a
// redirect gets no request.
func TestKeySetOverHTTP(t *testing.T) {
	var sent, redirected atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for range 1024 {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	mux.Handle("/redirect", http.RedirectHandler("/keys", http.StatusFound))
	mux.HandleFunc("/keys", func(http.ResponseWriter, *http.Request) { redirected.Add(1) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for path, want := range map[string]string{"/huge": "more than 262144 bytes", "/redirect": "status 302"} {
		v := newVerifier(t, token.Options{
			Purpose: token.Subject, Issuers: []token.IssuerConfig{{Issuer: issuer, JWKSURL: srv.URL + path}},
		})
		if err := v.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", path, err, want)
		}
		v.Close()
	}
	srv.CloseClientConnections()
	if n := sent.Load(); n > 32<<20 { // what was read, and what the system buffers
		t.Errorf("the server sent %d bytes of 64 MiB", n)
	}
	if n := redirected.Load(); n != 0 {
		t.Errorf("the target of the redirect got %d requests, want 0", n)
	}
}
