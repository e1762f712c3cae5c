package sidecar

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// checkClient says what a client must send, fetches its keys, and tries an access token for it: raw, or if that
// is empty, one that it makes. The token stays in this process: the answer has the claims of its own one only.
func (s *Server) checkClient(ctx context.Context, c *client.Client, raw string) (admin.ClientTrial, error) {
	cfg := s.now().config
	i := slices.IndexFunc(cfg.Tenants, func(t config.Tenant) bool { return t.Name == c.Tenant })
	if i < 0 {
		return admin.ClientTrial{}, fmt.Errorf("checking a client: tenant %s is gone", c.Tenant)
	}
	t := &cfg.Tenants[i]
	bearerAt := "send it to " + t.Resource() + " as Authorization: " + schemeOf(c)
	switch {
	case raw != "":
		return s.tryToken(ctx, t, c, raw), nil
	case c.Proof.Static:
		out := admin.ClientTrial{Keys: []token.KeyInfo{}, Accepts: []string{"a static token: " + bearerAt}}
		if !s.staticTokens(c.Tenant) {
			out.TokenRefused = "the tenant refuses static tokens: write static_tokens: allow at it in the configuration file"
		} else if c.Row == nil || len(c.Row.Live(s.opts.Now())) == 0 {
			out.TokenRefused = "the client has no live static token: `scimward token create --client " + c.ID + "`"
		}
		return out, nil
	case c.Proof.External != "":
		return s.checkExternal(ctx, t, c, bearerAt)
	}
	return s.checkOwn(ctx, t, c, bearerAt)
}

// checkOwn checks a client that gets access tokens from this process.
func (s *Server) checkOwn(
	ctx context.Context, t *config.Tenant, c *client.Client, bearerAt string,
) (admin.ClientTrial, error) {
	sample, found, err := s.oauth.Sample(ctx, t.Name, c.ID)
	if err != nil {
		return admin.ClientTrial{}, fmt.Errorf("trying an access token: %w", err)
	}
	if !found {
		return admin.ClientTrial{
			Keys: []token.KeyInfo{}, Accepts: []string{},
			TokenRefused: "the authorization server does not have the client: reload",
		}, nil
	}
	out := admin.ClientTrial{Keys: sample.Keys, Accepts: []string{
		"an assertion at " + t.TokenEndpoint() + " with grant_type " + strings.Join(sample.Grants, " or "),
		"iss " + sample.Issuer + ", sub " + sample.Subject,
		"aud, exactly one of " + strings.Join(sample.Audiences, ", "),
		"signed with " + strings.Join(sample.Algorithms, ", ") + " by a key of the client",
		"then the access token: " + bearerAt,
	}}
	if sample.KeysFault != nil {
		out.KeysFault = sample.KeysFault.Error()
	}
	out.Claims = claimsOf(sample.Token)
	if _, err := s.access(t).Verify(ctx, sample.Token); err != nil {
		out.TokenRefused = err.Error()
	}
	return out, nil
}

// access verifies the access tokens of a tenant.
func (s *Server) access(t *config.Tenant) bearer {
	return bearer{&s.clients, t.Name, s.now().verifiers["keys:"+t.Name].Verifier}
}

// claimsOf decodes the claims of a token that this process has signed.
func claimsOf(raw string) map[string]any {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil
	}
	var out map[string]any
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &out) != nil {
		return nil
	}
	return out
}

// checkExternal checks a client of another authorization server.
func (s *Server) checkExternal(
	ctx context.Context, t *config.Tenant, c *client.Client, bearerAt string,
) (admin.ClientTrial, error) {
	out := admin.ClientTrial{
		Keys: []token.KeyInfo{}, Accepts: []string{"an access token of " + c.Issuer + ": " + bearerAt},
	}
	i := slices.IndexFunc(t.ExternalIssuers, func(e config.ExternalIssuer) bool { return e.Issuer == c.Issuer })
	if i < 0 {
		out.TokenRefused = "the configuration file has no external issuer " + c.Issuer
		return out, nil
	}
	e := &t.ExternalIssuers[i]
	for _, st := range jwtStages(t, c, e) {
		out.Accepts = append(out.Accepts, st.name+": "+st.wants)
	}
	var fresh keyClients // the shared one belongs to reloads
	from, err := fresh.issuer(e.Issuer, e.Keys)
	if err != nil {
		return out, err
	}
	keys, err := token.FetchKeys(ctx, &from)
	if err != nil {
		out.KeysFault = err.Error()
	} else {
		out.Keys = keys
	}
	return out, nil
}
