package sidecar

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/passes"
)

// activate puts what the bundles say in force: the rules for SCIM requests and the routes for those of applications.
// Open streams of a route that is denied now end.
func (s *Server) activate(of bundles.InForce) {
	cfg := s.now().config
	extra := map[string]map[string][]authz.LocalWrite{}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		if w := of.LocalWrites[t.Name]; len(w) > 0 {
			extra[t.Name], _ = extraWrites(t, w)
		}
	}
	s.extra.Set(extra)
	s.policy.SetRules(of.Rules)
	if s.authz != nil { // it is nil while the process starts
		s.authz.CutDenied(context.Background())
	}
}

// judgeWrites says which local writes of a bundle do not fit the configuration in force.
func (s *Server) judgeWrites(tenant string, of policies.LocalWrites) (faults []string) {
	if len(of) == 0 {
		return nil
	}
	cfg := s.now().config
	for i := range cfg.Tenants {
		if t := &cfg.Tenants[i]; t.Name == tenant {
			_, faults = extraWrites(t, of)
		}
	}
	return faults
}

// withheld reports whether Envoy withholds what an entry is judged by.
func withheld(a *config.App, w *authz.LocalWrite) bool {
	if len(w.Fields)+len(w.Operations) == 0 {
		return false
	}
	return !slices.Contains(a.BodyPaths(), w.Path) || len(w.Fields) > 0 && !slices.Contains(a.Passes(), passes.AllHeaders)
}

// extraWrites returns the routes of a bundle for each app of the tenant, and what does not fit. They apply to all
// apps of the tenant with one upstream, because each of their hosts leads there. Where Envoy withholds what a
// route is judged by, the whole route is denied.
func extraWrites(t *config.Tenant, of policies.LocalWrites) (out map[string][]authz.LocalWrite, faults []string) {
	out = map[string][]authz.LocalWrite{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		apps := t.SameApplication(name)
		if len(apps) == 0 {
			faults = append(faults, fmt.Sprintf("local_writes of app %q: tenant %s has no such app: write the name of one",
				name, t.Name))
		}
		for _, a := range apps {
			for i := range of[name] {
				from := &of[name][i]
				w := authz.LocalWrite{
					Path: from.Path, Methods: from.Methods, Fields: from.Fields, Operations: from.Operations,
				}
				if withheld(a, &w) {
					w.Fields, w.Operations = nil, nil
					faults = append(faults, fmt.Sprintf("local_writes %s of app %s: Envoy withholds the body of this path, or "+
						"headers, so the whole route would be denied: leave fields and operations out, or list the path with one "+
						"in local_writes of the app and update Envoy", w.Path, a.Name))
				}
				out[a.Name] = append(out[a.Name], w)
			}
		}
	}
	return out, faults
}
