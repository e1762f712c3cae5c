package envoytest_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// coresSetup is what `scimward init --topology cores+edges` writes, on loopback addresses that no other test uses.
type coresSetup struct {
	t         *testing.T
	dir, net  string // the first three numbers of the addresses
	cores     []*machine
	edge      *machine
	envoy     *machine
	directory *idp.Client // through the Envoy of the edge
	client    *http.Client
}

func initCores(t *testing.T) *coresSetup {
	t.Helper()
	var b [2]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	s := &coresSetup{t: t, dir: t.TempDir(), net: fmt.Sprintf("127.%d.%d", b[0], b[1])}
	app := httptest.NewServer(http.HandlerFunc(tick))
	t.Cleanup(app.Close)
	keys, err := idp.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	service, err := idp.Start(context.WithoutCancel(t.Context()), idp.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	args := []string{
		"init", s.dir, "--topology", "cores+edges", "--app-url", app.URL, "--client-id", "hr", "--jwks-uri", service.JWKSURL(),
		"--edge-host", s.net + ".21",
	}
	for i := range 3 {
		args = append(args, "--core-host", fmt.Sprintf("%s.%d", s.net, 11+i))
	}
	if out, err := exec.CommandContext(t.Context(), built.scimward, args...).CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	in := func(folder string, args ...string) *machine {
		m := &machine{t: t, dir: filepath.Join(s.dir, folder), args: args}
		t.Cleanup(func() {
			m.stop()
			if t.Failed() {
				t.Logf("%s in %s said:\n%s", filepath.Base(args[0]), folder, m.said())
			}
		})
		return m
	}
	for i := range 3 {
		s.cores = append(s.cores, in(fmt.Sprintf("core-%d", i+1), built.scimward, "serve", "-c", "scimward.yaml"))
	}
	s.edge = in("edge-1", built.scimward, "serve", "-c", "scimward.yaml")
	s.envoy = in("edge-1", built.envoy, "-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
	s.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.net+".21:8443")
		},
	}}
	s.directory, err = idp.NewClient(idp.ClientOptions{
		Keys: keys, ClientID: "hr", BaseURL: "https://app.localhost:8443/scim/v2", HTTPClient: s.client,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tick answers /events with a byte every few milliseconds for ever, and everything else at once.
func tick(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/events" {
		return
	}
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		if _, err := io.WriteString(w, "."); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // the next write fails, too
		select {
		case <-every.C:
		case <-r.Context().Done():
			return
		}
	}
}

// get sends a request of a user through the Envoy of the edge and returns the status, 0 if nobody answers.
func (s *coresSetup) get(user string) int {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://app.localhost:8443/page", http.NoBody)
	if err != nil {
		return 0
	}
	req.Header.Set("X-Forwarded-User", user)
	res, err := s.client.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

// ready waits until a process is ready.
func (s *coresSetup) ready(host int) {
	s.t.Helper()
	at := fmt.Sprintf("http://%s.%d:8461/readyz", s.net, host)
	eventually(s.t, at, func() string {
		res, err := http.Get(at)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err.Error()
		}
		return unless(res.StatusCode == http.StatusOK, "%s", text)
	})
}

// offboard provisions a user through the Envoy of the edge, and deactivates the user: the edge lets requests pass
// before, and none after the answer.
func (s *coresSetup) offboard(name string) {
	s.t.Helper()
	u, err := s.directory.CreateUser(s.t.Context(), idp.User{
		UserName: name, ExternalID: name, Email: name, DisplayName: name,
	})
	if err != nil {
		s.t.Fatalf("provisioning %s: %v", name, err)
	}
	eventually(s.t, "the edge to know "+name, func() string {
		got := s.get(name)
		return unless(got == http.StatusOK, "it answers %d", got)
	})
	if err := s.directory.Deactivate(s.t.Context(), u.ID); err != nil {
		s.t.Fatalf("deactivating %s: %v", name, err)
	}
	if got := s.get(name); got != http.StatusUnauthorized {
		s.t.Errorf("%s after the answer: %d, want 401", name, got)
	}
}

// TestCoresAndEdges: what init writes starts as it stands. SCIM through the Envoy of an edge reaches the cores, each in
// turn, and the edge decides on the application. When a core is killed, a request that is on its way to it may get 503,
// and soon every one reaches another core.
func TestCoresAndEdges(t *testing.T) {
	t.Parallel()
	s := initCores(t)
	for _, c := range s.cores {
		c.start()
	}
	s.edge.start()
	s.envoy.start()
	for _, host := range []int{11, 12, 13, 21} {
		s.ready(host)
	}
	eventually(t, "Envoy to find the cores", func() string {
		status, text, err := s.directory.Raw(t.Context(), http.MethodGet, "/ServiceProviderConfig", nil)
		return unless(err == nil && status == http.StatusOK, "%d %s %v", status, text, err)
	})
	for i := range 4 {
		s.offboard(fmt.Sprintf("user%d@people.example", i))
	}
	for host := 11; host <= 13; host++ {
		eventually(t, fmt.Sprintf("a SCIM request at the core .%d", host), func() string {
			if _, _, err := s.directory.Raw(t.Context(), http.MethodGet, "/ServiceProviderConfig", nil); err != nil {
				return err.Error()
			}
			text := s.ask(fmt.Sprintf("http://%s.%d:8461/metrics", s.net, host))
			return unless(strings.Contains(text, "\nscimward_scim_requests_total{"), "it got none")
		})
	}
	s.cores[0].stop() // killed: Envoy does not know it yet
	eventually(t, "20 requests in a row to reach another core", func() string {
		const public = "https://app.localhost:8443/.well-known/oauth-authorization-server"
		for i := range 20 {
			if text := s.ask(public); !strings.Contains(text, "token_endpoint") {
				return fmt.Sprintf("request %d: %s", i, text)
			}
		}
		return ""
	})
}

// ask returns the body of an answer. Requests for the application go through the Envoy of the edge.
func (s *coresSetup) ask(url string) string {
	s.t.Helper()
	client := s.client
	if strings.HasPrefix(url, "http:") {
		client = http.DefaultClient
	}
	res, err := client.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestStreamAtAStoppedEdge: an edge that is stopped cannot end the streams of its Envoy. They have ended when another
// process answers that the user is locked.
func TestStreamAtAStoppedEdge(t *testing.T) {
	t.Parallel()
	s := initCores(t)
	for _, m := range append(s.cores, s.edge) {
		m.edit("  role: ", "  lease: 5s\n  role: ")
		m.edit("streams: []", "streams: [/events]")
		m.start()
	}
	file := filepath.Join(s.edge.dir, "scimward.yaml")
	out, err := exec.CommandContext(t.Context(), built.scimward, "envoy", "bootstrap", "-c", file).Output()
	if err == nil {
		err = os.WriteFile(filepath.Join(s.edge.dir, "envoy.yaml"), out, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.envoy.start()
	for _, host := range []int{11, 12, 13, 21} {
		s.ready(host)
	}
	var u idp.User
	eventually(t, "a user to be provisioned", func() string {
		u, err = s.directory.CreateUser(t.Context(), idp.User{UserName: "ada", ExternalID: "ada", Email: "ada@people.example"})
		return unless(err == nil, "%v", err)
	})
	var ticks atomic.Int64
	ended := make(chan error, 1)
	eventually(t, "the stream to open", func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://app.localhost:8443/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-User", "ada")
		res, err := s.client.Do(req)
		if err != nil {
			return err.Error()
		}
		if res.StatusCode != http.StatusOK {
			res.Body.Close()
			return res.Status
		}
		go func() {
			defer res.Body.Close()
			b := make([]byte, 1)
			for {
				if _, err := res.Body.Read(b); err != nil {
					ended <- err
					return
				}
				ticks.Add(1)
			}
		}()
		return ""
	})
	eventually(t, "bytes of the stream", func() string { return unless(ticks.Load() > 10, "%d", ticks.Load()) })
	// A healthy edge keeps its streams although Envoy pings it.
	select {
	case err := <-ended:
		t.Fatalf("the stream at an edge that runs has ended: %v", err)
	case <-time.After(4 * time.Second):
	}
	if err := s.edge.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.edge.cmd.Process.Signal(syscall.SIGCONT) }()
	if err := s.directory.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	default:
		t.Error("the stream goes on after the answer")
	}
}
