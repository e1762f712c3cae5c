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
// counts, in any case. A lock denies it all the same.
func TestExempt(t *testing.T) {
	locks := lockSwitch{}
	k := newKit(t, func(o *authz.Options) {
		tenant := o.Tenants["acme"]
		gateway := tenant.Apps["gateway"]
		gateway.Exempt = []string{"break-glass", "store-down", "alice2@corp.example"}
		tenant.Apps["gateway"] = gateway
		o.Locks = locks
	})
	for _, name := range []string{"Break-Glass", "break-glass", "store-down"} {
		d := k.Decide(t.Context(), gatewayUser("gateway", name))
		if !d.Allowed() || d.Unprovisioned != authz.OutcomeExempt || d.Exempt != name {
			t.Errorf("%s: %s %s %q", name, d.Reason, d.Unprovisioned, d.Exempt)
		}
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

// TestExemptOnLocalWrites: a route that changes accounts is open to exempt accounts only where its entry says so, and
// only if the request names nobody else, is proved or signs in, and no lock denies the account.
func TestExemptOnLocalWrites(t *testing.T) {
	const ok, local = authz.ReasonAllowed, authz.ReasonLocal
	locks := lockSwitch{"ended": {State: "deleted"}}
	k := newKit(t, func(o *authz.Options) {
		o.Locks, o.Identifier = locks, ownName{}
		app := o.Tenants["acme"].Apps["app"]
		app.Exempt = []string{"glass", "ended"}
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/login", Exempt: true},
			{Path: "/api", Fields: []string{"phone"}, Exempt: true},
			{Path: "/people", Exempt: true},
			{Path: "/api/me", Fields: []string{"email"}, Exempt: true},
			{Path: "/people/admins"},
			{Path: "/signup"},
		}
		app.Subjects = append(app.Subjects, authz.SubjectSource{
			Kind: authz.SourceUserName, Source: request.Source{In: request.InBasic, Name: request.BasicUser},
		})
		o.Tenants["acme"].Apps["app"] = app
	})
	glass, typed := cookie("session=glass"), body(form, "username=glass")
	for _, row := range []struct {
		name   string
		req    request.Request
		reason string
		use    authz.Outcome
	}{
		{"proved", appReq("POST", "/people", glass), ok, authz.OutcomeExemptLocal},
		{"field", appReq("PATCH", "/api/me", glass, body("application/json", `{"email":"x"}`)), ok, authz.OutcomeExemptLocal},
		{"other field", appReq("PATCH", "/api/me", glass, body("application/json", `{"theme":"x"}`)), ok, authz.OutcomeExempt},
		{"another page", appReq("GET", "/", glass), ok, authz.OutcomeExempt},
		{"route without exempt", appReq("POST", "/signup", glass), local, ""},
		{"two entries, one without", appReq("POST", "/people/admins", glass), local, ""},
		{"user of the directory", appReq("POST", "/people", cookie("session=alice")), local, ""},
		{"nobody", appReq("POST", "/people"), local, ""},
		{"a name that proves nothing", appReq("POST", "/people", auth("Basic Z2xhc3M6eA==")), local, ""},
		{"ended", appReq("POST", "/people", cookie("session=ended")), authz.ReasonDeleted, ""},
		{"WebSocket", appReq("POST", "/people", glass, header("upgrade", "websocket")), local, ""},
		{"another method in the query", appReq("POST", "/people?_method=DELETE", glass), authz.ReasonOverride, ""},
		{"sign-in", appReq("POST", "/login", typed), ok, authz.OutcomeExemptLocal},
		{"sign-in of a user of the directory", appReq("POST", "/login", body(form, "username=alice")), local, ""},
		{"sign-in with another method, and the name in the query", appReq("PUT", "/login?username=glass", body(form, "username=bob")), local, ""},
		{"sign-in by a route in the query", appReq("POST", "/people?r=login", typed), local, ""},
		{"by another", appReq("POST", "/people?x=/login", typed), local, ""},
		{"by a route in a cookie", appReq("POST", "/people", cookie("r=login"), typed), local, ""},
		{"a field beside it", appReq("POST", "/api/me?r=login", body(form, "username=glass&email=x")), local, ""},
		{"another route beside a sign-in", appReq("POST", "/login?r=people", typed), local, ""},
		{"a method in the body of a sign-in", appReq("POST", "/login", body(form, "username=glass&_method=put")), local, ""},
		{"below a sign-in", appReq("POST", "/login/people", typed), local, ""},
		{"another method at a sign-in", appReq("DELETE", "/login", typed), local, ""},
		{"another spelling of a sign-in", appReq("POST", "/login;x", typed), local, ""},
		{"sign-in without a name", appReq("POST", "/login"), local, ""},
		{"sign-in of an account that ended", appReq("POST", "/login", body(form, "username=ended")), authz.ReasonDeleted, ""},
		{"sign-in beside a session", appReq("POST", "/login", cookie("session=alice"), typed), local, ""},
		{"sign-in on a free page", appReq("POST", "/api/login", body("application/json", `{"login":"glass"}`)), ok, authz.OutcomeExemptSignIn},
		{"sign-in of somebody on a free page", appReq("POST", "/api/login", body("application/json", `{"login":"bob"}`)), ok, ""},
	} {
		d := k.Decide(t.Context(), row.req)
		if d.Reason != row.reason || d.Allowed() && (d.Unprovisioned != row.use || (d.Exempt == "glass") != (row.use != "")) {
			t.Errorf("%s: %s (%s) as %q %q; want %s as %q", row.name, d.Reason, d.Detail, d.Unprovisioned, d.Exempt, row.reason, row.use)
		}
	}
	got := k.UnprovisionedPeople()[0]
	want := map[authz.Outcome]uint64{authz.OutcomeExemptLocal: 3, authz.OutcomeExempt: 2, authz.OutcomeExemptSignIn: 1}
	for _, o := range []authz.Outcome{authz.OutcomeExemptLocal, authz.OutcomeExempt, authz.OutcomeExemptSignIn} {
		if got.Requests[o] < want[o] {
			t.Errorf("%s: %d requests, want %d", o, got.Requests[o], want[o])
		}
	}
	if diff := cmp.Diff([]string{"/login", "/api", "/people", "/api/me"}, got.ExemptRoutes); diff != "" {
		t.Errorf("routes for exempt accounts (-want +got):\n%s", diff)
	}
}

// TestStrangerBesideAnother: an application may sign in the user name of Basic authentication anew, whatever the other
// credential of the request says. So the directory must know it too, unless the password is the credential.
func TestStrangerBesideAnother(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		o.Identifier, o.Directory = ownName{}, directory{"alice": true}
		app := o.Tenants["acme"].Apps["app"]
		app.IgnoreSchemes = nil
		app.Subjects = append(app.Subjects,
			authz.SubjectSource{
				Kind: authz.SourceUserName, Source: request.Source{In: request.InBasic, Name: request.BasicUser},
			},
			authz.SubjectSource{
				Kind: authz.SourceOpaque, Source: request.Source{In: request.InBasic, Name: request.BasicPassword, Prefix: "ali"},
			},
		)
		o.Tenants["acme"].Apps["app"] = app
	})
	session := cookie("session=alice")
	for name, row := range map[string]struct {
		req    request.Request
		reason string
	}{
		"known beside another":       {appReq("GET", "/", session, basic("alice:x")), authz.ReasonAllowed},
		"stranger beside another":    {appReq("GET", "/", session, basic("\u00e4lice:x")), authz.ReasonUnprovisioned},
		"stranger alone":             {appReq("GET", "/", basic("\u00e4lice:x")), authz.ReasonUnprovisioned},
		"the password is the proof":  {appReq("GET", "/", basic("x-token-auth:alice")), authz.ReasonAllowed},
		"another beside the session": {appReq("GET", "/", session, basic("x-token-auth:alice")), authz.ReasonAllowed},
	} {
		if d := k.Decide(t.Context(), row.req); d.Reason != row.reason {
			t.Errorf("%s: %s (%s), want %s", name, d.Reason, d.Detail, row.reason)
		}
	}
}

// ownName is an application whose credentials are names.
type ownName struct{}

func (ownName) Identify(_ context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	return authz.Caller{Subject: subject.Subject{UserName: c.Value}, IssuedAt: t0}, nil
}

// TestJustInTimeCreationRefused: where the answer of the sign-in service passes scimward, a person whom the directory
// does not know is refused before the application sees it, so it makes no account. unprovisioned: allow lets it.
func TestJustInTimeCreationRefused(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		for name, mode := range map[string]authz.Unprovisioned{"app": authz.UnprovisionedDeny, "bare": authz.UnprovisionedAllow} {
			app := o.Tenants["acme"].Apps[name]
			app.Unprovisioned = mode
			app.Subjects = []authz.SubjectSource{{
				Kind: authz.SourceJWT, Verifier: o.Tenants["acme"].Verifier, Source: request.Source{
					In: request.InBody, Name: "id_token", Body: request.BodyRoute{Method: "POST", Path: "/callback", Format: request.Form},
				},
			}}
			o.Tenants["acme"].Apps[name] = app
		}
		o.Locks, o.Directory = lockSwitch{}, directory{"bob": true}
	})
	callback := func(app, who string) request.Request {
		return appReq("POST", "/callback", of(app), body(form, "state=s&id_token=app."+who+".x"))
	}
	for _, row := range []struct {
		name   string
		req    request.Request
		reason string
	}{
		{"a stranger", callback("app", "alice"), authz.ReasonUnprovisioned},
		{"a user", callback("app", "bob"), authz.ReasonAllowed},
		{"a stranger, allowed", callback("bare", "alice"), authz.ReasonAllowed},
	} {
		if d := k.Decide(t.Context(), row.req); d.Reason != row.reason {
			t.Errorf("%s: %s (%s), want %s", row.name, d.Reason, d.Detail, row.reason)
		}
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
