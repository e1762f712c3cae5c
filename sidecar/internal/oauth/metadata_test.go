package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestMetadata: the documents of RFC 8414 and RFC 9728 are served at their paths only.
func TestMetadata(t *testing.T) {
	w := newWorld(t)
	want := map[string]object{
		"/.well-known/oauth-authorization-server": {
			"issuer": acme, "token_endpoint": acme + "/oauth/token", "jwks_uri": acme + "/oauth/jwks",
			"scopes_supported": []any{"scim"}, "response_types_supported": []any{},
			"grant_types_supported":                            []any{"client_credentials"},
			"token_endpoint_auth_methods_supported":            []any{"private_key_jwt"},
			"token_endpoint_auth_signing_alg_values_supported": []any{"ES256", "PS256", "EdDSA"},
			"protected_resources":                              []any{acme + "/scim/v2"},
			"dpop_signing_alg_values_supported":                []any{"ES256", "PS256", "EdDSA"},

			"revocation_endpoint":                                   acme + "/oauth/revoke",
			"revocation_endpoint_auth_methods_supported":            []any{"private_key_jwt"},
			"revocation_endpoint_auth_signing_alg_values_supported": []any{"ES256", "PS256", "EdDSA"},

			"introspection_endpoint":                                   acme + "/oauth/introspect",
			"introspection_endpoint_auth_methods_supported":            []any{"private_key_jwt"},
			"introspection_endpoint_auth_signing_alg_values_supported": []any{"ES256", "PS256", "EdDSA"},
		},
		"/.well-known/oauth-protected-resource/scim/v2": {
			"resource": acme + "/scim/v2", "authorization_servers": []any{acme},
			"scopes_supported": []any{"scim"}, "bearer_methods_supported": []any{"header"},
			"dpop_signing_alg_values_supported": []any{"ES256", "PS256", "EdDSA"},
		},
	}
	for path, doc := range want {
		rec := w.do(httptest.NewRequest(http.MethodGet, acme+path, nil))
		var got object
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
		if diff := cmp.Diff(doc, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if rec.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", path, rec.Header())
		}
	}
	rec := w.do(httptest.NewRequest(http.MethodGet, globex+"/.well-known/oauth-authorization-server", nil))
	if !strings.Contains(rec.Body.String(), globex) || strings.Contains(rec.Body.String(), acme) {
		t.Errorf("globex's document: %s", rec.Body)
	}
	published := w.do(httptest.NewRequest(http.MethodGet, acme+"/oauth/jwks", nil))
	own, err := w.server.PublicKeys("acme")
	if err != nil || published.Body.String() != string(own) || strings.Contains(published.Body.String(), `"d"`) {
		t.Errorf("published keys %s, own %s, error %v", published.Body, own, err)
	}
	for _, url := range []string{
		"https://initech.example/.well-known/oauth-authorization-server", "https://initech.example/oauth/jwks",
		acme + "/.well-known/oauth-authorization-server/x", acme + "/.well-known/oauth-protected-resource",
		acme + "/.well-known/oauth-protected-resource/scim/v3", acme + "/.well-known/oauth-protected-resource/scim%2Fv2",
	} {
		if rec := w.do(httptest.NewRequest(http.MethodGet, url, nil)); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", url, rec.Code, rec.Body)
		}
	}
	rec = w.do(httptest.NewRequest(http.MethodPost, acme+"/oauth/jwks", nil))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST to the keys: %d, want 405", rec.Code)
	}
}

// TestMetadataOfAnIssuerWithPath: the path of the issuer follows the
// well-known one (RFC 8414 §3.1).
func TestMetadataOfAnIssuerWithPath(t *testing.T) {
	w := newWorld(t)
	tenant := oauth.Tenant{
		Name: "globex", Issuer: globex + "/t/1", Resource: globex + "/t/1/scim/v2",
		Clients: []oauth.Client{{ID: "idp-globex", JWKS: w.jwks("idp-globex")}},
	}
	s, err := oauth.New(t.Context(), oauth.Options{Tenants: []oauth.Tenant{tenant}, Store: w.store, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mux := http.NewServeMux()
	s.Mount(mux, tenantOf)
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, globex+"/.well-known/oauth-authorization-server/t/1", nil))
	if rec.Code != http.StatusOK {
		t.Errorf("status %d: %s, want 200", rec.Code, rec.Body)
	}
}

// TestErrorAnswers lists every error and its answer (RFC 6749 §5.2).
func TestErrorAnswers(t *testing.T) {
	type result struct {
		status               int
		code, challenge, try string
	}
	const bearer = `Bearer realm="oauth"`
	client := result{401, "invalid_client", bearer, ""}
	ours := result{503, "temporarily_unavailable", "", "5"}
	want := map[string]result{
		"tenant": {404, "invalid_request", "", ""}, "not found": {404, "invalid_request", "", ""},
		"method": {405, "invalid_request", "", ""}, "request": {400, "invalid_request", "", ""},
		"too large": {413, "invalid_request", "", ""}, "media": {415, "invalid_request", "", ""},
		"grant": {400, "unsupported_grant_type", "", ""}, "scope": {400, "invalid_scope", "", ""}, "target": {400, "invalid_target", "", ""},
		"client": client, "authorization": client, "basic": {401, "invalid_client", `Basic realm="oauth"`, ""},
		"replay": client, "forgotten": client, "store unavailable": ours, "store closed": ours, "store conflict": ours, "unknown": ours,
		"token unavailable": ours, "unauthorized": {400, "unauthorized_client", "", ""},
		"of another": {400, "invalid_grant", "", ""}, "token type": {400, "unsupported_token_type", "", ""},
	}
	errs := oauth.Refusals()
	errs["replay"] = fmt.Errorf("x: %w", store.ErrReplay)
	errs["forgotten"] = fmt.Errorf("x: %w", store.ErrForgotten)
	errs["store unavailable"], errs["store closed"] = store.ErrUnavailable, store.ErrClosed
	errs["store conflict"] = store.ErrConflict
	errs["unknown"] = errors.New("secret internals")
	for _, r := range []token.Reason{
		token.ReasonMalformed, token.ReasonHeader, token.ReasonAlgorithm, token.ReasonIssuer, token.ReasonKey,
		token.ReasonSignature, token.ReasonType, token.ReasonClaims, token.ReasonExpired, token.ReasonNotYet,
		token.ReasonLifetime, token.ReasonAudience, token.ReasonEndpoint, token.ReasonBinding, token.ReasonScope,
		token.ReasonRevoked,
	} {
		errs["token "+string(r)], want["token "+string(r)] = &token.Error{Reason: r, Detail: "x"}, client
	}
	errs["token unavailable"] = &token.Error{Reason: token.ReasonUnavailable, Detail: "secret internals"}
	for name, err := range errs {
		t.Run(name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			oauth.ErrorResponse(rec, err)
			got := result{rec.Code, errorCode(t, rec), rec.Header().Get("WWW-Authenticate"), rec.Header().Get("Retry-After")}
			if got != want[name] {
				t.Errorf("answer %+v, want %+v", got, want[name])
			}
			if strings.Contains(rec.Body.String(), "internals") || strings.Contains(rec.Body.String(), `\`) {
				t.Errorf("body %s, want no internals and no backslash", rec.Body)
			}
			if rec.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control = %q, want no-store", rec.Header().Get("Cache-Control"))
			}
			if (rec.Code == http.StatusMethodNotAllowed) != (rec.Header().Get("Allow") == "POST") {
				t.Errorf("status %d with Allow %q, want Allow POST with 405 only", rec.Code, rec.Header().Get("Allow"))
			}
		})
	}
	if len(errs) != len(want) {
		t.Errorf("%d errors, %d answers", len(errs), len(want))
	}
}

// TestOptionFaults: faulty options make no server.
func TestOptionFaults(t *testing.T) {
	s := storetest.New(t)
	doc, _, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := token.PublicJWKS(doc)
	if err != nil {
		t.Fatal(err)
	}
	good := oauth.Tenant{Name: "acme", Issuer: acme, Resource: acme + "/scim/v2"}
	tests := []struct {
		name   string
		change func(*oauth.Tenant)
		want   []string
	}{
		{"client without id", func(t *oauth.Tenant) { t.Clients = []oauth.Client{{JWKS: jwks}} }, []string{"no name"}},
		{"client without keys", func(t *oauth.Tenant) { t.Clients = []oauth.Client{{ID: "a"}} }, []string{`"a"`, "host and path alone"}},
		{"client twice", func(t *oauth.Tenant) { t.Clients = []oauth.Client{{ID: "a", JWKS: jwks}, {ID: "a", JWKS: jwks}} }, []string{"twice"}},
		{"bad JWKS", func(t *oauth.Tenant) { t.Clients = []oauth.Client{{ID: "a", JWKS: []byte("{}")}} }, []string{`"a"`, "no key"}},
		{"JWKS over http", func(t *oauth.Tenant) { t.Clients = []oauth.Client{{ID: "a", JWKSURL: "http://x.example/"}} }, []string{"not https"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tenant := good
			tt.change(&tenant)
			server, err := oauth.New(t.Context(), oauth.Options{Tenants: []oauth.Tenant{tenant}, Store: s})
			if err == nil {
				server.Close()
				t.Fatal("New() = nil, want an error")
			}
			for _, text := range tt.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q lacks %q, want it", err, text)
				}
			}
		})
	}
	_, err = oauth.New(t.Context(), oauth.Options{Tenants: []oauth.Tenant{good, good}, Store: s})
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same tenant twice: error %v, want a refusal", err)
	}
	if _, err := oauth.New(t.Context(), oauth.Options{}); err == nil {
		t.Error("New() = nil without a store, want an error")
	}
}
