package sidecar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// clients tells package authz how the profile applies to a client.
type clients struct{ *client.Directory }

func (c clients) Paused(tenant string) bool { return c.Directory.Paused(tenant) != nil }

func (c clients) Client(tenant, issuer, id string) (label string, d *policies.Dialect) {
	if found := c.Find(tenant, issuer, id); found != nil {
		return found.ID, found.Dialect
	}
	return "", nil
}

// locks adapts the lock table of the store to package authz.
type locks struct{ table *store.LockTable }

func (l locks) Locked(tenant string, s *subject.Subject) *authz.Lock {
	lock, ok := l.table.Lookup(tenant, s)
	if !ok {
		return nil
	}
	return &authz.Lock{
		State: string(lock.State), UserID: lock.UserID, Epoch: lock.Epoch, Operator: lock.Operator, Refuses: lock.Refuses,
	}
}

// identifier asks the plugin of an app for the user behind a credential.
type identifier struct{ host *plugins.Host }

func (i identifier) Identify(ctx context.Context, tenant, app string, c authz.Credential) (authz.Caller, error) {
	res, err := i.host.Identify(ctx, tenant, app, plugins.Question{
		Credential: abi.Credential{Source: c.Source, Name: c.Name, Scheme: c.Scheme, Prefix: c.Prefix},
		Secret:     c.Value, Client: c.Client, Fixed: c.Fixed, Fresh: c.Fresh,
	})
	if err != nil {
		return authz.Caller{}, fmt.Errorf("asking the plugin of %s: %w", app, err)
	}
	if res.Error != nil {
		return authz.Caller{}, fmt.Errorf("asking the plugin of %s: it answers %s", app, res.Error.Code)
	}
	out := authz.Caller{Subject: revoke.FromWire(res.Subject), Nobody: res.Anonymous}
	if res.Subject != nil && !out.Known() {
		return authz.Caller{}, fmt.Errorf("asking the plugin of %s: it recognizes the credential but names no user", app)
	}
	if res.IssuedAt != nil {
		out.IssuedAt = *res.IssuedAt
	}
	return out, nil
}

// revoker adapts the plugin host to the revocation engine.
type revoker struct{ *plugins.Host }

func noPlugin(err error) error {
	if errors.Is(err, plugins.ErrNoPlugin) {
		return revoke.ErrNoPlugin
	}
	return err
}

func (r revoker) Revoke(ctx context.Context, tenant, app string, req abi.Request) (abi.Result, error) {
	res, err := r.Host.Revoke(ctx, tenant, app, req)
	return res, noPlugin(err)
}

func (r revoker) Verify(ctx context.Context, tenant, app string, req abi.Request) (abi.VerifyResult, error) {
	res, err := r.Host.Verify(ctx, tenant, app, req)
	return res, noPlugin(err)
}

// forget lets no cached answer of identify about a locked user count any more, and none about a
// credential that may have gone to that user, also in the tenants that share an application with the
// user's. The lock is in force already. So a request that sees the old answer comes before the lock is
// acknowledged, and a later one asks the application.
func (s *Server) forget(l store.Lock) {
	names := append([]string{l.UserID}, l.UserNames...)
	s.plugins.Forget(l.Tenant, names...)
	for _, other := range s.now().sharing.With(l.Tenant) {
		s.plugins.Forget(other, names...)
	}
}

// jobLease lengthens the configured lease to more than twice the longest plugin call. The engine extends a
// lease when less than half of it is left, so half a lease must be longer than a call.
func jobLease(cfg *config.Config) time.Duration {
	longest := time.Duration(0)
	for _, a := range cfg.AllApps() {
		if a.Plugin != nil {
			longest = max(longest, a.Plugin.Timeout)
		}
	}
	return max(cfg.Revocation.Lease, longest*5/2)
}

// cut ends the open streams of locked users, in the tenant of the lock and in those that share an
// application with it. It returns how many.
func (s *Server) cut(ctx context.Context, tenant string) int {
	n := s.authz.Cut(ctx, tenant)
	for _, other := range s.now().sharing.With(tenant) {
		n += s.authz.Cut(ctx, other)
	}
	return n
}
