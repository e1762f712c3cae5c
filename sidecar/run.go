package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
)

// Addrs lists the addresses of the listeners.
type Addrs struct{ Authz, SCIM, Admin, Metrics net.Addr }

// Addrs returns the addresses in use, for callers that configured port 0.
func (s *Server) Addrs() Addrs {
	l := s.listeners
	return Addrs{l.authz.Addr(), l.scim.Addr(), l.admin.Addr(), l.metrics.Addr()}
}

// Run serves until ctx ends or a listener fails. Then it drains within the configured time and
// closes everything. It returns nil after a clean drain.
func (s *Server) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 16) // one of each start, and of the cluster
	var running sync.WaitGroup
	start := func(name string, fn func() error) {
		running.Go(func() {
			err := fn()
			if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	leave := s.runCluster(ctx, failed)
	if s.store != nil {
		start("revocation engine", func() error { return s.engine.Run(work) })
		start("authorization server", func() error { return s.oauth.Run(work) })
		start("refused deactivations", func() error { return s.handler.Run(work) })
		running.Go(func() { s.keepSnapshots(work) })
		running.Go(func() { s.watchClients(work) })
	}
	if s.listeners.edges != nil {
		start("edges listener", func() error { return s.edges.Serve(s.listeners.edges) })
	}
	start("authz listener", func() error { return s.grpc.Serve(s.listeners.authz) })
	start("scim listener", func() error { return s.scim.Serve(s.listeners.scim) })
	start("admin listener", func() error { return s.admin.Serve(s.listeners.admin) })
	start("metrics listener", func() error { return s.metrics.Serve(s.listeners.metrics) })
	running.Go(func() { s.watchReady(work); s.instance.Run(work) })
	running.Go(func() { s.bundles.Run(work) })
	running.Go(func() { s.recordings.Run(work) })
	running.Go(func() { s.watchFiles(work) })
	running.Go(func() { s.trail.run(work) })
	s.opts.Logger.InfoContext(ctx, "serving", slog.String("authz", s.opts.Config.Listen.Authz),
		slog.String("scim", s.listeners.scim.Addr().String()), slog.String("admin", s.listeners.admin.Addr().String()),
		slog.String("metrics", s.listeners.metrics.Addr().String()))
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.drain(context.WithoutCancel(ctx), stop))
	if s.handler != nil {
		s.handler.Flush(context.WithoutCancel(ctx))
	}
	if s.confirming != nil {
		err = errors.Join(err, s.confirming.finish(s.opts.Config.Drain))
	}
	// A core goes on until no edge can use what it granted.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx),
		s.opts.Config.Cluster.Outlasting(0))
	defer cancel()
	err = errors.Join(err, leave(leaving))
	if s.edges != nil {
		s.edges.Stop() // after the core has heard the last of its edges
	}
	if !waitFor(&running, s.opts.Config.Drain) {
		// The call ends with the process. The store stays open, because the call may still use it.
		return errors.Join(err, errors.New("draining: the revocation engine still waits for a plugin; "+
			"its jobs continue at the next start"))
	}
	return errors.Join(err, s.close())
}

// waitFor waits for the goroutines, but not longer than limit. It reports whether they have ended.
func waitFor(running *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// watchReady sets gRPC health to serving once every component is ready. From then on only the lease counts, for
// Envoys that know several cores: Envoy can still check application traffic while the store refuses writes or keys
// cannot be refreshed. /readyz shows such faults.
func (s *Server) watchReady(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	ready, serving := false, false
	for {
		if !ready && !slices.ContainsFunc(s.components(ctx), func(c admin.Component) bool { return !c.Ready }) {
			ready = true
			s.opts.Logger.InfoContext(ctx, "ready")
		}
		if now := ready && s.mayServe(); now != serving {
			serving = now
			s.authz.SetServing(serving)
		}
		if serving && s.core == nil && s.edge == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// drain stops accepting requests, finishes running requests and releases leases. It ends the
// leashes last, because that ends the open streams of users behind Envoy.
func (s *Server) drain(ctx context.Context, stopWork func()) error {
	s.opts.Logger.InfoContext(ctx, "draining", slog.Duration("bound", s.opts.Config.Drain))
	ctx, cancel := context.WithTimeout(ctx, s.opts.Config.Drain)
	defer cancel()
	s.authz.StopServing()
	var errs []error
	for name, srv := range map[string]*http.Server{"scim": s.scim, "admin": s.admin, "metrics": s.metrics} {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("draining the %s listener: %w", name, errors.Join(err, srv.Close())))
		}
	}
	stopWork()
	if err := s.authz.Drain(ctx); err != nil {
		errs = append(errs, fmt.Errorf("ending the leashes: %w", err))
	}
	done := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
	s.authz.Wait()
	return errors.Join(errs...)
}

// components reports which components of this process are ready. The state of a plugin is none: an
// orchestrator that removes the process would take it from every other application. [Server.pluginStatus]
// reports it. Only the first load of the plugins must have ended.
func (s *Server) components(ctx context.Context) []admin.Component {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out := []admin.Component{
		component("policy", s.bundles.Ready()), component("plugins", s.plugins.Started()), s.alone(),
	}
	if s.store != nil {
		out = append(out, component("oauth", s.oauth.Ready(ctx)), storeComponent(s.store.Health()))
	}
	if s.edge != nil {
		out = append(out, component("cluster", s.edge.Ready()))
	}
	if s.core != nil {
		out = append(out, component("cluster", s.clusterReady()))
	}
	for name, v := range s.now().verifiers {
		out = append(out, component(name, v.Ready(ctx)))
	}
	slices.SortFunc(out, func(a, b admin.Component) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// clusterReady returns why this core may not decide now, with why the log refuses its heartbeats, if that is known.
func (s *Server) clusterReady() error {
	err := s.core.Ready()
	if err == nil {
		return nil
	}
	if fault := s.log.Ready(); fault != nil {
		return fmt.Errorf("%w: %w", err, fault)
	}
	return err
}

// alone reports whether another process answers under an external URL of this one.
func (s *Server) alone() admin.Component {
	warning, err := s.instance.State()
	c := component("instance", err)
	c.Message = cmp.Or(c.Message, warning)
	return c
}

// externalURLs lists the URLs under which clients reach this process.
func (s *Server) externalURLs() []string {
	if s.core != nil || s.edge != nil {
		return nil // the cores answer there
	}
	var out []string
	tenants := s.now().config.Tenants
	for i := range tenants {
		out = append(out, tenants[i].ExternalURL)
	}
	return out
}

func component(name string, err error) admin.Component {
	c := admin.Component{Name: name, Ready: err == nil}
	if err != nil {
		c.Message = err.Error()
	}
	return c
}

// pluginStatus asks every plugin for its health. The host limits the duration of each call. An app with
// an opaque credential needs a plugin that can identify it. Without the plugin, every request with such a
// credential is answered with 503.
func (s *Server) pluginStatus(ctx context.Context) []admin.PluginStatus {
	cfg := s.now().config
	configs := pluginConfigs(cfg)
	opaque := map[[2]string]bool{}
	for t, a := range cfg.AllApps() {
		opaque[[2]string{t.Name, a.Name}] = slices.ContainsFunc(a.Subjects, func(sub config.Subject) bool {
			return sub.Is == "opaque"
		})
	}
	out := make([]admin.PluginStatus, len(configs))
	var asked sync.WaitGroup
	for i, c := range configs {
		asked.Go(func() { out[i] = s.onePlugin(ctx, c.Tenant, c.App, opaque[[2]string{c.Tenant, c.App}]) })
	}
	asked.Wait()
	return out
}

// onePlugin asks the plugin of an app for its health. With opaque, the plugin must also identify.
func (s *Server) onePlugin(ctx context.Context, tenant, app string, opaque bool) admin.PluginStatus {
	out := admin.PluginStatus{Tenant: tenant, App: app, Health: "error"}
	if info, ok := s.plugins.Info(tenant, app); ok {
		out.Name, out.Version, out.Digest = info.Name, info.Version, info.Digest
	}
	for _, m := range s.plugins.Sandbox(tenant, app) {
		if m.Fault == "" {
			out.Sandbox = append(out.Sandbox, m.Name)
		} else {
			out.SandboxMissing = append(out.SandboxMissing, m.Name+" ("+m.Fault+")")
		}
	}
	if h, err := s.plugins.Health(ctx, tenant, app); err == nil {
		out.Health, out.Message = h.Status, h.Message
	} else {
		out.Message = err.Error()
	}
	if err := s.plugins.CanIdentify(tenant, app); opaque && err != nil {
		out.Health, out.Message = "error", "requests with an opaque credential get 503: "+err.Error()
	}
	return out
}
