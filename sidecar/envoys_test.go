package sidecar_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/passes"
)

// check asks as an Envoy that declares to pass these entries on, and returns the gRPC code of the answer.
func (r *running) check(declared passes.List) int32 {
	r.t.Helper()
	c, err := grpc.NewClient(r.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	res, err := authv3.NewAuthorizationClient(c).Check(r.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{
				"surface": "app", "tenant": "acme", "app": "app", "passes": declared.String(),
			},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Path: "/", Host: "app.example.com",
			}},
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
	status := func() (s sidecar.Status) {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.admin)
		}
		c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
		res, err := c.Get("http://localhost/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	need := passes.New([]string{"x-user"}, nil, nil)
	if code := r.check(need); code != 0 || len(status().Envoys) != 0 {
		t.Fatalf("code %d, outdated %+v; want 0 and none", code, status().Envoys)
	}
	next, err := config.Parse("next.yaml", r.dir, []byte(strings.Replace(base, "{header: x-user, is: user_name}",
		"{header: x-user, is: user_name, issued_header: x-since}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	got := sidecar.EnvoysLacking(r.server, next)
	if len(got) != 1 || !slices.Equal(got[0].Missing, []string{"header:x-since"}) {
		t.Errorf("the new configuration: %+v is missing, want the new header", got)
	}
	if code := r.check(nil); code == 0 {
		t.Errorf("an Envoy that declares nothing is answered with code %d, want a refusal", code)
	}
	s := status()
	if len(s.Envoys) != 1 || s.Envoys[0].App != "app" || !slices.Equal(s.Envoys[0].Missing, need) || s.Envoys[0].Fix == "" {
		t.Errorf("status lists %+v, want the app and what is missing", s.Envoys)
	}
}
