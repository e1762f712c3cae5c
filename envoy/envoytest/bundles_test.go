package envoytest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
	"github.com/scimward/scimward/policies/bundle/bundletest"
)

// bundleServer has a bundle for each path. It holds a request until there is another bundle, as OPA's bundle
// servers do.
type bundleServer struct {
	*httptest.Server

	mu      sync.Mutex
	bundles map[string][]byte // by path; nil: 404
	asked   map[string]int    // since the bundle of the path changed
	changed chan struct{}
}

func startBundleServer(t *testing.T) *bundleServer {
	t.Helper()
	s := &bundleServer{bundles: map[string][]byte{}, asked: map[string]int{}, changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *bundleServer) serve(path string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundles[path], s.asked[path] = raw, 0
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *bundleServer) get(path string) (raw []byte, etag string, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[path]++
	raw = s.bundles[path]
	sum := sha256.Sum256(raw)
	return raw, `"` + hex.EncodeToString(sum[:]) + `"`, s.changed
}

func (s *bundleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for {
		raw, etag, changed := s.get(r.URL.Path)
		w.Header().Set("Content-Type", "application/vnd.openpolicyagent.bundles")
		w.Header().Set("ETag", etag)
		switch {
		case raw == nil:
			w.WriteHeader(http.StatusNotFound)
			return
		case r.Header.Get("If-None-Match") != etag:
			_, _ = w.Write(raw)
			return
		case !strings.Contains(r.Header.Get("Prefer"), "wait="):
			w.WriteHeader(http.StatusNotModified)
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // what poll says
			w.WriteHeader(http.StatusNotModified)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// judged reports whether scimward came again after it got the present bundle of the path.
func (s *bundleServer) judged(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path] > 1
}

// bundleStatus is what operators see of a bundle.
type bundleStatus struct {
	Tenant string `json:"tenant"`
	Active *struct {
		Revision string `json:"revision"`
	} `json:"active"`
	Fault string `json:"fault"`
	Stage string `json:"fault_stage"`
}

func (w *world) bundleOf(t *testing.T, tenant string) bundleStatus {
	t.Helper()
	var page struct {
		Policies []bundleStatus `json:"policies"`
	}
	if err := json.Unmarshal([]byte(w.adminGet(t, "/v1/status")), &page); err != nil {
		t.Fatal(err)
	}
	for _, p := range page.Policies {
		if p.Tenant == tenant {
			return p
		}
	}
	t.Fatalf("status has no policy of %s", tenant)
	return bundleStatus{}
}

// create tries to create a user with a displayName. It returns the status and the answer.
func create(t *testing.T, tenant *stack.Tenant, displayName string) (int, string) {
	t.Helper()
	name := fmt.Sprintf("b.%d@people.example", people.Add(1))
	_, err := tenant.Client.CreateUser(t.Context(), idp.User{
		UserName: name, ExternalID: "x-" + name, Email: name, DisplayName: displayName,
	})
	var refused *idp.Error
	switch {
	case err == nil:
		return http.StatusCreated, ""
	case errors.As(err, &refused):
		return refused.Status, err.Error()
	}
	t.Fatal(err)
	return 0, ""
}

// inForce checks through Envoy that a tenant has the rule about its own word, and no other.
func inForce(t *testing.T, tenant *stack.Tenant, own, other, when string) {
	t.Helper()
	if status, text := create(t, tenant, own); status != http.StatusForbidden || !strings.Contains(text, "policy/word") {
		t.Errorf("%s: %s creates %s: %d %s, want 403 of policy/word", when, tenant.Name, own, status, text)
	}
	if status, text := create(t, tenant, other); status != http.StatusCreated {
		t.Errorf("%s: %s creates %s: %d %s, want 201", when, tenant.Name, other, status, text)
	}
}

// newBundleWorld starts two tenants with a bundle each.
func newBundleWorld(t *testing.T, s *bundleServer, signer *bundletest.Signer) *world {
	t.Helper()
	key := filepath.Join(t.TempDir(), "bundles.pem")
	if err := os.WriteFile(key, []byte(signer.Key.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(text string) string {
		for _, name := range []string{"acme", "globex"} {
			text = strings.Replace(text, "  - name: "+name+"\n", fmt.Sprintf(
				"  - name: %s\n    policy: {url: %s/%s, poll: 1s, keys: [{id: %s, file: %s}]}\n",
				name, s.URL, name, signer.Key.ID, key), 1)
		}
		return text
	})
	for _, name := range []string{"acme", "globex"} {
		eventually(t, "the bundle of "+name, func() string {
			b := w.bundleOf(t, name)
			return unless(b.Active != nil, "%+v", b)
		})
	}
	return w
}

// TestBadBundlesTouchNobody: two tenants have bundles of their own. Whatever one of them gets, its last good bundle
// stays in force, the other notices nothing, and the operator sees what is wrong. The next good bundle comes into
// force.
func TestBadBundlesTouchNobody(t *testing.T) {
	signer, server := bundletest.NewSigner("security"), startBundleServer(t)
	server.serve("/acme", signer.Sign(bundletest.Files(2, "alpha")))
	server.serve("/globex", signer.Sign(bundletest.Files(7, "beta")))
	w := newBundleWorld(t, server, signer)
	inForce(t, w.Acme, "alpha", "beta", "at first")
	inForce(t, w.Globex, "beta", "alpha", "at first")
	ofGlobex := func() []string {
		return append(w.lines(t, "scimward_policy_bundle_fault", `tenant="globex"`),
			w.lines(t, "scimward_policy_bundle_activated", `tenant="globex"`)...)
	}
	others := ofGlobex()

	bad := append(bundletest.AllBad(signer, 3),
		bundletest.Bad{
			Name: "an older bundle", Stage: "serial", Says: "not higher", Raw: signer.Sign(bundletest.Files(1, "gamma")),
		},
		bundletest.Bad{Name: "no bundle any more", Stage: "fetch", Says: "404"})
	for _, b := range bad {
		server.serve("/acme", b.Raw)
		var got bundleStatus
		eventually(t, b.Name, func() string {
			got = w.bundleOf(t, "acme")
			seen := b.Raw == nil || server.judged("/acme")
			return unless(seen && got.Stage == b.Stage && strings.Contains(got.Fault, b.Says), "%+v", got)
		})
		if got.Active == nil || got.Active.Revision != "2" {
			t.Errorf("%s: in force is %+v, want revision 2", b.Name, got.Active)
		}
		fault := w.lines(t, "scimward_policy_bundle_fault", `tenant="acme"`)
		if len(fault) != 1 || !strings.Contains(fault[0], `stage="`+b.Stage+`"`) || !strings.HasSuffix(fault[0], " 1") {
			t.Errorf("%s: the metric says %q", b.Name, fault)
		}
		inForce(t, w.Acme, "alpha", "beta", b.Name)
		inForce(t, w.Globex, "beta", "alpha", b.Name)
		if d := cmp.Diff(others, ofGlobex()); d != "" {
			t.Errorf("%s: metrics of the other tenant (-before +after):\n%s", b.Name, d)
		}
		get(t, w.HTTPClient(), "http://"+w.Metrics+"/readyz") // 200, or the test fails
	}

	server.serve("/acme", signer.Sign(bundletest.Files(3, "delta")))
	eventually(t, "the next good bundle", func() string {
		b := w.bundleOf(t, "acme")
		return unless(b.Fault == "" && b.Active.Revision == "3", "%+v", b)
	})
	inForce(t, w.Acme, "delta", "alpha", "at the end")
}

// TestLoopingRule: a rule that does not end costs the requests that it concerns their verdict: 503, counted as a
// failure. Other requests of the tenant and the other tenant have theirs.
func TestLoopingRule(t *testing.T) {
	signer, server := bundletest.NewSigner("security"), startBundleServer(t)
	files := bundletest.Files(1, "alpha")
	looping := maps.Clone(files)
	looping["policy/loop.rego"] = "package policy\n\n" + bundletest.Slow + `
requirements["loop"] := {"message": "it loops"} if {
	input.resource.displayName == "loop"
	slow
}
`
	server.serve("/acme", signer.Sign(looping))
	server.serve("/globex", signer.Sign(files))
	w := newBundleWorld(t, server, signer)
	if status, text := create(t, w.Acme, "loop"); status != http.StatusServiceUnavailable {
		t.Errorf("the looping rule: %d %s, want 503", status, text)
	}
	failures := w.lines(t, "scimward_policy_decisions_total", `tenant="acme"`, `outcome="failure"`)
	if len(failures) != 1 || strings.HasSuffix(failures[0], " 0") {
		t.Errorf("metrics: %q, want failures of acme", failures)
	}
	inForce(t, w.Acme, "alpha", "beta", "beside the loop")
	inForce(t, w.Globex, "alpha", "loop", "the other tenant")
	if f := w.lines(t, "scimward_policy_decisions_total", `tenant="globex"`, `outcome="failure"`); len(f) > 0 {
		t.Errorf("metrics of the other tenant: %q, want no failure", f)
	}
}

// TestBundleDeniesRoutes: a bundle denies a route of the tenant's application, through the proxy, with its name in the
// answer. The other tenant's application keeps it, and a rollback gives it back.
func TestBundleDeniesRoutes(t *testing.T) {
	signer, server := bundletest.NewSigner("security"), startBundleServer(t)
	server.serve("/acme", signer.Sign(bundletest.Files(1, "alpha")))
	server.serve("/globex", signer.Sign(bundletest.Files(1, "beta")))
	w := newBundleWorld(t, server, signer)
	ask := func(tenant *stack.Tenant) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tenant.URL+"/Team%2dSettings/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/json")
		return send(t, w.HTTPClient(), req)
	}
	expect := func(when string, tenant *stack.Tenant, denied bool) {
		t.Helper()
		status, text := ask(tenant)
		says := strings.Contains(text, "policy/local_writes /team-settings: ") && strings.Contains(text, "identity service")
		if denied && (status != http.StatusForbidden || !says) || !denied && status != http.StatusNotFound {
			t.Errorf("%s: %s answers %d %s, want denied %t", when, tenant.Name, status, text, denied)
		}
	}
	expect("before", w.Acme, false)
	server.serve("/acme", signer.Sign(bundletest.With(bundletest.Files(2, "alpha"),
		"policy/data.json", `{"local_writes":{"protected-app":[{"path":"/team-settings"}]}}`)))
	eventually(t, "the next bundle", func() string {
		b := w.bundleOf(t, "acme")
		return unless(b.Active.Revision == "2" && b.Fault == "", "%+v", b)
	})
	expect("with the bundle", w.Acme, true)
	expect("with the bundle", w.Globex, false)
	server.serve("/acme", signer.Sign(bundletest.With(bundletest.Files(3, "alpha"),
		"policy/data.json", `{"local_writes":{"no-such-app":[{"path":"/x"}]}}`)))
	eventually(t, "the refusal of an unknown app", func() string {
		b := w.bundleOf(t, "acme")
		return unless(b.Stage == "local_writes" && strings.Contains(b.Fault, "no such app"), "%+v", b)
	})
	expect("with a bad bundle", w.Acme, true)
	w.command(t, "policy", "rollback", "--tenant", "acme", "--reason", "the team needs it")
	expect("after the rollback", w.Acme, false)
}
