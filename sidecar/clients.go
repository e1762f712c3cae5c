package sidecar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
			Rules: store.ClientRules{
				Algorithms: oauth.DefaultAlgorithms(), TokenLifetime: t.TokenLifetime,
				MaxAssertionLifetime: config.DefaultAssertionLifetime,
			},
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
				Issuer: t.ExternalURL, ID: s.ClientID, Constraint: token.ConstraintOf(s.SenderConstrained),
				RequestsPerSecond: s.RequestsPerSecond, Expires: s.End(), Disabled: s.Disabled,
				Rules: made.RulesOf(store.ClientRules{
					StrictAudience: s.StrictAudience, Algorithms: s.Algorithms, TokenLifetime: s.TokenLifetime,
					MaxAssertionLifetime: s.MaxAssertionLifetime,
				}),
				Proof: client.Proof{
					Static: s.StaticTokens, JWKSURI: s.Keys.JWKSURI, JWKSFile: s.Keys.JWKSFile, KeyIssuer: s.Keys.Issuer,
				},
			}, s.Dialects)
		}
		for j := range t.ExternalIssuers {
			e := &t.ExternalIssuers[j]
			for _, id := range clientsOfIssuer(e) {
				add(client.Client{
					Issuer: e.Issuer, ID: id, Proof: client.Proof{External: e.Issuer},
					Constraint: token.ConstraintOf(e.SenderConstrained),
				}, e.Dialects)
			}
		}
		out = append(out, made)
	}
	return out, errors.Join(errs...)
}

// clientsOfIssuer returns the ids of the clients that an external issuer may name; empty stands for every one.
func clientsOfIssuer(e *config.ExternalIssuer) []string {
	if len(e.Clients) == 0 {
		return []string{""}
	}
	return e.Clients
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
			ID: r.ID, JWKS: r.JWKS, JWKSURL: r.JWKSURI, Issuer: r.KeyIssuer, HTTPClient: httpClient, Optional: true,
			AllowTokenEndpointAudience: !r.StrictAudience, Algorithms: r.Algorithms, TokenLifetime: r.TokenLifetime,
			MaxAssertionLifetime: r.MaxAssertionLifetime, Constraint: token.ConstraintOf(r.SenderConstrained),
		})
	}
	return out, nil
}

// validClient judges the settings of a client of a command by the rules of the file.
func (s *Server) validClient(tenant string, c *store.Client) error {
	cfg := s.now().config
	i := slices.IndexFunc(cfg.Tenants, func(t config.Tenant) bool { return t.Name == tenant })
	if i < 0 {
		return fmt.Errorf("tenant %s is not in the configuration any more", tenant)
	}
	if keyless := c.Static || c.External != ""; keyless && (c.StrictAudience || len(c.Algorithms) > 0 ||
		c.TokenLifetime != 0 || c.MaxAssertionLifetime != 0) {
		return errors.New("strict_audience, algorithms, token_lifetime and max_assertion_lifetime are for clients " +
			"with keys, which get their access tokens here")
	}
	return config.CheckClient(&cfg.Tenants[i], config.IdentityService{
		ClientID: c.ID, Dialects: c.Dialects, RequestsPerSecond: c.RequestsPerSecond, StaticTokens: c.Static,
		SenderConstrained: c.SenderConstrained, StrictAudience: c.StrictAudience, Algorithms: c.Algorithms,
		TokenLifetime: c.TokenLifetime, MaxAssertionLifetime: c.MaxAssertionLifetime,
	})
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
	s.onClose(closer(s.store.WatchRestrictions(s.clients.Apply)))
	if s.log != nil {
		s.onClose(closer(s.store.Watch(s.noteClient)))
	}
	var rows []store.Change
	err := s.store.EachClient(ctx, func(c store.Change) { rows = append(rows, c) })
	s.clients.Load(rows)
	return err
}

// noteClient wakes watchClients when a process has changed a client.
func (s *Server) noteClient(c store.Change) {
	if c.Type != store.ChangeClient {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
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
		for j := range t.ExternalIssuers {
			e := &t.ExternalIssuers[j]
			for _, id := range clientsOfIssuer(e) {
				named = append(named, store.Client{ID: id, External: e.Issuer})
			}
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

// changeClients changes clients of a tenant for an operator. When the change is durable, the directory has it
// already. Then the authorization server takes the path of a reload. If it cannot, the change stays: notInForce
// says what does not hold yet, status shows it, and watchClients tries again. At another process, watchClients does so.
func (s *Server) changeClients(
	ctx context.Context, tenant string, cause store.Cause, change func(*store.Tx) error,
) (notInForce string, err error) {
	if _, err := s.store.Update(ctx, tenant, cause, change); err != nil {
		return "", err
	}
	s.reloads.running.Lock()
	defer s.reloads.running.Unlock()
	return s.renewOAuth(context.WithoutCancel(ctx)), nil
}

// renewOAuth puts the clients of the store in force at the authorization server, and returns why it cannot.
// The caller holds reloads.running.
func (s *Server) renewOAuth(ctx context.Context) (notInForce string) {
	tenants, err := s.oauthTenants(s.now().config)
	var next *oauth.Prepared
	if err == nil {
		next, err = s.oauth.Prepare(ctx, tenants)
	}
	if err == nil {
		next.Apply()
	}
	s.reloads.noteClients(s.opts.Now(), err)
	if err == nil {
		return ""
	}
	s.opts.Logger.LogAttrs(ctx, slog.LevelError,
		"the authorization server does not know the newest clients and keys, which are stored",
		slog.String("error", err.Error()))
	return "the token endpoint does not know the newest clients and keys until this is mended: " + err.Error()
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

// watchClients writes the last use of clients to the store, follows the changes of other processes, and writes once a
// day a warning for each static token that ends soon, until ctx ends. Then it writes the last uses once more.
func (s *Server) watchClients(ctx context.Context) {
	warned := map[string]time.Time{}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		s.warnExpiry(ctx, warned)
		select {
		case <-tick.C:
			s.rememberUses(ctx, client.PersistEvery)
			if s.reloads.status().ClientsFault != "" {
				s.followClients(ctx)
			}
		case <-s.changed:
			s.followClients(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
			defer cancel()
			s.rememberUses(last, 0)
			return
		}
	}
}

// followClients puts changes of clients in force that another process made, or that could not be put in force before.
func (s *Server) followClients(ctx context.Context) {
	s.reloads.running.Lock()
	defer s.reloads.running.Unlock()
	s.renewOAuth(ctx)
}

func (s *Server) rememberUses(ctx context.Context, older time.Duration) {
	for tenant, uses := range s.clients.Unwritten(older) {
		if err := s.store.RememberUses(ctx, tenant, uses); err != nil {
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the last use of clients is not stored; it is tried again",
				slog.String("tenant", tenant), slog.String("error", err.Error()))
			continue
		}
		s.clients.Written(tenant, uses)
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
