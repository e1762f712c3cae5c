package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/machine"
)

// The users of the servers of the log.
const (
	logUser    = "scimward"
	systemUser = "scimward-system"
)

// openLog starts this process's server of the shared log, if it runs one, and connects to the log. It waits until most
// servers of the log run.
func (s *Server) openLog(ctx context.Context) error {
	c := &s.opts.Config.Cluster
	if !c.Shared() {
		return nil
	}
	conf, err := logConfOf(s.opts.Config)
	if err != nil {
		return err
	}
	if c.Log.Member.Listen != "" {
		member, err := conf.startMember(ctx, s.opts.Config, s.opts.Logger)
		if err != nil {
			return err
		}
		s.onClose(func() error { return s.stopMember(member) }) //nolint:contextcheck // when every context has ended
	}
	s.opts.Logger.InfoContext(ctx, "connecting to the shared log", slog.Any("servers", c.Log.Servers))
	s.log, err = jetstream.Open(ctx, conf.options(s.opts.Config, s.opts.Logger))
	if err != nil {
		return fmt.Errorf("connecting to the shared log: %w", err)
	}
	s.onClose(s.log.Close)
	return nil
}

// logConfOf reads the files that the log of a configuration needs.
func logConfOf(cfg *config.Config) (logConf, error) {
	l := &cfg.Cluster.Log
	password, err := config.Secret(l.PasswordFile)
	if err != nil {
		return logConf{}, err
	}
	system, err := config.Secret(l.SystemPasswordFile)
	if err != nil {
		return logConf{}, err
	}
	conf, err := logTLS(l.TLS)
	conf.login = jetstream.Login{User: logUser, Password: password}
	conf.system = jetstream.Login{User: systemUser, Password: system}
	return conf, err
}

// startMember starts this process's server of the log, unless another one runs under its name.
func (c *logConf) startMember(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*jetstream.Server, error) {
	m := &cfg.Cluster.Log.Member
	if err := jetstream.CheckName(ctx, c.options(cfg, logger), cfg.Cluster.Name); err != nil {
		return nil, fmt.Errorf("starting a server of the log: %w; stop it, or give this core a name and a data folder "+
			"of its own", err)
	}
	member, err := jetstream.StartServer(jetstream.ServerOptions{
		Name: cfg.Cluster.Name, Cluster: "scimward", Dir: filepath.Join(cfg.DataDir, "log"),
		Listen: m.Listen, Routes: m.Routes, Members: m.Members, TLS: c.server, RoutesTLS: c.mutual,
		Login: c.login, System: c.system, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("starting a server of the log: %w", err)
	}
	return member, nil
}

// memberStops is how long the server of the log may take to hand its leadership over and to stop.
const memberStops = 2 * time.Second

// stopMember stops this process's server of the log.
func (s *Server) stopMember(member *jetstream.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), memberStops)
	defer cancel()
	if err := member.Shutdown(ctx); err != nil {
		s.opts.Logger.WarnContext(ctx, "the server of the log ends without handing its leadership over; the others elect "+
			"another leader", slog.Any("err", err))
	}
	return nil
}

// options are those of a client of the log.
func (c *logConf) options(cfg *config.Config, logger *slog.Logger) jetstream.Options {
	l := &cfg.Cluster.Log
	scheme := "nats://"
	if c.client != nil {
		scheme = "tls://"
	}
	urls := make([]string, len(l.Servers))
	for i, server := range l.Servers {
		urls[i] = scheme + server
	}
	return jetstream.Options{
		URLs: urls, TLS: c.client, Login: c.login, System: c.system, Replicas: l.Replicas,
		AcceptLoss: l.AcceptLoss, Incarnation: machine.Incarnation, Logger: logger,
	}
}

// logConf is what a process needs for the log beside its configuration.
type logConf struct {
	server, mutual, client *tls.Config // nil without TLS
	login, system          jetstream.Login
}

// logTLS reads the certificate of the servers of the log, or of an edge, which uses client only. Each handshake reads
// the certificate again, so a new one needs no restart.
func logTLS(t config.TLS) (logConf, error) {
	if t.Cert == "" {
		return logConf{}, nil
	}
	pool, err := caPool(t.ClientCA)
	if err != nil {
		return logConf{}, err
	}
	pair := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("loading the certificate %s: %w", t.Cert, err)
		}
		return &pair, nil
	}
	if _, err := pair(); err != nil {
		return logConf{}, err
	}
	mutual := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair() },
	}
	return logConf{server: mutual, mutual: mutual.Clone(), client: mutual.Clone()}, nil
}

// leaseOptions are those of the lease protocol.
func (s *Server) leaseOptions() lease.Options {
	c := &s.opts.Config.Cluster
	return lease.Options{Lease: c.Lease, Heartbeat: c.Heartbeat, Serve: s.opts.Config.Stale()}
}

// newStale makes the metric of requests that are served without a lease.
func (s *Server) newStale() *prometheus.CounterVec {
	stale := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_cluster_stale_allowed_total",
		Help: "Requests of applications with on_stale: serve that passed although this process had no lease.",
	}, []string{"tenant", "app"})
	s.registry.MustRegister(stale)
	return stale
}

// openCluster makes the lease protocol of this process.
func (s *Server) openCluster(context.Context) (err error) {
	c := &s.opts.Config.Cluster
	if !c.Shared() {
		return nil
	}
	s.limits = &limit.Group{}
	rates, err := limit.New()
	if err != nil {
		return err
	}
	notes := &edgeNotes{write: recordApp(s.store), rates: rates, now: s.opts.Now}
	s.core, err = cluster.New(cluster.Options{
		Name: c.Name, Store: s.store, Messages: s.log, Directory: s.store, Note: notes.note,
		Policies: s.policies, Bundle: s.policyBundle,
		Cut:     func(ctx context.Context, tenant string) { s.cut(ctx, tenant) },
		Lost:    func(ctx context.Context) { s.authz.CutAll(ctx) },
		Version: s.opts.Version, Config: s.parts, Limits: s.limits,
		Lease:  s.leaseOptions(),
		Logger: s.opts.Logger, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	s.right, s.id = s.core, s.core.ID()
	s.confirming.start(s)
	s.lastWrites = append(s.lastWrites, s.confirming.finish)
	s.clusterMetrics()
	return nil
}

// leaveFunc returns when the others know that this process decides nothing any more, or when ctx ends. lost says that
// the log was given up.
type leaveFunc func(ctx context.Context, lost <-chan struct{}) error

// runCluster runs the lease protocol until leave is called. An error of the protocol goes to failed.
func (s *Server) runCluster(ctx context.Context, failed chan<- error) (leave leaveFunc) {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	switch {
	case s.core != nil:
		go func() {
			err := s.core.Run(run)
			if err != nil {
				failed <- fmt.Errorf("cluster: %w", err)
			}
			ended <- nil
		}()
		return func(ctx context.Context, lost <-chan struct{}) error {
			defer stop()
			return s.leaveCore(ctx, stop, ended, lost)
		}
	case s.edge != nil:
		go func() { ended <- s.edge.Run(run) }()
		return func(ctx context.Context, _ <-chan struct{}) error {
			s.edge.Drain(ctx)
			stop()
			return <-ended
		}
	}
	stop()
	return func(context.Context, <-chan struct{}) error { return nil }
}

// leaveCore goes on until no edge can use what this core granted, also after ctx. It ends without a record in the log
// when that was given up.
func (s *Server) leaveCore(ctx context.Context, stop func(), ended <-chan error, lost <-chan struct{}) error {
	s.core.Drain()
	outlasted := time.NewTimer(s.opts.Config.Cluster.Outlasting(0))
	defer outlasted.Stop()
	select {
	case err := <-ended:
		return err
	case <-lost:
	case <-outlasted.C:
		s.store.GiveUp()
	}
	stop()
	s.opts.Logger.WarnContext(ctx, "left the cluster without a record of it; the others wait for the end of this lease")
	return <-ended
}

// right says whether a process may decide: that of a core, of an edge, or of a process alone.
type right interface {
	Ready() error // why it may not decide now, nil when it may
	Lease() lease.Lease
	MayDecideUnder(l lease.Lease) bool
	MayServeUnder(l lease.Lease, serve time.Duration) bool
}

// always is the right of a process alone.
type always struct{}

func (always) Ready() error                                  { return nil }
func (always) Lease() lease.Lease                            { return lease.Lease{} }
func (always) MayDecideUnder(lease.Lease) bool               { return true }
func (always) MayServeUnder(lease.Lease, time.Duration) bool { return true }

// mayDecide reports whether this process may let a request of an app pass that was decided on under a lease.
func (s *Server) mayDecide(under lease.Lease, tenant, app string) bool {
	if s.right.MayDecideUnder(under) {
		return true
	}
	// The others know only how long an application was served when this process started.
	serve := min(s.now().stale[[2]string{tenant, app}], s.opts.Config.Stale())
	if serve == 0 || !s.right.MayServeUnder(under, serve) {
		return false
	}
	s.stale.WithLabelValues(tenant, app).Inc()
	return true
}

// mayServe reports whether an Envoy that knows several processes should ask this one.
func (s *Server) mayServe() bool { return s.mayDecide(s.right.Lease(), "", "") }

// upToDate returns when the store has every change that any process had acknowledged. A core that is cut off from the
// log waits as long as it has a lease, and not at all without one. An election of the log is shorter than the default
// lease.
func (s *Server) upToDate(ctx context.Context) error {
	if s.core == nil {
		return nil
	}
	left := s.core.Left()
	if left <= 0 {
		return scimhttp.ErrApart
	}
	ctx, cancel := context.WithTimeoutCause(ctx, left, scimhttp.ErrApart)
	defer cancel()
	_, err := s.store.Barrier(ctx)
	if err != nil && errors.Is(context.Cause(ctx), scimhttp.ErrApart) {
		return fmt.Errorf("%w: %w", scimhttp.ErrApart, err)
	}
	return err
}
