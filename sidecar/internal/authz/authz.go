package authz

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/store/scim"
)

// Authorizer decides requests. It is safe for concurrent use.
type Authorizer struct {
	o       Options
	tenants map[string]*tenant
}

// tenant is the compiled form of TenantOptions.
type tenant struct {
	name     string
	hosts    hosts
	profile  string
	mode     scim.Mode
	verifier Verifier
	realm    string
	metadata string
	types    map[string]*scim.ResourceType // by endpoint
	apps     map[string]*app
}

// New checks the options and returns an Authorizer. The error joins every fault.
func New(o Options) (*Authorizer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.IdentifyTimeout == 0 {
		o.IdentifyTimeout = 500 * time.Millisecond
	}
	if o.Limits == (scim.Limits{}) {
		o.Limits = scim.DefaultLimits()
	}
	types := make(map[string]*scim.ResourceType)
	for _, t := range scim.Types() {
		types[t.Endpoint] = t
	}
	a := &Authorizer{o: o, tenants: make(map[string]*tenant, len(o.Tenants))}
	for name, to := range o.Tenants {
		t := &tenant{
			name: name, hosts: newHosts(to.Hosts), profile: to.Profile, mode: to.Mode, verifier: to.Verifier,
			realm: quotable(to.Realm), metadata: quotable(to.ResourceMetadataURL), types: types, apps: make(map[string]*app, len(to.Apps)),
		}
		if t.realm == "" {
			t.realm = "scim"
		}
		for appName, ao := range to.Apps {
			t.apps[appName] = newApp(appName, ao)
		}
		a.tenants[name] = t
	}
	return a, nil
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

// challenge is the WWW-Authenticate value (RFC 6750 §3, RFC 9728 §5.1). A request
// without a credential is told no error code.
func (t *tenant) challenge(code, scope string) string {
	c := `Bearer realm="` + t.realm + `"`
	if code != "" {
		c += `, error="` + code + `"`
	}
	if scope != "" {
		c += `, scope="` + scope + `"`
	}
	if t.metadata != "" {
		c += `, resource_metadata="` + t.metadata + `"`
	}
	return c
}

// Decide answers one request. It never panics on what a request holds, and
// returns within the deadline of ctx plus what a Verifier, Policy or Identifier
// takes to notice it.
func (a *Authorizer) Decide(ctx context.Context, r Request) Decision {
	d := a.decide(ctx, &r)
	if d.allow && ctx.Err() != nil {
		d = overdue() // F2: time was over before the answer was ready
	}
	if d.Reason == "" {
		d.Reason = ReasonUndecided
	}
	if d.allow && r.Surface != SurfaceApp {
		d.RemoveHeaders = twins(r.Headers)
	}
	d.Surface, d.Tenant, d.App = r.Surface, r.Tenant, r.App
	return d
}

func (a *Authorizer) decide(ctx context.Context, r *Request) Decision {
	if ctx.Err() != nil {
		return overdue()
	}
	switch r.Surface {
	case SurfaceSCIM, SurfaceOAuth, SurfaceApp:
	default:
		return fault(ReasonSurface, "this route is not configured for the service")
	}
	t := a.tenants[r.Tenant]
	if t == nil {
		return deny(http.StatusNotFound, ReasonTenant, "there is no such service here")
	}
	switch r.Surface {
	case SurfaceSCIM:
		return a.decideSCIM(ctx, r, t)
	case SurfaceOAuth:
		return a.decideOAuth(ctx, r, t)
	default:
		return a.decideApp(ctx, r, t)
	}
}

// DecideSubject reports whether a stream of s may go on: s is known and no lock
// refuses it. The leash asks after it has registered a stream and whenever a lock
// moves.
func (a *Authorizer) DecideSubject(tenant string, s Subject) bool {
	if !s.Known() || a.tenants[tenant] == nil {
		return false
	}
	l, locked := a.o.Locks.Locked(tenant, s)
	return !locked || !l.refuses(s.IssuedAt)
}

func overdue() Decision {
	return fault(ReasonDeadline, "the request could not be judged in time: send it again")
}
