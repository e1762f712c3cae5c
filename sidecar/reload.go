package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
)

// reloads is the state of the configuration file, for operators.
type reloads struct {
	running sync.Mutex // held during a reload

	mu    sync.Mutex // guards state
	state admin.ConfigStatus

	total *prometheus.CounterVec
	good  prometheus.Gauge
}

func newReloads(r prometheus.Registerer, now time.Time) *reloads {
	l := &reloads{
		state: admin.ConfigStatus{Loaded: now},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_config_reloads_total", Help: "Reloads of the configuration by outcome: applied or refused.",
		}, []string{"outcome"}),
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "scimward_config_last_reload_successful",
			Help: "1 if the last reload of the configuration was applied, 0 if it was refused.",
		}),
	}
	l.total.WithLabelValues("applied")
	l.total.WithLabelValues("refused")
	l.good.Set(1)
	r.MustRegister(l.total, l.good)
	return l
}

func (l *reloads) status() admin.ConfigStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// note records the outcome of a reload.
func (l *reloads) note(at time.Time, kept []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.total.WithLabelValues("refused").Inc()
		l.good.Set(0)
		l.state.Fault, l.state.FaultSince = err.Error(), at
		return
	}
	l.total.WithLabelValues("applied").Inc()
	l.good.Set(1)
	l.state = admin.ConfigStatus{Loaded: at, NeedsRestart: kept}
}

// noteClients records whether the clients of the store are in force at the authorization server.
func (l *reloads) noteClients(at time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.state.ClientsFault, l.state.ClientsFaultSince = "", time.Time{}
	case l.state.ClientsFault == "":
		l.state.ClientsFaultSince = at
		fallthrough
	default:
		l.state.ClientsFault = err.Error()
	}
}

// Reload loads the configuration again ([Options.Load]) and puts it in force: tenants, apps, subjects,
// grants, limits, keys and certificates. Requests that have begun finish with the former configuration.
// After an error everything stays as it was, and status shows the error. Keys that need a restart keep
// their values, and status names them.
func (s *Server) Reload(ctx context.Context) error {
	s.reloads.running.Lock()
	defer s.reloads.running.Unlock()
	at := s.opts.Now()
	kept, err := s.reload(ctx)
	s.reloads.note(at, kept, err)
	if err != nil {
		s.opts.Logger.LogAttrs(ctx, slog.LevelError, "configuration refused: the former one stays in force",
			slog.String("error", err.Error()))
		return err
	}
	level := slog.LevelInfo
	if len(kept) > 0 {
		level = slog.LevelWarn
	}
	s.opts.Logger.LogAttrs(ctx, level, "configuration reloaded", slog.String("needs_restart", strings.Join(kept, ", ")))
	return nil
}

// updateEnvoyFirst refuses a configuration that needs more of a connected Envoy than it passes on. In
// force, it would answer every request of the app with 503.
func updateEnvoyFirst(lacking []admin.OutdatedEnvoy) error {
	var errs []error
	for _, e := range lacking {
		errs = append(errs, fmt.Errorf("update Envoy first: the one at %s passes no %s to app %s of tenant %s; %s",
			cmp.Or(e.Address, "its listener"), strings.Join(e.Missing, ", "), e.App, e.Tenant, e.Fix))
	}
	return errors.Join(errs...)
}

func (s *Server) reload(ctx context.Context) (kept []string, err error) {
	if s.opts.Load == nil {
		return nil, errors.New("this process has no configuration file to load again")
	}
	cfg, err := s.opts.Load()
	if err != nil {
		return nil, err
	}
	kept = config.KeepUntilRestart(s.now().config, cfg)
	if lacking := s.envoysLacking(cfg); len(lacking) > 0 {
		return nil, updateEnvoyFirst(lacking)
	}
	n, err := s.prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := n.plugins.Err; err != nil {
		n.discard()
		return nil, fmt.Errorf("loading the plugins: %w", err)
	}
	if err := s.certificates.read(cfg); err != nil {
		n.discard()
		return nil, err
	}
	if err := n.ready(ctx); err != nil { // readiness says so until the keys arrive
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "some keys are missing after the reload",
			slog.String("error", err.Error()))
	}
	former := s.tenantNames()
	n.apply(ctx)
	s.trail.auditConfigured(ctx, cfg)
	for _, tenant := range former {
		s.authz.Cut(ctx, tenant) // an open stream ends if the new configuration does not allow it
	}
	s.authz.CutDenied(ctx)
	return kept, nil
}
