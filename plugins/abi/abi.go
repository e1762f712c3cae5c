// Package abi contains the documents that scimward and a revocation plugin exchange, ABI revoker_v1. The
// host (package plugins), the revocation engine (sidecar/internal/revoke) and the Go SDK (plugins/sdk/go)
// share these types. It imports only small packages of the standard library, so that a guest stays small.
//
// All documents are JSON. A reader ignores fields it does not know, because minor versions add fields. It
// treats an unknown state or code as "not done".
package abi

import "time"

// Module is the name of the Wasm import module, with the major version.
const Module = "revoker_v1"

// Version is what a guest's abi_version returns: major<<16 | minor.
const Version uint32 = 1 << 16

// Kind is one kind of credential that the application issued, or the account itself (IL1 §3.2.5).
type Kind string

// The kinds of revoker_v1. KindAccount is not a credential but the account in the application. Disabling
// it prevents new credentials while the old ones are revoked. A reactivation enables it again.
const (
	KindSSHKey       Kind = "ssh_key"
	KindDevice       Kind = "device"
	KindAccount      Kind = "account"
	KindRefreshToken Kind = "refresh_token"
	KindPAT          Kind = "pat"
	KindAPIToken     Kind = "api_token"
	KindWebSession   Kind = "web_session"
)

// Order returns the kinds in the order of revocation. SSH keys and devices bypass the proxy and come
// first, then the account. Refresh tokens come next, because other tokens are made from them, then PATs
// and API tokens, and sessions last.
func Order() []Kind {
	return []Kind{KindSSHKey, KindDevice, KindAccount, KindRefreshToken, KindPAT, KindAPIToken, KindWebSession}
}

// CredentialKinds returns the six kinds a plugin must answer for. A kind that its manifest leaves out is
// shown as unsupported, never as done.
func CredentialKinds() []Kind {
	return []Kind{KindSSHKey, KindDevice, KindRefreshToken, KindPAT, KindAPIToken, KindWebSession}
}

// Op names a guest export.
type Op string

// The operations of revoker_v1.
const (
	OpDescribe Op = "describe"
	OpHealth   Op = "health"
	OpRevoke   Op = "revoke"
	OpVerify   Op = "verify"
	OpIdentify Op = "identify"
)

// The event types that reach a plugin.
const (
	EventDeactivated = "user.deactivated"
	EventReactivated = "user.reactivated"
	EventDeleted     = "user.deleted"
)

// Request is the input document of every export except abi_version.
type Request struct {
	ABI            string          `json:"abi"`                       // "1.0"
	Op             Op              `json:"op"`                        // which export is called
	RequestID      string          `json:"request_id,omitempty"`      // for logs
	IdempotencyKey string          `json:"idempotency_key,omitempty"` // same for every attempt of one job
	Attempt        int             `json:"attempt,omitempty"`         // 1 on the first call
	DeadlineMS     int64           `json:"deadline_ms,omitempty"`     // milliseconds left when the call starts
	DryRun         bool            `json:"dry_run,omitempty"`         // write nothing, answer would_revoke
	Tenant         string          `json:"tenant"`                    // the tenant of the user
	App            string          `json:"app"`                       // the application, as the configuration names it
	Event          *Event          `json:"event,omitempty"`           // why; of revoke
	Subject        *Subject        `json:"subject,omitempty"`         // whose credentials; of revoke and verify
	Kinds          []Kind          `json:"kinds,omitempty"`           // asked for; of revoke and verify
	Cursors        map[Kind]string `json:"cursors,omitempty"`         // from each kind's last partial result
	// Revoked has the application's ids of credentials that were revoked, the newest last, at most
	// RevokedMax of a kind. verify may probe them.
	Revoked     map[Kind][]string `json:"revoked,omitempty"`
	Credentials []Credential      `json:"credentials,omitempty"` // of identify, without the secrets themselves
	Config      map[string]any    `json:"config,omitempty"`      // the manifest's config object
}

// Event is the change of the user.
type Event struct {
	Type       string    `json:"type"`        // see the types of events
	ID         string    `json:"id"`          // unique
	OccurredAt time.Time `json:"occurred_at"` // RFC 3339
}

// Subject is the user of an operation. Attributes contains only the manifest's subject_attributes.
type Subject struct {
	SCIMID     string `json:"scim_id"`               // id of the SCIM resource, which never changes
	ExternalID string `json:"external_id,omitempty"` // id in the identity service
	UserName   string `json:"user_name"`             // present userName
	// FormerUserNames are at most 20 earlier names of the user that no other user has taken, in lower case.
	// An application may still know the user by one of them, so look under every name.
	FormerUserNames []string       `json:"former_user_names,omitempty"`
	Emails          []string       `json:"emails,omitempty"`     // all of the user
	Attributes      map[string]any `json:"attributes,omitempty"` // by SCIM name
}

// Credential names a credential found on a request. The guest writes {{credential:REF}} into a header
// value of its request to the application, and the host replaces it, for egress rules marked identify
// only.
type Credential struct {
	Ref    string `json:"ref"`              // "c1"
	Source string `json:"source"`           // one of cookie, header, body, query, path, websocket_protocol and basic
	Name   string `json:"name"`             // of the place, as the configuration names it; of basic: user or password
	Scheme string `json:"scheme,omitempty"` // authorization scheme, lower case
	Prefix string `json:"prefix,omitempty"` // the configured literal prefix that matched, such as "pat_"
	SHA256 string `json:"sha256"`           // hex of the credential's SHA-256
}

// State is the outcome for one kind.
type State string

// The states of revoker_v1.
const (
	StateRevoked         State = "revoked"           // no credential of this kind is usable any more
	StateNothingToRevoke State = "nothing_to_revoke" // looked, none existed
	StatePartial         State = "partial"           // some are left, the host calls again at once with Cursor
	StateRetry           State = "retry"             // transient
	StateFailed          State = "failed"            // permanent, needs a human
	StateUnsupported     State = "unsupported"       // the application cannot revoke this kind
	StateWouldRevoke     State = "would_revoke"      // dry run only
)

// The stable codes of the host. Guests may add their own.
const (
	CodeNotReported  = "not_reported"  // the guest returned without reporting this kind
	CodeTrap         = "trap"          // the guest trapped
	CodeDeadline     = "deadline"      // killed at its deadline
	CodeMemory       = "memory"        // killed because its process used too much memory
	CodeQuarantined  = "quarantined"   // the breaker is open
	CodeContract     = "contract"      // the guest broke the ABI contract
	CodeUnauthorized = "app_denied"    // the application answered 401 or 403, a configuration fault
	CodeRateLimited  = "rate_limited"  // the application answered 429
	CodeAppError     = "app_error"     // the application answered 5xx or not at all
	CodeNotLoaded    = "not_loaded"    // the plugin is not loaded
	CodeEgressDenied = "egress_denied" // the host refused a request of the guest
	// CodeSecretUnreadable means that a secret's file is missing, empty or malformed now. A repeated call
	// reads it again.
	CodeSecretUnreadable = "secret_unreadable"
	CodeUnsupported      = "unsupported" // the guest does not have the operation (verify, identify)
	// CodeRedacted means that the removal of a secret changed a name in an answer of the application.
	CodeRedacted = "redacted"
	CodeBusy     = "busy" // an identify call could not have ended in time, and the host did not make it
)

// The bounds of one outcome. A report is one KindResult of at most ReportBytes as JSON. The output
// document may contain the same outcome with more evidence.
const (
	ReportBytes  = 4 << 10
	EvidenceMax  = 100
	MessageBytes = 512
)

// KindResult is the outcome for one kind. Except for the account, the host asks again until two outcomes
// in a row are revoked or nothing_to_revoke with Found and Count 0. A call that found nothing must say
// so, or the job stays retrying with code still_minting.
type KindResult struct {
	Kind         Kind       `json:"kind"`                     // one of Request.Kinds
	State        State      `json:"state"`                    // the outcome
	Found        int        `json:"found,omitempty"`          // existed before this call's deletions
	Count        int        `json:"count,omitempty"`          // revoked by this call
	Remaining    int        `json:"remaining,omitempty"`      // of a partial outcome
	Cursor       string     `json:"cursor,omitempty"`         // comes back in Request.Cursors
	RetryAfterMS int64      `json:"retry_after_ms,omitempty"` // of retry, at most an hour
	Code         string     `json:"code,omitempty"`           // of retry and failed, such as app_denied
	Message      string     `json:"message,omitempty"`        // for operators, at most MessageBytes
	Evidence     []Evidence `json:"evidence,omitempty"`       // at most EvidenceMax; no secret
}

// Evidence is one call that revoked a credential. ID is the application's identifier of the credential,
// never the credential.
type Evidence struct {
	ID     string `json:"id"`     // of the credential in the application
	Action string `json:"action"` // such as "DELETE /admin/users/{user}/tokens/{token}"
	Status int    `json:"status"` // HTTP status of the application's answer
}

// Error is a guest's own error for a whole call.
type Error struct {
	Code      string `json:"code"`      // as in a KindResult
	Message   string `json:"message"`   // for operators
	Retryable bool   `json:"retryable"` // false: a repeat cannot help
}

// Result is the output of revoke. The host merges it with every report.
type Result struct {
	Kinds []KindResult `json:"kinds"`           // one of each kind that was asked for
	Error *Error       `json:"error,omitempty"` // the whole call failed
}

// VerifyResult is the output of verify, a read-only proof that no credential is left.
type VerifyResult struct {
	Kinds []Liveness `json:"kinds"`           // one of each kind that was asked for
	Error *Error     `json:"error,omitempty"` // the whole call failed
}

// LiveUnknown is the Live of a kind for which verify gave no usable answer.
const LiveUnknown = -1

// RevokedMax bounds the ids of one kind in Request.Revoked.
const RevokedMax = 20

// Method says how verify found its answer.
type Method string

// The methods of verify. A list says what the application has stored. A probe says what the
// application accepts: it had the part that serves requests judge a credential.
const (
	MethodListed Method = "listed"
	MethodProbed Method = "probed"
)

// Liveness says how many credentials of a kind are still usable. A kind that is absent or has a negative
// Live is unknown, which is not zero.
type Liveness struct {
	Kind  Kind   `json:"kind"`            // one of Request.Kinds
	Live  int    `json:"live"`            // how many are usable
	Probe string `json:"probe,omitempty"` // what was asked, for the evidence report
	// Method is how Live was found. Empty or unknown means MethodListed.
	Method Method `json:"method,omitempty"`
	// With is the kind of the credential that a probe tried. A probe that does not name one counts as a list.
	With Kind `json:"with,omitempty"`
}

// IdentifyResult is the output of identify. If Subject is nil, the application does not know the
// credential, or knows it as a session of nobody.
type IdentifyResult struct {
	Subject *Identity `json:"subject"` // the owner, or null
	// Anonymous means that the credential is a session of nobody, such as the one of a sign-in page. It
	// passes as a request without a credential, and the host asks again at the next request. It is false
	// beside a Subject.
	Anonymous bool       `json:"anonymous,omitempty"`
	Kind      Kind       `json:"kind,omitempty"`      // of the credential
	IssuedAt  *time.Time `json:"issued_at,omitempty"` // if absent, the credential counts as older than every lock
	CacheS    int        `json:"cache_s,omitempty"`   // seconds the answer may be cached, at most 300
	Error     *Error     `json:"error,omitempty"`     // the application gave no answer
}

// Identity is the owner of a credential, with at least one name.
type Identity struct {
	AppUserID string `json:"app_user_id,omitempty"` // id in the application
	UserName  string `json:"user_name,omitempty"`   // userName
	SCIMID    string `json:"scim_id,omitempty"`     // id of the SCIM resource
}

// Health is the output of health.
type Health struct {
	Status  string `json:"status"`            // one of ok, degraded and error
	Message string `json:"message,omitempty"` // why it is not ok
}

// Description is the output of describe. Name, version and kinds must equal the manifest's.
type Description struct {
	Name       string `json:"name"`               // of the plugin
	Version    string `json:"version"`            // of the plugin
	Kinds      []Kind `json:"kinds"`              // that revoke handles
	Idempotent bool   `json:"idempotent"`         // a repeated call does no harm
	Verify     bool   `json:"verify,omitempty"`   // the host may call verify
	Identify   bool   `json:"identify,omitempty"` // the host may call identify
}

// Info describes a loaded plugin to the engine and the evidence report.
type Info struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"` // sha256:<hex> of the module
	Kinds   []Kind `json:"kinds"`

	Verify   bool `json:"verify,omitempty"`
	Identify bool `json:"identify,omitempty"`
}

// Errno is a negative result of a host function. A guest treats an unknown one as ErrnoIO.
type Errno int32

// The errno values of revoker_v1.
const (
	ErrnoInval     Errno = -1  // an argument or document is malformed
	ErrnoDenied    Errno = -3  // no rule allows the request
	ErrnoTooBig    Errno = -4  // a buffer is above its bound
	ErrnoTimeout   Errno = -5  // the application did not answer in time
	ErrnoConn      Errno = -6  // no connection to the application
	ErrnoBudget    Errno = -7  // the call has used up its requests or reports
	ErrnoCanceled  Errno = -8  // the call was cancelled
	ErrnoIO        Errno = -9  // another failure
	ErrnoRateLimit Errno = -10 // above the rule's requests a second
)

// HTTPRequest is the metadata document of http_send.
type HTTPRequest struct {
	Method    string            `json:"method"`               // upper case
	URL       string            `json:"url"`                  // absolute, without user and fragment
	Headers   map[string]string `json:"headers,omitempty"`    // values may have placeholders
	TimeoutMS int64             `json:"timeout_ms,omitempty"` // at most what the host allows
}

// HTTPResponse is result 0 after http_send. The body is result 1. On an errno only Code, Message and
// Retryable are set.
type HTTPResponse struct {
	Status       int               `json:"status,omitempty"`         // of HTTP
	Headers      map[string]string `json:"headers,omitempty"`        // lower-case names, only those a guest may read
	BodyLen      int               `json:"body_len,omitempty"`       // bytes of result 1
	Truncated    bool              `json:"truncated,omitempty"`      // the body was longer
	RetryAfterMS int64             `json:"retry_after_ms,omitempty"` // from Retry-After
	Code         string            `json:"code,omitempty"`           // why there is no answer
	Message      string            `json:"message,omitempty"`        // for the guest's log
	Retryable    bool              `json:"retryable,omitempty"`      // a repeat may help
}
