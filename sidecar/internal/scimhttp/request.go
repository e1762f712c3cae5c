package scimhttp

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// exchange is one request and what became of it. ServeHTTP makes it, the handlers
// fill it, and one log event, one metric and at most one audit record come out.
type exchange struct {
	id       string
	tenant   string
	method   string
	path     string // raw, without the query
	rawQuery string
	remote   string
	received time.Time
	route    string // "PATCH /Users/{id}": bounded, for metrics

	decision authz.Decision
	resource string // id of the resource, once known
	seq      uint64 // of the change, 0 where nothing was written
	reason   string // why it did not succeed
	err      error  // of a 5xx, for the log only
}

// begin names the request: everything that needs no decision.
func (h *Handler) begin(r *http.Request) *exchange {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	return &exchange{
		id:       authz.RequestID(r.Header.Get("X-Request-Id"), h.o.NewID),
		method:   r.Method,
		path:     path,
		rawQuery: query,
		remote:   authz.RemoteAddr(r),
		received: h.o.Now(),
		route:    routeOf(r.Method, path),
	}
}

// present builds the request as Envoy would present it to a Check: lower-case
// header names, duplicates joined by a comma, path and query raw, and of the body
// at most Limits.Bytes. What is longer, or encoded, is marked and never judged.
func (h *Handler) present(r *http.Request, x *exchange) (authz.Request, error) {
	if !strings.HasPrefix(x.path, "/") {
		return authz.Request{}, &httpError{status: http.StatusBadRequest, reason: "request_target", detail: "the request target must be a path"}
	}
	q := authz.Request{
		Surface:  authz.SurfaceSCIM,
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
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(h.o.Limits.Bytes)+1))
	if err != nil {
		return authz.Request{}, &httpError{status: http.StatusBadRequest, reason: "body_unreadable", detail: "the body ended early"}
	}
	q.BodyState = bodyState(r, body, h.o.Limits.Bytes)
	if q.BodyState == authz.BodyComplete {
		q.Body = body
	}
	return q, nil
}

// joined renders the header fields as Envoy does.
func joined(r *http.Request) authz.Headers {
	out := make(authz.Headers, len(r.Header)+1)
	for name, values := range r.Header {
		name = strings.ToLower(name)
		sep := ","
		if name == "cookie" {
			sep = "; "
		}
		out[name] = []string{strings.Join(values, sep)}
	}
	if len(r.TransferEncoding) > 0 { // net/http takes it out of the fields
		out["transfer-encoding"] = []string{strings.Join(r.TransferEncoding, ",")}
	}
	return out
}

// bodyState says what is known of the body.
func bodyState(r *http.Request, body []byte, limit int) authz.BodyState {
	encodings := strings.Join(r.Header.Values("Content-Encoding"), ",")
	switch {
	case encodings != "" && !strings.EqualFold(strings.TrimSpace(encodings), "identity"):
		return authz.BodyEncoded
	case len(body) > limit:
		return authz.BodyPartial
	case len(body) == 0:
		return authz.BodyAbsent
	}
	return authz.BodyComplete
}

// routeOf names the route of a request from a fixed set, so that a client cannot
// make metric labels: unknown methods and endpoints have one name each.
func routeOf(method, path string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
	default:
		method = "OTHER"
	}
	endpoint, id, deeper := endpointOf(path)
	switch {
	case !isEndpoint(endpoint), deeper:
		return method + " /unknown"
	case id != "":
		return method + " /" + endpoint + "/{id}"
	}
	return method + " /" + endpoint
}

// endpointOf splits a raw path below Root into endpoint and id.
func endpointOf(path string) (endpoint, id string, deeper bool) {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, Root), "/")
	endpoint, id, _ = strings.Cut(rest, "/")
	return endpoint, id, strings.Contains(id, "/")
}

// isEndpoint reports whether the name is one the service knows, served or not.
func isEndpoint(name string) bool {
	switch name {
	case endpointUsers, endpointGroups, endpointConfig, endpointTypes, endpointSchemas, endpointMe, endpointBulk, endpointSearch:
		return true
	}
	return false
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

// writes reports whether the method asks for a change.
func writes(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}
