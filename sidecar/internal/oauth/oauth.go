// Package oauth is the authorization server of a tenant: a signed assertion goes
// in, a short-lived access token with scope `scim` comes out, and nothing else.
//
//	client                                  authorization server
//	  | GET /.well-known/oauth-authorization-server   RFC 8414 metadata (B22)
//	  | GET /oauth/jwks                               keys of the access tokens
//	  | POST /oauth/token                             RFC 6749 §4.4 with RFC 7523 §2.2
//	  |   grant_type=client_credentials
//	  |   client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer
//	  |   client_assertion=<JWT, iss = sub = client id, aud = issuer, jti, exp>
//	  |   scope=scim                                  optional
//	  | <- {"access_token": "…", "token_type": "Bearer", "expires_in": 300, "scope": "scim"}
//
// Call [New] once with all tenants, then [Server.Mount]. The verifier of access
// tokens takes [Server.PublicKeys].
//
// What the package promises:
//   - A client proves itself with its key and in no other way: no client secret,
//     no Authorization header (B4).
//   - An assertion works once. Its jti is written to the store, with the audit
//     record of the grant, before the answer leaves; a restart forgets nothing (B10).
//   - A client of another tenant is an unknown client. Who is not authentic gets
//     the same answer, after similar work, whatever was wrong.
//   - What is in doubt, a store or a client's keys out of reach, is 503 with
//     Retry-After and never a token.
package oauth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// Scope is the only scope there is (B15).
const Scope = "scim"

// Defaults and bounds.
const (
	defaultLifetime = 5 * time.Minute
	maxLifetime     = time.Hour // of a token (B17), and of an assertion that must be remembered
	leeway          = 30 * time.Second
)

// Client is an identity service that may get tokens of a tenant. Exactly one of
// JWKSURL, Issuer and JWKS says where its keys are.
type Client struct {
	ID      string // client_id: iss and sub of its assertions
	JWKSURL string // https, or http on loopback
	Issuer  string // its issuer identifier, whose RFC 8414 metadata names jwks_uri (B20)
	JWKS    []byte // the key set itself

	// HTTPClient fetches the keys of this client, with the authorities that vouch
	// for them and for no others; nil is Options.HTTPClient.
	HTTPClient *http.Client

	// AllowTokenEndpointAudience accepts the token endpoint's URL as `aud` beside
	// the issuer, for clients older than RFC 7523bis (B8).
	AllowTokenEndpointAudience bool
	AllowRS256                 bool // B108
	// ReplayByHash takes the hash of an assertion without jti for its jti. False
	// refuses assertions without jti.
	ReplayByHash bool
}

// Tenant is one authorization server.
type Tenant struct {
	Name                 string
	Issuer               string // issuer identifier, the external URL; no query, no fragment
	Resource             string // the SCIM service's identifier, `aud` of the access tokens
	TokenEndpoint        string // external URL; empty is Issuer + "/oauth/token"
	Clients              []Client
	TokenLifetime        time.Duration // of access tokens, a second to an hour; 0 is 5 minutes
	MaxAssertionLifetime time.Duration // how far ahead exp of an assertion may lie, at most an hour; 0 is 10 minutes (B6)
}

// Options configure a server.
type Options struct {
	Tenants    []Tenant
	Store      *store.Store     // required; knows every tenant
	Now        func() time.Time // nil is time.Now
	NewID      func() string    // jti of access tokens and missing request ids; nil is 128 random bits
	HTTPClient *http.Client     // to fetch clients' keys; nil is a client of its own
	Logger     *slog.Logger     // nil discards
	Metrics    prometheus.Registerer
}

// Server is the authorization servers of all tenants. It is safe for concurrent
// use.
type Server struct {
	tenants map[string]*tenant
	store   *store.Store
	now     func() time.Time
	newID   func() string
	log     *slog.Logger
	answers *prometheus.CounterVec // by tenant and outcome
}

// New checks the tenants, reporting every fault at once, makes the signing keys
// that the store does not have yet, and starts what fetches the clients' keys;
// [Server.Close] ends it.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Store == nil {
		return nil, errors.New("oauth: a server needs a store")
	}
	s := &Server{tenants: make(map[string]*tenant, len(o.Tenants)), store: o.Store, now: o.Now, newID: o.NewID, log: o.Logger}
	s.defaults()
	s.answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_oauth_token_requests_total",
		Help: "Token requests by tenant and outcome: issued, or the reason of the refusal.",
	}, []string{"tenant", "outcome"})
	if o.Metrics != nil {
		if err := o.Metrics.Register(s.answers); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	var errs []error
	for _, cfg := range o.Tenants {
		errs = append(errs, s.add(ctx, cfg, o))
	}
	if err := errors.Join(errs...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) defaults() {
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = randomID
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
}

func (s *Server) add(ctx context.Context, cfg Tenant, o Options) error {
	if s.tenants[cfg.Name] != nil {
		return fmt.Errorf("oauth: tenant %q is configured twice", cfg.Name)
	}
	if err := cfg.check(); err != nil {
		return fmt.Errorf("oauth: tenant %q: %w", cfg.Name, err)
	}
	t, err := newTenant(cfg, o, s.now) //nolint:contextcheck // fetching keys outlives this call; Close ends it
	if err != nil {
		return fmt.Errorf("oauth: tenant %q: %w", cfg.Name, err)
	}
	s.tenants[cfg.Name] = t
	if err := s.loadKeys(ctx, t); err != nil {
		return fmt.Errorf("oauth: tenant %q: %w", cfg.Name, err)
	}
	return nil
}

// randomID is 128 random bits (B109).
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// errNoTenant is the answer to a name that is not configured.
var errNoTenant = errors.New("oauth: no such tenant")

// Signer returns what signs a tenant's access tokens.
func (s *Server) Signer(tenant string) (*token.Signer, error) {
	t := s.tenants[tenant]
	if t == nil {
		return nil, errNoTenant
	}
	return t.signer, nil
}

// PublicKeys returns the JWKS document that verifies a tenant's access tokens.
func (s *Server) PublicKeys(tenant string) ([]byte, error) {
	t := s.tenants[tenant]
	if t == nil {
		return nil, errNoTenant
	}
	return t.jwks, nil
}

// Ready returns nil when the keys of every client are there, else an error for
// each that has none. It waits for fetches that are under way, within ctx.
func (s *Server) Ready(ctx context.Context) error {
	var errs []error
	for _, t := range s.tenants {
		errs = append(errs, t.verifier.Ready(ctx))
	}
	return errors.Join(errs...)
}

// Close ends the fetching of clients' keys and waits for it.
func (s *Server) Close() {
	for _, t := range s.tenants {
		t.close()
	}
}

// Mount adds the routes. tenantOf names the tenant a request is for, from its
// host; a request without one, or with one that is not configured, gets 404.
func (s *Server) Mount(mux *http.ServeMux, tenantOf func(*http.Request) (string, bool)) {
	h := &handler{Server: s, tenantOf: tenantOf}
	mux.HandleFunc("GET "+metadataPath, h.document(func(t *tenant) document { return t.metadata }))
	mux.HandleFunc("GET "+metadataPath+"/{rest...}", h.document(func(t *tenant) document { return t.metadata }))
	mux.HandleFunc("GET "+resourcePath, h.document(func(t *tenant) document { return t.resource }))
	mux.HandleFunc("GET "+resourcePath+"/{rest...}", h.document(func(t *tenant) document { return t.resource }))
	mux.HandleFunc("GET "+jwksPath, h.document(func(t *tenant) document { return document{path: jwksPath, body: t.jwks} }))
	mux.HandleFunc(tokenPath, h.token)
}

type handler struct {
	*Server
	tenantOf func(*http.Request) (string, bool)
}

func (h *handler) tenant(r *http.Request) *tenant {
	name, ok := h.tenantOf(r)
	if !ok {
		return nil
	}
	return h.tenants[name]
}
