package oauth

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// The lifetime of access tokens.
const (
	defaultTokenLifetime = 5 * time.Minute
	maxTokenLifetime     = time.Hour // a signing key stays published so long after it signed last
)

// Client is an identity service that may get tokens of a tenant. Exactly one of JWKSURL, Issuer and
// JWKS names the source of its keys.
type Client struct {
	ID      string // client_id: iss and sub of its assertions, unless AssertionIssuer is set
	JWKSURL string // https, or http on loopback
	Issuer  string // its issuer identifier; the RFC 8414 metadata there names jwks_uri
	JWKS    []byte // the key set itself

	// HTTPClient fetches the keys of this client. It trusts only the certificate authorities of this
	// client. Nil is a plain client.
	HTTPClient *http.Client

	// AllowTokenEndpointAudience also accepts the token endpoint's URL as `aud`. Clients from before
	// RFC 7523bis send it. RFC 7523bis requires the issuer.
	AllowTokenEndpointAudience bool

	// Audiences are further values that `aud` of an assertion may have, such as api://APPID.
	Audiences []string
	// AssertionIssuer and AssertionSubject are the exact iss and sub of assertions that another issuer
	// signs for the client. Both or none are set.
	AssertionIssuer, AssertionSubject string
	// Algorithms of its assertions, of ES256, PS256, EdDSA and RS256. Empty is the first three.
	Algorithms []string
	// MaxAssertionLifetime limits how far exp of an assertion is ahead. Zero is 10 minutes.
	MaxAssertionLifetime time.Duration
	// AllowNoJTI accepts assertions without jti. Each is still accepted once.
	AllowNoJTI bool
	// AllowJWTBearer opens the grant of RFC 7523 §2.1 beside client_credentials.
	AllowJWTBearer bool
	// Optional says that a command added it: the store has its keys too, and [Server.Ready] leaves them out.
	Optional bool
	// TokenLifetime is the lifetime of its access tokens, 60 minutes at most. Zero is that of the tenant.
	TokenLifetime time.Duration
	// Constraint is what its access tokens must be bound to. With [token.ConstraintCertificate] or
	// [token.ConstraintEither], a client certificate binds them.
	Constraint token.Constraint
	// RequestsPerMinute limits its requests, and is their largest burst. Zero is 60.
	RequestsPerMinute int
}

// assertions describes the assertions of the client for the verifier of a tenant.
func (c *Client) assertions(t *Tenant) token.IssuerConfig {
	audience := []string{t.Issuer}
	if c.AllowTokenEndpointAudience {
		audience = append(audience, t.TokenEndpoint)
	}
	return token.IssuerConfig{
		Issuer: cmp.Or(c.AssertionIssuer, c.ID), Subject: c.AssertionSubject, ClientID: c.ID,
		JWKS: c.JWKS, JWKSURL: c.JWKSURL, KeyIssuer: c.Issuer, HTTPClient: c.HTTPClient,
		Audience: append(audience, c.Audiences...), Algorithms: c.Algorithms,
		MaxLifetime: c.MaxAssertionLifetime, AllowNoJTI: c.AllowNoJTI, Optional: c.Optional,
	}
}

// client returns nil for an unknown client.
func (t *Tenant) client(id string) *Client {
	if i := slices.IndexFunc(t.Clients, func(c Client) bool { return c.ID == id }); i >= 0 {
		return &t.Clients[i]
	}
	return nil
}

// lifetime returns the lifetime of access tokens of a client.
func (t *Tenant) lifetime(c *Client) time.Duration {
	return min(cmp.Or(c.TokenLifetime, t.TokenLifetime, defaultTokenLifetime), maxTokenLifetime)
}

// jwtBearer reports whether some client may use the grant of RFC 7523 §2.1.
func (t *Tenant) jwtBearer() bool {
	return slices.ContainsFunc(t.Clients, func(c Client) bool { return c.AllowJWTBearer })
}

// DefaultAlgorithms are those of a client that names none.
func DefaultAlgorithms() []string { return []string{"ES256", "PS256", "EdDSA"} }

// algorithms returns the algorithms that some client may sign its assertions with.
func (t *Tenant) algorithms() []string {
	all := DefaultAlgorithms()
	for i := range t.Clients {
		if slices.Contains(t.Clients[i].Algorithms, "RS256") {
			return append(all, "RS256")
		}
	}
	return all
}

// Sample is what the authorization server says about one of its clients.
type Sample struct {
	Keys       []token.KeyInfo // as fetched now
	KeysFault  error           // why they cannot be read, nil for none
	Audiences  []string        // accepted aud of an assertion
	Issuer     string          // iss of its assertions
	Subject    string          // sub of them
	Algorithms []string
	Grants     []string
	Token      string // an access token as the client would get; the caller must not keep it
}

// Sample fetches the keys of a client and signs an access token for it, without an assertion and without
// a record: the token must not leave the process. It returns false for an unknown client.
func (s *Server) Sample(ctx context.Context, tenant, id string) (*Sample, bool, error) {
	t := s.tenant(tenant)
	if t == nil || t.client(id) == nil {
		return nil, false, nil
	}
	c := t.client(id)
	from := c.assertions(&t.Tenant)
	out := &Sample{
		Audiences: from.Audience, Issuer: from.Issuer, Subject: cmp.Or(from.Subject, c.ID), Grants: t.grantTypes(),
		Algorithms: c.Algorithms,
	}
	if len(out.Algorithms) == 0 {
		out.Algorithms = DefaultAlgorithms()
	}
	if !c.AllowJWTBearer {
		out.Grants = []string{grantClientCredentials}
	}
	out.Keys, out.KeysFault = token.FetchKeys(ctx, &from)
	q := &tokenRequest{received: s.opts.Now(), client: id, earliest: s.opts.NotBefore(tenant, id)}
	var err error
	out.Token, err = t.sign(q, newID(), grant{lifetime: time.Minute})
	return out, true, err
}
