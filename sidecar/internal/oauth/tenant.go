package oauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// tenant is a running authorization server.
type tenant struct {
	Tenant
	verifier *token.Verifier // for assertions; `iss` is the client id
	signer   *token.Signer
	jwks     []byte
	metadata document
	resource document
}

func newTenant(cfg Tenant, o *Options) (*tenant, error) {
	t := &tenant{Tenant: cfg}
	if err := t.describe(); err != nil {
		return nil, err
	}
	issuers := make([]token.IssuerConfig, 0, len(cfg.Clients))
	for i := range cfg.Clients {
		issuers = append(issuers, cfg.Clients[i].assertions(&cfg))
	}
	var err error
	t.verifier, err = token.NewVerifier(token.Options{
		Tenant: cfg.Name, Purpose: token.Assertion, Issuers: issuers, TokenEndpoint: cfg.TokenEndpoint,
		Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	})
	return t, err
}

// accessTokenKeys is the use of the stored keys that sign access tokens.
const accessTokenKeys = "access-token"

// loadKeys reads the tenant's signing keys from the store and creates the first key. Two servers
// that start together agree on one key, because the store serializes their transactions.
func (s *Server) loadKeys(ctx context.Context, t *tenant) error {
	keys, err := s.signingKeys(ctx, t.Name)
	if err == nil && len(keys) == 0 {
		if err = s.createKey(ctx, t.Name); err == nil {
			keys, err = s.signingKeys(ctx, t.Name)
		}
	}
	if err != nil {
		return err
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
	err = s.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		keys, err = r.Keys(accessTokenKeys)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	return keys, nil
}

// createKey creates the first signing key if there is still none.
func (s *Server) createKey(ctx context.Context, tenant string) error {
	doc, kid, err := token.GenerateKey()
	if err != nil {
		return err
	}
	cause := store.Cause{
		Actor: "system", RequestID: newID(), Action: "oauth.key.create", Decision: "internal", Received: s.opts.Now(),
	}
	_, err = s.opts.Store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		have, err := tx.Keys(accessTokenKeys)
		if err != nil || len(have) > 0 {
			return err
		}
		return tx.PutKey(store.Key{ID: kid, Use: accessTokenKeys, JWK: doc, Created: tx.Now()})
	})
	if err != nil {
		return fmt.Errorf("storing the first signing key: %w", err)
	}
	return nil
}
