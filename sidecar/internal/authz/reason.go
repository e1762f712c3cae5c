package authz

import (
	"net/http"
	"strings"
	"time"
)

// The reason codes of decisions. They are stable: logs, metrics and alerts are
// written against them, and there are few enough for a metric label.
const (
	ReasonAllowed = "allowed"

	// Requests that are not well formed.
	ReasonSurface        = "surface_unknown"
	ReasonTenant         = "tenant_unknown"
	ReasonApp            = "app_unknown"
	ReasonPath           = "path"            // not canonical, or bytes that no path may hold
	ReasonMethod         = "method"          // not on the allowlist, or not of this route
	ReasonOverride       = "override"        // a header or query key that overrides method or path
	ReasonUpgrade        = "upgrade"         // protocol upgrade where there is none
	ReasonHost           = "host"            // not an authority of the tenant or app, or more than one
	ReasonIdentityHeader = "identity_header" // a client-sent x-scim-… name that cannot be removed
	ReasonRoute          = "route_unknown"
	ReasonNotBuilt       = "not_implemented"
	ReasonQuery          = "query"
	ReasonBodyMissing    = "body_missing"
	ReasonBodyUnexpected = "body_unexpected"
	ReasonBodyPartial    = "body_partial"
	ReasonBodyEncoded    = "body_encoded"
	ReasonBodyUnknown    = "body_unknown"
	ReasonContentType    = "content_type"
	ReasonBody           = "body" // does not decode, or is not what its schema says

	// Bearer tokens.
	ReasonNoToken      = "no_token"
	ReasonCredential   = "credential_malformed" //nolint:gosec // a code, no secret: not one bearer credential in the right place
	ReasonToken        = "token_invalid"
	ReasonTokenExpired = "token_expired"
	ReasonScope        = "scope"

	// Policy.
	ReasonPolicy = "policy"

	// Application requests.
	ReasonLocal         = "local_modification"
	ReasonSCIMPath      = "scim_path"
	ReasonCookies       = "cookie_limit"
	ReasonCookieForm    = "cookie_form"
	ReasonCredentials   = "credential_limit" //nolint:gosec // a code, no secret
	ReasonUnknownScheme = "credential_unrecognised"
	ReasonCredentialBad = "credential_invalid" //nolint:gosec // a code, no secret
	ReasonTwoSubjects   = "two_subjects"
	ReasonAnonymous     = "anonymous"
	ReasonLocked        = "locked"
	ReasonDeleted       = "deleted"
	ReasonEpoch         = "before_epoch"
	ReasonUnmapped      = "subject_unmapped" // the application knows the credential by a name the lock table does not
	ReasonBodySource    = "credential_body"

	// Faults on our side: 503, never 403 (DESIGN §7).
	ReasonUndecided = "undecided"
	ReasonDeadline  = "deadline"
	ReasonKeys      = "keys_unavailable"
	ReasonEngine    = "policy_failure"
	ReasonIdentify  = "identify_unavailable"
)

// retryFault is what a client is told to wait after a fault on our side.
const retryFault = 2 * time.Second

func deny(status int, reason, detail string) Decision {
	return Decision{Status: status, Reason: reason, Detail: detail}
}

func denySCIM(status int, scimType, reason, detail string) Decision {
	return Decision{Status: status, ScimType: scimType, Reason: reason, Detail: detail}
}

func fault(reason, detail string) Decision {
	return Decision{Status: http.StatusServiceUnavailable, Reason: reason, Detail: detail, Retry: retryFault}
}

func denyMethod(allowed ...string) Decision {
	d := deny(http.StatusMethodNotAllowed, ReasonMethod, "this method is not supported here")
	d.AllowMethods = strings.Join(allowed, ", ")
	return d
}

// KnownReason reports whether reason is one of the codes above.
func KnownReason(reason string) bool {
	switch reason {
	case ReasonAllowed,
		ReasonSurface, ReasonTenant, ReasonApp, ReasonPath, ReasonMethod, ReasonOverride, ReasonUpgrade, ReasonHost,
		ReasonIdentityHeader, ReasonRoute, ReasonNotBuilt, ReasonQuery, ReasonBodyMissing, ReasonBodyUnexpected,
		ReasonBodyPartial, ReasonBodyEncoded, ReasonBodyUnknown, ReasonContentType, ReasonBody,
		ReasonNoToken, ReasonCredential, ReasonToken, ReasonTokenExpired, ReasonScope, ReasonPolicy,
		ReasonLocal, ReasonSCIMPath, ReasonCookies, ReasonCookieForm, ReasonCredentials, ReasonUnknownScheme,
		ReasonCredentialBad, ReasonTwoSubjects, ReasonAnonymous, ReasonLocked, ReasonDeleted, ReasonEpoch,
		ReasonUnmapped, ReasonBodySource,
		ReasonUndecided, ReasonDeadline, ReasonKeys, ReasonEngine, ReasonIdentify:
		return true
	}
	return false
}
