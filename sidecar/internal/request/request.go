// Package request reads an untrusted HTTP request: its path as an application's router
// might read it, its query keys, headers, cookies, body fields and credentials.
//
// A transport fills a [Request]. The functions then return one reading or a [Problem]. They
// refuse a form that two programs could read in two ways, because the application behind
// the proxy might choose the other reading. Paths are the exception, as applications need
// such forms: a [Path] keeps every reading, and a rule that denies asks for any of them.
// The package is pure: no I/O, no users, no decisions. Package authz decides.
//
// It sees only what Envoy sends. The allowed_headers of the filter must contain
// headers.Wanted, and the route must buffer a body that is to be read.
package request

// The other tests of the readings run through authz.Decide: cookie_test.go, body_test.go,
// headers_test.go and routers_test.go of package authz.

import (
	"net/http"
	"slices"
	"time"
)

// Surface is which part of the service a request is for. It comes from the route's
// context extensions, never from the client; the zero value is denied.
type Surface string

// The surfaces.
const (
	SurfaceSCIM  Surface = "scim"
	SurfaceOAuth Surface = "oauth" // token endpoint, JWKS, /.well-known
	SurfaceApp   Surface = "app"
)

// Request is one HTTP request as a transport received it. Path and Query are raw.
type Request struct {
	Surface Surface
	Tenant  string
	App     string // SurfaceApp only
	ID      string // from ID
	Method  string
	Host    string
	Path    string // before '?', still percent-encoded
	Query   string // after '?', still percent-encoded
	Headers Headers
	Body    []byte // as far as it arrived
	Partial bool   // Body is, or may be, only the start of what the client sent
	// Later says that a service behind this transport gets the whole body and decides again on it. Only a
	// transport that cannot have the body sets it.
	Later  bool
	Remote string
	Passes string // SurfaceApp: what Envoy's configuration declares to pass on (package passes)
	Proxy  string // address of Envoy's listener

	Certificate *Certificate // of the client's connection to Envoy; nil for none

	Received time.Time
}

// Problem is a refusal that needs no question to the policy, the locks or the application.
type Problem struct {
	Status   int    // HTTP status, 4xx
	ScimType string // RFC 7644 §3.12, for SCIM routes; may be empty
	Reason   string // one of the Reason constants
	Detail   string // for people: what to change, nothing internal
	Cookie   string // names of cookies without a credential, separated by blanks; the answer expires them
}

// The reasons of problems. Logs, metrics and alerts use these stable codes.
const (
	ReasonPath          = "path"                    // not canonical, or bytes that no path may contain
	ReasonQuery         = "query"                   // a query that cannot be read in one way
	ReasonCookies       = "cookie_limit"            // too many cookies, or too large
	ReasonCookieForm    = "cookie_form"             // a cookie that parsers read differently
	ReasonContentType   = "content_type"            // not a type that this route reads
	ReasonBody          = "body"                    // does not decode, or is not what its schema says
	ReasonBodyMissing   = "body_missing"            // the method needs a body
	ReasonBodyPartial   = "body_partial"            // larger than the limit, or not all of it arrived
	ReasonBodyEncoded   = "body_encoded"            // Content-Encoding other than identity
	ReasonBodySource    = "credential_body"         // a field with a credential, in a form with two readings
	ReasonCredential    = "credential_malformed"    //nolint:gosec // a code, no secret: not one credential in one place
	ReasonCredentials   = "credential_limit"        //nolint:gosec // a code, no secret: too many credentials
	ReasonUnknownScheme = "credential_unrecognised" // no configured source reads this credential
	ReasonInvalid       = "credential_invalid"      // not valid, or not any more
)

func problem(status int, reason, detail string) *Problem {
	return &Problem{Status: status, Reason: reason, Detail: detail}
}

// maxID bounds a request id, in bytes.
const maxID = 128

// ID returns the id under which logs and audit records show a request: sent, the
// x-request-id of the proxy, when it is 1 to 128 visible ASCII characters, and fresh()
// otherwise. Every surface uses it, so one request has one id everywhere.
func ID(sent string, fresh func() string) string {
	if !visible(sent, maxID) {
		return fresh()
	}
	return sent
}

// Methods returns the methods that applications take without configuration.
func Methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions,
	}
}

// UsualMethod reports whether method is one of [Methods].
func UsualMethod(method string) bool { return slices.Contains(Methods(), method) }
