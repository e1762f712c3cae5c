package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestTokenIssued: an assertion gets a token that the tenant's verifier accepts, and an
// audit record (RFC 6749 §4.4, RFC 7523 §2.2, RFC 9068 §2.2).
func TestTokenIssued(t *testing.T) {
	w := newWorld(t)
	f := form(w.assert("idp", nil))
	f.Set("scope", "scim")
	f.Set("client_id", "idp")
	f.Set("resource", acme+"/scim/v2")
	r := post(acme, f.Encode())
	r.Header.Set("X-Request-Id", "req-7")
	rec := w.do(r)
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Pragma": "no-cache", "Content-Type": "application/json",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	var body struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if body.TokenType != "Bearer" || body.ExpiresIn != 300 || body.Scope != "scim" {
		t.Errorf("body = %s", rec.Body)
	}
	got, err := w.accessVerifier("acme", acme).Verify(t.Context(), body.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := w.server.Signer("acme")
	if err != nil {
		t.Fatal(err)
	}
	want := token.Claims{
		Issuer: acme, Subject: "idp", ClientID: "idp", JTI: got.JTI, KeyID: signer.KeyID(),
		TokenEndpoint: acme + "/oauth/token", Audience: []string{acme + "/scim/v2"}, Scopes: []string{"scim"},
		IssuedAt: start, Expires: start.Add(5 * time.Minute),
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.JTI) < 22 {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if _, err := w.accessVerifier("globex", globex).Verify(t.Context(), body.AccessToken); err == nil {
		t.Error("Verify() = nil at another tenant, want an error")
	}

	record := fmt.Sprintf("%+v", w.lastAudit("acme"))
	for _, part := range []string{"client:idp", got.JTI, "req-7", "oauth.token"} {
		if !strings.Contains(record, part) {
			t.Errorf("audit record %s lacks %q, want it", record, part)
		}
	}
	for _, secret := range []string{body.AccessToken, f.Get("client_assertion"), strings.Split(body.AccessToken, ".")[2]} {
		if strings.Contains(w.logs.String(), secret) {
			t.Errorf("the log contains the secret %q, want none", secret)
		}
	}
	if got := strings.Count(w.logs.String(), `"token request"`); got != 1 {
		t.Errorf("%d log events for one request, want 1", got)
	}
}

func (w *world) accessVerifier(tenant, issuer string) *token.Verifier {
	w.t.Helper()
	own, err := w.server.Own(tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := token.NewVerifier(token.Options{
		Tenant: tenant, Purpose: token.AccessToken, Audience: issuer + "/scim/v2", TokenEndpoint: issuer + "/oauth/token",
		Issuers: []token.IssuerConfig{{Issuer: issuer, Own: own.Keys, Revoked: own.Revoked}}, Now: w.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(v.Close)
	return v
}

// TestAssertionRefusals: every refusal has its status and code (RFC 6749 §5.2), must not be stored,
// and does not write to the store.
func TestAssertionRefusals(t *testing.T) {
	w := newWorld(t)
	form := func(change func(url.Values)) *http.Request {
		f := form(w.assert("idp", nil))
		change(f)
		return post(acme, f.Encode())
	}
	set := func(name, value string) *http.Request { return form(func(f url.Values) { f.Set(name, value) }) }
	assertion := func(raw string) *http.Request { return set("client_assertion", raw) }
	claims := func(changes object) *http.Request { return assertion(w.assert("idp", changes)) }
	header := func(name, value string) *http.Request {
		r := form(func(url.Values) {})
		r.Header.Set(name, value)
		return r
	}
	const req, client, unauthorized = "invalid_request", "invalid_client", http.StatusUnauthorized
	tests := []struct {
		name   string
		r      *http.Request
		status int
		code   string
		text   string // part of the description
	}{
		{"unknown host", post("https://other.test", ""), 404, req, "no authorization server"},
		{"host of no tenant", post("https://initech.example", ""), 404, req, "no authorization server"},
		{"GET", httptest.NewRequest(http.MethodGet, acme+"/oauth/token", nil), 405, req, "POST"},
		{"PUT", httptest.NewRequest(http.MethodPut, acme+"/oauth/token", nil), 405, req, "POST"},
		{"parameters in the URL", func() *http.Request {
			r := form(func(url.Values) {})
			r.URL.RawQuery = "scope=scim"
			return r
		}(), 400, req, "not in the URL"},
		{"JSON", header("Content-Type", "application/json"), 415, req, "x-www-form-urlencoded"},
		{"multipart", header("Content-Type", "multipart/form-data; boundary=x"), 415, req, "x-www-form-urlencoded"},
		{"no content type", header("Content-Type", ""), 415, req, "x-www-form-urlencoded"},
		{"other charset", header("Content-Type", "application/x-www-form-urlencoded; charset=utf-16"), 415, req, "UTF-8"},
		{"gzip", header("Content-Encoding", "gzip"), 415, req, "content-encoding"},
		{"two content types", func() *http.Request {
			r := form(func(url.Values) {})
			r.Header.Add("Content-Type", "application/json")
			return r
		}(), 415, req, "one content-type"},
		{"huge body", set("x", strings.Repeat("x", 64<<10)), 413, req, "65536"},
		{"not a form", post(acme, "grant_type=%zz"), 400, req, "not a form"},
		{"semicolons", post(acme, "a=b;c=d"), 400, req, "not a form"},
		{"not UTF-8", set("scope", "\xff"), 400, req, "UTF-8"},
		{"empty body", post(acme, ""), 400, req, "grant_type is missing"},
		{"two grant types", form(func(f url.Values) { f.Add("grant_type", "client_credentials") }), 400, req, "more than once"},
		{"two assertions", form(func(f url.Values) { f.Add("client_assertion", f.Get("client_assertion")) }), 400, req, "more than once"},
		{"two assertion types", form(func(f url.Values) { f.Add("client_assertion_type", assertionType) }), 400, req, "more than once"},
		{"two unknown parameters", form(func(f url.Values) { f["x"] = []string{"1", "2"} }), 400, req, "more than once"},
		{"grant type authorization_code", set("grant_type", "authorization_code"), 400, "unsupported_grant_type", "client_credentials"},
		{"grant type jwt-bearer", set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), 400, "unsupported_grant_type", "client_credentials"},
		{"grant type password", set("grant_type", "password"), 400, "unsupported_grant_type", "client_credentials"},
		{"broader scope", set("scope", "scim admin"), 400, "invalid_scope", "scim"},
		{"scope with a longer name", set("scope", "scimadmin"), 400, "invalid_scope", "scim"},
		{"repeated scope", set("scope", "scim scim"), 400, "invalid_scope", "scim"},
		{"another resource", set("resource", globex+"/scim/v2"), 400, "invalid_target", acme},

		{"Basic", header("Authorization", "Basic aWRwOnNlY3JldA=="), unauthorized, client, "Authorization header is not accepted here, and client secrets are not"},
		{"Bearer", header("Authorization", "Bearer x"), unauthorized, client, "Authorization header"},
		{"empty Authorization", header("Authorization", ""), unauthorized, client, "Authorization header"},
		{"client secret", set("client_secret", "s"), unauthorized, client, "external_issuers lists, or a static token"},
		{"client secret alone", post(acme, "grant_type=client_credentials&client_id=idp&client_secret=s"), unauthorized, client, "secrets"},
		{"no assertion", form(func(f url.Values) { f.Del("client_assertion") }), unauthorized, client, "client_assertion is missing"},
		{"empty assertion", assertion(""), unauthorized, client, "client_assertion is missing"},
		{"no assertion type", form(func(f url.Values) { f.Del("client_assertion_type") }), unauthorized, client, "client_assertion_type"},
		{"SAML", set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), unauthorized, client, "client_assertion_type"},
		{"client_id of another", set("client_id", "old"), unauthorized, client, "client_id"},

		{"not a JWT", assertion("x"), unauthorized, client, "cannot be read"},
		{"too long", assertion(strings.Repeat("x", 17<<10)), unauthorized, client, "cannot be read"},
		{"alg none", assertion(b64(`{"alg":"none"}`) + "." + b64(`{"iss":"idp","sub":"idp"}`) + ".AA"), unauthorized, client, "not accepted"},
		{"unknown client", assertion(w.assert("nobody", nil)), unauthorized, client, "not accepted"},
		{"client of another tenant", assertion(w.assert("idp-globex", nil)), unauthorized, client, "not accepted"},
		{"another client's key", assertion(w.sign("old", "JWT", w.claims(nil))), unauthorized, client, "not accepted"},
		{"iss is not sub", claims(object{"sub": "old"}), unauthorized, client, "iss and sub"},
		{"no sub", claims(object{"sub": nil}), unauthorized, client, "claim sub"},
		{"no aud", claims(object{"aud": nil}), unauthorized, client, "claim aud"},
		{"aud of another tenant", claims(object{"aud": globex}), unauthorized, client, "aud"},
		{"aud is the token endpoint", claims(object{"aud": acme + "/oauth/token"}), unauthorized, client, "aud"},
		{"aud is the resource", claims(object{"aud": acme + "/scim/v2"}), unauthorized, client, "aud"},
		{"aud has two values", claims(object{"aud": []string{acme, "https://x.example"}}), unauthorized, client, "alone"},
		{"no exp", claims(object{"exp": nil}), unauthorized, client, "claim exp"},
		{"expired", claims(object{"exp": start.Add(-time.Minute).Unix()}), unauthorized, client, "expired"},
		{"exp far ahead", claims(object{"exp": start.Add(11 * time.Minute).Unix()}), unauthorized, client, "ahead"},
		{"nbf ahead", claims(object{"nbf": start.Add(time.Minute).Unix()}), unauthorized, client, "nbf"},
		{"iat ahead", claims(object{"iat": start.Add(time.Minute).Unix()}), unauthorized, client, "iat"},
		{"no jti", claims(object{"jti": nil}), unauthorized, client, "claim jti"},
		{"empty jti", claims(object{"jti": ""}), unauthorized, client, "claim jti"},
		{"long jti", claims(object{"jti": strings.Repeat("j", 300)}), unauthorized, client, "jti"},
		{"another token endpoint", claims(object{"token_endpoint": globex + "/oauth/token"}), unauthorized, client, "token_endpoint"},
		{"typ of an access token", assertion(w.sign("idp", "at+jwt", w.claims(nil))), unauthorized, client, "typ"},
		{"typ of a SET", assertion(w.sign("idp", "secevent+jwt", w.claims(nil))), unauthorized, client, "typ"},
		{"typ of a logout token", assertion(w.sign("idp", "logout+jwt", w.claims(nil))), unauthorized, client, "typ"},
	}
	before := []any{w.head("acme"), w.head("globex")}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := w.do(tt.r)
			var body struct {
				Error       string `json:"error"`
				Description string `json:"error_description"`
				AccessToken string `json:"access_token"`
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
				t.Fatalf("body %q: %v", rec.Body, err)
			}
			if rec.Code != tt.status || body.Error != tt.code ||
				!strings.Contains(body.Description, tt.text) || body.AccessToken != "" {
				t.Errorf("answer %d %s, want %d %s with %q", rec.Code, rec.Body, tt.status, tt.code, tt.text)
			}
			if got := rec.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q, want no-store", got)
			}
			if challenge := rec.Header().Get("WWW-Authenticate"); (rec.Code == unauthorized) != (challenge != "") {
				t.Errorf("status %d with WWW-Authenticate %q", rec.Code, challenge)
			}
		})
	}
	if diff := cmp.Diff(before, []any{w.head("acme"), w.head("globex")}); diff != "" {
		t.Errorf("refusals wrote to the store:\n%s", diff)
	}
	if status, code := w.ask(w.assert("idp", nil)); status != http.StatusOK {
		t.Errorf("the jti of the refused assertions is spent: %d %s", status, code)
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// TestAssertionAccepted lists unusual requests that get a token.
func TestAssertionAccepted(t *testing.T) {
	w := newWorld(t)
	tests := map[string]string{
		"typ of RFC 7523bis":                 w.sign("idp", "client-authentication+jwt", w.claims(object{"jti": "1"})),
		"aud in a list":                      w.assert("idp", object{"jti": "2", "aud": []string{acme}}),
		"token endpoint as aud, switched on": w.assert("old", object{"jti": "3", "aud": acme + "/oauth/token"}),
		"issuer as aud, switched on":         w.assert("old", object{"jti": "4"}),
		"own token endpoint as a claim":      w.assert("idp", object{"jti": "5", "token_endpoint": acme + "/oauth/token"}),
		"keys behind a URL":                  w.assert("remote", object{"jti": "6"}),
		"within the leeway":                  w.assert("idp", object{"jti": "7", "exp": start.Add(-29 * time.Second).Unix()}),
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			if status, code := w.ask(raw); status != http.StatusOK {
				t.Errorf("status %d, error %q, want 200", status, code)
			}
		})
	}
	t.Run("charset and empty parameters", func(t *testing.T) {
		f := form(w.assert("idp", object{"jti": "8"}))
		f.Set("scope", "")
		f.Set("client_secret", "")
		r := post(acme, f.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
		if rec := w.do(r); rec.Code != http.StatusOK {
			t.Errorf("status %d: %s, want 200", rec.Code, rec.Body)
		}
	})
}

// TestAssertionReplay: an assertion works once (RFC 7523 §3), until it expires, and also
// across a restart.
func TestAssertionReplay(t *testing.T) {
	t.Run("second use", func(t *testing.T) {
		w := newWorld(t)
		raw := w.assert("idp", nil)
		w.want(raw, http.StatusOK, "")
		head := w.head("acme")
		w.want(raw, http.StatusUnauthorized, "invalid_client")
		again := w.assert("idp", object{"exp": start.Add(2 * time.Minute).Unix()}) // the same jti, signed again
		w.want(again, http.StatusUnauthorized, "invalid_client")
		if w.head("acme") != head {
			t.Errorf("the audit chain is at %d after a replay, want %d", w.head("acme"), head)
		}
		w.want(w.assert("idp", object{"jti": "a-2"}), http.StatusOK, "")
		w.want(w.assert("old", nil), http.StatusOK, "") // the same jti of another client
	})
	t.Run("across a restart", func(t *testing.T) {
		w := newWorld(t)
		raw := w.assert("idp", nil)
		w.want(raw, http.StatusOK, "")
		w.reopen()
		w.want(raw, http.StatusUnauthorized, "invalid_client")
	})
	t.Run("until it expires", func(t *testing.T) {
		w := newWorld(t)
		raw := w.assert("idp", nil)
		w.want(raw, http.StatusOK, "")
		w.advance(time.Minute + 29*time.Second)            // exp has passed, the leeway has not
		if err := w.store.Sweep(t.Context()); err != nil { // must keep this jti
			t.Fatal(err)
		}
		w.want(raw, http.StatusUnauthorized, "invalid_client")
		w.advance(time.Second)
		w.want(raw, http.StatusUnauthorized, "invalid_client")
	})
	t.Run("at once", func(t *testing.T) {
		w := newWorld(t)
		raw := w.assert("idp", nil)
		codes := make([]int, 16)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() { codes[i] = w.do(post(acme, form(raw).Encode())).Code })
		}
		wg.Wait()
		count := map[int]int{}
		for _, c := range codes {
			count[c]++
		}
		if diff := cmp.Diff(map[int]int{http.StatusOK: 1, http.StatusUnauthorized: 15}, count); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

func (w *world) want(raw string, status int, code string) {
	w.t.Helper()
	if gotStatus, gotCode := w.ask(raw); gotStatus != status || gotCode != code {
		w.t.Errorf("answer %d %q, want %d %q", gotStatus, gotCode, status, code)
	}
}

// TestStrangersLookAlike: a stranger cannot learn which clients exist. The log quotes what a stranger
// claims to be.
func TestStrangersLookAlike(t *testing.T) {
	w := newWorld(t)
	rs256 := func(client string) string {
		claims := fmt.Sprintf(`{"iss":%q,"sub":%q}`, client, client)
		return b64(`{"alg":"RS256","kid":"x"}`) + "." + b64(claims) + "." + b64(strings.Repeat("x", 256))
	}
	var first *httptest.ResponseRecorder
	for name, raw := range map[string]string{
		"unknown client":           w.assert("nobody", nil),
		"client of another tenant": w.assert("idp-globex", nil),
		"unknown key":              w.sign("nobody", "JWT", w.claims(nil)),
		"other algorithm":          rs256("idp"),
		"same, unknown client":     rs256("xyz"),
	} {
		rec := w.do(post(acme, form(raw).Encode()))
		if first == nil {
			first = rec
		}
		if rec.Code != http.StatusUnauthorized || rec.Body.String() != first.Body.String() {
			t.Errorf("%s: %d %s, another got %d %s", name, rec.Code, rec.Body, first.Code, first.Body)
		}
		if diff := cmp.Diff(first.Header(), rec.Header()); diff != "" {
			t.Errorf("%s: headers differ:\n%s", name, diff)
		}
	}
	if strings.Contains(w.logs.String(), `"nobody"`) || !strings.Contains(w.logs.String(), `"\"nobody\""`) {
		t.Errorf("the log shows the client id of a stranger as a configured one, want it quoted:\n%s", w.logs.String())
	}
}

// TestTenantsApart: a tenant does not accept the assertions and tokens of another, and
// each has its own signing key.
func TestTenantsApart(t *testing.T) {
	w := newWorld(t)
	rec := w.do(post(globex, form(w.assert("idp", object{"aud": globex})).Encode()))
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("acme's client at globex: %d %s, want 401", rec.Code, rec.Body)
	}
	a, errA := w.server.PublicKeys("acme")
	b, errB := w.server.PublicKeys("globex")
	if errA != nil || errB != nil || string(a) == string(b) {
		t.Errorf("keys %s, %s, errors %v, %v", a, b, errA, errB)
	}
	// The same jti at another tenant is another jti.
	w.want(w.assert("idp", nil), http.StatusOK, "")
	rec = w.do(post(globex, form(w.assert("idp-globex", object{"aud": globex})).Encode()))
	if rec.Code != http.StatusOK {
		t.Errorf("globex's client with a jti that acme saw: %d %s", rec.Code, rec.Body)
	}
	if _, err := w.server.Signer("initech"); err == nil {
		t.Error("Signer(unknown tenant) = nil, want an error")
	}
	if _, err := w.server.PublicKeys("initech"); err == nil {
		t.Error("PublicKeys(unknown tenant) = nil, want an error")
	}
}

// TestStoreFault: if the store cannot record the jti, the answer is 503.
func TestStoreFault(t *testing.T) {
	var failing bool
	w := newWorld(t, func(w *world) {
		w.faults.BeforeCommit = func() error {
			if failing {
				return errors.New("disk I/O error")
			}
			return nil
		}
	})
	failing = true
	rec := w.do(post(acme, form(w.assert("idp", nil)).Encode()))
	wantUnavailable(t, rec)
	if strings.Contains(rec.Body.String(), "disk") || strings.Contains(rec.Body.String(), "access_token") {
		t.Errorf("body %s, want neither internals nor a token", rec.Body)
	}
	if !strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Errorf("no ERROR event in the log, want one:\n%s", w.logs.String())
	}
	failing = false
	w.reopen()
	w.want(w.assert("idp", nil), http.StatusOK, "") // the failed attempt did not spend the jti
}

func wantUnavailable(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	if rec.Code != http.StatusServiceUnavailable || errorCode(t, rec) != "temporarily_unavailable" ||
		rec.Header().Get("Retry-After") == "" {
		t.Errorf("answer %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
}

// TestClientKeysOutage: a client with keys that cannot be fetched gets 503. Other clients get
// tokens.
func TestClientKeysOutage(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.web = roundTrip(func(*http.Request) (*http.Response, error) { return nil, errDown })
	})
	if err := w.server.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "idp.example") {
		t.Errorf("ready: %v", err)
	}
	rec := w.do(post(acme, form(w.assert("remote", nil)).Encode()))
	wantUnavailable(t, rec)
	w.want(w.assert("idp", nil), http.StatusOK, "")
}

// TestSigningKeyIsKept: tokens issued before a restart verify after it.
func TestSigningKeyIsKept(t *testing.T) {
	w := newWorld(t)
	before, err := w.server.PublicKeys("acme")
	if err != nil {
		t.Fatal(err)
	}
	w.reopen()
	after, err := w.server.PublicKeys("acme")
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("keys were %s and are %s", before, after)
	}
	second, err := oauth.New(t.Context(), oauth.Options{Tenants: w.tenants()[1:], Store: w.store, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	mine, errMine := w.server.PublicKeys("globex")
	its, errIts := second.PublicKeys("globex")
	if errMine != nil || errIts != nil || string(mine) != string(its) {
		t.Errorf("two servers on one store have keys %s and %s (%v, %v)", mine, its, errMine, errIts)
	}
}
