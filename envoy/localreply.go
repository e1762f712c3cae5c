package envoy

import (
	"strconv"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/headers"
)

// scimPath matches the paths whose errors are SCIM errors, in any spelling that Envoy refuses itself.
const scimPath = `^(https?://[^/]*)?/+scim([/?%;\\].*)?$`

// retryAfter is how long a client waits after an answer that scimward could not give, in seconds.
const retryAfter = "2"

// localReplies makes the answers of Envoy itself SCIM errors (RFC 7644 §3.12) on SCIM routes. Answers
// that scimward gave, and answers on other routes, stay as they are.
//
// When Envoy cannot parse a request, its path is unknown. Such an answer is a SCIM error, too, as
// application/json, because a browser shows that and would download application/scim+json.
func localReplies(cfg *config.Config) *hcmv3.LocalReplyConfig {
	out := &hcmv3.LocalReplyConfig{}
	for _, e := range []struct {
		status   uint32
		detail   string
		pathless bool // Envoy gives it before it knows the path
		retry    bool
	}{
		{400, "the proxy cannot read the request: path, headers or body contain what is not allowed", true, false},
		{404, "no service has this host and path: check the URL", false, false},
		{408, "the request did not arrive in time: send it again", false, false},
		{413, "the body is too large: send at most " + strconv.Itoa(cfg.Envoy.MaxBodyBytes) + " bytes", false, false},
		{426, "this protocol version is not supported: use HTTP/1.1 or HTTP/2", false, false},
		{431, "the headers are too large or too many: send at most 60 KiB and 100 headers", true, false},
		{500, "the proxy could not process the request: tell the operator", false, false},
		{502, "the service gave no valid answer: send the request again", false, true},
		{503, "the service does not answer at the moment: send the request again", false, true},
		{504, "the service did not answer in time: send the request again", false, true},
	} {
		added := []*corev3.HeaderValueOption{replyHeader("cache-control", "no-store")}
		if e.retry {
			added = append(added, replyHeader("retry-after", retryAfter))
		}
		body := scimError(e.status, e.detail)
		out.Mappers = append(out.Mappers, &hcmv3.ResponseMapper{
			Filter: allOf(statusIs(e.status), pathMatches(scimPath), notAnswered()), HeadersToAdd: added,
			BodyFormatOverride: jsonFormat(body, "application/scim+json"),
		})
		if e.pathless {
			out.Mappers = append(out.Mappers, &hcmv3.ResponseMapper{
				Filter: allOf(statusIs(e.status), noPath()), HeadersToAdd: added,
				BodyFormatOverride: jsonFormat(body, "application/json"),
			})
		}
	}
	return out
}

func scimError(status uint32, detail string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"schemas": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{
			structpb.NewStringValue("urn:ietf:params:scim:api:messages:2.0:Error"),
		}}),
		"status": structpb.NewStringValue(strconv.Itoa(int(status))),
		"detail": structpb.NewStringValue(detail),
	}}
}

func jsonFormat(body *structpb.Struct, contentType string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: body}, ContentType: contentType,
	}
}

func replyHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

func allOf(filters ...*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: filters},
	}}
}

func statusIs(status uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    accesslogv3.ComparisonFilter_EQ,
			Value: &corev3.RuntimeUInt32{DefaultValue: status, RuntimeKey: "scimward.local_reply"},
		}},
	}}
}

func headerFilter(m *routev3.HeaderMatcher) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{
		HeaderFilter: &accesslogv3.HeaderFilter{Header: m},
	}}
}

func pathMatches(expression string) *accesslogv3.AccessLogFilter {
	return headerFilter(matching(":path", expression))
}

func noPath() *accesslogv3.AccessLogFilter {
	return headerFilter(&routev3.HeaderMatcher{
		Name: ":path", HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: false},
	})
}

// notAnswered is true unless scimward gave the answer, which says so in its metadata
// (headers.Answered).
func notAnswered() *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_MetadataFilter{
		MetadataFilter: &accesslogv3.MetadataFilter{
			Matcher: &matcherv3.MetadataMatcher{
				Filter: filterAuthz,
				Path: []*matcherv3.MetadataMatcher_PathSegment{{
					Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: headers.Answered},
				}},
				Value: &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_BoolMatch{BoolMatch: false}},
			},
			MatchIfKeyNotFound: wrapperspb.Bool(true),
		},
	}}
}
