// Package envoy writes the Envoy configuration that belongs to a scimward configuration.
// [Bootstrap] builds typed messages, so that an unknown field or a wrong type does not compile.
// [Validate] runs the generated rules on every message, including messages inside an Any.
//
// Tests check what the perimeter needs:
//   - ext_authz is on every route and fails closed: without an answer Envoy sends 503.
//   - Only the configured routes buffer whole bodies, and SCIM write routes the start of one.
//   - Paths are normalised once. Escaped slashes are refused unless an application takes them.
//   - Identity headers of the client are removed before ext_authz sees the request.
//   - SCIM never shares a cluster with the application.
//   - Envoy asks for client certificates only at the hosts of tenants that use them, and removes what a
//     client says about its certificate.
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
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
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
	ClusterLeash = "scimward_leash" // the same listener as ClusterAuthz
	ClusterSCIM  = "scimward_scim"
	// ClusterCores answers the checks of SCIM and token requests where the cores are listed.
	ClusterCores = "scimward_cores"
)

// Limits of the connections and requests to one cluster, over all threads of Envoy. The default of
// Envoy is 1024. Open streams on a shared cluster would use it up. Every further check, including
// the deactivation, would then get 503.
const (
	maxChecks = 8192
	// maxOpen is above the 10,000 streams that the leash accepts, so that the leash refuses first.
	maxOpen = 12288
)

// builder keeps the first error, which keeps the message literals readable.
type builder struct {
	err   error
	envoy *config.Envoy
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) any(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		b.fail(fmt.Errorf("packing %s: %w", m.ProtoReflect().Descriptor().FullName(), err))
	}
	return a
}

// Bootstrap returns the complete static configuration for cfg, which comes from package config.
func Bootstrap(cfg *config.Config) (*bootstrapv3.Bootstrap, error) {
	if cfg.Envoy.TLS.Cert == "" {
		return nil, fmt.Errorf("envoy.tls: the listener needs a certificate; set cert and key")
	}
	if cfg.Cluster.IsEdge() && len(cfg.Envoy.Connect.Cores) == 0 {
		return nil, fmt.Errorf("envoy.connect.cores: an edge has no SCIM service; list authz and scim of every core")
	}
	b := &builder{envoy: &cfg.Envoy}
	runtime := &structpb.Struct{Fields: map[string]*structpb.Value{
		// Without this setting Envoy accepts junk after the data of a chunk.
		"envoy.reloadable_features.strict_chunk_parsing": structpb.NewBoolValue(true),
	}}
	out := &bootstrapv3.Bootstrap{
		Node:  &corev3.Node{Id: "scimward", Cluster: "scimward"},
		Admin: &bootstrapv3.Admin{Address: b.address("envoy.admin", cfg.Envoy.Admin)},
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
			Name: "scimward", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: runtime},
		}}},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{b.listener(cfg)},
			Clusters:  b.clusters(cfg),
		},
	}
	if b.err != nil {
		return nil, b.err
	}
	return out, nil
}

func (b *builder) address(key, addr string) *corev3.Address {
	a, err := address(addr)
	if err != nil {
		b.fail(fmt.Errorf("%s: %w", key, err))
	}
	return a
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

func (b *builder) clusters(cfg *config.Config) []*clusterv3.Cluster {
	var out []*clusterv3.Cluster
	for _, own := range ownClusters(cfg) {
		c := b.cluster(own.name, own.key, own.limit > 0, own.addrs...)
		if own.listener.Cert != "" {
			c.TransportSocket = b.listenerTLS(&own)
		}
		if own.ofCores() {
			amongCores(c, own.limit > 0)
		}
		if own.limit > 0 {
			c.CircuitBreakers = atMost(own.limit)
		}
		if own.name == ClusterLeash && !alone(cfg) {
			c.TypedExtensionProtocolOptions = b.http2(&corev3.Http2ProtocolOptions{ConnectionKeepalive: pings(cfg)})
		}
		out = append(out, c)
	}
	for t, a := range cfg.AllApps() {
		name := appCluster(t.Name, a.Name)
		u, err := url.Parse(a.Upstream)
		if err != nil {
			b.fail(fmt.Errorf("upstream of %s: %w", name, err))
			continue
		}
		c := b.cluster(name, "upstream of "+name, false, u.Host)
		if u.Scheme == "https" {
			c.TransportSocket = b.upstreamTLS(a.UpstreamCAFile, u.Hostname())
		}
		c.CircuitBreakers = atMost(maxOpen)
		out = append(out, c)
	}
	return out
}

// atMost limits connections, pending requests and running requests.
func atMost(n uint32) *clusterv3.CircuitBreakers {
	v := wrapperspb.UInt32(n)
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
		{MaxConnections: v, MaxPendingRequests: v, MaxRequests: v},
	}}
}

func appCluster(tenant, app string) string { return "app_" + tenant + "_" + app }

// cluster makes a cluster with an endpoint for each address, without TLS. key names them in an error.
func (b *builder) cluster(name, key string, h2 bool, addrs ...string) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 name,
		ConnectTimeout:       durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
	}
	ends := &endpointv3.LocalityLbEndpoints{}
	for _, addr := range addrs {
		a := b.address(key, addr)
		ends.LbEndpoints = append(ends.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: a}},
		})
		if s := a.GetSocketAddress(); s != nil && net.ParseIP(s.GetAddress()) == nil {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		}
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{
		ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{ends},
	}
	if h2 {
		c.TypedExtensionProtocolOptions = b.http2(&corev3.Http2ProtocolOptions{})
	}
	return c
}

func (b *builder) http2(o *corev3.Http2ProtocolOptions) map[string]*anypb.Any {
	return map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": b.any(&upstreamv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: o,
					},
				},
			},
		}),
	}
}

// alone reports whether Envoy's scimward answers for every lock itself and is on the same machine. If it hangs, nobody
// answers that a user is locked.
func alone(cfg *config.Config) bool {
	_, local := config.UnixPath(cfg.Envoy.Connect.Leash)
	return local && cfg.Cluster.Role == config.RoleStandalone
}

// pings let Envoy notice that scimward hangs or is out of reach, and end the streams that it cannot end any more. A
// process that hangs loses its lease after four fifths at the earliest, because it renews after one. Others answer that
// a user is locked then, so the streams have to end before: two fifths suffice, with what Envoy adds to the interval.
func pings(cfg *config.Config) *corev3.KeepaliveSettings {
	fifth := durationpb.New(cfg.Cluster.Lease / 5)
	return &corev3.KeepaliveSettings{Interval: fifth, Timeout: fifth}
}

func (b *builder) transport(m proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(m)},
	}
}

func (b *builder) listener(cfg *config.Config) *listenerv3.Listener {
	out := &listenerv3.Listener{
		Name:    "scimward",
		Address: b.address("envoy.listen", cfg.Envoy.Listen),
		// A buffered body must fit. max_request_bytes of ext_authz does not raise this limit.
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(uint32(max(cfg.Envoy.MaxBodyBytes+65536, 1<<20))),
		FilterChains:                  []*listenerv3.FilterChain{b.filterChain(cfg, nil)},
	}
	if hosts := certificateHosts(cfg); len(hosts) > 0 {
		out.FilterChains = append(out.FilterChains, b.filterChain(cfg, hosts))
		out.ListenerFilters = []*listenerv3.ListenerFilter{{ // reads the server name
			Name:       "envoy.filters.listener.tls_inspector",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: b.any(&inspectorv3.TlsInspector{})},
		}}
	}
	return out
}

// filterChain serves the connections for the given server names, which may present a client certificate, or
// with nil all others.
func (b *builder) filterChain(cfg *config.Config, certified []string) *listenerv3.FilterChain {
	own := cfg.Envoy.TLS
	downstream := &tlsv3.DownstreamTlsContext{CommonTlsContext: b.downstreamTLS(own)}
	downstream.CommonTlsContext.AlpnProtocols = []string{"h2", "http/1.1"}
	if own.ClientCA != "" {
		downstream.RequireClientCertificate = wrapperspb.Bool(true)
	} else if certified != nil {
		// Who issued the certificate does not matter: the access token names it (RFC 8705 §6.2).
		downstream.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{
				TrustChainVerification: tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
			},
		}
	}
	manager := b.connectionManager(cfg)
	out := &listenerv3.FilterChain{TransportSocket: b.transport(downstream)}
	if certified != nil {
		out.FilterChainMatch = &listenerv3.FilterChainMatch{ServerNames: certified}
		// Envoy removes what the client sent, and tells the SCIM service the hash of the certificate.
		manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	}
	out.Filters = []*listenerv3.Filter{{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(manager)},
	}}
	return out
}

// certificateHosts returns the hosts of the tenants whose clients may use a certificate.
func certificateHosts(cfg *config.Config) []string {
	var out []string
	for i := range cfg.Tenants {
		if t := &cfg.Tenants[i]; t.Certificates() {
			out = append(out, t.Host())
		}
	}
	return out
}
