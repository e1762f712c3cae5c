// Package extauthz translates Envoy's external authorization and external processing
// protocols to package authz and back. It decides nothing.
//
// Call New, serve what NewGRPC returns on the authz listener, then SetServing(true)
// once the rest of the process is ready. To stop, call StopServing, then Drain, then
// stop the gRPC server, then Wait. Leashes live as long as their requests, so a gRPC server
// that stops before Drain would wait for them.
//
// What it promises: an answer starts as a denial, because Envoy reads an empty
// CheckResponse as an allow. A panic, a fault and a missed deadline get 503, never 403. No
// token, body, e-mail address or query reaches a log line or a metric. When Cut returns,
// the streams of the locked user have ended, or their calls have the signal to end.
package extauthz

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// Decider decides requests. *authz.Authorizer implements it.
type Decider interface {
	Decide(ctx context.Context, r request.Request) authz.Decision
	// DecideSubject reports whether a stream of c at an application may go on.
	DecideSubject(ctx context.Context, tenant, app string, c *authz.Caller) bool
	// DecideRoute reports whether the application takes the request of a stream of c.
	DecideRoute(r request.Request, c *authz.Caller) bool
}

// Options are the parts and bounds of a Server.
type Options struct {
	Decider Decider // required
	// Tenants are the first argument of [Server.SetTenants].
	Tenants []string

	MaxBody       int           // bytes Envoy buffers (with_request_body.max_request_bytes); 0 is 256 KiB
	Timeout       time.Duration // bound of one Check, with or without a deadline of Envoy's; 0 is 1 s
	MaxStreams    int           // leashed streams in all; 0 is 10,000
	MaxPerSubject int           // leashed streams of one user; 0 is 100
	CutWait       time.Duration // how long Cut waits for its streams to end; 0 is 200 ms
	// Refused records a refused SCIM request of a known client in the audit trail: Envoy
	// answers such a request itself, so it never reaches the SCIM handler. Refused reads the body to see
	// what was refused. The answer waits for Refused, RefusedWait at most. Nil records nothing.
	Refused     func(ctx context.Context, r request.Request, d authz.Decision)
	RefusedWait time.Duration // 0 is 250 ms, and never more than a quarter of Timeout
	// Judged counts the deviations and the violated rules of a SCIM request that is refused here. The service
	// behind Envoy counts those of the others. Nil counts nothing.
	Judged func(d *authz.Decision)
	// Used counts each SCIM request that is refused here; the service behind Envoy counts the others. Nil
	// counts nothing.
	Used func(client.Use)
	// Permit returns an error if who sent a call may not ask about an app of a tenant, or without an app about
	// the tenant's SCIM. The request then gets 503, and the error is for the log. Nil permits every caller.
	Permit func(ctx context.Context, tenant, app string) error
	// Lease returns the lease of this process. It is taken before a request is decided on, so that the decision knows
	// every lock that others may have answered before the lease ends. Nil means that the process is alone.
	Lease func() lease.Lease
	// MayDecide reports whether this process may let a request of an app pass that was decided on under a lease. It is
	// asked after everything else, for each allow; without the right the request gets 503. app is empty for SCIM
	// and for what may stay open, which no app may begin without a lease. Nil means that it always may.
	MayDecide func(under lease.Lease, tenant, app string) bool
	// Decided records a decision. Nil records nothing.
	Decided func(*authz.Answered)
	// Hit counts one request that a lock refused. Nil counts nothing.
	Hit     func(tenant, app string, l *authz.Lock)
	Now     func() time.Time
	Logger  *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nothing
}

func (o *Options) defaults() {
	if o.MaxBody == 0 {
		o.MaxBody = 256 << 10
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = 10_000
	}
	if o.MaxPerSubject == 0 {
		o.MaxPerSubject = 100
	}
	if o.CutWait == 0 {
		o.CutWait = 200 * time.Millisecond
	}
	if o.RefusedWait == 0 {
		o.RefusedWait = 250 * time.Millisecond
	}
	o.RefusedWait = min(o.RefusedWait, o.Timeout/4)
	if o.Hit == nil {
		o.Hit = func(string, string, *authz.Lock) {}
	}
	if o.Judged == nil {
		o.Judged = func(*authz.Decision) {}
	}
	if o.Used == nil {
		o.Used = func(client.Use) {}
	}
	if o.Decided == nil {
		o.Decided = func(*authz.Answered) {}
	}
	if o.Lease == nil {
		o.Lease = func() lease.Lease { return lease.Lease{} }
	}
	if o.MayDecide == nil {
		o.MayDecide = func(lease.Lease, string, string) bool { return true }
	}
	if o.Permit == nil {
		o.Permit = func(context.Context, string, string) error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server implements the two Envoy services and grpc.health.v1 (with Watch).
type Server struct {
	extproc.UnimplementedExternalProcessorServer

	o       Options
	metrics *metrics
	health  *health.Server
	leashes *leashes
	readers sync.WaitGroup // one per leashed stream; each ends with its call
	refused sync.WaitGroup // calls of Options.Refused; one may outlast its answer
}

// New returns a Server that is not serving yet. It fails when the decider is missing or a
// metric is registered twice.
func New(o Options) (*Server, error) {
	if o.Decider == nil {
		return nil, errors.New("extauthz: Options.Decider is missing")
	}
	o.defaults()
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, metrics: m, health: health.NewServer(), leashes: newLeashes(o.MaxStreams, o.MaxPerSubject)}
	s.SetServing(false)
	s.SetTenants(o.Tenants)
	return s, nil
}

// SetTenants sets the configured tenants, the values of the metrics' label tenant. A request for
// another one counts under "".
func (s *Server) SetTenants(names []string) { s.metrics.setTenants(names) }

// SetServing sets the health of the whole and of each service.
func (s *Server) SetServing(up bool) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if up {
		status = healthpb.HealthCheckResponse_SERVING
	}
	for _, name := range []string{
		"", authv3.Authorization_ServiceDesc.ServiceName, extproc.ExternalProcessor_ServiceDesc.ServiceName,
	} {
		s.health.SetServingStatus(name, status)
	}
}

// StopServing sets the health of every service to not serving, for good.
func (s *Server) StopServing() { s.health.Shutdown() }

// check answers one request as [decode] left it.
func (s *Server) check(ctx context.Context, r *request.Request) reply {
	began := s.o.Now()
	wait := authz.NewPatience(ctx, s.o.Timeout)
	defer wait.End()
	complete(r, s.o.MaxBody)
	r.Received = began
	d := s.decide(wait, *r) //nolint:contextcheck // it is from ctx
	out := respond(&d, acceptsJSON(r.Headers))
	s.auditRefusal(ctx, r, &d)
	s.record(ctx, r, &d, s.o.Now().Sub(began))
	return out
}

// auditRefusal calls Options.Refused and waits a bounded time for it. So the record is
// normally durable before the client has its answer, and a slow disk never turns a clear
// refusal into a timeout.
func (s *Server) auditRefusal(ctx context.Context, r *request.Request, d *authz.Decision) {
	if s.o.Refused == nil || d.Allowed() || r.Surface != request.SurfaceSCIM || d.Claims.ClientID == "" {
		return
	}
	recorded := make(chan struct{})
	ctx = context.WithoutCancel(ctx)
	request, decision := *r, *d
	s.refused.Go(func() {
		defer close(recorded)
		s.o.Refused(ctx, request, decision)
	})
	wait := time.NewTimer(s.o.RefusedWait)
	defer wait.Stop()
	select {
	case <-recorded:
	case <-wait.C:
	}
}

// decide calls the decider. A panic is a fault, and so is an allow after the deadline. It
// returns an allow or a complete refusal.
func (s *Server) decide(ctx context.Context, r request.Request) (d authz.Decision) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Logger.LogAttrs(ctx, slog.LevelError, "decider panicked",
				slog.String("request_id", r.ID), slog.Any("panic", panicKind(p)))
			d = faulty(&r, reasonPanic)
		}
	}()
	app := r.App
	if r.Surface != request.SurfaceApp {
		app = "" // an Envoy of one app must not name it to ask about SCIM
	}
	if err := s.o.Permit(ctx, r.Tenant, app); err != nil {
		d = faulty(&r, reasonEnvoy)
		d.Cause = err
		return d
	}
	under := s.o.Lease()
	d = s.o.Decider.Decide(ctx, r)
	fault := ""
	switch {
	case !d.Allowed():
	case ctx.Err() != nil:
		fault = authz.ReasonDeadline
	case !s.o.MayDecide(under, r.Tenant, app):
		fault = reasonLease
	}
	if fault != "" {
		claims := d.Claims // who asked is known, and the refusal is recorded
		d = faulty(&r, fault)
		d.Claims = claims
	}
	if !d.Allowed() {
		d = d.Refusal()
	}
	return d
}

const (
	reasonPanic = "panic"
	reasonLease = "no_lease"            // this process may not decide: it may not know the newest locks
	reasonEnvoy = "envoy_not_permitted" // the certificate of the Envoy is for another app or tenant
)

func faulty(r *request.Request, reason string) authz.Decision {
	return authz.Decision{ID: r.ID, Surface: r.Surface, Tenant: r.Tenant, App: r.App, Reason: reason}.Refusal()
}

// panicKind describes a panic without its text, which might contain parts of the request.
func panicKind(p any) string {
	if err, ok := p.(interface{ RuntimeError() }); ok {
		if e, ok := err.(error); ok {
			return e.Error()
		}
	}
	return "not a runtime error"
}

// record writes the one log event and the metrics of a request, even when the client has
// disconnected.
func (s *Server) record(ctx context.Context, r *request.Request, d *authz.Decision, took time.Duration) {
	outcome := outcomeOf(d)
	s.metrics.decisions.WithLabelValues(
		s.metrics.tenant(d.Tenant), surfaceLabel(r.Surface), outcome, d.Reason).Observe(took.Seconds())
	if d.Unprovisioned != "" { // only of a configured application
		s.metrics.unprovisioned.WithLabelValues(s.metrics.tenant(d.Tenant), d.App, string(d.Unprovisioned)).Inc()
	}
	if d.Lock != nil {
		s.metrics.usedLocks.WithLabelValues(s.metrics.tenant(d.Tenant), d.App, d.Lock.State).Inc()
		s.o.Hit(d.Tenant, d.App, d.Lock)
	}
	if !d.Allowed() && d.Surface == request.SurfaceSCIM { // the SCIM handler counts the requests that reach it
		s.o.Used(client.Use{Tenant: d.Tenant, Claims: &d.Claims, Token: d.Token, Status: d.Status, Reason: d.Reason})
		s.o.Judged(d)
	}
	s.o.Decided(&authz.Answered{
		Request: r, Decision: d, Refused: !d.Allowed(), Status: d.Status, Reason: d.Reason, Route: d.Route,
		Resource: d.Target, Decided: took, Took: took,
	})
	if !s.o.Logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("surface", surfaceLabel(r.Surface)), slog.String("outcome", outcome), slog.String("reason", d.Reason),
		slog.String("method", clip(r.Method)), slog.String("request_id", r.ID), slog.String("tenant", d.Tenant),
		slog.Duration("took", took))
	for _, a := range []struct{ k, v string }{
		{"app", d.App},
		{"client", d.Claims.ClientID},
		{"user_id", cmp.Or(d.Caller.SCIMID, d.Caller.UserID)},
		{"app_user_id", d.Caller.AppUserID},
		{"source", d.Caller.Source},
		{"unprovisioned", string(d.Unprovisioned)},
		{"policy", d.Policy},
	} {
		if a.v != "" {
			attrs = append(attrs, slog.String(a.k, clip(a.v)))
		}
	}
	if d.Token != nil {
		attrs = append(attrs, d.Token.Attrs()...)
	}
	if d.Cause != nil {
		attrs = append(attrs, slog.String("cause", clipTo(d.Cause.Error(), 512)))
	}
	if d.SCIM != nil {
		attrs = append(attrs, slog.String("route", d.SCIM.Route))
	}
	attrs = append(attrs, lockAttrs(d)...)
	if len(d.Deviations) > 0 {
		attrs = append(attrs, slog.Any("deviations", d.Deviations))
	}
	if !d.Allowed() {
		attrs = append(attrs, slog.Int("status", d.Status))
	}
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "check", attrs...)
}

// lockAttrs names the lock that denied the request: somebody used a credential after it was revoked.
func lockAttrs(d *authz.Decision) []slog.Attr {
	l := d.Lock
	if l == nil {
		return nil
	}
	attrs := []slog.Attr{slog.Bool("use_after_revoke", true), slog.String("lock_kind", l.State)}
	if l.Operator != "" {
		attrs = append(attrs, slog.String("lock", l.Operator))
	} else {
		attrs = append(attrs, slog.Uint64("lock_epoch", l.Epoch))
	}
	if d.Caller.SCIMID == "" && d.Caller.UserID == "" && l.UserID != "" {
		attrs = append(attrs, slog.String("user_id", l.UserID))
	}
	return attrs
}

// clip bounds the bytes that a client can write into a log line.
func clip(s string) string { return clipTo(s, 128) }

func clipTo(s string, n int) string { return s[:min(len(s), n)] }

// Wait returns when every call of Options.Refused has returned. Call it after the gRPC
// server has stopped.
func (s *Server) Wait() { s.refused.Wait() }
