package sidecar_test

import (
	"slices"
	"testing"

	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	"google.golang.org/protobuf/proto"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
)

// TestEnvoyAgreesWithTheAuthorizer holds the generated Envoy configuration to what
// the authorizer sets, removes and wants to see: one mutation outside the pattern
// turns every answer into a 500, one header unseen is a check that never runs.
func TestEnvoyAgreesWithTheAuthorizer(t *testing.T) {
	t.Parallel()
	if envoy.MutationPattern != authz.MutationPattern {
		t.Errorf("Envoy allows %s, the authorizer mutates %s", envoy.MutationPattern, authz.MutationPattern)
	}
	cfg := &config.Config{
		Listen: config.Listen{Authz: "unix:/run/authz.sock", SCIM: "127.0.0.1:1"},
		Envoy:  config.Envoy{Listen: "127.0.0.1:2", Admin: "127.0.0.1:3", MaxBodyBytes: 1 << 18, TLS: config.TLS{Cert: "c", Key: "k"}},
		Tenants: []config.Tenant{{Name: "acme", ExternalURL: "https://acme.example", Apps: []config.App{{
			Name: "app", Upstream: "http://127.0.0.1:4", Hosts: []string{"acme.example"}, Subjects: []config.Subject{{Header: "x-device-credential"}},
		}}}},
	}
	b, err := envoy.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	envoy.Walk(b, func(m proto.Message) {
		if f, ok := m.(*authzv3.ExtAuthz); ok {
			for _, p := range f.GetAllowedHeaders().GetPatterns() {
				seen = append(seen, p.GetExact()+p.GetPrefix())
			}
		}
	})
	for _, want := range append(authz.HeadersWanted(), "x-device-credential", "x-scim-") {
		if !slices.Contains(seen, want) {
			t.Errorf("the authorizer wants to see %s, Envoy does not send it", want)
		}
	}
}
