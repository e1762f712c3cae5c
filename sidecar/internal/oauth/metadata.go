package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// The routes. A route under /.well-known is followed by the path of the identifier that it
// describes (RFC 8414 §3, RFC 9728 §3).
const (
	metadataPath = "/.well-known/oauth-authorization-server"
	resourcePath = "/.well-known/oauth-protected-resource"
	jwksPath     = "/oauth/jwks"
	tokenPath    = "/oauth/token" //nolint:gosec // a route, no credential

	revokePath     = "/oauth/revoke"        // RFC 7009
	introspectPath = "/oauth/introspect"    // RFC 7662
	evidencePath   = "/oauth/evidence-keys" // keys of the seals of evidence reports, retired ones too
)

// document is a public JSON document at one path.
type document struct {
	path string
	body []byte
}

// serverMetadata has the members of RFC 8414 §2 that apply here.
type serverMetadata struct {
	Issuer            string   `json:"issuer"`
	TokenEndpoint     string   `json:"token_endpoint"`
	JWKSURI           string   `json:"jwks_uri"`
	Scopes            []string `json:"scopes_supported"`
	ResponseTypes     []string `json:"response_types_supported"`
	GrantTypes        []string `json:"grant_types_supported"`
	AuthMethods       []string `json:"token_endpoint_auth_methods_supported"`
	SigningAlgorithms []string `json:"token_endpoint_auth_signing_alg_values_supported"`

	RevocationEndpoint      string   `json:"revocation_endpoint"`
	RevocationAuthMethods   []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgorithms    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionEndpoint   string   `json:"introspection_endpoint"`
	IntrospectionMethods    []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAlgorithms []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`

	Resources []string `json:"protected_resources"` // RFC 9728 §4

	ProofAlgorithms   []string `json:"dpop_signing_alg_values_supported"`                    // RFC 9449 §5.1
	CertificateTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"` // RFC 8705 §3.3
}

// resourceMetadata has the members of RFC 9728 §2 that apply here.
type resourceMetadata struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	Scopes        []string `json:"scopes_supported"`
	BearerMethods []string `json:"bearer_methods_supported"`

	ProofAlgorithms   []string `json:"dpop_signing_alg_values_supported"`
	ProofRequired     bool     `json:"dpop_bound_access_tokens_required,omitempty"`
	CertificateTokens bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

// metadata describes the authorization server of the tenant. It is made for each request: most of many tenants are
// never asked for it.
func (t *tenant) metadata() (document, error) {
	base, methods, algorithms := strings.TrimSuffix(t.Issuer, "/"), []string{"private_key_jwt"}, t.algorithms()
	return newDocument(metadataPath, t.Issuer, serverMetadata{
		Issuer: t.Issuer, TokenEndpoint: t.TokenEndpoint, JWKSURI: base + jwksPath,
		Scopes: []string{token.Scope},
		// RFC 8414 §2 requires the member, and clients look for it. There is no authorization endpoint,
		// so the list is empty.
		ResponseTypes:     []string{},
		GrantTypes:        t.grantTypes(),
		AuthMethods:       methods,
		SigningAlgorithms: algorithms,

		RevocationEndpoint: base + revokePath, RevocationAuthMethods: methods, RevocationAlgorithms: algorithms,
		IntrospectionEndpoint: base + introspectPath, IntrospectionMethods: methods, IntrospectionAlgorithms: algorithms,

		Resources: []string{t.Resource},

		ProofAlgorithms: token.ProofAlgorithms(), CertificateTokens: t.Certificates,
	})
}

// resource describes the SCIM service of the tenant.
func (t *tenant) resource() (document, error) {
	return newDocument(resourcePath, t.Resource, resourceMetadata{
		Resource: t.Resource, Servers: []string{t.Issuer}, Scopes: []string{token.Scope}, BearerMethods: []string{"header"},
		ProofAlgorithms: token.ProofAlgorithms(), ProofRequired: t.onlyDPoP(), CertificateTokens: t.Certificates,
	})
}

// describe checks that the documents can be made.
func (t *tenant) describe() error {
	_, first := t.metadata()
	_, second := t.resource()
	return errors.Join(first, second)
}

// newDocument encodes v for the metadata path of identifier. This is the well-known path, followed
// by the path of the identifier without a trailing slash.
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

const noTenant = "there is no authorization server at this host"

// document serves the document that pick returns, only at the path of the document.
func (h *handler) document(pick func(*tenant) (document, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := h.tenant(r)
		if t == nil {
			writeError(w, answerFor(refuse(faultTenant, noTenant)))
			return
		}
		d, err := pick(t)
		if err != nil || r.URL.EscapedPath() != d.path { // describe has found that there is no error
			writeError(w, answerFor(refuse(faultNotFound, "there is no such document")))
			return
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "public, max-age=300")
		header.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(d.body) // fails only if the client disconnected
	}
}
