package instance_test

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/instance"
)

// balancer gives each request to the next of its processes.
type balancer struct {
	*httptest.Server

	ca   string
	of   []http.Handler
	next int
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	b := &balancer{}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.next++
		b.of[b.next%len(b.of)].ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	b.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw})
	if err := os.WriteFile(b.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

type clock struct{ now time.Time }

func (b *balancer) process(c *clock) *instance.Watch {
	return instance.New(instance.Options{
		URLs: func() []string { return []string{b.URL} }, CAFile: func() string { return b.ca },
		Now: func() time.Time { return c.now }, Logger: slog.New(slog.DiscardHandler),
	})
}

// rounds asks n times, a minute apart.
func rounds(t *testing.T, w *instance.Watch, c *clock, n int) (warning string, err error) {
	t.Helper()
	for range n {
		c.now = c.now.Add(time.Minute)
		w.Ask(t.Context())
	}
	return w.State()
}

// TestReplicas: two processes behind one URL both notice it, and one that is alone does not.
func TestReplicas(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	b := newBalancer(t)
	first, second := b.process(c), b.process(c)
	b.of = []http.Handler{first}
	if warning, err := rounds(t, first, c, 20); warning != "" || err != nil {
		t.Fatalf("alone: %q, %v", warning, err)
	}
	b.of = []http.Handler{first, second}
	for _, w := range []*instance.Watch{first, second} {
		if _, err := rounds(t, w, c, 4); err == nil || !strings.Contains(err.Error(), b.URL) {
			t.Fatalf("two processes: %v, want an error that names %s", err, b.URL)
		}
	}
	b.of = []http.Handler{first}
	if _, err := rounds(t, first, c, 11); err != nil {
		t.Errorf("ten minutes after the other has stopped: %v", err)
	}
	if _, err := rounds(t, second, c, 2); err == nil {
		t.Error("the other does not notice that its URL is of somebody else")
	}
}

// TestPredecessor: one sight of a process that ends is not an error.
func TestPredecessor(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	b := newBalancer(t)
	old, w := b.process(c), b.process(c)
	b.of = []http.Handler{old}
	if _, err := rounds(t, w, c, 1); err != nil {
		t.Fatalf("after one sight: %v", err)
	}
	b.of = []http.Handler{w}
	if _, err := rounds(t, w, c, 20); err != nil {
		t.Errorf("after the predecessor has ended: %v", err)
	}
}

// TestUnreachable: whoever cannot be asked is a warning.
func TestUnreachable(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	b := newBalancer(t)
	w := b.process(c)
	for name, h := range map[string]http.HandlerFunc{
		"not found": http.NotFound,
		"redirect":  func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/elsewhere", http.StatusFound) },
		"no id":     func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("{}")) },
		"endless":   func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(strings.Repeat(" ", 1<<20))) },
	} {
		b.of = []http.Handler{h}
		if warning, err := rounds(t, w, c, 3); !strings.Contains(warning, b.URL) || err != nil {
			t.Errorf("%s: %q, %v, want a warning that names %s", name, warning, err, b.URL)
		}
	}
	b.of = []http.Handler{w}
	b.ca = ""
	if warning, err := rounds(t, w, c, 1); !strings.Contains(warning, "certificate") || err != nil {
		t.Errorf("unknown authority: %q, %v, want a warning about the certificate", warning, err)
	}
}

// TestUncacheable: no cache keeps the id.
func TestUncacheable(t *testing.T) {
	rec := httptest.NewRecorder()
	newBalancer(t).process(&clock{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, instance.Path, nil))
	if got := rec.Header().Get("Cache-Control"); got != "no-store" || rec.Code != http.StatusOK {
		t.Errorf("%d, Cache-Control %q, want 200 and no-store", rec.Code, got)
	}
}
