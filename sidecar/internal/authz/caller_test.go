package authz_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// forgetful is an application that identifies every credential once. Then its admin API
// forgets it, as after a revocation, while its data plane may still accept it from a cache.
type forgetful struct{ seen map[string]bool }

func (f *forgetful) Identify(_ context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	if f.seen[c.Value] {
		return authz.Caller{}, nil
	}
	f.seen[c.Value] = true
	return authz.Caller{Subject: subject.Subject{UserName: c.Value}}, nil
}

type lockSwitch map[string]authz.Lock

func (l lockSwitch) Locked(_ string, s *subject.Subject) *authz.Lock {
	if lock, ok := l[s.UserName]; ok {
		return &lock
	}
	return nil
}

// TestForgottenCredentialOfLockedUser: a revoked credential is still the locked user's and
// never passes as nobody's.
func TestForgottenCredentialOfLockedUser(t *testing.T) {
	locks := lockSwitch{}
	k := newKit(t, func(o *authz.Options) {
		o.Identifier, o.Locks = &forgetful{seen: map[string]bool{}}, locks
		o.Directory = directory{"eve": true, "eve-device": true, "alice": true}
	})
	for _, r := range []request.Request{
		appReq("GET", "/", cookie("session=eve")),
		appReq("GET", "/", header("x-device", "eve-device")),
		appReq("GET", "/", cookie("session=alice")),
	} {
		if d := k.Decide(t.Context(), r); !d.Allowed() {
			t.Fatalf("before the lock: %d %s", d.Status, d.Reason)
		}
	}
	for _, name := range []string{"eve", "eve-device"} {
		locks[name] = authz.Lock{State: "deactivated"}
	}
	for _, c := range []struct {
		name, reason, clear string
		req                 request.Request
	}{
		{"session", authz.ReasonLocked, "session", appReq("GET", "/", cookie("session=eve"))},
		{"device", authz.ReasonLocked, "", appReq("GET", "/", header("x-device", "eve-device"))},
		{"of a user who is not locked", authz.ReasonAllowed, "", appReq("GET", "/", cookie("session=alice"))},
	} {
		d := k.Decide(t.Context(), c.req)
		if d.Reason != c.reason || d.ClearCookie != c.clear {
			t.Errorf("%s: %s, clears %q", c.name, d.Reason, d.ClearCookie)
		}
		if d.Allowed() && d.Caller.Known() {
			t.Errorf("%s: a forgotten credential still identifies %+v", c.name, d.Caller)
		}
	}
}

// TestForgottenCredentialsAreBounded: the memory remembers the newest credentials, up to
// its bound.
func TestForgottenCredentialsAreBounded(t *testing.T) {
	const many = 3 * 8192
	locks := lockSwitch{}
	k := newKit(t, func(o *authz.Options) {
		o.Identifier, o.Locks = &forgetful{seen: map[string]bool{}}, locks
	})
	name := func(i int) string { return fmt.Sprintf("user%d", i) }
	for i := range many {
		k.Decide(t.Context(), appReq("GET", "/", cookie("session="+name(i))))
	}
	kept := 0
	for i := range many {
		locks[name(i)] = authz.Lock{State: "deactivated"}
		if d := k.Decide(t.Context(), appReq("GET", "/", cookie("session="+name(i)))); !d.Allowed() {
			kept++
		} else if i >= many-8192 {
			t.Fatalf("credential %d of %d is forgotten", i, many)
		}
	}
	if kept > 8192 {
		t.Errorf("%d credentials are kept", kept)
	}
}

// TestPrepareKeepsTheMemory: after a reload of the options, a revoked credential is still the locked
// user's. A tenant or an application that is left out does not exist any more.
func TestPrepareKeepsTheMemory(t *testing.T) {
	locks := lockSwitch{}
	var options authz.Options
	k := newKit(t, func(o *authz.Options) {
		o.Identifier, o.Locks = &forgetful{seen: map[string]bool{}}, locks
		o.Directory = directory{"eve": true}
		options = *o
	})
	r := appReq("GET", "/", cookie("session=eve"))
	if d := k.Decide(t.Context(), r); !d.Allowed() {
		t.Fatalf("before the lock: %d %s", d.Status, d.Reason)
	}
	locks["eve"] = authz.Lock{State: "deactivated"}
	apply, err := k.Prepare(options.Tenants)
	if err != nil {
		t.Fatal(err)
	}
	apply()
	if d := k.Decide(t.Context(), r); d.Reason != authz.ReasonLocked {
		t.Errorf("after the reload: %d %s, want %s", d.Status, d.Reason, authz.ReasonLocked)
	}
	if _, err := k.Prepare(map[string]authz.TenantOptions{"acme": {}}); err == nil {
		t.Error("Prepare(a tenant without a verifier) = nil, want an error")
	}
	if apply, err = k.Prepare(nil); err != nil {
		t.Fatal(err)
	}
	if d := k.Decide(t.Context(), r); d.Reason != authz.ReasonLocked {
		t.Errorf("before apply: %d %s, want %s", d.Status, d.Reason, authz.ReasonLocked)
	}
	apply()
	if d := k.Decide(t.Context(), r); d.Allowed() || d.Reason != authz.ReasonTenant {
		t.Errorf("without the tenant: %d %s, want %s", d.Status, d.Reason, authz.ReasonTenant)
	}
}

// signIn is an application with one session, which is first a session of nobody.
type signIn struct {
	user  string // "" is nobody
	asked []authz.Credential
}

func (s *signIn) Identify(_ context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	s.asked = append(s.asked, c)
	return authz.Caller{Subject: subject.Subject{UserName: s.user}, Nobody: s.user == ""}, nil
}

// TestSessionOfNobody: a session of nobody passes where a request without a credential does, beside a known
// user too. It is no way around the lock of the user who had the session before or gets it.
func TestSessionOfNobody(t *testing.T) {
	for mode, want := range map[authz.Anonymous]string{
		authz.AnonymousBare: authz.ReasonAllowed, authz.AnonymousPass: authz.ReasonAllowed,
		authz.AnonymousDeny: authz.ReasonAnonymous,
	} {
		locks, app := lockSwitch{}, &signIn{}
		k := newKit(t, func(o *authz.Options) {
			o.Identifier, o.Locks = app, locks
			a := o.Tenants["acme"].Apps["app"]
			a.Anonymous = mode
			o.Tenants["acme"].Apps["app"] = a
		})
		ask := func(step, want, clear string) {
			t.Helper()
			r := appReq("GET", "/", cookie("session=s1"))
			r.Remote = "192.0.2.7"
			d := k.Decide(t.Context(), r)
			if d.Reason != want || d.ClearCookie != clear {
				t.Errorf("%q, %s: %s, clears %q, want %s, %q", mode, step, d.Reason, d.ClearCookie, want, clear)
			}
			if app.user == "" && d.Caller.Known() && d.Allowed() {
				t.Errorf("%q, %s: the caller is %+v, want nobody", mode, step, d.Caller)
			}
		}
		ask("before the sign-in", want, "")
		app.user = "alice"
		ask("signed in", authz.ReasonAllowed, "")
		app.user = ""
		ask("signed out", want, "")
		locks["alice"] = authz.Lock{State: "deactivated"}
		ask("signed out, after the lock of the former owner", authz.ReasonLocked, "session")
		app.user = "bob"
		ask("signed in as another user", authz.ReasonAllowed, "")
		locks["bob"] = authz.Lock{State: "deactivated"}
		ask("who is locked", authz.ReasonLocked, "session")
		if c := app.asked[0]; c.Client != "192.0.2.7" || c.Fixed {
			t.Errorf("asked about %+v, want the client's address and a credential that may change its owner", c)
		}
	}
}
