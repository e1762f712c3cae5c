package authz_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// gatewayUser is a request that a gateway in front vouches for.
func gatewayUser(app, name string) request.Request {
	return appReq("GET", "/", of("gateway"), of(app), host("anything.example"), header("x-forwarded-user", name))
}

// TestUnprovisionedIsRefused: a person whom the directory does not know is denied, whichever kind of
// credential names them. Nobody, and a name that is only typed, is not denied.
func TestUnprovisionedIsRefused(t *testing.T) {
	const no = authz.ReasonUnprovisioned
	run(t, []row{
		{"trusted header", gatewayUser("gateway", "stranger"), 403, no},
		{"trusted header, provisioned", gatewayUser("gateway", "alice"), 0, authz.ReasonAllowed},
		{"another name of a user", gatewayUser("gateway", "alice@corp.example"), 403, no},
		{"jwt", appReq("GET", "/", auth("Bearer app.gone.x")), 401, authz.ReasonDeleted},
		{"jwt, provisioned", appReq("GET", "/", auth("Bearer app.bob.x")), 0, authz.ReasonAllowed},
		{"identify, by a name of its own", appReq("GET", "/", cookie("session=u-alice")), 0, authz.ReasonAllowed},
		{"lock first", gatewayUser("gateway", "gone"), 401, authz.ReasonDeleted},
		{"nobody", appReq("GET", "/"), 0, authz.ReasonAllowed},
		{"typed name", appReq("POST", "/login", body(form, "username=stranger")), 0, authz.ReasonAllowed},
		{"typed name of a leaver", appReq("POST", "/login", body(form, "username=locked")), 401, authz.ReasonLocked},
		{"directory down", gatewayUser("gateway", "store-down"), 503, authz.ReasonDirectory},
		{"local change", appReq("POST", "/api/users", cookie("session=alice")), 403, authz.ReasonLocal},
		{"observed", gatewayUser("observing", "stranger"), 0, authz.ReasonAllowed},
		{"observed leaver", gatewayUser("observing", "locked"), 401, authz.ReasonLocked},
	})
}

// TestUnprovisionedDetail: the answer names what was looked up. It repeats only names that the
// caller's own credential contains, shortened, and tells an empty directory apart.
func TestUnprovisionedDetail(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, row := range []struct {
		name       string
		req        request.Request
		dir        directory
		want, lack string
	}{
		{"own name", gatewayUser("gateway", "stranger"), directory{"x": true}, `no user with the user name "stranger": ask your administrator`, "provisioned yet"},
		{"empty directory", gatewayUser("gateway", "stranger"), directory{}, "no user has been provisioned yet", "ask your"},
		{"long name", gatewayUser("gateway", long), directory{}, long[:128] + "…", long[:129]},
		{"name of the application", appReq("GET", "/", cookie("session=bob")), directory{"x": true}, "no user with the user name: ask", "bob"},
	} {
		k := newKit(t, func(o *authz.Options) { o.Directory = row.dir })
		d := k.Decide(t.Context(), row.req)
		has := strings.Contains(d.Detail, row.want) && !strings.Contains(d.Detail, row.lack)
		if d.Reason != authz.ReasonUnprovisioned || !has {
			t.Errorf("%s: %s %q, want %q without %q", row.name, d.Reason, d.Detail, row.want, row.lack)
		}
	}
}

// TestAnyKnownNameSuffices: two credentials of one person are judged together.
func TestAnyKnownNameSuffices(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		o.Identifier = both{}
		o.Directory = directory{"e-1": true}
	})
	d := k.Decide(t.Context(), appReq("GET", "/", cookie("session=a")))
	if !d.Allowed() || d.Unprovisioned != "" || d.Caller.UserID != "id-e-1" {
		t.Errorf("known by external id: %s %s, user %q; want id-e-1", d.Reason, d.Unprovisioned, d.Caller.UserID)
	}
}

// both is an application that gives two names of a person.
type both struct{}

func (both) Identify(context.Context, string, string, authz.Credential) (authz.Caller, error) {
	return authz.Caller{Subject: subject.Subject{UserName: "carl", ExternalID: "e-1"}}, nil
}

// TestExempt: an exempt account needs no directory, also while it is down. Only its first name
// counts, in any case. A lock denies it all the same. The first use of each is heard.
func TestExempt(t *testing.T) {
	var heard []string
	locks := lockSwitch{}
	k := newKit(t, func(o *authz.Options) {
		tenant := o.Tenants["acme"]
		gateway := tenant.Apps["gateway"]
		gateway.Exempt = []string{"break-glass", "store-down", "alice2@corp.example"}
		tenant.Apps["gateway"] = gateway
		o.Locks = locks
		o.Exempted = func(tenant, app, name string) { heard = append(heard, tenant+"/"+app+" "+name) }
	})
	for _, name := range []string{"Break-Glass", "break-glass", "store-down"} {
		if d := k.Decide(t.Context(), gatewayUser("gateway", name)); !d.Allowed() || d.Unprovisioned != authz.OutcomeExempt {
			t.Errorf("%s: %s %s", name, d.Reason, d.Unprovisioned)
		}
	}
	if diff := cmp.Diff([]string{"acme/gateway Break-Glass", "acme/gateway store-down"}, heard); diff != "" {
		t.Errorf("first uses (-want +got):\n%s", diff)
	}
	if d := k.Decide(t.Context(), gatewayUser("observing", "break-glass")); d.Unprovisioned != authz.OutcomeObserved {
		t.Errorf("exempt at another application: %s", d.Unprovisioned)
	}
	locks["break-glass"] = authz.Lock{State: "deactivated"}
	if d := k.Decide(t.Context(), gatewayUser("gateway", "break-glass")); d.Reason != authz.ReasonLocked {
		t.Errorf("locked exempt account: %s", d.Reason)
	}
	own := authz.Caller{Subject: subject.Subject{UserName: "mallory", Emails: []string{"alice2@corp.example"}}}
	if k.DecideSubject(t.Context(), "acme", "gateway", &own) {
		t.Error("an e-mail address that a person may have chosen exempts them")
	}
}

// TestUnprovisionedPeopleAreShown: requests are counted by outcome, with a bounded list of examples, newest
// first. Known and anonymous requests are not counted.
func TestUnprovisionedPeopleAreShown(t *testing.T) {
	var heard []string
	k := newKit(t, func(o *authz.Options) {
		o.Unprovisioned = func(tenant, app string, o authz.Outcome, n uint64) {
			heard = append(heard, fmt.Sprint(tenant, "/", app, " ", o, " ", n))
		}
	})
	k.Decide(t.Context(), gatewayUser("observing", "alice"))
	k.Decide(t.Context(), gatewayUser("observing", ""))
	if got := k.UnprovisionedPeople(); len(got) != 0 {
		t.Fatalf("nobody is a stranger: %+v", got)
	}
	for i := range 25 {
		k.Decide(t.Context(), gatewayUser("observing", fmt.Sprint("stranger", i)))
	}
	k.Decide(t.Context(), gatewayUser("observing", "stranger20"))
	k.Decide(t.Context(), gatewayUser("gateway", "carl"))
	got := k.UnprovisionedPeople()
	if len(got) != 2 || got[0].App != "gateway" || got[0].Requests[authz.OutcomeDenied] != 1 || got[0].More {
		t.Fatalf("%+v, want one denied request of gateway first", got)
	}
	o := got[1]
	first := authz.UnprovisionedPerson{
		Kind: subject.UserName, Name: "stranger20", Source: "header:x-forwarded-user",
		Outcome: authz.OutcomeObserved, Times: 2, Last: o.Examples[0].Last,
	}
	if o.Requests[authz.OutcomeObserved] != 26 || len(o.Examples) != 20 || !o.More || o.Examples[0] != first {
		t.Errorf("%+v, want 26 observed requests and 20 examples, %+v first", o, first)
	}
	if heard[0] != "acme/observing observed 1" || len(heard) != 27 {
		t.Errorf("heard %q", heard)
	}
}
