package envoytest_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/replicas/fleet"
)

// coresSetup is what `scimward init --topology cores+edges` writes, running.
type coresSetup struct {
	*fleet.Fleet
	t         *testing.T
	edge      *http.Client // to its Envoy
	directory *idp.Client  // through the same
}

// startCores starts them. change changes the configuration file of each process; nil changes nothing.
func startCores(t *testing.T, change func(text string) string) *coresSetup {
	t.Helper()
	f, err := fleet.New(t.Context(), fleet.Options{
		Dir: t.TempDir(), Scimward: built.scimward, Envoy: built.envoy, Edges: 1,
		App: http.HandlerFunc(tick), Config: change,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range slices.Concat(f.Cores(), f.Edges()) {
			if t.Failed() {
				t.Logf("%s said:\n%s", m, f.Log(m))
			}
		}
		if err := f.Close(); err != nil {
			t.Errorf("ending the machines: %v", err)
		}
	})
	if err := f.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &coresSetup{Fleet: f, t: t, edge: f.Client("edge-1")}
	if s.directory, err = f.Directory("edge-1"); err != nil {
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
		got, err := fleet.Get(s.t.Context(), s.edge, name, time.Now())
		return unless(err == nil && got == http.StatusOK, "it answers %d, %v", got, err)
	})
	if err := s.directory.Deactivate(s.t.Context(), u.ID); err != nil {
		s.t.Fatalf("deactivating %s: %v", name, err)
	}
	if got, err := fleet.Get(s.t.Context(), s.edge, name, time.Now()); err != nil || got != http.StatusUnauthorized {
		s.t.Errorf("%s after the answer: %d, %v, want 401", name, got, err)
	}
}

// TestCoresAndEdges: what init writes starts as it stands. SCIM through the Envoy of an edge reaches the cores, each in
// turn, and the edge decides on the application. When a core is killed, a request that is on its way to it may get 503,
// and soon every one reaches another core.
func TestCoresAndEdges(t *testing.T) {
	t.Parallel()
	s := startCores(t, nil)
	for i := range 4 {
		s.offboard(fmt.Sprintf("user%d@people.example", i))
	}
	for _, core := range s.Cores() {
		eventually(t, "a SCIM request at "+core, func() string {
			if _, _, err := s.directory.Raw(t.Context(), http.MethodGet, "/ServiceProviderConfig", nil); err != nil {
				return err.Error()
			}
			text := s.ask(http.DefaultClient, "http://"+s.Host(core)+":8461/metrics")
			return unless(strings.Contains(text, "\nscimward_scim_requests_total{"), "it got none")
		})
	}
	if err := s.Kill("core-1"); err != nil { // Envoy does not know it yet
		t.Fatal(err)
	}
	eventually(t, "20 requests in a row to reach another core", func() string {
		const public = "https://app.localhost:8443/.well-known/oauth-authorization-server"
		for i := range 20 {
			if text := s.ask(s.edge, public); !strings.Contains(text, "token_endpoint") {
				return fmt.Sprintf("request %d: %s", i, text)
			}
		}
		return ""
	})
}

// ask returns the body of an answer.
func (s *coresSetup) ask(client *http.Client, url string) string {
	s.t.Helper()
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
	s := startCores(t, strings.NewReplacer(
		"  role: ", "  lease: 5s\n  role: ", "streams: []", "streams: [/events]").Replace)
	ada := idp.User{UserName: "ada", ExternalID: "ada", Email: "ada@people.example"}
	u, err := s.directory.CreateUser(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	var ticks atomic.Int64
	ended := make(chan error, 1)
	s.edge.Timeout = 0 // a stream has none
	eventually(t, "the stream to open", func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://app.localhost:8443/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-User", "ada")
		res, err := s.edge.Do(req)
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
	if err := s.Signal("edge-1", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Signal("edge-1", syscall.SIGCONT) }()
	if err := s.directory.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	default:
		t.Error("the stream goes on after the answer")
	}
}
