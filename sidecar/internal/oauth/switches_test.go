package oauth_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/oauth"
)

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// withClient opens a world in which the settings of acme's client idp are changed.
func withClient(tb testing.TB, change func(*oauth.Client)) *world {
	tb.Helper()
	return newWorld(tb, func(w *world) {
		w.configure = func(acme *oauth.Tenant) { change(&acme.Clients[0]) }
	})
}

// bearer sends an assertion as the grant itself to acme.
func (w *world) bearer(raw string, more url.Values) (int, string) {
	w.t.Helper()
	f := url.Values{"grant_type": {jwtBearer}, "assertion": {raw}}
	for name, v := range more {
		f[name] = v
	}
	rec := w.do(post(acme, f.Encode()))
	return rec.Code, errorCode(w.t, rec)
}

// TestJWTBearerGrant: a client with the switch may send its assertion as the grant (RFC 7523 §2.1). The
// rules for the assertion are the same: it works once, in either grant.
func TestJWTBearerGrant(t *testing.T) {
	w := withClient(t, func(c *oauth.Client) { c.AllowJWTBearer = true })
	for _, row := range []struct {
		name   string
		raw    string
		more   url.Values
		status int
		code   string
	}{
		{"accepted", w.assert("idp", nil), url.Values{"scope": {"scim"}, "client_id": {"idp"}}, 200, ""},
		{"again", w.assert("idp", nil), nil, 400, "invalid_grant"},
		{"no assertion", "", nil, 400, "invalid_request"},
		{"with a client assertion", w.assert("idp", object{"jti": "b"}), url.Values{"client_assertion": {"x"}}, 400, "invalid_request"},
		{"with a secret", w.assert("idp", object{"jti": "b"}), url.Values{"client_secret": {"x"}}, 400, "invalid_request"},
		{"another scope", w.assert("idp", object{"jti": "b"}), url.Values{"scope": {"scim openid"}}, 400, "invalid_scope"},
		{"another client_id", w.assert("idp", object{"jti": "b"}), url.Values{"client_id": {"old"}}, 400, "invalid_grant"},
		{"another audience", w.assert("idp", object{"jti": "b", "aud": globex}), nil, 400, "invalid_grant"},
		{"without jti", w.assert("idp", object{"jti": nil}), nil, 400, "invalid_grant"},
		{"expired", w.assert("idp", object{"jti": "b", "exp": start.Add(-time.Minute).Unix()}), nil, 400, "invalid_grant"},
		{"unknown client", w.assert("nobody", nil), nil, 400, "invalid_grant"},
		{"sub of another", w.assert("idp", object{"jti": "b", "sub": "old"}), nil, 400, "invalid_grant"},
		{"without the switch", w.assert("old", object{"jti": "b"}), nil, 400, "unauthorized_client"},
	} {
		if status, code := w.bearer(row.raw, row.more); status != row.status || code != row.code {
			t.Errorf("%s: answer %d %q, want %d %q", row.name, status, code, row.status, row.code)
		}
	}
	w.want(w.assert("idp", nil), http.StatusUnauthorized, "invalid_client") // spent as a grant
	w.want(w.assert("old", object{"jti": "b"}), http.StatusOK, "")          // not spent by the refusal
	if body := w.get(acme + "/.well-known/oauth-authorization-server"); !strings.Contains(body, jwtBearer) {
		t.Errorf("metadata without the grant: %s", body)
	}
}

// TestJWTBearerIsOff: without a client that has the switch, the grant does not exist.
func TestJWTBearerIsOff(t *testing.T) {
	w := newWorld(t)
	if status, code := w.bearer(w.assert("idp", nil), nil); status != 400 || code != "unsupported_grant_type" {
		t.Errorf("answer %d %q", status, code)
	}
	if body := w.get(acme + "/.well-known/oauth-authorization-server"); strings.Contains(body, jwtBearer) {
		t.Errorf("metadata with the grant: %s", body)
	}
}

func (w *world) get(target string) string {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do(r).Body.String()
}

// rsaKey is a key of an issuer that signs with RS256, as Entra does.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaJWKS(tb testing.TB) []byte {
	tb.Helper()
	k, err := rsaKey()
	if err != nil {
		tb.Fatal(err)
	}
	e := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes())
	n := base64.RawURLEncoding.EncodeToString(k.N.Bytes())
	return fmt.Appendf(nil, `{"keys":[{"kty":"RSA","use":"sig","kid":"rsa","n":%q,"e":%q}]}`, n, e)
}

func rs256(tb testing.TB, claims object) string {
	tb.Helper()
	k, err := rsaKey()
	if err != nil {
		tb.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	signing := b64(`{"alg":"RS256","typ":"JWT","kid":"rsa"}`) + "." + b64(string(body))
	sum := sha256.Sum256([]byte(signing))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return signing + "." + b64(string(sig))
}

const entra = "https://login.microsoftonline.com/72f988bf/v2.0"

// entraClaims is the shape of the tokens of Microsoft Entra workload identity: another issuer than the
// client, aud api://APPID, no jti, an hour of lifetime.
func entraClaims(changes object) object {
	return with(object{
		"iss": entra, "sub": "subject-1", "aud": "api://app-1", "uti": "x",
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(time.Hour).Unix(),
	}, changes)
}

// TestWorkloadIdentity: a client whose assertions another issuer signs. Every part of it is a switch and
// an exact match, and each assertion works once.
func TestWorkloadIdentity(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.configure = func(acme *oauth.Tenant) {
			for i, id := range []string{"entra-1", "entra-2"} {
				acme.Clients = append(acme.Clients, oauth.Client{
					ID: id, JWKS: rsaJWKS(t), AssertionIssuer: entra, AssertionSubject: fmt.Sprintf("subject-%d", i+1),
					Audiences: []string{fmt.Sprintf("api://app-%d", i+1)}, Algorithms: []string{"RS256"}, AllowNoJTI: true,
					MaxAssertionLifetime: 90 * time.Minute,
				})
			}
		}
	})
	raw := rs256(t, entraClaims(nil))
	w.want(raw, http.StatusOK, "")
	w.want(raw, http.StatusUnauthorized, "invalid_client")
	w.want(rs256(t, entraClaims(object{"x": 1})), http.StatusOK, "")
	second := entraClaims(object{"sub": "subject-2", "aud": "api://app-2"})
	w.want(rs256(t, second), http.StatusOK, "")
	if record := fmt.Sprintf("%+v", w.lastAudit("acme")); !strings.Contains(record, "client:entra-2") {
		t.Errorf("the second subject is not the second client: %s", record)
	}
	for name, claims := range map[string]object{
		"another subject":        {"sub": "subject-3"},
		"subject as a prefix":    {"sub": "subject-"},
		"no subject":             {"sub": nil},
		"audience of the other":  {"aud": "api://app-2"},
		"two audiences":          {"aud": []string{"api://app-1", acme}},
		"another issuer":         {"iss": entra + "/"},
		"the client as issuer":   {"iss": "entra-1", "sub": "entra-1"},
		"longer than it may be":  {"exp": start.Add(2 * time.Hour).Unix()},
		"subject as a list":      {"sub": []string{"subject-1"}},
		"jti of the wrong type":  {"jti": 7},
		"another token endpoint": {"token_endpoint": globex},
	} {
		if status, code := w.ask(rs256(t, entraClaims(claims))); status != 401 || code != "invalid_client" {
			t.Errorf("%s: answer %d %q", name, status, code)
		}
	}
	if body := w.get(acme + "/.well-known/oauth-authorization-server"); !strings.Contains(body, "RS256") {
		t.Errorf("metadata without RS256: %s", body)
	}
}

// TestSecondSignatureIsTheSameAssertion: whoever sees an assertion without jti can change its ES256
// signature (r, s) to (r, n - s), which verifies too. It is still the same assertion.
func TestSecondSignatureIsTheSameAssertion(t *testing.T) {
	w := withClient(t, func(c *oauth.Client) { c.AllowNoJTI = true })
	raw := w.assert("idp", object{"jti": nil})
	i := strings.LastIndexByte(raw, '.') + 1
	sig, err := base64.RawURLEncoding.DecodeString(raw[i:])
	if err != nil || len(sig) != 64 {
		t.Fatalf("%d bytes, %v", len(sig), err)
	}
	n, ok := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	if !ok {
		t.Fatal("the order of P-256 is not a number")
	}
	n.Sub(n, new(big.Int).SetBytes(sig[32:]))
	other := raw[:i] + b64(string(slices.Concat(sig[:32], n.FillBytes(make([]byte, 32)))))
	w.want(other, http.StatusOK, "")
	w.want(raw, http.StatusUnauthorized, "invalid_client")
	w.want(other, http.StatusUnauthorized, "invalid_client")
}

// TestClientAlgorithms: a client may sign only with the algorithms that it lists, and with RS256 only if
// it lists it.
func TestClientAlgorithms(t *testing.T) {
	own := object{"iss": "idp", "sub": "idp", "aud": acme, "jti": "j"}
	for name, row := range map[string]struct {
		algorithms []string
		es256, rsa int
	}{
		"default":    {nil, 200, 401},
		"PS256":      {[]string{"PS256", "EdDSA"}, 401, 401},
		"RS256 only": {[]string{"RS256"}, 401, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := withClient(t, func(c *oauth.Client) { c.Algorithms = row.algorithms })
			if status, _ := w.ask(w.assert("idp", nil)); status != row.es256 {
				t.Errorf("ES256: %d, want %d", status, row.es256)
			}
			w = withClient(t, func(c *oauth.Client) { c.Algorithms, c.JWKS = row.algorithms, rsaJWKS(t) })
			if status, _ := w.ask(rs256(t, entraClaims(with(own, object{"exp": start.Add(time.Minute).Unix()})))); status != row.rsa {
				t.Errorf("RS256: %d, want %d", status, row.rsa)
			}
		})
	}
	_, err := oauth.New(t.Context(), oauth.Options{
		Store: newWorld(t).store, Tenants: []oauth.Tenant{{
			Name: "acme", Issuer: acme, Clients: []oauth.Client{{ID: "x", JWKS: rsaJWKS(t), Algorithms: []string{"HS256"}}},
		}},
	})
	if err == nil || !strings.Contains(err.Error(), `"HS256"`) {
		t.Errorf("New with HS256: %v", err)
	}
}

// TestTokenLifetime: the lifetime is that of the client, or else of the tenant, and never more than an
// hour.
func TestTokenLifetime(t *testing.T) {
	for _, row := range []struct{ tenant, client, want time.Duration }{
		{0, 0, 5 * time.Minute},
		{10 * time.Minute, 0, 10 * time.Minute},
		{10 * time.Minute, time.Hour, time.Hour},
		{0, 2 * time.Hour, time.Hour},
	} {
		w := newWorld(t, func(w *world) {
			w.configure = func(acme *oauth.Tenant) {
				acme.TokenLifetime, acme.Clients[0].TokenLifetime = row.tenant, row.client
			}
		})
		var body struct {
			Token   string `json:"access_token"`
			Expires int    `json:"expires_in"`
		}
		rec := w.do(post(acme, form(w.assert("idp", nil)).Encode()))
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		c, err := w.accessVerifier("acme", acme).Verify(t.Context(), body.Token)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Expires.Sub(c.IssuedAt); got != row.want || body.Expires != int(row.want/time.Second) {
			t.Errorf("%v and %v: exp - iat is %v, expires_in %d; want %v", row.tenant, row.client, got, body.Expires, row.want)
		}
	}
}
