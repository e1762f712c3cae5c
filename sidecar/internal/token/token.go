// Package token turns a bearer string into claims, or says why it will not.
//
// Call [NewVerifier] once per tenant and purpose, then [Verifier.Verify] for
// each token. A verifier knows its issuers by their exact `iss`, takes the keys
// of each from a [Keys] (a document, a URL, or discovery), and checks in this
// order: size, form, header, algorithm, issuer, key, signature, then type, time,
// audience, binding and scope. What passed is kept in a bounded cache, so that a
// token seen before costs one SHA-256 and a map read.
//
// What the package promises:
//   - The algorithm is chosen by a fixed list per [Purpose], never by the token;
//     the key's type has to fit it (RFC 8725 §3.1). There is no `none` and no
//     shared-secret algorithm in any list.
//   - Keys come from configuration alone. Headers that bring or point to a key
//     (jku, jwk, x5u, x5c) are never followed.
//   - Input is bounded before it is decoded: 16 KiB a token, JSON depth and
//     members, key sets by size, time and number.
//   - Claims are read strictly: a repeated member is a refusal, not a guess.
//
// What it does not do: it knows no HTTP request, no policy and no lock. A
// verified token says who speaks, not what they may do.
package token

import (
	"fmt"
	"time"
)

// MaxTokenBytes is the longest token that is looked at (edge T1). Access tokens
// of real issuers stay well below 8 KiB.
const MaxTokenBytes = 16 << 10

// Purpose says what a token is used as, and with that which algorithms, types
// and claims it must have. The zero value is no purpose and is refused.
type Purpose uint8

// The purposes.
const (
	// AccessToken is a bearer token at the SCIM surface (RFC 9068, E1-E4).
	AccessToken Purpose = iota + 1
	// Assertion is a client assertion at the token endpoint (RFC 7523 §3, B6-B9).
	Assertion
	// Subject is a token the protected application itself issued: it names whose
	// request passes the proxy and opens no SCIM surface.
	Subject
)

// String returns the purpose's name in logs and metrics.
func (p Purpose) String() string {
	switch p {
	case AccessToken:
		return "access_token"
	case Assertion:
		return "assertion"
	case Subject:
		return "subject"
	}
	return "none"
}

// Claims are what a verified token says. The slices and the map belong to the
// verifier's cache and are read-only.
type Claims struct {
	Issuer        string
	Subject       string
	ClientID      string // client_id; empty in assertions, where Subject is the client
	JTI           string
	KeyID         string // of the key that verified it; empty when the key has none
	TokenEndpoint string // token_endpoint claim; empty when absent (B18)
	Audience      []string
	Scopes        []string
	IssuedAt      time.Time // zero when absent
	NotBefore     time.Time // zero when absent
	Expires       time.Time // zero only for Subject tokens that may live for ever

	// Extra holds every claim as decoded JSON (numbers as json.Number), for
	// Subject tokens only; nil otherwise.
	Extra map[string]any
}

// Reason is the stable code of a refusal, fit for logs and metrics.
type Reason string

// The reasons.
const (
	ReasonMalformed   Reason = "malformed"   // not a compact JWS with strict JSON inside, or too long
	ReasonHeader      Reason = "header"      // a header that must not be there: crit, b64, cty
	ReasonAlgorithm   Reason = "algorithm"   // not on the purpose's list
	ReasonIssuer      Reason = "issuer"      // no such issuer at this tenant
	ReasonKey         Reason = "key"         // no key of the issuer fits kid and alg
	ReasonSignature   Reason = "signature"   // does not verify
	ReasonType        Reason = "type"        // typ of another kind of token
	ReasonClaims      Reason = "claims"      // a required claim is absent or of the wrong type
	ReasonExpired     Reason = "expired"     // exp has passed
	ReasonNotYet      Reason = "not_yet"     // nbf or iat lies ahead
	ReasonLifetime    Reason = "lifetime"    // exp lies too far ahead
	ReasonAudience    Reason = "audience"    // for another service or tenant
	ReasonEndpoint    Reason = "endpoint"    // token_endpoint is not the configured one
	ReasonBinding     Reason = "binding"     // bound to a key (cnf), sent as a plain bearer token
	ReasonScope       Reason = "scope"       // not exactly the configured scope
	ReasonUnavailable Reason = "unavailable" // the issuer's keys cannot be had now: a fault on our side
)

// Error is a refusal. Detail is for people: it says what is wrong and what to
// change, and holds nothing of the token but scope and claim names.
type Error struct {
	Reason Reason
	Detail string
	Err    error // cause, for the log; may be nil
}

// Error returns the reason and the detail.
func (e *Error) Error() string { return fmt.Sprintf("token: %s: %s", e.Reason, e.Detail) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Authentic reports whether the refusal came after the signature had verified,
// so that its detail tells the issuer nothing that others should not read.
func (e *Error) Authentic() bool {
	switch e.Reason {
	case ReasonType, ReasonClaims, ReasonExpired, ReasonNotYet, ReasonLifetime, ReasonAudience, ReasonEndpoint, ReasonBinding, ReasonScope:
		return true
	default:
		return false
	}
}

func refuse(r Reason, detail string) *Error { return &Error{Reason: r, Detail: detail} }
