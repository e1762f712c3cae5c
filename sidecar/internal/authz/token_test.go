package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestDecisionSaysWhyTheTokenWasRefused: on every surface with tokens, for the log.
func TestDecisionSaysWhyTheTokenWasRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		req  request.Request
		want token.Reason
	}{
		{"expired access token", scimReq("GET", "/scim/v2/Users", auth("Bearer expired.x.x")), token.ReasonExpired},
		{"access token for another service", scimReq("GET", "/scim/v2/Users", auth("Bearer other.x.x")), token.ReasonAudience},
		{"wide access token", scimReq("GET", "/scim/v2/Users", auth("Bearer wide.x.x")), token.ReasonScope},
		{"access token without keys", scimReq("GET", "/scim/v2/Users", auth("Bearer nokeys.x.x")), token.ReasonUnavailable},
		{"token of the application", appReq("GET", "/", auth("Bearer a.b.c")), token.ReasonSignature},
		{"cookie", appReq("GET", "/", cookie("jwt=a.b.c")), token.ReasonSignature},
		{"token of the application without keys", appReq("GET", "/", auth("Bearer nokeys.x.x")), token.ReasonUnavailable},
	} {
		d := newKit(t).Decide(t.Context(), row.req)
		if d.Allowed() || d.Token == nil || d.Token.Reason != row.want {
			t.Errorf("%s: %s %+v, want %s", row.name, d.Reason, d.Token, row.want)
		}
	}
	for _, req := range []request.Request{
		scimReq("GET", "/scim/v2/Users"), scimReq("GET", "/scim/v2/Users", auth("")), appReq("GET", "/", auth("Bearer pat_x")),
	} {
		if d := newKit(t).Decide(t.Context(), req); d.Token != nil {
			t.Errorf("%s: without a token: %+v", d.Reason, d.Token)
		}
	}
}
