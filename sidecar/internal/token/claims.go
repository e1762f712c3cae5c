package token

import (
	"cmp"
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

// check checks an authentic token after its signature: type, required claims, time, audience,
// binding, and for access tokens kind, client and scope, in this order.
func (v *Verifier) check(t *unverified, iss *issuer, now time.Time) (Claims, *Error) {
	if wrong := wrongType(v.purpose, t.typ, iss); wrong != "" {
		return Claims{}, refuse(ReasonType, wrong)
	}
	c, err := v.read(t, iss)
	if err != nil {
		return Claims{}, refuse(ReasonClaims, err.Error())
	}
	refused := cmp.Or(v.checkTime(c, iss, now), v.checkAudience(c, iss), v.checkEndpoint(t, c))
	if refused == nil && v.purpose == AccessToken {
		refused = cmp.Or(iss.mapping.checkIssued(t, c), iss.mapping.checkScope(t.claims))
		if refused == nil {
			c.Binding, refused = binding(t.claims)
		}
	}
	if refused != nil {
		return Claims{}, refused
	}
	c.release(t)
	return *c, nil
}

// read reads the claims that the purpose needs (RFC 9068 §2.2, RFC 7523 §3). An absent required
// claim and a claim of the wrong type are errors. Issuers that cannot follow RFC 9068 need no sub: some
// leave it out where no user is involved.
func (v *Verifier) read(t *unverified, iss *issuer) (*Claims, error) {
	r := claimReader{obj: t.claims}
	access, subject := v.purpose == AccessToken, v.purpose == Subject
	c := &Claims{
		Issuer:        iss.name,
		KeyID:         t.kid,
		Subject:       r.text("sub", !subject && !(access && len(iss.mapping.Types) > 0)),
		TokenEndpoint: r.text("token_endpoint", false),
		Audience:      r.audience(!subject),
		IssuedAt:      r.time("iat", access),
		NotBefore:     r.time("nbf", false),
		Expires:       r.time("exp", !(subject && iss.noExpiry)),
	}
	if access {
		c.ClientID, c.JTI, c.Scopes = iss.mapping.client(&r), iss.mapping.id(&r, t), []string{Scope}
	} else {
		c.JTI = r.text("jti", !subject && !iss.noJTI)
	}
	if len(c.JTI) > maxJTIBytes {
		r.fault("claim jti is longer than %d bytes", maxJTIBytes)
	}
	switch {
	case subject:
		c.Extra = t.claims
	case v.purpose == Assertion:
		c.ClientID = cmp.Or(iss.clientID, iss.name)
		if c.JTI == "" {
			c.JTI = t.hash()
		}
	}
	return c, r.err
}

// maxShared is the length of a token up to which the claims in the cache may be parts of its text.
const maxShared = 2048

// release makes the claims independent of a long token. Without that, the cache would keep its text.
func (c *Claims) release(t *unverified) {
	if len(t.signing) <= maxShared || c.Extra != nil {
		return
	}
	for _, s := range []*string{&c.Issuer, &c.Subject, &c.ClientID, &c.JTI, &c.KeyID, &c.TokenEndpoint} {
		*s = strings.Clone(*s)
	}
	for i, a := range c.Audience {
		c.Audience[i] = strings.Clone(a)
	}
}

func (v *Verifier) checkTime(c *Claims, iss *issuer, now time.Time) *Error {
	switch {
	case !c.Expires.IsZero() && !now.Before(c.Expires.Add(Leeway)):
		return refuse(ReasonExpired, "the token has expired; send a fresh one")
	case c.NotBefore.After(now.Add(Leeway)):
		return refuse(ReasonNotYet, "nbf is in the future; compare the clocks")
	case c.IssuedAt.After(now.Add(Leeway)):
		return refuse(ReasonNotYet, "iat is in the future; compare the clocks")
	case v.purpose == Assertion && c.Expires.After(now.Add(cmp.Or(iss.maxLifetime, maxAssertionLife)+Leeway)):
		return refuse(ReasonLifetime, fmt.Sprintf("exp is more than %s ahead", cmp.Or(iss.maxLifetime, maxAssertionLife)))
	case v.purpose == AccessToken && iss.maxLifetime > 0 && c.Expires.Sub(c.IssuedAt) > iss.maxLifetime:
		return refuse(ReasonLifetime, fmt.Sprintf("exp is more than %s after iat; ask for a token that expires sooner",
			iss.maxLifetime))
	}
	return nil
}

// checkAudience requires this service among the audiences of an access token (RFC 9068 §4). An
// assertion must have it as the only audience (RFC 7523bis).
func (v *Verifier) checkAudience(c *Claims, iss *issuer) *Error {
	if v.purpose == Assertion && len(c.Audience) != 1 {
		return refuse(ReasonAudience, "aud of a client assertion is the issuer identifier alone")
	}
	if v.purpose == Subject && len(iss.audience) == 0 {
		return nil
	}
	if slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(iss.audience, a) }) {
		return nil
	}
	if v.purpose == Assertion {
		return refuse(ReasonAudience, "aud of a client assertion is the issuer identifier of this authorization server")
	}
	return refuse(ReasonAudience, "aud does not name this service; ask for a token with its resource identifier")
}

// checkEndpoint refuses a token that names another token endpoint.
func (v *Verifier) checkEndpoint(t *unverified, c *Claims) *Error {
	if v.purpose == Subject {
		return nil
	}
	if _, there := t.claims["token_endpoint"]; there && c.TokenEndpoint != v.tokenEndpoint {
		return refuse(ReasonEndpoint, "claim token_endpoint names another token endpoint")
	}
	return nil
}

// claimReader reads typed claims and remembers the first fault.
type claimReader struct {
	obj map[string]any
	err error
}

func (r *claimReader) fault(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *claimReader) get(name string, required bool) (any, bool) {
	v, there := r.obj[name]
	if !there && required {
		r.fault("claim %s is missing", name)
	}
	return v, there
}

func (r *claimReader) text(name string, required bool) string {
	v, there := r.get(name, required)
	s, ok := v.(string)
	if there && (!ok || (required && s == "")) {
		r.fault("claim %s is not a string with text", name)
	}
	return s
}

// time reads a NumericDate (RFC 7519 §2), which may have a fraction.
func (r *claimReader) time(name string, required bool) time.Time {
	v, there := r.get(name, required)
	if !there {
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
	v, there := r.get("aud", required)
	switch aud := v.(type) {
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
				r.fault("claim aud has a value that is not a string")
				return nil
			}
			list = append(list, s)
		}
		return list
	}
	if there {
		r.fault("claim aud is not a string or an array of strings")
	}
	return nil
}
