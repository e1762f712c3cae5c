package extauthz_test

import (
	"context"
	"log/slog"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// denying passes the request to the real pipeline, so that its panics show, and denies
// whatever the pipeline decides.
type denying struct{ a *authz.Authorizer }

func (d denying) Decide(ctx context.Context, r request.Request) authz.Decision {
	if got := d.a.Decide(ctx, r); got.Allowed() && r.Tenant == "" {
		panic("allowed without a tenant")
	}
	return authz.Decision{}
}
func (denying) DecideSubject(context.Context, string, string, *authz.Caller) bool { return false }
func (denying) DecideRoute(request.Request, *authz.Caller) bool                   { return false }

// knownTo identifies every credential; the name says whether its user is locked.
type knownTo struct{ fixed }

func (knownTo) Identify(_ context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	return authz.Caller{Subject: subject.Subject{UserName: c.Value}}, nil
}

// FuzzCheckRequest: no bytes make the adaptor or the pipeline panic, and with a decider that
// denies, nothing is allowed.
func FuzzCheckRequest(f *testing.F) {
	seeds := []*authv3.CheckRequest{
		{},
		checkRequest("scim", "GET", "/scim/v2/Users?filter=userName%20eq%20%22a%22", "authorization", "Bearer t.t.t"),
		checkRequest("scim", "PATCH", "/scim/v2/Groups/g1", "authorization", "Bearer t.t.t", "content-type", "application/scim+json", "content-length", "7"),
		checkRequest("oauth", "POST", "/oauth/token", "content-type", "application/x-www-form-urlencoded"),
		checkRequest("app", "POST", "/api/%75sers;a/b.json?_method=x", "cookie", `a=b; session="x"; s%65ssion=1`, "authorization", "Bearer a.b.c"),
		checkRequest("app", "POST", "/login", "content-type", "application/x-www-form-urlencoded", "cookie", "session=a"),
		checkRequest("app", "PATCH", "/api/me", "content-type", "application/json", "upgrade", "websocket"),
	}
	seeds[2].Attributes.Request.Http.RawBody = []byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":"u"}]}]}`)
	seeds[5].Attributes.Request.Http.RawBody = []byte("username=a&x[b]=c")
	seeds[6].Attributes.Request.Http.RawBody = []byte(`{"a":[{"email":1},null,[]]}`)
	for _, s := range seeds {
		f.Add(wire(f, s))
	}
	k := knownTo{}
	a, err := authz.New(authz.Options{
		Policy: k, Locks: k, Identifier: k, Directory: fixed{},
		Tenants: map[string]authz.TenantOptions{"acme": {Verifier: k, Apps: map[string]authz.AppOptions{"app": {
			Anonymous: authz.AnonymousPass,
			Subjects: []authz.SubjectSource{
				{Kind: authz.SourceOpaque, Source: request.Source{In: request.InCookie, Name: "session"}},
				{Kind: authz.SourceJWT, Source: request.Source{In: request.InHeader, Name: "authorization", Scheme: "bearer"}, Verifier: k},
				{Kind: authz.SourceUserName, Source: request.Source{In: request.InBody, Name: "username", Body: request.BodyRoute{Method: "POST", Path: "/login", Format: request.Form}}},
			},
			LocalWrites: []authz.LocalWrite{{Path: "/api/users"}, {Path: "/api/me", Fields: []string{"email"}}},
		}}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	s, err := extauthz.New(extauthz.Options{Decider: denying{a}, Logger: failing(f)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := extauthz.Decode(b); err != nil {
			t.Skip("Envoy cannot send it")
		}
		out := answer(t, s, b)
		if out.GetOkResponse() != nil || out.GetStatus().GetCode() == 0 {
			t.Fatalf("allowed: %v", out)
		}
		if out.GetErrorResponse() == nil {
			t.Fatalf("a zero decision is no fault: %v", out)
		}
	})
}

// failing returns a logger that panics when the server has recovered from a panic.
func failing(f *testing.F) *slog.Logger {
	f.Helper()
	return slog.New(panicHandler{slog.DiscardHandler})
}

type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (panicHandler) Handle(_ context.Context, r slog.Record) error { panic(r.Message) }
