package token

import (
	"crypto/sha256"
	"fmt"
)

// Binding is what the sender of an access token must prove (RFC 7800). The zero Binding is that of a bearer
// token. Verify only reads it: who accepts the token must check the proof.
type Binding struct {
	Key         string // thumbprint of the key that signs a DPoP proof (cnf.jkt, RFC 9449 §6.1)
	Certificate string // thumbprint of the client certificate (cnf.x5t#S256, RFC 8705 §3.1)
}

// Confirmation returns the claim cnf, nil for a bearer token.
func (b Binding) Confirmation() map[string]any {
	if b == (Binding{}) {
		return nil
	}
	out := map[string]any{}
	if b.Key != "" {
		out["jkt"] = b.Key
	}
	if b.Certificate != "" {
		out["x5t#S256"] = b.Certificate
	}
	return out
}

// TokenType returns the token_type of an access token with this binding (RFC 9449 §5).
func (b Binding) TokenType() string {
	if b.Key != "" {
		return "DPoP"
	}
	return "Bearer"
}

// Constraint says what the access tokens of a client must be bound to. The zero value is nothing.
type Constraint string

// The constraints.
const (
	ConstraintNone        Constraint = ""
	ConstraintDPoP        Constraint = "dpop"        // a key
	ConstraintCertificate Constraint = "certificate" // a client certificate
	ConstraintEither      Constraint = "either"      // one of both
)

// ConstraintOf converts a value of sender_constrained, of which empty and "none" are nothing. An unknown one
// is the strictest that a client can always meet.
func ConstraintOf(value string) Constraint {
	switch c := Constraint(value); c {
	case "none":
		return ConstraintNone
	case ConstraintNone, ConstraintCertificate, ConstraintEither:
		return c
	default:
		return ConstraintDPoP
	}
}

// Missing returns what a token with binding b lacks, "" if nothing.
func (c Constraint) Missing(b Binding) string {
	key, certificate := b.Key != "", b.Certificate != ""
	switch {
	case c == ConstraintNone, key && c == ConstraintDPoP, certificate && c == ConstraintCertificate,
		(key || certificate) && c == ConstraintEither:
		return ""
	case c == ConstraintCertificate:
		return "a client certificate (RFC 8705)"
	case c == ConstraintEither:
		return "a key (DPoP, RFC 9449) or a client certificate (RFC 8705)"
	}
	return "a key (DPoP, RFC 9449)"
}

// Certificates reports whether the client may use a certificate.
func (c Constraint) Certificates() bool { return c == ConstraintCertificate || c == ConstraintEither }

// binding reads the claim cnf. Everything in it must be proven, so an unknown member is an error.
func binding(claims map[string]any) (b Binding, _ *Error) {
	v, there := claims["cnf"]
	if !there {
		return b, nil
	}
	members, _ := v.(map[string]any)
	for name, value := range members {
		to := map[string]*string{"jkt": &b.Key, "x5t#S256": &b.Certificate}[name]
		print, _ := value.(string)
		switch {
		case to == nil:
			return Binding{}, refuse(ReasonBinding, fmt.Sprintf("claim cnf has %s; this service can check jkt and x5t#S256",
				shown(name)))
		case !thumbprint(print):
			return Binding{}, refuse(ReasonBinding, "claim cnf has a thumbprint that is no SHA-256 in base64url")
		}
		*to = print
	}
	if b == (Binding{}) {
		return b, refuse(ReasonBinding, "claim cnf is not an object with jkt or x5t#S256")
	}
	return b, nil
}

func thumbprint(s string) bool {
	sum, err := decode(s)
	return err == nil && len(sum) == sha256.Size
}
