package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// issue gets an access token for a client of acme.
func (w *world) issue(id string) string {
	w.t.Helper()
	rec := w.do(post(acme, form(w.assert(id, object{"jti": w.fresh()})).Encode()))
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body.Token == "" {
		w.t.Fatalf("%d %s %v", rec.Code, rec.Body, err)
	}
	return body.Token
}

// fresh returns a jti that was not used before.
func (w *world) fresh() string { return fmt.Sprint("fresh-", w.used.Add(1)) }

// about sends a request about a token as a client of acme.
func (w *world) about(endpoint, id, raw string) *httptest.ResponseRecorder {
	w.t.Helper()
	f := form(w.assert(id, object{"jti": w.fresh()}))
	f.Set("token", raw)
	f.Set("token_type_hint", "refresh_token") // it does not matter
	return w.to(endpoint, f)
}

func (w *world) to(endpoint string, f url.Values) *httptest.ResponseRecorder {
	r := post(acme, f.Encode())
	r.URL.Path = "/oauth/" + endpoint
	return w.do(r)
}

func reason(err error) token.Reason {
	var refused *token.Error
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// TestRevocation: a revoked token is refused at once, also by a verifier that has verified it before, and
// after a restart, until it has expired (RFC 7009).
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	one, two := w.issue("idp"), w.issue("idp")
	v := w.accessVerifier("acme", acme)
	for _, raw := range []string{one, two, one, two} {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatalf("before the revocation: %v", err)
		}
	}
	rec := w.about("revoke", "idp", one)
	if rec.Code != http.StatusOK || rec.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("revocation: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if _, err := v.Verify(t.Context(), one); reason(err) != token.ReasonRevoked {
		t.Errorf("revoked token: %v", err)
	}
	if _, err := v.Verify(t.Context(), two); err != nil {
		t.Errorf("the other token: %v", err)
	}
	if record := fmt.Sprintf("%+v", w.lastAudit("acme")); !strings.Contains(record, "oauth.revoke") {
		t.Errorf("audit record %s", record)
	}
	w.reopen()
	v = w.accessVerifier("acme", acme)
	if _, err := v.Verify(t.Context(), one); reason(err) != token.ReasonRevoked {
		t.Errorf("revoked token after a restart: %v", err)
	}
	w.advance(5*time.Minute + token.Leeway - time.Second)
	if err := errors.Join(w.store.Sweep(t.Context()), w.server.Maintain(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), one); reason(err) != token.ReasonRevoked {
		t.Errorf("revoked token in its last second: %v", err)
	}
	if _, err := v.Verify(t.Context(), two); err != nil {
		t.Errorf("the other token in its last second: %v", err)
	}
	w.advance(time.Hour)
	if err := errors.Join(w.store.Sweep(t.Context()), w.server.Maintain(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := oauth.Revoked(w.server, "acme"); n != 0 {
		t.Errorf("%d revoked tokens in memory after their expiry, want none", n)
	}
	w.reopen()
	if n := oauth.Revoked(w.server, "acme"); n != 0 {
		t.Errorf("%d revoked tokens in the store after their expiry, want none", n)
	}
}

// TestRevocationOfABoundToken: a token that is bound to a key can be revoked without the key.
func TestRevocationOfABoundToken(t *testing.T) {
	w := settled(newWorld(t))
	_, raw, _ := issued(t, w.prove(w.proofKey().sign(nil)))
	if rec := w.about("revoke", "idp", raw); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if _, err := w.accessVerifier("acme", acme).Verify(t.Context(), raw); reason(err) != token.ReasonRevoked {
		t.Errorf("revoked: %v", err)
	}
}

// TestRevocationRefusals: only an authenticated client revokes, and only its own tokens. What is no valid
// token needs no revocation (RFC 7009 §2.2).
func TestRevocationRefusals(t *testing.T) {
	w := newWorld(t)
	own, other := w.issue("idp"), w.issue("old")
	v := w.accessVerifier("acme", acme)
	spent := form(w.assert("idp", object{"jti": "spent"}))
	spent.Set("token", "x")
	w.to("revoke", spent)
	noClient := url.Values{"token": {own}}
	noToken := form(w.assert("idp", object{"jti": "b"}))
	strange := form(w.assert("nobody", nil))
	strange.Set("token", own)
	elsewhere := form(w.assert("idp-globex", object{"jti": "b"}))
	elsewhere.Set("token", own)
	for _, row := range []struct {
		name   string
		rec    *httptest.ResponseRecorder
		status int
		code   string
	}{
		{"token of another client", w.about("revoke", "idp", other), 400, "invalid_grant"},
		{"no token", w.to("revoke", noToken), 400, "invalid_request"},
		{"no assertion", w.to("revoke", noClient), 401, "invalid_client"},
		{"unknown client", w.to("revoke", strange), 401, "invalid_client"},
		{"client of another tenant", w.to("revoke", elsewhere), 401, "invalid_client"},
		{"the same assertion again", w.to("revoke", spent), 401, "invalid_client"},
		{"a static token", w.about("revoke", "idp", "scimward_st_x"), 400, "unsupported_token_type"},
		{"GET", w.do(httptest.NewRequest(http.MethodGet, acme+"/oauth/revoke", nil)), 405, "invalid_request"},
		{"unknown host", w.do(httptest.NewRequest(http.MethodPost, "https://x.test/oauth/revoke", nil)), 404, "invalid_request"},
		{"introspection without assertion", w.to("introspect", noClient), 401, "invalid_client"},
	} {
		if got := errorCode(t, row.rec); row.rec.Code != row.status || got != row.code {
			t.Errorf("%s: %d %q, want %d %q", row.name, row.rec.Code, got, row.status, row.code)
		}
	}
	if rec := w.about("revoke", "idp", "not.a.token"); rec.Code != http.StatusOK {
		t.Errorf("no token at all: %d, want 200", rec.Code)
	}
	for _, raw := range []string{own, other} {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("a token that nobody revoked: %v", err)
		}
	}
	if logs := w.logs.String(); strings.Contains(logs, own) || strings.Contains(logs, "not.a.token") {
		t.Error("the log contains a token, want none")
	}
}

// TestRefusedRevocationCounts: a request about a token that the client may not revoke uses its assertion up,
// counts against its limit and is audited, like a request that succeeds.
func TestRefusedRevocationCounts(t *testing.T) {
	w := newWorld(t)
	for name, raw := range map[string]string{"token of another": w.issue("old"), "static token": "scimward_st_x"} {
		f := form(w.assert("idp", object{"jti": w.fresh()}))
		f.Set("token", raw)
		if rec := w.to("revoke", f); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", name, rec.Code)
		}
		f.Set("token", "not.a.token")
		if rec := w.to("revoke", f); errorCode(t, rec) != "invalid_client" {
			t.Errorf("%s: the assertion works again: %d %s", name, rec.Code, rec.Body)
		}
	}
	raw := w.issue("old")
	codes := map[int]int{}
	for range 80 {
		codes[w.about("revoke", "idp", raw).Code]++
	}
	if codes[http.StatusBadRequest] == 0 || codes[http.StatusTooManyRequests] == 0 {
		t.Errorf("80 refused revocations: %v, want 429 after 60", codes)
	}
}

// TestRevocationNeedsTheStore: a revocation that the store cannot record is not answered with 200.
func TestRevocationNeedsTheStore(t *testing.T) {
	failing := false
	w := newWorld(t, func(w *world) {
		w.faults.BeforeCommit = func() error {
			if failing {
				return errDown
			}
			return nil
		}
	})
	raw := w.issue("idp")
	failing = true
	wantUnavailable(t, w.about("revoke", "idp", raw))
	failing = false
}

// TestIntrospection: a client learns of its own valid tokens, and of nothing else (RFC 7662).
func TestIntrospection(t *testing.T) {
	var notBefore time.Time
	w := newWorld(t, func(w *world) {
		w.options.NotBefore = func(string, string) time.Time { return notBefore }
	})
	own, other, dead := w.issue("idp"), w.issue("old"), w.issue("idp")
	w.about("revoke", "idp", dead)
	see := func(raw string) (out object) {
		rec := w.about("introspect", "idp", raw)
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || rec.Code != http.StatusOK {
			t.Fatalf("%d %s %v", rec.Code, rec.Body, err)
		}
		return out
	}
	got := see(own)
	for name, want := range (object{
		"active": true, "scope": "scim", "client_id": "idp", "token_type": "Bearer", "iss": acme, "aud": acme + "/scim/v2",
		"exp": float64(start.Add(5 * time.Minute).Unix()), "iat": float64(start.Unix()), "sub": "idp",
	}) {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for name, raw := range map[string]string{
		"of another client": other, "revoked": dead, "no token": "x", "an assertion": w.assert("idp", nil),
	} {
		if got := see(raw); len(got) != 1 || got["active"] != false {
			t.Errorf("%s: %v, want only active: false", name, got)
		}
	}
	notBefore = start.Add(time.Second)
	if got := see(own); len(got) != 1 || got["active"] != false {
		t.Errorf("from before its client was disabled: %v, want only active: false", got)
	}
	notBefore = time.Time{}
	w.advance(6 * time.Minute)
	if got := see(own); len(got) != 1 || got["active"] != false {
		t.Errorf("expired: %v, want only active: false", got)
	}
}

// TestRevocationsAreCheap: every request asks the list, so it allocates nothing, empty or full.
func TestRevocationsAreCheap(t *testing.T) {
	w := newWorld(t)
	own, err := w.server.Own("acme")
	if err != nil {
		t.Fatal(err)
	}
	ask := func() { own.Revoked.Revoked("an id of a token that nobody revoked") }
	if n := testing.AllocsPerRun(100, ask); n != 0 {
		t.Errorf("%v allocations with an empty list, want none", n)
	}
	w.about("revoke", "idp", w.issue("idp"))
	if n := testing.AllocsPerRun(100, ask); n != 0 || oauth.Revoked(w.server, "acme") != 1 {
		t.Errorf("%v allocations with a token in the list, want none", n)
	}
}

// BenchmarkRevoked asks a list of 100,000 revoked tokens.
func BenchmarkRevoked(b *testing.B) {
	list := oauth.FullDenylist(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if list.Revoked("token-1") == list.Revoked("another") {
			b.Fatal("the list does not tell the two apart")
		}
	}
}
