package sidecar_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// TestBoundTokensOfAnExternalIssuer: the tokens of another authorization server need the proof that their cnf
// names, and an issuer with sender_constrained needs cnf in each of them.
func TestBoundTokensOfAnExternalIssuer(t *testing.T) {
	p := newProvider(t)
	issuers := strings.ReplaceAll(issuersIn, "FILE", p.keySet())
	issuers = strings.Replace(issuers, "clients: [idp-sync],", "clients: [idp-sync], sender_constrained: dpop,", 1)
	r := start(t, strings.Replace(base, "    apps:", issuers, 1))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jwk.FromRaw(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	print, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	cnf := claims{"cnf": claims{"jkt": base64.RawURLEncoding.EncodeToString(print)}}
	nonce := ""
	ask := func(scheme, raw string, prove bool) (int, http.Header, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.scim+"/scim/v2/Users", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "app.example.com"
		req.Header.Set("Authorization", scheme+" "+raw)
		if prove {
			sum := sha256.Sum256([]byte(raw))
			payload, err := json.Marshal(claims{
				"jti": rand.Text(), "htm": "GET", "htu": own + "/scim/v2/Users", "iat": time.Now().Unix(), "nonce": nonce,
				"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
			})
			if err != nil {
				t.Fatal(err)
			}
			h := jws.NewHeaders()
			for name, v := range map[string]any{jws.TypeKey: "dpop+jwt", jws.JWKKey: public} {
				if err := h.Set(name, v); err != nil {
					t.Fatal(err)
				}
			}
			proof, err := jws.Sign(payload, jws.WithKey(jwa.ES256, key, jws.WithProtectedHeaders(h)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("DPoP", string(proof))
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header, string(text)
	}
	for _, s := range shapes(time.Now().Unix()) {
		keycloak := s.claims["iss"] == kcIss
		plain, bound := p.sign(s.header, s.claims), p.sign(s.header, changed(s.claims, cnf))
		status, _, text := ask("Bearer", plain, false)
		if want := map[bool]int{true: 401, false: 200}[keycloak]; status != want {
			t.Errorf("%s: a plain token: %d %s, want %d", s.name, status, text, want)
		}
		if keycloak && !strings.Contains(text, "sender_constrained") {
			t.Errorf("%s: the refusal names no setting: %s", s.name, text)
		}
		if status, h, text := ask("Bearer", bound, false); status != 401 || !strings.HasPrefix(h.Get("WWW-Authenticate"), "DPoP ") {
			t.Errorf("%s: a bound token as a bearer token: %d %v %s", s.name, status, h, text)
		}
		for range 2 { // the process has just started, so the first answer is a nonce
			var h http.Header
			if status, h, text = ask("DPoP", bound, true); status == 200 {
				break
			}
			nonce = h.Get("DPoP-Nonce")
		}
		if status != 200 {
			t.Errorf("%s: a bound token with its proof: %d %s", s.name, status, text)
		}
	}
}
