package envoy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/sidecar/config"
)

// asEdge makes a configuration that of an edge with three cores.
func asEdge(cfg *config.Config) {
	cfg.Cluster = config.Cluster{Role: config.RoleEdge, Lease: 15 * time.Second}
	for _, host := range []string{"core-1.example", "core-2.example", "10.0.0.3"} {
		cfg.Envoy.Connect.Cores = append(cfg.Envoy.Connect.Cores, config.CoreListeners{Authz: host + ":8470", SCIM: host + ":8460"})
	}
}

// TestCoresOfAnEdge: SCIM and token requests are checked by the cores and go there, and nothing else does. Envoy
// repeats none that a core may have received.
func TestCoresOfAnEdge(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	asEdge(cfg)
	b, err := envoy.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := envoy.Validate(b); err != nil {
		t.Error(err)
	}
	service := 0
	for _, host := range collect[*hcmv3.HttpConnectionManager](t, b)[0].GetRouteConfig().GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			var per authzv3.ExtAuthzPerRoute
			if err := r.GetTypedPerFilterConfig()["envoy.filters.http.ext_authz"].UnmarshalTo(&per); err != nil {
				t.Fatal(err)
			}
			asked := per.GetCheckSettings().GetGrpcService().GetEnvoyGrpc().GetClusterName()
			retry := r.GetRoute().GetRetryPolicy()
			if r.GetRoute().GetCluster() != envoy.ClusterSCIM {
				if asked != "" || retry != nil {
					t.Errorf("route %s asks %q and repeats on %v, want the process beside Envoy, once", r.GetName(), asked, retry)
				}
				continue
			}
			service++
			if asked != envoy.ClusterCores {
				t.Errorf("route %s asks %q, want the cores", r.GetName(), asked)
			}
			const safe = "connect-failure,refused-stream,reset-before-request,retriable-status-codes"
			if codes := retry.GetRetriableStatusCodes(); retry.GetRetryOn() != safe || len(codes) != 1 || codes[0] != 421 {
				t.Errorf("route %s repeats on %s %v, want only what no core has worked on", r.GetName(), retry.GetRetryOn(), codes)
			}
		}
	}
	if service != 8 {
		t.Errorf("%d routes to the cores, want 4 of each tenant", service)
	}
	for _, name := range []string{envoy.ClusterCores, envoy.ClusterSCIM} {
		c := clusterNamed(t, b.GetStaticResources().GetClusters(), name)
		ends, checks := c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints(), c.GetHealthChecks()
		if len(ends) != 3 || c.GetType() != clusterv3.Cluster_STRICT_DNS || len(checks) != 1 ||
			c.GetCommonLbConfig().GetHealthyPanicThreshold() == nil || c.GetTransportSocket() != nil {
			t.Errorf("%s: %v, want three checked endpoints and never one without a lease", name, c)
		}
	}
	if n := len(clusterNamed(t, b.GetStaticResources().GetClusters(), envoy.ClusterAuthz).GetHealthChecks()); n != 0 {
		t.Errorf("%d health checks of the process beside Envoy, want none", n)
	}
}

func clusterNamed(t *testing.T, all []*clusterv3.Cluster, name string) *clusterv3.Cluster {
	t.Helper()
	for _, c := range all {
		if c.GetName() == name {
			return c
		}
	}
	t.Fatalf("no cluster %s", name)
	return nil
}

// TestCoresWithCertificates: Envoy shows its certificate to the cores, and accepts that of any core.
func TestCoresWithCertificates(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string]string{"": "core-1.example core-2.example 10.0.0.3", "cores.example": "cores.example"} {
		cfg := parseFixture(t)
		asEdge(cfg)
		to := &cfg.Envoy.Connect
		to.Cert, to.Key, to.CA, to.ServerName = "/e/client.crt", "/e/client.key", "/e/ca.crt", name
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for cluster, alpns := range map[string]int{envoy.ClusterCores: 1, envoy.ClusterSCIM: 0} {
			_, tls := clusterOf(t, b, cluster)
			common := tls.GetCommonTlsContext()
			var sans []string
			for _, s := range common.GetValidationContext().GetMatchTypedSubjectAltNames() {
				sans = append(sans, s.GetMatcher().GetExact())
			}
			if got := strings.Join(sans, " "); got != hosts || tls.GetSni() != name ||
				common.GetTlsCertificates()[0].GetPrivateKey().GetFilename() != "/e/client.key" ||
				len(common.GetAlpnProtocols()) != alpns {
				t.Errorf("%s: names %q, %v; want %q", cluster, got, tls, hosts)
			}
		}
		if s := clusterNamed(t, b.GetStaticResources().GetClusters(), envoy.ClusterAuthz).GetTransportSocket(); s != nil {
			t.Errorf("TLS to the edge beside Envoy: %v, want none", s)
		}
	}
}

// TestEdgeNeedsCores: an Envoy of an edge without cores would send SCIM requests where nobody serves them.
func TestEdgeNeedsCores(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	cfg.Cluster.Role = config.RoleEdge
	if _, err := envoy.Bootstrap(cfg); err == nil || !strings.Contains(err.Error(), "envoy.connect.cores") {
		t.Errorf("error %v, want one that names envoy.connect.cores", err)
	}
}

// TestEnvoyAcceptsAnEdge: envoy --mode validate accepts the configuration of an edge.
func TestEnvoyAcceptsAnEdge(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	asEdge(cfg)
	validated(t, cfg)
}

// validated prints the configuration of Envoy and lets Envoy validate it.
func validated(t *testing.T, cfg *config.Config) {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := envoybin.CacheDir(wd)
	if err != nil {
		t.Fatal(err)
	}
	bin, err := envoybin.Locate(t.Context(), cache, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := envoy.Print(&out, cfg); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.CommandContext(t.Context(), bin, "--mode", "validate", "-c", file, "--log-level", "warning").CombinedOutput()
	if err != nil {
		t.Fatalf("envoy --mode validate: %v\n%s", err, got)
	}
}

// TestLeashIsPinged: Envoy notices that scimward hangs, if another process might answer meanwhile that a user is
// locked, and that it is out of reach.
func TestLeashIsPinged(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*config.Config)
		pinged bool
	}{
		"one process, on a socket": {func(*config.Config) {}, false},
		"one process, elsewhere":   {func(c *config.Config) { c.Envoy.Connect.Leash = "10.0.0.1:8470" }, true},
		"an edge":                  {asEdge, true},
		"a core, on a socket, too": {func(c *config.Config) { c.Cluster.Role = config.RoleCore }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := parseFixture(t)
			tc.change(cfg)
			b, err := envoy.Bootstrap(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range b.GetStaticResources().GetClusters() {
				var own *corev3.KeepaliveSettings
				for _, o := range c.GetTypedExtensionProtocolOptions() {
					var options upstreamv3.HttpProtocolOptions
					if err := o.UnmarshalTo(&options); err != nil {
						t.Fatal(err)
					}
					own = options.GetExplicitHttpConfig().GetHttp2ProtocolOptions().GetConnectionKeepalive()
				}
				if pinged := own != nil; pinged != (tc.pinged && c.GetName() == envoy.ClusterLeash) {
					t.Errorf("%s: pinged = %t", c.GetName(), pinged)
				}
				if got := own.GetInterval().AsDuration() + own.GetTimeout().AsDuration(); own != nil && got != 6*time.Second {
					t.Errorf("%s: pings that nobody answers end it after %s, want 6s", c.GetName(), got)
				}
			}
		})
	}
}
