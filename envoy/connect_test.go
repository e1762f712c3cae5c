package envoy_test

import (
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
)

// mutual changes a configuration into one whose listeners Envoy reaches over mTLS.
func mutual(cfg *config.Config) {
	own := config.ListenerTLS{Cert: "/s/server.crt", Key: "/s/server.key", ClientCA: "/s/ca.crt"}
	cfg.Listen.AuthzTLS, cfg.Listen.SCIMTLS = own, own
	cfg.Envoy.Connect = config.Connect{
		Authz: "sidecar.example:8470", Leash: "sidecar.example:8471", SCIM: "10.1.2.3:8460",
		Cert: "/e/client.crt", Key: "/e/client.key", CA: "/e/ca.crt",
	}
}

func clusterOf(t *testing.T, b *bootstrapv3.Bootstrap, name string) (*clusterv3.Cluster, *tlsv3.UpstreamTlsContext) {
	t.Helper()
	for _, c := range b.GetStaticResources().GetClusters() {
		if c.GetName() == name {
			var tls tlsv3.UpstreamTlsContext
			if err := c.GetTransportSocket().GetTypedConfig().UnmarshalTo(&tls); err != nil {
				t.Fatal(err)
			}
			return c, &tls
		}
	}
	t.Fatalf("no cluster %s", name)
	return nil, nil
}

// TestConnect: each cluster has its own address, shows the certificate of Envoy, and accepts only the listener.
func TestConnect(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		host  string
		port  uint32
		kind  clusterv3.Cluster_DiscoveryType
		sni   string
		san   tlsv3.SubjectAltNameMatcher_SanType
		alpns int
	}{
		envoy.ClusterAuthz: {"sidecar.example", 8470, clusterv3.Cluster_STRICT_DNS, "sidecar.example", tlsv3.SubjectAltNameMatcher_DNS, 1},
		envoy.ClusterLeash: {"sidecar.example", 8471, clusterv3.Cluster_STRICT_DNS, "sidecar.example", tlsv3.SubjectAltNameMatcher_DNS, 1},
		envoy.ClusterSCIM:  {"10.1.2.3", 8460, clusterv3.Cluster_STATIC, "", tlsv3.SubjectAltNameMatcher_IP_ADDRESS, 0},
	} {
		cfg := parseFixture(t)
		mutual(cfg)
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c, tls := clusterOf(t, b, name)
		at := c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
		if at.GetAddress() != want.host || at.GetPortValue() != want.port || c.GetType() != want.kind {
			t.Errorf("%s: %v %s", name, at, c.GetType())
		}
		common := tls.GetCommonTlsContext()
		trust := common.GetValidationContext()
		sans := trust.GetMatchTypedSubjectAltNames()
		if tls.GetSni() != want.sni || len(sans) != 1 || sans[0].GetSanType() != want.san ||
			sans[0].GetMatcher().GetExact() != want.host || trust.GetTrustedCa().GetFilename() != "/e/ca.crt" ||
			common.GetTlsCertificates()[0].GetPrivateKey().GetFilename() != "/e/client.key" ||
			len(common.GetAlpnProtocols()) != want.alpns {
			t.Errorf("%s: %v", name, tls)
		}
	}
}

// TestConnectByFiles: with secrets_file, everything that can change is in that file, under the folder of Envoy.
func TestConnectByFiles(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	mutual(cfg)
	cfg.Envoy.SecretsFile, cfg.Envoy.Dir, cfg.Envoy.Connect.ServerName = "/x/secrets.yaml", ".", "spiffe://example/scimward"
	b, err := envoy.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := envoy.Secrets(cfg)
	if err != nil {
		t.Fatal(err)
	}
	byName, files := map[string]*tlsv3.Secret{}, map[string]string{}
	for _, f := range secrets {
		var s tlsv3.Secret
		if n := len(f.Content.GetResources()); n != 1 {
			t.Fatalf("%s has %d secrets: Envoy takes exactly one", f.Name, n)
		}
		if err := f.Content.GetResources()[0].UnmarshalTo(&s); err != nil {
			t.Fatal(err)
		}
		if err := envoy.Validate(f.Content); err != nil {
			t.Fatal(err)
		}
		byName[s.GetName()], files[s.GetName()] = &s, "./"+filepath.Base(f.Name)
	}
	for _, name := range []string{envoy.ClusterAuthz, envoy.ClusterLeash, envoy.ClusterSCIM} {
		_, tls := clusterOf(t, b, name)
		common := tls.GetCommonTlsContext()
		own := common.GetTlsCertificateSdsSecretConfigs()[0]
		trust := common.GetCombinedValidationContext().GetValidationContextSdsSecretConfig()
		for _, s := range []*tlsv3.SdsSecretConfig{own, trust} {
			if got := s.GetSdsConfig().GetPathConfigSource().GetPath(); got != files[s.GetName()] || got == "" {
				t.Errorf("%s: %s is in %s, want %s", name, s.GetName(), got, files[s.GetName()])
			}
		}
		sans := common.GetCombinedValidationContext().GetDefaultValidationContext().GetMatchTypedSubjectAltNames()
		pair, ca := byName[own.GetName()].GetTlsCertificate(), byName[trust.GetName()].GetValidationContext()
		if pair.GetCertificateChain().GetFilename() != "./client.crt" || pair.GetWatchedDirectory().GetPath() != "." ||
			ca.GetTrustedCa().GetFilename() != "./ca.crt" || ca.GetWatchedDirectory().GetPath() != "." ||
			len(sans) != 1 || sans[0].GetSanType() != tlsv3.SubjectAltNameMatcher_URI || tls.GetSni() != "" {
			t.Errorf("%s: shows %v, accepts %v", name, pair, ca)
		}
	}
}

// TestConnectNeedsCertificates: what Envoy could not connect with is an error that names the key to set.
func TestConnectNeedsCertificates(t *testing.T) {
	t.Parallel()
	for want, edit := range map[string]func(*config.Config){
		"listen.authz_tls has client_ca, so Envoy needs a certificate; set cert and key": func(c *config.Config) {
			c.Envoy.Connect.Cert, c.Envoy.Connect.Key = "", ""
		},
		"without the authority of its certificate; set ca": func(c *config.Config) {
			c.Envoy.Connect.CA, c.Envoy.Dir = "", "/etc/envoy"
		},
		"which name has the certificate of listen.scim_tls? Set server_name": func(c *config.Config) {
			c.Envoy.Connect.SCIM = "unix:/run/scim.sock"
		},
	} {
		cfg := parseFixture(t)
		mutual(cfg)
		edit(cfg)
		if _, err := envoy.Bootstrap(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
