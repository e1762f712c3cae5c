package scimhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

const (
	il1  = "ipsie-il1"
	base = "rfc7644"
)

// verifier accepts the tokens of one tenant by their text.
type verifier map[string]token.Claims

func (v verifier) Verify(_ context.Context, raw string) (token.Claims, error) {
	if c, ok := v[raw]; ok {
		return c, nil
	}
	return token.Claims{}, &token.Error{Reason: token.ReasonSignature, Detail: "no such token"}
}

// client returns the claims of an access token.
func client(id, jti string) token.Claims {
	return token.Claims{ClientID: id, JTI: jti, Issuer: "https://idp.test", Scopes: []string{"scim"}}
}

// nobody is a lock table without locks. SCIM requests name no user.
type nobody struct{}

func (nobody) Locked(string, *subject.Subject) *authz.Lock { return nil }

// service is a whole SCIM service: store, policy engine, authorizer, HTTP server.
type service struct {
	t       *testing.T
	store   *store.Store
	handler *scimhttp.Handler
	decider *recordingDecider
	server  *httptest.Server
	metrics *prometheus.Registry
	logs    *syncBuffer
	tenant  string // of the requests made with do
	token   string
	opaque  string            // see raw
	dialect *policies.Dialect // of every client; nil has no overlays
	strict  *policies.Dialect // of the second client of a tenant, in place of dialect
}

// Client implements authz.Clients.
func (s *service) Client(_, _, id string) (label string, d *policies.Dialect) {
	if s.strict != nil && strings.HasPrefix(id, "other-") {
		return id, s.strict
	}
	return id, s.dialect
}

// recordingDecider keeps the last request and decision.
type recordingDecider struct {
	scimhttp.Decider
	mu   sync.Mutex
	last request.Request
	got  authz.Decision
}

func (d *recordingDecider) Decide(ctx context.Context, r request.Request) authz.Decision {
	got := d.Decider.Decide(ctx, r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last, d.got = r, got
	return got
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// engine is compiled once, because that takes longer than any test here. Its deadline
// is long, because the machine may be busy.
var engine = sync.OnceValues(func() (*policies.Engine, error) {
	return policies.NewEngine(policies.Options{Deadline: 2 * time.Minute})
})

// serveOverlays is serve for a client of acme with overlays. The other client of acme has none.
func serveOverlays(t *testing.T, profile string, overlays ...string) *service {
	t.Helper()
	s := newService(t, storetest.New(t))
	var err error
	if s.dialect, err = policies.NewDialect(profile, overlays...); err != nil {
		t.Fatal(err)
	}
	if s.strict, err = policies.NewDialect(profile); err != nil {
		t.Fatal(err)
	}
	return s.start(profile)
}

// serve starts a service whose tenant acme has the profile; globex has rfc7644.
func serve(t *testing.T, profile string, change ...func(*scimhttp.Options)) *service {
	t.Helper()
	return newService(t, storetest.New(t)).start(profile, change...)
}

func newService(t *testing.T, s *store.Store) *service {
	t.Helper()
	return &service{
		t: t, store: s, metrics: prometheus.NewRegistry(), logs: &syncBuffer{}, tenant: "acme", token: "acme-token",
	}
}

func (s *service) start(profile string, change ...func(*scimhttp.Options)) *service {
	t := s.t
	t.Helper()
	e, err := engine()
	if err != nil {
		t.Fatalf("compiling the policies: %v", err)
	}
	tenant := func(name, profile string) authz.TenantOptions {
		return authz.TenantOptions{
			Profile: profile, Realm: name,
			Verifier: verifier{
				name + "-token": client("idp-"+name, "jti-"+name),
				name + "-other": client("other-"+name, "jti-2"),
			},
		}
	}
	a, err := authz.New(authz.Options{
		Policy: e, Locks: nobody{}, Clients: s,
		Tenants: map[string]authz.TenantOptions{"acme": tenant("acme", profile), "globex": tenant("globex", base)},
	})
	if err != nil {
		t.Fatalf("making the authorizer: %v", err)
	}
	s.decider = &recordingDecider{Decider: a}
	deviations := prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: "scimward_scim_deviations_total"}, []string{"tenant", "code"},
	)
	s.metrics.MustRegister(deviations)
	o := scimhttp.Options{
		Judged: func(d *authz.Decision) {
			for _, code := range d.Deviations {
				deviations.WithLabelValues(d.Tenant, code).Inc()
			}
			e.Count(d.Violated)
		},
		Decider: s.decider,
		Store:   s.store,
		TenantOf: func(r *http.Request) (string, bool) {
			name, ok := strings.CutSuffix(r.Host, ".test")
			return name, ok && (name == "acme" || name == "globex")
		},
		Base:    func(tenant string) string { return "https://" + tenant + ".test/scim/v2" },
		RateOf:  func(string, string, string) (rate.Limit, int) { return 100_000, 100_000 },
		Metrics: s.metrics,
		Logger:  slog.New(slog.NewJSONHandler(s.logs, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	h, err := scimhttp.New(o)
	if err != nil {
		t.Fatalf("making the handler: %v", err)
	}
	s.handler = h
	s.bound(func(b *scimhttp.Bounds) { b.RefusalRate, b.RefusalBurst = 100_000, 100_000 })
	s.server = httptest.NewServer(h.Route(http.NotFoundHandler()))
	t.Cleanup(s.server.Close)
	return s
}

// bound changes the handler's bounds. Call it before the first request.
func (s *service) bound(change func(*scimhttp.Bounds)) *service {
	scimhttp.SetBounds(s.handler, change)
	return s
}

// as returns the same service for the client of another tenant.
func (s *service) as(tenant string) *service {
	copied := *s
	copied.tenant, copied.token = tenant, tenant+"-token"
	return &copied
}

// answer is an HTTP response.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

// do sends a request below /scim/v2. It encodes a body that is not a string as JSON.
func (s *service) do(method, path string, body any, header ...string) *answer {
	s.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			s.t.Fatalf("encoding the body: %v", err)
		}
		in = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+"/scim/v2"+path, in)
	if err != nil {
		s.t.Fatalf("making %s %s: %v", method, path, err)
	}
	req.Host = s.tenant + ".test"
	if s.opaque != "" {
		path, query, _ := strings.Cut(s.opaque, "?")
		req.URL = &url.URL{
			Scheme: "http", Host: req.URL.Host, Opaque: "/scim/v2" + path, RawQuery: query,
			ForceQuery: strings.HasSuffix(s.opaque, "?"),
		}
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" || header[i] == "User-Agent" { // net/http sends its own unless it is empty
			req.Header.Set(header[i], header[i+1])
		}
	}
	return s.send(req)
}

// raw is do with an unchanged path: it is neither cleaned nor encoded.
func (s *service) raw(method, path string, body any, header ...string) *answer {
	s.t.Helper()
	s.opaque = path
	defer func() { s.opaque = "" }()
	return s.do(method, "", body, header...)
}

func (s *service) send(req *http.Request) *answer {
	s.t.Helper()
	resp, err := s.server.Client().Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	a := &answer{t: s.t, status: resp.StatusCode, header: resp.Header}
	if a.raw, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatalf("reading the answer: %v", err)
	}
	if len(a.raw) > 0 {
		if err := json.Unmarshal(a.raw, &a.body); err != nil {
			s.t.Fatalf("%s %s: the answer is not JSON: %v: %s", req.Method, req.URL, err, a.raw)
		}
		if got := a.header.Get("Content-Type"); got != "application/scim+json" {
			s.t.Errorf("%s %s: Content-Type %q, want application/scim+json", req.Method, req.URL, got)
		}
	}
	return a
}

// want fails the test unless the answer has this status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

// wantError is want, and requires a SCIM error with this scimType in the body (RFC 7644 §3.12).
func (a *answer) wantError(status int, scimType string) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("status %d, want %d: %s", a.status, status, a.raw)
		return a
	}
	if got := fmt.Sprint(a.body["schemas"]); got != "["+scim.ErrorURN+"]" {
		a.t.Errorf("schemas %s, want the Error URN", got)
	}
	if a.body["status"] != fmt.Sprint(status) {
		a.t.Errorf("status in the body is %#v, want %q", a.body["status"], fmt.Sprint(status))
	}
	got, _ := a.body["scimType"].(string)
	if got != scimType {
		a.t.Errorf("scimType %q, want %q: %s", got, scimType, a.raw)
	}
	if d, _ := a.body["detail"].(string); d == "" {
		a.t.Errorf("no detail: %s", a.raw)
	}
	return a
}

func (a *answer) str(name string) string {
	a.t.Helper()
	s, _ := a.body[name].(string)
	return s
}

func (a *answer) id() string {
	a.t.Helper()
	id := a.str("id")
	if id == "" {
		a.t.Fatalf("no id: %s", a.raw)
	}
	return id
}

func (a *answer) meta(name string) string {
	a.t.Helper()
	m, _ := a.body["meta"].(map[string]any)
	s, _ := m[name].(string)
	return s
}

// total returns totalResults, which must be a number.
func (a *answer) total() int {
	a.t.Helper()
	n, ok := a.body["totalResults"].(float64)
	if !ok {
		a.t.Fatalf("totalResults is not a number: %s", a.raw)
	}
	return int(n)
}

// resources returns the resources of a list.
func (a *answer) resources() []map[string]any {
	a.t.Helper()
	list, ok := a.body["Resources"].([]any)
	if !ok {
		a.t.Fatalf("no Resources: %s", a.raw)
	}
	out := make([]map[string]any, 0, len(list))
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			a.t.Fatalf("a resource is not an object: %s", a.raw)
		}
		out = append(out, m)
	}
	return out
}

func (a *answer) ids() []string {
	a.t.Helper()
	var out []string
	for _, r := range a.resources() {
		id, _ := r["id"].(string)
		out = append(out, id)
	}
	return out
}

// filter returns the path of a filtered list.
func filter(endpoint, f string, more ...string) string {
	return "/" + endpoint + "?" + strings.Join(append([]string{"filter=" + url.QueryEscape(f)}, more...), "&")
}

// obj is a JSON object.
type obj = map[string]any

// person returns a user that every profile accepts.
func person(name string) obj {
	return obj{
		"schemas":     []string{scim.UserURN},
		"userName":    name + "@acme.example",
		"externalId":  "ext-" + name,
		"displayName": strings.ToUpper(name),
		"name":        obj{"givenName": "Given", "familyName": "Family"},
		"emails":      []obj{{"value": name + "@acme.example", "type": "work", "primary": true}},
		"active":      true,
	}
}

func (s *service) createUser(name string) string {
	s.t.Helper()
	return s.do("POST", "/Users", person(name)).want(201).id()
}

func (s *service) createGroup(name string, members ...string) string {
	s.t.Helper()
	return s.do("POST", "/Groups", group(name, members...)).want(201).id()
}

func group(name string, members ...string) obj {
	g := obj{"schemas": []string{scim.GroupURN}, "displayName": name}
	if len(members) > 0 {
		g["members"] = refs(members...)
	}
	return g
}

func refs(ids ...string) []obj {
	out := []obj{}
	for _, id := range ids {
		out = append(out, obj{"value": id})
	}
	return out
}

// op is one PATCH operation; ops is the message.
func op(kind, path string, value ...any) obj {
	o := obj{"op": kind}
	if path != "" {
		o["path"] = path
	}
	if len(value) > 0 {
		o["value"] = value[0]
	}
	return o
}

func ops(list ...obj) obj {
	return obj{"schemas": []string{scim.PatchURN}, "Operations": list}
}

// view reads the store of the tenant.
func (s *service) view(fn func(*store.Reader) error) {
	s.t.Helper()
	if err := s.store.View(s.t.Context(), s.tenant, fn); err != nil {
		s.t.Fatalf("reading the store: %v", err)
	}
}

// row is a resource with all parts that a refused request must not change.
type row struct {
	ID       string
	Resource scim.Object
	Version  store.Seq
	Modified time.Time
	Members  []store.Member
}

// state returns every resource of the tenant.
func (s *service) state() []row {
	s.t.Helper()
	var out []row
	s.view(func(r *store.Reader) error {
		if err := r.Users("", func(u store.User) bool {
			out = append(out, row{ID: u.ID, Resource: u.Resource, Version: u.Version, Modified: u.Modified})
			return true
		}); err != nil {
			return err
		}
		var failed error
		err := r.Groups("", func(g store.Group) bool {
			m, err := r.Members(g.ID, "", 10_000)
			failed = err
			out = append(out, row{ID: g.ID, Resource: g.Resource, Version: g.Version, Modified: g.Modified, Members: m})
			return err == nil
		})
		if failed != nil {
			return failed
		}
		return err
	})
	return out
}

// unchanged runs fn and fails when it changed any resource of the tenant.
func (s *service) unchanged(fn func()) {
	s.t.Helper()
	before := s.state()
	fn()
	if diff := cmp.Diff(before, s.state()); diff != "" {
		s.t.Errorf("a resource changed (-before +after):\n%s", diff)
	}
}

// records returns the audit records of the tenant.
func (s *service) records() []audit.Record {
	s.t.Helper()
	var out []audit.Record
	s.view(func(r *store.Reader) error {
		return r.Audit(func(rec audit.Record) bool {
			out = append(out, rec)
			return true
		})
	})
	return out
}

// Paused implements authz.Clients.
func (s *service) Paused(string) bool { return false }
