package scimhttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// Root is the path of the resources. It includes the version (RFC 7644 §3.13).
const Root = "/scim/v2"

// prefix is the path that the handler serves. It includes other versions, so that the handler can
// refuse them.
const prefix = "/scim/"

// Decider decides whether a request is allowed, and decodes it. authz.Authorizer implements it.
type Decider interface {
	Decide(ctx context.Context, r request.Request) authz.Decision
	// DecideResult decides about the resource that an allowed change gives.
	DecideResult(ctx context.Context, req *authz.SCIMRequest, c authz.Change) authz.Decision
}

// Options are the dependencies of a Handler. Decider, Store, TenantOf and Base are required.
type Options struct {
	Decider Decider
	Store   *store.Store
	// TenantOf returns the tenant of a request, from its Host. If it returns false, the answer is 404.
	TenantOf func(*http.Request) (string, bool)
	// Base returns the external URL of a tenant's service, without a trailing slash:
	// "https://app.example/scim/v2".
	Base func(tenant string) string
	// AfterLock runs after a change that locked a user, when the change is durable and the lock
	// applies. It ends the user's open streams and returns when they have ended. The answer waits for
	// it, but at most 5 seconds. Nil means that there are no streams.
	AfterLock func(ctx context.Context, tenant, userID string)
	// Current runs before a request that is allowed acts, and returns when the store has every change that any process
	// acknowledged before, or ErrApart. Nil means that there is no other process.
	Current func(ctx context.Context) error
	// Settled runs before a request that changes something is decided on. It returns when the rules of the tenant are
	// those that every process has in force, or after a few seconds. Nil means that they always are.
	Settled func(ctx context.Context, tenant string)
	// Confirm runs before each answer to a known client, and returns when no process serves anybody whom the answer
	// may call inactive, locked or gone. After an error the answer is 503, and what the request changed stays. Nil
	// means that there is no other process. Locked are those whom the request locks.
	Confirm func(ctx context.Context, tenant, requestID string, locked []store.Locked) error
	// RateOf returns how many requests a second a client of a tenant may send, and the largest burst.
	// Nil means 50 and 100.
	RateOf func(tenant, issuer, clientID string) (limit rate.Limit, burst int)
	// Limits are the rate limits that processes with one store share. Nil means that there is no other process.
	Limits *limit.Group
	// StaticTokens reports whether static tokens may open SCIM of a tenant. Nil means that none does.
	StaticTokens func(tenant string) bool

	// Reactivates reports whether a POST reactivates an inactive user of a tenant. Nil means that none does.
	Reactivates func(tenant string) bool

	// Recent returns the changes of a tenant in the last hour, without the number of users. Nil means that they are
	// unknown: a change that the rules of the tenant judge by them is refused with 503.
	Recent func(tenant string) policies.Counts

	MaxBody      int // bytes of a body; 0 is 256 KiB
	MaxGroupBody int // bytes of the body of a group, at least MaxBody; 0 is 32 MiB

	// Judged counts the deviations and the violated rules of a request that this package answers. Nil counts
	// nothing.
	Judged func(d *authz.Decision)
	// Decided records each decision. Nil records nothing.
	Decided func(*authz.Answered)
	// Used counts each request that this package answers. Nil counts nothing.
	Used func(client.Use)

	Now     func() time.Time      // nil means time.Now
	Logger  *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil discards
}

// bounds limit the work of one request. Tests use smaller ones.
type bounds struct {
	MaxResults   int           // resources of the largest page
	PageSize     int           // resources of a page without count
	Scan         int           // resources that a filter without an index may read
	Members      int           // members that a list or a filter may read
	LockWait     time.Duration // longest wait for AfterLock
	RefusalRate  rate.Limit    // audit records a second of a tenant's refused writes
	RefusalBurst int           // largest burst of such records
}

// Handler is the SCIM service of every tenant. It is safe for concurrent use.
type Handler struct {
	opts     Options
	bounds   bounds
	large    *budget        // bytes of bodies above MaxBody, of all requests at once
	requests *limit.Buckets // by tenant and client
	refusals *limit.Buckets // audit records of refused writes, by tenant
	pending  pending        // refused deactivations that wait for the store
	m        *metrics
}

// New checks the options and returns a Handler.
func New(o Options) (*Handler, error) {
	if o.Decider == nil || o.Store == nil || o.TenantOf == nil || o.Base == nil {
		return nil, errors.New("scimhttp: Decider, Store, TenantOf and Base are required")
	}
	if o.Reactivates == nil {
		o.Reactivates = func(string) bool { return false }
	}
	if o.RateOf == nil {
		o.RateOf = func(string, string, string) (rate.Limit, int) { return 50, 100 }
	}
	if o.StaticTokens == nil {
		o.StaticTokens = func(string) bool { return false }
	}
	if o.Used == nil {
		o.Used = func(client.Use) {}
	}
	if o.Decided == nil {
		o.Decided = func(*authz.Answered) {}
	}
	if o.Judged == nil {
		o.Judged = func(*authz.Decision) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.MaxBody = cmp.Or(o.MaxBody, scim.DefaultLimits().Bytes)
	o.MaxGroupBody = max(cmp.Or(o.MaxGroupBody, 32<<20), o.MaxBody)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	requests, err := o.Limits.New("scim")
	if err != nil {
		return nil, err
	}
	refusals, err := o.Limits.New("refusals")
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of the SCIM service: %w", err)
	}
	return &Handler{
		opts: o, large: &budget{free: int64(o.MaxGroupBody)}, requests: requests, refusals: refusals, m: m,
		pending: pending{byTenant: map[string]map[pendingKey]store.Refusal{}},
		bounds: bounds{
			MaxResults: 200, PageSize: 100, Scan: 10_000, Members: 100_000,
			LockWait: 5 * time.Second, RefusalRate: 5, RefusalBurst: 100,
		},
	}, nil
}

// Mount registers the handler for all paths below /scim/. http.ServeMux redirects a path that is
// not canonical before any handler sees it. Use Route if the answer must be the same as the answer
// of Envoy.
func (h *Handler) Mount(mux *http.ServeMux) { mux.Handle(prefix, h) }

// Route serves requests with a raw path below /scim/. It passes other requests to next.
func (h *Handler) Route(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.RequestURI, prefix) {
			h.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
