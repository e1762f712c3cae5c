package authz

import (
	"context"
	"net/http"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// tokenEndpointMethod returns the method of a known endpoint, "" when there is none.
func tokenEndpointMethod(path string) string {
	switch path {
	case "/.well-known/oauth-authorization-server",
		"/.well-known/oauth-protected-resource/scim/v2",
		"/oauth/jwks":
		return http.MethodGet
	case "/oauth/token":
		return http.MethodPost
	}
	return ""
}

// decideTokenEndpoint judges path and method of the OAuth endpoints. The authorization
// server itself judges clients, assertions and replay.
func (a *Authorizer) decideTokenEndpoint(ctx context.Context, r *request.Request, t *tenant) *Decision {
	method := tokenEndpointMethod(r.Path)
	if method == "" {
		d := deny(http.StatusNotFound, ReasonRoute, "there is no such endpoint")
		d.Error = "invalid_request"
		return d
	}
	d := denyTransport(r, t.hosts)
	switch {
	case d != nil:
	case r.Method != method:
		d = denyMethod(method)
	case ctx.Err() != nil:
		return overdue()
	default:
		return &Decision{allow: true, Reason: ReasonAllowed}
	}
	d.Error = "invalid_request"
	return d
}
