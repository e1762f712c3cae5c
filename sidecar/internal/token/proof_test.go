package token_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/scimward/scimward/sidecar/internal/token"
)

const (
	scimURL  = "https://app.example/scim/v2/Users"
	theToken = "aaa.bbb.ccc"
)

// proofClaims are the claims of a proof for GET scimURL with theToken.
func proofClaims() object {
	sum := sha256.Sum256([]byte(theToken))
	return object{"jti": "p-1", "htm": "GET", "htu": scimURL, "iat": start.Unix(), "ath": b64(sum[:])}
}

func proof(tb testing.TB, k keyPair, header, claims object) string {
	tb.Helper()
	k.kid = ""
	h := with(object{"typ": "dpop+jwt", "kid": nil, "jwk": publicJWK(tb, k)}, header)
	return sign(tb, k, h, with(proofClaims(), claims))
}

func jkt(tb testing.TB, k keyPair) string {
	tb.Helper()
	pub, err := jwk.FromRaw(k.priv.Public())
	if err != nil {
		tb.Fatal(err)
	}
	sum, err := pub.Thumbprint(crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	return b64(sum)
}

// clock is a time that the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// newProofs returns a verifier that has run for an hour when the test begins.
func newProofs(tb testing.TB) (*token.Proofs, *clock) {
	tb.Helper()
	c := &clock{start.Add(-time.Hour)}
	p, err := token.NewProofs("acme", c.now, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	c.at = start
	return p, c
}

func request(id string) *token.ProofRequest {
	return &token.ProofRequest{Method: "GET", URL: scimURL, Token: theToken, ID: id}
}

// TestProof: what a proof must be (RFC 9449 §4.2, §4.3). Every row that is refused leaves nothing behind: the
// right proof with the same jti is accepted after it.
func TestProof(t *testing.T) {
	es, other := newES256(t, "es"), newES256(t, "other")
	private := func(k keyPair) object {
		full, err := jwk.FromRaw(k.priv)
		if err != nil {
			t.Fatal(err)
		}
		var m object
		if err := json.Unmarshal(marshal(t, full), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	claims := func(changes object) string { return proof(t, es, nil, changes) }
	head := func(changes object) string { return proof(t, es, changes, nil) }
	hmac := hmacToken(t, "HS256", "", []byte("secret"), proofClaims())
	none := b64([]byte(`{"alg":"none","typ":"dpop+jwt"}`)) + "." + b64(marshal(t, proofClaims())) + ".AA"
	const bad, ok = token.ReasonProof, token.Reason("")
	for _, row := range []struct {
		name, raw string
		want      token.Reason
	}{
		{"valid", claims(nil), ok},
		{"PS256", proof(t, newRSA(t, "", jwa.PS256), nil, nil), ok},
		{"EdDSA", proof(t, newEd25519(t, ""), nil, nil), ok},
		{"typ with a prefix", head(object{"typ": "application/DPoP+jwt"}), ok},
		{"unknown claims and headers", proof(t, es, object{"x": 1, "kid": "k"}, object{"x": 1, "exp": 1}), ok},
		{"key with use and alg", head(object{"jwk": with(publicJWK(t, es), object{"use": "sig", "alg": "ES256"})}), ok},
		{"an unknown nonce where none is needed", claims(object{"nonce": "from another server"}), ok},

		{"empty", "", bad},
		{"not a JWS", "proof", bad},
		{"two proofs joined", claims(nil) + "," + claims(nil), bad},
		{"white space", " " + claims(nil), bad},
		{"padding", claims(nil) + "=", bad},
		{"oversized", head(object{"pad": strings.Repeat("x", 4096)}), bad},
		{"repeated claim", signText(t, es, `{"typ":"dpop+jwt","alg":"ES256","jwk":`+string(marshal(t, publicJWK(t, es)))+`}`,
			`{"jti":"a","jti":"b"}`), bad},
		{"crit", head(object{"crit": []string{"x"}, "x": 1}), bad},

		{"no typ", head(object{"typ": nil}), bad},
		{"typ of an access token", head(object{"typ": "at+jwt"}), bad},
		{"typ JWT", head(object{"typ": "JWT"}), bad},

		{"none", none, bad},
		{"HMAC", hmac, bad},
		{"RS256", proof(t, newRSA(t, "", jwa.RS256), nil, nil), bad},
		{"ES384", proof(t, newEC(t, "", elliptic.P384(), jwa.ES384), nil, nil), bad},
		{"alg of another key type", head(object{"alg": "EdDSA"}), bad},

		{"no jwk", head(object{"jwk": nil}), bad},
		{"jwk is a text", head(object{"jwk": string(marshal(t, publicJWK(t, es)))}), bad},
		{"jku instead of jwk", head(object{"jwk": nil, "jku": "https://evil.example/keys"}), bad},
		{"private key", head(object{"jwk": private(es)}), bad},
		{"private RSA key", proof(t, newRSA(t, "", jwa.PS256), object{"jwk": private(newRSA(t, "", jwa.PS256))}, nil), bad},
		{"symmetric key", head(object{"jwk": object{"kty": "oct", "k": b64([]byte("secret"))}}), bad},
		{"jwk of another key", head(object{"jwk": publicJWK(t, other)}), bad},
		{"point off the curve", head(object{"jwk": with(publicJWK(t, es), object{"x": b64(make([]byte, 32))})}), bad},
		{"encryption key", head(object{"jwk": with(publicJWK(t, es), object{"use": "enc"})}), bad},

		{"no jti", claims(object{"jti": nil}), bad},
		{"empty jti", claims(object{"jti": ""}), bad},
		{"jti is a number", claims(object{"jti": 7}), bad},
		{"long jti", claims(object{"jti": strings.Repeat("x", 257)}), bad},
		{"no htm", claims(object{"htm": nil}), bad},
		{"another method", claims(object{"htm": "POST"}), bad},
		{"method in another case", claims(object{"htm": "get"}), bad},
		{"no htu", claims(object{"htu": nil}), bad},
		{"another path", claims(object{"htu": scimURL + "/1"}), bad},
		{"another host", claims(object{"htu": "https://evil.example/scim/v2/Users"}), bad},
		{"host as user", claims(object{"htu": "https://app.example@evil.example/scim/v2/Users"}), bad},
		{"another port", claims(object{"htu": "https://app.example:8443/scim/v2/Users"}), bad},
		{"http", claims(object{"htu": "http://app.example/scim/v2/Users"}), bad},
		{"with a query", claims(object{"htu": scimURL + "?count=1"}), bad},
		{"with an empty query", claims(object{"htu": scimURL + "?"}), bad},
		{"with a fragment", claims(object{"htu": scimURL + "#x"}), bad},
		{"path alone", claims(object{"htu": "/scim/v2/Users"}), bad},
		{"path in another case", claims(object{"htu": "https://app.example/scim/v2/users"}), bad},
		{"no iat", claims(object{"iat": nil}), bad},
		{"iat is a text", claims(object{"iat": "now"}), bad},
		{"old", claims(object{"iat": start.Add(-91 * time.Second).Unix()}), bad},
		{"from the future", claims(object{"iat": start.Add(31 * time.Second).Unix()}), bad},
		{"no ath", claims(object{"ath": nil}), bad},
		{"ath of another token", claims(object{"ath": b64(make([]byte, 32))}), bad},
	} {
		p, _ := newProofs(t)
		_, err := p.Verify(t.Context(), row.raw, request("r1"))
		if reasonOf(t, err) != row.want {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
		if row.want == ok {
			continue
		}
		if _, err := p.Verify(t.Context(), claims(nil), request("r2")); err != nil {
			t.Errorf("after %s, the right proof: %v", row.name, err)
		}
	}
}

// TestProofKey: the thumbprint is that of RFC 7638, and it must be the expected one.
func TestProofKey(t *testing.T) {
	for _, k := range []keyPair{newES256(t, ""), newRSA(t, "", jwa.PS256), newEd25519(t, "")} {
		p, _ := newProofs(t)
		r := request("r1")
		r.Key = jkt(t, newES256(t, ""))
		if _, err := p.Verify(t.Context(), proof(t, k, nil, nil), r); reasonOf(t, err) != token.ReasonProof {
			t.Errorf("%s: with another key: %v", k.alg, err)
		}
		r.Key = jkt(t, k)
		if print, err := p.Verify(t.Context(), proof(t, k, nil, nil), r); err != nil || print != r.Key {
			t.Errorf("%s: %q, %v, want %q", k.alg, print, err, r.Key)
		}
	}
}

// TestProofURL: URLs are compared in the normal form of RFC 3986.
func TestProofURL(t *testing.T) {
	es := newES256(t, "")
	for _, row := range []struct {
		htu, url string
		want     bool
	}{
		{"HTTPS://App.Example/scim/v2/Users", "https://app.example/scim/v2/Users", true},
		{"https://app.example:443/scim/v2/Users", "https://app.example/scim/v2/Users", true},
		{"https://app.example:/scim/v2/Users", "https://app.example/scim/v2/Users", true},
		{"https://app.example:8443/x", "https://app.example:8443/x", true},
		{"https://app.example/%53cim/./v1/../v2", "https://app.example/Scim/v2", true},
		{"https://app.example/a%3ab", "https://app.example/a%3Ab", true},
		{"https://app.example/a%3Ab", "https://app.example/a:b", false},
		{"https://app.example", "https://app.example/", true},
		{"https://app.example/../../a", "https://app.example/a", true},
		{"https://app.example/a/..", "https://app.example/", true},
		{"https://app.example/a/.", "https://app.example/a/", true},
		{"https://app.example/a/", "https://app.example/a", false},
		{"https://app.example//a", "https://app.example/a", false},
		{"https://app.example./a", "https://app.example/a", false},
	} {
		p, _ := newProofs(t)
		r := request("r1")
		r.URL = row.url
		_, err := p.Verify(t.Context(), proof(t, es, nil, object{"htu": row.htu}), r)
		if (err == nil) != row.want {
			t.Errorf("htu %s for %s: %v", row.htu, row.url, err)
		}
	}
}

// TestProofWorksForOneRequest: the proxy asks about a request, perhaps twice, and then the service does. No
// other request may use the proof, nor the same one once the service has seen it.
func TestProofWorksForOneRequest(t *testing.T) {
	es := newES256(t, "")
	raw := proof(t, es, nil, nil)
	const replay = token.ReasonProofReplay
	for _, row := range []struct {
		name  string
		asked []string // request ids; "+" in front is the proxy
		want  []token.Reason
	}{
		{"proxy and service", []string{"+r1", "r1"}, []token.Reason{"", ""}},
		{"one retry", []string{"+r1", "+r1", "r1"}, []token.Reason{"", "", ""}},
		{"two retries", []string{"+r1", "+r1", "+r1"}, []token.Reason{"", "", replay}},
		{"the service twice", []string{"+r1", "r1", "r1"}, []token.Reason{"", "", replay}},
		{"the proxy after the service", []string{"+r1", "r1", "+r1"}, []token.Reason{"", "", replay}},
		{"another request at the proxy", []string{"+r1", "+r2"}, []token.Reason{"", replay}},
		{"another request at the service", []string{"+r1", "r2", "r1"}, []token.Reason{"", replay, ""}},
		{"around the proxy", []string{"r1", "r2", "r1"}, []token.Reason{"", replay, replay}},
	} {
		p, _ := newProofs(t)
		for i, id := range row.asked {
			r := request(strings.TrimPrefix(id, "+"))
			r.Ahead = strings.HasPrefix(id, "+")
			if _, err := p.Verify(t.Context(), raw, r); reasonOf(t, err) != row.want[i] {
				t.Errorf("%s, question %d: %v, want %q", row.name, i+1, err, row.want[i])
			}
		}
	}
}

// TestProofReplay: a proof stays used as long as its iat is accepted, whatever else is sent with its jti.
func TestProofReplay(t *testing.T) {
	es := newES256(t, "")
	p, c := newProofs(t)
	raw := proof(t, es, nil, object{"iat": start.Add(29 * time.Second).Unix()})
	if _, err := p.Verify(t.Context(), raw, request("r0")); err != nil {
		t.Fatal(err)
	}
	for at := time.Duration(0); at < 119*time.Second; at += 7 * time.Second {
		c.at = start.Add(at)
		if _, err := p.Verify(t.Context(), raw, request(fmt.Sprint(at))); reasonOf(t, err) != token.ReasonProofReplay {
			t.Fatalf("%s later: %v", at, err)
		}
	}
	c.at = start
	again := proof(t, es, nil, object{"iat": start.Unix(), "x": 1})
	if _, err := p.Verify(t.Context(), again, request("r1")); reasonOf(t, err) != token.ReasonProofReplay {
		t.Errorf("another proof with the same jti: %v", err)
	}
	if _, err := p.Verify(t.Context(), proof(t, newES256(t, ""), nil, nil), request("r2")); err != nil {
		t.Errorf("the same jti of another key: %v", err)
	}
}

// TestProofMemory: the memory is bounded. A full one refuses as a fault of this service, and is free again
// when the proofs are too old.
func TestProofMemory(t *testing.T) {
	es := newES256(t, "")
	p, c := newProofs(t)
	token.SetMaxProofs(p, 8)
	for i := range 10 {
		raw := proof(t, es, nil, object{"jti": fmt.Sprint(i)})
		_, err := p.Verify(t.Context(), raw, request(fmt.Sprint(i)))
		if want := map[bool]token.Reason{true: token.ReasonProofMemory}[i >= 8]; reasonOf(t, err) != want {
			t.Errorf("proof %d: %v, want %q", i, err, want)
		}
	}
	c.at = start.Add(121 * time.Second)
	if _, err := p.Verify(t.Context(), proof(t, es, nil, object{"iat": c.at.Unix()}), request("later")); err != nil {
		t.Errorf("when the others are too old: %v", err)
	}
}

// TestNonce: a required nonce is one of this service and not older than five minutes.
func TestNonce(t *testing.T) {
	es := newES256(t, "")
	p, c := newProofs(t)
	foreign, _ := newProofs(t)
	old := p.Nonce()
	c.at = start.Add(5*time.Minute + time.Second)
	ask := func(nonce any) error {
		r := request(fmt.Sprint(nonce))
		r.Nonce = true
		_, err := p.Verify(t.Context(), proof(t, es, nil, object{"iat": c.at.Unix(), "jti": fmt.Sprint("n", nonce), "nonce": nonce}), r)
		return err
	}
	for _, bad := range []any{nil, "", "x", old, foreign.Nonce(), p.Nonce() + "A", p.Nonce()[1:]} {
		if err := ask(bad); reasonOf(t, err) != token.ReasonProofNonce {
			t.Errorf("nonce %v: %v", bad, err)
		}
	}
	fresh := p.Nonce()
	c.at = c.at.Add(4 * time.Minute)
	if err := ask(fresh); err != nil {
		t.Errorf("a fresh nonce: %v", err)
	}
}

// TestProofAfterARestart: a restart forgets the used proofs. A proof that may be one of them is refused,
// until the client shows with a nonce that it is new.
func TestProofAfterARestart(t *testing.T) {
	es := newES256(t, "")
	before, _ := newProofs(t)
	used := proof(t, es, nil, nil)
	if _, err := before.Verify(t.Context(), used, request("r1")); err != nil {
		t.Fatal(err)
	}
	c := &clock{start.Add(time.Second)}
	after, err := token.NewProofs("acme", c.now, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.Verify(t.Context(), used, request("r2")); reasonOf(t, err) != token.ReasonProofNonce {
		t.Errorf("a used proof after a restart: %v", err)
	}
	stale := proof(t, es, nil, object{"nonce": before.Nonce(), "jti": "p-2"})
	if _, err := after.Verify(t.Context(), stale, request("r3")); reasonOf(t, err) != token.ReasonProofNonce {
		t.Errorf("a nonce from before the restart: %v", err)
	}
	fresh := proof(t, es, nil, object{"nonce": after.Nonce(), "jti": "p-3"})
	if _, err := after.Verify(t.Context(), fresh, request("r4")); err != nil {
		t.Errorf("with a nonce: %v", err)
	}
	c.at = start.Add(time.Minute)
	if _, err := after.Verify(t.Context(), proof(t, es, nil, object{"iat": c.at.Unix(), "jti": "p-4"}), request("r5")); err != nil {
		t.Errorf("a minute later, without a nonce: %v", err)
	}
}

// TestBinding: Verify reads what an access token is bound to, and refuses what nobody could check.
func TestBinding(t *testing.T) {
	es := newES256(t, "es")
	v := newVerifier(t, accessOptions(jwks(t, es)))
	print := jkt(t, es)
	for _, row := range []struct {
		name string
		cnf  any
		want token.Binding
		bad  bool
	}{
		{"none", nil, token.Binding{}, false},
		{"key", object{"jkt": print}, token.Binding{Key: print}, false},
		{"certificate", object{"x5t#S256": print}, token.Binding{Certificate: print}, false},
		{"both", object{"jkt": print, "x5t#S256": print}, token.Binding{Key: print, Certificate: print}, false},
		{"empty", object{}, token.Binding{}, true},
		{"text", "x", token.Binding{}, true},
		{"list", []string{print}, token.Binding{}, true},
		{"embedded key", object{"jwk": publicJWK(t, es)}, token.Binding{}, true},
		{"key and another method", object{"jkt": print, "kid": "x"}, token.Binding{}, true},
		{"short thumbprint", object{"jkt": print[1:]}, token.Binding{}, true},
		{"thumbprint of another type", object{"jkt": 7}, token.Binding{}, true},
		{"empty thumbprint", object{"jkt": ""}, token.Binding{}, true},
	} {
		c, err := v.Verify(t.Context(), sign(t, es, nil, with(accessClaims(), object{"cnf": row.cnf})))
		if (reasonOf(t, err) == token.ReasonBinding) != row.bad || c.Binding != row.want {
			t.Errorf("%s: %+v, %v", row.name, c.Binding, err)
		}
	}
}

// TestConstraint: what a client must use.
func TestConstraint(t *testing.T) {
	key, certificate := token.Binding{Key: "k"}, token.Binding{Certificate: "c"}
	for _, row := range []struct {
		c    token.Constraint
		b    token.Binding
		want bool
	}{
		{token.ConstraintNone, token.Binding{}, true},
		{token.ConstraintNone, key, true},
		{token.ConstraintDPoP, token.Binding{}, false},
		{token.ConstraintDPoP, certificate, false},
		{token.ConstraintDPoP, key, true},
		{token.ConstraintCertificate, token.Binding{}, false},
		{token.ConstraintCertificate, key, false},
		{token.ConstraintCertificate, certificate, true},
		{token.ConstraintEither, token.Binding{}, false},
		{token.ConstraintEither, key, true},
		{token.ConstraintEither, certificate, true},
		{"unknown", token.Binding{}, false},
	} {
		if got := row.c.Missing(row.b) == ""; got != row.want {
			t.Errorf("%q with %+v: %t", row.c, row.b, got)
		}
	}
}

// FuzzSignedProof: whatever a key signs, an accepted proof is for this request, and works once.
func FuzzSignedProof(f *testing.F) {
	es := newES256(f, "")
	head := `{"typ":"dpop+jwt","alg":"ES256","jwk":` + string(marshal(f, publicJWK(f, es))) + `}`
	f.Add(head, string(marshal(f, proofClaims())))
	f.Add(head, `{"jti":"a","htm":"GET","htu":"https://app.example:443/scim/./v2/%55sers","iat":1e9,"ath":""}`)
	f.Fuzz(func(t *testing.T, head, claims string) {
		p, _ := newProofs(t)
		raw := signText(t, es, head, claims)
		if _, err := p.Verify(t.Context(), raw, request("r1")); err != nil {
			_ = reasonOf(t, err)
			return
		}
		var c object
		if err := json.Unmarshal([]byte(claims), &c); err != nil || c["htm"] != "GET" || c["ath"] != proofClaims()["ath"] {
			t.Errorf("accepted: %s", claims)
		}
		if _, err := p.Verify(t.Context(), raw, request("r2")); reasonOf(t, err) != token.ReasonProofReplay {
			t.Errorf("accepted twice: %v", err)
		}
	})
}

// FuzzProof: no proof makes Verify panic, and none is accepted twice.
func FuzzProof(f *testing.F) {
	es := newES256(f, "")
	f.Add(proof(f, es, nil, nil), scimURL)
	f.Add(proof(f, es, object{"jwk": object{"kty": "EC"}}, nil), scimURL)
	f.Add(proof(f, es, nil, object{"htu": "https://[::1%25x]:443/%2e%2E/%zz?#"}), "https://a/%")
	f.Add("e30.e30.AA", "//")
	f.Fuzz(func(t *testing.T, raw, url string) {
		p, _ := newProofs(t)
		r := request("r1")
		r.URL = url
		if _, err := p.Verify(t.Context(), raw, r); err != nil {
			_ = reasonOf(t, err)
			return
		}
		r.ID = "r2"
		if _, err := p.Verify(t.Context(), raw, r); reasonOf(t, err) != token.ReasonProofReplay {
			t.Errorf("accepted twice: %v", err)
		}
	})
}
