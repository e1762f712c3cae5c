// Package authz decides about one HTTP request, whichever transport received it.
//
// Call New once, then Decide for every request. Decide always returns a Decision. The
// zero Decision denies with 503, and only the last step of a surface's pipeline makes one
// that allows. Package request reads the request. The steps here are:
//
//	scim   path grammar, method, overrides, host, bearer credential, token, route,
//	       body, query, decode, normalise, policy              (scim.go)
//	oauth  path and method of the known endpoints              (tokenendpoint.go)
//	app    what Envoy passes on, path, overrides, cookie limits, local
//	       modification, owners of the credentials, one user only, lock
//	       table, directory       (application.go, caller.go, unprovisioned.go)
//
// Each step returns a denial, or nil to go on. After each step that can take time, a
// passed deadline is a 503.
//
// A denial says what to change and reveals nothing internal. Reason codes are few and
// stable. A locked user is denied with any credential that a configured source reads. The
// package writes nothing. It remembers the owners of a bounded number of credentials.
package authz

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store/scim"
)

// Authorizer decides requests. It is safe for concurrent use.
type Authorizer struct {
	o       Options
	tenants atomic.Pointer[map[string]*tenant]
}

// tenant is the compiled form of TenantOptions.
type tenant struct {
	name     string
	hosts    request.Hosts
	profile  string
	verifier Verifier
	realm    string
	metadata string
	types    map[string]*scim.ResourceType // by endpoint
	apps     map[string]*app

	url        string
	proofs     *token.Proofs
	dpopNonce  bool
	constraint func(issuer, clientID string) token.Constraint
}

// New checks the options and returns an Authorizer. The error joins every fault.
func New(o Options) (*Authorizer, error) {
	if err := errors.Join(o.check(), o.checkTenants(o.Tenants)); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.IdentifyTimeout == 0 {
		o.IdentifyTimeout = 500 * time.Millisecond
	}
	if o.Suspects == nil {
		o.Suspects = &Suspects{}
	}
	if o.ExtraWrites == nil {
		o.ExtraWrites = &ExtraWrites{}
	}
	if o.Envoys == nil {
		o.Envoys = &passes.Envoys{}
	}
	o.MaxBody = cmp.Or(o.MaxBody, scim.DefaultLimits().Bytes)
	o.MaxGroupBody = max(cmp.Or(o.MaxGroupBody, 32<<20), o.MaxBody)
	a := &Authorizer{o: o}
	apply, err := a.Prepare(o.Tenants)
	if err != nil {
		return nil, err
	}
	apply()
	return a, nil
}

// Prepare checks and compiles the options of all tenants. apply puts them in force in place of the
// former ones: a request that has begun finishes with those. An app keeps its memory of the owners of
// credentials and its counts of unprovisioned people. The error joins every fault.
func (a *Authorizer) Prepare(tenants map[string]TenantOptions) (apply func(), err error) {
	if err := a.o.checkTenants(tenants); err != nil {
		return nil, err
	}
	types := make(map[string]*scim.ResourceType)
	for _, t := range scim.Types() {
		types[t.Endpoint] = t
	}
	next := make(map[string]*tenant, len(tenants))
	for name, to := range tenants {
		t := &tenant{
			name: name, hosts: request.NewHosts(to.Hosts), profile: to.Profile, verifier: to.Verifier,
			realm: quotable(to.Realm), metadata: quotable(to.ResourceMetadataURL), types: types,
			apps: make(map[string]*app, len(to.Apps)),
			url:  to.URL, proofs: to.Proofs, dpopNonce: to.DPoPNonce, constraint: to.Constraint,
		}
		if t.realm == "" {
			t.realm = "scim"
		}
		for appName, ao := range to.Apps {
			owners, err := a.owners(name, appName)
			if err != nil {
				return nil, err
			}
			t.apps[appName] = newApp(appName, ao, owners, a.people(name, appName))
		}
		next[name] = t
	}
	return func() { a.tenants.Store(&next) }, nil
}

// owners returns the memory of an app's credentials: the present one, or a new one for a new app.
func (a *Authorizer) owners(tenant, app string) (*lru.Cache[credentialHash, Caller], error) {
	if t := a.tenant(tenant); t != nil && t.apps[app] != nil {
		return t.apps[app].owners, nil
	}
	return lru.New[credentialHash, Caller](maxOwners)
}

// tenant returns nil for an unknown tenant.
func (a *Authorizer) tenant(name string) *tenant {
	if all := a.tenants.Load(); all != nil {
		return (*all)[name]
	}
	return nil
}

// people returns the counts of an app: the present ones, or new ones for a new app.
func (a *Authorizer) people(tenant, app string) *people {
	if t := a.tenant(tenant); t != nil && t.apps[app] != nil {
		return t.apps[app].people
	}
	s := &people{}
	if fn := a.o.Unprovisioned; fn != nil {
		s.counted = func(o Outcome, n uint64) { fn(tenant, app, o, n) }
	}
	return s
}

// quotable drops what may not stand in a quoted string of a challenge.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// Decide decides about one request. No request makes it panic. It returns within the
// deadline of ctx, plus the time that a Verifier, Policy or Identifier needs to notice it.
func (a *Authorizer) Decide(ctx context.Context, r request.Request) Decision {
	d := a.decide(ctx, &r)
	if d == nil {
		d = &Decision{}
	}
	if d.allow && ctx.Err() != nil {
		d = overdue()
	}
	if d.Reason == "" {
		d.Reason = ReasonUndecided
	}
	if d.allow && r.Surface != request.SurfaceApp {
		d.RemoveHeaders, _ = r.Headers.IdentityHeaders()
	}
	d.ID, d.Surface, d.Tenant, d.App = r.ID, r.Surface, r.Tenant, r.App
	return *d
}

func (a *Authorizer) decide(ctx context.Context, r *request.Request) *Decision {
	if ctx.Err() != nil {
		return overdue()
	}
	if r.Surface != request.SurfaceApp && a.o.Elsewhere != "" {
		return deny(http.StatusMisdirectedRequest, ReasonElsewhere, a.o.Elsewhere)
	}
	var decide func(context.Context, *request.Request, *tenant) *Decision
	switch r.Surface {
	case request.SurfaceSCIM:
		decide = a.decideSCIM
	case request.SurfaceOAuth:
		decide = a.decideTokenEndpoint
	case request.SurfaceApp:
		decide = a.decideApp
	default:
		return fault(ReasonSurface, "this route is not configured for the service")
	}
	t := a.tenant(r.Tenant)
	if t == nil {
		return deny(http.StatusNotFound, ReasonTenant, "there is no such service here")
	}
	return decide(ctx, r, t)
}

// DecideSubject reports whether a stream of c may go on: c is known, no lock denies it, and the
// application serves a person whom the directory knows as little as c. The leash asks after it has
// registered a stream and whenever a user is locked.
func (a *Authorizer) DecideSubject(ctx context.Context, tenant, app string, c *Caller) bool {
	t := a.tenant(tenant)
	if !c.Known() || t == nil || t.apps[app] == nil {
		return false
	}
	return a.lockOf(tenant, t.apps[app], c) == nil && a.provisioned(ctx, tenant, t.apps[app], c)
}

// lockOf returns the lock that denies the caller's credential, nil if there is none. Each tenant of a
// shared application may have it.
func (a *Authorizer) lockOf(tenant string, p *app, c *Caller) *Lock {
	if l := a.lockIn(tenant, c); l != nil {
		return l
	}
	for _, other := range p.sharedWith {
		if other == tenant {
			continue
		}
		if l := a.lockIn(other, c); l != nil {
			return l
		}
	}
	return nil
}

func (a *Authorizer) lockIn(tenant string, c *Caller) *Lock {
	l := a.o.Locks.Locked(tenant, &c.Subject)
	if l == nil || l.Refuses != nil && !l.Refuses(c.IssuedAt) {
		return nil
	}
	return l
}
