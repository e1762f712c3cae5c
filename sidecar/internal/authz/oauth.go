package authz

import (
	"context"
	"net/http"
)

// oauthRoute names the method of the known endpoints, "" where there is none.
// Clients, assertions and replay are judged by the authorization server itself.
func oauthRoute(path string) string {
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

func (a *Authorizer) decideOAuth(ctx context.Context, r *Request, t *tenant) Decision {
	method := oauthRoute(r.Path)
	if method == "" {
		d := deny(http.StatusNotFound, ReasonRoute, "there is no such endpoint")
		d.Error = "invalid_request"
		return d
	}
	d, refused := refuseTransport(r, t.hosts)
	switch {
	case refused:
	case r.Method != method:
		d = denyMethod(method)
	case ctx.Err() != nil:
		return overdue()
	default:
		return Decision{allow: true, Reason: ReasonAllowed}
	}
	d.Error = "invalid_request"
	return d
}
