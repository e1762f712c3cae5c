// Package extauthz carries Envoy's external authorization and external processing
// protocols to package authz: translate, call, translate.
//
// Call New, then Register on the gRPC server of the authz listener, then
// SetServing(true) once the rest of the process is ready. Authorization.Check
// answers one request; its answer is always built from a non-zero type, because
// Envoy reads an empty CheckResponse as an allow. ExternalProcessor.Process is the
// leash on open streams (design: edge §3.4): it holds one gRPC stream for each
// request that stays open, and Cut ends those whose user is locked.
package extauthz

import (
	"context"
	"log/slog"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// Decider answers requests; *authz.Authorizer is the real one.
type Decider interface {
	Decide(ctx context.Context, r authz.Request) authz.Decision
	DecideSubject(tenant string, s authz.Subject) bool
}

// Options are the parts and bounds of a Server.
type Options struct {
	Decider Decider // required

	MaxBody       int           // bytes Envoy buffers (with_request_body.max_request_bytes); 0 is 256 KiB
	Timeout       time.Duration // of one Check when Envoy sends no deadline; 0 is 1 s
	MaxStreams    int           // leashed streams in all; 0 is 10,000
	MaxPerSubject int           // leashed streams of one user; 0 is 100
	CutWait       time.Duration // how long Cut waits for ended streams; 0 is 200 ms
	Now           func() time.Time
	Logger        *slog.Logger
	Metrics       prometheus.Registerer
}

// Server implements the two Envoy services and grpc.health.v1.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	extproc.UnimplementedExternalProcessorServer
	o Options
}

// New returns a Server that is not serving yet.
func New(o Options) (*Server, error) { return &Server{o: o}, nil }

// Register adds the services to g.
func (s *Server) Register(g *grpc.Server) {
	authv3.RegisterAuthorizationServer(g, s)
	extproc.RegisterExternalProcessorServer(g, s)
}

// SetServing sets what the health service says.
func (s *Server) SetServing(bool) {}

// Cut ends every leashed stream of tenant whose subject is refused now, and
// returns how many. Call it after the lock is in force.
func (s *Server) Cut(ctx context.Context, tenant string) int { return 0 }

// Drain ends every leash and refuses new ones. Call it last.
func (s *Server) Drain(ctx context.Context) error { return nil }
