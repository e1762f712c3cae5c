package extauthz_test

import (
	"context"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/subject"
)

// noop is an authorizer that reads nothing and allows: the floor.
type noop struct {
	authv3.UnimplementedAuthorizationServer
}

func (noop) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}, nil
}

// real is the whole pipeline: ES256 token (seen before), IL1 policy, no locks.
func real(b *testing.B) (*extauthz.Server, *authv3.CheckRequest) {
	b.Helper()
	doc, _, err := token.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	signer, err := token.NewSigner(doc)
	if err != nil {
		b.Fatal(err)
	}
	jwks, err := token.PublicJWKS(doc)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().Unix()
	raw, err := signer.Sign(map[string]any{
		"iss": "https://as.example", "aud": "https://scim.example/scim/v2", "sub": "idp", "client_id": "idp", "jti": "j",
		"scope": "scim", "iat": now, "exp": now + 3600,
	}, "at+jwt")
	if err != nil {
		b.Fatal(err)
	}
	v, err := token.NewVerifier(token.Options{
		Purpose: token.AccessToken, Audience: "https://scim.example/scim/v2",
		Issuers: []token.IssuerConfig{{Issuer: "https://as.example", JWKS: jwks}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Close)
	engine, err := policies.NewEngine(policies.Options{})
	if err != nil {
		b.Fatal(err)
	}
	a, err := authz.New(authz.Options{
		Policy: engine, Locks: fixed{},
		Tenants: map[string]authz.TenantOptions{"acme": {Hosts: []string{"scim.example"}, Profile: "ipsie-il1", Verifier: v}},
	})
	if err != nil {
		b.Fatal(err)
	}
	s, err := extauthz.New(extauthz.Options{Decider: a, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	in := checkRequest("scim", "GET", "/scim/v2/Users/2819c223-7f76-453a-919d-413861904646",
		"authorization", "Bearer "+raw, "accept", "application/scim+json", "x-request-id", "3f1c2d7e-0000-4000-8000-000000000000",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "host", "scim.example")
	if out := answer(b, s, wire(b, in)); out.GetOkResponse() == nil {
		b.Fatalf("the request is refused: %v", out)
	}
	return s, in
}

// page is an application page with a session whose owner is remembered.
func page(b *testing.B) (*extauthz.Server, *authv3.CheckRequest) {
	b.Helper()
	a, err := authz.New(authz.Options{
		Policy: fixed{}, Locks: fixed{}, Directory: fixed{}, Identifier: session{},
		Tenants: map[string]authz.TenantOptions{"acme": {Verifier: fixed{}, Apps: map[string]authz.AppOptions{"app": {
			Hosts:       []string{"scim.example"},
			LocalWrites: []authz.LocalWrite{{Path: "/account/email"}},
			Subjects: []authz.SubjectSource{
				{Kind: authz.SourceOpaque, Source: request.Source{In: request.InCookie, Name: "session"}},
			},
		}}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	s, err := extauthz.New(extauthz.Options{Decider: a, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	in := checkRequest("app", "GET", "/projects/17/board?view=week",
		"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
		"cookie", "theme=dark; session=0123456789abcdefghijklmnopqrstuv; consent="+strings.Repeat("y", 120),
		"x-request-id", "3f1c2d7e-0000-4000-8000-000000000000",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "host", "scim.example")
	if out := answer(b, s, wire(b, in)); out.GetOkResponse() == nil {
		b.Fatalf("the request is refused: %v", out)
	}
	return s, in
}

// session identifies every session as one user.
type session struct{}

func (session) Identify(context.Context, string, string, authz.Credential) (authz.Caller, error) {
	return authz.Caller{Subject: subject.Subject{UserName: "ann"}}, nil
}

// BenchmarkCheckDirect is one warm Check without a transport but with decoding and encoding,
// beside a no-op.
func BenchmarkCheckDirect(b *testing.B) {
	full, read := real(b)
	app, view := page(b)
	for _, c := range []struct {
		name  string
		check func(context.Context, []byte) ([]byte, error)
		msg   []byte
	}{{"noop", noop{}.checkBytes, wire(b, view)}, {"warm", full.CheckBytes, wire(b, read)}, {"app", app.CheckBytes, wire(b, view)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.check(b.Context(), c.msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (n noop) checkBytes(ctx context.Context, msg []byte) ([]byte, error) {
	var in authv3.CheckRequest
	if err := proto.Unmarshal(msg, &in); err != nil {
		return nil, err
	}
	out, err := n.Check(ctx, &in)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(out)
}

// BenchmarkCheckSocket is the same over gRPC on a unix socket. Client and server share the
// process, so cpu-µs/op includes both.
func BenchmarkCheckSocket(b *testing.B) {
	full, in := real(b)
	floor := grpc.NewServer()
	authv3.RegisterAuthorizationServer(floor, noop{})
	for _, c := range []struct {
		name string
		g    *grpc.Server
	}{{"noop", floor}, {"warm", full.NewGRPC()}} {
		b.Run(c.name, func(b *testing.B) {
			client := authv3.NewAuthorizationClient(serve(b, c.g))
			if _, err := client.Check(b.Context(), in); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			began := cpu()
			b.ResetTimer()
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := client.Check(b.Context(), in); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
