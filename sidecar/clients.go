package sidecar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// clientsOf says what the configuration says about the clients of each tenant.
func clientsOf(cfg *config.Config) ([]client.Tenant, error) {
	var out []client.Tenant
	var errs []error
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		made := client.Tenant{
			Name: t.Name, Issuer: t.ExternalURL, Profile: t.Profile, Dialects: t.Dialects,
			StaticTokens: t.StaticTokens == "allow", RequestsPerSecond: t.RequestsPerSecond,
		}
		add := func(c client.Client, dialects []string) {
			if len(dialects) == 0 {
				dialects = t.Dialects
			}
			d, err := policies.NewDialect(t.Profile, dialects...)
			errs = append(errs, err)
			c.Tenant, c.Dialect = t.Name, d
			made.Clients = append(made.Clients, c)
		}
		for j := range t.IdentityServices {
			s := &t.IdentityServices[j]
			add(client.Client{
				Issuer: t.ExternalURL, ID: s.ClientID, Proof: proofOf(s), StaticTokens: s.StaticTokens,
				RequestsPerSecond: s.RequestsPerSecond, Expires: s.End(), Disabled: s.Disabled,
			}, s.Dialects)
		}
		for j := range t.ExternalIssuers {
			e := &t.ExternalIssuers[j]
			for _, id := range e.Clients {
				add(client.Client{Issuer: e.Issuer, ID: id, Proof: "tokens of " + e.Issuer}, e.Dialects)
			}
			if len(e.Clients) == 0 {
				add(client.Client{Issuer: e.Issuer, Proof: "tokens of " + e.Issuer}, e.Dialects)
			}
		}
		out = append(out, made)
	}
	return out, errors.Join(errs...)
}

// proofOf says to operators how a client of the file proves itself.
func proofOf(s *config.IdentityService) string {
	switch {
	case s.StaticTokens:
		return "static tokens"
	case s.Keys.JWKSURI != "":
		return "keys at " + s.Keys.JWKSURI
	case s.Keys.JWKSFile != "":
		return "keys in " + s.Keys.JWKSFile
	}
	return "keys of " + s.Keys.Issuer
}

// commandClients are the clients of a tenant that operators added by command, for the authorization
// server. Those without keys of their own never ask it for a token.
func (c *keyClients) commandClients(rows []store.Client, named []oauth.Client) ([]oauth.Client, error) {
	inFile := map[string]bool{}
	for i := range named {
		inFile[named[i].ID] = true
	}
	var out []oauth.Client
	for i := range rows {
		r := &rows[i]
		if r.Static || r.External != "" || inFile[r.ID] {
			continue
		}
		httpClient, err := c.of(config.KeySource{})
		if err != nil {
			return nil, err
		}
		out = append(out, oauth.Client{
			ID: r.ID, JWKS: r.JWKS, JWKSURL: r.JWKSURI, Issuer: r.KeyIssuer, HTTPClient: httpClient,
			AllowTokenEndpointAudience: true, Optional: true,
		})
	}
	return out, nil
}

// bearer verifies the bearer tokens of a tenant's SCIM endpoints: static tokens, and JWTs of issuers.
type bearer struct {
	clients *client.Directory
	tenant  string
	tokens  *token.Verifier
}

// Verify implements authz.Verifier.
func (b bearer) Verify(ctx context.Context, raw string) (token.Claims, error) {
	if !token.IsStatic(raw) {
		return b.tokens.Verify(ctx, raw)
	}
	claims, refused := b.clients.Static(b.tenant, raw)
	if refused != nil {
		return token.Claims{}, refused
	}
	return claims, nil
}

// issuerClients are the clients of a tenant, for its token verifier.
type issuerClients struct {
	all    *client.Directory
	tenant string
}

// Has implements token.Clients.
func (c issuerClients) Has(claims *token.Claims) bool { return c.all.Has(c.tenant, claims) }

// openClients reads the clients of the store, and follows their changes.
func (s *Server) openClients(ctx context.Context) error {
	s.clients.Now = s.opts.Now
	s.onClose(closer(s.store.Watch(s.clients.Apply)))
	var rows []store.Change
	err := s.store.EachClient(ctx, func(c store.Change) { rows = append(rows, c) })
	s.clients.Load(rows)
	return err
}

// keepFileClients tells the store which clients the file names. A client that left the file is deleted
// there, so that its tokens stay dead when it comes back. If the store refuses, a client that left is
// refused all the same, and one that comes back stays refused until the next reload.
func (s *Server) keepFileClients(ctx context.Context, cfg *config.Config) {
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		named := make([]store.Client, 0, len(t.IdentityServices))
		for j := range t.IdentityServices {
			c := &t.IdentityServices[j]
			named = append(named, store.Client{ID: c.ClientID, Disabled: c.Disabled, Expires: c.End()})
		}
		cause := store.Cause{
			Actor: "system", RequestID: rand.Text(), Action: "client.file", Decision: "configuration", Received: s.opts.Now(),
		}
		_, err := s.store.Update(ctx, t.Name, cause, func(tx *store.Tx) error { return tx.SetFileClients(named) })
		if err != nil {
			s.opts.Logger.LogAttrs(ctx, slog.LevelError, "the store does not know the clients of the file; reload it",
				slog.String("tenant", t.Name), slog.String("error", err.Error()))
		}
	}
}

// changeClients changes clients of a tenant for an operator. When the change is durable, the directory
// has it already. Then the authorization server takes the path of a reload.
func (s *Server) changeClients(
	ctx context.Context, tenant string, cause store.Cause, change func(*store.Tx) error,
) error {
	if _, err := s.store.Update(ctx, tenant, cause, change); err != nil {
		return err
	}
	s.reloads.running.Lock()
	defer s.reloads.running.Unlock()
	ctx = context.WithoutCancel(ctx)
	tenants, err := s.oauthTenants(s.now().config)
	if err != nil {
		return err
	}
	next, err := s.oauth.Prepare(ctx, tenants)
	if err != nil {
		return fmt.Errorf("preparing the authorization server: %w", err)
	}
	next.Apply()
	return nil
}

// expiryMetric is the description of the metric about static tokens.
func expiryMetric() *prometheus.Desc {
	return prometheus.NewDesc("scimward_static_token_expiry_timestamp_seconds",
		"When each static token expires, in seconds since 1970.", []string{"tenant", "client", "token"}, nil)
}

// tokenExpiry reports when the static tokens of all clients expire.
type tokenExpiry struct {
	server *Server
	desc   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (e tokenExpiry) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

// Collect implements prometheus.Collector.
func (e tokenExpiry) Collect(ch chan<- prometheus.Metric) {
	for _, tenant := range e.server.tenantNames() {
		for _, c := range e.server.clients.List(tenant) {
			for _, k := range client.Tokens(c) {
				ch <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue,
					float64(k.Expires.Unix()), tenant, c.ID, k.ID)
			}
		}
	}
}

// watchClients writes the last use of clients to the store, and once a day a warning for each static
// token that ends soon, until ctx ends. Then it writes the last uses once more.
func (s *Server) watchClients(ctx context.Context) {
	warned := map[string]time.Time{}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		s.warnExpiry(ctx, warned)
		select {
		case <-tick.C:
			s.rememberUses(ctx, client.PersistEvery)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
			defer cancel()
			s.rememberUses(last, 0)
			return
		}
	}
}

func (s *Server) rememberUses(ctx context.Context, older time.Duration) {
	for tenant, uses := range s.clients.Unwritten(older) {
		if err := s.store.RememberUses(ctx, tenant, uses); err != nil {
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the last use of clients is not stored",
				slog.String("tenant", tenant), slog.String("error", err.Error()))
		}
	}
}

// warnExpiry logs the static tokens that end soon and that no newer one replaces.
func (s *Server) warnExpiry(ctx context.Context, warned map[string]time.Time) {
	now := s.opts.Now()
	for _, tenant := range s.tenantNames() {
		for _, c := range s.clients.List(tenant) {
			for _, k := range client.Ending(c, now) {
				if now.Sub(warned[k.ID]) < 24*time.Hour {
					continue
				}
				warned[k.ID] = now
				s.opts.Logger.LogAttrs(ctx, slog.LevelWarn,
					"a static token ends soon: create the next one with `scimward token create` and paste it at the provider",
					slog.String("tenant", tenant), slog.String("client", c.ID), slog.String("token", k.ID),
					slog.Time("expires", k.Expires))
			}
		}
	}
}
