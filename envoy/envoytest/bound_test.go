package envoytest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// prover is a client that proves who it is, at one tenant.
type prover struct {
	t      *testing.T
	w      *world
	tenant *stack.Tenant
	key    *ecdsa.PrivateKey
	http   *http.Client
	nonce  string
}

// newProver has a key, and a certificate for it if certified is true.
func newProver(t *testing.T, w *world, tenant *stack.Tenant, certified bool) *prover {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &prover{t: t, w: w, tenant: tenant, key: key, http: w.HTTPClient()}
	if certified {
		cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		transport := s.http.Transport.(*http.Transport)
		transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

// xfcc is what Envoy would say about the certificate.
func (s *prover) xfcc() string {
	der := s.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0].Certificate[0]
	sum := sha256.Sum256(der)
	return "Hash=" + hex.EncodeToString(sum[:])
}

func (s *prover) proof(method, path, token string) string {
	s.t.Helper()
	claims := map[string]any{
		"jti": rand.Text(), "htm": method, "htu": s.tenant.URL + path, "iat": time.Now().Unix(), "nonce": s.nonce,
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	pub, err := jwk.FromRaw(s.key.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	h := jws.NewHeaders()
	for name, v := range map[string]any{jws.TypeKey: "dpop+jwt", jws.JWKKey: pub} {
		if err := h.Set(name, v); err != nil {
			s.t.Fatal(err)
		}
	}
	raw, err := jws.Sign(payload, jws.WithKey(jwa.ES256, s.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

// do sends a request through Envoy. lines are "Name: value".
func (s *prover) do(method, path, body string, lines ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.tenant.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	res, err := s.http.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if n := res.Header.Get("Dpop-Nonce"); n != "" {
		s.nonce = n
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// ask asks for a token.
func (s *prover) ask(lines ...string) answer {
	s.t.Helper()
	assertion, err := s.tenant.Client.Assertion(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	return s.do("POST", "/oauth/token", form.Encode(), append(lines, formType)...)
}

// token gets a token with a DPoP proof, or without.
func (s *prover) token(dpop bool, lines ...string) string {
	s.t.Helper()
	var a answer
	for range 2 { // once more with a nonce
		with := lines
		if dpop {
			with = append(with, "DPoP: "+s.proof("POST", "/oauth/token", ""))
		}
		if a = s.ask(with...); a.status == 200 {
			break
		}
	}
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Token == "" {
		s.t.Fatalf("no token: %d %s", a.status, a.body)
	}
	return body.Token
}

// constrained starts a stack whose acme requires DPoP with nonces, and whose globex requires certificates.
func constrained(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(text string) string {
		text = strings.Replace(text, "    external_url: https://acme", "    dpop: {nonce: required}\n    external_url: https://acme", 1)
		for name, value := range map[string]string{"acme": "dpop", "globex": "certificate"} {
			id := "      - client_id: " + name + "-identity-service\n"
			text = strings.Replace(text, id, id+"        sender_constrained: "+value+"\n", 1)
		}
		return text
	})
}

// auditCount is how many records the audit trail of a tenant has.
func (w *world) auditCount(ctx context.Context, t *testing.T, tenant string) int {
	t.Helper()
	out, err := w.Command(ctx, "audit", "export", "--tenant", tenant, "-c", w.Config).Output()
	if err != nil {
		t.Fatalf("audit export: %v", err)
	}
	return strings.Count(string(out), "\n")
}

// TestDPoPThroughEnvoy: Envoy passes the proof to the check and to the SCIM service, and both judge one
// request. Whatever is wrong with the proof, the request ends at Envoy and nothing changes.
func TestDPoPThroughEnvoy(t *testing.T) {
	w := constrained(t)
	s, thief := newProver(t, w, w.Acme, false), newProver(t, w, w.Acme, false)
	tok := s.token(true)
	thief.nonce = s.nonce
	const path = "/scim/v2/Users"
	auth := "Authorization: DPoP " + tok
	get := func(proof string) answer { return s.do("GET", path+"?count=1", "", auth, "DPoP: "+proof) }
	if a := get(s.proof("GET", path, tok)); a.status != 200 || a.header.Get("Dpop-Nonce") == "" {
		t.Fatalf("a right proof: %d %v %s", a.status, a.header, a.body)
	}
	used := s.proof("GET", path, tok)
	get(used)
	before := w.auditCount(t.Context(), t, "acme")
	user := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"mallory","externalId":"m1",` +
		`"emails":[{"value":"mallory@acme.example","primary":true}]}`
	post := func(lines ...string) answer {
		return s.do("POST", path, user, append(lines, scimJSON)...)
	}
	nonce := s.nonce
	s.nonce = "old"
	stale := s.proof("POST", path, tok)
	s.nonce = nonce
	for _, row := range []struct {
		name string
		a    answer
		code string
	}{
		{"bearer downgrade", post("Authorization: Bearer " + tok), "invalid_token"},
		{"bearer downgrade with a proof", post("Authorization: Bearer "+tok, "DPoP: "+s.proof("POST", path, tok)), "invalid_token"},
		{"no proof", post(auth), "invalid_dpop_proof"},
		{"proof of another request", post(auth, "DPoP: "+used), "invalid_dpop_proof"},
		{"replay", get(used), "invalid_dpop_proof"},
		{"key of a thief", post(auth, "DPoP: "+thief.proof("POST", path, tok)), "invalid_dpop_proof"},
		{"two headers", post(auth, "DPoP: "+s.proof("POST", path, tok), "DPoP: "+s.proof("POST", path, tok)), "invalid_dpop_proof"},
		{"stale nonce", post(auth, "DPoP: "+stale), "use_dpop_nonce"},
		{"proof for another tenant", post(auth, "DPoP: "+newProverOf(s, w.Globex).proof("POST", path, tok)), "invalid_dpop_proof"},
		{"proof in another header", post(auth, "X-DPoP: "+s.proof("POST", path, tok)), "invalid_dpop_proof"},
	} {
		challenge := row.a.header.Get("Www-Authenticate")
		if row.a.status != 401 || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `error="`+row.code+`"`) {
			t.Errorf("%s: %d %s %s", row.name, row.a.status, challenge, row.a.body)
		}
	}
	if after := w.auditCount(t.Context(), t, "acme"); after != before {
		t.Errorf("something was stored: %d records, before %d", after, before)
	}
	if a := s.ask(); a.status != 400 || !strings.Contains(a.body, "invalid_dpop_proof") {
		t.Errorf("a token without a proof: %d %s", a.status, a.body)
	}
	before = w.auditCount(t.Context(), t, "acme")
	if a := post(auth, "DPoP: "+s.proof("POST", path, tok)); a.status != 201 {
		t.Errorf("a right proof with POST: %d %s", a.status, a.body)
	}
	if after := w.auditCount(t.Context(), t, "acme"); after != before+1 {
		t.Errorf("%d records after a user was created, before %d", after, before)
	}
}

// newProverOf is the same client at another tenant.
func newProverOf(s *prover, tenant *stack.Tenant) *prover {
	other := *s
	other.tenant = tenant
	return &other
}

// TestCertificateThroughEnvoy: a certificate comes from the connection alone. A header of the client that
// names the certificate, or a connection that was opened for another host, opens nothing.
func TestCertificateThroughEnvoy(t *testing.T) {
	w := constrained(t)
	owner, thief := newProver(t, w, w.Globex, true), newProver(t, w, w.Globex, true)
	bare := newProver(t, w, w.Globex, false)
	spoof := "X-Forwarded-Client-Cert: " + owner.xfcc()
	for _, row := range []struct {
		name string
		a    answer
	}{
		{"no certificate", bare.ask()},
		{"a header instead", bare.ask(spoof)},
		{"a header of the standard", bare.ask("Client-Cert: :AAAA:", spoof)},
	} {
		if row.a.status != 400 || !strings.Contains(row.a.body, "client certificate") {
			t.Errorf("a token with %s: %d %s", row.name, row.a.status, row.a.body)
		}
	}
	tok := owner.token(false)
	const path = "/scim/v2/Users"
	auth := "Authorization: Bearer " + tok
	if a := owner.do("GET", path, "", auth); a.status != 200 {
		t.Fatalf("with the certificate: %d %s", a.status, a.body)
	}
	if a := owner.do("GET", path, "", auth, "X-Forwarded-Client-Cert: "+thief.xfcc()); a.status != 200 {
		t.Errorf("the header of the client counts: %d %s", a.status, a.body)
	}
	for _, row := range []struct {
		name string
		a    answer
	}{
		{"no certificate", bare.do("GET", path, "", auth)},
		{"another certificate", thief.do("GET", path, "", auth)},
		{"a header instead", bare.do("GET", path, "", auth, spoof)},
		{"another certificate and a header", thief.do("GET", path, "", auth, spoof)},
		{"two headers", thief.do("GET", path, "", auth, spoof, spoof)},
		{"the token as DPoP", owner.do("GET", path, "", "Authorization: DPoP "+tok, "DPoP: "+owner.proof("GET", path, tok))},
	} {
		if row.a.status != 401 || !strings.Contains(row.a.header.Get("Www-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %d %v %s", row.name, row.a.status, row.a.header, row.a.body)
		}
	}
	t.Run("a connection for another host", func(t *testing.T) {
		// Envoy asks for no certificate where the server name is another one, also if Host names the tenant.
		other := newProverOf(owner, w.Globex)
		other.http = w.HTTPClient()
		transport := other.http.Transport.(*http.Transport)
		transport.TLSClientConfig.Certificates = owner.http.Transport.(*http.Transport).TLSClientConfig.Certificates
		transport.TLSClientConfig.ServerName = "acme.localhost"
		defer other.http.CloseIdleConnections()
		if a := other.do("GET", path, "", auth, spoof); a.status != 401 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("the application learns nothing", func(t *testing.T) {
		owner.do("GET", "/", "", spoof)
		if r := w.globex.lastSeen(); r == nil || r.Header.Get("X-Forwarded-Client-Cert") != "" {
			t.Errorf("the application got %v", r)
		}
	})
}
