package scimhttp

import (
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/scim"
)

// exchange is one request and its outcome. ServeHTTP creates it, the handlers complete
// it, and it becomes one log event, one metric and at most one audit record.
type exchange struct {
	id       string
	tenant   string
	method   string
	path     string // raw, without the query
	rawQuery string
	remote   string
	received time.Time
	target   target
	route    string // "PATCH /Users/{id}": bounded, for metrics

	decision authz.Decision
	req      *authz.SCIMRequest // of the decision, once it allowed the request
	resource string             // id of the resource, once known
	seq      uint64             // of the change, 0 if nothing was written
	reason   string             // why the request did not succeed
	err      error              // of a 5xx, for the log only
}

// begin reads what needs no decision.
func (h *Handler) begin(r *http.Request) *exchange {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	t := targetOf(path)
	return &exchange{
		id:       request.ID(r.Header.Get("X-Request-Id"), rand.Text),
		method:   r.Method,
		path:     path,
		rawQuery: query,
		remote:   request.RemoteAddr(r),
		received: h.o.Now(),
		target:   t,
		route:    routeOf(r.Method, t),
	}
}

// present builds the request as Envoy would present it in a Check: lower-case header
// names, repeated fields joined, path and query raw, and a bounded body. A body that is
// longer is marked as partial.
func (h *Handler) present(r *http.Request, x *exchange) (request.Request, error) {
	if !strings.HasPrefix(x.path, "/") {
		return request.Request{}, badRequest("request_target", "the request target must be a path")
	}
	q := request.Request{
		Surface:  request.SurfaceSCIM,
		Tenant:   x.tenant,
		ID:       x.id,
		Method:   r.Method,
		Host:     r.Host,
		Path:     x.path,
		Query:    x.rawQuery,
		Headers:  joined(r),
		Remote:   x.remote,
		Received: x.received,
	}
	limit := scim.DefaultLimits().Bytes
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return request.Request{}, badRequest("body_unreadable", "the body ended early")
	}
	q.Body, q.Partial = body, len(body) > limit
	return q, nil
}

// joined returns the header fields as Envoy presents them.
func joined(r *http.Request) request.Headers {
	out := make(request.Headers, len(r.Header)+1)
	for name, values := range r.Header {
		name = strings.ToLower(name)
		sep := ","
		if name == "cookie" {
			sep = "; "
		}
		out[name] = []string{strings.Join(values, sep)}
	}
	if len(r.TransferEncoding) > 0 { // net/http removes it from the fields
		out["transfer-encoding"] = []string{strings.Join(r.TransferEncoding, ",")}
	}
	return out
}

// routeOf names the route of a request from a fixed set, so that clients cannot create
// metric labels: unknown methods and endpoints have one name each.
func routeOf(method string, t target) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodHead, http.MethodOptions:
	default:
		method = "OTHER"
	}
	switch t.endpoint {
	case endpointUsers, endpointGroups, endpointConfig, endpointTypes, endpointSchemas,
		endpointMe, endpointBulk, endpointSearch:
	default:
		return method + " /unknown"
	}
	switch {
	case strings.Contains(t.id, "/"):
		return method + " /unknown"
	case t.id != "":
		return method + " /" + t.endpoint + "/{id}"
	}
	return method + " /" + t.endpoint
}

// target is a raw path below Root: the endpoint and the rest, an id if the path is
// valid.
type target struct{ endpoint, id string }

func targetOf(path string) target {
	endpoint, id, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, Root), "/"), "/")
	return target{endpoint, id}
}

// The endpoints of RFC 7644 §3.2 Table 1.
const (
	endpointUsers   = "Users"
	endpointGroups  = "Groups"
	endpointConfig  = "ServiceProviderConfig"
	endpointTypes   = "ResourceTypes"
	endpointSchemas = "Schemas"
	endpointMe      = "Me"
	endpointBulk    = "Bulk"
	endpointSearch  = ".search"
)

// writes reports whether the method requests a change.
func writes(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}
