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

// passing is what an Envoy of base declares that passes on these headers.
func passing(headers ...string) passes.List {
	return append(passes.New(headers, nil, nil), passes.Upstream("localhost:3000"))
}

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
	return r.response(extensions, http).GetStatus().GetCode()
}

// response sends a check and returns the answer.
func (r *running) response(
	extensions map[string]string, http *authv3.AttributeContext_HttpRequest,
) *authv3.CheckResponse {
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
	return res
}

// TestOutdatedEnvoyInStatus: status lists an Envoy that declares too little, and no other. A new
// configuration is compared with what the connected Envoys declare.
func TestOutdatedEnvoyInStatus(t *testing.T) {
	r := start(t, base)
	need := passing("x-user")
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
	if code := r.check(passing("x-user", "x-since")); code != 0 {
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

// TestEnvoyOfAnotherUpstream: an Envoy that sends the requests of an app to another app is refused, because the denied
// routes and locks of that one would not count. Where it leads to none of the configuration, it goes on: one of the two
// has its new configuration first.
func TestEnvoyOfAnotherUpstream(t *testing.T) {
	other := "      - {name: other, upstream: \"http://127.0.0.1:3001\", hosts: [other.example.com], " +
		"subjects: [{header: x-user, is: user_name}], local_writes: [{path: /signup}]}\n"
	with := base + "        hosts: [app.example.com]\n" + other
	r := start(t, with)
	sends := func(place string) int32 {
		t.Helper()
		return r.check(append(passes.New([]string{"x-user"}, nil, nil), passes.Upstream(place)))
	}
	if code := sends("localhost:3002"); code != 0 {
		t.Errorf("to no app: code %d, want 0", code)
	}
	if code := sends("localhost:3001"); code == 0 {
		t.Errorf("to another app: code %d, want a refusal", code)
	}
	if s := r.status(); len(s.Envoys) != 1 || !slices.Equal(s.Envoys[0].Missing, passes.List{"upstream:localhost:3000"}) {
		t.Errorf("status lists %+v, want the upstream", s.Envoys)
	}
	if code := sends("localhost:3000"); code != 0 {
		t.Errorf("to its own: code %d, want 0", code)
	}
	r.write("scimward.yaml", strings.NewReplacer(":3000", ":3002", ":3001", ":3000").Replace(with))
	err := r.server.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "update Envoy first") || !strings.Contains(err.Error(), "upstream:localhost:3002") {
		t.Errorf("another app gets the upstream: Reload() = %v, want a refusal that names the new one", err)
	}
	if code := sends("localhost:3002"); code != 0 {
		t.Errorf("Envoy has its new configuration first: code %d, want 0", code)
	}
	if err := r.server.Reload(t.Context()); err != nil {
		t.Errorf("Reload() = %v, want nil", err)
	}
}

// TestEnvoyWithoutHost: status names an Envoy whose configuration was printed before a tenant was added, and its
// host, until that Envoy has a new one. More hosts than needed are no fault.
func TestEnvoyWithoutHost(t *testing.T) {
	r := start(t, base)
	asks := func(hosts ...string) {
		t.Helper()
		if code := r.check(append(passing("x-user"), passes.Hosts(hosts))); code != 0 {
			t.Fatalf("code %d, want 0: an Envoy without a host serves the others", code)
		}
	}
	asks("app.example.com")
	if got := r.status().Unaware; len(got) != 0 {
		t.Errorf("an Envoy with every host: %+v, want none", got)
	}
	r.write("scimward.yaml", base+second)
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.status().Unaware
	if len(got) != 1 || !slices.Equal(got[0].Hosts, []string{"globex.example.com"}) || !strings.Contains(got[0].Fix, "envoy bootstrap") {
		t.Errorf("an Envoy without the new host: %+v, want the host and the command", got)
	}
	asks("app.example.com", "globex.example.com")
	if got := r.status().Unaware; len(got) != 0 {
		t.Errorf("after the update of Envoy: %+v, want none", got)
	}
	asks("from.before.this.process")
	if got := r.status().Unaware; len(got) != 1 || len(got[0].Hosts) != 0 {
		t.Errorf("an Envoy for unknown hosts: %+v, want it without names", got)
	}
	asks("app.example.com", "globex.example.com")
	r.write("scimward.yaml", base)
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.status().Unaware; len(got) != 0 {
		t.Errorf("an Envoy with one host too many: %+v, want none", got)
	}
}
