package app_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"

	"github.com/scimward/scimward/examples/protected-app/app"
)

const (
	adminToken = "admin-token-for-tests"
	password   = "correct horse"
	patience   = 2 * time.Minute // bounds every wait; a wait ends with its event
)

// clock is a time that moves only when a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a running application and a client for it.
type rig struct {
	t     *testing.T
	app   *app.App
	clock *clock
	base  string
	admin string
}

func start(t *testing.T) *rig {
	t.Helper()
	c := newClock()
	a, err := app.Start(context.WithoutCancel(t.Context()), app.Options{
		AdminToken: adminToken, Tick: 5 * time.Millisecond, DownloadChunks: 4,
		PasswordCost: bcrypt.MinCost, Now: c.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	at := a.Addresses()
	return &rig{t: t, app: a, clock: c, base: "http://" + at.HTTP, admin: "http://" + at.Admin}
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	cookie string // value of the session cookie
	body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("answer %d %q is not JSON: %v", a.status, a.body, err)
	}
	return out
}

// cred puts a credential on a request.
type cred func(*http.Request)

func session(v string) cred {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: v}) }
}
func bearer(v string) cred { return header("Authorization", "Bearer "+v) }
func header(name, v string) cred {
	return func(r *http.Request) { r.Header.Set(name, v) }
}

func form(pairs ...string) cred {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		body := v.Encode()
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
}

func body(text string) cred {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
}

func (g *rig) do(method, target string, with ...cred) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, target, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, w := range with {
		w(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	out := answer{status: resp.StatusCode, header: resp.Header, body: string(bytes.TrimSpace(b))}
	for _, c := range resp.Cookies() {
		if c.Name == "session" {
			out.cookie = c.Value
		}
	}
	return out
}

// ask is do on the application with an expected status.
func (g *rig) ask(want int, method, path string, with ...cred) answer {
	g.t.Helper()
	got := g.do(method, g.base+path, with...)
	if got.status != want {
		g.t.Fatalf("%s %s = %d %s, want %d", method, path, got.status, got.body, want)
	}
	return got
}

// manage is ask on the admin API with the admin token.
func (g *rig) manage(want int, method, path string, with ...cred) answer {
	g.t.Helper()
	got := g.do(method, g.admin+path, append(with, bearer(adminToken))...)
	if got.status != want {
		g.t.Fatalf("%s %s = %d %s, want %d", method, path, got.status, got.body, want)
	}
	return got
}

// person makes an account and signs it in.
func (g *rig) person(name string) (sessionValue string) {
	g.t.Helper()
	g.manage(http.StatusCreated, "PUT", "/admin/users/"+url.PathEscape(name), body(`{"password":"`+password+`"}`))
	return g.login(name)
}

func (g *rig) login(name string) string {
	g.t.Helper()
	return g.ask(http.StatusOK, "POST", "/login", form("username", name, "password", password)).cookie
}

// wallet is one credential of each kind.
type wallet struct {
	session, apiToken, pat, refresh, access, device, jwt string
	key                                                  ssh.Signer
}

func (g *rig) wallet(sessionValue string) wallet {
	g.t.Helper()
	issue := func(kind string) string {
		got := g.ask(http.StatusCreated, "POST", "/credentials/"+kind, session(sessionValue)).json(g.t)
		secret, ok := got["secret"].(string)
		if !ok || secret == "" {
			g.t.Fatalf("issuing %s gave no secret", kind)
		}
		return secret
	}
	w := wallet{session: sessionValue}
	w.apiToken, w.pat = issue("api_token"), issue("pat")
	w.refresh, w.device = issue("refresh_token"), issue("device")
	w.access = g.refresh(http.StatusOK, w.refresh)
	w.jwt, _ = g.ask(http.StatusCreated, "POST", "/jwt", session(sessionValue)).json(g.t)["token"].(string)
	w.key = newKey(g.t)
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(w.key.PublicKey())))
	g.ask(http.StatusCreated, "POST", "/credentials/ssh_key", session(sessionValue), body(`{"public_key":"`+line+`"}`))
	return w
}

func (g *rig) refresh(want int, token string) (access string) {
	g.t.Helper()
	got := g.ask(want, "POST", "/oauth-app/token", form("grant_type", "refresh_token", "refresh_token", token)).json(g.t)
	access, _ = got["access_token"].(string)
	return access
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// doors presents each credential over HTTP, by the kind that /me must name.
func (w wallet) doors() map[string]cred {
	return map[string]cred{
		"web_session": session(w.session), "api_token": bearer(w.apiToken), "pat": header("Authorization", "token "+w.pat),
		"access_token": bearer(w.access), "device": header("X-Device-Credential", w.device), "jwt": bearer(w.jwt),
	}
}

func (g *rig) sshDial(key ssh.Signer) (*ssh.Client, error) {
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(g.app.Addresses().SSHHostKey))
	if err != nil {
		g.t.Fatal(err)
	}
	return ssh.Dial("tcp", g.app.Addresses().SSH, &ssh.ClientConfig{
		User:            "git",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(host),
		Timeout:         patience,
	})
}
