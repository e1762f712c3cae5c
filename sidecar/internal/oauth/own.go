package oauth

import (
	"context"
	"fmt"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// Own is what a verifier needs to accept the access tokens of a tenant. It stays the same as long as the
// server lives, through every change of the configuration and every rotation of the keys.
type Own struct {
	Keys    *token.OwnKeys
	Revoked token.Revocations
	Proofs  *token.Proofs // of DPoP, at the token endpoint and at SCIM
}

// state is what belongs to a tenant by name, whatever its configuration is.
type state struct {
	Own
	revoked *denylist
	ring    *ring
}

// stateOf returns the state of a tenant. The first call reads it from the store, and creates the first
// signing key.
func (s *Server) stateOf(ctx context.Context, tenant string) (*state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.states[tenant]; st != nil {
		return st, nil
	}
	st := &state{ring: &ring{tenant: tenant}}
	st.Keys = &st.ring.public
	var err error
	if st.revoked, err = s.loadRevoked(ctx, tenant); err != nil {
		return nil, err
	}
	st.Revoked = st.revoked
	if st.Proofs, err = token.NewProofs(tenant, s.opts.Now, s.opts.Metrics); err != nil {
		return nil, err
	}
	if err := s.openKeys(ctx, st.ring); err != nil {
		return nil, fmt.Errorf("opening the signing keys: %w", err)
	}
	s.states[tenant] = st
	return st, nil
}

// Own returns what a verifier of a tenant's access tokens needs.
func (s *Server) Own(tenant string) (Own, error) { return ownOf(*s.tenants.Load(), tenant) }

// Own is [Server.Own] of the prepared tenants.
func (p *Prepared) Own(tenant string) (Own, error) { return ownOf(p.next, tenant) }

func ownOf(tenants map[string]*tenant, name string) (Own, error) {
	t := tenants[name]
	if t == nil {
		return Own{}, errNoTenant
	}
	return t.state.Own, nil
}
