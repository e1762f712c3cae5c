package envoy_test

import (
	"slices"
	"testing"

	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
)

// TestClientCertificates: Envoy asks for a certificate only at the hosts of tenants that use certificates,
// and requires none there. It always removes what a client says about one, and applications get nothing.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	for _, sender := range []string{config.SenderNone, config.SenderDPoP, config.SenderCertificate, config.SenderEither} {
		cfg := parseFixture(t)
		cfg.Tenants[1].IdentityServices[0].SenderConstrained = sender
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := envoy.Validate(b); err != nil {
			t.Fatal(err)
		}
		used := sender == config.SenderCertificate || sender == config.SenderEither
		l := b.GetStaticResources().GetListeners()[0]
		if (len(l.GetFilterChains()) == 2) != used || (len(l.GetListenerFilters()) == 1) != used {
			t.Fatalf("%s: %d filter chains, %d listener filters", sender, len(l.GetFilterChains()), len(l.GetListenerFilters()))
		}
		for i, chain := range l.GetFilterChains() {
			var tls tlsv3.DownstreamTlsContext
			var hcm hcmv3.HttpConnectionManager
			if err := chain.GetTransportSocket().GetTypedConfig().UnmarshalTo(&tls); err != nil {
				t.Fatal(err)
			}
			if err := chain.GetFilters()[0].GetTypedConfig().UnmarshalTo(&hcm); err != nil {
				t.Fatal(err)
			}
			names, forward := []string(nil), hcmv3.HttpConnectionManager_SANITIZE
			if i == 1 {
				names, forward = []string{"globex.localhost"}, hcmv3.HttpConnectionManager_SANITIZE_SET
			}
			asks := tls.GetCommonTlsContext().GetValidationContext() != nil
			if !slices.Equal(chain.GetFilterChainMatch().GetServerNames(), names) || asks != (i == 1) ||
				hcm.GetForwardClientCertDetails() != forward || tls.GetRequireClientCertificate().GetValue() ||
				hcm.GetSetCurrentClientCertDetails() != nil {
				t.Errorf("%s, chain %d: for %v, %s, asks %t", sender, i, chain.GetFilterChainMatch().GetServerNames(),
					hcm.GetForwardClientCertDetails(), asks)
			}
			for _, h := range hcm.GetRouteConfig().GetVirtualHosts() {
				for _, r := range h.GetRoutes() {
					removed := slices.Contains(r.GetRequestHeadersToRemove(), "x-forwarded-client-cert")
					if removed != (r.GetRoute().GetCluster() != envoy.ClusterSCIM) {
						t.Errorf("%s: route %s removes the header: %t", sender, r.GetName(), removed)
					}
				}
			}
		}
		if collect[*authzv3.ExtAuthz](t, b)[0].GetIncludePeerCertificate() != used {
			t.Errorf("%s: the check has the certificate: %t", sender, !used)
		}
	}
}

// TestCertificatesOfAuthorities: where the listener requires certificates of an authority, the hosts of
// tenants that use certificates do so, too.
func TestCertificatesOfAuthorities(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	cfg.Tenants[1].IdentityServices[0].SenderConstrained = config.SenderCertificate
	cfg.Envoy.TLS.ClientCA = cfg.Envoy.TLS.Cert
	b, err := envoy.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, tls := range collect[*tlsv3.DownstreamTlsContext](t, b) {
		context := tls.GetCommonTlsContext().GetValidationContext()
		if !tls.GetRequireClientCertificate().GetValue() || context.GetTrustedCa().GetFilename() == "" ||
			context.GetTrustChainVerification() != tlsv3.CertificateValidationContext_VERIFY_TRUST_CHAIN {
			t.Errorf("a filter chain requires no certificate: %v", tls)
		}
	}
}
