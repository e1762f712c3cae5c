package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// openEdge makes what a process without a store has in place of it: locks that a core tells, and users about whom it
// asks a core.
func (s *Server) openEdge(context.Context) error {
	cfg := s.opts.Config
	c := &cfg.Cluster
	conf, err := logTLS(c.TLS)
	if err != nil {
		return err
	}
	s.onClose(closer(paceGC().end))
	s.locks = store.NewLockTable(s.opts.Now)
	s.edge, err = cluster.NewEdge(cluster.EdgeOptions{
		Name: c.Name, Cores: c.Cores, TLS: conf.client, Locks: s.locks,
		Forget: func(ch *store.Change) { s.names.Forget(ch) }, Reset: func() { s.names.Reset() },
		Policies: s.applyPolicies,
		Cut:      func(ctx context.Context, tenant string) { s.cut(ctx, tenant) },
		CutAll:   func(ctx context.Context) { s.authz.CutLocked(ctx) },
		Lost:     func(ctx context.Context) { s.authz.CutAll(ctx) },
		Lease:    s.leaseOptions(),
		Config:   s.parts,
		Version:  s.opts.Version, Logger: s.opts.Logger, Metrics: s.registry,
	})
	if err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	s.right, s.id = s.edge, s.edge.ID()
	s.names = store.NewNameCacheOf(s.edge, s.locks, rememberedNames)
	if s.trail, err = newAppTrail(s.tellCore, s.opts.Now, s.opts.Logger, s.registry); err != nil {
		return err
	}
	s.scim = s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		scimhttp.Misdirected(w, s.elsewhere())
	}))
	return nil
}

// elsewhere says where the SCIM service is.
func (s *Server) elsewhere() string {
	return "this process is an edge and has no SCIM service; its Envoy must send SCIM and token requests to the cores: " +
		strings.Join(s.opts.Config.Cluster.Cores, ", ")
}

// tellCore sends a record for the audit trail to a core.
func (s *Server) tellCore(ctx context.Context, r *appRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing a record for a core: %w", err)
	}
	return s.edge.Note(ctx, r.Tenant, b)
}

// edgeNotes writes the records of edges to the audit trail. Each edge has a rate of its own; one that does not keep it
// must not fill the disks of all cores.
type edgeNotes struct {
	write func(context.Context, *appRecord) error
	rates *limit.Buckets
	now   func() time.Time
}

// Of all edges, for a tenant and core: ten edges that write as much as they may.
const (
	notesRate  = 10 * trailRate
	notesBurst = 10 * trailBurst
)

// note writes a record of an edge. An edge can say only what it sees itself.
func (n *edgeNotes) note(ctx context.Context, b json.RawMessage) error {
	var r appRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%w: %w", cluster.ErrNote, err)
	}
	if !slices.Contains([]string{actionExemptUsed, actionLocalWrite}, r.Cause.Action) || len(b) > maxNote {
		return cluster.ErrNote
	}
	if n.rates.Take(r.Tenant, notesRate, notesBurst, n.now()) > 0 {
		return fmt.Errorf("%w now: edges write more than %d a second of the tenant", cluster.ErrNote, notesRate)
	}
	r.Cause.Actor, r.Cause.Decision = "system", "configuration"
	return n.write(ctx, &r)
}

const maxNote = 16 << 10 // bytes of a record

// openEdgesListener makes the server that edges follow, if this core has one.
func (s *Server) openEdgesListener(ctx context.Context) error {
	e := &s.opts.Config.Cluster.Edges
	if e.Listen == "" {
		return nil
	}
	l, err := listen(ctx, "cluster.edges.listen", e.Listen, modeOwner)
	if err != nil {
		return err
	}
	s.listeners.edges = l
	s.onClose(closeListener(l))
	conf, err := s.certificates.listen(config.ListenerEdges, e.TLS.Files())
	if err != nil {
		return err
	}
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(1 << 20), grpc.MaxConcurrentStreams(1024),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
	}
	if conf != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(conf)))
	}
	s.edges = grpc.NewServer(opts...)
	s.core.Register(s.edges)
	s.onRun("edges listener", func(context.Context) error { return s.edges.Serve(l) })
	return nil
}

// noTokens refuses every token.
type noTokens struct{}

func (noTokens) Verify(context.Context, string) (token.Claims, error) {
	return token.Claims{}, errors.New("this process has no SCIM service")
}

var _ authz.Verifier = noTokens{}
