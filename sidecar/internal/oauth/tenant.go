package oauth

import (
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// tenant is a running authorization server.
type tenant struct {
	Tenant
	verifier *token.Verifier // for assertions
	issued   *token.Verifier // for the tenant's own access tokens
	state    *state
}

// newTenant makes a tenant in place of old, which may be nil.
func newTenant(cfg Tenant, st *state, old *tenant, o *Options) (*tenant, error) {
	t := &tenant{Tenant: cfg, state: st}
	var former *token.Verifier
	if old != nil {
		former = old.verifier
	}
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
		Now: o.Now, Logger: o.Logger, Metrics: o.Metrics, Former: former,
	})
	if err != nil {
		return nil, err
	}
	t.issued, err = token.NewVerifier(token.Options{
		Tenant: cfg.Name, Purpose: token.AccessToken, Audience: cfg.Resource, TokenEndpoint: cfg.TokenEndpoint, Now: o.Now,
		Issuers: []token.IssuerConfig{{Issuer: cfg.Issuer, Own: st.Keys, Revoked: st.Revoked}},
	})
	if err != nil {
		t.verifier.Close()
		return nil, err
	}
	return t, nil
}

func (t *tenant) close() {
	t.verifier.Close()
	t.issued.Close()
}

// signer returns the signer of the tenant's key that signs now.
func (t *tenant) signer(now time.Time) *token.Signer { return t.state.ring.current.Load().signer(now) }
