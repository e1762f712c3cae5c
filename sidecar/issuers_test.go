package sidecar_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type claims = map[string]any

// changed returns a copy of c with changes; nil removes a member.
func changed(c, changes claims) claims {
	c = maps.Clone(c)
	for name, v := range changes {
		if v == nil {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

// provider is an external issuer with an RSA key.
type provider struct {
	t   *testing.T
	key *rsa.PrivateKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &provider{t, key}
}

func (p *provider) encode(v any) string {
	p.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// keySet writes the key set as the provider publishes it, beside a key for encryption, and returns the file.
func (p *provider) keySet() string {
	p.t.Helper()
	n := base64.RawURLEncoding.EncodeToString(p.key.N.Bytes())
	e := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(p.key.E)).Bytes())
	b, err := json.Marshal(claims{"keys": []claims{
		{"kty": "RSA", "use": "enc", "kid": "e-1", "alg": "RSA-OAEP", "n": n, "e": e},
		{"kty": "RSA", "use": "sig", "kid": "k-1", "x5t": "k-1", "x5c": []string{"AA=="}, "n": n, "e": e},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.t.TempDir(), "provider.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// sign signs with RS256, as all these providers do.
func (p *provider) sign(header, c claims) string {
	p.t.Helper()
	signing := p.encode(changed(header, claims{"alg": "RS256", "kid": "k-1"})) + "." + p.encode(c)
	sum := sha256.Sum256([]byte(signing))
	sig, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Fatal(err)
	}
	return signing + "." + base64.RawURLEncoding.EncodeToString(sig)
}

const (
	entraID   = "8f1c2b7e-0000-4000-8000-000000000001"
	entraV1   = "https://sts.windows.net/" + entraID + "/"
	entraV2   = "https://login.microsoftonline.com/" + entraID + "/v2.0"
	oktaIss   = "https://acme.okta.example/oauth2/aus1"
	auth0Iss  = "https://acme.eu.auth0.example/"
	kcIss     = "https://sso.example/realms/acme"
	pingIss   = "https://auth.pingone.example/6b1d/as"
	scimAPI   = own + "/scim/v2"
	clientID  = "5e0fa1c4-0000-4000-8000-0000000000aa"
	apiID     = "77777777-0000-4000-8000-0000000000bb"
	issuersIn = `    external_issuers:
      - {issuer: "` + entraV1 + `", keys: {jwks_file: FILE}, mapping: entra, scope: SCIM.Manage, audience: "api://scim"}
      - {issuer: "` + entraV2 + `", keys: {jwks_file: FILE}, mapping: entra, scope: SCIM.Manage, audience: "` + apiID + `",
         require_claims: {tid: "` + entraID + `", ver: "2.0"}}
      - {issuer: "` + oktaIss + `", keys: {jwks_file: FILE}, mapping: okta}
      - {issuer: "` + auth0Iss + `", keys: {jwks_file: FILE}, mapping: auth0, max_lifetime: 24h}
      - {issuer: "` + kcIss + `", keys: {jwks_file: FILE}, mapping: keycloak, clients: [idp-sync],
         ignore_scopes: [profile, email]}
      - {issuer: "` + pingIss + `", keys: {jwks_file: FILE}, mapping: ping}
      - {issuer: "https://plain.example", keys: {jwks_file: FILE}}
    apps:`
)

// shapes are access tokens of an application, with every claim that the provider sends. header is the
// provider's, without alg and kid.
type shape struct {
	name      string
	header    claims
	claims    claims
	id, user  claims // changes that make it an ID token, and the access token of a user
	wantUser  int
	userHints string // in the answer to the token of the user
}

func shapes(now int64) []shape {
	jwt := claims{"typ": "JWT"}
	return []shape{
		{
			name: "Entra ID, version 1.0", header: claims{"typ": "JWT", "x5t": "k-1"},
			claims: claims{
				"aud": "api://scim", "iss": entraV1, "iat": now, "nbf": now, "exp": now + 3899, "aio": "E2ZgYHh", "appid": clientID,
				"appidacr": "2", "idp": entraV1, "oid": "11111111-0000-4000-8000-000000000001", "rh": "0.AXQA", "roles": []string{"SCIM.Manage"},
				"sub": "11111111-0000-4000-8000-000000000001", "tid": entraID, "uti": "d8rJ5mYAh0", "ver": "1.0",
			},
			id: claims{"appid": nil, "roles": nil, "aud": clientID, "nonce": "n", "unique_name": "olga@example.com"},
			user: claims{
				"scp": "user_impersonation", "roles": []string{"SCIM.Manage"}, "unique_name": "olga@example.com", "appidacr": "0",
			},
			wantUser: http.StatusForbidden, userHints: `claim scp has \"user_impersonation\"`,
		},
		{
			name: "Entra ID, version 2.0", header: jwt,
			claims: claims{
				"aud": apiID, "iss": entraV2, "iat": now, "nbf": now, "exp": now + 3899, "aio": "E2ZgYHh", "azp": clientID, "azpacr": "1",
				"oid": "11111111-0000-4000-8000-000000000001", "rh": "0.AXQA", "roles": []string{"SCIM.Manage"},
				"sub": "11111111-0000-4000-8000-000000000001", "tid": entraID, "uti": "d8rJ5mYAh1", "ver": "2.0",
			},
			id:       claims{"azp": nil, "azpacr": nil, "nonce": "n", "preferred_username": "olga@example.com"},
			user:     claims{"scp": "SCIM.Manage User.Read", "roles": nil},
			wantUser: http.StatusForbidden, userHints: `claim scp has \"User.Read\"`,
		},
		{
			name: "Okta, custom authorization server", header: claims{},
			claims: claims{
				"ver": 1, "jti": "AT.MNAoEQ", "iss": oktaIss, "aud": scimAPI, "iat": now, "exp": now + 3600, "cid": "0oa1", "scp": []string{"scim"},
				"sub": "0oa1",
			},
			id: claims{"aud": "0oa1", "cid": nil, "scp": nil, "at_hash": "h", "jti": "ID.x", "amr": []string{"pwd"}},
			user: claims{
				"sub": "olga@example.com", "uid": "00u1", "auth_time": now, "scp": []string{"openid", "scim"},
			},
			wantUser: http.StatusForbidden, userHints: `claim scp has \"openid\"`,
		},
		{
			name: "Auth0, its own profile", header: jwt,
			claims: claims{
				"iss": auth0Iss, "sub": "mUS5@clients", "aud": scimAPI, "iat": now, "exp": now + 86400, "scope": "scim",
				"gty": "client-credentials", "azp": "mUS5", "permissions": []string{"scim"},
			},
			id:       claims{"aud": "mUS5", "azp": nil, "scope": nil, "gty": nil, "permissions": nil, "nonce": "n"},
			user:     claims{"sub": "auth0|1", "gty": nil, "scope": "openid profile scim", "aud": []string{scimAPI, auth0Iss + "userinfo"}},
			wantUser: http.StatusForbidden, userHints: `claim scope has \"openid\"`,
		},
		{
			name: "Auth0, RFC 9068 profile", header: claims{"typ": "at+jwt"},
			claims: claims{
				"iss": auth0Iss, "sub": "mUS5@clients", "aud": scimAPI, "iat": now, "exp": now + 86400, "scope": "scim", "jti": "73Wak",
				"client_id": "mUS5",
			},
			user:     claims{"sub": "auth0|1", "scope": "openid scim"},
			wantUser: http.StatusForbidden, userHints: `claim scope has \"openid\"`,
		},
		{
			name: "Keycloak, service account", header: jwt,
			claims: claims{
				"exp": now + 300, "iat": now, "jti": "trrtcc:312ee6", "iss": kcIss, "aud": []string{scimAPI, "account"}, "sub": "b2c3",
				"typ": "Bearer", "azp": "idp-sync", "acr": "1", "allowed-origins": []string{"/*"},
				"realm_access":    claims{"roles": []string{"offline_access", "default-roles-acme", "uma_authorization"}},
				"resource_access": claims{"account": claims{"roles": []string{"manage-account", "view-profile"}}},
				"scope":           "profile email scim", "clientHost": "10.0.0.1", "email_verified": false,
				"preferred_username": "service-account-idp-sync", "clientAddress": "10.0.0.1", "client_id": "idp-sync",
			},
			id:       claims{"typ": "ID", "aud": "idp-sync", "at_hash": "h", "scope": nil},
			user:     claims{"azp": "portal", "sub": "a1b2", "preferred_username": "olga", "sid": "s-1", "client_id": nil},
			wantUser: http.StatusUnauthorized, userHints: "the client of this token",
		},
		{
			name: "PingOne, custom resource", header: claims{},
			claims: claims{
				"client_id": "9f2b", "iss": pingIss, "iat": now, "exp": now + 3600, "aud": []string{scimAPI}, "scope": "scim",
				"env": "6b1d", "org": "0f00", "p1.rid": "r-1",
			},
			id:       claims{"aud": "9f2b", "client_id": nil, "at_hash": "h", "acr": "Single_Factor", "sub": "u-1"},
			user:     claims{"sub": "u-1", "sid": "s-1", "auth_time": now, "scope": "openid scim"},
			wantUser: http.StatusForbidden, userHints: `claim scope has \"openid\"`,
		},
		{
			name: "PingOne, from 2027", header: claims{"typ": "at+jwt"},
			claims: claims{
				"client_id": "9f2b", "iss": pingIss, "iat": now, "exp": now + 3600, "aud": []string{scimAPI}, "scope": "scim", "env": "6b1d",
			},
			user:     claims{"sub": "u-1", "scope": "p1:read:user scim"},
			wantUser: http.StatusForbidden, userHints: `claim scope has \"p1:read:user\"`,
		},
	}
}

// TestTokensOfProviders: the access token of an application, as each provider shapes it, is accepted with
// the mapping of its name. Nothing else that the same provider signs is, and the answer says why.
func TestTokensOfProviders(t *testing.T) {
	p := newProvider(t)
	r := start(t, strings.Replace(base, "    apps:", strings.ReplaceAll(issuersIn, "FILE", p.keySet()), 1))
	c := &idp{r: r}
	now := time.Now().Unix()
	ask := func(t *testing.T, name, raw string, want int, hint string) {
		t.Helper()
		for range 2 { // the second time from the cache, if it was accepted
			status, h, text := c.scim(http.MethodGet, "/Users", raw, "")
			if status != want || !strings.Contains(text, hint) {
				t.Errorf("%s: %d %s, want %d with %s", name, status, text, want, hint)
			}
			if shown := h.Get("WWW-Authenticate"); want >= 400 && !strings.Contains(shown, "error_description") {
				t.Errorf("%s: WWW-Authenticate %s does not say why", name, shown)
			}
		}
	}
	for _, s := range shapes(now) {
		t.Run(s.name, func(t *testing.T) {
			ask(t, "access token", p.sign(s.header, s.claims), http.StatusOK, "ListResponse")
			ask(t, "access token of a user", p.sign(s.header, changed(s.claims, s.user)), s.wantUser, s.userHints)
			if s.id != nil {
				ask(t, "ID token", p.sign(s.header, changed(s.claims, s.id)), http.StatusUnauthorized, "the access token: ")
			}
			expired := claims{"iat": now - 7200, "nbf": nil, "exp": now - 3600}
			ask(t, "expired", p.sign(s.header, changed(s.claims, expired)), http.StatusUnauthorized, "has expired")
			ask(t, "for another service", p.sign(s.header, changed(s.claims, claims{"aud": "https://other.example"})),
				http.StatusUnauthorized, "aud does not name this service")
			plain := changed(s.claims, claims{"iss": "https://plain.example"})
			ask(t, "without a mapping", p.sign(s.header, plain), http.StatusUnauthorized, "compare its iss, kid and alg")
		})
	}
}

// TestProviderSettings: what an administrator most often gets wrong at the provider, and the answer that
// names it.
func TestProviderSettings(t *testing.T) {
	p := newProvider(t)
	r := start(t, strings.Replace(base, "    apps:", strings.ReplaceAll(issuersIn, "FILE", p.keySet()), 1))
	c := &idp{r: r}
	byName := map[string]shape{}
	for _, s := range shapes(time.Now().Unix()) {
		byName[s.name] = s
	}
	for _, tt := range []struct {
		name, provider string
		changes        claims
		status         int
		hint           string
	}{
		{"no app role assigned", "Entra ID, version 2.0", claims{"roles": nil}, 403, `claim roles lacks \"SCIM.Manage\"`},
		{"two app roles", "Entra ID, version 2.0", claims{"roles": []string{"SCIM.Manage", "Audit.Read"}}, 403, `\"Audit.Read\"`},
		{"version 1.0 for the version 2.0 issuer", "Entra ID, version 2.0", claims{"ver": "1.0"}, 401, "claim ver is not what require_claims"},
		{"another directory", "Entra ID, version 2.0", claims{"tid": "x"}, 401, "claim tid"},
		{"the client is the API", "Entra ID, version 2.0", claims{"azp": apiID}, 401, "register the SCIM service as an API of its own"},
		{"another scope", "Okta, custom authorization server", claims{"scp": []string{"users"}}, 403, `claim scp has \"users\"`},
		{"no scope", "Okta, custom authorization server", claims{"scp": nil}, 403, `claim scp lacks \"scim\"`},
		{"a permission more", "Auth0, its own profile", claims{"permissions": []string{"scim", "x"}}, 403, `claim permissions has \"x\"`},
		{"a week", "Auth0, its own profile", claims{"exp": time.Now().Unix() + 604800}, 401, "expires sooner"},
		{"a default scope more", "Keycloak, service account", claims{"scope": "profile email address scim"}, 403, `claim scope has \"address\"`},
		{"without the audience mapper", "Keycloak, service account", claims{"aud": "account"}, 401, "aud does not name this service"},
		{"another client", "Keycloak, service account", claims{"azp": "other"}, 401, "the client of this token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := byName[tt.provider]
			status, _, text := c.scim(http.MethodGet, "/Users", p.sign(s.header, changed(s.claims, tt.changes)), "")
			if status != tt.status || !strings.Contains(text, tt.hint) {
				t.Errorf("%d %s, want %d with %s", status, text, tt.status, tt.hint)
			}
		})
	}
	if status, _, text := c.scim(http.MethodPost, "/Users", p.sign(byName["Okta, custom authorization server"].header,
		byName["Okta, custom authorization server"].claims), aUser); status != http.StatusCreated {
		t.Errorf("a write: %d %s, want 201", status, text)
	}
}
