package authz

import (
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/subject"
)

// Decision is the answer to one request. It is total, and its zero value denies with
// 503: only the last step of a surface's pipeline, in this package, makes one that lets
// a request through.
type Decision struct {
	allow bool

	Surface   request.Surface
	Status    int    // of a refusal; 0 counts as 503
	ScimType  string // SurfaceSCIM
	Error     string // OAuth error code (RFC 6750 §3.1): invalid_token, insufficient_scope
	Detail    string // for people: rule, operation, fix; no internals
	Reason    string // stable code for logs and metrics: "locked", "policy", "no_token", …
	Challenge string // WWW-Authenticate value, may be empty
	Nonce     string // DPoP-Nonce value, may be empty (RFC 9449 §9)
	Retry     time.Duration

	AllowMethods string // of a 405: the methods the route has (Allow, RFC 9110 §15.5.6)
	ClearCookie  string // names of cookies with an invalid token, separated by blanks; the answer expires them

	ID     string // of the request, and so of the decision in log, audit trail and access log
	Tenant string
	App    string
	Caller Caller // SurfaceApp: who, when known
	Lock   *Lock  // SurfaceApp: the lock that denied the request, nil if none did
	// Unprovisioned is what happened to a Caller whom the directory does not know, "" if it does.
	Unprovisioned Outcome
	// Exempt is the name of the exempt account that sent an allowed request or signs in, "" if none does.
	Exempt string
	// LocalWrite is the path template of the LocalWrite that denied the request, or that let an exempt account pass.
	LocalWrite string
	exemptPass bool // an exempt account escapes the denial

	Claims token.Claims
	Token  *token.Error  // why a token was refused, for the log; nil without one
	Cause  error         // why the owner of a credential could not be asked, for the log; nil otherwise
	SCIM   *SCIMRequest  // SurfaceSCIM, allowed: what the handler acts on
	Policy string        // revision that allowed it
	Bundle string        // SurfaceSCIM, allowed: name of the tenant's bundle that judged it, empty for none
	Route  string        // SurfaceSCIM: "PATCH /Users/{id}", once it is known, also of a refusal
	Target string        // SurfaceSCIM: the id of the resource in the path
	Judged time.Duration // how long the rules took
	Warn   []string      // rule ids in warn mode that the request violates, each once
	// Hold says that the deletion in the applications waits for an operator; nil if it does not.
	Hold *policies.Hold
	// Input is what the rules saw, as JSON, if the tenant records it. Final says that it has the stored resource
	// and the resulting one, or that there is none.
	Input []byte
	Final bool
	// Violated are the rules that the request violates, in every mode, each once. Who answers the request
	// counts them.
	Violated []policies.Violated
	// Deviations are the codes of what the client sent in another than the canonical form,
	// each once, in the order found; of a refusal, those found until then. They are the Dev
	// constants of package scim, so there are few enough for a metric label.
	Deviations []string

	SetHeaders    map[string]string // identity headers, overwrite
	RemoveHeaders []string
}

// Caller is who sent an application request: the person, and the credential that names
// them. The zero Caller is unknown.
type Caller struct {
	subject.Subject
	// Nobody says that the application knows the credential as a session of nobody, such as
	// the session of a sign-in page. Then the caller has no name.
	Nobody   bool
	IssuedAt time.Time // of the credential; zero when unknown, which counts as before every epoch
	Source   string    // "cookie:session", "header:authorization"
	// Claimed says that nothing but the request names the person: the user of Basic authentication, whose password
	// the application judges, or a parameter of the query in the place of a field of the body. So locks and the
	// directory count, and the application is told no name.
	Claimed bool
	// FromApplication says that the application named the person, and not the credential itself.
	FromApplication bool
	// UserID is the SCIM id of the user whom the directory found under a name, for the log only.
	UserID string
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
	// Dialect is how the profile applies to the client; nil without overlays.
	Dialect *policies.Dialect

	// Later says that the tenant's rules read what only the service that applies the change knows. It must ask
	// DecideResult before it commits.
	Later bool

	judged policies.Input // what the policy judged, for DecideResult
}

// The reason codes of decisions; package request has more. They are stable: logs, metrics
// and alerts use them, and there are few enough for a metric label.
const (
	ReasonAllowed = "allowed"
	ReasonLater   = "body_later" // allowed to the SCIM service, which gets the whole body and decides again

	// Requests that are not well formed.
	ReasonSurface        = "surface_unknown"
	ReasonElsewhere      = "elsewhere" // the service is in another process
	ReasonTenant         = "tenant_unknown"
	ReasonApp            = "app_unknown"
	ReasonMethod         = "method"          // not on the allowlist, or not of this route
	ReasonOverride       = "override"        // a header or query key that overrides method or path
	ReasonUpgrade        = "upgrade"         // protocol upgrade where there is none
	ReasonHost           = "host"            // not an authority of the tenant or app, or more than one
	ReasonIdentityHeader = "identity_header" // a client-sent x-scim-… name that cannot be removed
	ReasonHeaderName     = "header_name"     // a name that some servers take for that of another header
	ReasonRoute          = "route_unknown"
	ReasonNotBuilt       = "not_implemented"
	ReasonBodyUnexpected = "body_unexpected"

	// Bearer tokens.
	ReasonNoToken      = "no_token"
	ReasonToken        = "token_invalid"
	ReasonTokenExpired = "token_expired"
	ReasonScope        = "scope"
	ReasonBinding      = "token_binding" // bound to something that is not proven, or not bound
	ReasonProof        = "dpop_proof"
	ReasonProofNonce   = "dpop_nonce"
	ReasonProofMemory  = "dpop_memory" // 503: too many proofs to remember

	ReasonPolicy = "policy"
	ReasonPaused = "paused" // an operator has paused SCIM of the tenant: 503

	// Application requests.
	ReasonLocal       = "local_modification"
	ReasonSCIMPath    = "scim_path"
	ReasonTwoSubjects = "two_subjects"
	ReasonAnonymous   = "anonymous"
	ReasonLocked      = "locked"
	ReasonDeleted     = "deleted"
	ReasonEpoch       = "before_epoch"
	ReasonOperator    = "locked_by_operator"
	ReasonUnmapped    = "subject_unmapped" // the application returned neither a SCIM id nor a user name

	ReasonUnprovisioned = "unprovisioned" // the directory does not know the person

	// Faults on our side: 503, never 403.
	ReasonUndecided = "undecided"
	ReasonDeadline  = "deadline"
	ReasonKeys      = "keys_unavailable"
	ReasonEngine    = "policy_failure"
	ReasonIdentify  = "identify_unavailable"
	ReasonEnvoy     = "envoy_outdated" // Envoy's configuration withholds something that the application needs
	ReasonDirectory = "directory_unavailable"
)

// How long a client waits after a fault on our side, and while an operator has paused SCIM.
const (
	retryFault  = 2 * time.Second
	retryPaused = time.Minute
)

func deny(status int, reason, detail string) *Decision {
	return &Decision{Status: status, Reason: reason, Detail: detail}
}

func fault(reason, detail string) *Decision {
	return &Decision{Status: http.StatusServiceUnavailable, Reason: reason, Detail: detail, Retry: retryFault}
}

func overdue() *Decision {
	return fault(ReasonDeadline, "the request could not be judged in time: send it again")
}

func denyMethod(allowed ...string) *Decision {
	d := deny(http.StatusMethodNotAllowed, ReasonMethod, "this method is not supported here")
	d.AllowMethods = strings.Join(allowed, ", ")
	return d
}

// denyOverride denies what replaces the method, the path or the credential in some frameworks.
func denyOverride(what string) *Decision {
	return deny(http.StatusBadRequest, ReasonOverride,
		what+" that override the method, the path, a credential or the charset are refused: send the request without them")
}

// denyProblem turns what package request found into a denial; nil stays nil.
func denyProblem(p *request.Problem) *Decision {
	if p == nil {
		return nil
	}
	return &Decision{Status: p.Status, ScimType: p.ScimType, Reason: p.Reason, Detail: p.Detail, ClearCookie: p.Cookie}
}

// Allowed reports whether the request may go on.
func (d *Decision) Allowed() bool { return d.allow }

// Fault reports whether a refusal is our fault and may be another answer a moment later.
// 501 is an answer, not a fault.
func (d *Decision) Fault() bool {
	return !d.allow && (d.Status < 400 || d.Status >= 500) && d.Status != http.StatusNotImplemented
}

// Refusal returns a denial with everything that an answer needs: an error status, a
// detail, a reason, and a wait when the fault is ours. Every answer starts from it, so the
// proxy and the handler give the same answer. Without an error status it is a fault: 503,
// never 403.
func (d Decision) Refusal() Decision {
	if d.Status < 400 || d.Status > 599 {
		d.Status = http.StatusServiceUnavailable
	}
	if d.Reason == "" {
		d.Reason = ReasonUndecided
	}
	if d.Detail == "" {
		d.Detail = defaultDetail(d.Status)
	}
	if d.Fault() && d.Retry <= 0 {
		d.Retry = retryFault
	}
	return d
}

func defaultDetail(status int) string {
	if status == http.StatusServiceUnavailable {
		return "the request cannot be judged at the moment: send it again"
	}
	if text := http.StatusText(status); text != "" {
		return strings.ToLower(text)
	}
	return "refused"
}
