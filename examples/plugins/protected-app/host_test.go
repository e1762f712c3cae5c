package main_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

// TestMain lets this test binary also be the plugin worker, like the scimward binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin-worker" {
		os.Exit(plugins.RunWorker(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// grant is the grant of README.md, with the longest timeouts for a busy machine.
func grant(t *testing.T, admin string) plugins.Grant {
	t.Helper()
	file := filepath.Join(t.TempDir(), "admin-token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	place := plugins.HTTPRule{
		Scheme: "http", Host: u.Hostname(), Port: port,
		AllowPrivate: []string{"127.0.0.1/32"}, Secrets: []string{"admin_token"},
	}
	work, who := place, place
	work.Methods, work.PathPrefix = []string{"GET", "POST", "DELETE"}, []string{"/admin/users", "/admin/healthz"}
	who.Methods, who.PathPrefix, who.Identify = []string{"GET"}, []string{"/admin/whoami"}, true
	return plugins.Grant{
		HTTP: []plugins.HTTPRule{work, who}, Secrets: map[string]string{"admin_token": file},
		Limits: plugins.Limits{TimeoutMS: 60_000, HTTPTimeoutMS: 30_000},
	}
}

// identify asks again if the plugin misses the 500 ms that it has, as it may on a busy machine.
func identify(t *testing.T, h *plugins.Host, c abi.Credential, secret string) (abi.IdentifyResult, error) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; {
		got, err := h.Identify(t.Context(), "acme", "app", plugins.Question{Credential: c, Secret: secret})
		if err == nil || time.Now().After(end) {
			return got, err
		}
	}
}

// TestInTheHost runs the module in its worker process, with the real egress, against the real
// application.
func TestInTheHost(t *testing.T) {
	x := start(t)
	res, err := bundle.Build(t.Context(), bundle.Options{Out: t.TempDir(), BaseURL: x.admin})
	if err != nil {
		t.Fatal(err)
	}
	h, err := plugins.Open(t.Context(), plugins.Options{
		Plugins: []plugins.Config{{Tenant: "acme", App: "app", Manifest: res.Manifest, Grant: grant(t, x.admin)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("closing the host: %v", err)
		}
	})
	if err := h.Ready(); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Health(t.Context(), "acme", "app"); err != nil || got.Status != "ok" {
		t.Fatalf("Health() = %+v, %v, want ok", got, err)
	}
	if got, ok := h.Info("acme", "app"); !ok || got.Digest != "sha256:"+res.SHA256 {
		t.Errorf("Info() = %+v, %t, want the digest sha256:%s and true", got, ok, res.SHA256)
	}

	const name = "b/jensen @example.com"
	cookie := x.person(name, 45)
	_, secret, _ := strings.Cut(cookie, "=")
	who, err := identify(t, h, abi.Credential{Source: "cookie", Name: "session"}, secret)
	if err != nil || who.Subject == nil || who.Subject.UserName != name || who.Kind != abi.KindWebSession ||
		who.IssuedAt == nil {
		t.Errorf("Identify() = %+v, %v, want the owner", who, err)
	}
	who, err = identify(t, h, abi.Credential{Source: "header", Name: "authorization"}, "at_unknown")
	if err != nil || who.Subject != nil {
		t.Errorf("Identify() of an unknown credential = %+v, %v, want no subject", who, err)
	}

	total := map[abi.Kind]int{}
	req := revoker.Request{
		RequestID: "r1", IdempotencyKey: "key", Attempt: 1, Tenant: "acme", App: "app", Kinds: abi.Order(),
		Event: request(abi.EventDeactivated).Event, Subject: request("").Subject,
	}
	for round := 0; len(req.Kinds) > 0; round++ {
		out, err := h.Revoke(t.Context(), "acme", "app", req)
		if err != nil || round == 20 {
			t.Fatalf("Revoke() = %+v, %v in round %d, want the end before", out, err, round)
		}
		req.Kinds, req.Cursors = nil, map[abi.Kind]string{}
		for _, k := range out.Kinds {
			total[k.Kind] += k.Count
			switch k.State {
			case abi.StatePartial:
				req.Kinds = append(req.Kinds, k.Kind)
				req.Cursors[k.Kind] = k.Cursor
			case abi.StateRevoked, abi.StateNothingToRevoke:
			default:
				t.Fatalf("round %d: %+v, want revoked, nothing_to_revoke or partial", round, k)
			}
		}
	}
	for kind, want := range map[abi.Kind]int{
		abi.KindPAT: 45, abi.KindAPIToken: 45, abi.KindRefreshToken: 45, abi.KindDevice: 45,
		abi.KindWebSession: 1, abi.KindAccount: 1, abi.KindSSHKey: 0,
	} {
		if total[kind] != want {
			t.Errorf("revoked %d of %s, want %d", total[kind], kind, want)
		}
	}
	req.Kinds, req.Cursors = abi.Order(), nil
	live, err := h.Verify(t.Context(), "acme", "app", req)
	if err != nil || len(live.Kinds) != 7 {
		t.Fatalf("Verify() = %+v, %v, want seven kinds", live, err)
	}
	for _, k := range live.Kinds {
		if k.Live != 0 {
			t.Errorf("%d of %s are live, want 0", k.Live, k.Kind)
		}
	}
	if got := x.send("GET", x.base+"/me", "", map[string]string{"Cookie": cookie}); got.Status != http.StatusUnauthorized {
		t.Errorf("status %d for the old session, want 401", got.Status)
	}
}
