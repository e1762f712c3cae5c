package authz

import (
	"context"
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// tokenEndpointMethods returns the methods of a known endpoint, none when there is no such endpoint.
func tokenEndpointMethods(path string) []string {
	switch path {
	case "/.well-known/oauth-authorization-server",
		"/.well-known/oauth-protected-resource/scim/v2",
		"/oauth/jwks", "/oauth/evidence-keys", "/oauth/instance":
		return []string{http.MethodGet, http.MethodHead}
	case "/oauth/token", "/oauth/revoke", "/oauth/introspect":
		return []string{http.MethodPost}
	}
	return nil
}

// decideTokenEndpoint judges path and method of the OAuth endpoints. The authorization
// server itself judges clients, assertions and replay.
func (a *Authorizer) decideTokenEndpoint(ctx context.Context, r *request.Request, t *tenant) *Decision {
	methods := tokenEndpointMethods(r.Path)
	if methods == nil {
		d := deny(http.StatusNotFound, ReasonRoute, "there is no such endpoint")
		d.Error = "invalid_request"
		return d
	}
	d := denyTransport(r, t.hosts)
	switch {
	case d != nil:
	case !slices.Contains(methods, r.Method):
		d = denyMethod(methods...)
	case ctx.Err() != nil:
		return overdue()
	default:
		return &Decision{allow: true, Reason: ReasonAllowed}
	}
	d.Error = "invalid_request"
	return d
}
