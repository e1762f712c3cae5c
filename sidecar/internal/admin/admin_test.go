package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
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
	peer       admin.Peer
	api        *admin.Handler
	options    admin.Options
	people     []authz.AppUnprovisioned
	handler    http.Handler
	log        *bytes.Buffer
	cut        []string // tenants whose streams were cut
	hits       *admin.Hits
}

func newService(t *testing.T) *service {
	t.Helper()
	s := serviceOn(t, storetest.New(t))
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
func serviceOn(t *testing.T, st *store.Store) *service {
	t.Helper()
	s := &service{
		t: t, store: st, now: time.Now().Add(90 * time.Second), log: &bytes.Buffer{}, hits: admin.NewHits(),
		components: []admin.Component{{Name: "store", Ready: true}},
		peer:       admin.Peer{User: "op", OK: true},
	}
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "scimward_test_total", Help: "test"})
	reg.MustRegister(c)
	engine, err := revoke.New(revoke.Options{
		Store: st, Revoker: noPlugins{}, Owner: "test", Now: func() time.Time { return s.now },
		Metrics: prometheus.NewRegistry(),
		Tenants: func() []string { return []string{"acme", "globex"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.options = admin.Options{
		Engine: engine, Hits: s.hits, Bundles: bundles.New(bundles.Options{}),
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
		Config: func() admin.ConfigStatus { return admin.ConfigStatus{Loaded: s.now} },
		Cut:    func(_ context.Context, tenant string) int { s.cut = append(s.cut, tenant); return 3 },
		Sign:   func(tenant string, _ map[string]any) (string, error) { return "signed-by-" + tenant, nil },
		Logger: slog.New(slog.NewJSONHandler(s.log, nil)),

		Unprovisioned: func() []authz.AppUnprovisioned { return s.people },
		Explain: func(_ context.Context, _, _ string, _ int, value string) (authz.Explanation, error) {
			id := "" // as the authorizer finds it
			err := s.store.View(t.Context(), "acme", func(r *store.Reader) error {
				ids, err := r.UserIDs("userName", value)
				id = strings.Join(ids, "")
				return err
			})
			return authz.Explanation{Name: value, User: id}, err
		},
	}
	s.withKeys(nil)
	return s
}

// noPlugins is the revoker of an engine that does not run.
type noPlugins struct{ revoke.Revoker }

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

// do sends a request of s.peer. The fields are pairs of header names and values.
// withKeys makes the handler anew, with other signing keys.
func (s *service) withKeys(keys admin.Keys) {
	s.options.Keys = keys
	s.api = admin.New(s.options)
	s.handler = s.api.Admin()
}

func (s *service) do(method, target, body string, fields ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r.WithContext(admin.WithPeer(r.Context(), s.peer)))
	return w
}

func (s *service) get(target string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do("GET", target, "")
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

// TestPeers: only root and the user who runs scimward may use the admin socket. A connection without
// a known user is refused.
func TestPeers(t *testing.T) {
	tests := []struct {
		uid, self uint32
		ok        bool
	}{
		{0, 0, true},
		{0, 1000, true},
		{1000, 1000, true},
		{1001, 1000, false},
		{1000, 0, false},
		{65534, 0, false}, // the overflow id: a user of another namespace
		{1<<32 - 1, 0, false},
	}
	s := newService(t)
	for _, tt := range tests {
		p := admin.Judge(tt.uid, tt.self)
		if p.OK != tt.ok || p.User == "" || (p.Reason == "") != tt.ok {
			t.Errorf("judge(%d, %d) = %+v, want ok %v", tt.uid, tt.self, p, tt.ok)
		}
		s.peer = p
		for _, path := range []string{"/v1/status", "/v1/tenants/acme/evidence/ada", "/nowhere"} {
			if w := s.get(path); !tt.ok {
				isProblem(t, w, 403, "the admin socket is for root and for the user who runs scimward")
			} else if w.Code == 403 {
				t.Errorf("%s as %d: 403", path, tt.uid)
			}
		}
	}
	s.peer = admin.Peer{}
	isProblem(t, s.get("/v1/status"), 403, "no user of the system")
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	ctx := admin.ConnContext(t.Context(), here)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/status", nil))
	isProblem(t, w, 403, "does not say who connects")
}

// TestPeerOfSocket: the kernel names the user of a connection.
func TestPeerOfSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "sw") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	p, err := admin.PeerOf(served)
	if err != nil || !p.OK || p.User == "" {
		t.Errorf("peer %+v %v, want the user of this test", p, err)
	}
	if runtime.GOOS == "linux" {
		want := admin.Judge(uint32(os.Getuid()), uint32(os.Getuid()))
		if p != want {
			t.Errorf("peer %+v, want %+v", p, want)
		}
	}
}

// TestChangeFrame: a change carries who asks for it and why. What the frame cannot read exactly, it
// refuses.
func TestChangeFrame(t *testing.T) {
	s := newService(t)
	s.handler = s.api.Echo()
	const path = "/v1/tenants/acme/echo"
	w := s.do("POST", path, `{"reason":" left with the laptop "}`, admin.HeaderOperator, "Zo%C3%AB%20K.")
	var got store.Cause
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.RequestID == "" {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	want := store.Cause{
		Actor: "operator:op", Claimed: "Zoë K.", Reason: "left with the laptop", RequestID: got.RequestID,
		Action: "echo", Decision: "operator", Received: got.Received,
	}
	if d := cmp.Diff(want, got); d != "" || got.Received.IsZero() {
		t.Errorf("cause (-want +got):\n%s", d)
	}
	for name, tt := range map[string]struct {
		path, body, operator string
		status               int
		detail               string
	}{
		"no reason":          {path, `{}`, "", 400, "a reason is required"},
		"blank reason":       {path, `{"reason":"  "}`, "", 400, "a reason is required"},
		"two lines":          {path, `{"reason":"a\nb"}`, "", 400, "one line"},
		"long reason":        {path, `{"reason":"` + strings.Repeat("x", 501) + `"}`, "", 400, "at most 500 bytes"},
		"unknown member":     {path, `{"reason":"x","reasons":"y"}`, "", 400, `unknown field "reasons"`},
		"repeated member":    {path, `{"reason":"x","Reason":"y"}`, "", 400, "a name appears twice"},
		"trailing data":      {path, `{"reason":"x"}{}`, "", 400, "data follows"},
		"wrong type":         {path, `{"reason":7}`, "", 400, "reading the body"},
		"no body":            {path, ``, "", 400, "empty"},
		"large body":         {path, `{"reason":"` + strings.Repeat("x", 70_000) + `"}`, "", 413, "at most 65536 bytes"},
		"unknown tenant":     {"/v1/tenants/none/echo", `{"reason":"x"}`, "", 404, "one of acme, globex"},
		"operator, lines":    {path, `{"reason":"x"}`, "a%0Ab", 400, "operator's name"},
		"operator, long":     {path, `{"reason":"x"}`, strings.Repeat("a", 101), 400, "operator's name"},
		"operator, no UTF-8": {path, `{"reason":"x"}`, "%FF", 400, "operator's name"},
		"operator, escape":   {path, `{"reason":"x"}`, "%zz", 400, "operator's name"},
		"fault":              {path, `{"fault":true}`, "", 503, "see the log"},
	} {
		t.Run(name, func(t *testing.T) {
			s.log.Reset()
			w := s.do("POST", tt.path, tt.body, admin.HeaderOperator, tt.operator)
			isProblem(t, w, tt.status, tt.detail)
			if strings.Contains(w.Body.String(), "secret cause") || strings.Count(s.log.String(), "\n") != 1 {
				t.Errorf("answer %s, log %s; want no cause in the answer and one event", w.Body, s.log)
			}
		})
	}
	s.peer = admin.Judge(4711, 0)
	isProblem(t, s.do("POST", path, `{"reason":"x"}`), 403, "not for uid:4711")
}

// TestMetricsListener: readiness follows the components, and liveness does not. The listener serves
// nothing else, and nothing about a person.
func TestMetricsListener(t *testing.T) {
	s := newService(t)
	s.handler = s.api.Metrics()
	if w := s.get("/livez"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("livez: %d %q, want 200 ok", w.Code, w.Body)
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
	if w := s.get("/livez"); w.Code != 200 {
		t.Errorf("livez while not ready: %d, want 200", w.Code)
	}
	if w := s.get("/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), "scimward_test_total 0") {
		t.Errorf("metrics: %d, want 200 and the counter", w.Code)
	}
	for _, path := range []string{"/healthz", "/v1/status", "/v1/tenants/acme/evidence/ada", "/"} {
		if w := s.get(path); w.Code != 404 {
			t.Errorf("%s: %d, want 404", path, w.Code)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			if w := s.do(method, path, ""); w.Code != 405 {
				t.Errorf("%s %s: %d, want 405", method, path, w.Code)
			}
		}
	}
}

// TestStatus: the status counts users, offboardings and breaches of each tenant.
func TestStatus(t *testing.T) {
	s := newService(t)
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
	s := newService(t)
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
	s := newService(t)
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

// TestReadsWriteNothing: a GET does not write, and the routes of reports serve GET only.
func TestReadsWriteNothing(t *testing.T) {
	s := newService(t)
	before := s.store.Health().Applied
	for _, path := range []string{"/v1/status", "/v1/tenants/acme/evidence/ada"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			if w := s.do(method, path, ""); w.Code != 405 {
				t.Errorf("%s %s: %d, want 405", method, path, w.Code)
			}
		}
		if w := s.get(path); w.Code != 200 {
			t.Errorf("GET %s: %d, want 200", path, w.Code)
		}
	}
	if after := s.store.Health().Applied; after != before {
		t.Errorf("reads moved the log from %d to %d, want no record", before, after)
	}
}

// TestStoreFault: a fault of the store is 503 without detail.
func TestStoreFault(t *testing.T) {
	s := newService(t)
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	isProblem(t, s.get("/v1/status"), 503, "could not be read: see the log")
	isProblem(t, s.get("/v1/tenants/acme/evidence/ada"), 503, "could not be built: see the log")
}

// TestUnreadableCountIsAFault: if the users cannot be counted, the status is not "no users".
func TestUnreadableCountIsAFault(t *testing.T) {
	s := serviceOn(t, storetest.Unreadable(t))
	isProblem(t, s.get("/v1/status"), 503, "could not be read: see the log")
}
