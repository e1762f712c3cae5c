package extauthz_test

import (
	"context"
	"fmt"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
)

// byTenant sums one metric by its label tenant: a histogram by its observations.
func (k *kit) byTenant(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "tenant" {
					out[l.GetValue()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() +
						float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return out
}

func (k *kit) wantByTenant(t *testing.T, name string, want map[string]float64) {
	t.Helper()
	if diff := cmp.Diff(want, k.byTenant(t, name)); diff != "" {
		t.Errorf("%s by tenant (-want +got):\n%s", name, diff)
	}
}

func forTenant(name string) *authv3.CheckRequest {
	in := checkRequest("app", "GET", "/")
	in.Attributes.ContextExtensions["tenant"] = name
	return in
}

// TestDecisionsAreCountedByTenant: a configured tenant counts under its name, every other name
// under "", for every kind of decision.
func TestDecisionsAreCountedByTenant(t *testing.T) {
	a := authorizer(t)
	k := newKit(t, func(o *extauthz.Options) { o.Decider = a; o.Tenants = []string{"acme"} })
	k.check(t, forTenant("acme"))
	k.check(t, checkRequest("APP", "GET", "/")) // a fault of the route, before the tenant is looked up
	k.check(t, forTenant(""))
	k.check(t, forTenant("Acme"))
	for i := range 20 {
		k.check(t, forTenant(fmt.Sprintf("stranger-%d", i)))
	}
	k.wantByTenant(t, "scimward_decision_seconds", map[string]float64{"acme": 2, "": 22})

	faulty := newKit(t)
	faulty.decider.call = func(context.Context) authz.Decision { panic("planted") }
	faulty.check(t, forTenant("globex"))
	faulty.check(t, forTenant("stranger"))
	faulty.wantByTenant(t, "scimward_decision_seconds", map[string]float64{"globex": 1, "": 1})
}

// TestNoTenantsNoNames: a Server without configured tenants has no tenant label values.
func TestNoTenantsNoNames(t *testing.T) {
	a := authorizer(t)
	k := newKit(t, func(o *extauthz.Options) { o.Decider = a; o.Tenants = nil })
	k.check(t, forTenant("acme"))
	k.wantByTenant(t, "scimward_decision_seconds", map[string]float64{"": 1})
	k.wantByTenant(t, "scimward_leashes", map[string]float64{})
}

// TestLeashesAreCountedByTenant: open, cut and refused streams, also with the metadata of an
// unknown tenant.
func TestLeashesAreCountedByTenant(t *testing.T) {
	k := newKit(t)
	none := map[string]float64{"acme": 0, "globex": 0}
	k.wantByTenant(t, "scimward_leashes", none)
	k.wantByTenant(t, "scimward_leash_cuts_total", none)
	open := func(tenant, user string) error {
		t.Helper()
		d := of(t, user)
		d.Tenant = tenant
		_, err := k.open(t, d)
		return err
	}
	for _, s := range []struct{ tenant, user string }{{"acme", "alice"}, {"acme", "bob"}, {"globex", "alice"}, {"stranger", "alice"}, {"other", "alice"}} {
		if err := open(s.tenant, s.user); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
	}
	k.wantByTenant(t, "scimward_leashes", map[string]float64{"acme": 2, "globex": 1, "": 2})
	k.decider.lock("alice", true)
	for _, tenant := range []string{"acme", "stranger"} {
		if n := k.Cut(t.Context(), tenant); n != 1 {
			t.Errorf("cut %d streams of %s", n, tenant)
		}
	}
	k.wantByTenant(t, "scimward_leash_cuts_total", map[string]float64{"acme": 1, "globex": 0, "": 1})
	for _, tenant := range []string{"acme", "globex", "globex", "stranger", "other"} {
		if err := open(tenant, "alice"); code(err) != codes.PermissionDenied {
			t.Errorf("a locked user of %s: %v", tenant, err)
		}
	}
	foreign := &corev3.Metadata{FilterMetadata: map[string]*structOf{extauthz.MetadataNamespace: {
		Fields: map[string]*structpb.Value{"scimward_tenant": structpb.NewStringValue("acme")},
	}}}
	if _, err := k.openWith(t, foreign); code(err) != codes.FailedPrecondition {
		t.Errorf("metadata that is not ours: %v", err)
	}
	k.wantByTenant(t, "scimward_leash_refusals_total", map[string]float64{"acme": 1, "globex": 2, "": 3})
	if err := k.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.wantByTenant(t, "scimward_leashes", map[string]float64{"acme": 0, "globex": 0, "": 0})
}
