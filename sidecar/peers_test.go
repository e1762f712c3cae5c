package sidecar_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/ca"
)

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// mutual is a server whose listeners for Envoy want certificates of an authority.
type mutual struct {
	*running
	t         *testing.T
	authority *ca.Authority
	roots     *x509.CertPool
	log       logBuffer
	text      string
}

const twoTenants = `version: 1
drain: 3m
listen:
  authz: 127.0.0.1:0
  authz_tls: {cert: s.crt, key: s.key, client_ca: ca/ca.crt, client_names: [all.example]}
  scim: 127.0.0.1:0
  scim_tls: {cert: s.crt, key: s.key, client_ca: ca/ca.crt, client_names: [all.example]}
  metrics: 127.0.0.1:0
tenants:
  - name: acme
    external_url: https://app.example.com
    envoys: [tenant.example]
    identity_services:
      - client_id: idp
        keys: {jwks_file: keys.json}
    apps:
      - name: app
        upstream: http://127.0.0.1:3000
        envoys: [app.example]
        subjects:
          - {header: x-user, is: user_name}
` + second

func startMutual(t *testing.T) *mutual {
	t.Helper()
	m := &mutual{t: t, text: twoTenants, roots: x509.NewCertPool()}
	dir := newFolder(t, m.text)
	var err error
	if m.authority, err = ca.Create(filepath.Join(dir, "ca"), time.Now()); err != nil {
		t.Fatal(err)
	}
	m.roots.AppendCertsFromPEM(m.authority.CertPEM())
	p, err := m.authority.Issue(ca.Request{Names: []string{"127.0.0.1"}, Server: true}, time.Now())
	if err == nil {
		err = p.Write(filepath.Join(dir, "s.crt"), filepath.Join(dir, "s.key"))
	}
	if err != nil {
		t.Fatal(err)
	}
	m.running = startIn(t, dir, sidecar.Options{Logger: slog.New(slog.NewJSONHandler(&m.log, nil))})
	m.authz = strings.TrimPrefix(m.authz, "unix:")
	return m
}

// client is the TLS of an Envoy with a certificate for the names.
func (m *mutual) client(a *ca.Authority, r ca.Request, at time.Time) *tls.Config {
	m.t.Helper()
	p, err := a.Issue(r, at)
	if err != nil {
		m.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		m.t.Fatal(err)
	}
	return &tls.Config{RootCAs: m.roots, Certificates: []tls.Certificate{pair}}
}

func (m *mutual) named(names ...string) *tls.Config {
	return m.client(m.authority, ca.Request{Names: names}, time.Now())
}

func (m *mutual) dial(conf *tls.Config) *grpc.ClientConn {
	m.t.Helper()
	c, err := grpc.NewClient(m.authz, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = c.Close() })
	return c
}

// check asks about a request and returns the HTTP status of the answer, 200 for an allow.
func (m *mutual) check(c *grpc.ClientConn, surface, tenant, app, host string) int {
	m.t.Helper()
	passes := ""
	for t, a := range m.cfg.AllApps() {
		if t.Name == tenant && a.Name == app {
			passes = a.Passes().String()
		}
	}
	path := map[string]string{"app": "/", "scim": "/scim/v2/Users"}[surface]
	res, err := authv3.NewAuthorizationClient(c).Check(m.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{"surface": surface, "tenant": tenant, "app": app, "passes": passes},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Path: path, Host: host,
				HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
					{Key: ":authority", Value: host}, {Key: ":method", Value: "GET"}, {Key: ":path", Value: path},
				}},
			}},
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	switch {
	case res.GetDeniedResponse() != nil:
		return int(res.GetDeniedResponse().GetStatus().GetCode())
	case res.GetErrorResponse() != nil:
		return int(res.GetErrorResponse().GetStatus().GetCode())
	case res.GetOkResponse() == nil:
		m.t.Fatalf("neither allowed nor denied: %v", res)
	}
	return 200
}

// leash opens the leash of a request and returns how the server ends it, OK if it goes on.
func (m *mutual) leash(c *grpc.ClientConn, tenant, app string) codes.Code {
	m.t.Helper()
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	s, err := extproc.NewExternalProcessorClient(c).Process(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	fields, err := structpb.NewStruct(map[string]any{"scimward_tenant": tenant, "scimward_app": app, "scimward_leash": "no"})
	if err != nil {
		m.t.Fatal(err)
	}
	err = s.Send(&extproc.ProcessingRequest{
		Request: &extproc.ProcessingRequest_RequestHeaders{RequestHeaders: &extproc.HttpHeaders{}},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"envoy.filters.http.ext_authz": fields,
		}},
	})
	if err == nil {
		_, err = s.Recv()
	}
	return status.Code(err)
}

func (m *mutual) scimOf(conf *tls.Config, host string) int {
	m.t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "https://"+m.scim+"/scim/v2/Users", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	req.Host = host
	res, err := c.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestEnvoysAskForTheirOwn: an Envoy asks about what its name is listed at. About anything else it gets 503,
// on every way to ask.
func TestEnvoysAskForTheirOwn(t *testing.T) {
	m := startMutual(t)
	const acme, globex = "app.example.com", "globex.example.com"
	for name, want := range map[string]struct {
		app, scim, other int // the app and SCIM of acme, the app of globex
		leash            codes.Code
		forward          [2]int // SCIM of both tenants at the scim listener; 0 cannot connect
	}{
		"all.example":    {200, 401, 200, codes.OK, [2]int{401, 401}},
		"tenant.example": {200, 401, 503, codes.OK, [2]int{401, 503}},
		"app.example":    {200, 503, 503, codes.OK, [2]int{}},
	} {
		conf := m.named(name)
		c := m.dial(conf)
		if got := m.check(c, "app", "acme", "app", acme); got != want.app {
			t.Errorf("%s asks about the app of acme: %d, want %d", name, got, want.app)
		}
		if got := m.check(c, "scim", "acme", "", acme); got != want.scim {
			t.Errorf("%s asks about SCIM of acme: %d, want %d", name, got, want.scim)
		}
		if got := m.check(c, "scim", "acme", "app", acme); got != want.scim {
			t.Errorf("%s asks about SCIM of acme in the name of its app: %d, want %d", name, got, want.scim)
		}
		if got := m.check(c, "app", "globex", "app", globex); got != want.other {
			t.Errorf("%s asks about the app of globex: %d, want %d", name, got, want.other)
		}
		if got := m.leash(c, "acme", "app"); got != want.leash {
			t.Errorf("%s opens a leash of acme: %s, want %s", name, got, want.leash)
		}
		if got := m.leash(c, "globex", "app"); (got == codes.OK) != (want.other == 200) {
			t.Errorf("%s opens a leash of globex: %s", name, got)
		}
		for i, host := range []string{acme, globex} {
			if want.forward[i] == 0 {
				continue
			}
			if got := m.scimOf(conf, host); got != want.forward[i] {
				t.Errorf("%s forwards SCIM of %s: %d, want %d", name, host, got, want.forward[i])
			}
		}
	}
	if _, err := tls.Dial("tcp", m.scim, m.named("app.example")); err == nil {
		until(t, "the refusal at the scim listener", func() bool {
			_, text := m.get("/metrics")
			return strings.Contains(text, `scimward_envoy_refused_total{listener="scim",reason="name"} 1`)
		})
	}
	until(t, "the log", func() bool { return strings.Contains(m.log.String(), `"reason":"not_permitted"`) })
}

// TestRemovedName: an Envoy whose name is removed is refused on the connection that it has.
func TestRemovedName(t *testing.T) {
	m := startMutual(t)
	c := m.dial(m.named("app.example"))
	if got := m.check(c, "app", "acme", "app", "app.example.com"); got != 200 {
		t.Fatalf("before: %d", got)
	}
	m.write("scimward.yaml", strings.Replace(m.text, "envoys: [app.example]", "envoys: [new.example]", 1))
	until(t, "the refusal of the removed name", func() bool {
		return m.check(c, "app", "acme", "app", "app.example.com") == 503
	})
	if got := m.check(m.dial(m.named("new.example")), "app", "acme", "app", "app.example.com"); got != 200 {
		t.Errorf("the new name: %d", got)
	}
	all := m.dial(m.named("all.example"))
	if got := m.check(all, "app", "acme", "app", "app.example.com"); got != 200 {
		t.Fatalf("a name of the listener: %d", got)
	}
	m.write("scimward.yaml", strings.ReplaceAll(m.text, "client_names: [all.example]", "client_names: [every.example]"))
	until(t, "the refusal of the listener's removed name", func() bool {
		return m.check(all, "app", "acme", "app", "app.example.com") == 503
	})
	if got := m.check(m.dial(m.named("every.example")), "app", "acme", "app", "app.example.com"); got != 200 {
		t.Errorf("the new name of the listener: %d", got)
	}
	if left := m.status().Config.NeedsRestart; len(left) > 0 {
		t.Errorf("names need a restart: %v", left)
	}
}

// TestRefusedHandshakes: each reason is told apart in the metric and in the log, which is quiet after the first.
func TestRefusedHandshakes(t *testing.T) {
	m := startMutual(t)
	now := time.Now()
	stranger, err := ca.Create(filepath.Join(t.TempDir(), "ca"), now)
	if err != nil {
		t.Fatal(err)
	}
	all := ca.Request{Names: []string{"all.example"}}
	strangers := x509.NewCertPool()
	strangers.AppendCertsFromPEM(stranger.CertPEM())
	distrustful := m.named("all.example")
	distrustful.RootCAs = strangers
	for reason, conf := range map[string]*tls.Config{
		"no_certificate": {RootCAs: m.roots},
		"name":           m.named("other.example", "spiffe://example/person@example"),
		"expired":        m.client(m.authority, ca.Request{Names: all.Names, Lifetime: time.Hour}, now.Add(-2*time.Hour)),
		"authority":      m.client(stranger, ca.Request{Names: []string{"planted.example"}}, now),
		"usage":          m.client(m.authority, ca.Request{Names: all.Names, Server: true}, now),
		"by_peer":        distrustful,
		"no_tls":         nil,
	} {
		for listener, addr := range map[string]string{"authz": m.authz, "scim": m.scim} {
			for range 3 {
				refuse(t, addr, conf)
			}
			want := fmt.Sprintf(`scimward_envoy_refused_total{listener=%q,reason=%q} 3`, listener, reason)
			until(t, want, func() bool {
				_, text := m.get("/metrics")
				return strings.Contains(text, want+"\n")
			})
			line := fmt.Sprintf(`"msg":"refused an Envoy","listener":%q,"reason":%q`, listener, reason)
			if n := strings.Count(m.log.String(), line); n != 1 {
				t.Errorf("%s, %s: %d lines in the log, want 1:\n%s", listener, reason, n, m.log.String())
			}
		}
	}
	log := m.log.String()
	if !strings.Contains(log, "other.example") || strings.Contains(log, "person@example") || strings.Contains(log, "planted.example") ||
		strings.Contains(log, "http: TLS handshake error") {
		t.Errorf("the log has too much or too little:\n%s", log)
	}
}

// refuse connects to a listener that refuses, and returns when it has.
func refuse(t *testing.T, addr string, conf *tls.Config) {
	t.Helper()
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if conf == nil {
		_, _ = io.WriteString(raw, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, raw)
		return
	}
	conf = conf.Clone()
	conf.ServerName, conf.NextProtos = "127.0.0.1", []string{"h2"}
	c := tls.Client(raw, conf)
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Errorf("%s accepts the connection", addr)
	}
}

// TestRotationOfTheListener: the certificate and the authorities of a listener change without a restart.
func TestRotationOfTheListener(t *testing.T) {
	m := startMutual(t)
	next, err := ca.Create(filepath.Join(t.TempDir(), "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conf := m.client(next, ca.Request{Names: []string{"all.example"}}, time.Now())
	conf.NextProtos = []string{"h2"}
	refuse(t, m.authz, conf)
	both := append(bytes.Clone(m.authority.CertPEM()), next.CertPEM()...)
	if err := os.WriteFile(filepath.Join(m.dir, "ca", "both.crt"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(m.dir, "ca", "both.crt"), filepath.Join(m.dir, "ca", "ca.crt")); err != nil {
		t.Fatal(err)
	}
	until(t, "the second authority", func() bool {
		c, err := tls.Dial("tcp", m.authz, conf)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = c.Read(make([]byte, 1)) // the settings of HTTP/2, or an alert
		return err == nil
	})
	if got := m.check(m.dial(m.named("all.example")), "app", "acme", "app", "app.example.com"); got != 200 {
		t.Errorf("the first authority: %d, want 200", got)
	}
}
