package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/headers"
)

// Envoy asks each core so often whether it has a lease, and skips it after so many wrong answers.
const (
	healthInterval  = time.Second
	healthThreshold = 2
)

// amongCores lets Envoy use only cores that may decide. Without any it answers 503.
func amongCores(c *clusterv3.Cluster, grpc bool) {
	check := &corev3.HealthCheck{
		Timeout: durationpb.New(time.Second), Interval: durationpb.New(healthInterval),
		// Without traffic the default is a minute, which is too late for the first request.
		NoTrafficInterval:  durationpb.New(healthInterval),
		UnhealthyThreshold: wrapperspb.UInt32(healthThreshold), HealthyThreshold: wrapperspb.UInt32(1),
		HealthChecker: &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: &corev3.HealthCheck_HttpHealthCheck{
			Path: headers.ReadyPath, Host: "scimward",
		}},
	}
	if grpc {
		check.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{
			ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		}}
	}
	c.HealthChecks = []*corev3.HealthCheck{check}
	// With the default, Envoy would use the others too while less than half may decide.
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{}}
}

// The conditions under which no core has worked on a request: no connection, a refused stream, a request of which
// nothing was sent, and the answer of a process without a SCIM service (421).
const (
	nothingSent   = "connect-failure,refused-stream,reset-before-request"
	notReceived   = nothingSent + ",retriable-status-codes"
	misdirected   = 421
	furtherCores  = 2
	selectAnother = 5 // attempts to choose a core that was not asked yet
)

// unreceived sends a request to another core if none has worked on it. Envoy must never repeat any other one: a change
// that a core has received may be in force, whatever the answer is.
func (b *builder) unreceived() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn: notReceived, RetriableStatusCodes: []uint32{misdirected}, NumRetries: wrapperspb.UInt32(furtherCores),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: b.any(&previousv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: selectAnother,
	}
}

// askCores sends the checks of a route to the cores.
func askCores(cfg *config.Config) *corev3.GrpcService {
	service := grpcService(cfg, ClusterCores)
	service.RetryPolicy = &corev3.RetryPolicy{RetryOn: nothingSent, NumRetries: wrapperspb.UInt32(furtherCores)}
	return service
}
