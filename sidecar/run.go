package sidecar

import (
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

// Addrs returns the bound addresses, for callers that asked for port 0.
func (s *Server) Addrs() (authz, scim, adminAddr net.Addr) {
	return s.listeners.authz.Addr(), s.listeners.scim.Addr(), s.listeners.admin.Addr()
}

// Run serves until ctx ends, then drains within the configured bound and closes
// everything. It returns nil after a clean drain.
func (s *Server) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 4)
	var running sync.WaitGroup
	start := func(name string, fn func() error) {
		running.Go(func() {
			if err := fn(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	start("authz listener", func() error { return s.grpc.Serve(s.listeners.authz) })
	start("scim listener", func() error { return s.scim.Serve(s.listeners.scim) })
	start("admin listener", func() error { return s.admin.Serve(s.listeners.admin) })
	start("revocation engine", func() error { return s.engine.Run(work) })
	running.Go(func() { s.watchReady(work) })
	s.o.Logger.InfoContext(ctx, "serving", slog.String("authz", s.o.Config.Listen.Authz), slog.String("scim", s.listeners.scim.Addr().String()), slog.String("admin", s.listeners.admin.Addr().String()))
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.drain(context.WithoutCancel(ctx), stop))
	if !waitFor(&running, s.o.Config.Drain) {
		// What hangs ends with the process; closing the store under it would not help.
		return errors.Join(err, errors.New("draining: the revocation engine is still in a call; its jobs are taken up again at the next start"))
	}
	return errors.Join(err, s.close())
}

// waitFor waits for what runs, most at the longest.
func waitFor(running *sync.WaitGroup, most time.Duration) bool {
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// watchReady tells gRPC health once every component is ready. It stays serving
// afterwards: a store that refuses writes, or keys that cannot be refreshed, is no
// reason to stop judging application traffic. /readyz tells of them.
func (s *Server) watchReady(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if !slices.ContainsFunc(s.components(ctx), func(c admin.Component) bool { return !c.Ready }) {
			s.authz.SetServing(true)
			s.o.Logger.InfoContext(ctx, "ready")
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// drain stops accepting, lets what runs finish, gives leases back, and ends the
// leashes last: ending them ends the open streams of users behind Envoy.
func (s *Server) drain(ctx context.Context, stopWork func()) error {
	s.o.Logger.InfoContext(ctx, "draining", slog.Duration("bound", s.o.Config.Drain))
	ctx, cancel := context.WithTimeout(ctx, s.o.Config.Drain)
	defer cancel()
	s.authz.SetServing(false)
	var errs []error
	for name, srv := range map[string]*http.Server{"scim": s.scim, "admin": s.admin} {
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

// components says what is ready and what is not.
func (s *Server) components(ctx context.Context) []admin.Component {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out := []admin.Component{component("policy", nil), component("oauth", s.oauth.Ready(ctx)), component("plugins", s.plugins.Ready())}
	out = append(out, component("store", s.store.Health().Err))
	for name, err := range s.verifiers.ready(ctx) {
		out = append(out, component(name, err))
	}
	for name, err := range s.canIdentify() {
		out = append(out, component(name, err))
	}
	slices.SortFunc(out, func(a, b admin.Component) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// canIdentify says for each app with an opaque credential whether its plugin can
// tell whose it is: without, every request that carries one is answered with 503.
func (s *Server) canIdentify() map[string]error {
	out := map[string]error{}
	for i := range s.o.Config.Tenants {
		t := &s.o.Config.Tenants[i]
		for j := range t.Apps {
			a := &t.Apps[j]
			if slices.ContainsFunc(a.Subjects, func(sub config.Subject) bool { return sub.Is == "opaque" }) {
				out["identify:"+t.Name+"/"+a.Name] = s.plugins.CanIdentify(t.Name, a.Name)
			}
		}
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

// pluginStatus asks every plugin how it is; the host bounds each call.
func (s *Server) pluginStatus(ctx context.Context) []admin.PluginStatus {
	configs, _ := pluginConfigs(s.o.Config)
	out := make([]admin.PluginStatus, len(configs))
	var asked sync.WaitGroup
	for i, c := range configs {
		asked.Go(func() {
			out[i] = admin.PluginStatus{Tenant: c.Tenant, App: c.App, Health: "error"}
			if info, ok := s.plugins.Info(c.Tenant, c.App); ok {
				out[i].Name, out[i].Version, out[i].Digest = info.Name, info.Version, info.Digest
			}
			h, err := s.plugins.Health(ctx, c.Tenant, c.App)
			if err != nil {
				out[i].Message = err.Error()
				return
			}
			out[i].Health, out[i].Message = h.Status, h.Message
		})
	}
	asked.Wait()
	return out
}
