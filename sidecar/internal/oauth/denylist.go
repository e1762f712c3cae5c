package oauth

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// maxRevoked bounds the revoked tokens of a tenant that have not expired yet.
const maxRevoked = 100_000

// denylist has the revoked access tokens of one tenant in memory, for every request. The store has the
// same ones. An entry stays until no verifier accepts the token any more.
type denylist struct {
	any atomic.Bool // false while the list is empty

	mu    sync.RWMutex
	until map[string]time.Time // by jti
}

// Revoked implements [token.Revocations].
func (d *denylist) Revoked(jti string) bool {
	if !d.any.Load() {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, revoked := d.until[jti]
	return revoked
}

// add adds a token that the store has recorded as revoked.
func (d *denylist) add(jti string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until[jti] = until
	d.any.Store(true)
}

func (d *denylist) full() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.until) >= maxRevoked
}

// sweep forgets the tokens that have expired.
func (d *denylist) sweep(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.until, func(_ string, until time.Time) bool { return until.Before(now) })
	d.any.Store(len(d.until) > 0)
}

// loadRevoked reads the revoked tokens of a tenant. More may come at the same time.
func (s *Server) loadRevoked(ctx context.Context, d *denylist, tenant string) error {
	now := s.opts.Now()
	err := s.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		return r.RevokedTokens(func(jti string, until time.Time) bool {
			if !until.Before(now) {
				d.add(jti, until)
			}
			return true
		})
	})
	if err != nil {
		return fmt.Errorf("reading revoked tokens: %w", err)
	}
	return nil
}

// deadAfter is when no verifier accepts a token any more, whose clock is right.
func deadAfter(exp time.Time) time.Time { return exp.Add(token.Leeway + time.Second) }
