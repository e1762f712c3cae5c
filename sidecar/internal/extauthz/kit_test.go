package extauthz_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/subject"
)

// decider returns its decision.
type decider struct {
	mu      sync.Mutex
	got     request.Request
	answer  authz.Decision
	call    func(context.Context) authz.Decision // instead of answer
	locked  map[string]bool                      // by user name
	denied  string                               // a path
	asking  func()                               // runs before DecideSubject answers
	askings int
}

func (d *decider) Decide(ctx context.Context, r request.Request) authz.Decision {
	d.mu.Lock()
	d.got = r
	answer, call := d.answer, d.call
	d.mu.Unlock()
	if call != nil {
		return call(ctx)
	}
	answer.Surface = r.Surface
	return answer
}

func (d *decider) DecideSubject(_ context.Context, _, _ string, s *authz.Caller) bool {
	d.mu.Lock()
	asking := d.asking
	d.asking = nil
	d.askings++
	d.mu.Unlock()
	if asking != nil {
		asking()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.locked[s.UserName]
}

// deny makes a path one that the application does not take.
func (d *decider) deny(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.denied = path
}

func (d *decider) DecideRoute(r request.Request, _ *authz.Caller) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return r.Path != d.denied || !r.Headers.Has("upgrade")
}

func (d *decider) lock(name string, v bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked == nil {
		d.locked = map[string]bool{}
	}
	d.locked[name] = v
}

// kit is a Server on a real gRPC server over a unix socket.
type kit struct {
	*extauthz.Server
	decider  *decider
	logs     *bytes.Buffer
	registry *prometheus.Registry
	deviated map[string]int // by tenant and code
	hits     []string       // tenant, app and kind of the lock
	conn     *grpc.ClientConn
}

func newKit(t *testing.T, edit ...func(*extauthz.Options)) *kit {
	t.Helper()
	k := &kit{decider: &decider{}, logs: &bytes.Buffer{}, registry: prometheus.NewRegistry(), deviated: map[string]int{}}
	o := extauthz.Options{
		Decider: k.decider, Tenants: []string{"acme", "globex"}, MaxBody: 1024,
		Timeout: 2 * time.Minute, CutWait: 2 * time.Minute, Metrics: k.registry,
		Hit: func(tenant, app string, l *authz.Lock) { k.hits = append(k.hits, tenant+" "+app+" "+l.State) },
		Judged: func(d *authz.Decision) {
			for _, code := range d.Deviations {
				k.deviated[d.Tenant+" "+code]++
			}
		},
		Logger: slog.New(slog.NewJSONHandler(&lockedWriter{w: k.logs}, nil)),
	}
	for _, e := range edit {
		e(&o)
	}
	s, err := extauthz.New(o)
	if err != nil {
		t.Fatal(err)
	}
	k.Server = s
	k.conn = serve(t, s.NewGRPC())
	return k
}

// serve serves g on a unix socket until the test ends.
func serve(tb testing.TB, g *grpc.Server) *grpc.ClientConn {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "a.sock")
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			tb.Errorf("serving: %v", err)
		}
	})
	return conn
}

// wire is the message as Envoy sends it.
func wire(tb testing.TB, in *authv3.CheckRequest) []byte {
	tb.Helper()
	b, err := proto.Marshal(in)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

func (k *kit) check(t *testing.T, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	out, err := authv3.NewAuthorizationClient(k.conn).Check(t.Context(), in)
	if err != nil {
		t.Fatalf("a gRPC error, which Envoy answers for us: %v", err)
	}
	return out
}

// allowed returns a decision that allows. Only package authz can make one.
func allowed(t *testing.T, surface request.Surface, edit ...func(*authz.Decision)) authz.Decision {
	t.Helper()
	a := authorizer(t)
	r := request.Request{Surface: surface, Tenant: "acme", App: "app", Method: "GET", Host: "x", Path: "/", Headers: request.Headers{}}
	switch surface {
	case request.SurfaceSCIM:
		r.Path, r.Headers = "/scim/v2/Users/u1", request.Headers{"authorization": {"Bearer t.t.t"}}
	case request.SurfaceOAuth:
		r.Path = "/oauth/jwks"
	case request.SurfaceApp:
	}
	d := a.Decide(t.Context(), r)
	if !d.Allowed() {
		t.Fatalf("the kit's decision denies: %s %s", d.Reason, d.Detail)
	}
	for _, e := range edit {
		e(&d)
	}
	return d
}

type fixed struct{}

func (fixed) Verify(context.Context, string) (token.Claims, error) {
	return token.Claims{ClientID: "idp"}, nil
}

func (fixed) Decide(context.Context, *policies.Input) policies.Verdict {
	return policies.Verdict{Allow: true, Revision: "p@1"}
}
func (fixed) Locked(string, *subject.Subject) *authz.Lock { return nil }

func (fixed) Find(context.Context, string, *subject.Subject) (string, error) { return "u1", nil }
func (fixed) Empty(context.Context, string) bool                             { return false }

func authorizer(t *testing.T) *authz.Authorizer {
	t.Helper()
	a, err := authz.New(authz.Options{
		Policy: fixed{}, Locks: fixed{}, Directory: fixed{},
		Tenants: map[string]authz.TenantOptions{"acme": {
			Verifier: fixed{}, Apps: map[string]authz.AppOptions{"app": {Anonymous: authz.AnonymousPass}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// checkRequest is a CheckRequest as Envoy sends it with encode_raw_headers.
func checkRequest(surface, method, path string, headers ...string) *authv3.CheckRequest {
	h := &authv3.AttributeContext_HttpRequest{
		Id: "1", Method: method, Path: path, Host: "scim.example", Protocol: "HTTP/1.1", HeaderMap: &corev3.HeaderMap{},
	}
	for i := 0; i < len(headers); i += 2 {
		value := &corev3.HeaderValue{Key: headers[i], RawValue: []byte(headers[i+1])}
		h.HeaderMap.Headers = append(h.HeaderMap.Headers, value)
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{"surface": surface, "tenant": "acme", "app": "app"},
		Request:           &authv3.AttributeContext_Request{Http: h},
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7"},
		}}},
	}}
}

type leashStream = grpc.BidiStreamingClient[extproc.ProcessingRequest, extproc.ProcessingResponse]

// open starts a leash for the metadata of an allowed decision.
func (k *kit) open(t *testing.T, d authz.Decision) (leashStream, error) {
	t.Helper()
	k.decider.mu.Lock()
	k.decider.answer = d
	k.decider.mu.Unlock()
	meta := &corev3.Metadata{}
	if md := k.check(t, checkRequest("app", "GET", "/ws")).GetDynamicMetadata(); md != nil {
		meta.FilterMetadata = map[string]*structOf{extauthz.MetadataNamespace: md}
	}
	return k.openWith(t, meta)
}

// socket is the first message about a WebSocket.
func socket(path string) *extproc.HttpHeaders {
	out := &corev3.HeaderMap{}
	for _, h := range [][2]string{{":method", "GET"}, {":path", path}, {"upgrade", "websocket"}} {
		out.Headers = append(out.Headers, &corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	return &extproc.HttpHeaders{Headers: out}
}

func (k *kit) openWith(t *testing.T, meta *corev3.Metadata) (leashStream, error) {
	t.Helper()
	s, err := extproc.NewExternalProcessorClient(k.conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(&extproc.ProcessingRequest{
		Request:         &extproc.ProcessingRequest_RequestHeaders{RequestHeaders: socket("/ws?user=1")},
		MetadataContext: meta,
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err == nil && m.GetRequestHeaders() == nil {
		t.Fatalf("answered %T", m.GetResponse())
	}
	return s, err
}

// series counts the series of one metric.
func (k *kit) series(t *testing.T, name string) int {
	t.Helper()
	fams, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fams {
		if f.GetName() == name {
			return len(f.GetMetric())
		}
	}
	return 0
}

// answer is what s answers to a message, without a transport.
func answer(tb testing.TB, s *extauthz.Server, msg []byte) *authv3.CheckResponse {
	tb.Helper()
	b, err := s.CheckBytes(tb.Context(), msg)
	if err != nil {
		tb.Fatal(err)
	}
	out := &authv3.CheckResponse{}
	if err := proto.Unmarshal(b, out); err != nil {
		tb.Fatal(err)
	}
	return out
}
