package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
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
	open    bool // what the store has is in force; Server.opening guards it
}

// states are those of the tenants that were ever configured, by name.
type states struct {
	mu sync.RWMutex
	of map[string]*state
}

// get returns nil for a tenant without a state.
func (s *states) get(tenant string) *state {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[tenant]
}

func (s *states) put(tenant string, st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]*state{}
	}
	s.of[tenant] = st
}

// restrict puts a restriction in force, of this process or another one: a token was revoked, or a key has ended.
func (s *Server) restrict(c store.Change) {
	st := s.states.get(c.Tenant)
	switch {
	case st == nil: // read from the store later
	case c.Type == store.ChangeToken:
		st.revoked.add(c.ID, c.Until)
	case c.Type == store.ChangeKey && c.Ended:
		if err := st.Keys.End(c.ID); err != nil {
			s.logFault("ending a signing key", c.Tenant, err)
		}
	}
}

// follow puts the keys in force that this process or another one has written.
func (s *Server) follow(c store.Change) {
	st := s.states.get(c.Tenant)
	if st == nil || c.Type != store.ChangeKey {
		return
	}
	if err := s.loadKeys(context.Background(), st.ring); err != nil {
		s.logFault("reading the signing keys; it is tried again", c.Tenant, err)
	}
}

func (s *Server) logFault(message, tenant string, err error) {
	s.opts.Logger.LogAttrs(context.Background(), slog.LevelError, message, slog.String("tenant", tenant),
		slog.String("error", err.Error()))
}

// stateOf returns the state of a tenant. The first call reads it from the store, and creates the first
// signing key.
func (s *Server) stateOf(ctx context.Context, tenant string) (*state, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	st := s.states.get(tenant)
	if st == nil {
		st = &state{ring: &ring{tenant: tenant}, revoked: &denylist{until: map[string]time.Time{}}}
		st.Keys, st.Revoked = &st.ring.public, st.revoked
		var err error
		var shared token.SharedProofs
		if s.shared {
			shared = sharedProofs{s.opts.Store, st.ring, s.opts.InTouch, s.opts.ProofWait}
		}
		if st.Proofs, err = token.NewProofs(tenant, s.opts.Now, shared, s.opts.Metrics); err != nil {
			return nil, err
		}
		s.states.put(tenant, st) // before the store is read, so that no change is missed
	}
	if st.open {
		return st, nil
	}
	if err := s.loadRevoked(ctx, st.revoked, tenant); err != nil {
		return nil, err
	}
	if err := s.openKeys(ctx, st.ring); err != nil {
		return nil, fmt.Errorf("opening the signing keys: %w", err)
	}
	st.open = true
	return st, nil
}

// sharedProofs implements [token.SharedProofs] for processes that share a store.
type sharedProofs struct {
	store   *store.Store
	ring    *ring
	inTouch func() error
	wait    time.Duration
}

// Secrets implements [token.SharedProofs].
func (p sharedProofs) Secrets() [][]byte {
	if v := p.ring.current.Load(); v != nil {
		return v.secrets
	}
	return nil
}

// Use implements [token.SharedProofs].
func (p sharedProofs) Use(ctx context.Context, proof string, until time.Time) (first bool, err error) {
	if err := p.inTouch(); err != nil {
		return false, fmt.Errorf("%w: %w", errApart, err)
	}
	// It is known only afterwards that nobody answers. The sender then needs another proof, for any process.
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	err = p.store.UseProof(ctx, p.ring.tenant, proof, until)
	switch {
	case errors.Is(err, store.ErrReplay), errors.Is(err, store.ErrForgotten):
		return false, nil
	case err != nil && ctx.Err() != nil:
		return false, fmt.Errorf("%w: %w", errApart, err)
	}
	return err == nil, err
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
