package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// claimMapping is what a provider's access tokens need. Each name is a value of external_issuers[].mapping.
type claimMapping struct {
	types, clients, ids []string
	scopeClaim          string
	onlyRS256           bool // the provider cannot sign with another algorithm
}

// claimMappings are the ready mappings. Every one of them accepts RS256, the usual algorithm of these providers.
func claimMappings() map[string]claimMapping {
	return map[string]claimMapping{
		// Version 1.0 tokens name the client in appid, version 2.0 tokens in azp.
		"entra": {
			types: []string{"JWT"}, clients: []string{"azp", "appid"}, ids: []string{"uti", "jti"}, scopeClaim: "roles",
			onlyRS256: true,
		},
		// Tokens of a custom authorization server have no typ.
		"okta": {
			types: []string{"none"}, clients: []string{"cid"}, ids: []string{"jti"}, scopeClaim: "scp",
			onlyRS256: true,
		},
		// Only the RFC 9068 profile of an API has client_id and jti.
		"auth0": {
			types: []string{"JWT"}, clients: []string{"azp", "client_id"}, ids: []string{"jti", "none"}, scopeClaim: "scope",
		},
		"keycloak": {
			types: []string{"JWT"}, clients: []string{"azp", "client_id"}, ids: []string{"jti"}, scopeClaim: "scope",
		},
		"ping": {
			types: []string{"JWT", "none"}, clients: []string{"client_id"}, ids: []string{"jti", "none"}, scopeClaim: "scope",
			onlyRS256: true,
		},
	}
}

// completeClaims fills in the keys that the file does not set, from the mapping and then from RFC 9068.
func (e *ExternalIssuer) completeClaims() {
	m := claimMappings()[e.Mapping]
	for _, l := range []struct{ list, first, last *[]string }{
		{&e.Types, &m.types, &[]string{}},
		{&e.ClientClaims, &m.clients, &[]string{"client_id"}},
		{&e.TokenIDClaims, &m.ids, &[]string{"jti"}},
	} {
		switch {
		case *l.list != nil:
		case *l.first != nil:
			*l.list = *l.first
		default:
			*l.list = *l.last
		}
	}
	or(&e.ScopeClaim, m.scopeClaim)
	or(&e.ScopeClaim, "scope")
	or(&e.Scope, "scim")
	if e.AllowRS256 == nil {
		rs256 := e.Mapping != ""
		e.AllowRS256 = &rs256
	}
}

// claims checks the keys about the claims of an external issuer.
func (c checker) claims(at string, e *ExternalIssuer) {
	if e.Mapping != "" {
		c.oneOf(at+".mapping", e.Mapping, slices.Sorted(maps.Keys(claimMappings()))...)
	}
	if claimMappings()[e.Mapping].onlyRS256 && !*e.AllowRS256 {
		c.fail(at+".allow_rs256", "remove it", "%s signs with RS256 alone, so every token would be refused", e.Mapping)
	}
	c.listOf(at+".types", e.Types, "JWT", "none")
	c.listOf(at+".client_claims", e.ClientClaims, "azp", "appid", "cid", "client_id", "sub")
	c.listOf(at+".token_id_claims", e.TokenIDClaims, "jti", "uti", "none")
	c.require(at+".client_claims", len(e.ClientClaims) > 0, "list at least one, or remove the key")
	c.require(at+".token_id_claims", len(e.TokenIDClaims) > 0, "list at least one, or remove the key")
	if i := slices.Index(e.TokenIDClaims, "none"); i >= 0 && i < len(e.TokenIDClaims)-1 {
		c.fail(at+".token_id_claims", "move none to the end", "nothing after none is ever read")
	}
	if slices.Contains(e.ClientClaims, "sub") && len(e.Clients) == 0 {
		c.fail(at+".clients", "list the clients", "sub names users too, so any user of this issuer would be a client")
	}
	c.issuerForm(at+".issuer", e)
	c.scopes(at, e)
	c.issuerClients(at, e)
	c.requireClaims(at+".require_claims", e)
}

// listOf checks a list of different values out of a few.
func (c checker) listOf(path string, list []string, allowed ...string) {
	seen := map[string]bool{}
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.oneOf(at, v, allowed...)
		c.unique(at, v, seen, "list it once")
	}
}

// issuerForm checks what is known about the issuers of a provider. No token would have another iss.
func (c checker) issuerForm(path string, e *ExternalIssuer) {
	switch {
	case e.Mapping == "auth0" && !strings.HasSuffix(e.Issuer, "/"):
		c.fail(path, "write a slash at the end", "iss of Auth0 ends with a slash, %q does not", e.Issuer)
	case e.Mapping == "entra":
		for _, several := range []string{"common", "organizations", "consumers", "{tenantid}"} {
			if strings.Contains(e.Issuer+"/", "/"+several+"/") {
				c.fail(path, "write the id of your directory in place of "+several, "no token has this iss")
			}
		}
	}
}

// scopes checks the scope and the names beside it.
func (c checker) scopes(at string, e *ExternalIssuer) {
	c.oneOf(at+".scope_claim", e.ScopeClaim, "scope", "scp", "roles")
	c.scopeName(at+".scope", e.Scope)
	seen := map[string]bool{}
	for i, s := range e.IgnoreScopes {
		path := fmt.Sprintf("%s.ignore_scopes[%d]", at, i)
		c.scopeName(path, s)
		c.unique(path, s, seen, "list it once")
		if s == e.Scope {
			c.fail(path, "remove it", "%q is the scope that every token must have", s)
		}
	}
}

// scopeName checks the form of a scope (RFC 6749 §3.3).
func (c checker) scopeName(path, s string) {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
	if s == "" || strings.ContainsFunc(s, odd) {
		c.fail(path, `write one name of visible ASCII, without space, " and \`, "%q is not a scope", s)
	}
}

func (c checker) issuerClients(at string, e *ExternalIssuer) {
	seen := map[string]bool{}
	for i, id := range e.Clients {
		path := fmt.Sprintf("%s.clients[%d]", at, i)
		c.require(path, id != "", "write a client id, or remove the entry")
		c.unique(path, id, seen, "list each client once")
		if id == e.Audience && len(e.Types) > 0 {
			c.fail(path, "give the SCIM service an audience of its own",
				"a token for the client itself is an ID token, so every token of this client would be refused")
		}
	}
}

// sharedIssuers refuses tokens that two tenants would accept from one external issuer: a client of one tenant
// could change the accounts of the other.
func (c checker) sharedIssuers(cfg *Config) {
	for i := range cfg.Tenants {
		for j := range cfg.Tenants[i].ExternalIssuers {
			e := &cfg.Tenants[i].ExternalIssuers[j]
			for k := range i {
				if slices.ContainsFunc(cfg.Tenants[k].ExternalIssuers, e.mixes) {
					c.fail(fmt.Sprintf("tenants[%d].external_issuers[%d].audience", i, j),
						"give each tenant an audience of its own, or list the clients of each",
						"tenant %s accepts the tokens of this issuer for this audience too, so a client of one tenant could "+
							"change the accounts of the other", cfg.Tenants[k].Name)
				}
			}
		}
	}
}

// mixes reports whether a token for one entry may be one for another tenant's, and the file does not say whose
// its clients are.
func (e *ExternalIssuer) mixes(other ExternalIssuer) bool {
	if e.Issuer != other.Issuer || e.Audience != other.Audience || len(e.Clients) > 0 && len(other.Clients) > 0 {
		return false
	}
	for name, value := range e.RequireClaims {
		if theirs, both := other.RequireClaims[name]; both && theirs != value {
			return false // no token has both
		}
	}
	return true
}

// requireClaims refuses claims that other keys or scimward check, because two rules could contradict each
// other.
func (c checker) requireClaims(path string, e *ExternalIssuer) {
	const remove = "remove it"
	for _, name := range slices.Sorted(maps.Keys(e.RequireClaims)) {
		at, value := path+"."+name, e.RequireClaims[name]
		c.require(at, name != "" && value != "", "write NAME: VALUE")
		switch name {
		case "iss", "aud":
			c.fail(at, "set "+map[string]string{"iss": "issuer", "aud": "audience"}[name], "%s has a key of its own", name)
		case "scope", "scp", "roles", "permissions":
			c.fail(at, "set scope_claim, scope and ignore_scopes", "what a token may do has keys of its own")
		case "exp", "iat", "nbf", "jti", "uti", "cnf", "token_endpoint":
			c.fail(at, remove, "%s is checked anyway and has no fixed value", name)
		case "nonce", "at_hash", "c_hash", "s_hash", "events":
			c.fail(at, remove, "no access token has %s", name)
		}
		if kind := map[string]string{"typ": "Bearer", "token_use": "access"}[name]; kind != "" && value != kind {
			c.fail(at, "write "+kind, "%s of an access token is %s", name, kind)
		}
	}
}
