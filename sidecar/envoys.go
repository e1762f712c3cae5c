package sidecar

import (
	"context"
	"log/slog"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/passes"
)

// logOutdated says once that an Envoy has an older configuration than scimward.
func (s *Server) logOutdated(e passes.Envoy) {
	s.opts.Logger.LogAttrs(context.Background(), slog.LevelError,
		"Envoy's configuration is older than scimward's: every request of the app gets 503 until Envoy has a new one",
		slog.String("tenant", e.Tenant), slog.String("app", e.App.App), slog.String("envoy", e.Address),
		slog.Any("missing", e.Missing), slog.String("fix", admin.UpdateEnvoy))
}

// outdatedEnvoys lists the connected Envoys whose configuration lacks something.
func (s *Server) outdatedEnvoys() []admin.OutdatedEnvoy {
	var out []admin.OutdatedEnvoy
	for _, e := range s.envoys.Connected(s.opts.Now()) {
		if len(e.Missing) > 0 {
			out = append(out, outdatedEnvoy(e))
		}
	}
	return out
}

// unawareEnvoys lists the connected Envoys whose configuration lacks hosts.
func (s *Server) unawareEnvoys() []admin.UnawareEnvoy {
	var out []admin.UnawareEnvoy
	for _, e := range s.envoys.Unaware(s.opts.Now()) {
		out = append(out, admin.UnawareEnvoy{Address: e.Address, Seen: e.Seen, Hosts: e.Missing, Fix: admin.UpdateEnvoy})
	}
	return out
}

func outdatedEnvoy(e passes.Envoy) admin.OutdatedEnvoy {
	return admin.OutdatedEnvoy{
		Tenant: e.Tenant, App: e.App.App, Address: e.Address, Seen: e.Seen, Missing: e.Missing, Fix: admin.UpdateEnvoy,
	}
}

// envoysLacking lists the connected Envoys that lack what a new configuration needs of them. While
// there is one, the new configuration must not come into force.
func (s *Server) envoysLacking(cfg *config.Config) []admin.OutdatedEnvoy {
	needs, upstreams := map[passes.App]*passes.Need{}, cfg.Upstreams()
	for t, a := range cfg.AllApps() {
		needs[passes.App{Tenant: t.Name, App: a.Name}] = &passes.Need{List: a.Passes(), Upstreams: upstreams}
	}
	var out []admin.OutdatedEnvoy
	for _, e := range s.envoys.Lacking(func(app passes.App) *passes.Need { return needs[app] }, s.opts.Now()) {
		out = append(out, outdatedEnvoy(e))
	}
	return out
}
