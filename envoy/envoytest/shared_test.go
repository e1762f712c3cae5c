package envoytest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/scimward/scimward/sidecar/ca"
)

// machine is a program with a folder of its own, as on a machine of its own.
type machine struct {
	t    *testing.T
	dir  string
	args []string

	mu  sync.Mutex
	log bytes.Buffer
	cmd *exec.Cmd
}

func (m *machine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(p)
}

func (m *machine) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

func (m *machine) start() {
	m.t.Helper()
	m.cmd = exec.CommandContext(context.WithoutCancel(m.t.Context()), m.args[0], m.args[1:]...)
	m.cmd.Dir, m.cmd.Stdout, m.cmd.Stderr = m.dir, m, m
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// sharedSetup is what `scimward init --topology shared` writes, with free ports, and the application behind it.
type sharedSetup struct {
	t               *testing.T
	dir, url        string
	scimward, envoy *machine
	ports           map[string]string // by the port that init writes
	client          *http.Client
	served          atomic.Int64 // requests that the application got
}

func initShared(t *testing.T) *sharedSetup {
	t.Helper()
	s := &sharedSetup{t: t, dir: t.TempDir(), ports: map[string]string{}}
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" { // scimward looks for the keys of the identity service here too
			s.served.Add(1)
		}
	}))
	t.Cleanup(app.Close)
	port := freePort(t)
	s.url = "https://localhost:" + port
	s.command("init", s.dir, "--topology", "shared", "--scimward-host", "localhost", "--url", s.url,
		"--app-url", app.URL, "--client-id", "hr", "--issuer", app.URL)
	for _, p := range []string{"8470", "8460", "8461", "9901"} {
		s.ports[p] = freePort(t)
	}
	for _, file := range []string{s.config(), filepath.Join(s.dir, "envoy", "envoy.yaml")} {
		s.edit(file, func(text string) string {
			for from, to := range s.ports {
				text = strings.ReplaceAll(text, from, to)
			}
			return text
		})
	}
	s.scimward = &machine{
		t: t, dir: filepath.Join(s.dir, "scimward"), args: []string{built.scimward, "serve", "-c", "scimward.yaml"},
	}
	s.envoy = &machine{t: t, dir: filepath.Join(s.dir, "envoy"), args: []string{
		built.envoy, "-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning",
	}}
	t.Cleanup(func() {
		s.envoy.stop()
		s.scimward.stop()
		if t.Failed() {
			t.Logf("scimward said:\n%s\nEnvoy said:\n%s", s.scimward.said(), s.envoy.said())
		}
	})
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return s
}

func (s *sharedSetup) config() string { return filepath.Join(s.dir, "scimward", "scimward.yaml") }

func (s *sharedSetup) edit(file string, change func(string) string) {
	s.t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(change(string(text))), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sharedSetup) command(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), built.scimward, args...).Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		s.t.Fatalf("%q: %v\n%s", args, err, failed.Stderr)
	}
	return string(out)
}

// get asks as a user and returns the status, 0 if nobody answers.
func (s *sharedSetup) get(user string) int {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/page", nil)
	if err != nil {
		return 0
	}
	if user != "" {
		req.Header.Set("X-Forwarded-User", user)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

func (s *sharedSetup) serves(what string) {
	s.t.Helper()
	eventually(s.t, what, func() string { got := s.get(""); return unless(got == 200, "it answers %d", got) })
}

// refused reads how often a listener has refused an Envoy for a reason.
func (s *sharedSetup) refused(listener, reason string) bool {
	res, err := http.Get("http://127.0.0.1:" + s.ports["8461"] + "/metrics")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	want := fmt.Sprintf("scimward_envoy_refused_total{listener=%q,reason=%q}", listener, reason)
	return err == nil && strings.Contains(string(b), want)
}

// issue replaces the certificate that Envoy shows, or with server that of the listeners.
func (s *sharedSetup) issue(authority string, server bool, names ...string) {
	s.t.Helper()
	out := s.t.TempDir()
	args := append([]string{"ca", "issue", "--ca", authority, "--out", out}, names...)
	base, to := "client", "envoy"
	if server {
		args, base, to = append(args, "--server"), "server", "scimward"
	}
	s.command(args...)
	for _, end := range []string{".key", ".crt"} {
		if err := os.Rename(filepath.Join(out, base+end), filepath.Join(s.dir, to, base+end)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestSharedTopology: what init writes starts as it stands, each part in its own folder. The certificates of both
// sides are renewed under load without a failed request, and the new ones work after a restart.
func TestSharedTopology(t *testing.T) {
	t.Parallel()
	s := initShared(t)
	s.scimward.start()
	s.envoy.start()
	s.serves("the application")
	if got := s.get("nobody@example.com"); got != http.StatusForbidden {
		t.Errorf("a person whom the directory does not know: %d, want 403", got)
	}
	s.command("lock", "carl@example.com", "--reason", "a test", "-c", s.config())
	before := s.served.Load()
	if got := s.get("carl@example.com"); got != http.StatusUnauthorized || s.served.Load() != before {
		t.Errorf("a locked person: %d, want 401; the application got %d requests", got, s.served.Load()-before)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sent atomic.Int64
	var bad atomic.Pointer[string]
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if got := s.get(""); got != 200 {
				text := fmt.Sprintf("status %d after %d requests", got, sent.Load())
				bad.Store(&text)
			}
			sent.Add(1)
		}
	}()
	more := func() {
		t.Helper()
		goal := sent.Load() + 50
		eventually(t, "requests", func() string { return unless(sent.Load() >= goal, "%d of %d", sent.Load(), goal) })
	}
	more()
	authority := filepath.Join(s.dir, "ca")
	serials := func(text string) string {
		_, serial, _ := strings.Cut(text, `"serial": "`)
		serial, _, _ = strings.Cut(serial, `"`)
		return serial
	}
	client := serials(s.command("ca", "renew", filepath.Join(s.dir, "envoy", "client.crt"), "--ca", authority, "--json"))
	server := serials(s.command("ca", "renew", filepath.Join(s.dir, "scimward", "server.crt"), "--ca", authority, "--json"))
	eventually(t, "Envoy's renewed certificate", func() string {
		res, err := http.Get("http://127.0.0.1:" + s.ports["9901"] + "/certs")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return unless(strings.Contains(string(b), client), "%s in %s", client, b)
	})
	for _, port := range []string{"8470", "8460"} {
		eventually(t, "the listener's renewed certificate", func() string {
			c, err := tls.Dial("tcp", "127.0.0.1:"+s.ports[port], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err.Error()
			}
			defer c.Close()
			got := c.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
			return unless(got == server, "%s, want %s", got, server)
		})
	}
	more()
	stop()
	<-done
	t.Logf("%d requests while the certificates changed", sent.Load())
	if text := bad.Load(); text != nil {
		t.Errorf("a request failed: %s", *text)
	}
	s.scimward.stop()
	s.scimward.start()
	s.serves("the application with the renewed certificates")
}

// TestWrongCertificates: an Envoy without the right certificate gets nothing, the application no request, and the
// operator the reason. The next Envoy works.
func TestWrongCertificates(t *testing.T) {
	t.Parallel()
	s := initShared(t)
	s.scimward.start()
	eventually(t, "scimward", func() string { return unless(s.probe(), "not serving") })
	authority, other := filepath.Join(s.dir, "ca"), filepath.Join(s.dir, "other")
	s.command("ca", "new", other)
	const own = "app.main.envoy"
	right := func() { s.issue(authority, false, own) }
	bootstrap := filepath.Join(s.dir, "envoy", "envoy.yaml")
	complete, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason string
		spoil  func()
	}{
		{"authority", func() { s.issue(other, false, own) }},
		{"expired", func() { s.expired(authority, own) }},
		{"name", func() { s.issue(authority, false, "app.other.envoy") }},
		{"no_certificate", func() {
			right()
			s.edit(bootstrap, func(text string) string { return withoutCertificate(t, text) })
		}},
		{"by_peer", func() {
			right()
			if err := os.WriteFile(bootstrap, complete, 0o600); err != nil {
				t.Fatal(err)
			}
			s.issue(authority, true, "elsewhere.example")
			s.scimward.stop() // its next certificate is there before it listens
			s.scimward.start()
		}},
	} {
		tt.spoil()
		s.envoy.start()
		eventually(t, tt.reason, func() string {
			got := s.get("")
			return unless(got == http.StatusServiceUnavailable && s.refused("authz", tt.reason), "it answers %d", got)
		})
		s.envoy.stop()
		line := fmt.Sprintf(`"msg":"refused an Envoy","listener":"authz","reason":%q`, tt.reason)
		if !strings.Contains(s.scimward.said(), line) {
			t.Errorf("%s is not in the log", tt.reason)
		}
	}
	if n := s.served.Load(); n != 0 {
		t.Errorf("the application got %d requests", n)
	}
	s.issue(authority, true, "localhost")
	s.envoy.start()
	s.serves("the application")
}

// expired replaces the certificate that Envoy shows by one that has expired.
func (s *sharedSetup) expired(authority, name string) {
	s.t.Helper()
	a, err := ca.Open(authority)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := a.Issue(ca.Request{Names: []string{name}, Lifetime: time.Hour}, time.Now().Add(-2*time.Hour))
	if err == nil {
		err = p.Replace(filepath.Join(s.dir, "envoy", "client.crt"), filepath.Join(s.dir, "envoy", "client.key"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// probe reports whether scimward is ready.
func (s *sharedSetup) probe() bool {
	res, err := http.Get("http://127.0.0.1:" + s.ports["8461"] + "/livez")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// withoutCertificate removes what Envoy shows to scimward from its configuration.
func withoutCertificate(t *testing.T, text string) string {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			const key = "tls_certificate_sds_secret_configs"
			if strings.Contains(fmt.Sprint(v[key]), "scimward_connect") {
				delete(v, key)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestLeaverOverTCP: sessions, SCIM and open streams over mTLS end as they do over a socket.
func TestLeaverOverTCP(t *testing.T) {
	dir := t.TempDir()
	s := &sharedSetup{t: t, dir: dir}
	authority := filepath.Join(dir, "ca")
	s.command("ca", "new", authority)
	s.command("ca", "issue", "localhost", "127.0.0.1", "--server", "--ca", authority, "--out", dir)
	s.command("ca", "issue", "spiffe://demo.example/envoy", "--ca", authority, "--out", dir)
	own := fmt.Sprintf("{cert: '%[1]s/server.crt', key: '%[1]s/server.key', client_ca: '%[1]s/ca.crt', "+
		"client_names: ['spiffe://demo.example/*']}", dir)
	port := freePort(t)
	w := newWorld(t, func(text string) string {
		text = strings.Replace(text, "listen:\n", fmt.Sprintf(
			"listen:\n  authz: 127.0.0.1:%s\n  authz_tls: %s\n  scim_tls: %[2]s\n", port, own), 1)
		return strings.Replace(text, "envoy:\n", fmt.Sprintf(
			"envoy:\n  connect: {authz: 'localhost:%s', cert: '%[2]s/client.crt', key: '%[2]s/client.key'}\n", port, dir), 1)
	})
	leaver, other := user(t, w.Acme, "leaver"), user(t, w.Acme, "other")
	p, q := w.signIn(t, w.Acme, leaver.UserName), w.signIn(t, w.Acme, other.UserName)
	if status, _ := use(t, p, "web_session"); status != http.StatusOK {
		t.Fatalf("before: %d", status)
	}
	open := streams(t, p)
	cut(t, w, leaver, open, q)
	if status, _ := use(t, p, "web_session"); status != http.StatusUnauthorized {
		t.Errorf("the leaver: %d, want 401", status)
	}
	if status, _ := use(t, q, "web_session"); status != http.StatusOK {
		t.Errorf("another user: %d, want 200", status)
	}
}
