package envoy

import (
	"slices"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/headers"
)

const (
	filterAuthz = "envoy.filters.http.ext_authz"
	filterLeash = "envoy.filters.http.ext_proc"
)

func (b *builder) connectionManager(cfg *config.Config) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                   "scimward",
		CodecType:                    hcmv3.HttpConnectionManager_AUTO,
		RouteSpecifier:               &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: b.routes(cfg)},
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: escapedSlashes(cfg),
		StripPortMode:                &hcmv3.HttpConnectionManager_StripAnyHostPort{StripAnyHostPort: true},
		StripTrailingHostDot:         true,
		UseRemoteAddress:             wrapperspb.Bool(true),
		ForwardClientCertDetails:     hcmv3.HttpConnectionManager_SANITIZE,
		ServerHeaderTransformation:   hcmv3.HttpConnectionManager_PASS_THROUGH,
		MaxRequestHeadersKb:          wrapperspb.UInt32(60),
		RequestHeadersTimeout:        durationpb.New(10 * time.Second),
		StreamIdleTimeout:            durationpb.New(5 * time.Minute),
		DrainTimeout:                 durationpb.New(5 * time.Second),
		// Envoy waits this long before it closes the connection of an ended stream. With the default, a
		// locked user would keep receiving for a second.
		DelayedCloseTimeout: durationpb.New(100 * time.Millisecond),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
			MaxHeadersCount:              wrapperspb.UInt32(100),
			IdleTimeout:                  durationpb.New(15 * time.Minute),
		},
		// accept_http_10, allow_chunked_length and custom methods stay off.
		HttpProtocolOptions:             &corev3.Http1ProtocolOptions{},
		Http2ProtocolOptions:            &corev3.Http2ProtocolOptions{MaxConcurrentStreams: wrapperspb.UInt32(256)},
		StreamErrorOnInvalidHttpMessage: wrapperspb.Bool(false),
		LocalReplyConfig:                localReplies(cfg),
		AccessLog:                       b.accessLog(cfg),
		EarlyHeaderMutationExtensions:   []*corev3.TypedExtensionConfig{b.earlyRemoval(cfg)},
		HttpFilters: []*hcmv3.HttpFilter{
			{Name: filterAuthz, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(extAuthz(cfg))}},
			{Name: filterLeash, Disabled: true, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(leash(cfg))}},
			{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(&routerv3.Router{
				RejectConnectRequestEarlyData: wrapperspb.Bool(true),
			})}},
		},
	}
}

// escapedSlashes refuses them in Envoy, unless an app allows them. The setting is one of the listener.
// So the sidecar then refuses them for the other apps, for SCIM and for the token endpoint.
func escapedSlashes(cfg *config.Config) hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction {
	for _, a := range cfg.AllApps() {
		if a.EncodedSlashes == "allow" {
			return hcmv3.HttpConnectionManager_KEEP_UNCHANGED
		}
	}
	return hcmv3.HttpConnectionManager_REJECT_REQUEST
}

// earlyRemoval removes headers that a client must not send before any filter sees them.
// request_headers_to_remove of the virtual host runs after ext_authz, so it would also remove the
// headers of the sidecar.
func (b *builder) earlyRemoval(cfg *config.Config) *corev3.TypedExtensionConfig {
	matching := func(m *matcherv3.StringMatcher) *mutationv3.HeaderMutation {
		return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
			RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: m},
		}}
	}
	mutations := []*mutationv3.HeaderMutation{
		matching(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: headers.Prefix}, IgnoreCase: true,
		}),
		matching(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: headers.AmbiguousPattern},
		}}),
	}
	read := subjectHeaders(cfg)
	for _, h := range append(headers.Gateways(), "x-envoy-auth-partial-body") {
		if !slices.Contains(read, h) {
			mutations = append(mutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: h}})
		}
	}
	return &corev3.TypedExtensionConfig{
		Name:        "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: b.any(&earlyv3.HeaderMutation{Mutations: mutations}),
	}
}

// subjectHeaders returns the request headers that contain credentials, sorted.
func subjectHeaders(cfg *config.Config) []string {
	var out []string
	for _, a := range cfg.AllApps() {
		out = append(out, a.ReadHeaders()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func grpcService(cfg *config.Config, cluster string) *corev3.GrpcService {
	return &corev3.GrpcService{
		Timeout: durationpb.New(cfg.Envoy.CheckTimeout),
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: cluster, Authority: "scimward",
		}},
	}
}

// extAuthz sends every request to the authorizer and fails closed.
func extAuthz(cfg *config.Config) *authzv3.ExtAuthz {
	seen := append(headers.Wanted(), "dpop", "host", "traceparent")
	seen = append(seen, subjectHeaders(cfg)...)
	slices.Sort(seen)
	// The authorizer refuses a reserved header of a client that passed the early removal.
	allowed := &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{{
		MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: headers.Prefix}, IgnoreCase: true,
	}}}
	for _, h := range slices.Compact(seen) {
		allowed.Patterns = append(allowed.Patterns, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: h}, IgnoreCase: true,
		})
	}
	if cfg.PassesEveryHeader(time.Now()) {
		allowed = nil
	}
	return &authzv3.ExtAuthz{
		Services:            &authzv3.ExtAuthz_GrpcService{GrpcService: grpcService(cfg, ClusterAuthz)},
		TransportApiVersion: corev3.ApiVersion_V3,
		FailureModeAllow:    false,
		StatusOnError:       &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		DenyAtDisable: &corev3.RuntimeFeatureFlag{
			DefaultValue: wrapperspb.Bool(true), RuntimeKey: "scimward.deny_at_disable",
		},
		// with_request_body is set per route, so that application bodies stream.
		EncodeRawHeaders:  true,
		AllowedHeaders:    allowed,
		IncludeTlsSession: true,
		// The check learns the certificate from Envoy, where a client may present one.
		IncludePeerCertificate: len(certificateHosts(cfg)) > 0,
		ClearRouteCache:        false,
		ValidateMutations:      true,
		DecoderHeaderMutationRules: &mutationv3.HeaderMutationRules{
			DisallowAll:     wrapperspb.Bool(true),
			AllowExpression: &matcherv3.RegexMatcher{Regex: headers.MutationPattern},
			DisallowIsError: wrapperspb.Bool(true),
		},
		EnforceResponseHeaderLimits: true,
		MaxDeniedResponseBodyBytes:  4096,
		StatPrefix:                  "scimward",
	}
}

// leash opens a gRPC stream for the life of a request, so that the sidecar can end the request. The
// stream carries no byte of the body.
func leash(cfg *config.Config) *procv3.ExternalProcessor {
	service := grpcService(cfg, ClusterLeash)
	service.Timeout = nil // the stream lives as long as the request
	return &procv3.ExternalProcessor{
		GrpcService:      service,
		FailureModeAllow: false,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		MessageTimeout:   durationpb.New(cfg.Envoy.CheckTimeout),
		StatPrefix:       "scimward",
		ProcessingMode: &procv3.ProcessingMode{
			RequestHeaderMode:   procv3.ProcessingMode_SEND,
			ResponseHeaderMode:  procv3.ProcessingMode_SKIP,
			RequestBodyMode:     procv3.ProcessingMode_NONE,
			ResponseBodyMode:    procv3.ProcessingMode_NONE,
			RequestTrailerMode:  procv3.ProcessingMode_SKIP,
			ResponseTrailerMode: procv3.ProcessingMode_SEND,
		},
		MutationRules: &mutationv3.HeaderMutationRules{
			DisallowAll: wrapperspb.Bool(true), DisallowIsError: wrapperspb.Bool(true),
		},
		MetadataOptions: &procv3.MetadataOptions{ForwardingNamespaces: &procv3.MetadataOptions_MetadataNamespaces{
			Untyped: []string{filterAuthz},
		}},
	}
}

func perRoute(surface, tenant, app string, buffer *authzv3.BufferSettings) *authzv3.ExtAuthzPerRoute {
	settings := &authzv3.CheckSettings{
		ContextExtensions:           map[string]string{"surface": surface, "tenant": tenant, "app": app},
		WithRequestBody:             buffer,
		DisableRequestBodyBuffering: buffer == nil,
	}
	return &authzv3.ExtAuthzPerRoute{Override: &authzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: settings}}
}

func buffered(cfg *config.Config) *authzv3.BufferSettings {
	return &authzv3.BufferSettings{
		MaxRequestBytes:     uint32(cfg.Envoy.MaxBodyBytes),
		AllowPartialMessage: false,
		PackAsBytes:         true, // the policy and the handler must see the same bytes
	}
}

// bufferedStart is buffered for SCIM. Envoy sends the start of a larger body too. scimward lets the body of
// a group pass and decides on the whole where it arrives. It refuses any other itself: Envoy's refusal would
// hide that the client asked for a deactivation.
func bufferedStart(cfg *config.Config) *authzv3.BufferSettings {
	b := buffered(cfg)
	b.AllowPartialMessage = true
	return b
}

// foreignIdentity returns the identity headers that the early removal leaves for another application.
// Envoy removes them after the check, so they are none of those that the authorizer sets.
func foreignIdentity(cfg *config.Config, a *config.App) []string {
	var out []string
	for _, h := range subjectHeaders(cfg) {
		own := slices.ContainsFunc(a.Subjects, func(s config.Subject) bool { return s.Header == h || s.IssuedHeader == h })
		if !own && slices.Contains(headers.Gateways(), h) {
			out = append(out, h)
		}
	}
	return out
}

func virtualHost(name string, domains []string) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: name, Domains: domains, RequireTls: routev3.VirtualHost_ALL}
}

// routes makes a virtual host for each app. The SCIM routes of a tenant are on the host of its
// external URL.
func (b *builder) routes(cfg *config.Config) *routev3.RouteConfiguration {
	out := &routev3.RouteConfiguration{Name: "scimward", ValidateClusters: wrapperspb.Bool(true)}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		shared := false
		for j := range t.Apps {
			a := &t.Apps[j]
			host := virtualHost(t.Name+"/"+a.Name, a.Hosts)
			host.RequestHeadersToRemove = foreignIdentity(cfg, a)
			if slices.Contains(a.Hosts, t.Host()) {
				host.Routes = b.scimRoutes(cfg, t)
				shared = true
			}
			host.Routes = append(host.Routes, b.appRoutes(cfg, t, a)...)
			out.VirtualHosts = append(out.VirtualHosts, host)
		}
		if !shared {
			host := virtualHost(t.Name, []string{t.Host()})
			host.Routes = b.scimRoutes(cfg, t)
			out.VirtualHosts = append(out.VirtualHosts, host)
		}
	}
	return out
}
