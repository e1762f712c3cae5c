package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// proofKey signs DPoP proofs for the token endpoint of acme.
type proofKey struct {
	w   *world
	key *ecdsa.PrivateKey
}

func (w *world) proofKey() *proofKey {
	w.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return &proofKey{w, k}
}

func (k *proofKey) thumbprint() string {
	pub, err := jwk.FromRaw(k.key.Public())
	if err != nil {
		k.w.t.Fatal(err)
	}
	sum, err := pub.Thumbprint(crypto.SHA256)
	if err != nil {
		k.w.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

func (k *proofKey) sign(changes object) string {
	k.w.t.Helper()
	claims := with(object{
		"jti": k.w.fresh(), "htm": "POST", "htu": acme + "/oauth/token", "iat": k.w.now().Unix(),
	}, changes)
	payload, err := json.Marshal(claims)
	if err != nil {
		k.w.t.Fatal(err)
	}
	pub, err := jwk.FromRaw(k.key.Public())
	if err != nil {
		k.w.t.Fatal(err)
	}
	h := jws.NewHeaders()
	if err := h.Set(jws.TypeKey, "dpop+jwt"); err != nil {
		k.w.t.Fatal(err)
	}
	if err := h.Set(jws.JWKKey, pub); err != nil {
		k.w.t.Fatal(err)
	}
	raw, err := jws.Sign(payload, jws.WithKey(jwa.ES256, k.key, jws.WithProtectedHeaders(h)))
	if err != nil {
		k.w.t.Fatal(err)
	}
	return string(raw)
}

// prove asks for a token with a new assertion and the given DPoP headers.
func (w *world) prove(proofs ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := post(acme, form(w.assert("idp", object{"jti": w.fresh()})).Encode())
	r.Header["Dpop"] = proofs
	return w.do(r)
}

// issued reads a token answer.
func issued(t *testing.T, rec *httptest.ResponseRecorder) (tokenType, raw string, claims object) {
	t.Helper()
	var body struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(body.Token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return body.Type, body.Token, claims
}

// settled has run for so long that no proof can be from before the start.
func settled(w *world) *world {
	w.advance(2 * time.Minute)
	return w
}

// TestDPoPToken: a request with a DPoP proof gets a token that is bound to the key of the proof, and
// introspection says so (RFC 9449 §5, §6.2).
func TestDPoPToken(t *testing.T) {
	w := settled(newWorld(t))
	k := w.proofKey()
	typ, raw, claims := issued(t, w.prove(k.sign(nil)))
	want := object{"jkt": k.thumbprint()}
	if diff := cmp.Diff(any(want), claims["cnf"]); diff != "" || typ != "DPoP" {
		t.Errorf("token_type %s, cnf (-want +got):\n%s", typ, diff)
	}
	var about object
	if err := json.Unmarshal(w.about("introspect", "idp", raw).Body.Bytes(), &about); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want), about["cnf"]); diff != "" || about["token_type"] != "DPoP" || about["active"] != true {
		t.Errorf("introspection %v (-want +got):\n%s", about, diff)
	}
	typ, _, claims = issued(t, w.do(post(acme, form(w.assert("idp", object{"jti": w.fresh()})).Encode())))
	if _, bound := claims["cnf"]; bound || typ != "Bearer" {
		t.Errorf("without a proof: token_type %s, cnf %v", typ, claims["cnf"])
	}
}

// TestDPoPRefused: a bad proof gets no token, spends no assertion and stores nothing.
func TestDPoPRefused(t *testing.T) {
	w := settled(newWorld(t))
	k := w.proofKey()
	used := k.sign(nil)
	issued(t, w.prove(used))
	for _, row := range []struct {
		name   string
		proofs []string
	}{
		{"empty", []string{""}},
		{"two", []string{k.sign(nil), k.sign(nil)}},
		{"used before", []string{used}},
		{"another endpoint", []string{k.sign(object{"htu": acme + "/oauth/revoke"})}},
		{"another tenant", []string{k.sign(object{"htu": globex + "/oauth/token"})}},
		{"another method", []string{k.sign(object{"htm": "GET"})}},
		{"old", []string{k.sign(object{"iat": w.now().Add(-2 * time.Minute).Unix()})}},
		{"an access token", []string{w.issue("idp")}},
	} {
		head, assertion := w.head("acme"), w.assert("idp", object{"jti": w.fresh()})
		r := post(acme, form(assertion).Encode())
		r.Header["Dpop"] = row.proofs
		rec := w.do(r)
		if rec.Code != http.StatusBadRequest || errorCode(t, rec) != "invalid_dpop_proof" {
			t.Errorf("%s: %d %s", row.name, rec.Code, rec.Body)
		}
		if w.head("acme") != head {
			t.Errorf("%s: something was stored", row.name)
		}
		if status, code := w.ask(assertion); status != http.StatusOK {
			t.Errorf("%s: the assertion is spent: %d %s", row.name, status, code)
		}
	}
}

// TestReplayRemembersNoProof: nobody fills the memory of proofs with a used assertion. The proof of a refused
// request is as good as before.
func TestReplayRemembersNoProof(t *testing.T) {
	w := settled(newWorld(t))
	used := form(w.assert("idp", nil)).Encode()
	if rec := w.do(post(acme, used)); rec.Code != http.StatusOK {
		t.Fatal(rec.Body)
	}
	proof := w.proofKey().sign(nil)
	r := post(acme, used)
	r.Header.Set("DPoP", proof)
	if rec := w.do(r); rec.Code != http.StatusUnauthorized {
		t.Fatalf("the used assertion: %d %s", rec.Code, rec.Body)
	}
	issued(t, w.prove(proof))
}

// TestOneProofGetsOneToken: of many requests at once with one proof, one gets a token.
func TestOneProofGetsOneToken(t *testing.T) {
	w := settled(newWorld(t))
	proof := w.proofKey().sign(nil)
	requests := make([]*http.Request, 16)
	for i := range requests {
		requests[i] = post(acme, form(w.assert("idp", object{"jti": w.fresh()})).Encode())
		requests[i].Header.Set("DPoP", proof)
	}
	var running sync.WaitGroup
	var got atomic.Int64
	for _, r := range requests {
		running.Go(func() {
			if w.do(r).Code == http.StatusOK {
				got.Add(1)
			}
		})
	}
	running.Wait()
	if got.Load() != 1 {
		t.Errorf("%d tokens with one proof, want 1", got.Load())
	}
}

// TestRefusedClientsCount: a request that proves a client, is refused and spends nothing counts as a failure of
// its address. Beyond the limit, its sender learns why, as before.
func TestRefusedClientsCount(t *testing.T) {
	const address = "198.51.100.7"
	for name, row := range map[string]struct {
		change func(*oauth.Tenant)
		send   func(k *proofKey, assertion string) (form url.Values, proof string)
		code   string
	}{
		"a bad proof": {nil, func(k *proofKey, assertion string) (url.Values, string) {
			return form(assertion), k.sign(object{"htm": "GET"})
		}, "invalid_dpop_proof"},
		"no nonce": {func(t *oauth.Tenant) { t.DPoPNonce = true }, func(k *proofKey, assertion string) (url.Values, string) {
			return form(assertion), k.sign(nil)
		}, "use_dpop_nonce"},
		"no certificate": {func(t *oauth.Tenant) {
			t.Clients[0].Constraint = token.ConstraintCertificate
		}, func(_ *proofKey, assertion string) (url.Values, string) {
			return form(assertion), ""
		}, "invalid_request"},
		"another grant": {func(t *oauth.Tenant) {
			t.Clients[1].AllowJWTBearer = true
		}, func(_ *proofKey, assertion string) (url.Values, string) {
			return url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}, ""
		}, "unauthorized_client"},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled(newWorld(t, func(w *world) { w.configure = row.change }))
			k, assertion := w.proofKey(), w.assert("idp", nil)
			for i := range 122 {
				f, proof := row.send(k, assertion)
				r := post(acme, f.Encode())
				r.Header.Set("X-Forwarded-For", address)
				if proof != "" {
					r.Header.Set("DPoP", proof)
				}
				rec := w.do(r)
				if rec.Code != http.StatusBadRequest || errorCode(t, rec) != row.code {
					t.Fatalf("request %d: %d %s, want 400 %s", i+1, rec.Code, rec.Body, row.code)
				}
			}
			wantBusy(t, "a stranger there", w.from(address, form("x.y.z")), "1")
		})
	}
}

// TestDPoPNonce: where the tenant requires a nonce, a client without one gets it, and may send the same
// assertion again (RFC 9449 §8).
func TestDPoPNonce(t *testing.T) {
	w := settled(newWorld(t, func(w *world) {
		w.configure = func(acme *oauth.Tenant) { acme.DPoPNonce = true }
	}))
	k, assertion := w.proofKey(), w.assert("idp", object{"jti": w.fresh()})
	ask := func(proof string) *httptest.ResponseRecorder {
		r := post(acme, form(assertion).Encode())
		r.Header.Set("DPoP", proof)
		return w.do(r)
	}
	rec := ask(k.sign(nil))
	nonce := rec.Header().Get("DPoP-Nonce")
	if rec.Code != http.StatusBadRequest || errorCode(t, rec) != "use_dpop_nonce" || nonce == "" {
		t.Fatalf("without a nonce: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	rec = ask(k.sign(object{"nonce": nonce}))
	if issued(t, rec); rec.Header().Get("DPoP-Nonce") == "" {
		t.Errorf("the answer brings no nonce for the next request: %v", rec.Header())
	}
}

// TestDPoPAfterARestart: a proof from before the restart is not accepted again. The client gets a nonce.
func TestDPoPAfterARestart(t *testing.T) {
	w := settled(newWorld(t))
	k := w.proofKey()
	used := k.sign(nil)
	issued(t, w.prove(used))
	w.reopen()
	rec := w.prove(used)
	nonce := rec.Header().Get("DPoP-Nonce")
	if rec.Code != http.StatusBadRequest || errorCode(t, rec) != "use_dpop_nonce" || nonce == "" {
		t.Fatalf("after the restart: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	issued(t, w.prove(k.sign(object{"nonce": nonce})))
}

// TestConstrainedClient: a client that must bind its tokens gets no other one. A certificate counts only
// for a client that may use it.
func TestConstrainedClient(t *testing.T) {
	const (
		digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of "abc"
		print  = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
		xfcc   = `By=spiffe://x;Hash=` + digest + `;Subject="CN=\"a;Hash=1,2\""`
	)
	for _, row := range []struct {
		name       string
		constraint token.Constraint
		proof      bool
		xfcc       []string
		status     int
		code       string
		bound      string // member of cnf
	}{
		{"none: bearer", token.ConstraintNone, false, nil, 200, "", ""},
		{"none: certificate does not count", token.ConstraintNone, false, []string{xfcc}, 200, "", ""},
		{"dpop: bearer", token.ConstraintDPoP, false, nil, 400, "invalid_dpop_proof", ""},
		{"dpop: certificate", token.ConstraintDPoP, false, []string{xfcc}, 400, "invalid_dpop_proof", ""},
		{"dpop: proof", token.ConstraintDPoP, true, nil, 200, "", "jkt"},
		{"certificate: none", token.ConstraintCertificate, false, nil, 400, "invalid_request", ""},
		{"certificate: proof", token.ConstraintCertificate, true, nil, 400, "invalid_request", ""},
		{"certificate: certificate", token.ConstraintCertificate, false, []string{xfcc}, 200, "", "x5t#S256"},
		{"certificate: two headers", token.ConstraintCertificate, false, []string{xfcc, xfcc}, 400, "invalid_request", ""},
		{"certificate: two elements", token.ConstraintCertificate, false, []string{xfcc + "," + xfcc}, 400, "invalid_request", ""},
		{"certificate: two hashes", token.ConstraintCertificate, false, []string{xfcc + ";Hash=" + digest}, 400, "invalid_request", ""},
		{"certificate: short hash", token.ConstraintCertificate, false, []string{"Hash=" + digest[2:]}, 400, "invalid_request", ""},
		{"certificate: no hash", token.ConstraintCertificate, false, []string{`Subject="Hash=` + digest + `"`}, 400, "invalid_request", ""},
		{"either: none", token.ConstraintEither, false, nil, 400, "invalid_dpop_proof", ""},
		{"either: proof", token.ConstraintEither, true, []string{xfcc}, 200, "", "jkt"},
		{"either: certificate", token.ConstraintEither, false, []string{xfcc}, 200, "", "x5t#S256"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := settled(newWorld(t, func(w *world) {
				w.configure = func(acme *oauth.Tenant) { acme.Clients[0].Constraint = row.constraint }
			}))
			k := w.proofKey()
			r := post(acme, form(w.assert("idp", object{"jti": w.fresh()})).Encode())
			want := object{"x5t#S256": print}
			if row.proof {
				r.Header.Set("DPoP", k.sign(nil))
				want = object{"jkt": k.thumbprint()}
			}
			r.Header["X-Forwarded-Client-Cert"] = row.xfcc
			rec := w.do(r)
			if rec.Code != row.status || row.status != 200 && errorCode(t, rec) != row.code {
				t.Fatalf("%d %s, want %d %s", rec.Code, rec.Body, row.status, row.code)
			}
			if row.status != 200 {
				return
			}
			_, _, claims := issued(t, rec)
			if cnf, _ := claims["cnf"].(object); row.bound == "" && cnf != nil || row.bound != "" && !cmp.Equal(want, cnf) {
				t.Errorf("cnf %v, want %s of %v", claims["cnf"], row.bound, want)
			}
		})
	}
}

// TestBoundMetadata: the documents say what is required and possible (RFC 8705 §3.3, RFC 9449 §5.1,
// RFC 9728 §2).
func TestBoundMetadata(t *testing.T) {
	for _, required := range []bool{false, true} {
		w := newWorld(t, func(w *world) {
			w.configure = func(acme *oauth.Tenant) {
				acme.Certificates, acme.DPoPRequired = true, true
				for i := range acme.Clients {
					acme.Clients[i].Constraint = token.ConstraintEither
					if required {
						acme.Clients[i].Constraint = token.ConstraintDPoP
					}
				}
			}
		})
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/scim/v2"} {
			var doc object
			rec := w.do(httptest.NewRequest(http.MethodGet, acme+path, nil))
			if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			needs := doc["dpop_bound_access_tokens_required"] == true
			if doc["tls_client_certificate_bound_access_tokens"] != true || needs != (required && strings.Contains(path, "resource")) {
				t.Errorf("required %t: %s: %v", required, path, doc)
			}
		}
	}
}
