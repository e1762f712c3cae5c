package sidecar

import (
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/passes"
)

// credentialReport lists the names that look like credentials of an application and that no subject
// reads. ok is false for an application that does not exist.
func (s *Server) credentialReport(tenant, name string) (out admin.CredentialReport, ok bool) {
	now := s.opts.Now()
	for t, a := range s.now().config.AllApps() {
		if t.Name != tenant || a.Name != name {
			continue
		}
		out = admin.CredentialReport{Tenant: tenant, App: name, Headers: a.Discovers(now), Until: a.DiscoverUntil}
		app := passes.App{Tenant: tenant, App: name}
		for _, e := range s.envoys.Connected(now) {
			if e.App == app && !passes.DeclaresAllHeaders(e.Declared) {
				out.Headers = false
			}
		}
		out.Names, out.More = s.suspects.Of(app)
		return out, true
	}
	return out, false
}
