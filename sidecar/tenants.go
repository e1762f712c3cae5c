package sidecar

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// storeTenants lists the jobs that a deactivation enqueues, for each tenant.
func storeTenants(cfg *config.Config) map[string]store.TenantOptions {
	out := map[string]store.TenantOptions{}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		o := store.TenantOptions{
			Targets:          make([]store.Target, 0, len(t.Apps)),
			UniqueExternalID: policies.TraitsOf(t.Profile).UniqueExternalID, Issuer: t.ExternalURL,
			Policy: t.Policy != nil,
		}
		for j := range t.Apps {
			target := store.Target{App: t.Apps[j].Name, Lifetime: t.Apps[j].CredentialLifetime}
			kinds := issued(&t.Apps[j])
			target.Kinds = make([]string, 0, len(kinds))
			for _, k := range kinds {
				if k == abi.KindAccount && t.Apps[j].Plugin == nil {
					continue // without a plugin the account cannot be disabled
				}
				target.Kinds = append(target.Kinds, string(k))
			}
			o.Targets = append(o.Targets, target)
		}
		out[t.Name] = o
	}
	return out
}

// issued returns the kinds of an application in the order of revocation.
func issued(a *config.App) []abi.Kind {
	return slices.DeleteFunc(abi.Order(), func(k abi.Kind) bool {
		return len(a.Kinds) > 0 && !slices.Contains(a.Kinds, string(k))
	})
}

// pluginConfigs converts the plugin sections for the plugin host.
func pluginConfigs(cfg *config.Config) []plugins.Config {
	var out []plugins.Config
	for t, a := range cfg.AllApps() {
		p := a.Plugin
		if p == nil {
			continue
		}
		limits := plugins.Limits{MemoryMiB: p.MemoryMiB, TimeoutMS: int(p.Timeout.Milliseconds())}
		c := plugins.Config{
			Tenant: t.Name, App: a.Name, Kinds: issued(a), Manifest: p.Manifest, Settings: p.Config,
			Grant: plugins.Grant{Secrets: p.Secrets, Limits: limits},
		}
		for _, h := range p.HTTP {
			c.Grant.HTTP = append(c.Grant.HTTP, plugins.HTTPRule{
				Scheme: h.Scheme, Host: h.Host, Port: h.Port, Methods: h.Methods, PathPrefix: h.PathPrefixes,
				Secrets: h.Secrets, AllowPrivate: h.AllowPrivate, Identify: h.Identify, CAFile: h.CAFile,
				RPS: float64(h.RequestsPerSecond),
			})
		}
		out = append(out, c)
	}
	return out
}

// oauthTenants converts the identity services, and the clients of commands, into OAuth clients.
func (s *Server) oauthTenants(cfg *config.Config) ([]oauth.Tenant, error) {
	var out []oauth.Tenant
	var errs []error
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		o := oauth.Tenant{Name: t.Name, Issuer: t.ExternalURL, Resource: t.Resource(), TokenEndpoint: t.TokenEndpoint()}
		o.TokenLifetime, o.DPoPNonce = t.TokenLifetime, t.DPoP.Nonce == "required"
		o.DPoPRequired, o.Certificates = t.OnlyDPoP(), t.Certificates()
		for j := range t.IdentityServices {
			if c := &t.IdentityServices[j]; !c.StaticTokens {
				made, err := s.keys.oauthClient(c)
				errs = append(errs, err)
				o.Clients = append(o.Clients, made)
			}
		}
		more, err := s.keys.commandClients(s.clients.Rows(t.Name), o.Clients)
		errs = append(errs, err)
		o.Clients = append(o.Clients, more...)
		out = append(out, o)
	}
	return out, errors.Join(errs...)
}

// oauthClient converts a client of the file that has keys.
func (c *keyClients) oauthClient(s *config.IdentityService) (oauth.Client, error) {
	k, err := c.issuer(s.Keys.Issuer, s.Keys)
	return oauth.Client{
		ID: s.ClientID, JWKSURL: k.JWKSURL, Issuer: k.Issuer, JWKS: k.JWKS, HTTPClient: k.HTTPClient,
		AllowTokenEndpointAudience: !s.StrictAudience, Audiences: s.Audiences,
		AssertionIssuer: s.AssertionIssuer, AssertionSubject: s.AssertionSubject, Algorithms: s.Algorithms,
		MaxAssertionLifetime: s.MaxAssertionLifetime, AllowNoJTI: s.JTI == "hash",
		AllowJWTBearer: s.AllowJWTBearer, TokenLifetime: s.TokenLifetime, RequestsPerMinute: s.TokenRequestsPerMinute,
		Constraint: token.ConstraintOf(s.SenderConstrained),
	}, err
}

// keyClients are the HTTP clients that fetch keys, by the content of the file with the authorities. One
// content has one client, so that a reload recognizes what did not change.
type keyClients struct{ byCA map[string]*http.Client }

// of returns the client for one source. It trusts only the authorities that this source names, or else
// the authorities of the system. So the authority of one tenant cannot vouch for the keys of another.
// The client follows no redirects and uses no proxy.
func (c *keyClients) of(k config.KeySource) (*http.Client, error) {
	var pool *x509.CertPool
	content := []byte{}
	if k.CAFile != "" {
		var err error
		if content, err = os.ReadFile(k.CAFile); err != nil {
			return nil, fmt.Errorf("reading authorities: %w", err)
		}
		if pool, err = certPool(k.CAFile, content); err != nil {
			return nil, err
		}
	}
	if made := c.byCA[string(content)]; made != nil {
		return made, nil
	}
	made := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, MaxIdleConnsPerHost: 2,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.byCA == nil {
		c.byCA = map[string]*http.Client{}
	}
	c.byCA[string(content)] = made
	return made, nil
}

// verifier is a token verifier and the options that it was made from.
type verifier struct {
	*token.Verifier
	from token.Options
}

// verifiers makes the token verifiers of one configuration. It keeps them for readiness checks and for
// closing.
type verifiers struct {
	logger  *slog.Logger
	metrics prometheus.Registerer
	now     func() time.Time
	keys    *keyClients
	clients *client.Directory
	former  map[string]verifier // of the configuration before; one with equal options stays
	all     map[string]verifier
	// upstreams are those of all applications.
	upstreams map[string]bool
}

func (v *verifiers) add(name string, o token.Options) (*token.Verifier, error) {
	old, ok := v.former[name]
	if ok && reflect.DeepEqual(old.from, o) { //nolint:govet // no error to compare: Former is nil in both
		v.all[name] = old
		return old.Verifier, nil
	}
	from := o
	o.Logger, o.Metrics, o.Now, o.Former = v.logger, v.metrics, v.now, old.Verifier
	made, err := token.NewVerifier(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v.all[name] = verifier{made, from}
	return made, nil
}

// issuer describes an issuer with keys from k.
func (c *keyClients) issuer(issuer string, k config.KeySource) (out token.IssuerConfig, err error) {
	out = token.IssuerConfig{Issuer: issuer, JWKSURL: k.JWKSURI}
	if k.JWKSFile != "" {
		if out.JWKS, err = os.ReadFile(k.JWKSFile); err != nil {
			return out, fmt.Errorf("reading keys: %w", err)
		}
	}
	out.HTTPClient, err = c.of(k)
	return out, err
}

// accessTokens returns the verifier of access tokens for the SCIM endpoints of t. It accepts tokens
// from scimward and from the external issuers.
func (v *verifiers) accessTokens(t *config.Tenant, own oauth.Own) (*token.Verifier, error) {
	issuers := []token.IssuerConfig{{
		Issuer: t.ExternalURL, Own: own.Keys, Revoked: own.Revoked, Clients: issuerClients{v.clients, t.Name},
	}}
	for i := range t.ExternalIssuers {
		e := &t.ExternalIssuers[i]
		c, err := v.keys.issuer(e.Issuer, e.Keys)
		if err != nil {
			return nil, err
		}
		c.Audience, c.AllowRS256, c.MaxLifetime = []string{e.Audience}, *e.AllowRS256, e.MaxLifetime
		c.Mapping = mappingOf(e)
		c.Clients = issuerClients{v.clients, t.Name}
		issuers = append(issuers, c)
	}
	return v.add("keys:"+t.Name, token.Options{
		Tenant: t.Name, Purpose: token.AccessToken, Issuers: issuers,
		Audience: t.Resource(), TokenEndpoint: t.TokenEndpoint(),
	})
}

// mappingOf converts the keys about the claims of an external issuer.
func mappingOf(e *config.ExternalIssuer) token.Mapping {
	m := token.Mapping{
		ClientClaims: e.ClientClaims, ScopeClaim: e.ScopeClaim, Scope: e.Scope, Ignored: e.IgnoreScopes,
		Require: e.RequireClaims,
	}
	for _, typ := range e.Types {
		if typ == "none" {
			typ = ""
		}
		m.Types = append(m.Types, strings.ToLower(typ))
	}
	for _, name := range e.TokenIDClaims {
		if name == "none" {
			m.NoID = true
		} else {
			m.IDClaims = append(m.IDClaims, name)
		}
	}
	return m
}

// authzTenant converts a tenant into options of the authorizer, without those of its SCIM service.
func (v *verifiers) authzTenant(sharing *config.Sharing, t *config.Tenant) (authz.TenantOptions, error) {
	out := authz.TenantOptions{
		Hosts: []string{t.Host()}, Profile: t.Profile, Realm: t.Name,
		ResourceMetadataURL: t.ExternalURL + "/.well-known/oauth-protected-resource/scim/v2",
		Apps:                map[string]authz.AppOptions{},

		URL: t.ExternalURL, DPoPNonce: t.DPoP.Nonce == "required",
		Constraint: func(issuer, id string) token.Constraint { return v.clients.Constraint(t.Name, issuer, id) },
	}
	for i := range t.Apps {
		a := &t.Apps[i]
		o := authz.AppOptions{
			Hosts: a.Hosts, Needs: passes.Need{List: a.Passes(), Upstreams: v.upstreams}, DiscoverUntil: a.DiscoveryEnd(),
			Methods: a.Methods, IgnoreSchemes: a.IgnoreSchemes,
		}
		o.Streams, o.EncodedSlashes, o.RouteParameters = a.Streams, a.EncodedSlashes == "allow", a.RouteParameters
		o.Unprovisioned, o.Exempt = unprovisioned(a.Unprovisioned), a.Exempt
		o.SharedWith = sharing.Tenants(a)
		switch a.Anonymous {
		case "pass":
			o.Anonymous = authz.AnonymousPass
		case "bare":
			o.Anonymous = authz.AnonymousBare
		}
		for k := range a.Subjects {
			s, err := v.source(fmt.Sprintf("keys:%s/%s[%d]", t.Name, a.Name, k), t, &a.Subjects[k])
			if err != nil {
				return out, err
			}
			o.Subjects = append(o.Subjects, s)
		}
		for _, w := range a.LocalWrites {
			o.LocalWrites = append(o.LocalWrites, authz.LocalWrite{
				Path: w.Path, Methods: w.Methods, Fields: w.Fields, Operations: w.Operations, Exempt: w.Exempt == "allow",
			})
		}
		out.Apps[a.Name] = o
	}
	return out, nil
}

func unprovisioned(mode string) authz.Unprovisioned {
	switch mode {
	case "observe":
		return authz.UnprovisionedObserve
	case "allow":
		return authz.UnprovisionedAllow
	}
	return authz.UnprovisionedDeny
}

func (v *verifiers) source(name string, t *config.Tenant, s *config.Subject) (authz.SubjectSource, error) {
	out := authz.SubjectSource{
		Source:     request.Source{Scheme: s.Scheme, Prefix: s.Prefix},
		IssuedName: s.IssuedHeader,
		Mapping:    subject.Mapping{StripPrefix: s.StripPrefix, StripDomain: s.StripDomain, AppendDomain: s.AppendDomain},
	}
	place(&out.Source, s)
	switch s.Is {
	case "opaque":
		out.Kind, out.Fixed = authz.SourceOpaque, s.Rebinds != nil && !*s.Rebinds
	case "jwt":
		c, err := v.keys.issuer(s.JWT.Issuer, s.JWT.Keys)
		if err != nil {
			return out, err
		}
		c.AllowNoExpiry = true
		if s.JWT.Audience != "" {
			c.Audience = []string{s.JWT.Audience}
		}
		out.Kind, out.Claim, out.As = authz.SourceJWT, s.JWT.Claim, subject.Name(s.JWT.Names)
		o := token.Options{Tenant: t.Name, Purpose: token.Subject, Issuers: []token.IssuerConfig{c}}
		if out.Verifier, err = v.add(name, o); err != nil {
			return out, err
		}
	default:
		out.Kind, out.As = authz.SourceTrusted, subject.Name(s.Is)
		if s.Body != nil || s.Basic != "" {
			out.Kind = authz.SourceUserName
		}
	}
	return out, nil
}

// place sets where a source looks.
func place(out *request.Source, s *config.Subject) {
	switch {
	case s.Cookie != "":
		out.In, out.Name, out.Escapes, out.Chunked, out.Apart = request.InCookie, s.Cookie, s.Escapes, s.Chunked, s.Apart
	case s.CookiePrefix != "":
		out.In, out.Name, out.Escapes, out.Starts = request.InCookie, s.CookiePrefix, s.Escapes, true
	case s.Basic != "":
		out.In, out.Name, out.Scheme = request.InBasic, s.Basic, ""
	case s.Header != "":
		out.In, out.Name = request.InHeader, s.Header
	case s.Query != "":
		out.In, out.Name = request.InQuery, s.Query
	case s.Path != "":
		out.In, out.Name = request.InPath, s.Path
	case s.WebSocketProtocol != "":
		out.In, out.Name = request.InProtocol, s.WebSocketProtocol
	case s.Body != nil:
		out.In = request.InBody
		out.Body = request.BodyRoute{Method: s.Body.Method, Path: s.Body.Path}
		out.Name, out.Body.Format = bodyField(s.Body)
	}
}

func bodyField(b *config.Body) (string, request.BodyFormat) {
	switch {
	case b.JSON != "":
		return b.JSON, request.JSON
	case b.GraphQL != "":
		return b.GraphQL, request.GraphQL
	case b.Multipart != "":
		return b.Multipart, request.Multipart
	}
	return b.Form, request.Form
}

// closeUnused closes the verifiers of from that are not in keep.
func closeUnused(from, keep map[string]verifier) {
	for name, v := range from {
		if keep[name].Verifier != v.Verifier {
			v.Close()
		}
	}
}
