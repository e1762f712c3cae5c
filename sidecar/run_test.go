package sidecar_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

const keys = `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"k1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`

const base = `version: 1
drain: 3m
listen: {scim: "127.0.0.1:0", metrics: "127.0.0.1:0"}
tenants:
  - name: acme
    external_url: https://app.example.com
    identity_services:
      - client_id: idp
        keys: {jwks_file: keys.json}
    apps:
      - name: app
        upstream: http://127.0.0.1:3000
        subjects:
          - {header: x-user, is: user_name}
`

// running is a server in this process.
type running struct {
	t                    *testing.T
	authz, scim, metrics string
	admin                string       // path of the socket
	dir                  string       // of scimward.yaml
	stop                 func() error // SIGTERM and wait
	term                 func()       // SIGTERM
	server               *sidecar.Server
	cfg                  *config.Config
}

func start(t *testing.T, text string) *running {
	t.Helper()
	return startLogging(t, text, nil)
}

func startLogging(t *testing.T, text string, logger *slog.Logger) *running {
	t.Helper()
	return startIn(t, newFolder(t, text), sidecar.Options{Logger: logger})
}

// newFolder makes a folder with a configuration file and the files that base names.
func newFolder(t *testing.T, text string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sw") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, content := range map[string]string{"keys.json": keys, "manifest.json": "{}", "scimward.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startIn starts a server with the files of a folder.
func startIn(t *testing.T, dir string, o sidecar.Options) *running {
	t.Helper()
	r, err := launch(t, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// launch is startIn for a goroutine of its own.
func launch(t *testing.T, dir string, o sidecar.Options) (*running, error) {
	t.Helper()
	file := filepath.Join(dir, "scimward.yaml")
	load := func() (*config.Config, error) { return config.Load(file) }
	cfg, err := load()
	if err != nil {
		return nil, err
	}
	o.Config, o.Version, o.Load, o.Watch = cfg, "test", load, []string{file}
	s, err := sidecar.New(t.Context(), o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	r := &running{t: t, term: cancel, server: s, dir: dir, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}}
	t.Cleanup(func() { _ = r.stop() })
	at := s.Addrs()
	r.authz, r.scim, r.metrics = "unix:"+at.Authz.String(), at.SCIM.String(), at.Metrics.String()
	r.admin, r.cfg = at.Admin.String(), cfg
	return r, nil
}

// get asks the metrics listener.
func (r *running) get(path string) (int, string) {
	r.t.Helper()
	res, err := http.Get("http://" + r.metrics + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// operator asks the admin socket.
func (r *running) operator() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", r.admin)
	}}}
}

// until waits for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("still waiting for %s", what)
		case <-tick.C:
		}
	}
}

func (r *running) health() grpc_health_v1.HealthCheckResponse_ServingStatus {
	r.t.Helper()
	c, err := grpc.NewClient(r.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	res, err := grpc_health_v1.NewHealthClient(c).Check(r.t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return res.Status
}

// TestReady: every component is ready, and each listener answers its own paths only.
func TestReady(t *testing.T) {
	r := start(t, base)
	until(t, "readiness", func() bool { code, _ := r.get("/readyz"); return code == 200 })
	until(t, "gRPC health", func() bool { return r.health() == grpc_health_v1.HealthCheckResponse_SERVING })
	for _, path := range []string{"/scim/v2/Users", "/v1/status"} {
		if code, _ := r.get(path); code != 404 {
			t.Errorf("%s on the metrics listener: %d, want 404", path, code)
		}
	}
	for _, path := range []string{"/metrics", "/v1/status", "/readyz", "/livez"} {
		req, err := http.NewRequest("GET", "http://"+r.scim+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "app.example.com"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 404 {
			t.Errorf("%s on the scim listener: %d, want 404", path, res.StatusCode)
		}
	}
	if err := r.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// TestAdminSocket: the socket is for the owner, answers the owner, and has no health pages.
func TestAdminSocket(t *testing.T) {
	r := start(t, base)
	info, err := os.Stat(r.admin)
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Base(r.admin) != "admin.sock" {
		t.Errorf("%s has mode %v %v, want admin.sock with 0600", r.admin, info.Mode(), err)
	}
	client := r.operator()
	for path, want := range map[string]int{"/v1/status": 200, "/metrics": 404, "/readyz": 404, "/livez": 404} {
		res, err := client.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
}

// TestNotReady: readiness names the missing component, the process lives, and gRPC health does not
// say that it serves.
func TestNotReady(t *testing.T) {
	tests := map[string]struct{ from, to, component string }{
		"keys cannot be fetched": {
			"          - {header: x-user, is: user_name}",
			"          - {header: authorization, scheme: bearer, is: jwt, jwt: {issuer: 'https://x.example', keys: {jwks_uri: 'http://127.0.0.1:1/jwks'}}}",
			"keys:acme/app[0]",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, strings.Replace(base, tt.from, tt.to, 1))
			code, body := r.get("/readyz")
			var components []struct {
				Name    string
				Ready   bool
				Message string
			}
			if err := json.Unmarshal([]byte(body), &components); err != nil || code != 503 {
				t.Fatalf("%d %s %v, want 503", code, body, err)
			}
			for _, c := range components {
				if want := c.Name != tt.component; c.Ready != want || !want && c.Message == "" {
					t.Errorf("%+v, want ready %v", c, want)
				}
			}
			if code, _ := r.get("/livez"); code != 200 {
				t.Errorf("GET /livez = %d, want 200", code)
			}
			if r.health() == grpc_health_v1.HealthCheckResponse_SERVING {
				t.Error("gRPC health = SERVING before it is ready, want NOT_SERVING")
			}
			if err := r.stop(); err != nil {
				t.Errorf("stopping: %v", err)
			}
		})
	}
}

// TestPluginIsNotReadiness: a plugin that cannot be loaded does not make the process unready. The status
// shows it.
func TestPluginIsNotReadiness(t *testing.T) {
	r := start(t, strings.Replace(base, "        subjects:", "        plugin: {manifest: manifest.json}\n        subjects:", 1))
	if code, body := r.get("/readyz"); code != 200 {
		t.Errorf("readyz: %d %s, want 200", code, body)
	}
	var st sidecar.Status
	res, err := r.operator().Get("http://localhost/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	if !st.Ready || len(st.Plugins) != 1 || st.Plugins[0].Health != "error" || st.Plugins[0].Message == "" {
		t.Errorf("ready %t, plugins %+v, want ready and one plugin with an error", st.Ready, st.Plugins)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// slow sends a request without its body.
func (r *running) slow() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.scim)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprint(c, "POST /oauth/token HTTP/1.1\r\nHost: app.example.com\r\nExpect: 100-continue\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\n")
	if err != nil {
		r.t.Fatal(err)
	}
	// The server sends "100 Continue" when the handler reads the body: the request is running.
	line, err := bufio.NewReader(io.LimitReader(c, 25)).ReadString('\n')
	if err != nil || !strings.Contains(line, "100 Continue") {
		r.t.Fatalf("%q %v", line, err)
	}
	return c
}

func (r *running) closed() bool {
	c, err := net.Dial("tcp", r.scim)
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

// TestDrainFinishesRequests: after SIGTERM the server accepts no connection, and a running request
// gets its answer.
func TestDrainFinishesRequests(t *testing.T) {
	r := start(t, base)
	c := r.slow()
	r.term()
	until(t, "the listener to close", r.closed)
	if _, err := fmt.Fprint(c, "grant_type=client_credentials"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("the running request got no answer: %v", err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode < 400 || res.StatusCode > 499 || !strings.Contains(string(b), `"error"`) {
		t.Errorf("%d %q %v, want a refusal because the assertion is missing", res.StatusCode, b, err)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// TestDrainIsBounded: a request that never ends does not prevent the end of the process.
func TestDrainIsBounded(t *testing.T) {
	r := start(t, strings.Replace(base, "drain: 3m", "drain: 1s", 1))
	r.slow()
	begin := time.Now()
	err := r.stop()
	if took := time.Since(begin); took > 3*time.Minute {
		t.Errorf("took %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "draining the scim listener") {
		t.Errorf("stopped with %v, want an error that names the listener of the request", err)
	}
}

// TestNewFailsClean: a port in use is an error at once. Nothing stays open: New succeeds with the
// same folder.
func TestNewFailsClean(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir, err := os.MkdirTemp("", "sw") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *config.Config {
		t.Helper()
		cfg, err := config.Parse("f", dir, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	busy := parse(strings.Replace(base, `scim: "127.0.0.1:0"`, `scim: "`+taken.Addr().String()+`"`, 1))
	if _, err := sidecar.New(t.Context(), sidecar.Options{Config: busy}); err == nil {
		t.Fatal("New() = nil with a port in use, want an error")
	}
	s, err := sidecar.New(t.Context(), sidecar.Options{Config: parse(base)})
	if err != nil {
		t.Fatalf("the failed start left something open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("running: %v", err)
	}
}
