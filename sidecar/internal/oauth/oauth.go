// Package oauth is the authorization server of a tenant. It exchanges a signed
// client assertion for a short-lived access token with scope `scim`.
//
//	client                                  authorization server
//	  | GET /.well-known/oauth-authorization-server   RFC 8414 metadata
//	  | GET /oauth/jwks                               keys of the access tokens
//	  | POST /oauth/token                             RFC 6749 §4.4 with RFC 7523 §2.2
//	  |   grant_type=client_credentials
//	  |   client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer
//	  |   client_assertion=<JWT, iss = sub = client id, aud = issuer, jti, exp>
//	  |   scope=scim                                  optional
//	  |   or grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer and assertion, RFC 7523 §2.1
//	  | <- {"access_token": "…", "token_type": "Bearer", "expires_in": 300, "scope": "scim"}
//
// The client also asks at /oauth/revoke (RFC 7009) and /oauth/introspect (RFC 7662), about its own tokens
// only. It authenticates there as at the token endpoint.
//
// Call [New] once with all tenants, then [Server.Mount]. [Server.Prepare] replaces the tenants. The
// verifier of access tokens needs [Server.Own]. [Server.Run] rotates the signing keys.
//
// What the package promises:
//   - A client authenticates with its key only: no client secret, no Authorization
//     header.
//   - An assertion works once, also across a restart. Before the answer, the store records the jti
//     and the audit record of the grant.
//   - A DPoP proof works once. The token of a request with a proof is bound to its key.
//   - A revoked token, and every token of a dropped signing key, is refused when the answer is sent, and
//     after a restart.
//   - A client of another tenant is an unknown client. Every caller without a valid signature gets
//     the same answer after similar work, except from an address with too many failed requests.
//   - If the store or the keys of a client are unavailable, the answer is 503 with Retry-After,
//     never a token.
package oauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// Tenant is one authorization server. Its configuration is already checked.
type Tenant struct {
	Name          string
	Issuer        string // issuer identifier: the external URL, without query and fragment
	Resource      string // the SCIM service's identifier, `aud` of the access tokens
	TokenEndpoint string // external URL
	Clients       []Client

	// TokenLifetime is the lifetime of access tokens, 60 minutes at most. Zero is 5 minutes.
	TokenLifetime time.Duration
	// DPoPNonce requires a nonce of this server in DPoP proofs (RFC 9449 §8).
	DPoPNonce bool
	// DPoPRequired says that every client must use DPoP that the configuration names, also of external
	// issuers. Certificates says that some client may use a client certificate. Both are for the metadata.
	DPoPRequired, Certificates bool
}

// Options configure a server.
type Options struct {
	Tenants []Tenant
	Store   *store.Store     // required; has every tenant
	Now     func() time.Time // nil is time.Now
	Logger  *slog.Logger     // nil discards
	Metrics prometheus.Registerer

	RotateEvery time.Duration // how long a signing key signs; zero is [DefaultRotation]
	// Encryption encrypts the signing keys in the store. Those in plain, and those under FormerEncryption, are
	// encrypted under it at the start. Nil stores them in plain.
	Encryption, FormerEncryption *KeyEncryptionKey
	// ReplaceUnreadable makes new signing keys in place of those that cannot be decrypted at the start. All
	// their tokens end. Their public parts stay for evidence reports.
	ReplaceUnreadable bool

	// NotBefore is the iat that the next access token of a client may have at the earliest, at most a second
	// ahead. A client that was added again has one, so that the tokens of the former one stay refused.
	// Nil means that no client has one.
	NotBefore func(tenant, clientID string) time.Time

	// Confirm returns when every process that shares the store refuses what this one refuses now, and knows the keys
	// that this one knows. Nil means that no other process shares it.
	Confirm func(ctx context.Context) error
	// Limits are the rate limits that processes with one store share. Nil means that no other process does.
	Limits *limit.Group
	// InTouch returns why this process is out of touch with those that share the store, so that a change would wait for
	// them in vain. Nil means that it never is.
	InTouch func() error
	// ProofWait is how long a request waits until all processes know that its DPoP proof is used. Zero means 1 s.
	ProofWait time.Duration
	// Current runs before a request of a client changes something. It returns when the store has every change that any
	// process acknowledged before, or why this process is out of touch. Nil means that there is no other process.
	Current func(ctx context.Context) error
}

// Server contains the authorization servers of all tenants. It is safe for concurrent use.
type Server struct {
	opts     Options
	shared   bool // other processes share the store
	tenants  atomic.Pointer[map[string]*tenant]
	requests *prometheus.CounterVec // by tenant and outcome
	checks   *prometheus.CounterVec // of revocations and introspections, by tenant, endpoint and outcome

	throttles throttles
	clients   atomic.Int64 // of all tenants

	opening sync.Mutex // held while the state of a new tenant is read; no request takes it
	states  states
	unwatch []func()
}

// New creates missing signing keys in the store and starts to fetch the keys of the clients.
// [Server.Close] stops the fetches. New reports all faults at once.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Store == nil {
		return nil, errors.New("oauth: a server needs a store")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NotBefore == nil {
		o.NotBefore = func(string, string) time.Time { return time.Time{} }
	}
	shared := o.Confirm != nil
	if !shared {
		o.Confirm = func(context.Context) error { return nil }
	}
	if o.InTouch == nil {
		o.InTouch = func() error { return nil }
	}
	if o.Current == nil {
		o.Current = func(context.Context) error { return nil }
	}
	o.ProofWait = cmp.Or(o.ProofWait, time.Second)
	o.RotateEvery = cmp.Or(o.RotateEvery, DefaultRotation)
	throttles, err := newThrottles(o.Limits)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, throttles: throttles, shared: shared}
	s.tenants.Store(&map[string]*tenant{})
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_oauth_token_requests_total",
		Help: "Token requests by tenant and outcome: issued, or the reason of the refusal.",
	}, []string{"tenant", "outcome"})
	s.checks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_oauth_client_requests_total",
		Help: "Revocations and introspections by tenant, endpoint and outcome: done, or the reason of the refusal.",
	}, []string{"tenant", "endpoint", "outcome"})
	if o.Metrics != nil {
		if err := errors.Join(o.Metrics.Register(s.requests), o.Metrics.Register(s.checks)); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	s.unwatch = []func(){o.Store.WatchRestrictions(s.restrict), o.Store.Watch(s.follow)}
	next, err := s.Prepare(ctx, o.Tenants)
	if err != nil {
		s.Close()
		return nil, err
	}
	next.Apply()
	return s, nil
}

// newID returns the jti of an access token, or the id of a request without one.
func newID() string { return rand.Text() }

var errNoTenant = errors.New("oauth: no such tenant")

// Signer returns the signer of a tenant's access tokens.
func (s *Server) Signer(tenant string) (*token.Signer, error) {
	t := s.tenant(tenant)
	if t == nil {
		return nil, errNoTenant
	}
	return t.signer(s.opts.Now()), nil
}

// PublicKeys returns the JWKS document with the public keys for a tenant's access tokens.
func (s *Server) PublicKeys(tenant string) ([]byte, error) {
	t := s.tenant(tenant)
	if t == nil {
		return nil, errNoTenant
	}
	return t.state.ring.current.Load().jwks, nil
}

// tenant returns nil for an unknown tenant.
func (s *Server) tenant(name string) *tenant { return (*s.tenants.Load())[name] }

// Ready returns an error for each client without keys. It waits within ctx for running fetches.
func (s *Server) Ready(ctx context.Context) error {
	return ready(ctx, *s.tenants.Load())
}

// Keyless returns the optional clients of a tenant without usable keys, by client id, with the reason.
func (s *Server) Keyless(tenant string) map[string]error {
	t := s.tenant(tenant)
	if t == nil {
		return nil
	}
	return t.verifier.Keyless()
}

// Close stops fetching the keys of clients and following the store, and waits for the goroutines.
func (s *Server) Close() {
	for _, stop := range s.unwatch {
		stop()
	}
	closeTenants(*s.tenants.Load(), nil)
}

// Mount adds the routes. tenantOf returns the tenant of a request, from its host. If it returns
// false or an unknown tenant, the answer is 404.
func (s *Server) Mount(mux *http.ServeMux, tenantOf func(*http.Request) (string, bool)) {
	h := &handler{Server: s, tenantOf: tenantOf}
	for path, pick := range map[string]func(*tenant) (document, error){
		metadataPath: (*tenant).metadata,
		resourcePath: (*tenant).resource,
	} {
		mux.HandleFunc("GET "+path, h.document(pick))
		mux.HandleFunc("GET "+path+"/{rest...}", h.document(pick))
	}
	mux.HandleFunc("GET "+jwksPath, h.document(func(t *tenant) (document, error) {
		return document{path: jwksPath, body: t.state.ring.current.Load().jwks}, nil
	}))
	mux.HandleFunc("GET "+evidencePath, h.document(func(t *tenant) (document, error) {
		return document{path: evidencePath, body: t.state.ring.current.Load().evidence}, nil
	}))
	mux.HandleFunc(tokenPath, h.token)
	mux.HandleFunc(revokePath, h.revoke)
	mux.HandleFunc(introspectPath, h.introspect)
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
	return h.Server.tenant(name)
}
