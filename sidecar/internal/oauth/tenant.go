package oauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// tenant is one authorization server at work.
type tenant struct {
	Tenant
	verifier *token.Verifier // of assertions; `iss` is the client id
	keys     []*token.Keys   // of the clients
	signer   *token.Signer
	jwks     []byte
	metadata document
	resource document
}

// check returns every fault of the configuration, joined.
func (t Tenant) check() error {
	var errs []error
	if t.Name == "" {
		errs = append(errs, errors.New("it has no name"))
	}
	errs = append(errs, checkURL("issuer", t.Issuer), checkURL("resource", t.Resource))
	if t.TokenEndpoint != "" {
		errs = append(errs, checkURL("token endpoint", t.TokenEndpoint))
	}
	if t.TokenLifetime != 0 && (t.TokenLifetime < time.Second || t.TokenLifetime > maxLifetime) {
		errs = append(errs, fmt.Errorf("token lifetime %s is not between a second and %s", t.TokenLifetime, maxLifetime))
	}
	if t.MaxAssertionLifetime < 0 || t.MaxAssertionLifetime > maxLifetime {
		errs = append(errs, fmt.Errorf("assertion lifetime %s is not between 0 and %s", t.MaxAssertionLifetime, maxLifetime))
	}
	return errors.Join(append(errs, checkClients(t.Clients)...)...)
}

func checkClients(clients []Client) (errs []error) {
	seen := make(map[string]bool, len(clients))
	for _, c := range clients {
		sources := 0
		for _, there := range []bool{c.JWKSURL != "", c.Issuer != "", c.JWKS != nil} {
			if there {
				sources++
			}
		}
		switch {
		case c.ID == "":
			errs = append(errs, errors.New("a client has no id"))
		case seen[c.ID]:
			errs = append(errs, fmt.Errorf("client %q is configured twice", c.ID))
		case sources != 1:
			errs = append(errs, fmt.Errorf("client %q needs exactly one of a JWKS URL, an issuer and a JWKS", c.ID))
		}
		seen[c.ID] = true
	}
	return errs
}

// checkURL wants an identifier as RFC 8414 §2 and RFC 9728 §1.2 have it: https
// with host and path alone, or http on loopback for trials.
func checkURL(what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fmt.Errorf("%s %q is not a URL with host and path alone", what, raw)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || (u.Scheme == "http" && (u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback()))) {
		return nil
	}
	return fmt.Errorf("%s %q is not https", what, raw)
}

func newTenant(cfg Tenant, o Options, now func() time.Time) (*tenant, error) {
	if cfg.TokenEndpoint == "" {
		cfg.TokenEndpoint = strings.TrimSuffix(cfg.Issuer, "/") + tokenPath
	}
	if cfg.TokenLifetime == 0 {
		cfg.TokenLifetime = defaultLifetime
	}
	t := &tenant{Tenant: cfg}
	issuers := make([]token.IssuerConfig, 0, len(cfg.Clients))
	for _, c := range cfg.Clients {
		client := c.HTTPClient
		if client == nil {
			client = o.HTTPClient
		}
		keys, err := token.NewKeys(token.KeysOptions{
			Issuer: c.Issuer, JWKSURL: c.JWKSURL, JWKS: c.JWKS,
			HTTPClient: client, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
		})
		if err != nil {
			t.close()
			return nil, fmt.Errorf("client %q: %w", c.ID, err)
		}
		t.keys = append(t.keys, keys)
		audience := []string{cfg.Issuer}
		if c.AllowTokenEndpointAudience {
			audience = append(audience, cfg.TokenEndpoint)
		}
		issuers = append(issuers, token.IssuerConfig{
			Issuer: c.ID, Keys: keys, Audience: audience, AllowRS256: c.AllowRS256, AllowNoJTI: c.ReplayByHash,
		})
	}
	var err error
	t.verifier, err = token.NewVerifier(token.Options{
		Tenant: cfg.Name, Purpose: token.Assertion, Issuers: issuers, TokenEndpoint: cfg.TokenEndpoint,
		Leeway: leeway, MaxLifetime: cfg.MaxAssertionLifetime, Now: now, Logger: o.Logger, Metrics: o.Metrics,
	})
	if err == nil {
		err = t.describe()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tenant) close() {
	for _, k := range t.keys {
		k.Close()
	}
	if t.verifier != nil {
		t.verifier.Close()
	}
}

// accessTokenKeys is the use of the keys in the store that sign access tokens.
const accessTokenKeys = "access-token"

// loadKeys takes the tenant's signing keys from the store and makes the first
// one where there is none. Two servers that start at once agree on one: the
// store judges the second proposal after the first.
func (s *Server) loadKeys(ctx context.Context, t *tenant) error {
	keys, err := s.signingKeys(ctx, t.Name)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		if err := s.firstKey(ctx, t.Name); err != nil {
			return err
		}
		if keys, err = s.signingKeys(ctx, t.Name); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return errors.New("the store kept no signing key")
	}
	newest := keys[0]
	docs := make([][]byte, 0, len(keys))
	for _, k := range keys {
		docs = append(docs, k.JWK)
		if k.Created.After(newest.Created) {
			newest = k
		}
	}
	if t.signer, err = token.NewSigner(newest.JWK); err != nil {
		return fmt.Errorf("reading signing key %s: %w", newest.ID, err)
	}
	if t.jwks, err = token.PublicJWKS(docs...); err != nil {
		return fmt.Errorf("publishing signing keys: %w", err)
	}
	return nil
}

func (s *Server) signingKeys(ctx context.Context, tenant string) (keys []store.Key, err error) {
	err = s.store.View(ctx, tenant, func(r *store.Reader) error {
		keys, err = r.Keys(accessTokenKeys)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	return keys, nil
}

func (s *Server) firstKey(ctx context.Context, tenant string) error {
	doc, kid, err := token.GenerateKey()
	if err != nil {
		return err
	}
	cause := store.Cause{
		Actor: "system", RequestID: s.newID(), Action: "oauth.key.create", Decision: "internal", Received: s.now(),
	}
	_, err = s.store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		have, err := tx.Keys(accessTokenKeys)
		if err != nil || len(have) > 0 {
			return err
		}
		return tx.PutKey(store.Key{ID: kid, Use: accessTokenKeys, JWK: doc, Created: tx.Now()})
	})
	if err != nil {
		return fmt.Errorf("keeping the first signing key: %w", err)
	}
	return nil
}
