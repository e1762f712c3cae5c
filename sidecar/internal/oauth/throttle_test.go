package oauth_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
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

// TestFailuresAreLimited: from an address with too many failed authentications, a request that proves no client
// gets 429 and not why. Whoever proves a client gets the normal answer there, good or bad.
func TestFailuresAreLimited(t *testing.T) {
	w := withClient(t, func(c *oauth.Client) { c.AllowJWTBearer = true })
	const stranger = "2001:db8:0:1::7"
	bad := form(w.sign("nobody", "JWT", w.claims(nil))) // in the name of idp
	for i := range 120 {
		if rec := w.from(stranger, bad); rec.Code != http.StatusUnauthorized {
			t.Fatalf("failure %d: %d %s", i+1, rec.Code, rec.Body)
		}
	}
	late := form(w.assert("idp", object{"jti": "late", "exp": w.now().Add(-time.Hour).Unix()}))
	grant := func(raw string) url.Values { return url.Values{"grant_type": {jwtBearer}, "assertion": {raw}} }
	good := w.assert("idp", object{"jti": "good"})
	wantBusy(t, "one more failure", w.from(stranger, bad), "1")
	wantBusy(t, "the same network", w.from("2001:db8:0:1:ffff::1", bad), "1")
	wantBusy(t, "no assertion", w.from(stranger, url.Values{"grant_type": {"client_credentials"}}), "1")
	wantBusy(t, "no form", w.from(stranger, url.Values{"a": {"b", "c"}}), "1")
	wantBusy(t, "an expired assertion", w.from(stranger, late), "1")
	wantBusy(t, "the grant of RFC 7523", w.from(stranger, grant("x")), "1")
	for name, f := range map[string]url.Values{
		"a valid assertion": form(good), "the grant with one": grant(w.assert("idp", object{"jti": "grant"})),
	} {
		if rec := w.from(stranger, f); rec.Code != http.StatusOK {
			t.Errorf("%s from there: %d %s", name, rec.Code, rec.Body)
		}
	}
	wantBusy(t, "the valid assertion again", w.from(stranger, form(good)), "1")
	other := grant(w.assert("old", object{"jti": "other"}))
	if rec := w.from(stranger, other); rec.Code != http.StatusBadRequest || errorCode(t, rec) != "unauthorized_client" {
		t.Errorf("a client without the grant: %d %s", rec.Code, rec.Body)
	}
	if rec := w.from("2001:db8:0:2::7", bad); rec.Code != http.StatusUnauthorized {
		t.Errorf("another address: %d %s", rec.Code, rec.Body)
	}
	w.advance(time.Second)
	if rec := w.from(stranger, bad); rec.Code != http.StatusUnauthorized {
		t.Errorf("after the wait: %d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(w.logs.String(), `"outcome":"rate_source"`) {
		t.Error("no event says that the limit refused a request")
	}
}

// badForms are requests that prove no client, by what is wrong with them.
func (w *world) badForms() map[string]url.Values {
	strange := w.claims(object{"iss": "unknown", "sub": "unknown"})
	return map[string]url.Values{
		"signature": form(w.sign("nobody", "JWT", w.claims(nil))),
		"other":     form(w.sign("nobody", "JWT", w.claims(object{"iss": "old", "sub": "old"}))),
		"unknown":   form(w.sign("nobody", "JWT", strange)),
		"garbage":   form("x.y.z"),
		"secret":    {"grant_type": {"client_credentials"}, "client_id": {"idp"}, "client_secret": {"x"}},
		"malformed": {"grant_type": {"a", "b"}},
	}
}

// TestClientBehindTheAddressOfAFlood: 200 bad requests a second from the address of a client, of each kind and
// of all kinds, do not keep the client from any endpoint.
func TestClientBehindTheAddressOfAFlood(t *testing.T) {
	const address, second = "198.51.100.7", 200
	w := withClient(t, func(c *oauth.Client) { c.RequestsPerMinute = 600 })
	kinds := w.badForms()
	kinds["replay"] = form(w.assert("idp", object{"jti": "seen"}))
	w.from(address, kinds["replay"])
	names := slices.Sorted(maps.Keys(kinds))
	for _, flood := range append(slices.Clone(names), "all") {
		asked, got := 0, 0
		for i := range 3 * second {
			kind := flood
			if flood == "all" {
				kind = names[i%len(names)]
			}
			w.advance(time.Second / second)
			w.from(address, kinds[kind])
			if i%(second/4) != 0 {
				continue
			}
			for _, endpoint := range []string{"token", "introspect", "revoke"} {
				f := form(w.assert("idp", object{"jti": w.fresh()}))
				f.Set("token", "x")
				r := post(acme, f.Encode())
				r.URL.Path = "/oauth/" + endpoint
				r.Header.Set("X-Forwarded-For", address)
				asked++
				if w.do(r).Code == http.StatusOK {
					got++
				}
			}
		}
		if got*100 < asked*95 {
			t.Errorf("flood of %s: the client got %d of %d answers, want 95 of 100", flood, got, asked)
		}
	}
}

// TestFloodHasBoundedVerifications: beyond the limit of an address, what names no client is not verified, and
// what names one is verified so often as the text of docs/operations.md says. Another client has its own part.
func TestFloodHasBoundedVerifications(t *testing.T) {
	const address = "198.51.100.7"
	metrics := prometheus.NewRegistry()
	w := newWorld(t, func(w *world) { w.options.Metrics = metrics })
	verified := func() float64 { return assertionsVerified(t, metrics) }
	kinds := w.badForms()
	for range 120 {
		w.from(address, kinds["signature"])
	}
	before := verified()
	for range 1000 {
		for _, kind := range []string{"unknown", "garbage", "secret", "malformed"} {
			wantBusy(t, kind, w.from(address, kinds[kind]), "1")
		}
	}
	if n := verified() - before; n != 0 {
		t.Errorf("%v requests that name no client are verified, want none", n)
	}
	flood := func() float64 {
		before := verified()
		for range 2000 {
			w.from(address, kinds["signature"])
		}
		return verified() - before
	}
	if n := flood(); n != 110 {
		t.Errorf("%v of 2000 requests in the name of a client are verified, want the bursts of 100 and 10", n)
	}
	wantBusy(t, "the client that the flood names", w.from(address, form(w.assert("idp", object{"jti": "idp"}))), "1")
	if rec := w.from(address, form(w.assert("old", object{"jti": "old"}))); rec.Code != http.StatusOK {
		t.Errorf("another client: %d %s", rec.Code, rec.Body)
	}
	w.advance(100 * time.Millisecond)
	if n := flood(); n != 60 {
		t.Errorf("%v verifications 100 ms later, want 50 of the shared ones and a burst of 10 of its own", n)
	}
}

// BenchmarkBeyondTheLimit is what a bad request costs from an address beyond its limit.
func BenchmarkBeyondTheLimit(b *testing.B) {
	w := newWorld(b)
	kinds := w.badForms()
	for range 120 {
		w.from("198.51.100.7", kinds["signature"])
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				w.from("198.51.100.7", kinds[kind])
			}
		})
	}
}

// assertionsVerified is how often an assertion was verified, whatever the outcome.
func assertionsVerified(t *testing.T, metrics prometheus.Gatherer) (n float64) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "scimward_token_verifications_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "purpose" && l.GetValue() == token.Assertion.String() {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
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
