package envoy_test

import (
	"testing"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
)

// TestRoutesOutlastALease: Envoy waits for the answer of a core at least as long as the core may wait for one that is
// out of reach, which is 1.01 leases.
func TestRoutesOutlastALease(t *testing.T) {
	for _, lease := range []time.Duration{0, 2 * time.Second, 15 * time.Second, 2 * time.Minute} {
		cfg := parseFixture(t)
		want := 15 * time.Second
		if lease > 0 {
			cfg.Cluster = config.Cluster{Role: config.RoleCore, Lease: lease}
			want += lease * 101 / 100
		}
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var hcm hcmv3.HttpConnectionManager
		err = b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&hcm)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, host := range hcm.GetRouteConfig().GetVirtualHosts() {
			for _, r := range host.GetRoutes() {
				if r.GetRoute().GetCluster() != envoy.ClusterSCIM {
					continue
				}
				seen++
				got := r.GetRoute().GetTimeout().AsDuration()
				if got < want || lease == 0 && got > 30*time.Second || got > hcm.GetStreamIdleTimeout().AsDuration() {
					t.Errorf("lease %s: route %s ends after %s, want %s and no more than the stream",
						lease, r.GetName(), got, want)
				}
			}
		}
		if seen != 8 {
			t.Errorf("%d routes to scimward, want 4 of each tenant", seen)
		}
	}
}
