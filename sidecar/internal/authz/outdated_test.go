package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/passes"
)

// TestOutdatedEnvoy: an application whose Envoy does not pass on all that it needs answers 503 to every
// request, and the other applications go on.
func TestOutdatedEnvoy(t *testing.T) {
	t.Parallel()
	need := passes.New([]string{"x-device"}, []string{"/login"}, nil)
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.Needs = passes.Need{List: need}
		o.Tenants["acme"].Apps["app"] = app
	})
	declares := func(s string) func(*request.Request) { return func(r *request.Request) { r.Passes = s } }
	for name, c := range map[string]struct {
		req    request.Request
		reason string
	}{
		"nothing declared": {appReq("GET", "/"), authz.ReasonEnvoy},
		"a header withheld": {
			appReq("GET", "/", declares(passes.New(nil, []string{"/login"}, nil).String())), authz.ReasonEnvoy,
		},
		"a body withheld, and a locked user": {
			appReq("GET", "/", declares(passes.New([]string{"x-device"}, nil, nil).String()),
				header("x-device", "locked")), authz.ReasonEnvoy,
		},
		"all declared":                    {appReq("GET", "/", declares(need.String())), authz.ReasonAllowed},
		"more declared":                   {appReq("GET", "/", declares(need.String()+" header:x")), authz.ReasonAllowed},
		"all declared, and a locked user": {appReq("GET", "/", declares(need.String()), header("x-device", "locked")), authz.ReasonLocked},
		"another application":             {appReq("GET", "/", of("bare")), authz.ReasonAllowed},
	} {
		d := k.Decide(t.Context(), c.req)
		if d.Reason != c.reason || d.Allowed() != (c.reason == authz.ReasonAllowed) {
			t.Errorf("%s: allowed %t, %d %s; want %s", name, d.Allowed(), d.Status, d.Reason, c.reason)
		}
		if c.reason == authz.ReasonEnvoy && (d.Status != 503 || !d.Fault() || d.Retry == 0) {
			t.Errorf("%s: %d, fault %t, retry %s; want a fault of ours with 503", name, d.Status, d.Fault(), d.Retry)
		}
	}
}
