package main_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	main "github.com/scimward/scimward/examples/plugins/protected-app"
	"github.com/scimward/scimward/examples/protected-app/app"
	"github.com/scimward/scimward/plugins/abi"
	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

const (
	token    = "admin-token-for-tests"
	password = "correct horse"
)

// real is the running application. It also plays the host: it inserts the secret and the credential.
type real struct {
	t          *testing.T
	base       string
	admin      string
	credential string
}

func start(t *testing.T) *real {
	t.Helper()
	a, err := app.Start(context.WithoutCancel(t.Context()), app.Options{AdminToken: token, PasswordCost: bcrypt.MinCost})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return &real{t: t, base: "http://" + a.Addresses().HTTP, admin: "http://" + a.Addresses().Admin}
}

func (x *real) send(method, target, body string, header map[string]string) revoker.AppResponse {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, strings.NewReplacer("{{secret:admin_token}}", token, "{{credential:c1}}", x.credential).Replace(v))
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	out := revoker.AppResponse{Status: resp.StatusCode, Body: string(b), Header: map[string]string{}}
	for _, name := range []string{"Retry-After", "Set-Cookie"} {
		if v := resp.Header.Get(name); v != "" {
			out.Header[strings.ToLower(name)] = v
		}
	}
	return out
}

// harness runs the plugin against the application. The deadline is one that a busy machine meets.
func (x *real) harness() *revoker.Harness {
	h := revoker.Test(main.Plugin(), func(r revoker.AppRequest) revoker.AppResponse {
		return x.send(r.Method, r.URL, string(r.Body), r.Header)
	})
	h.Deadline = 3 * time.Minute
	return h
}

func (x *real) manage(method, path, body string) revoker.AppResponse {
	return x.send(method, x.admin+path, body, map[string]string{"Authorization": "Bearer " + token})
}

// person signs in and creates n credentials of each kind.
func (x *real) person(name string, n int) (cookie string) {
	x.t.Helper()
	x.manage("PUT", "/admin/users/"+url.PathEscape(name), `{"password":"`+password+`"}`)
	form := url.Values{"username": {name}, "password": {password}}.Encode()
	in := x.send("POST", x.base+"/login", form, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	cookie, _, _ = strings.Cut(in.Header["set-cookie"], ";")
	for range n {
		for _, kind := range []string{"api_token", "pat", "refresh_token", "device"} {
			got := x.send("POST", x.base+"/credentials/"+kind, "", map[string]string{"Cookie": cookie})
			if got.Status != http.StatusCreated {
				x.t.Fatalf("creating %s: %d %s", kind, got.Status, got.Body)
			}
		}
	}
	return cookie
}

func (x *real) request(event string, kinds ...revoker.Kind) revoker.Request {
	r := request(event, kinds...)
	r.Config = map[string]any{"base_url": x.admin}
	return r
}

// TestAgainstTheApplication: the plugin revokes every kind of the real application and enables the
// account again.
func TestAgainstTheApplication(t *testing.T) {
	x := start(t)
	const name = "b/jensen @example.com"
	cookie := x.person(name, 50)
	eve := x.person("eve", 1)
	h := x.harness()

	health, err := h.Health(x.request(""))
	if err != nil || health.Status != "ok" {
		t.Fatalf("Health() = %v, %v, want ok", health, err)
	}
	for _, kind := range abi.Order() {
		req, total := x.request(abi.EventDeactivated, kind), 0
		for rounds := 0; ; rounds++ {
			r, err := h.Revoke(req)
			if err != nil || rounds > 5 {
				t.Fatalf("Revoke(%s) = %v, %v after %d rounds, want the end by the fifth", kind, r, err, rounds)
			}
			total += r[0].Count
			if r[0].State == abi.StatePartial {
				req.Cursors = map[revoker.Kind]string{kind: r[0].Cursor}
				continue
			}
			want := map[revoker.Kind]int{revoker.SSHKey: 0, revoker.Account: 1, revoker.WebSession: 1}
			if total != 50 && total != want[kind] {
				t.Errorf("revoked %d of %s, then %+v, want all of them", total, kind, r[0])
			}
			break
		}
		// A second call finds nothing.
		r, err := h.Revoke(x.request(abi.EventDeactivated, kind))
		if err != nil || r[0].State != abi.StateNothingToRevoke {
			t.Errorf("Revoke(%s) again = %v, %v, want nothing to revoke", kind, r, err)
		}
	}
	live, err := h.Verify(x.request(abi.EventDeactivated, abi.Order()...))
	if err != nil || len(live) != 7 {
		t.Fatalf("Verify() = %v, %v, want seven kinds", live, err)
	}
	for kind, n := range live {
		if n != 0 {
			t.Errorf("%d of %s are live, want 0", n, kind)
		}
	}
	if got := x.send("GET", x.base+"/me", "", map[string]string{"Cookie": cookie}); got.Status != http.StatusUnauthorized {
		t.Errorf("status %d for the old session, want 401", got.Status)
	}
	if got := x.send("GET", x.base+"/me", "", map[string]string{"Cookie": eve}); got.Status != http.StatusOK {
		t.Errorf("status %d for the session of another user, want 200", got.Status)
	}

	// Reactivation enables the account and restores no credential.
	r, err := h.Revoke(x.request(abi.EventReactivated, revoker.Account))
	if err != nil || r[0].State != abi.StateRevoked {
		t.Fatalf("reactivating: %v, %v, want revoked", r, err)
	}
	if got := x.send("GET", x.base+"/me", "", map[string]string{"Cookie": cookie}); got.Status != http.StatusUnauthorized {
		t.Errorf("status %d for the old session after the reactivation, want 401", got.Status)
	}
	if got := x.person(name, 0); got == "" {
		t.Error("the sign-in after the reactivation fails, want a session")
	}
	live, err = h.Verify(x.request(abi.EventDeactivated, revoker.WebSession, revoker.Account))
	if err != nil || live[revoker.WebSession] != 1 || live[revoker.Account] != 1 {
		t.Errorf("Verify() after a new sign-in = %v, %v, want one session and the account", live, err)
	}
}

// TestIdentifyAgainstTheApplication: the real application names the owner of a session.
func TestIdentifyAgainstTheApplication(t *testing.T) {
	x := start(t)
	cookie := x.person("BJensen", 0)
	_, x.credential, _ = strings.Cut(cookie, "=")
	h := x.harness()
	req := x.request("")
	req.Credentials = []revoker.Credential{{Ref: "c1", Source: "cookie", Name: "session"}}
	got, err := h.Identify(req)
	if err != nil || got.Subject == nil || got.Subject.UserName != "BJensen" || got.Kind != revoker.WebSession ||
		got.IssuedAt == nil || time.Since(*got.IssuedAt) > 3*time.Minute {
		t.Errorf("Identify() = %+v, %v, want the owner", got, err)
	}
	x.credential = "unknown"
	if got, err := h.Identify(req); err != nil || got.Subject != nil {
		t.Errorf("Identify() of an unknown credential = %+v, %v, want no subject", got, err)
	}
}

// TestFaultsOfTheApplication: a fault of the application has its own state, and the
// call after a transient fault completes.
func TestFaultsOfTheApplication(t *testing.T) {
	tests := []struct {
		name, faults string
		want         abi.State
		after        int64
	}{
		{"rate limited", `{"pat":{"status":429,"retry_after_s":3}}`, abi.StateRetry, 3000},
		{"broken", `{"pat":{"status":500}}`, abi.StateRetry, 0},
		{"admin token refused", `{"pat":{"status":403}}`, abi.StateFailed, 0},
		{"unsupported", `{"pat":{"unsupported":true}}`, abi.StateUnsupported, 0},
		{"account routes broken", `{"account":{"status":503}}`, abi.StateRetry, 0},
		{"other kind broken", `{"device":{"status":500}}`, abi.StateRevoked, 0},
		{"cache", `{"pat":{"cache_s":300}}`, abi.StateRevoked, 0}, // only the data plane shows it
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := start(t)
			x.person("b/jensen @example.com", 2)
			if got := x.manage("PUT", "/admin/faults", tt.faults); got.Status != http.StatusOK {
				t.Fatal(got.Body)
			}
			h := x.harness()
			r, err := h.Revoke(x.request(abi.EventDeactivated, revoker.PAT))
			if err != nil || r[0].State != tt.want || r[0].RetryAfterMS != tt.after {
				t.Errorf("Revoke() = %+v, %v, want %s", r, err, tt.want)
			}
			if tt.want == abi.StateRevoked || tt.want == abi.StateUnsupported || tt.want == abi.StateFailed {
				return
			}
			x.manage("DELETE", "/admin/faults", "")
			if r, err := h.Revoke(x.request(abi.EventDeactivated, revoker.PAT)); err != nil || r[0].State != abi.StateRevoked ||
				r[0].Count != 2 {
				t.Errorf("Revoke() after the fault = %+v, %v, want revoked", r, err)
			}
		})
	}
}

// TestEvidenceNamesNoSecret: outcomes contain no credential of the user.
func TestEvidenceNamesNoSecret(t *testing.T) {
	x := start(t)
	cookie := x.person("b/jensen @example.com", 1)
	h := x.harness()
	r, err := h.Revoke(x.request(abi.EventDeactivated, abi.Order()...))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%+v %+v %+v", r, h.Reports, h.Logs)
	session := strings.TrimPrefix(cookie, "session=")
	for _, secret := range []string{token, session, "pat_", "at_", "rt_", "dev_", "jensen"} {
		if strings.Contains(text, secret) {
			t.Errorf("the outcome contains %q, want no credential", secret)
		}
	}
}

// TestVerifyProbesTheGate: while the application still serves a deleted token from a cache, its list is
// empty, and only the probe finds the token.
func TestVerifyProbesTheGate(t *testing.T) {
	x := start(t)
	x.person("b/jensen @example.com", 1)
	h := x.harness()
	if got := x.manage("PUT", "/admin/faults", `{"pat":{"cache_s":3600}}`); got.Status != http.StatusOK {
		t.Fatalf("setting the fault: %d, want 200", got.Status)
	}
	req := x.request(abi.EventDeactivated, revoker.PAT)
	r, err := h.Revoke(req)
	if err != nil || len(r[0].Evidence) != 1 {
		t.Fatalf("Revoke() = %+v, %v, want one token", r, err)
	}
	got, err := h.Liveness(req)
	if l := got[revoker.PAT]; err != nil || l.Live != 0 || l.Method == abi.MethodProbed {
		t.Errorf("without an id to probe: %+v, %v, want a list without a token", l, err)
	}
	req.Revoked = map[revoker.Kind][]string{revoker.PAT: {r[0].Evidence[0].ID}}
	want := revoker.Liveness{
		Kind: revoker.PAT, Live: 1, Method: abi.MethodProbed, With: revoker.PAT,
		Probe: "GET /admin/users/{user}/personal-access-tokens/{id}/gate",
	}
	if got, err = h.Liveness(req); err != nil || got[revoker.PAT] != want {
		t.Errorf("cached: %+v, %v, want %+v", got[revoker.PAT], err, want)
	}
	req.Revoked = map[revoker.Kind][]string{revoker.PAT: {"c999999"}}
	want.Live = 0
	if got, err = h.Liveness(req); err != nil || got[revoker.PAT] != want {
		t.Errorf("a token that is gone: %+v, %v, want %+v", got[revoker.PAT], err, want)
	}
}
