package authz

import (
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/scim"
)

// Surface is which part of the service a request is for. It comes from the
// route's context extensions, never from the client; the zero value is denied.
type Surface string

// The surfaces.
const (
	SurfaceSCIM  Surface = "scim"
	SurfaceOAuth Surface = "oauth" // token endpoint, JWKS, /.well-known: path grammar only
	SurfaceApp   Surface = "app"
)

// BodyState says what is known of a request's body.
type BodyState string

// The body states. The zero value is a body that must not be judged.
const (
	BodyAbsent   BodyState = "absent"
	BodyComplete BodyState = "complete"
	BodyPartial  BodyState = "partial" // more was sent than is here: 413
	BodyEncoded  BodyState = "encoded" // content-encoding other than identity: 415
)

// Headers are request headers: lower-case name to its values in order. Envoy
// joins duplicates with a comma (design: edge §3.3.1 line 9).
type Headers map[string][]string

// Request is one HTTP request as an adaptor saw it. Path and Query are raw.
type Request struct {
	Surface   Surface
	Tenant    string
	App       string // SurfaceApp only
	ID        string // x-request-id
	Method    string
	Host      string
	Path      string // before '?', still percent-encoded
	Query     string // after '?', still percent-encoded
	Headers   Headers
	Body      []byte
	BodyState BodyState
	Remote    string
	Received  time.Time
}

// Decision is the answer to one request. It is total, and its zero value denies
// with 503: only the last step of a surface's pipeline, in this package, makes one
// that lets a request through.
type Decision struct {
	allow bool

	Surface   Surface
	Status    int    // of a refusal; 0 counts as 503
	ScimType  string // SurfaceSCIM
	Error     string // OAuth error code (RFC 6750 §3.1): invalid_token, insufficient_scope
	Detail    string // for people: rule, operation, fix; no internals
	Reason    string // stable code for logs and metrics: "locked", "policy", "no_token", …
	Challenge string // WWW-Authenticate value, may be empty
	Retry     time.Duration

	AllowMethods string // of a 405: the methods the route has (Allow, RFC 9110 §15.5.6)
	ClearCookie  string // name of a cookie whose token is not valid any more; the answer expires it

	Tenant  string
	App     string
	Subject Subject // SurfaceApp: who, when known
	Claims  token.Claims
	SCIM    *SCIMRequest // SurfaceSCIM, allowed: what the handler acts on
	Policy  string       // revision that allowed it
	Warn    []string     // rule ids in warn mode
	// Deviations are the codes of what the client sent in another than the canonical
	// form, each once, in the order found; of a refusal, those found until then. They
	// are the Dev constants of package scim, so there are few enough for a metric label.
	Deviations []string

	SetHeaders    map[string]string // identity headers, overwrite
	RemoveHeaders []string
}

// Allowed reports whether the request may go on.
func (d Decision) Allowed() bool { return d.allow }

// Subject is whose credential an application request carries. At least one of
// the names is set on a known subject.
type Subject struct {
	SCIMID     string
	UserName   string
	ExternalID string
	Email      string
	AppUserID  string
	IssuedAt   time.Time // of the credential; zero when unknown
	Source     string    // "cookie:session", "header:authorization"
}

// Known reports whether the subject names a user.
func (s Subject) Known() bool {
	return s.SCIMID != "" || s.UserName != "" || s.ExternalID != "" || s.Email != "" || s.AppUserID != ""
}

// SCIMRequest is a decoded, normalised and judged SCIM request.
type SCIMRequest struct {
	Route      string             // "PATCH /Users/{id}"
	Endpoint   string             // "Users", "Groups", "Schemas", …
	Type       *scim.ResourceType // nil on discovery endpoints
	ID         string
	Resource   scim.Object // POST, PUT: canonical, schema-checked
	Ops        []scim.Op   // PATCH: canonical
	Deviations []scim.Deviation
	Query      scim.Query
}
