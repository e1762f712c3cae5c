package oauth

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// Prepared is a set of tenants that [Server.Prepare] has made and that is not in force yet. Call
// Apply or Discard, once.
type Prepared struct {
	server *Server
	next   map[string]*tenant
}

// Prepare makes the authorization servers of all tenants, without an effect on requests. A tenant
// with an unchanged configuration keeps its keys and its clients' keys. For a new one, Prepare creates a
// missing signing key in the store and starts to fetch the keys of the clients. For a changed one it fetches
// them again, and the last good ones stay in use until then. The error joins every fault.
func (s *Server) Prepare(ctx context.Context, tenants []Tenant) (*Prepared, error) {
	p := &Prepared{server: s, next: make(map[string]*tenant, len(tenants))}
	var errs []error
	for _, cfg := range tenants {
		if err := p.add(ctx, cfg); err != nil {
			errs = append(errs, fmt.Errorf("oauth: tenant %q: %w", cfg.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		p.Discard()
		return nil, err
	}
	return p, nil
}

func (p *Prepared) add(ctx context.Context, cfg Tenant) error {
	if p.next[cfg.Name] != nil {
		return errors.New("it is configured twice")
	}
	old := p.server.tenant(cfg.Name)
	if old != nil && reflect.DeepEqual(old.Tenant, cfg) {
		p.next[cfg.Name] = old
		return nil
	}
	st, err := p.server.stateOf(ctx, cfg.Name)
	if err != nil {
		return err
	}
	t, err := newTenant(cfg, st, old, &p.server.opts) //nolint:contextcheck // fetching outlives this call; Close ends it
	if err != nil {
		return err
	}
	p.next[cfg.Name] = t
	return nil
}

// Ready returns an error for each client without keys. It waits within ctx for running fetches.
func (p *Prepared) Ready(ctx context.Context) error { return ready(ctx, p.next) }

// Apply puts the tenants in force. Requests whose body has been read finish with the former ones.
func (p *Prepared) Apply() {
	clients := 0
	for _, t := range p.next {
		clients += len(t.Clients)
	}
	p.server.clients.Store(int64(clients))
	old := p.server.tenants.Swap(&p.next)
	closeTenants(*old, p.next)
}

// Discard stops what Prepare has started.
func (p *Prepared) Discard() { closeTenants(p.next, *p.server.tenants.Load()) }

// closeTenants closes the tenants of from that are not in keep.
func closeTenants(from, keep map[string]*tenant) {
	for name, t := range from {
		if keep[name] != t {
			t.close()
		}
	}
}

func ready(ctx context.Context, tenants map[string]*tenant) error {
	var errs []error
	for _, t := range tenants {
		errs = append(errs, t.verifier.Ready(ctx))
	}
	return errors.Join(errs...)
}
