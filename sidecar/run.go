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
	for _, b := range s.background {
		start(b.name, func() error { return b.run(work) })
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
	return errors.Join(err, s.end(context.WithoutCancel(ctx), stop, leave, &running))
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
		if serving && s.right == (always{}) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// components reports which components of this process are ready. The state of a plugin is none: an
// orchestrator that removes the process would take it from every other application. [Server.pluginStatus]
// reports it. Only the first load of the plugins must have ended.
func (s *Server) components(ctx context.Context) []admin.Component {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	policy := component("policy", s.bundles.Ready())
	policy.Message = cmp.Or(policy.Message, s.bundles.Suspended())
	out := []admin.Component{policy, component("plugins", s.plugins.Started()), s.alone()}
	if s.store != nil {
		out = append(out, component("oauth", s.oauth.Ready(ctx)), storeComponent(s.store.Health()))
	}
	if s.right != (always{}) {
		out = append(out, component("cluster", s.clusterReady()))
	}
	for name, v := range s.now().verifiers {
		out = append(out, component(name, v.Ready(ctx)))
	}
	slices.SortFunc(out, func(a, b admin.Component) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// clusterReady returns why this process may not decide now, at a core with why the log refuses its heartbeats, if that
// is known.
func (s *Server) clusterReady() error {
	err := s.right.Ready()
	if err == nil || s.log == nil {
		return err
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
	if s.right != (always{}) {
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
