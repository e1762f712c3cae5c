package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
)

// tenant checks one tenant. names and hosts contain the names and hosts of the tenants before it: the path of the
// name, and whose a host is.
func (c checker) tenant(path string, t *Tenant, names, hosts map[string]string) {
	c.name(path+".name", t.Name)
	if first, taken := names[t.Name]; taken {
		also := ""
		if file := c.position(first).file; file != "" && file != c.position(path).file {
			also = ", first in " + file
		}
		c.fail(path+".name", "give each tenant its own name", "%q is used twice%s", t.Name, also)
	} else {
		names[t.Name] = path + ".name"
	}
	const urlFix = `write "https://HOST[:PORT]" without a path`
	if c.require(path+".external_url", t.ExternalURL != "", urlFix) {
		if wrong := outsideURL(t.ExternalURL); wrong != "" {
			c.fail(path+".external_url", urlFix, "%q is %s", t.ExternalURL, wrong)
		}
	}
	if other, taken := hosts[t.Host()]; taken && t.Host() != "" {
		c.fail(path+".external_url", "give each tenant its own host name", "host %q belongs to %s", t.Host(), other)
	}
	hosts[t.Host()] = "tenant " + t.Name
	c.oneOf(path+".profile", t.Profile, policies.Profiles()...)
	c.dialects(path+".dialects", t.Dialects)
	c.policy(path+".policy", t.Policy)
	c.decisions(path+".decisions", &t.Decisions)
	within(c, path+".requests_per_second", t.RequestsPerSecond, 25, 100000)
	within(c, path+".token_lifetime", t.TokenLifetime, 5*time.Minute, time.Hour)
	c.oneOf(path+".dpop.nonce", t.DPoP.Nonce, "optional", "required")
	c.clients(path, t)
	c.require(path+".apps", len(t.Apps) > 0, "add the application that the tenant's users use")
	apps := map[string]bool{}
	for i := range t.Apps {
		at := fmt.Sprintf("%s.apps[%d]", path, i)
		c.unique(at+".name", t.Apps[i].Name, apps, "give each app of a tenant its own name")
		c.app(at, t, &t.Apps[i], hosts)
	}
}

// outsideURL returns the fault of an external URL, or "" for a valid URL.
func outsideURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "not a URL"
	case u.Scheme != "https":
		return "not https"
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "more than scheme, host and port"
	case u.Port() != "" && !isPort(u.Port()):
		return "without a valid port"
	case u.Host != strings.ToLower(u.Host):
		return "not in lower case"
	}
	return ""
}

func (c checker) clients(path string, t *Tenant) {
	c.oneOf(path+".static_tokens", t.StaticTokens, "refuse", "allow")
	c.oneOf(path+".reprovision", t.Reprovision, "refuse", "reactivate")
	ids, subjects := map[string]bool{}, map[string]bool{}
	for i := range t.IdentityServices {
		s := &t.IdentityServices[i]
		at := fmt.Sprintf("%s.identity_services[%d]", path, i)
		c.require(at+".client_id", s.ClientID != "", "write the iss and sub of its assertions")
		c.unique(at+".client_id", s.ClientID, ids, "list each client once")
		c.proof(at, t, s)
		c.dialects(at+".dialects", s.Dialects)
		c.assertions(at, t, s)
		if s.AssertionIssuer != "" {
			c.unique(at+".assertion_subject", s.AssertionIssuer+" "+s.AssertionSubject, subjects,
				"give each client its own subject of the issuer")
		}
	}
	issuers := map[string]bool{}
	for i, e := range t.ExternalIssuers {
		at := fmt.Sprintf("%s.external_issuers[%d]", path, i)
		if c.require(at+".issuer", e.Issuer != "", "write the iss of its tokens") {
			c.unique(at+".issuer", e.Issuer, issuers, "list each issuer once")
			if e.Issuer == t.ExternalURL {
				c.fail(at+".issuer", "leave it out", "scimward's own tokens are always accepted")
			}
		}
		within(c, at+".max_lifetime", e.MaxLifetime, time.Minute, 365*24*time.Hour)
		c.keys(at+".keys", e.Keys)
		c.sameIssuer(at+".keys.issuer", e.Issuer, e.Keys)
		c.dialects(at+".dialects", e.Dialects)
		c.claims(at, &e)
		c.senderConstrained(at+".sender_constrained", e.SenderConstrained, false)
	}
}

// proof checks how a client proves itself, and its limits.
func (c checker) proof(at string, t *Tenant, s *IdentityService) {
	switch {
	case !s.StaticTokens:
		c.keys(at+".keys", s.Keys)
	case s.Keys != KeySource{}:
		c.fail(at+".static_tokens", "leave out either keys or static_tokens", "a client with static tokens has no keys")
	case t.StaticTokens != "allow":
		c.fail(at+".static_tokens", "write static_tokens: allow at the tenant, or give the client keys",
			"the tenant refuses static tokens: IL1 §3.2.1 asks for OAuth")
	}
	c.limits(at, s)
}

// limits checks the limit and the end of a client.
func (c checker) limits(at string, s *IdentityService) {
	if s.RequestsPerSecond != 0 {
		within(c, at+".requests_per_second", s.RequestsPerSecond, 1, 100000)
	}
	if _, err := time.Parse(time.RFC3339, s.Expires); s.Expires != "" && err != nil {
		c.fail(at+".expires", "write a time such as 2027-01-31T00:00:00Z", "%q is not a time in RFC 3339", s.Expires)
	}
}

// DefaultAssertionLifetime limits how far exp of an assertion is ahead, where nothing else does.
const DefaultAssertionLifetime = 10 * time.Minute

// CheckClient checks the dialects, limits, assertions and tokens of a client of t as if the file had it. Its
// keys are not looked at.
func CheckClient(t *Tenant, s IdentityService) error {
	s.completeRules()
	c := checker{d: &decoder{at: map[string]position{}}}
	c.limits("", &s)
	c.dialects("dialects", s.Dialects)
	c.assertions("", t, &s)
	var errs []error
	for _, f := range c.d.faults {
		f.Path = strings.TrimPrefix(f.Path, ".")
		errs = append(errs, errors.New(f.String()))
	}
	if !t.Certificates() && (s.SenderConstrained == SenderCertificate || s.SenderConstrained == SenderEither) {
		errs = append(errs, errors.New("sender_constrained: Envoy asks for no client certificates at this tenant, "+
			"because no client in the configuration file has certificate or either; use dpop, or put such a client into it"))
	}
	return errors.Join(errs...)
}

// End returns when the client ends, the zero time for never.
func (s *IdentityService) End() time.Time {
	end, err := time.Parse(time.RFC3339, s.Expires)
	if err != nil {
		return time.Time{}
	}
	return end
}

func (c checker) dialects(path string, names []string) {
	seen := map[string]bool{}
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.oneOf(at, name, policies.OverlayNames()...)
		c.unique(at, name, seen, "list each overlay once")
	}
}

// assertions checks what a client says about its assertions and tokens.
func (c checker) assertions(at string, t *Tenant, s *IdentityService) {
	within(c, at+".max_assertion_lifetime", s.MaxAssertionLifetime, time.Minute, 24*time.Hour)
	if s.TokenLifetime != 0 {
		within(c, at+".token_lifetime", s.TokenLifetime, 5*time.Minute, time.Hour)
	}
	within(c, at+".token_requests_per_minute", s.TokenRequestsPerMinute, 10, 6000)
	c.oneOf(at+".jti", s.JTI, "required", "hash")
	c.senderConstrained(at+".sender_constrained", s.SenderConstrained, s.StaticTokens)
	for i, a := range s.Algorithms {
		c.oneOf(fmt.Sprintf("%s.algorithms[%d]", at, i), a, "ES256", "PS256", "EdDSA", "RS256")
	}
	for i, a := range s.Audiences {
		c.require(fmt.Sprintf("%s.audiences[%d]", at, i), a != "", "write the aud of its assertions")
	}
	switch {
	case s.AssertionIssuer != "":
		c.require(at+".assertion_subject", s.AssertionSubject != "", "write the exact sub of its assertions")
	case s.AssertionSubject != "":
		c.fail(at+".assertion_subject", "set assertion_issuer, or leave it out",
			"without assertion_issuer, sub is the client_id")
	}
	if s.AssertionIssuer == t.ExternalURL && t.ExternalURL != "" {
		c.fail(at+".assertion_issuer", "name the issuer that signs the assertions", "scimward signs no assertions")
	}
}

// sameIssuer adds a fault if the keys are discovered from another issuer than the issuer of the
// tokens.
func (c checker) sameIssuer(path, issuer string, k KeySource) {
	if k.Issuer != "" && k.Issuer != issuer {
		c.fail(path, "leave it out, or name the keys with jwks_uri", "%q is not the issuer of the tokens", k.Issuer)
	}
}

func (c checker) keys(path string, k KeySource) {
	if n := count(k.Issuer != "", k.JWKSURI != "", k.JWKSFile != ""); n != 1 {
		c.fail(path, "set exactly one of issuer, jwks_uri and jwks_file", "%d key sources", n)
	}
	for name, v := range map[string]string{"issuer": k.Issuer, "jwks_uri": k.JWKSURI} {
		if v != "" && !Fetchable(v) {
			c.fail(path+"."+name, "use https (http is for loopback only)", "%q cannot be fetched safely", v)
		}
	}
	c.file(path+".jwks_file", k.JWKSFile)
	c.file(path+".ca_file", k.CAFile)
}

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

// Fetchable reports whether a URL keeps secret what is sent to it: https, or http on loopback.
func Fetchable(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && address(u.Hostname()).IsLoopback()
}
