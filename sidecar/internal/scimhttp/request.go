package scimhttp

import (
	"crypto/rand"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// exchange is one request and its outcome. ServeHTTP creates it and the handlers complete it. It
// becomes one log event, one metric and at most one audit record.
type exchange struct {
	request.Request        // Host, Headers and Body are set before the decision
	route           string // "PATCH /Users/{id}": bounded, for metrics

	decision authz.Decision
	scim     *authz.SCIMRequest // from the decision, after it allowed the request
	counted  bool               // by throttle
	answer   http.Header        // of the response
	final    bool               // the rules judged stored and resulting resource, see judged
	refused  bool               // by them
	decided  time.Duration      // how long the decision took
	pre      preconditions      // judged with the operation
	resource string             // id of the resource, empty until known
	members  int                // of the group, before its change
	seq      uint64             // position of the change, 0 without a write
	reason   string             // why the request did not succeed
	err      error              // cause of a 5xx, for the log only
	locked   []store.Locked     // whom the change locks
	taken    []string           // attributes with names of another user, whose credentials may be refused
}

// begin reads the fields for the log event.
func (h *Handler) begin(r *http.Request) *exchange {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	return &exchange{
		Request: request.Request{
			Surface:  request.SurfaceSCIM,
			ID:       request.ID(r.Header.Get("X-Request-Id"), rand.Text),
			Method:   r.Method,
			Path:     path,
			Query:    query,
			Remote:   request.RemoteAddr(r),
			Received: h.opts.Now(),
		},
		route: routeOf(r.Method, path),
	}
}

// read completes the request as Envoy would present it in a Check. Header names are lower-case,
// repeated fields are joined, path and query are raw, and a body longer than limit is cut and marked as
// partial.
func (x *exchange) read(r *http.Request, limit int) error {
	if !strings.HasPrefix(x.Path, "/") {
		return badRequest("request_target", "the request target must be a path")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return endedEarly()
	}
	x.Host, x.Headers, x.Body, x.Partial = r.Host, joined(r), body, len(body) > limit
	x.Certificate = request.ForwardedCertificate(r.Header.Values("X-Forwarded-Client-Cert"))
	return nil
}

func endedEarly() error {
	return badRequest("body_unreadable", "the body ended early: send as many bytes as Content-Length says")
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

// routeOf returns the route of a request from a fixed set, so that clients cannot create metric
// labels. All unknown methods have one name, and so do all unknown endpoints.
func routeOf(method, path string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodHead, http.MethodOptions:
	default:
		method = "OTHER"
	}
	endpoint, id := endpointOf(path)
	switch endpoint {
	case endpointUsers, endpointGroups, endpointConfig, endpointTypes, endpointSchemas,
		endpointMe, endpointBulk, endpointSearch:
	default:
		return method + " /unknown"
	}
	switch {
	case strings.Contains(id, "/"):
		return method + " /unknown"
	case id != "":
		return method + " /" + endpoint + "/{id}"
	}
	return method + " /" + endpoint
}

// endpointOf splits a raw path below Root into the endpoint and the rest. The rest is an id if it
// contains no slash.
func endpointOf(path string) (endpoint, id string) {
	endpoint, id, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, Root), "/"), "/")
	return endpoint, id
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

// note adds the deviations that only the stored resource shows. The transaction that finds them may run
// several times.
func (x *exchange) note(found []scim.Deviation) {
	for _, d := range found {
		if !slices.Contains(x.decision.Deviations, d.Code) {
			x.decision.Deviations = append(slices.Clip(x.decision.Deviations), d.Code)
		}
	}
}

func writes(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// reads reports whether the request only reads. net/http drops the body of an answer to HEAD and keeps
// the header fields of the answer to GET (RFC 9110 §9.3.2).
func (x *exchange) reads() bool { return x.Method == http.MethodGet || x.Method == http.MethodHead }
