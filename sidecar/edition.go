package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/oauth"
)

// keysWait is how long a reload waits for the first keys of a new issuer. Until they arrive, its tokens
// get 503.
const keysWait = 5 * time.Second

// edition is what follows from one configuration. It does not change: a reload replaces it.
type edition struct {
	config    *config.Config
	files     config.CertificateFiles // as they were when it was made
	tenants   *tenantIndex
	sharing   *config.Sharing
	peers     *config.Peers
	stale     map[[2]string]time.Duration // how long an app is served without a lease, by tenant and app
	verifiers map[string]verifier
	digests   sync.Once
	parts     map[string]string // of Server.parts
}

func newEdition(cfg *config.Config) *edition {
	e := &edition{
		config: cfg, files: cfg.ReadCertificates(), tenants: newTenantIndex(cfg.Tenants), sharing: config.NewSharing(cfg),
		peers: config.NewPeers(cfg), stale: map[[2]string]time.Duration{},
	}
	for t, a := range cfg.AllApps() {
		e.stale[[2]string{t.Name, a.Name}] = a.Stale()
	}
	return e
}

// certificateFaults returns what peers refuse at the certificates of e and did not refuse at those of former:
// a host that is new, or a certificate that is. What was wrong before, or has expired since, does not keep
// another change from coming into force.
func (e *edition) certificateFaults(former *edition, now time.Time) error {
	known := former.config.JudgeCertificates(former.files, now)
	var errs []error
	for _, f := range e.config.JudgeCertificates(e.files, now) {
		if !f.Warning && !slices.Contains(known, f) {
			errs = append(errs, fmt.Errorf("%s: %s; %s", f.Path, f.Msg, f.Fix))
		}
	}
	return errors.Join(errs...)
}

// next is an edition that is not in force yet, with the parts that come into force with it. Call apply
// or discard, once.
type next struct {
	server    *Server
	edition   *edition
	plugins   *plugins.Prepared
	oauth     *oauth.Prepared
	clients   []client.Tenant
	bundles   []bundles.Tenant
	authorize func() // puts the options of the authorizer in force
	undo      []func()

	// own returns keys and revocations of the tenant's own access tokens. Nil at an edge, which has no SCIM service.
	own func(tenant string) (oauth.Own, error)
}

// prepare makes the parts of cfg beside the present ones. Requests do not notice it.
func (s *Server) prepare(ctx context.Context, cfg *config.Config) (_ *next, err error) {
	n := &next{server: s, edition: newEdition(cfg)}
	if err := n.edition.certificateFaults(s.now(), s.opts.Now()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
	if n.bundles, err = bundleTenants(cfg); err != nil {
		return nil, err
	}
	if n.plugins, err = s.plugins.Prepare(ctx, pluginConfigs(cfg)); err != nil {
		return nil, fmt.Errorf("loading the plugins: %w", err)
	}
	n.undo = append(n.undo, n.plugins.Discard)
	if s.store != nil {
		if err := n.prepareService(ctx); err != nil {
			return nil, err
		}
	}
	return n, n.prepareAuthorizer() //nolint:contextcheck // fetching keys outlives this call; close ends it
}

// prepareService makes the parts of the SCIM service. An edge has none.
func (n *next) prepareService(ctx context.Context) error {
	s, cfg := n.server, n.edition.config
	// A new tenant gets its signing key from the store, so the store knows old and new tenants meanwhile.
	if err := s.allowTenants(n, cfg); err != nil {
		return err
	}
	tenants, err := s.oauthTenants(cfg)
	if err != nil {
		return err
	}
	if n.oauth, err = s.oauth.Prepare(ctx, tenants); err != nil {
		return fmt.Errorf("preparing the authorization server: %w", err)
	}
	n.undo, n.own = append(n.undo, n.oauth.Discard), n.oauth.Own
	return nil
}

// allowTenants lets the store accept the tenants of cfg beside the present ones.
func (s *Server) allowTenants(n *next, cfg *config.Config) error {
	former := storeTenants(s.now().config)
	both := storeTenants(cfg)
	for name, o := range former {
		both[name] = o
	}
	if err := s.store.SetTenants(both); err != nil {
		return err
	}
	n.undo = append(n.undo, func() { _ = s.store.SetTenants(former) }) // their names are valid
	return nil
}

// prepareAuthorizer compiles the tenants for the authorizer.
func (n *next) prepareAuthorizer() error {
	s := n.server
	v := &verifiers{
		logger: s.opts.Logger, metrics: s.registry, now: s.opts.Now, keys: &s.keys, clients: &s.clients,
		former: s.now().verifiers, all: map[string]verifier{}, upstreams: n.edition.config.Upstreams(),
	}
	n.edition.verifiers = v.all
	n.undo = append(n.undo, func() { closeUnused(v.all, v.former) })
	var err error
	if n.clients, err = clientsOf(n.edition.config); err != nil {
		return err
	}
	tenants := map[string]authz.TenantOptions{}
	for i := range n.edition.config.Tenants {
		t := &n.edition.config.Tenants[i]
		made, err := v.authzTenant(n.edition.sharing, t)
		if err == nil {
			err = n.service(v, t, &made)
		}
		if err != nil {
			return fmt.Errorf("opening tenant %s: %w", t.Name, err)
		}
		tenants[t.Name] = made
	}
	if n.authorize, err = s.decider.Prepare(tenants); err != nil {
		return fmt.Errorf("opening the authorizer: %w", err)
	}
	return nil
}

// service adds what the SCIM service of a tenant needs.
func (n *next) service(v *verifiers, t *config.Tenant, to *authz.TenantOptions) error {
	if n.own == nil {
		to.Verifier = noTokens{}
		return nil
	}
	own, err := n.own(t.Name)
	if err != nil {
		return fmt.Errorf("reading its keys: %w", err)
	}
	access, err := v.accessTokens(t, own)
	if err != nil {
		return err
	}
	to.Verifier, to.Proofs = bearer{v.clients, t.Name, access}, own.Proofs
	return nil
}

// ready waits for the keys of new issuers, keysWait at most. It says which are missing.
func (n *next) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysWait)
	defer cancel()
	var errs []error
	if n.oauth != nil {
		errs = append(errs, n.oauth.Ready(ctx))
	}
	for name, v := range n.edition.verifiers {
		if err := v.Ready(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// apply puts the edition in force. Requests that have begun finish with the former one.
func (n *next) apply(ctx context.Context) {
	s := n.server
	if n.oauth != nil {
		s.engine.SetLease(jobLease(n.edition.config)) // before a plugin with longer calls is called
	}
	n.plugins.Apply()
	if n.oauth != nil {
		n.oauth.Apply()
	}
	former := s.current.Swap(n.edition)
	if n.oauth != nil {
		s.keepFileClients(context.WithoutCancel(ctx), n.edition.config)
		s.loadRecent(ctx)
	}
	s.clients.Configure(n.clients)
	s.bundles.SetTenants(ctx, n.bundles)
	s.decisions.configure(n.edition.config) //nolint:contextcheck // what it starts outlives this call
	s.configureRecordings(ctx, n.edition.config)
	n.authorize()
	closeUnused(former.verifiers, n.edition.verifiers)
	if n.oauth != nil {
		_ = s.store.SetTenants(storeTenants(n.edition.config)) // their names are valid: the store has them already
	}
	s.authz.SetTenants(n.edition.tenants.names)
	s.envoys.SetHosts(n.edition.config.Hosts())
}

// discard ends what prepare has made.
func (n *next) discard() {
	for i := len(n.undo) - 1; i >= 0; i-- {
		n.undo[i]()
	}
}

// now is the edition in force.
func (s *Server) now() *edition { return s.current.Load() }

// The parts that live longer than an edition ask for its tenants with these functions.

func (s *Server) tenantNames() []string { return s.now().tenants.names }

func (s *Server) tenantOf(r *http.Request) (string, bool) { return s.now().tenants.ofRequest(r) }

func (s *Server) resourceOf(tenant string) string { return s.now().tenants.resource(tenant) }

// rateOf returns how many requests a second a client may send, and the largest burst.
func (s *Server) rateOf(tenant, issuer, id string) (rate.Limit, int) {
	n := s.clients.RequestsPerSecond(tenant, issuer, id)
	return rate.Limit(n), 2 * n
}

func (s *Server) reactivates(tenant string) bool { return s.now().tenants.reactivates[tenant] }

func (s *Server) staticTokens(tenant string) bool {
	t := s.clients.Tenant(tenant)
	return t != nil && t.StaticTokens
}

// agelessApps returns the apps of a tenant that take a person's name from a trusted header without the start of the
// session.
func (s *Server) agelessApps(tenant string) (out []string) {
	for t, a := range s.now().config.AllApps() {
		ageless := func(sub config.Subject) bool {
			return sub.Header != "" && sub.IssuedHeader == "" && sub.Is != "opaque" && sub.Is != "jwt"
		}
		if t.Name == tenant && slices.ContainsFunc(a.Subjects, ageless) {
			out = append(out, a.Name)
		}
	}
	return out
}
