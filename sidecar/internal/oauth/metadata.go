package oauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The routes. Those under /.well-known carry the path of the identifier they
// describe behind them (RFC 8414 §3, RFC 9728 §3).
const (
	metadataPath = "/.well-known/oauth-authorization-server"
	resourcePath = "/.well-known/oauth-protected-resource"
	jwksPath     = "/oauth/jwks"
	tokenPath    = "/oauth/token" //nolint:gosec // a route, no credential
)

// document is a public JSON document at one path.
type document struct {
	path string
	body []byte
}

// serverMetadata is RFC 8414 §2, as far as there is something to say (B19, B22).
type serverMetadata struct {
	Issuer            string   `json:"issuer"`
	TokenEndpoint     string   `json:"token_endpoint"`
	JWKSURI           string   `json:"jwks_uri"`
	Scopes            []string `json:"scopes_supported"`
	ResponseTypes     []string `json:"response_types_supported"`
	GrantTypes        []string `json:"grant_types_supported"`
	AuthMethods       []string `json:"token_endpoint_auth_methods_supported"`
	SigningAlgorithms []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Resources         []string `json:"protected_resources"` // RFC 9728 §4
}

// resourceMetadata is RFC 9728 §2 (B24).
type resourceMetadata struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	Scopes        []string `json:"scopes_supported"`
	BearerMethods []string `json:"bearer_methods_supported"`
}

// describe builds the documents, once: they hold configuration alone.
func (t *tenant) describe() error {
	algs := []string{"ES256", "PS256", "EdDSA"}
	for _, c := range t.Clients {
		if c.AllowRS256 {
			algs = append(algs, "RS256")
			break
		}
	}
	var err error
	t.metadata, err = newDocument(metadataPath, t.Issuer, serverMetadata{
		Issuer: t.Issuer, TokenEndpoint: t.TokenEndpoint, JWKSURI: strings.TrimSuffix(t.Issuer, "/") + jwksPath,
		Scopes: []string{Scope},
		// There is no authorization endpoint, so no response type. RFC 8414 §2
		// requires the member all the same, and readers look for it.
		ResponseTypes: []string{},
		GrantTypes:    []string{grantClientCredentials},
		AuthMethods:   []string{"private_key_jwt"}, SigningAlgorithms: algs,
		Resources: []string{t.Resource},
	})
	if err != nil {
		return err
	}
	t.resource, err = newDocument(resourcePath, t.Resource, resourceMetadata{
		Resource: t.Resource, Servers: []string{t.Issuer}, Scopes: []string{Scope}, BearerMethods: []string{"header"},
	})
	return err
}

// newDocument places v where the metadata of identifier belongs: the well-known
// path, then the identifier's own path without a slash at its end.
func newDocument(wellKnown, identifier string, v any) (document, error) {
	u, err := url.Parse(identifier)
	if err != nil {
		return document{}, fmt.Errorf("reading %q: %w", identifier, err)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return document{}, fmt.Errorf("encoding metadata: %w", err)
	}
	return document{path: wellKnown + strings.TrimSuffix(u.EscapedPath(), "/"), body: body}, nil
}

// document serves what pick returns, at its path only.
func (h *handler) document(pick func(*tenant) document) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := h.tenant(r)
		if t == nil {
			writeError(w, answerFor(&refusal{fault: faultTenant}))
			return
		}
		d := pick(t)
		if r.URL.EscapedPath() != d.path {
			writeError(w, answerFor(&refusal{fault: faultNotFound}))
			return
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "public, max-age=300")
		header.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(d.body) // the client went away: nobody is left to tell
	}
}
