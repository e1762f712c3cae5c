package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// service is the API over a store with one leaver.
type service struct {
	t          *testing.T
	store      *store.Store
	now        time.Time
	id         string
	components []admin.Component
	handler    http.Handler
}

func newService(t *testing.T, unix bool) *service {
	t.Helper()
	s := serviceOn(t, storetest.New(t), unix)
	s.id = s.create("ada")
	s.update(func(tx *store.Tx) error {
		row, err := tx.User(s.id)
		if err != nil {
			return err
		}
		row.Resource["active"] = false
		_, err = tx.UpdateUser(&row)
		return err
	})
	return s
}

// serviceOn returns the API over st.
func serviceOn(t *testing.T, st *store.Store, unix bool) *service {
	t.Helper()
	s := &service{
		t: t, store: st, now: time.Now().Add(90 * time.Second),
		components: []admin.Component{{Name: "store", Ready: true}},
	}
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "scimward_test_total", Help: "test"})
	reg.MustRegister(c)
	mux := http.NewServeMux()
	admin.New(admin.Options{
		Store: s.store, Tenants: func() []string { return []string{"acme", "globex"} },
		Version: "v9", DataDir: "/var/lib/söme folder",
		Gatherer: reg, Now: func() time.Time { return s.now },
		Components: func(context.Context) []admin.Component { return s.components },
		Plugins: func(context.Context) []admin.PluginStatus {
			return []admin.PluginStatus{{
				Tenant: "acme", App: "app", Name: "p", Version: "1", Health: "error",
				Message: "the admin API refuses the admin token",
			}}
		},
		Sign: func(tenant string, _ map[string]any) (string, error) { return "signed-by-" + tenant, nil },
	}).Mount(mux)
	s.handler = admin.Guard(unix, mux)
	return s
}

func (s *service) update(fn func(*store.Tx) error) {
	s.t.Helper()
	if _, err := s.store.Update(s.t.Context(), "acme", storetest.Cause("test"), fn); err != nil {
		s.t.Fatal(err)
	}
}

// create makes an active user and returns its id.
func (s *service) create(name string) string {
	s.t.Helper()
	u := &store.User{Resource: scim.Object{"schemas": []any{scim.UserURN}, "userName": name, "active": true}}
	s.update(func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
	return u.ID
}

func (s *service) do(method, target, host string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *service) get(target string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do("GET", target, "127.0.0.1:8461")
}

// isProblem checks a problem document (RFC 9457).
func isProblem(t *testing.T, w *httptest.ResponseRecorder, status int, detail string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %q is not JSON: %v", w.Code, w.Body, err)
	}
	if w.Code != status || p.Status != status || p.Title == "" || !strings.Contains(p.Detail, detail) {
		t.Errorf("%d %+v, want %d with %q", w.Code, p, status, detail)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", got)
	}
}

// TestGuard: a web page must not reach the listener through a name that resolves to loopback.
func TestGuard(t *testing.T) {
	tests := []struct {
		host string
		ok   bool
	}{
		{"127.0.0.1:8461", true},
		{"localhost:8461", true},
		{"localhost", true},
		{"[::1]:8461", true},
		{"127.8.8.8", true},
		{"rebind.example.com", false},
		{"rebind.example.com:8461", false},
		{"localhost.example.com", false},
		{"10.0.0.1:8461", false},
		{"0.0.0.0:8461", false},
		{"", false},
		{"127.0.0.1.nip.io", false},
		{"169.254.169.254", false},
		{"127.0.0.1:1:2", false},
	}
	tcp, unix := newService(t, false), newService(t, true)
	for _, tt := range tests {
		for _, path := range []string{"/healthz", "/v1/status", "/metrics", "/v1/tenants/acme/evidence/ada"} {
			w := tcp.do("GET", path, tt.host)
			if tt.ok && w.Code != 200 {
				t.Errorf("host %q %s: %d, want 200", tt.host, path, w.Code)
			}
			if !tt.ok {
				isProblem(t, w, 403, "loopback")
			}
			if w := unix.do("GET", path, tt.host); w.Code != 200 {
				t.Errorf("unix, host %q %s: %d, want 200", tt.host, path, w.Code)
			}
		}
	}
}

// TestHealthAndReadiness: readiness follows the components, and health does not.
func TestHealthAndReadiness(t *testing.T) {
	s := newService(t, false)
	if w := s.get("/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("healthz: %d %q, want 200 ok", w.Code, w.Body)
	}
	if w := s.get("/readyz"); w.Code != 200 {
		t.Errorf("readyz: %d, want 200", w.Code)
	}
	s.components = append(s.components, admin.Component{Name: "plugins", Message: "acme/app: digest differs"})
	w := s.get("/readyz")
	var got []admin.Component
	err := json.Unmarshal(w.Body.Bytes(), &got)
	if err != nil || w.Code != 503 || len(got) != 2 || got[1].Ready || got[1].Message == "" {
		t.Errorf("readyz: %d %s %v, want 503 with a message", w.Code, w.Body, err)
	}
	if w := s.get("/healthz"); w.Code != 200 {
		t.Errorf("healthz while not ready: %d, want 200", w.Code)
	}
	if w := s.get("/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), "scimward_test_total 0") {
		t.Errorf("metrics: %d, want 200 and the counter", w.Code)
	}
}

// TestStatus: the status counts users, offboardings and breaches of each tenant.
func TestStatus(t *testing.T) {
	s := newService(t, false)
	st := s.status()
	if st.Version != "v9" || !st.Ready || st.Applied == 0 || len(st.Tenants) != 2 {
		t.Fatalf("status %+v, want v9, ready, two tenants", st)
	}
	if a := st.Tenants[0]; a.Name != "acme" || a.Users != 1 || a.Open != 1 || a.Breached != 0 || a.OldestSec < 60 {
		t.Errorf("acme: %+v, want one user with one open offboarding", a)
	}
	if len(st.Plugins) != 1 || st.Plugins[0].Health != "error" || st.Plugins[0].Message == "" {
		t.Errorf("plugins: %+v, want one with an error", st.Plugins)
	}
	if g := st.Tenants[1]; g.Users != 0 || g.Open != 0 {
		t.Errorf("globex: %+v, want only zeros", g)
	}
	s.update(func(tx *store.Tx) error {
		o, err := tx.Offboarding(s.id, 1)
		if err != nil {
			return err
		}
		o.Breached = true
		return tx.SaveOffboarding(&o)
	})
	s.components[0].Ready = false
	if st = s.status(); st.Ready || st.Tenants[0].Breached != 1 {
		t.Errorf("status %+v, want not ready and one breach", st)
	}
}

// TestEvidence: the report comes by id and by name, sealed, as valid JSON and as a page. An
// unknown tenant or user is 404.
func TestEvidence(t *testing.T) {
	s := newService(t, false)
	for _, who := range []string{s.id, "ada", "ADA"} {
		w := s.get("/v1/tenants/acme/evidence/" + who)
		rep, err := revoke.Read(w.Body)
		if err != nil || w.Code != 200 {
			t.Fatalf("report of %s: %d %v, want 200 and a valid report", who, w.Code, err)
		}
		if rep.User != s.id || rep.Seal.JWS != "signed-by-acme" || rep.Status != revoke.StatusRunning ||
			len(rep.Offboardings[0].Kinds) != len(abi.Order()) {
			t.Errorf("report of %s: %+v, want user %s, still revoking", who, rep, s.id)
		}
	}
	w := s.get("/v1/tenants/acme/evidence/ada?format=html")
	csp := w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || !strings.HasPrefix(csp, "default-src 'none'") ||
		!strings.Contains(w.Body.String(), "Evidence of revocation") {
		t.Errorf("page: %d, policy %q, want 200 and default-src 'none'", w.Code, csp)
	}
	for _, tenant := range []string{"unknown", "acme%2F", "ACME"} {
		isProblem(t, s.get("/v1/tenants/"+tenant+"/evidence/ada"), 404, "under tenants in the configuration")
	}
	unknown := []string{"globex/evidence/" + s.id, "globex/evidence/ada", "acme/evidence/bob", "acme/evidence/%00"}
	for _, who := range unknown {
		isProblem(t, s.get("/v1/tenants/"+who), 404, "no such user here")
	}
}

// TestEvidenceByName: a name finds the user who left under it, also when another user has the
// name now. It lists several users, and 404 says whether the user exists and never left.
func TestEvidenceByName(t *testing.T) {
	s := newService(t, false)
	s.update(func(tx *store.Tx) error { return tx.DeleteUser(s.id) })
	again := s.create("ada")
	w := s.get("/v1/tenants/acme/evidence/ada")
	rep, err := revoke.Read(w.Body)
	if err != nil || rep.User != s.id || w.Header().Get(admin.HeaderHolder) != again {
		t.Fatalf("%d %v, report of %v, name of %q; want %s and %s",
			w.Code, err, rep, w.Header().Get(admin.HeaderHolder), s.id, again)
	}
	if w := s.get("/v1/tenants/acme/evidence/" + s.id); w.Code != 200 || w.Header().Get(admin.HeaderHolder) != "" {
		t.Errorf("by id: %d, name of %q, want 200 and none", w.Code, w.Header().Get(admin.HeaderHolder))
	}
	isProblem(t, s.get("/v1/tenants/acme/evidence/"+again), 404, "ada ("+again+") is active and was never deactivated")
	s.update(func(tx *store.Tx) error { return tx.DeleteUser(again) })
	w = s.get("/v1/tenants/acme/evidence/ADA")
	var several struct{ Matches []revoke.Match }
	err = json.Unmarshal(w.Body.Bytes(), &several)
	if err != nil || w.Code != 300 || len(several.Matches) != 2 || several.Matches[0].User != again ||
		several.Matches[1].Epochs != 2 {
		t.Errorf("%d %+v %v, want 300 and two matches", w.Code, several, err)
	}
}

// TestNothingIsWritten: the API serves GET only and does not write.
func TestNothingIsWritten(t *testing.T) {
	s := newService(t, false)
	before := s.store.Health().Applied
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for _, path := range []string{"/healthz", "/readyz", "/v1/status", "/metrics", "/v1/tenants/acme/evidence/ada"} {
			if w := s.do(method, path, "localhost"); w.Code != 405 {
				t.Errorf("%s %s: %d, want 405", method, path, w.Code)
			}
		}
	}
	s.get("/v1/status")
	s.get("/v1/tenants/acme/evidence/ada")
	if after := s.store.Health().Applied; after != before {
		t.Errorf("reads moved the log from %d to %d, want no record", before, after)
	}
}

// TestStoreFault: a fault of the store is 503 without detail.
func TestStoreFault(t *testing.T) {
	s := newService(t, false)
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	isProblem(t, s.get("/v1/status"), 503, "could not be read: see the log")
	isProblem(t, s.get("/v1/tenants/acme/evidence/ada"), 503, "could not be built: see the log")
}

// TestUnreadableCountIsAFault: if the users cannot be counted, the status is not "no users".
func TestUnreadableCountIsAFault(t *testing.T) {
	s := serviceOn(t, storetest.Unreadable(t), false)
	isProblem(t, s.get("/v1/status"), 503, "could not be read: see the log")
}
