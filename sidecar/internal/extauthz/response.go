package extauthz

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	ourheaders "github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/scim"
)

// reply is an encoded CheckResponse. It is never empty, because Envoy reads an empty one as an
// allow: nil is an answer that cannot be encoded, and the codec refuses it.
type reply []byte

// respond builds the answer. It is a denial, and only an allowed decision makes it an allow. d
// is an allow or a complete refusal, as Server.decide returns it.
func respond(d *authz.Decision, wantsJSON bool) reply {
	if d.Allowed() {
		return allow(d)
	}
	out, err := proto.Marshal(deny(d, wantsJSON))
	if err != nil {
		return nil
	}
	return out
}

func deny(d *authz.Decision, wantsJSON bool) *authv3.CheckResponse {
	a := render(d, wantsJSON)
	denied := &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(a.status)},
		Body:   a.body,
	}
	for i, kv := range a.headers {
		option := overwrite(kv[0], kv[1])
		if i > 0 && kv[0] == a.headers[i-1][0] { // a split cookie has several names
			option.AppendAction = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		}
		denied.Headers = append(denied.Headers, option)
	}
	out := &authv3.CheckResponse{
		Status:          &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse:    &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied},
		DynamicMetadata: answered(d.ID),
	}
	if d.Fault() {
		out.Status.Code = int32(codes.Unavailable)
		out.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: denied}
	}
	return out
}

// answered tells Envoy that the answer is ours, and its id. Envoy's local_reply_config rewrites the others.
func answered(id string) *structpb.Struct {
	fields := map[string]*structpb.Value{ourheaders.Answered: structpb.NewBoolValue(true)}
	if id != "" {
		fields[ourheaders.DecisionKey] = structpb.NewStringValue(id)
	}
	return &structpb.Struct{Fields: fields}
}

func overwrite(k, v string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: k, Value: v},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// answer is a refusal as the client receives it.
type answer struct {
	status  int
	headers [][2]string
	body    string
}

// render is this package's only mapping from a refusal to an answer: SCIM error JSON (RFC
// 7644 §3.12) on SCIM routes, RFC 6749 §5.2 JSON on OAuth routes, problem JSON (RFC 9457)
// or text on application routes.
func render(d *authz.Decision, wantsJSON bool) answer {
	a := answer{status: d.Status}
	add := func(k, v string) {
		if v != "" {
			a.headers = append(a.headers, [2]string{k, v})
		}
	}
	switch {
	case d.Surface == request.SurfaceSCIM:
		add("content-type", "application/scim+json")
		a.body = encode(scimError{
			Schemas: []string{scim.ErrorURN}, Status: strconv.Itoa(a.status), ScimType: d.ScimType, Detail: d.Detail,
		})
	case d.Surface == request.SurfaceOAuth:
		add("content-type", "application/json")
		a.body = encode(oauthError{Error: oauthCode(d), Description: d.Detail})
	case wantsJSON:
		add("content-type", "application/problem+json")
		a.body = encode(problem{Title: http.StatusText(a.status), Status: a.status, Detail: d.Detail, Code: d.Reason})
	default:
		add("content-type", "text/plain; charset=utf-8")
		a.body = d.Detail + "\n"
	}
	add("cache-control", "no-store")
	add(ourheaders.Decision, d.ID)
	add("www-authenticate", d.Challenge)
	add("dpop-nonce", d.Nonce)
	add("allow", d.AllowMethods)
	if d.Retry > 0 {
		add("retry-after", retryAfter(d.Retry))
	}
	for name := range strings.FieldsSeq(d.ClearCookie) {
		add("set-cookie", name+"=; Path=/; Max-Age=0; Secure; HttpOnly")
	}
	return a
}

type scimError struct {
	Schemas  []string `json:"schemas"`
	Status   string   `json:"status"`
	ScimType string   `json:"scimType,omitempty"`
	Detail   string   `json:"detail"`
}

type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func oauthCode(d *authz.Decision) string {
	switch {
	case d.Fault():
		return "temporarily_unavailable"
	case d.Error != "":
		return d.Error
	}
	return "invalid_request"
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers only: cannot happen
		return "{}"
	}
	return string(b)
}

func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
