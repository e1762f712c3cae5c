package extauthz_test

import (
	"context"
	"log/slog"
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
	"github.com/scimward/scimward/sidecar/internal/token"
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
	if out, err := s.CheckBytes(b.Context(), wire(b, in)); err != nil || out.GetOkResponse() == nil {
		b.Fatalf("the request is refused: %v %v", out, err)
	}
	return s, in
}

// BenchmarkCheckDirect is one warm Check without a transport but with message decoding,
// beside a no-op.
func BenchmarkCheckDirect(b *testing.B) {
	full, in := real(b)
	msg := wire(b, in)
	for _, c := range []struct {
		name  string
		check func(context.Context, []byte) (*authv3.CheckResponse, error)
	}{{"noop", noop{}.checkBytes}, {"warm", full.CheckBytes}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.check(b.Context(), msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (n noop) checkBytes(ctx context.Context, msg []byte) (*authv3.CheckResponse, error) {
	var in authv3.CheckRequest
	if err := proto.Unmarshal(msg, &in); err != nil {
		return nil, err
	}
	return n.Check(ctx, &in)
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
