package oauth_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// ofAcme are the clients of acme.
type ofAcme struct{ *oauth.Server }

func (a ofAcme) Has(id string) bool { return a.HasClient("acme", id) }

// TestRemovedClientLosesItsToken: the token of a client that the configuration no longer has is
// refused at once, also by a verifier that knows the token.
func TestRemovedClientLosesItsToken(t *testing.T) {
	w := newWorld(t)
	rec := w.do(post(acme, form(w.assert("idp", nil)).Encode()))
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body.Token == "" {
		t.Fatalf("%d %s %v", rec.Code, rec.Body, err)
	}
	keys, err := w.server.PublicKeys("acme")
	if err != nil {
		t.Fatal(err)
	}
	v, err := token.NewVerifier(token.Options{
		Tenant: "acme", Purpose: token.AccessToken, Audience: acme + "/scim/v2", TokenEndpoint: acme + "/oauth/token", Now: w.now,
		Issuers: []token.IssuerConfig{{
			Issuer: acme, JWKS: keys, Clients: ofAcme{w.server},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	for range 2 {
		if _, err := v.Verify(t.Context(), body.Token); err != nil {
			t.Fatalf("while the client exists: %v", err)
		}
	}
	tenants := w.tenants()
	tenants[0].Clients = tenants[0].Clients[1:]
	next, err := w.server.Prepare(t.Context(), tenants)
	if err != nil {
		t.Fatal(err)
	}
	next.Apply()
	var refused *token.Error
	if _, err := v.Verify(t.Context(), body.Token); !errors.As(err, &refused) || refused.Reason != token.ReasonClient {
		t.Errorf("after the client was removed: %v", err)
	}
	for tenant, id := range map[string]string{"acme": "idp", "globex": "old", "nobody": "old"} {
		if w.server.HasClient(tenant, id) {
			t.Errorf("%s has client %s", tenant, id)
		}
	}
}

// TestRefusedAssertionIsLogged: the event says why, and whose it claims to be. It never contains the
// assertion.
func TestRefusedAssertionIsLogged(t *testing.T) {
	w := newWorld(t)
	for _, row := range []struct{ raw, want string }{
		{w.assert("idp", object{"aud": globex}), `"token":"audience","token_issuer":"idp","token_client":"\"idp\"","token_key":`},
		{w.assert("nobody", nil), `"token":"issuer","token_issuer":"\"nobody\"","token_client":"\"nobody\"","token_key":`},
		{w.sign("nobody", "JWT", w.claims(nil)), `"token":"key","token_issuer":"idp","token_client":"\"idp\"","token_key":`},
	} {
		w.logs.Reset()
		if status, _ := w.ask(row.raw); status != 401 {
			t.Errorf("%s: answered %d", row.want, status)
		}
		if log := w.logs.String(); !strings.Contains(log, row.want) || strings.Contains(log, row.raw[len(row.raw)-20:]) {
			t.Errorf("logged %s, want %s", log, row.want)
		}
	}
}
