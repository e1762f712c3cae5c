package authz_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// holder has the key that the access token "key.key.key" of the kit is bound to.
type holder struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	n   int
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{t: t, key: k}
}

func (h *holder) thumbprint() string {
	h.t.Helper()
	pub, err := jwk.FromRaw(h.key.Public())
	if err != nil {
		h.t.Fatal(err)
	}
	sum, err := pub.Thumbprint(crypto.SHA256)
	if err != nil {
		h.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// proof signs a proof for GET /scim/v2/Users with the token key.key.key.
func (h *holder) proof(changes map[string]any) string {
	h.t.Helper()
	h.n++
	sum := sha256.Sum256([]byte(boundToKey))
	claims := map[string]any{
		"jti": fmt.Sprint("p-", h.n), "htm": "GET", "htu": "https://scim.example:8443/scim/v2/Users",
		"iat": now.Unix(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	for name, v := range changes {
		claims[name] = v
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		h.t.Fatal(err)
	}
	pub, err := jwk.FromRaw(h.key.Public())
	if err != nil {
		h.t.Fatal(err)
	}
	head := jws.NewHeaders()
	for name, v := range map[string]any{jws.TypeKey: "dpop+jwt", jws.JWKKey: pub} {
		if err := head.Set(name, v); err != nil {
			h.t.Fatal(err)
		}
	}
	raw, err := jws.Sign(payload, jws.WithKey(jwa.ES256, h.key, jws.WithProtectedHeaders(head)))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(raw)
}

// now is the time of the kit.
var now = t0.Add(3 * time.Hour)

// The bound tokens of boundVerifier.
const (
	boundToKey  = "key.key.key"
	boundToCert = "cert.cert.cert"
	boundToBoth = "both.both.both"
	// The SHA-256 of "abc", the content of the certificate, in base64url and in hex.
	certPrint = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
	certHash  = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	certPEM   = "-----BEGIN%20CERTIFICATE-----%0AYWJj%0A-----END%20CERTIFICATE-----%0A"
)

// newBoundKit has tokens that are bound, of the client idp. Its proofs have run for three hours.
func newBoundKit(t *testing.T, h *holder, edit ...func(*authz.TenantOptions)) *kit {
	t.Helper()
	clock := t0
	proofs, err := token.NewProofs("acme", func() time.Time { return clock }, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	clock = now
	return newKit(t, func(o *authz.Options) {
		acme := o.Tenants["acme"]
		acme.Verifier.(*verifier).bound = map[string]token.Binding{
			boundToKey:  {Key: h.thumbprint()},
			boundToCert: {Certificate: certPrint},
			boundToBoth: {Key: h.thumbprint(), Certificate: certPrint},
		}
		acme.URL, acme.Proofs = "https://scim.example:8443", proofs
		for _, e := range edit {
			e(&acme)
		}
		o.Tenants["acme"] = acme
	})
}

func boundReq(id, authorization string, edits ...func(*request.Request)) request.Request {
	r := scimReq("GET", "/scim/v2/Users?count=1", auth(authorization))
	r.ID = id
	for _, e := range edits {
		e(&r)
	}
	return r
}

func dpop(values ...string) func(*request.Request) { return header("dpop", values...) }

func ahead(r *request.Request) { r.Later = true }

func certified(c request.Certificate) func(*request.Request) {
	return func(r *request.Request) { r.Certificate = &c }
}

// TestBoundTokens: what each kind of token needs, and what the answer says (RFC 9449 §7, RFC 8705 §3).
func TestBoundTokens(t *testing.T) {
	h, thief := newHolder(t), newHolder(t)
	envoys, forwarded := request.Certificate{Escaped: certPEM}, request.Certificate{Hash: certHash}
	const proof, binding = "invalid_dpop_proof", "invalid_token"
	for _, row := range []struct {
		name   string
		req    request.Request
		reason string // "" is allowed
		error  string
		scheme string
	}{
		{"proof", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil))), "", "", ""},
		{"proof, scheme in another case", boundReq("1", "dpop "+boundToKey, dpop(h.proof(nil))), "", "", ""},
		{"bearer downgrade", boundReq("1", "Bearer "+boundToKey), authz.ReasonBinding, binding, "DPoP"},
		{"bearer downgrade with a proof", boundReq("1", "Bearer "+boundToKey, dpop(h.proof(nil))), authz.ReasonBinding, binding, "DPoP"},
		{"unbound token as DPoP", boundReq("1", "DPoP good.good.good", dpop(h.proof(nil))), authz.ReasonBinding, binding, "DPoP"},
		{"expired token as DPoP", boundReq("1", "DPoP expired.x.x", dpop(h.proof(nil))), authz.ReasonTokenExpired, binding, "DPoP"},
		{"no token68", boundReq("1", "DPoP a b", dpop(h.proof(nil))), request.ReasonCredential, "invalid_request", "DPoP"},
		{"two schemes", boundReq("1", "DPoP "+boundToKey+",Bearer x", dpop(h.proof(nil))), request.ReasonCredential, "invalid_request", "Bearer"},
		{"no proof", boundReq("1", "DPoP "+boundToKey), authz.ReasonProof, proof, "DPoP"},
		{"empty proof", boundReq("1", "DPoP "+boundToKey, dpop("")), authz.ReasonProof, proof, "DPoP"},
		{"two proofs", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil), h.proof(nil))), authz.ReasonProof, proof, "DPoP"},
		{"two proofs joined", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil)+","+h.proof(nil))), authz.ReasonProof, proof, "DPoP"},
		{"stolen token with another key", boundReq("1", "DPoP "+boundToKey, dpop(thief.proof(nil))), authz.ReasonProof, proof, "DPoP"},
		{"proof for another token", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(map[string]any{"ath": certPrint}))), authz.ReasonProof, proof, "DPoP"},
		{"proof for another method", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(map[string]any{"htm": "DELETE"}))), authz.ReasonProof, proof, "DPoP"},
		{"proof for another path", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(map[string]any{"htu": "https://scim.example:8443/scim/v2/Groups"}))), authz.ReasonProof, proof, "DPoP"},
		{"proof for another port", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(map[string]any{"htu": "https://scim.example/scim/v2/Users"}))), authz.ReasonProof, proof, "DPoP"},
		{"proof with the query", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(map[string]any{"htu": "https://scim.example:8443/scim/v2/Users?count=1"}))), authz.ReasonProof, proof, "DPoP"},
		{"old proof", boundReq("1", "DPoP "+boundToKey, dpop(h.proof(map[string]any{"iat": now.Add(-2 * time.Minute).Unix()}))), authz.ReasonProof, proof, "DPoP"},
		{"token as its own proof", boundReq("1", "DPoP "+boundToKey, dpop(boundToKey)), authz.ReasonProof, proof, "DPoP"},

		{"certificate of the check", boundReq("1", "Bearer "+boundToCert, certified(envoys)), "", "", ""},
		{"certificate that Envoy forwards", boundReq("1", "Bearer "+boundToCert, certified(forwarded)), "", "", ""},
		{"no certificate", boundReq("1", "Bearer "+boundToCert), authz.ReasonBinding, binding, "Bearer"},
		{"another certificate", boundReq("1", "Bearer "+boundToCert, certified(request.Certificate{Escaped: strings.Replace(certPEM, "YWJj", "YWJk", 1)})), authz.ReasonBinding, binding, "Bearer"},
		{"a key instead of a certificate", boundReq("1", "Bearer "+boundToCert, certified(request.Certificate{Escaped: strings.ReplaceAll(certPEM, "CERTIFICATE", "PUBLIC%20KEY")})), authz.ReasonBinding, binding, "Bearer"},
		{"no PEM", boundReq("1", "Bearer "+boundToCert, certified(request.Certificate{Escaped: "%zz"})), authz.ReasonBinding, binding, "Bearer"},
		{"certificate in a header of the client", boundReq("1", "Bearer "+boundToCert, header("x-forwarded-client-cert", "Hash="+certHash)), authz.ReasonBinding, binding, "Bearer"},
		{"certificate token as DPoP", boundReq("1", "DPoP "+boundToCert, certified(envoys), dpop(h.proof(nil))), authz.ReasonBinding, binding, "DPoP"},
		{"both, with the certificate alone", boundReq("1", "Bearer "+boundToBoth, certified(envoys)), authz.ReasonBinding, binding, "DPoP"},
		{"both, with the proof alone", boundReq("1", "DPoP "+boundToBoth, dpop(h.proof(nil))), authz.ReasonBinding, binding, "DPoP"},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newBoundKit(t, h)
			d := k.Decide(t.Context(), row.req)
			if row.reason == "" {
				if !d.Allowed() {
					t.Errorf("refused: %d %s %s", d.Status, d.Reason, d.Detail)
				}
				return
			}
			status := map[string]int{request.ReasonCredential: http.StatusBadRequest}[row.reason]
			if status == 0 {
				status = http.StatusUnauthorized
			}
			if d.Allowed() || d.Status != status || d.Reason != row.reason || d.Error != row.error {
				t.Errorf("allowed %t, %d %s %s: %s", d.Allowed(), d.Status, d.Reason, d.Error, d.Detail)
			}
			if !strings.HasPrefix(d.Challenge, row.scheme+" ") || !strings.Contains(d.Challenge, `error="`+row.error+`"`) ||
				(row.scheme == "DPoP") != strings.Contains(d.Challenge, `algs="ES256 PS256 EdDSA"`) {
				t.Errorf("challenge %s", d.Challenge)
			}
			if len(k.policy.asked) > 0 || d.Claims.ClientID != "" {
				t.Errorf("the request went on: %+v", d.Claims)
			}
		})
	}
}

// TestProofAtBothPlaces: Envoy's check and the service behind it judge the same request. Another request
// cannot use its proof, neither at the proxy nor around it.
func TestProofAtBothPlaces(t *testing.T) {
	h := newHolder(t)
	k, proof := newBoundKit(t, h), h.proof(nil)
	ask := func(id string, edits ...func(*request.Request)) authz.Decision {
		return k.Decide(t.Context(), boundReq(id, "DPoP "+boundToKey, append(edits, dpop(proof))...))
	}
	for i, step := range []struct {
		d     authz.Decision
		allow bool
	}{
		{ask("r1", ahead), true},
		{ask("r1", ahead), true}, // one retry of the check
		{ask("r2", ahead), false},
		{ask("r2"), false},
		{ask("r1"), true},
		{ask("r1"), false},
		{ask("r1", ahead), false},
	} {
		if step.d.Allowed() != step.allow || !step.allow && step.d.Token.Reason != token.ReasonProofReplay {
			t.Errorf("step %d: %t %s", i+1, step.d.Allowed(), step.d.Detail)
		}
	}
}

// TestSCIMNonce: where a nonce is required, the refusal brings one, and so does the answer of the service
// (RFC 9449 §9, §8.2).
func TestSCIMNonce(t *testing.T) {
	h := newHolder(t)
	k := newBoundKit(t, h, func(o *authz.TenantOptions) { o.DPoPNonce = true })
	d := k.Decide(t.Context(), boundReq("r1", "DPoP "+boundToKey, dpop(h.proof(nil)), ahead))
	if d.Status != http.StatusUnauthorized || d.Reason != authz.ReasonProofNonce || d.Nonce == "" ||
		!strings.Contains(d.Challenge, `error="use_dpop_nonce"`) {
		t.Fatalf("without a nonce: %+v", d)
	}
	proof := h.proof(map[string]any{"nonce": d.Nonce})
	for _, edits := range [][]func(*request.Request){{dpop(proof), ahead}, {dpop(proof)}} {
		d = k.Decide(t.Context(), boundReq("r2", "DPoP "+boundToKey, edits...))
		if !d.Allowed() {
			t.Errorf("with a nonce: %s", d.Detail)
		}
	}
	if d.Nonce == "" {
		t.Error("the service offers no nonce for the next request")
	}
}

// TestConstraint: a token of a client that must use DPoP or a certificate is refused without it, also a
// token that an external issuer did not bind.
func TestConstraint(t *testing.T) {
	h := newHolder(t)
	for _, row := range []struct {
		constraint token.Constraint
		req        request.Request
		allow      bool
	}{
		{token.ConstraintDPoP, boundReq("1", "Bearer good.good.good"), false},
		{token.ConstraintDPoP, boundReq("1", "Bearer "+boundToCert, certified(request.Certificate{Hash: certHash})), false},
		{token.ConstraintDPoP, boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil))), true},
		{token.ConstraintCertificate, boundReq("1", "Bearer good.good.good", certified(request.Certificate{Hash: certHash})), false},
		{token.ConstraintCertificate, boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil))), false},
		{token.ConstraintCertificate, boundReq("1", "Bearer "+boundToCert, certified(request.Certificate{Hash: certHash})), true},
		{token.ConstraintEither, boundReq("1", "Bearer good.good.good"), false},
		{token.ConstraintEither, boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil))), true},
	} {
		k := newBoundKit(t, h, func(o *authz.TenantOptions) {
			o.Constraint = func(issuer, client string) token.Constraint {
				if issuer != "https://as.example" || client != "idp" {
					t.Errorf("asked about %s %s", issuer, client)
				}
				return row.constraint
			}
		})
		d := k.Decide(t.Context(), row.req)
		if d.Allowed() != row.allow || !row.allow && (d.Status != 401 || d.Reason != authz.ReasonBinding) {
			t.Errorf("%s, %s: %t %s %s", row.constraint, row.req.Headers["authorization"], d.Allowed(), d.Reason, d.Detail)
		}
	}
}

// TestWithoutProofs: a tenant without a verifier of proofs accepts no token that is bound to a key.
func TestWithoutProofs(t *testing.T) {
	h := newHolder(t)
	k := newBoundKit(t, h, func(o *authz.TenantOptions) { o.Proofs = nil })
	d := k.Decide(t.Context(), boundReq("1", "DPoP "+boundToKey, dpop(h.proof(nil))))
	if d.Allowed() || d.Reason != authz.ReasonProof {
		t.Errorf("%t %s", d.Allowed(), d.Reason)
	}
}
