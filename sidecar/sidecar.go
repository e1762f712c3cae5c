package sidecar

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/instance"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/recent"
	"github.com/scimward/scimward/sidecar/internal/recording"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/jetstream"
)

// Options configures a [Server].
type Options struct {
	Config  *config.Config // from package config; required
	Version string         // shown by status
	Worker  []string       // command of a plugin worker; empty means this executable with "plugin-worker"
	// Compiler is the command that runs [bundle.Rehearse] on its standard input. Empty means that policy bundles are
	// compiled in this process only, where nothing can stop a compilation.
	Compiler []string
	Logger   *slog.Logger     // nil discards
	Now      func() time.Time // nil means time.Now

	// Load loads the configuration again, for [Server.Reload]. Nil means that it cannot change.
	Load func() (*config.Config, error)
	// Watch are files whose change makes Run reload, beside those that the configuration names. Without
	// Load they have no effect.
	Watch []string
}

// Server is one scimward process. Make it with [New].
type Server struct {
	opts     Options
	registry *prometheus.Registry
	current  atomic.Pointer[edition]
	opened   [sha256.Size]byte // content of the watched files when New began
	reloads  *reloads

	log          *jetstream.Log // nil unless the process shares its log
	core         *cluster.Core  // nil likewise
	confirming   confirmations
	snapshots    cluster.Snapshots // of the shared log
	edge         *cluster.Edge     // nil unless the process follows a core
	right        right             // of the core or the edge
	id           string            // in the leases of jobs, and in decision logs
	store        *store.Store      // nil at an edge
	locks        *store.LockTable
	names        *store.NameCache
	trail        *appTrail
	extra        authz.ExtraWrites
	handler      *scimhttp.Handler
	plugins      *plugins.Host
	policy       *policies.Engine
	decisions    decisions
	recordings   *recording.Store
	bundles      *bundles.Manager
	recent       *recent.Changes
	keys         keyClients
	clients      client.Directory
	changed      chan struct{} // a token while a process has changed a client
	oauth        *oauth.Server
	decider      *authz.Authorizer
	authz        *extauthz.Server
	engine       *revoke.Engine
	hits         *admin.Hits // of the locks
	certificates *certificates
	deviations   *prometheus.CounterVec // of SCIM requests; nil at an edge
	stale        *prometheus.CounterVec // requests that pass without a lease
	limits       *limit.Group           // that the cores share, nil for one process
	refusals     *refusals

	grpc      *grpc.Server
	scim      *http.Server
	admin     *http.Server
	metrics   *http.Server
	edges     *grpc.Server // for edges; nil without
	listeners struct{ authz, scim, admin, metrics, edges net.Listener }
	envoys    *passes.Envoys
	instance  *instance.Watch
	suspects  authz.Suspects
	// background runs beside the listeners; its run ends with its context. lastWrites come after the last request.
	background []background
	lastWrites []func(context.Context) error
	closers    []func() error // in the order of opening; closed in reverse
}

type background struct {
	name string
	run  func(context.Context) error
}

// New opens the store, loads the policy, keys and plugins, and binds the listeners. It returns an
// error if waiting does not help: a port in use, a store that does not open, a policy that does not
// compile. A missing plugin or key set is not an error. Readiness then reports it.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		opts: o, registry: prometheus.NewRegistry(), hits: admin.NewHits(), changed: make(chan struct{}, 1),
		right: always{}, id: processName(),
	}
	s.current.Store(newEdition(o.Config))
	s.opened = s.digests()
	s.reloads, s.refusals = newReloads(s.registry, o.Now()), newRefusals(s.registry, o.Logger, o.Now)
	s.certificates = newCertificates(s.registry, func() *config.Peers { return s.now().peers })
	s.envoys = &passes.Envoys{Outdated: s.logOutdated}
	s.envoys.SetHosts(o.Config.Hosts())
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.stale = s.newStale()
	s.instance = instance.New(instance.Options{
		URLs:   s.externalURLs,
		CAFile: func() string { return s.now().config.Envoy.TLS.Cert },
		Now:    o.Now, Logger: o.Logger,
	})
	s.openDecisions() //nolint:contextcheck // what it starts lives until close
	steps := []func(context.Context) error{
		s.startPlugins, s.openLog, s.openStore, s.openCluster, s.openTrust, s.openRules, s.openPlugins, s.openAuthorizer,
		s.openSCIM, s.openChecks, s.openEngine, s.openAdmin, s.openListeners,
	}
	if o.Config.Cluster.IsEdge() {
		steps = []func(context.Context) error{
			s.startPlugins, s.openEdge, s.openPlugins, s.openRules, s.openAuthorizer, s.openChecks, s.openAdmin, s.openListeners,
		}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *Server) onRun(name string, run func(context.Context) error) {
	s.background = append(s.background, background{name, run})
}

func (s *Server) onClose(fn func() error) { s.closers = append(s.closers, fn) }

func (s *Server) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *Server) openStore(ctx context.Context) (err error) {
	cfg := s.opts.Config
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	o := storeOptions(cfg)
	o.Now, o.Logger, o.Metrics = s.opts.Now, s.opts.Logger, s.registry
	if s.log == nil {
		s.store, err = store.Open(ctx, o)
	} else {
		o.Shared = s.log
		s.snapshots.Log, s.snapshots.Version = s.log, s.opts.Version
		s.snapshots.Logger, s.snapshots.Metrics = s.opts.Logger, s.registry
		s.store, err = s.snapshots.Open(ctx, o)
		s.onRun("snapshots", func(ctx context.Context) error { s.snapshots.Keep(ctx); return nil })
	}
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	s.onClose(s.store.Close)
	s.locks = s.store.Locks()
	s.names = store.NewNameCache(s.store, rememberedNames)
	s.onClose(closer(s.names.Close))
	if s.trail, err = newAppTrail(recordApp(s.store), s.opts.Now, s.opts.Logger, s.registry); err != nil {
		return err
	}
	s.trail.auditConfigured(ctx, cfg)
	s.openRecent(ctx)
	s.onRun("clients", func(ctx context.Context) error { s.watchClients(ctx); return nil })
	return s.openClients(ctx)
}

// rememberedNames is how many names of each tenant are known without a look into the store.
const rememberedNames = 1 << 15

// StoreDir returns the folder of the store.
func StoreDir(cfg *config.Config) string { return storeIn(cfg.DataDir) }

// startPlugins begins to load the plugins. Compiling them takes seconds, in processes of their own.
func (s *Server) startPlugins(ctx context.Context) (err error) {
	s.plugins, err = plugins.Start(ctx, plugins.Options{
		Plugins: pluginConfigs(s.opts.Config), CacheDir: filepath.Join(s.opts.Config.DataDir, "plugin-cache"),
		Self: s.opts.Worker, Logger: s.opts.Logger, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("opening the plugins: %w", err)
	}
	s.onClose(s.plugins.Close)
	return nil
}

// openPlugins lets the plugins forget who is locked, and waits until they are loaded. An edge does not: it gets the
// locks meanwhile. It is not ready before, and a request that a plugin decides waits for it.
func (s *Server) openPlugins(ctx context.Context) error {
	s.onClose(closer(s.locks.Subscribe(s.forget)))
	if s.edge != nil {
		return nil
	}
	if err := s.plugins.Wait(ctx); err != nil {
		return fmt.Errorf("loading the plugins: %w", err)
	}
	return nil
}

func closer(fn func()) func() error {
	return func() error { fn(); return nil }
}

func (s *Server) openTrust(ctx context.Context) error {
	tenants, err := s.oauthTenants(s.opts.Config)
	if err != nil {
		return err
	}
	o := oauth.Options{
		Tenants: tenants, Store: s.store, Now: s.opts.Now, Logger: s.opts.Logger, Metrics: s.registry,
		NotBefore: s.clients.NotBefore, RotateEvery: s.opts.Config.TokenKeys.RotateEvery,
		ReplaceUnreadable: s.opts.Config.TokenKeys.ReplaceUnreadable,
	}
	if s.core != nil {
		o.Confirm = func(ctx context.Context) error { return s.confirm(ctx, "", "", nil) }
		o.InTouch, o.Current, o.Limits = s.core.Ready, s.upToDate, s.limits
		o.ProofWait = s.opts.Config.Envoy.CheckTimeout
	}
	if err := s.keyEncryption(ctx, &o); err != nil {
		return err
	}
	s.oauth, err = oauth.New(ctx, o)
	if err != nil {
		return fmt.Errorf("opening the authorization server: %w", err)
	}
	s.onClose(closer(s.oauth.Close))
	s.onRun("authorization server", s.oauth.Run)
	return nil
}

// openRules compiles the policies and puts the tenants' own in force.
func (s *Server) openRules(ctx context.Context) (err error) {
	//nolint:contextcheck // the trial of the rules has its own deadline
	s.policy, err = policies.NewEngine(policies.Options{Logger: s.opts.Logger, Metrics: s.registry})
	if err != nil {
		return fmt.Errorf("compiling the policies: %w", err)
	}
	if err := s.openRecordings(ctx); err != nil {
		return err
	}
	return s.openBundles(ctx)
}

func (s *Server) openSCIM(ctx context.Context) (err error) {
	s.deviations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_scim_deviations_total",
		Help: "SCIM requests that deviated from the canonical form, by tenant and code of the deviation.",
	}, []string{"tenant", "code"})
	s.registry.MustRegister(s.deviations, newRefusedUsers(s.store, s.tenantNames), tokenExpiry{s, expiryMetric()})
	s.handler, err = scimhttp.New(scimhttp.Options{
		Decider: s.decider, Store: s.store, TenantOf: s.tenantOf, Base: s.resourceOf,
		AfterLock: func(ctx context.Context, tenant, _ string) { s.cut(ctx, tenant) },
		MaxBody:   s.opts.Config.Envoy.MaxBodyBytes, MaxGroupBody: s.opts.Config.Envoy.MaxGroupBodyBytes,
		Current: s.upToDate, Settled: s.bundles.Settled, Confirm: s.confirm,
		RateOf: s.rateOf, Limits: s.limits, Reactivates: s.reactivates, StaticTokens: s.staticTokens, Recent: s.recent.Of,
		Judged: s.judged, Used: s.clients.Note, Decided: s.decided, Now: s.opts.Now,
		Logger: s.opts.Logger, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("opening the SCIM service: %w", err)
	}
	s.onRun("refused deactivations", s.handler.Run)
	s.lastWrites = append(s.lastWrites, func(ctx context.Context) error { s.handler.Flush(ctx); return nil })
	mux := http.NewServeMux()
	s.handler.Mount(mux)
	s.oauth.Mount(mux, s.tenantOf)
	mux.Handle("GET "+instance.Path, s.instance)
	mux.HandleFunc("GET "+headers.ReadyPath, s.readyForEnvoy)
	s.scim = s.httpServer(s.handler.Route(mux))
	s.refusals.watchHandshakes(s.scim, config.ListenerSCIM) //nolint:contextcheck // a handshake has none
	s.ofPermitted(s.scim)
	return nil
}

// readyForEnvoy tells Envoys that know several cores whether this one may decide. They send it no SCIM requests
// otherwise. No route of Envoy leads here.
func (s *Server) readyForEnvoy(w http.ResponseWriter, _ *http.Request) {
	if !s.mayServe() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// judged counts the deviations and violated rules of a request. The proxy counts the requests that it refuses, the
// SCIM service those that reach it.
func (s *Server) judged(d *authz.Decision) {
	for _, code := range d.Deviations {
		s.deviations.WithLabelValues(d.Tenant, code).Inc()
	}
	s.policy.Count(d.Violated)
}

// openChecks makes what Envoy asks.
func (s *Server) openChecks(context.Context) (err error) {
	envoy := s.opts.Config.Envoy
	o := extauthz.Options{
		Decider: s.decider, Tenants: s.tenantNames(), MaxBody: envoy.MaxBodyBytes, Timeout: envoy.CheckTimeout,
		Lease: s.right.Lease, MayDecide: s.mayDecide, Hit: s.hit,
		Decided: s.decided, Permit: s.permit, Now: s.opts.Now, Logger: s.opts.Logger, Metrics: s.registry,
	}
	if s.handler != nil {
		o.Refused, o.Judged, o.Used = s.handler.Refused, s.judged, s.clients.Note
	}
	s.authz, err = extauthz.New(o)
	if err != nil {
		return fmt.Errorf("opening the authorization service: %w", err)
	}
	return nil
}

// hit remembers that a lock refused a request.
func (s *Server) hit(tenant, app string, l *authz.Lock) {
	now := s.opts.Now().UTC()
	s.hits.Add(admin.LockUse{
		Tenant: tenant, Kind: l.State, User: l.UserID, Epoch: l.Epoch, Lock: l.Operator, App: app, First: now, Last: now,
	})
}

func (s *Server) openEngine(context.Context) (err error) {
	cfg := s.opts.Config
	var heartbeat time.Duration
	if s.core != nil {
		heartbeat = cfg.Cluster.Heartbeat
	}
	s.engine, err = revoke.New(revoke.Options{
		Store: s.store, Revoker: revoker{s.plugins}, Tenants: s.tenantNames, Owner: s.id, Heartbeat: heartbeat,
		Workers: cfg.Revocation.Workers, Lease: jobLease(cfg), Deadline: cfg.Revocation.Deadline,
		Now: s.opts.Now, Logger: s.opts.Logger, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("opening the revocation engine: %w", err)
	}
	s.onRun("revocation engine", s.engine.Run)
	return nil
}

func (s *Server) openAdmin(context.Context) error {
	cfg := s.opts.Config
	o := admin.Options{
		Store: s.store, Tenants: s.tenantNames, Version: s.opts.Version, DataDir: cfg.DataDir, Components: s.components,
		Bundles: s.bundles, Decisions: s.readDecisions, Recordings: s.recordings, Policy: s.policy,
		Plugins: s.pluginStatus, Config: s.reloads.status, Envoys: s.outdatedEnvoys, Unaware: s.unawareEnvoys,
		Credentials: s.credentialReport,
		Gatherer:    s.registry, Sign: s.sign, Cut: s.cut, Engine: s.engine, Hits: s.hits,
		Now: s.opts.Now, Logger: s.opts.Logger,

		Ageless:       s.agelessApps,
		Explain:       s.decider.Explain,
		Unprovisioned: s.decider.UnprovisionedPeople,
	}
	if s.store != nil {
		o.FlushRefused, o.Keys, o.Confirm = s.handler.Flush, s.oauth, s.confirm
		o.Clients = admin.ClientsOptions{
			Directory: &s.clients, Change: s.changeClients, Valid: s.validClient, Check: s.checkClient,
			Keyless: s.oauth.Keyless,
		}
	}
	if s.core != nil {
		o.Cluster = s.clusterStatus
	}
	h := admin.New(o)
	s.admin = s.httpServer(h.Admin())
	s.admin.ConnContext = admin.ConnContext
	s.metrics = s.httpServer(h.Metrics())
	return nil
}

// openAuthorizer makes the authorizer with the tenants of the first configuration.
func (s *Server) openAuthorizer(ctx context.Context) (err error) {
	o := authz.Options{
		Policy: s.policy, Locks: locks{s.locks}, Identifier: identifier{s.plugins},
		Directory: s.names, Clients: clients{&s.clients}, Unprovisioned: s.trail.counted,
		ExtraWrites: &s.extra,
		Envoys:      s.envoys, Suspects: &s.suspects, Now: s.opts.Now, Records: s.recordings.On, Record: s.ruleInput,
		MaxBody: s.opts.Config.Envoy.MaxBodyBytes, MaxGroupBody: s.opts.Config.Envoy.MaxGroupBodyBytes,
	}
	first := &next{server: s, edition: newEdition(s.opts.Config)}
	if s.edge != nil {
		o.Users, o.Elsewhere = s.edge, s.elsewhere()
	} else {
		o.Users, first.own = s.store, s.oauth.Own
	}
	if s.decider, err = authz.New(o); err != nil {
		return fmt.Errorf("opening the authorizer: %w", err)
	}
	if err := first.prepareAuthorizer(); err != nil { //nolint:contextcheck // fetching keys outlives it
		first.discard()
		return err
	}
	s.current.Store(first.edition)
	if s.store != nil {
		s.keepFileClients(ctx, s.opts.Config)
	}
	s.clients.Configure(first.clients)
	first.authorize()
	s.onClose(closer(func() { closeUnused(s.now().verifiers, nil) }))
	return nil
}

// openListeners binds every address, and reports every address that it cannot bind.
func (s *Server) openListeners(ctx context.Context) error {
	addrs := s.opts.Config.Listen
	var errs []error
	for _, listener := range []struct {
		key, addr string
		mode      fs.FileMode
		to        *net.Listener
	}{
		{"listen.authz", addrs.Authz, modeGroup, &s.listeners.authz},
		{"listen.scim", addrs.SCIM, modeGroup, &s.listeners.scim},
		{"listen.admin", addrs.Admin, modeOwner, &s.listeners.admin},
		{"listen.metrics", addrs.Metrics, modeGroup, &s.listeners.metrics},
	} {
		l, err := listen(ctx, listener.key, listener.addr, listener.mode)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		*listener.to = l
		s.onClose(closeListener(l))
	}
	errs = append(errs, s.openEdgesListener(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	conf, err := s.certificates.listen(config.ListenerSCIM, addrs.SCIMTLS.Files())
	if err != nil {
		return err
	}
	if conf != nil {
		s.listeners.scim = tls.NewListener(s.listeners.scim, conf)
	}
	if conf, err = s.certificates.listen(config.ListenerAuthz, addrs.AuthzTLS.Files()); err != nil {
		return err
	}
	if err := s.certificates.read(s.opts.Config); err != nil {
		return err
	}
	s.openGRPC(conf) //nolint:contextcheck // a handshake has none
	return nil
}

func closeListener(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// openGRPC makes the server of the authz listener, without TLS if conf is nil.
func (s *Server) openGRPC(conf *tls.Config) {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(s.opts.Config.Envoy.MaxBodyBytes + 128<<10),
		grpc.MaxConcurrentStreams(16384),
		grpc.ConnectionTimeout(5 * time.Second),
		// A policy decision needs a deep stack. The stack of a stream worker stays grown between calls.
		grpc.NumStreamWorkers(64),
		// Envoy pings every fifth of a lease, to end its streams when no answer comes.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: s.opts.Config.Cluster.Lease / 10, PermitWithoutStream: true,
		}),
	}
	if conf != nil {
		failed := func(from net.Addr, err error) { s.refusals.handshake(config.ListenerAuthz, from, err) }
		opts = append(opts, grpc.Creds(watchedCredentials{credentials.NewTLS(conf), failed}),
			// Open streams go on: a leash lives as long as its request.
			grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: connectionAge}))
	}
	s.grpc = s.authz.NewGRPC(opts...)
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, MaxHeaderBytes: 64 << 10, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: s.opts.Config.Cluster.Outlasting(60 * time.Second), IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}
}

// processName names this process as long as it has no cluster that names it.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "scimward"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

func (s *Server) sign(tenant string, claims map[string]any) (string, error) {
	signer, err := s.oauth.Signer(tenant)
	if err != nil {
		return "", fmt.Errorf("finding the key of tenant %s: %w", tenant, err)
	}
	return signer.Sign(claims, "evidence+jwt")
}
