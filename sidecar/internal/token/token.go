// Package token verifies bearer tokens and signs the tokens that scimward issues.
//
// Call [NewVerifier] once per tenant and purpose, then [Verifier.Verify] for each token. A verifier
// finds the issuer by its exact `iss` and takes the issuer's keys from a document, a URL, or
// discovery. It checks size, form, header, algorithm, issuer, key and signature, in this order,
// then type, time, audience, binding and scope. A bounded cache keeps verified tokens, so that
// verifying one again costs a SHA-256 and a map read.
//
// What the package promises:
//   - A fixed list per [Purpose] decides which algorithms are accepted. The token has no influence.
//     The type of the key must fit the algorithm (RFC 8725 §3.1). No list has `none` or a
//     shared-secret algorithm.
//   - Keys come only from the configuration. Headers that contain or point to a key (jku, jwk, x5u,
//     x5c) are ignored. The exception are DPoP proofs, see [Proofs]: a proof brings its public key, and
//     an access token says which key that must be (cnf.jkt).
//   - A verified token may be bound to a key or a certificate. Its [Binding] says what the sender must
//     prove, and who accepts the token must check it.
//   - Input is limited before it is decoded: a token to 16 KiB, its JSON by depth and members, a
//     key set by size, time and number of keys.
//   - Claims are read strictly. A repeated member is an error.
//
// The package does not depend on HTTP requests, policies or locks. A verified token identifies the
// caller. It does not authorize a request.
package token

import (
	"fmt"
	"log/slog"
	"time"
)

// MaxTokenBytes is the longest accepted token. Access tokens of real issuers are well below 8 KiB.
const MaxTokenBytes = 16 << 10

// Leeway is the accepted difference between the clocks of an issuer and of this process.
const Leeway = 30 * time.Second

// Scope is the only scope that access tokens may have.
const Scope = "scim"

// Purpose is the use of a token. It decides which algorithms, types and claims the token must have.
// The zero value is not a purpose.
type Purpose uint8

// The purposes.
const (
	// AccessToken is a bearer token for the SCIM endpoints (RFC 9068).
	AccessToken Purpose = iota + 1
	// Assertion is a client assertion for the token endpoint (RFC 7523 §3).
	Assertion
	// Subject is a token that the protected application issued. It names the user
	// of a request to that application and opens no SCIM endpoint.
	Subject
	// Proof is a DPoP proof (RFC 9449 §4). Only [Proofs] verifies it.
	Proof
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
	case Proof:
		return "dpop_proof"
	}
	return "none"
}

// Claims are the claims of a verified token. The slices and the map belong to the verifier's cache
// and are read-only.
type Claims struct {
	Issuer        string
	Subject       string
	ClientID      string // client_id; of assertions, the client that they authenticate
	JTI           string // of assertions without jti, a hash: see IssuerConfig.AllowNoJTI
	KeyID         string // of the key that verified the token; empty when the key has none
	TokenEndpoint string // token_endpoint claim; empty when absent (IL1 §3.1)
	Audience      []string
	Scopes        []string
	Binding       Binding   // of access tokens
	IssuedAt      time.Time // zero when absent
	NotBefore     time.Time // zero when absent
	Expires       time.Time // zero only for Subject tokens without exp
	Static        bool      // a static token: KeyID is empty, JTI is the id of the token

	// Extra has every claim as decoded JSON (numbers as json.Number). It is nil except for Subject
	// tokens.
	Extra map[string]any
}

// Reason is the stable code of a refusal, for logs and metrics.
type Reason string

// The reasons.
const (
	ReasonMalformed   Reason = "malformed"   // not a compact JWS with strict JSON inside, or too long
	ReasonHeader      Reason = "header"      // a header that must be absent: crit, b64, cty
	ReasonAlgorithm   Reason = "algorithm"   // not on the purpose's list
	ReasonIssuer      Reason = "issuer"      // not an issuer of this tenant
	ReasonKey         Reason = "key"         // no key of the issuer fits kid and alg
	ReasonSignature   Reason = "signature"   // does not verify
	ReasonType        Reason = "type"        // typ of another kind of token
	ReasonClaims      Reason = "claims"      // a required claim is absent or has the wrong type
	ReasonRequired    Reason = "required"    // a claim that the configuration requires is absent or has another value
	ReasonExpired     Reason = "expired"     // exp has passed
	ReasonNotYet      Reason = "not_yet"     // nbf or iat is in the future
	ReasonLifetime    Reason = "lifetime"    // exp is too far in the future, or too long after iat
	ReasonAudience    Reason = "audience"    // for another service or tenant
	ReasonEndpoint    Reason = "endpoint"    // token_endpoint is not the configured one
	ReasonBinding     Reason = "binding"     // what the token is bound to (cnf) is not proven, or must be and is not
	ReasonScope       Reason = "scope"       // not exactly the scope scim
	ReasonClient      Reason = "client"      // the client does not exist, is disabled or has expired
	ReasonRevoked     Reason = "revoked"     // its client or an operator ended it
	ReasonStatic      Reason = "static"      // a static token that nobody has, or of another tenant
	ReasonUnavailable Reason = "unavailable" // the issuer's keys cannot be fetched: not the sender's fault

	ReasonProof       Reason = "proof"        // a DPoP proof that is missing, malformed, or for another request
	ReasonProofReplay Reason = "proof_replay" // a DPoP proof that was used before
	ReasonProofNonce  Reason = "proof_nonce"  // a DPoP proof without a nonce of this service
	ReasonProofMemory Reason = "proof_memory" // too many proofs to remember: not the sender's fault
)

// Error is a refusal. Detail is for people. It quotes only scope and claim names of the token.
type Error struct {
	Reason Reason
	Detail string
	Err    error  // cause, for the log; may be nil
	Scope  string // for ReasonScope: what the token must grant

	// What the token says of itself. Empty if the token does not say it. An attacker may have chosen it,
	// unless the error is authentic, so Attrs quotes and shortens it. A configured issuer is as it is.
	Issuer, ClientID, KeyID string
}

// Attrs are the attributes of a log event about the refusal. They contain nothing of the token but
// the names of issuer, client and key.
func (e *Error) Attrs() []slog.Attr {
	out := []slog.Attr{slog.String("token", string(e.Reason))}
	for _, a := range [...]struct{ key, value string }{
		{"token_issuer", e.Issuer}, {"token_client", shown(e.ClientID)}, {"token_key", shown(e.KeyID)},
	} {
		if a.value != "" {
			out = append(out, slog.String(a.key, a.value))
		}
	}
	return out
}

// Error returns the reason and the detail.
func (e *Error) Error() string { return fmt.Sprintf("token: %s: %s", e.Reason, e.Detail) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Authentic reports whether the signature was valid, so that the issuer may read the detail. A proof is
// checked after the access token that it belongs to.
func (e *Error) Authentic() bool {
	switch e.Reason {
	case ReasonType, ReasonClaims, ReasonRequired, ReasonExpired, ReasonNotYet, ReasonLifetime, ReasonAudience,
		ReasonEndpoint, ReasonBinding, ReasonScope, ReasonClient, ReasonRevoked,
		ReasonProof, ReasonProofReplay, ReasonProofNonce, ReasonProofMemory:
		return true
	default:
		return false
	}
}

func refuse(r Reason, detail string) *Error { return &Error{Reason: r, Detail: detail} }
