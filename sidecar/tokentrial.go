package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// stage is a step of the judgement of a token, for people. Verify judges; its reason names the stage.
type stage struct {
	name, wants string
	reasons     []token.Reason
}

// The states of a stage. One behind a refusal was not reached, or has passed already.
const (
	stagePassed  = "passed"
	stageRefused = "refused"
	stageUnknown = "not judged"
)

// tryToken says what SCIM of a tenant would say to a token, step by step.
func (s *Server) tryToken(ctx context.Context, t *config.Tenant, c *client.Client, raw string) admin.ClientTrial {
	stages := s.stages(t, c, raw)
	claims, err := s.access(t).Verify(ctx, raw)
	reason, detail := s.judge(t, c, &claims, err)
	out := admin.ClientTrial{Keys: []token.KeyInfo{}, Accepts: []string{}, TokenRefused: detail}
	state := stagePassed
	for _, st := range stages {
		step := admin.TokenStep{Name: st.name, State: state, Detail: st.wants}
		if detail != "" && slices.Contains(st.reasons, reason) {
			step.State, step.Detail, state = stageRefused, detail+". It wants "+st.wants, stageUnknown
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// reasonPaused stands for a tenant that serves no SCIM.
const reasonPaused token.Reason = "paused"

// judge returns why SCIM would refuse a token, with an empty detail if it would not.
func (s *Server) judge(t *config.Tenant, c *client.Client, claims *token.Claims, err error) (token.Reason, string) {
	var refused *token.Error
	switch {
	case errors.As(err, &refused):
		return refused.Reason, refused.Detail
	case err != nil:
		return token.ReasonUnavailable, err.Error()
	case claims.Issuer != c.Issuer || c.ID != "" && claims.ClientID != c.ID:
		return token.ReasonClient, fmt.Sprintf("it is a token of client %q of %s, not of this client", claims.ClientID,
			claims.Issuer)
	}
	if missing := s.clients.Constraint(t.Name, claims.Issuer, claims.ClientID).Missing(claims.Binding); missing != "" {
		return token.ReasonBinding, "tokens of this client are bound to " + missing
	}
	if p := s.clients.Paused(t.Name); p != nil {
		return reasonPaused, "SCIM of tenant " + t.Name + " is paused since " + p.Since.UTC().Format(time.RFC3339) +
			": the answer is 503"
	}
	return "", ""
}

// stages returns the steps of the judgement of raw.
func (s *Server) stages(t *config.Tenant, c *client.Client, raw string) []stage {
	i := slices.IndexFunc(t.ExternalIssuers, func(e config.ExternalIssuer) bool { return e.Issuer == c.Issuer })
	switch {
	case token.IsStatic(raw):
		return []stage{
			{"form", "a static token as scimward prints it", []token.Reason{token.ReasonMalformed}},
			{"token", "a live static token of tenant " + t.Name + ", which allows them", []token.Reason{
				token.ReasonStatic, token.ReasonRevoked, token.ReasonExpired,
			}},
			clientStage(t, c), tenantStage(t),
		}
	case i >= 0:
		return jwtStages(t, c, &t.ExternalIssuers[i])
	}
	return jwtStages(t, c, &config.ExternalIssuer{
		Issuer: t.ExternalURL, Audience: t.Resource(), MaxLifetime: time.Hour, AllowRS256: new(bool),
		ClientClaims: []string{"client_id"}, ScopeClaim: "scope", Scope: token.Scope, TokenIDClaims: []string{"jti"},
	})
}

// jwtStages returns the steps for the access tokens of an issuer.
func jwtStages(t *config.Tenant, c *client.Client, e *config.ExternalIssuer) []stage {
	algorithms := oauth.DefaultAlgorithms()
	if *e.AllowRS256 {
		algorithms = append(algorithms, "RS256")
	}
	var required []string
	for _, name := range slices.Sorted(maps.Keys(e.RequireClaims)) {
		required = append(required, name+" = "+e.RequireClaims[name])
	}
	scope := fmt.Sprintf("%q in claim %s, and nothing else in scope, scp, roles and permissions", e.Scope, e.ScopeClaim)
	if len(e.IgnoreScopes) > 0 {
		scope += " but " + strings.Join(e.IgnoreScopes, ", ")
	}
	r := func(reasons ...token.Reason) []token.Reason { return reasons }
	return []stage{
		{
			"form", fmt.Sprintf("a signed JWT of at most %d bytes", token.MaxTokenBytes),
			r(token.ReasonMalformed, token.ReasonHeader),
		},
		{"algorithm", strings.Join(algorithms, ", "), r(token.ReasonAlgorithm)},
		{"issuer", "iss " + e.Issuer, r(token.ReasonIssuer)},
		{"key", "kid of a key of the issuer", r(token.ReasonKey, token.ReasonUnavailable)},
		{"signature", "one that this key made", r(token.ReasonSignature)},
		{
			"type", "typ " + strings.Join(append([]string{"at+jwt"}, e.Types...), " or ") + ", and no ID token",
			r(token.ReasonType),
		},
		{"claims", "client in " + strings.Join(e.ClientClaims, " or ") + ", id in " + strings.Join(e.TokenIDClaims, " or ") +
			", iat, exp, aud", r(token.ReasonClaims)},
		{
			"lifetime", "now between iat and exp, which is at most " + e.MaxLifetime.String() + " later",
			r(token.ReasonExpired, token.ReasonNotYet, token.ReasonLifetime),
		},
		{"audience", "aud " + e.Audience, r(token.ReasonAudience)},
		{"endpoint", "no token_endpoint, or " + t.TokenEndpoint(), r(token.ReasonEndpoint)},
		{"required claims", cmp.Or(strings.Join(required, ", "), "none"), r(token.ReasonRequired)},
		{"scope", scope, r(token.ReasonScope)},
		{
			"binding", "to be sent as " + schemeOf(c) + "; a bound token needs its proof with each request",
			r(token.ReasonBinding),
		},
		clientStage(t, c),
		{"revocation", "not revoked", r(token.ReasonRevoked)},
		tenantStage(t),
	}
}

func clientStage(t *config.Tenant, c *client.Client) stage {
	return stage{
		"client", fmt.Sprintf("%s at tenant %s, enabled, not expired; the token is from after it was last ended",
			cmp.Or(c.ID, "any client of "+c.Issuer), t.Name), []token.Reason{token.ReasonClient},
	}
}

func tenantStage(t *config.Tenant) stage {
	return stage{
		"tenant", "SCIM of tenant " + t.Name + " at " + t.Resource() + ", not paused", []token.Reason{reasonPaused},
	}
}
