package extauthz

import (
	"crypto/rand"
	"strconv"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/passes"
)

// The context extensions a route must set. They come from Envoy's configuration,
// never from the client.
const (
	ExtensionSurface = "surface" // "scim", "oauth", "app"
	ExtensionTenant  = "tenant"
	ExtensionApp     = "app"
	ExtensionPasses  = passes.Extension // what Envoy passes on, for surface "app"
)

// newRequest translates a CheckRequest. Whatever is missing stays empty, and authz denies
// an empty surface, path, host or method. It ignores Envoy's own id of the stream, which
// appears in no log of the application.
func newRequest(in *authv3.CheckRequest, maxBody int) request.Request {
	attrs := in.GetAttributes()
	ext := attrs.GetContextExtensions()
	h := attrs.GetRequest().GetHttp()
	r := request.Request{
		Surface: request.Surface(ext[ExtensionSurface]),
		Tenant:  ext[ExtensionTenant],
		App:     ext[ExtensionApp],
		Method:  h.GetMethod(),
		Host:    h.GetHost(),
		Headers: headers(h),
		Remote:  attrs.GetSource().GetAddress().GetSocketAddress().GetAddress(),
		Passes:  ext[ExtensionPasses],
		Proxy:   attrs.GetDestination().GetAddress().GetSocketAddress().GetAddress(),
	}
	r.Path, r.Query, _ = strings.Cut(h.GetPath(), "?")
	r.ID = request.ID(first(r.Headers["x-request-id"]), rand.Text)
	r.Body, r.Partial = body(h, r.Headers, maxBody)
	r.Later = r.Surface == request.SurfaceSCIM
	return r
}

// headers reads header_map when encode_raw_headers is on, else headers. Names in lower
// case, as Envoy sends them, need no copy.
func headers(h *authv3.AttributeContext_HttpRequest) request.Headers {
	list := h.GetHeaderMap().GetHeaders()
	out := make(request.Headers, len(list)+len(h.GetHeaders()))
	if len(list) > 0 {
		values := make([]string, 0, len(list)) // one backing array for all single values
		for _, kv := range list {
			v := kv.GetValue()
			if raw := kv.GetRawValue(); len(raw) > 0 {
				v = string(raw)
			}
			k := strings.ToLower(kv.GetKey())
			if have, ok := out[k]; ok {
				out[k] = append(have, v)
				continue
			}
			values = append(values, v)
			out[k] = values[len(values)-1 : len(values) : len(values)]
		}
	} else {
		for k, v := range h.GetHeaders() {
			k = strings.ToLower(k)
			out[k] = append(out[k], v)
		}
	}
	return out
}

// body returns the body and whether bytes may be missing. The client's own word on it
// (x-envoy-auth-partial-body) does not count. A body that fills the buffer may be only the
// start of a longer one, unless its declared length says otherwise; a declared length
// without the bytes means that Envoy did not buffer the body.
func body(h *authv3.AttributeContext_HttpRequest, hs request.Headers, maxBody int) (b []byte, partial bool) {
	b = h.GetRawBody()
	if len(b) == 0 && h.GetBody() != "" {
		b = []byte(h.GetBody())
	}
	length, declared := contentLength(hs["content-length"])
	return b, declared && length != int64(len(b)) || len(b) > maxBody || len(b) == maxBody && !declared
}

// contentLength reads the declared length. One that is no number counts as a declared
// length that no body has.
func contentLength(vs []string) (int64, bool) {
	if len(vs) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(vs[0], 10, 62)
	if err != nil || len(vs) > 1 {
		return -1, true
	}
	return int64(n), true
}

func first(vs []string) string {
	if len(vs) == 0 {
		return ""
	}
	return vs[0]
}

func acceptsJSON(h request.Headers) bool {
	for _, v := range h["accept"] {
		if strings.Contains(strings.ToLower(v), "json") {
			return true
		}
	}
	return false
}
