// Package envoy writes the Envoy configuration that belongs to a scimward
// configuration. [Bootstrap] builds typed messages, so that an unknown field or a
// wrong type is a compile error; [Validate] runs the generated rules over every
// message, those inside an Any included.
//
// What must hold for the perimeter to be one (each asserted by a test):
// ext_authz is on every route and fails closed; answers that cannot be had are
// 503; request bodies are buffered whole on SCIM write routes and on the routes
// the configuration names, and nowhere else; paths are normalised once and
// escaped slashes refused; identity headers of the client are removed before
// ext_authz sees the request; SCIM never shares a cluster with the application.
package envoy

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/sidecar/config"
)

// Cluster names of the generated configuration.
const (
	ClusterAuthz = "scimward_authz"
	ClusterLeash = "scimward_leash" // same listener as ClusterAuthz
	ClusterSCIM  = "scimward_scim"
)

// Bounds of what is in flight to one cluster, over all threads of Envoy.
// Envoy's own bound is 1024, which as many open streams would use up: on a shared
// cluster every further check, and so the deactivation itself, would be 503.
const (
	maxChecks = 8192
	// maxOpen is above the 10,000 streams that the leash takes, so that the leash
	// answers first.
	maxOpen = 12288
)

// builder collects the first error of packing a message, so that the message
// literals stay readable.
type builder struct{ err error }

func (b *builder) any(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("packing %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return a
}

// Bootstrap returns the complete static configuration for cfg, which must have
// been loaded by package config.
func Bootstrap(cfg *config.Config) (*bootstrapv3.Bootstrap, error) {
	if cfg.Envoy.TLS.Cert == "" {
		return nil, fmt.Errorf("envoy.tls: the listener needs a certificate; set cert and key")
	}
	b := &builder{}
	listener, err := b.listener(cfg)
	if err != nil {
		return nil, err
	}
	clusters, err := b.clusters(cfg)
	if err != nil {
		return nil, err
	}
	admin, err := address(cfg.Envoy.Admin)
	if err != nil {
		return nil, fmt.Errorf("envoy.admin: %w", err)
	}
	runtime, err := structpb.NewStruct(map[string]any{
		// Without it junk behind a chunk passes (edge §3.3.1 line 11).
		"envoy.reloadable_features.strict_chunk_parsing": true,
	})
	if err != nil {
		return nil, fmt.Errorf("building the runtime layer: %w", err)
	}
	out := &bootstrapv3.Bootstrap{
		Node:  &corev3.Node{Id: "scimward", Cluster: "scimward"},
		Admin: &bootstrapv3.Admin{Address: admin},
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
			Name:           "scimward",
			LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: runtime},
		}}},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{listener},
			Clusters:  clusters,
		},
	}
	return out, b.err
}

// address turns HOST:PORT or unix:PATH into an Envoy address.
func address(s string) (*corev3.Address, error) {
	if p, ok := config.UnixPath(s); ok {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: p}}}, nil
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not HOST:PORT: %w", s, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q has no port: %w", s, err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}, nil
}

func (b *builder) clusters(cfg *config.Config) ([]*clusterv3.Cluster, error) {
	authz, err := b.authzCluster(cfg, ClusterAuthz, maxChecks)
	if err != nil {
		return nil, err
	}
	leash, err := b.authzCluster(cfg, ClusterLeash, maxOpen)
	if err != nil {
		return nil, err
	}
	scim, err := b.cluster(ClusterSCIM, cfg.Listen.SCIM, false)
	if err != nil {
		return nil, fmt.Errorf("listen.scim: %w", err)
	}
	if cfg.Listen.SCIMTLS.Cert != "" {
		scim.TransportSocket = b.upstreamTLS(config.TLS{}, cfg.Listen.SCIMTLS.Cert)
	}
	out := []*clusterv3.Cluster{authz, leash, scim}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		for j := range t.Apps {
			u, err := url.Parse(t.Apps[j].Upstream)
			if err != nil {
				return nil, fmt.Errorf("tenants[%d].apps[%d].upstream: %w", i, j, err)
			}
			c, err := b.cluster(appCluster(t.Name, t.Apps[j].Name), u.Host, false)
			if err != nil {
				return nil, fmt.Errorf("tenants[%d].apps[%d].upstream: %w", i, j, err)
			}
			if u.Scheme == "https" {
				c.TransportSocket = b.originTLS(u.Hostname(), t.Apps[j].UpstreamCAFile)
			}
			c.CircuitBreakers = atMost(maxOpen)
			out = append(out, c)
		}
	}
	return out, nil
}

// authzCluster dials the authz listener. Checks and leashes have a cluster each:
// however many streams are open, a check finds its way.
func (b *builder) authzCluster(cfg *config.Config, name string, most uint32) (*clusterv3.Cluster, error) {
	c, err := b.cluster(name, cfg.Listen.Authz, true)
	if err != nil {
		return nil, fmt.Errorf("listen.authz: %w", err)
	}
	if cfg.Listen.AuthzTLS.Cert != "" {
		c.TransportSocket = b.upstreamTLS(cfg.Listen.AuthzTLS, "")
	}
	c.CircuitBreakers = atMost(most)
	return c, nil
}

// atMost bounds connections, waiting and running requests alike.
func atMost(n uint32) *clusterv3.CircuitBreakers {
	v := wrapperspb.UInt32(n)
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
		{MaxConnections: v, MaxPendingRequests: v, MaxRequests: v},
	}}
}

func appCluster(tenant, app string) string { return "app_" + tenant + "_" + app }

// cluster makes one cluster with one endpoint, without TLS.
func (b *builder) cluster(name, addr string, h2 bool) (*clusterv3.Cluster, error) {
	a, err := address(addr)
	if err != nil {
		return nil, err
	}
	c := &clusterv3.Cluster{
		Name:           name,
		ConnectTimeout: durationpb.New(time.Second),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: a}},
			}}}},
		},
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	if s := a.GetSocketAddress(); s != nil && net.ParseIP(s.GetAddress()) == nil {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	}
	if h2 {
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": b.any(&upstreamv3.HttpProtocolOptions{
				UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{
					ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
						ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
							Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
						},
					},
				},
			}),
		}
	}
	return c, nil
}

func fileSource(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func tlsFloor() *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2}
}

// upstreamTLS dials a scimward listener: own presents a client certificate and
// trusts its CA; pin trusts exactly the certificate file of the other side.
func (b *builder) upstreamTLS(own config.TLS, pin string) *corev3.TransportSocket {
	common := &tlsv3.CommonTlsContext{TlsParams: tlsFloor()}
	trust := pin
	if own.Cert != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: fileSource(own.Cert), PrivateKey: fileSource(own.Key)}}
		trust = own.ClientCA
	}
	common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: fileSource(trust)},
	}
	return b.transport(&tlsv3.UpstreamTlsContext{CommonTlsContext: common})
}

// originTLS checks the application's certificate against ca and its own name.
func (b *builder) originTLS(host, ca string) *corev3.TransportSocket {
	return b.transport(&tlsv3.UpstreamTlsContext{
		Sni:                  host,
		AutoSniSanValidation: true,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams: tlsFloor(),
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
				ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: fileSource(ca)},
			},
		},
	})
}

func (b *builder) transport(m proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(m)},
	}
}

func (b *builder) listener(cfg *config.Config) (*listenerv3.Listener, error) {
	addr, err := address(cfg.Envoy.Listen)
	if err != nil {
		return nil, fmt.Errorf("envoy.listen: %w", err)
	}
	hcm := b.connectionManager(cfg)
	downstream := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams: tlsFloor(),
		TlsCertificates: []*tlsv3.TlsCertificate{{
			CertificateChain: fileSource(cfg.Envoy.TLS.Cert), PrivateKey: fileSource(cfg.Envoy.TLS.Key),
		}},
		AlpnProtocols: []string{"h2", "http/1.1"},
	}}
	if ca := cfg.Envoy.TLS.ClientCA; ca != "" {
		downstream.RequireClientCertificate = wrapperspb.Bool(true)
		downstream.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: fileSource(ca)},
		}
	}
	return &listenerv3.Listener{
		Name:    "scimward",
		Address: addr,
		// A buffered body must fit, whatever ext_authz is told (edge §2 row 7).
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(uint32(max(cfg.Envoy.MaxBodyBytes+65536, 1<<20))),
		FilterChains: []*listenerv3.FilterChain{{
			TransportSocket: b.transport(downstream),
			Filters: []*listenerv3.Filter{{
				Name:       "envoy.filters.network.http_connection_manager",
				ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(hcm)},
			}},
		}},
	}, nil
}
