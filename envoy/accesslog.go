package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/headers"
)

// accessLog writes a line of JSON for each request to Envoy's standard output, with the id of the decision. It has no
// path and no header of the client: they may contain names and tokens. The decision log and the log of scimward have
// the rest under the same id.
func (b *builder) accessLog(cfg *config.Config) []*accesslogv3.AccessLog {
	if cfg.Envoy.AccessLog == "off" {
		return nil
	}
	line := map[string]*structpb.Value{}
	for name, operator := range map[string]string{
		"time": "%START_TIME%", "method": "%REQ(:METHOD)%", "status": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%",
		"details": "%RESPONSE_CODE_DETAILS%", "duration_ms": "%DURATION%", "bytes_received": "%BYTES_RECEIVED%",
		"bytes_sent": "%BYTES_SENT%", "cluster": "%UPSTREAM_CLUSTER%",
		"request_id": "%REQ(X-REQUEST-ID)%",
		"decision":   "%DYNAMIC_METADATA(" + filterAuthz + ":" + headers.DecisionKey + ")%",
	} {
		line[name] = structpb.NewStringValue(operator)
	}
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.stdout",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: line}},
			}},
		})},
	}}
}
