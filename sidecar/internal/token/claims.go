package token

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	maxAudiences = 64
	maxJTIBytes  = 256
	maxUnixTime  = 253402300799 // the end of year 9999
)

// judge checks everything about an authentic token that is not its signature:
// type, required claims, time, audience, binding, scope, in that order.
func (v *Verifier) judge(p *parsed, iss *issuer, now time.Time) (Claims, *Error) {
	if why := typeRefused(v.purpose, p.typ); why != "" {
		return Claims{}, refuse(ReasonType, why)
	}
	c, scope, err := v.read(p, iss)
	if err != nil {
		return Claims{}, &Error{Reason: ReasonClaims, Detail: err.Error()}
	}
	for _, check := range []func() *Error{
		func() *Error { return v.judgeTime(c, now) },
		func() *Error { return v.judgeAudience(c, iss) },
		func() *Error { return v.judgeBinding(p, c) },
		func() *Error { return v.judgeScope(&c, scope) },
	} {
		if e := check(); e != nil {
			return Claims{}, e
		}
	}
	return c, nil
}

// read takes the claims of the purpose out of the payload (RFC 9068 §2.2,
// RFC 7523 §3); an absent required claim or a wrong type is an error.
func (v *Verifier) read(p *parsed, iss *issuer) (c Claims, scope string, err error) {
	r := claimReader{obj: p.claims}
	access, subject := v.purpose == AccessToken, v.purpose == Subject
	c = Claims{
		Issuer:        iss.name,
		KeyID:         p.kid,
		Subject:       r.text("sub", !subject),
		ClientID:      r.text("client_id", access),
		JTI:           r.text("jti", access || (v.purpose == Assertion && !iss.noJTI)),
		TokenEndpoint: r.text("token_endpoint", false),
		Audience:      r.audience(access || v.purpose == Assertion),
		IssuedAt:      r.time("iat", access),
		NotBefore:     r.time("nbf", false),
		Expires:       r.time("exp", !iss.noExpiry),
	}
	if access {
		scope = r.text("scope", false)
	}
	if r.err == nil && len(c.JTI) > maxJTIBytes {
		r.err = fmt.Errorf("claim jti is longer than %d bytes", maxJTIBytes)
	}
	if subject {
		c.Extra = p.claims
	}
	return c, scope, r.err
}

func (v *Verifier) judgeTime(c Claims, now time.Time) *Error {
	switch {
	case !c.Expires.IsZero() && !now.Before(c.Expires.Add(v.leeway)):
		return refuse(ReasonExpired, "the token has expired; send a fresh one")
	case c.NotBefore.After(now.Add(v.leeway)):
		return refuse(ReasonNotYet, "nbf lies ahead; compare the clocks")
	case c.IssuedAt.After(now.Add(v.leeway)):
		return refuse(ReasonNotYet, "iat lies ahead; compare the clocks")
	case v.maxLifetime > 0 && c.Expires.After(now.Add(v.maxLifetime+v.leeway)):
		return refuse(ReasonLifetime, fmt.Sprintf("exp lies more than %s ahead", v.maxLifetime))
	}
	return nil
}

// judgeAudience wants this service among the audiences of an access token
// (B33, E3), and as the only one of an assertion (B7).
func (v *Verifier) judgeAudience(c Claims, iss *issuer) *Error {
	if v.purpose == Assertion && len(c.Audience) != 1 {
		return refuse(ReasonAudience, "aud of a client assertion is the issuer identifier alone")
	}
	if v.purpose == Subject && len(iss.audience) == 0 {
		return nil
	}
	for _, a := range c.Audience {
		if slices.Contains(iss.audience, a) {
			return nil
		}
	}
	if v.purpose == Assertion {
		return refuse(ReasonAudience, "aud of a client assertion is the issuer identifier of this authorization server")
	}
	return refuse(ReasonAudience, "aud does not name this service; ask for a token with its resource identifier")
}

// judgeBinding refuses a token that names another token endpoint (B18), and one
// that is bound to a key and came without proof of it (E10).
func (v *Verifier) judgeBinding(p *parsed, c Claims) *Error {
	if v.purpose == Subject {
		return nil
	}
	if _, there := p.claims["token_endpoint"]; there && c.TokenEndpoint != v.tokenEndpoint {
		return refuse(ReasonEndpoint, "claim token_endpoint names another token endpoint")
	}
	if _, there := p.claims["cnf"]; there && v.purpose == AccessToken {
		return refuse(ReasonBinding, "the token is bound to a key (cnf) and cannot be used as a bearer token")
	}
	return nil
}

// judgeScope wants exactly the configured scope (B15, B16): split at spaces,
// compared whole, so "scimadmin" is another scope than "scim".
func (v *Verifier) judgeScope(c *Claims, scope string) *Error {
	if v.purpose != AccessToken {
		return nil
	}
	has := false
	for s := range strings.SplitSeq(scope, " ") {
		switch {
		case s == v.scope && !has:
			has = true
		case s == v.scope:
			return refuse(ReasonScope, fmt.Sprintf("scope %q is repeated", v.scope))
		case s != "":
			return refuse(ReasonScope, fmt.Sprintf("scope %s is more than %q, which is all this service takes; ask for a token with scope %q alone",
				quoteScope(s), v.scope, v.scope))
		case scope != "":
			return refuse(ReasonScope, "scope is not a list of names with single spaces between them")
		}
	}
	if !has {
		return refuse(ReasonScope, fmt.Sprintf("the token lacks scope %q", v.scope))
	}
	c.Scopes = []string{v.scope}
	return nil
}

// quoteScope makes a scope of a token fit for a message: bounded, ASCII.
func quoteScope(s string) string {
	const longest = 64
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return fmt.Sprintf("%+q", s)
}

// claimReader reads typed claims and keeps the first fault.
type claimReader struct {
	obj map[string]any
	err error
}

func (r *claimReader) fault(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *claimReader) text(name string, required bool) string {
	v, there := r.obj[name]
	if !there {
		if required {
			r.fault("claim %s is missing", name)
		}
		return ""
	}
	s, ok := v.(string)
	if !ok || (required && s == "") {
		r.fault("claim %s is not a string with text", name)
	}
	return s
}

// time reads a NumericDate (RFC 7519 §2), which may have a fraction.
func (r *claimReader) time(name string, required bool) time.Time {
	v, there := r.obj[name]
	if !there {
		if required {
			r.fault("claim %s is missing", name)
		}
		return time.Time{}
	}
	n, ok := v.(json.Number)
	if !ok {
		r.fault("claim %s is not a number of seconds", name)
		return time.Time{}
	}
	f, err := n.Float64()
	if err != nil || f <= 0 || f > maxUnixTime {
		r.fault("claim %s is not a time", name)
		return time.Time{}
	}
	whole, frac := math.Modf(f)
	return time.Unix(int64(whole), int64(frac*float64(time.Second)))
}

// audience reads aud, a string or an array of strings (RFC 7519 §4.1.3).
func (r *claimReader) audience(required bool) []string {
	switch aud := r.obj["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		if len(aud) > maxAudiences {
			r.fault("claim aud has more than %d values", maxAudiences)
			return nil
		}
		list := make([]string, 0, len(aud))
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				r.fault("claim aud holds a value that is not a string")
				return nil
			}
			list = append(list, s)
		}
		return list
	case nil:
		if _, there := r.obj["aud"]; there || required {
			r.fault("claim aud is missing")
		}
		return nil
	default:
		r.fault("claim aud is not a string or an array of strings")
		return nil
	}
}
