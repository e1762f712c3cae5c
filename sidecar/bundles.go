package sidecar

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/internal/recent"
	"github.com/scimward/scimward/store"
)

// openRecent counts the recent changes of tenants, for their rules.
func (s *Server) openRecent(ctx context.Context) {
	s.recent = recent.New(s.opts.Now)
	s.onClose(closer(s.store.Watch(s.recent.Apply)))
	s.loadRecent(ctx)
}

// loadRecent reads the last hour of the tenants that were not there before.
func (s *Server) loadRecent(ctx context.Context) {
	if err := s.recent.Load(ctx, s.store, s.tenantNames()); err != nil {
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn,
			"the recent changes before the start are not counted; rules see counts.complete false until an hour after it",
			slog.String("error", err.Error()))
	}
}

// openBundles loads the kept bundles of all tenants and puts them in force.
func (s *Server) openBundles(ctx context.Context) error {
	tenants, err := bundleTenants(s.opts.Config)
	if err != nil {
		return err
	}
	s.bundles = bundles.New(bundles.Options{
		Bytes: s.policyBundle, Activate: s.activate,
		Judge: s.judgeWrites, Record: s.recordFetched, Now: s.opts.Now, Logger: s.opts.Logger,
		Compiler: s.opts.Compiler,
		Last: func(ctx context.Context, tenant string) (bundles.Entry, error) {
			if s.store == nil { // an edge has no audit trail, and applies no change that its rules could judge
				return bundles.Entry{}, nil
			}
			return admin.LastPolicy(ctx, s.store, tenant)
		},
	})
	s.registry.MustRegister(s.bundles.Metrics())
	s.onClose(closer(s.bundles.Close))
	if s.store != nil {
		stop, err := admin.FollowPolicies(ctx, s.store, s.bundles)
		s.onClose(closer(stop))
		if err != nil {
			return fmt.Errorf("reading the policy bundles of the store: %w", err)
		}
		s.bundles.TakeOver(ctx, filepath.Join(s.opts.Config.DataDir, "bundles"), tenants, s.recordTakenOver)
	}
	s.bundles.SetTenants(ctx, tenants)
	return nil
}

// policyBundle returns a kept bundle.
func (s *Server) policyBundle(ctx context.Context, tenant, sum string) ([]byte, error) {
	if s.store == nil {
		return s.edge.PolicyBundle(ctx, tenant, sum)
	}
	return admin.PolicyBundle(ctx, s.store, tenant, sum)
}

// policies returns the bundles of all tenants for an edge.
func (s *Server) policies() []store.Change {
	all := s.bundles.Documents()
	out := make([]store.Change, 0, len(all))
	for _, d := range all {
		at := store.Seq(d.Version)
		out = append(out, store.Change{
			Seq: at, Tenant: d.Tenant, Type: store.ChangePolicy, Policy: &store.Policy{Document: d.Content, Version: at},
		})
	}
	return out
}

// applyPolicies takes over bundles that a core tells an edge. All says that they are those of all tenants.
func (s *Server) applyPolicies(changes []store.Change, all bool) {
	var docs []bundles.Document
	for i := range changes {
		if d, ok := admin.PolicyDocument(&changes[i]); ok {
			docs = append(docs, d)
		}
	}
	if all {
		s.bundles.Replace(docs)
		return
	}
	for _, d := range docs {
		s.bundles.Apply(d)
	}
}

// recordTakenOver writes a bundle that a former version kept in a folder.
func (s *Server) recordTakenOver(ctx context.Context, tenant string, c bundles.Change) error {
	cause := store.Cause{Actor: "system", RequestID: rand.Text(), Action: admin.PolicyTakenOver, Decision: "configuration"}
	return admin.RecordPolicy(ctx, s.store, tenant, cause, c)
}

// recordFetched writes a bundle that a source brings to the audit trail.
func (s *Server) recordFetched(ctx context.Context, tenant string, c bundles.Change) error {
	cause := store.Cause{Actor: "system", RequestID: rand.Text(), Action: admin.PolicyFetched, Decision: "configuration"}
	return admin.RecordPolicy(ctx, s.store, tenant, cause, c)
}

// bundleTenants lists the tenants with a policy of their own. It reads the keys.
func bundleTenants(cfg *config.Config) ([]bundles.Tenant, error) {
	var out []bundles.Tenant
	for i := range cfg.Tenants {
		p := cfg.Tenants[i].Policy
		if p == nil {
			continue
		}
		t := bundles.Tenant{
			Name: cfg.Tenants[i].Name, Required: p.Required, Every: p.Poll,
			Trust: bundle.Trust{Unsigned: p.Unsigned == "allow"},
		}
		for _, k := range p.Keys {
			pem, err := os.ReadFile(k.File)
			if err != nil {
				return nil, fmt.Errorf("reading the bundle key %s of tenant %s: %w", k.ID, t.Name, err)
			}
			t.Trust.Keys = append(t.Trust.Keys, bundle.Key{ID: k.ID, Algorithm: k.Algorithm, PEM: string(pem)})
		}
		var err error
		if t.Source, err = bundleSource(p); err != nil {
			return nil, fmt.Errorf("tenant %s: %w", t.Name, err)
		}
		if cfg.Cluster.IsEdge() {
			t.Source = nil // it gets what the cores have in force
		}
		out = append(out, t)
	}
	return out, nil
}

// bundleSource returns the place of a tenant's bundles, nil without one.
func bundleSource(p *config.Policy) (bundles.Source, error) {
	remote := bundles.Remote{TokenFile: p.TokenFile}
	if p.CAFile != "" {
		pem, err := os.ReadFile(p.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities of its bundle server: %w", err)
		}
		remote.CA = string(pem)
	}
	switch {
	case p.Dir != "":
		return bundles.Dir(p.Dir), nil
	case p.File != "":
		return bundles.File(p.File), nil
	case p.URL != "":
		return bundles.HTTP{URL: p.URL, Remote: remote, Wait: p.Poll}, nil
	case p.OCI != "":
		return bundles.OCI{Reference: p.OCI, Remote: remote}, nil
	}
	return nil, nil
}
