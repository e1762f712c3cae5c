package token

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Mapping says how the access tokens of an issuer name what RFC 9068 §2 names. The zero value is
// RFC 9068 itself. A mapping only finds a value in another place. It never makes a token grant more: the
// token must have Scope and nothing else, and the claims that come out have the scope scim.
type Mapping struct {
	// Types are the values of typ that are accepted beside at+jwt, in lower case. "" is a token without
	// typ. Tokens of these types must not look like an ID token or another kind of token.
	Types []string
	// ClientClaims may name the client. The first one that the token has counts. Empty is client_id.
	ClientClaims []string
	// ScopeClaim has Scope: scope, scp or roles. Empty is scope.
	ScopeClaim string
	// Scope is what ScopeClaim must contain. Empty is [Scope].
	Scope string
	// Ignored are further names in the claims about grants. They grant nothing here.
	Ignored []string
	// IDClaims may have the id of the token. The first one that the token has counts. Empty is jti.
	IDClaims []string
	// NoID accepts tokens without an id. Their id is a hash of what was signed.
	NoID bool
	// Require maps names of claims to the value that each must have. A number or a boolean in the token
	// equals its JSON text.
	Require map[string]string
}

// plain is the mapping of RFC 9068. Most issuers have it, and share it.
var plain = Mapping{ //nolint:gochecknoglobals // never changes
	ClientClaims: []string{"client_id"}, ScopeClaim: "scope", Scope: Scope, IDClaims: []string{"jti"},
}

// withDefaults fills in the names of RFC 9068. The result does not change.
func (m Mapping) withDefaults() *Mapping {
	if reflect.ValueOf(m).IsZero() {
		return &plain
	}
	if len(m.ClientClaims) == 0 {
		m.ClientClaims = plain.ClientClaims
	}
	m.ScopeClaim, m.Scope = cmp.Or(m.ScopeClaim, plain.ScopeClaim), cmp.Or(m.Scope, plain.Scope)
	if len(m.IDClaims) == 0 && !m.NoID {
		m.IDClaims = plain.IDClaims
	}
	return &m
}

// wrongType returns why typ does not fit an access token of this issuer, or "" if it fits.
func (m *Mapping) wrongType(typ string) string {
	switch {
	case typ == TypeAccessToken || slices.Contains(m.Types, typ):
		return ""
	case typ == "" || typ == "jwt":
		return "an access token has typ at+jwt (RFC 9068); if this issuer cannot send it, set mapping or types " +
			"of its entry in external_issuers"
	}
	return "an access token has typ at+jwt (RFC 9068)"
}

// first reads the first of the claims that the token has, a text.
func (r *claimReader) first(names []string) (text string, found bool) {
	for _, name := range names {
		if _, there := r.obj[name]; there {
			return r.text(name, true), true
		}
	}
	return "", false
}

// client reads the client.
func (m *Mapping) client(r *claimReader) string {
	client, found := r.first(m.ClientClaims)
	if !found {
		r.fault("claim %s is missing", strings.Join(m.ClientClaims, " or "))
	}
	return client
}

// id reads the id of the token.
func (m *Mapping) id(r *claimReader, t *unverified) string {
	id, found := r.first(m.IDClaims)
	switch {
	case found:
		return id
	case m.NoID:
		return t.hash()
	}
	r.fault("claim %s is missing", strings.Join(m.IDClaims, " or "))
	return ""
}

// foreignKind returns why a token that is not typed as an access token is of another kind, or "". Issuers
// sign ID tokens, logout tokens and security events with the same keys (RFC 8725 §2.8).
func foreignKind(c *Claims, claims map[string]any) string {
	for _, name := range [...]string{"nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if _, there := claims[name]; there {
			return "claim " + name + " makes this an ID token or an event, not an access token"
		}
	}
	for _, kind := range [...]struct {
		claim   string
		allowed []string
	}{
		{"typ", []string{"Bearer", "DPoP"}}, // Keycloak: ID, Refresh, Offline, Logout
		{"token_use", []string{"access"}},   // Cognito: id
	} {
		if v, there := claims[kind.claim]; there {
			if s, _ := v.(string); !slices.Contains(kind.allowed, s) {
				return "claim " + kind.claim + " is of another kind of token, not of an access token"
			}
		}
	}
	if slices.Contains(c.Audience, c.ClientID) {
		return "aud is the client itself, as in an ID token; register the SCIM service as an API of its own"
	}
	return ""
}

// checkIssued checks what the issuer's mapping requires beside the scope.
func (m *Mapping) checkIssued(t *unverified, c *Claims) *Error {
	if t.typ != TypeAccessToken {
		if wrong := foreignKind(c, t.claims); wrong != "" {
			return refuse(ReasonType, wrong)
		}
	}
	for name, want := range m.Require {
		if got, ok := plainText(t.claims[name]); !ok || got != want {
			return refuse(ReasonRequired, fmt.Sprintf("claim %s is not what require_claims of this issuer wants", name))
		}
	}
	return nil
}

// plainText returns the text of a string, a number or a boolean.
func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// grantClaims are the claims with which issuers say what a token may do.
func grantClaims() [4]string { return [...]string{"scope", "scp", "roles", "permissions"} }

// checkScope requires exactly the scope (IL1 §3.1). It compares whole names, so "scimadmin" is another
// scope. Every claim about grants counts: a token of a user has the scopes of the client in one and the
// roles of the user in another.
func (m *Mapping) checkScope(claims map[string]any) *Error {
	found := false
	for _, claim := range grantClaims() {
		v, there := claims[claim]
		if !there {
			continue
		}
		has, refused := m.checkGrants(claim, v)
		if refused != nil {
			return refused
		}
		found = found || has && claim == m.ScopeClaim
	}
	if !found {
		return m.refuseScope(fmt.Sprintf("claim %s lacks %q; give the client this scope", m.ScopeClaim, m.Scope))
	}
	return nil
}

// checkGrants checks one claim about grants. It reports whether the claim has the scope.
func (m *Mapping) checkGrants(claim string, v any) (has bool, refused *Error) {
	switch v := v.(type) {
	case string:
		switch {
		case claim == "roles" || claim == "permissions":
		case v == m.Scope:
			return true, nil
		case v == "":
			return false, nil
		default:
			return m.checkNames(claim, strings.SplitSeq(v, " "))
		}
	case []any:
		names := make([]string, 0, len(v))
		for _, e := range v {
			if name, ok := e.(string); ok {
				names = append(names, name)
			}
		}
		if claim != "scope" && len(names) == len(v) {
			return m.checkNames(claim, slices.Values(names))
		}
	}
	return false, refuse(ReasonClaims, "claim "+claim+" has the wrong type; scope is a string, roles and permissions are "+
		"arrays of strings, scp is either")
}

func (m *Mapping) checkNames(claim string, names iter.Seq[string]) (has bool, _ *Error) {
	for name := range names {
		switch {
		case name == m.Scope && !has:
			has = true
		case name == m.Scope:
			return false, m.refuseScope(fmt.Sprintf("claim %s has %q twice", claim, m.Scope))
		case name == "":
			return false, m.refuseScope("names in claim " + claim + " are separated by single spaces, and none is empty")
		case !slices.Contains(m.Ignored, name):
			return false, m.refuseScope(fmt.Sprintf("claim %s has %s, which is more than %q, all that this service accepts; "+
				"ask for a token with %[3]q alone", claim, shown(name), m.Scope))
		}
	}
	return has, nil
}

func (m *Mapping) refuseScope(detail string) *Error {
	return &Error{Reason: ReasonScope, Detail: detail, Scope: m.Scope}
}
