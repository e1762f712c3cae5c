package sidecar_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/store/storetest"
)

// TestOneRequestID: every surface applies the same rule to the proxy's request id, so that
// operators can find a request on all of them.
func TestOneRequestID(t *testing.T) {
	s := newSurfaces(t)
	var log bytes.Buffer
	tokens, err := oauth.New(t.Context(), oauth.Options{
		Store: storetest.New(t), Logger: slog.New(slog.NewJSONHandler(&log, nil)),
		Tenants: []oauth.Tenant{{
			Name: "acme", Issuer: "https://acme.example", Resource: "https://acme.example/scim/v2",
			Clients: []oauth.Client{{ID: "idp", JWKS: []byte(keys)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	mux := http.NewServeMux()
	tokens.Mount(mux, func(*http.Request) (string, bool) { return "acme", true })

	logged := func(method, path, id string, h http.Handler) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("X-Request-Id", id)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	ids := map[string]func(id string) string{
		"extauthz": func(id string) string {
			_, err := s.check.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
				ContextExtensions: map[string]string{"surface": "scim", "tenant": "acme"},
				Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
					Id: "7", Method: "GET", Path: "/scim/v2/Users",
					HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "x-request-id", RawValue: []byte(id)}}},
				}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return s.asked.ID
		},
		"scimhttp": func(id string) string {
			logged(http.MethodGet, "/scim/v2/Users", id, s.handle)
			return s.asked.ID
		},
		"oauth": func(id string) string {
			log.Reset()
			logged(http.MethodPost, "/oauth/token", id, mux)
			var event struct {
				ID string `json:"request_id"`
			}
			if err := json.Unmarshal(log.Bytes(), &event); err != nil {
				t.Fatalf("log %q: %v", log.String(), err)
			}
			return event.ID
		},
	}
	for _, row := range []struct {
		name, id string
		kept     bool
	}{
		{"a UUID", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", true},
		{"one character", "x", true},
		{"everything visible", `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~`, true},
		{"128 characters", strings.Repeat("x", 128), true},
		{"none", "", false},
		{"129 characters", strings.Repeat("x", 129), false},
		{"a blank", "a b", false},
		{"a tab", "a\tb", false},
		{"a line feed", "a\n{\"msg\":\"forged\"}", false},
		{"delete", "a\x7f", false},
		{"beyond ASCII", "é", false},
		{"not UTF-8", "\xff", false},
	} {
		for surface, of := range ids {
			got, again := of(row.id), of(row.id)
			switch {
			case row.kept && got != row.id:
				t.Errorf("%s: %s has the id %q", row.name, surface, got)
			case !row.kept && (len(got) < 20 || len(got) > 128 || got == again || strings.ContainsAny(got, " \t\n\"")):
				t.Errorf("%s: %s has the ids %q and %q", row.name, surface, got, again)
			}
		}
	}
}
