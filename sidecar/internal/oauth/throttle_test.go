package oauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/oauth"
)

// from sends a form to the token endpoint of acme from an address.
func (w *world) from(address string, f url.Values) *httptest.ResponseRecorder {
	r := post(acme, f.Encode())
	r.Header.Set("X-Forwarded-For", "203.0.113.9, "+address)
	return w.do(r)
}

func wantBusy(t *testing.T, what string, rec *httptest.ResponseRecorder, retry string) {
	t.Helper()
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != retry ||
		errorCode(t, rec) != "temporarily_unavailable" || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %d %v %s, want 429 with Retry-After %s", what, rec.Code, rec.Header(), rec.Body, retry)
	}
}

// TestFailuresAreLimited: an address with too many failed authentications is refused before anything is
// verified. The client is not: it gets its token from its own address, with what the stranger sent.
func TestFailuresAreLimited(t *testing.T) {
	w := newWorld(t)
	const stranger = "2001:db8:0:1::7"
	bad := form(w.sign("nobody", "JWT", w.claims(nil))) // in the name of idp
	for i := range 120 {
		if rec := w.from(stranger, bad); rec.Code != http.StatusUnauthorized {
			t.Fatalf("failure %d: %d %s", i+1, rec.Code, rec.Body)
		}
	}
	good := form(w.assert("idp", nil))
	wantBusy(t, "one more failure", w.from(stranger, bad), "1")
	wantBusy(t, "the same network", w.from("2001:db8:0:1:ffff::1", bad), "1")
	wantBusy(t, "a valid assertion from there", w.from(stranger, good), "1")
	wantBusy(t, "the grant of RFC 7523", w.from(stranger, url.Values{"grant_type": {jwtBearer}, "assertion": {"x"}}), "1")
	if rec := w.from("2001:db8:0:2::7", good); rec.Code != http.StatusOK {
		t.Errorf("the client from its own address: %d %s", rec.Code, rec.Body)
	}
	r := post(globex, form(w.assert("idp-globex", object{"aud": globex})).Encode())
	r.Header.Set("X-Forwarded-For", stranger)
	if rec := w.do(r); rec.Code != http.StatusOK {
		t.Errorf("the address at another tenant: %d %s", rec.Code, rec.Body)
	}
	w.advance(time.Second)
	if rec := w.from(stranger, bad); rec.Code != http.StatusUnauthorized {
		t.Errorf("after the wait: %d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(w.logs.String(), `"outcome":"rate_source"`) {
		t.Error("no event says that the limit refused a request")
	}
}

// TestUnknownAddressIsNotLimited: requests whose address is not known would all count together.
func TestUnknownAddressIsNotLimited(t *testing.T) {
	w := newWorld(t)
	bad := form(w.sign("nobody", "JWT", w.claims(nil)))
	for range 130 {
		w.from("@", bad)
	}
	if rec := w.from("@", form(w.assert("idp", nil))); rec.Code != http.StatusOK {
		t.Errorf("%d %s, want 200", rec.Code, rec.Body)
	}
}

// TestClientIsLimited: a client has its own limit over all endpoints. A refused request spends nothing. Who
// repeats the assertions of a client uses up none of its requests.
func TestClientIsLimited(t *testing.T) {
	w := withClient(t, func(c *oauth.Client) { c.RequestsPerMinute = 10 })
	seen := form(w.assert("idp", object{"jti": "seen"}))
	if rec := w.do(post(acme, seen.Encode())); rec.Code != http.StatusOK {
		t.Fatal(rec.Body)
	}
	for i := range 100 {
		if rec := w.from(fmt.Sprintf("198.51.100.%d", i), seen); rec.Code != http.StatusUnauthorized {
			t.Fatalf("replay %d: %d %s", i, rec.Code, rec.Body)
		}
	}
	for range 8 {
		w.issue("idp")
	}
	if rec := w.about("introspect", "idp", "x"); rec.Code != http.StatusOK {
		t.Errorf("the tenth request: %d %s", rec.Code, rec.Body)
	}
	last := form(w.assert("idp", object{"jti": "last"}))
	wantBusy(t, "the eleventh request", w.do(post(acme, last.Encode())), "6")
	wantBusy(t, "a revocation", w.about("revoke", "idp", "x"), "6")
	w.issue("old")
	w.advance(6 * time.Second)
	if rec := w.do(post(acme, last.Encode())); rec.Code != http.StatusOK {
		t.Errorf("the same assertion after the wait: %d %s", rec.Code, rec.Body)
	}
}
