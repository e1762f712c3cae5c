package authz

import (
	"context"
	"time"

	"github.com/scimward/scimward/store/scim"
)

// Authorizer decides requests. It is safe for concurrent use.
type Authorizer struct {
	o       Options
	tenants map[string]*tenant
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
	a := &Authorizer{o: o, tenants: make(map[string]*tenant, len(o.Tenants))}
	for name, t := range o.Tenants {
		a.tenants[name] = newTenant(name, t)
	}
	return a, nil
}

// Decide answers one request. It never panics on what a request holds, and
// returns within the deadline of ctx plus what a Verifier, Policy or Identifier
// takes to notice it.
func (a *Authorizer) Decide(ctx context.Context, r Request) Decision {
	d := a.decide(ctx, &r)
	d.Surface = r.Surface
	d.Tenant = r.Tenant
	d.App = r.App
	return d
}

// DecideSubject reports whether a stream of s may go on: s is known and no lock
// refuses it. The leash asks after it has registered a stream and whenever a lock
// moves.
func (a *Authorizer) DecideSubject(tenant string, s Subject) bool {
	if !s.Known() {
		return false
	}
	if _, ok := a.tenants[tenant]; !ok {
		return false
	}
	l, locked := a.o.Locks.Locked(tenant, s)
	return !locked || !l.refuses(s.IssuedAt)
}

func (a *Authorizer) decide(ctx context.Context, r *Request) Decision {
	return Decision{}
}

type tenant struct{ name string }

func newTenant(name string, _ TenantOptions) *tenant { return &tenant{name: name} }
