package sidecar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
)

// connectionAge is when a listener with client certificates asks Envoy to connect again. So a certificate that
// has expired, or an authority that was removed, loses its open connections within this time.
const connectionAge = 10 * time.Minute

// quietFor is how long the log has no second line for the same reason at the same listener.
const quietFor = 10 * time.Second

// The reasons to refuse an Envoy, as log and metric call them.
const (
	refusedNoCertificate = "no_certificate"
	refusedName          = "name"          // no name of the certificate is in client_names or envoys
	refusedExpired       = "expired"       // or not valid yet
	refusedAuthority     = "authority"     // no authority of client_ca issued it
	refusedUsage         = "usage"         // a certificate that is not for clients
	refusedByPeer        = "by_peer"       // Envoy refused the certificate of the listener
	refusedNoTLS         = "no_tls"        // something else than TLS came
	refusedClosed        = "closed"        // the connection ended first, as a port scan or a probe does
	refusedOther         = "other"         // such as no common version of TLS
	refusedNotPermitted  = "not_permitted" // a request about a tenant or an app that is not the Envoy's
)

// peerError refuses a verified certificate, or the lack of one.
type peerError struct {
	reason string
	names  []string // that the authority vouches for
}

func (e *peerError) Error() string {
	if e.reason == refusedNoCertificate {
		return "the client has no certificate"
	}
	return fmt.Sprintf("none of the names %q is in client_names or envoys", e.names)
}

// refusals counts and logs refused Envoys.
type refusals struct {
	logger *slog.Logger
	now    func() time.Time
	total  *prometheus.CounterVec

	mu    sync.Mutex
	quiet map[[2]string]*quiet // by listener and reason
}

// quiet is until when a reason is not logged again, and how often it came meanwhile.
type quiet struct {
	until   time.Time
	skipped int
}

func newRefusals(r prometheus.Registerer, logger *slog.Logger, now func() time.Time) *refusals {
	f := &refusals{logger: logger, now: now, quiet: map[[2]string]*quiet{}, total: prometheus.NewCounterVec(
		prometheus.CounterOpts{
			Name: "scimward_envoy_refused_total",
			Help: "Connections and requests of Envoys that a listener refused because of their certificate, by listener " +
				"(authz, scim) and reason.",
		}, []string{"listener", "reason"})}
	r.MustRegister(f.total)
	return f
}

// handshake notes a failed handshake.
func (f *refusals) handshake(listener string, from net.Addr, err error) {
	reason, attrs := reasonOf(err), []slog.Attr{slog.String("error", clip(err.Error()))}
	if p := (*peerError)(nil); errors.As(err, &p) && len(p.names) > 0 {
		attrs = append(attrs, slog.String("names", clip(strings.Join(p.names, ", "))))
	}
	if v := (*tls.CertificateVerificationError)(nil); errors.As(err, &v) && len(v.UnverifiedCertificates) > 0 {
		// The names of such a certificate are whatever its maker wrote.
		attrs = append(attrs, slog.String("serial", clip(v.UnverifiedCertificates[0].SerialNumber.Text(16))))
	}
	f.note(context.Background(), listener, reason, from.String(), attrs...)
}

// note counts one refusal, and logs it unless the same reason was logged a moment ago.
func (f *refusals) note(ctx context.Context, listener, reason, from string, attrs ...slog.Attr) {
	f.total.WithLabelValues(listener, reason).Inc()
	now, key := f.now(), [2]string{listener, reason}
	f.mu.Lock()
	q := f.quiet[key]
	if q == nil {
		q = &quiet{}
		f.quiet[key] = q
	}
	if now.Before(q.until) {
		q.skipped++
		f.mu.Unlock()
		return
	}
	skipped := q.skipped
	*q = quiet{until: now.Add(quietFor)}
	f.mu.Unlock()
	level := slog.LevelWarn
	if reason == refusedClosed {
		level = slog.LevelDebug
	}
	f.logger.LogAttrs(ctx, level, "refused an Envoy", append([]slog.Attr{
		slog.String("listener", listener), slog.String("reason", reason), slog.String("address", from),
		slog.Int("not_logged", skipped),
	}, attrs...)...)
}

// clip bounds what a stranger can write into a log line.
func clip(s string) string { return s[:min(len(s), 256)] }

// reasonOf classifies the error of a handshake.
func reasonOf(err error) string {
	var (
		peer      *peerError
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		header    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &peer):
		return peer.reason
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refusedExpired
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return refusedUsage
	case errors.As(err, &authority), errors.As(err, &invalid):
		return refusedAuthority
	case errors.As(err, &header):
		return refusedNoTLS
	case errors.As(err, &op) && op.Op == "remote error":
		return refusedByPeer
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return refusedClosed
	}
	return refusedOther
}

// admitOnly completes the configuration of a listener with client certificates: it admits the Envoys of
// client_names and envoys, and nobody else.
func admitOnly(c *tls.Config, listener string, peers func() *config.Peers) {
	// VerifyConnection refuses a client without a certificate, which no other error tells apart.
	c.ClientAuth = tls.VerifyClientCertIfGiven
	c.SessionTicketsDisabled = true // each connection is judged by the authorities of the moment
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
			return &peerError{reason: refusedNoCertificate}
		}
		if leaf := s.PeerCertificates[0]; !peers().Admits(listener, leaf) {
			return &peerError{refusedName, machineNames(leaf)}
		}
		return nil
	}
}

// machineNames returns the names of a certificate without those that could name a person.
func machineNames(cert *x509.Certificate) []string {
	var out []string
	for _, name := range config.PeerNames(cert) {
		if !strings.Contains(name, "@") {
			out = append(out, name)
		}
	}
	return out
}

// permit refuses an Envoy that asks about a tenant or app that is not its own. It judges every request, so
// that a name that is removed loses its open connections too.
func (s *Server) permit(ctx context.Context, tenant, app string) error {
	if s.opts.Config.Listen.AuthzTLS.ClientCA == "" {
		return nil
	}
	var state tls.ConnectionState
	from := ""
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			state = info.State
		}
	}
	return s.permitPeer(ctx, config.ListenerAuthz, from, &state, tenant, app)
}

func (s *Server) permitPeer(
	ctx context.Context, listener, from string, state *tls.ConnectionState, tenant, app string,
) error {
	var names []string
	if state != nil && len(state.VerifiedChains) > 0 {
		leaf := state.PeerCertificates[0]
		if s.now().peers.May(listener, leaf, tenant, app) {
			return nil
		}
		names = machineNames(leaf)
	}
	s.refusals.note(ctx, listener, refusedNotPermitted, from,
		slog.String("names", clip(strings.Join(names, ", "))),
		slog.String("tenant", clip(tenant)), slog.String("app", clip(app)))
	return fmt.Errorf("the Envoy with the names %q may not ask: list one in envoys of the app or tenant", names)
}

// watchedCredentials notes the handshakes that fail at the gRPC listener.
type watchedCredentials struct {
	credentials.TransportCredentials
	failed func(from net.Addr, err error)
}

func (w watchedCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ServerHandshake(c)
	if err != nil {
		w.failed(c.RemoteAddr(), err)
	}
	return conn, info, err
}

func (w watchedCredentials) Clone() credentials.TransportCredentials {
	return watchedCredentials{w.TransportCredentials.Clone(), w.failed}
}

// watchHandshakes notes the handshakes that fail at an HTTP server.
func (f *refusals) watchHandshakes(srv *http.Server, listener string) {
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if t, ok := c.(*tls.Conn); ok && state == http.StateClosed {
			if err := t.HandshakeContext(context.Background()); err != nil { // the error that it ended with
				f.handshake(listener, c.RemoteAddr(), err)
			}
		}
	}
	srv.ErrorLog = slog.NewLogLogger(withoutHandshakes{f.logger.Handler()}, slog.LevelWarn)
}

// withoutHandshakes drops what net/http logs about failed handshakes.
type withoutHandshakes struct{ slog.Handler }

func (w withoutHandshakes) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http: TLS handshake error") {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

// connected is the key of the time when a connection began.
type connected struct{}

// ofPermitted serves only the tenants that are the Envoy's, and ends connections that are too old.
func (s *Server) ofPermitted(srv *http.Server) {
	if s.opts.Config.Listen.SCIMTLS.ClientCA == "" {
		return
	}
	srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connected{}, s.opts.Now())
	}
	next := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if began, ok := r.Context().Value(connected{}).(time.Time); ok && s.opts.Now().Sub(began) > connectionAge {
			w.Header().Set("Connection", "close")
		}
		tenant, ok := s.tenantOf(r)
		if ok && s.permitPeer(r.Context(), config.ListenerSCIM, r.RemoteAddr, r.TLS, tenant, "") != nil {
			scimhttp.Unavailable(w, "the proxy may not forward requests of this tenant")
			return
		}
		next.ServeHTTP(w, r) // it answers 404 for another host
	})
}
