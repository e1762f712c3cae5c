package scimhttp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// Root is the path below which resources lie; the version is part of it (F124).
const Root = "/scim/v2"

// prefix is what the handler takes: other versions too, to refuse them (F124).
const prefix = "/scim/"

// Decider answers whether a request may go on, and decodes it. authz.Authorizer
// is the one.
type Decider interface {
	Decide(ctx context.Context, r authz.Request) authz.Decision
}

// Options are the parts a Handler works with. Decider, Store, TenantOf and Base
// are required.
type Options struct {
	Decider Decider
	Store   *store.Store
	// TenantOf returns the tenant a request is for, from its Host. False is
	// answered 404: a tenant that does not exist has no resources.
	TenantOf func(*http.Request) (string, bool)
	// Base returns the URL of a tenant's service as seen outside the proxy, with
	// the path and without a trailing slash: "https://app.example/scim/v2" (F20).
	Base func(tenant string) string
	// AfterLock is called after a change that locked a user became durable and
	// the lock is in force. It cuts the user's open streams and returns when they
	// are cut; the answer waits for it, LockWait at most. Nil means there are none.
	AfterLock func(ctx context.Context, tenant, userID string)
	// LockWait bounds AfterLock. Zero means 5 seconds.
	LockWait time.Duration

	MaxResults  int         // largest page; zero means 200
	PageSize    int         // page without count; zero means 100
	ScanLimit   int         // resources a filter without index may read; zero means 10,000
	MemberLimit int         // members one list, or one filter, may read; zero means 100,000
	Limits      scim.Limits // zero means scim.DefaultLimits
	// RateOf returns how many requests a second one client of a tenant may make,
	// and how many at once (B100, B101). Nil, and a zero limit, mean 50 and 100.
	RateOf      func(tenant string) (limit rate.Limit, burst int)
	RefusalRate rate.Limit // audit records of refused writes a second of one tenant; zero means 5
	RefusalMax  int        // burst of the same; zero means 100

	Now     func() time.Time      // nil means time.Now
	NewID   func() string         // ids of requests that carry none; nil means random
	Logger  *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil counts nowhere
}

// Handler is the SCIM service of every tenant. It is safe for concurrent use.
type Handler struct {
	o        Options
	requests *limiter // by tenant and client
	refusals *limiter // audit records of refused writes, by tenant
	m        *metrics
}

// New checks the options and returns a Handler.
func New(o Options) (*Handler, error) {
	if o.Decider == nil || o.Store == nil || o.TenantOf == nil || o.Base == nil {
		return nil, errors.New("scimhttp: Decider, Store, TenantOf and Base are required")
	}
	o = o.withDefaults()
	requests, err := newLimiter()
	if err != nil {
		return nil, err
	}
	refusals, err := newLimiter()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("registering the metrics of the SCIM service: %w", err)
	}
	return &Handler{o: o, requests: requests, refusals: refusals, m: m}, nil
}

// withDefaults fills what is zero.
func (o Options) withDefaults() Options {
	o.LockWait = cmp.Or(o.LockWait, 5*time.Second)
	o.MaxResults = cmp.Or(o.MaxResults, 200)
	o.PageSize = min(cmp.Or(o.PageSize, 100), o.MaxResults)
	o.ScanLimit = cmp.Or(o.ScanLimit, 10_000)
	o.MemberLimit = cmp.Or(o.MemberLimit, 100_000)
	o.Limits = cmp.Or(o.Limits, scim.DefaultLimits())
	if o.RateOf == nil {
		o.RateOf = func(string) (rate.Limit, int) { return 0, 0 }
	}
	o.RefusalRate = cmp.Or(o.RefusalRate, 5)
	o.RefusalMax = cmp.Or(o.RefusalMax, 100)
	o.Now = or(o.Now, time.Now)
	o.NewID = or(o.NewID, rand.Text)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// or is cmp.Or for functions, which do not compare.
func or[F func(*http.Request) string | func() time.Time | func() string](f, def F) F {
	if f == nil {
		return def
	}
	return f
}

// Mount registers the handler for everything below /scim/. http.ServeMux redirects
// a path that is not canonical before any handler sees it; where the answer must
// be the one Envoy gives, use Route instead.
func (h *Handler) Mount(mux *http.ServeMux) { mux.Handle(prefix, h) }

// Route serves what lies below /scim/ by the raw path, and leaves the rest to next.
func (h *Handler) Route(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.RequestURI, prefix) {
			h.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
