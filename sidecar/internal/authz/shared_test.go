package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store/subject"
)

// ofTenant are the locks of one tenant.
type ofTenant struct {
	tenant string
	locks
}

func (o ofTenant) Locked(tenant string, s *subject.Subject) *authz.Lock {
	if tenant != o.tenant {
		return nil
	}
	return o.locks.Locked(tenant, s)
}

// TestSharedApplication: a lock of any tenant that shares the application denies the person, on requests
// and open streams. A lock of another tenant does not.
func TestSharedApplication(t *testing.T) {
	for _, tenant := range []string{"globex", "acme", "initech"} {
		k := newKit(t, func(o *authz.Options) {
			app := o.Tenants["acme"].Apps["gateway"]
			app.SharedWith = []string{"globex"}
			o.Tenants["acme"].Apps["gateway"] = app
			o.Locks = ofTenant{tenant, locks{"alice": {State: "deactivated"}}}
		})
		want := tenant == "initech"
		if d := k.Decide(t.Context(), gatewayUser("gateway", "alice")); d.Allowed() != want {
			t.Errorf("lock of %s: allowed %t (%s), want %t", tenant, d.Allowed(), d.Reason, want)
		}
		c := authz.Caller{Subject: subject.Subject{UserName: "alice"}}
		if got := k.DecideSubject(t.Context(), "acme", "gateway", &c); got != want {
			t.Errorf("lock of %s: the stream may go on: %t, want %t", tenant, got, want)
		}
		if d := k.Decide(t.Context(), gatewayUser("observing", "alice")); d.Allowed() != (tenant != "acme") {
			t.Errorf("lock of %s at an application that is not shared: %s", tenant, d.Reason)
		}
	}
}
