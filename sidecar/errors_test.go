package sidecar_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store/storetest"
)

// decider is a Decider that gives a set answer and records the request.
type decider struct {
	answer authz.Decision
	asked  request.Request
}

func (d *decider) DecideResult(context.Context, *authz.SCIMRequest, authz.Change) authz.Decision {
	return authz.Decision{}
}

func (d *decider) Decide(_ context.Context, r request.Request) authz.Decision {
	d.asked = r
	out := d.answer
	out.Surface, out.Tenant = r.Surface, r.Tenant
	return out
}

func (*decider) DecideSubject(context.Context, string, string, *authz.Caller) bool { return false }

func (*decider) DecideRoute(request.Request, *authz.Caller) bool { return false }

// surfaces are the two answerers of a SCIM request: the adaptor of the proxy and the handler.
type surfaces struct {
	*decider
	check  authv3.AuthorizationClient
	handle *scimhttp.Handler
}

func newSurfaces(t *testing.T) *surfaces {
	t.Helper()
	s := &surfaces{decider: &decider{}}
	proxy, err := extauthz.New(extauthz.Options{Decider: s.decider})
	if err != nil {
		t.Fatal(err)
	}
	s.check = authv3.NewAuthorizationClient(serveGRPC(t, proxy.NewGRPC()))
	s.handle, err = scimhttp.New(scimhttp.Options{
		Decider: s.decider, Store: storetest.New(t),
		TenantOf: func(*http.Request) (string, bool) { return "acme", true },
		Base:     func(string) string { return "https://acme.example/scim/v2" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serveGRPC serves g in memory until the test ends.
func serveGRPC(t *testing.T, g *grpc.Server) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return conn
}

// wire is a refusal as the client receives it.
type wire struct {
	Status int
	Header map[string]string
	Body   map[string]any
}

func sent(t *testing.T, status int, header func(string) string, body string) wire {
	t.Helper()
	out := wire{Status: status, Header: map[string]string{}}
	for _, name := range []string{"content-type", "cache-control", "www-authenticate", "allow", "retry-after"} {
		out.Header[name] = header(name)
	}
	if err := json.Unmarshal([]byte(body), &out.Body); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	return out
}

func (s *surfaces) fromProxy(t *testing.T) wire {
	t.Helper()
	out, err := s.check.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{"surface": "scim", "tenant": "acme"},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Host: "acme.example", Path: "/scim/v2/Users",
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	denied := out.GetDeniedResponse()
	if denied == nil {
		denied = out.GetErrorResponse()
	}
	if denied == nil || out.GetStatus().GetCode() == 0 {
		t.Fatalf("no refusal: %v", out)
	}
	headers := http.Header{}
	for _, h := range denied.GetHeaders() {
		headers.Add(h.GetHeader().GetKey(), h.GetHeader().GetValue())
	}
	return sent(t, int(denied.GetStatus().GetCode()), headers.Get, denied.GetBody())
}

func (s *surfaces) fromHandler(t *testing.T) wire {
	t.Helper()
	w := httptest.NewRecorder()
	s.handle.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/scim/v2/Users", nil))
	return sent(t, w.Code, w.Header().Get, w.Body.String())
}

// TestRefusalsAgree: the proxy and the handler refuse a request with the same answer, whatever
// part of the decision is missing. Neither reads the reason, so a few reasons are enough.
func TestRefusalsAgree(t *testing.T) {
	s := newSurfaces(t)
	for _, reason := range []string{
		"", authz.ReasonPolicy, authz.ReasonDeadline, authz.ReasonLocked, request.ReasonBodyPartial,
	} {
		for name, d := range map[string]authz.Decision{
			"empty decision":     {},
			"status below 400":   {Status: 204},
			"status above 599":   {Status: 700, Detail: "d"},
			"status alone":       {Status: 403},
			"unknown status":     {Status: 499},
			"with a scimType":    {Status: 400, ScimType: "invalidSyntax", Detail: `R (operation 1): "x" <é>`},
			"with a challenge":   {Status: 401, Error: "invalid_token", Challenge: `Bearer realm="scim", error="invalid_token"`, Detail: "d"},
			"with methods":       {Status: 405, AllowMethods: "GET, POST"},
			"with a wait":        {Status: 429, Retry: 1500 * time.Millisecond},
			"fault":              {Status: 500},
			"fault with a wait":  {Status: 503, Retry: 9 * time.Second, Detail: "d"},
			"fault without wait": {Status: 503, Detail: "d"},
			"bad gateway":        {Status: 502},
			"not built":          {Status: 501},
		} {
			d.Reason = reason
			s.answer = d
			proxy, handler := s.fromProxy(t), s.fromHandler(t)
			if diff := cmp.Diff(proxy, handler); diff != "" {
				t.Errorf("%q, %s: proxy (-) and handler (+):\n%s", reason, name, diff)
			}
			if proxy.Status < 400 || proxy.Body["status"] != fmt.Sprint(proxy.Status) || proxy.Body["detail"] == "" {
				t.Errorf("%q, %s: %+v", reason, name, proxy)
			}
			if fault := proxy.Status >= 500 && proxy.Status != 501; fault && proxy.Header["retry-after"] == "" {
				t.Errorf("%q, %s: a fault without Retry-After", reason, name)
			}
		}
	}
}
