package sidecar_test

import (
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/scimward/scimward/sidecar/passes"
)

// check asks as an Envoy that declares to pass these entries on, and returns the gRPC code of the answer.
func (r *running) check(declared passes.List) int32 {
	r.t.Helper()
	return r.send(map[string]string{
		"surface": "app", "tenant": "acme", "app": "app", "passes": declared.String(),
	}, &authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/", Host: "app.example.com"})
}

// send sends a check and returns the gRPC code of the answer.
func (r *running) send(extensions map[string]string, http *authv3.AttributeContext_HttpRequest) int32 {
	r.t.Helper()
	c, err := grpc.NewClient(r.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	res, err := authv3.NewAuthorizationClient(c).Check(r.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{
			ContextExtensions: extensions, Request: &authv3.AttributeContext_Request{Http: http},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return res.GetStatus().GetCode()
}

// TestOutdatedEnvoyInStatus: status lists an Envoy that declares too little, and no other. A new
// configuration is compared with what the connected Envoys declare.
func TestOutdatedEnvoyInStatus(t *testing.T) {
	r := start(t, base)
	need := passes.New([]string{"x-user"}, nil, nil)
	if code := r.check(need); code != 0 || len(r.status().Envoys) != 0 {
		t.Fatalf("code %d, outdated %+v; want 0 and none", code, r.status().Envoys)
	}
	more := strings.Replace(base, "{header: x-user, is: user_name}",
		"{header: x-user, is: user_name, issued_header: x-since}", 1)
	r.write("scimward.yaml", more)
	err := r.server.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "update Envoy first") || !strings.Contains(err.Error(), "header:x-since") {
		t.Errorf("Reload() = %v, want a refusal that names the header", err)
	}
	if code := r.check(need); code != 0 {
		t.Errorf("after the refused reload the former Envoy is answered with code %d, want 0", code)
	}
	if code := r.check(passes.New([]string{"x-user", "x-since"}, nil, nil)); code != 0 {
		t.Errorf("an Envoy that passes more is answered with code %d, want 0", code)
	}
	if err := r.server.Reload(t.Context()); err != nil {
		t.Errorf("after the update of Envoy: Reload() = %v, want nil", err)
	}
	r.write("scimward.yaml", base)
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := r.check(nil); code == 0 {
		t.Errorf("an Envoy that declares nothing is answered with code %d, want a refusal", code)
	}
	s := r.status()
	if len(s.Envoys) != 1 || s.Envoys[0].App != "app" || !slices.Equal(s.Envoys[0].Missing, need) || s.Envoys[0].Fix == "" {
		t.Errorf("status lists %+v, want the app and what is missing", s.Envoys)
	}
}
