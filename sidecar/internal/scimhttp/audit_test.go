package scimhttp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/storetest"
)

// last returns the newest audit record.
func (s *service) last() audit.Record {
	s.t.Helper()
	all := s.records()
	if len(all) == 0 {
		s.t.Fatal("no audit record, want at least one")
	}
	return all[len(all)-1]
}

// TestEveryChangeAudited: each change by a known client, and each refused change, is exactly one
// record. It names the client, the change and the rules.
func TestEveryChangeAudited(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	gid := s.createGroup("staff")
	tests := []struct {
		name, method, path string
		body               any
		status             int
		action, outcome    string
		resource           string
		attrs              []string
		detail             string
	}{
		{"create", "POST", "/Users", person("bob"), 201, "user.create", audit.OutcomeDone, "", []string{"active", "displayName", "emails", "externalId", "name", "userName"}, ""},
		{"patch", "PATCH", "/Users/" + id, ops(op("replace", "title", "x"), op("replace", "displayName", "y")), 200, "user.patch", audit.OutcomeDone, id, []string{"displayName", "title"}, ""},
		{"add a member", "PATCH", "/Groups/" + gid, ops(op("add", "members", refs(id))), 204, "group.patch", audit.OutcomeDone, gid, []string{"members"}, ""},
		{"deactivate", "PATCH", "/Users/" + id, ops(op("replace", "active", false)), 200, "user.patch", audit.OutcomeDone, id, []string{"active"}, "epoch 1"},
		{"refused by the profile", "PUT", "/Users/" + id, person("ada"), 403, "user.put", audit.OutcomeRefused, id, nil, "403"},
		{"refused by the schema", "POST", "/Users", obj{"schemas": []string{"x"}}, 400, "user.create", audit.OutcomeRefused, "", nil, "invalidSyntax"},
		{"refused as a duplicate", "POST", "/Users", person("bob"), 409, "user.create", audit.OutcomeRefused, "", nil, "uniqueness"},
		{"refused as unknown", "DELETE", "/Users/nobody", nil, 404, "user.delete", audit.OutcomeRefused, "nobody", nil, "404"},
		{"refused member", "PATCH", "/Groups/" + gid, ops(op("add", "members", refs("nobody"))), 400, "group.patch", audit.OutcomeRefused, gid, nil, "invalidValue"},
		{"delete group", "DELETE", "/Groups/" + gid, nil, 204, "group.delete", audit.OutcomeDone, gid, nil, ""},
		{"delete user", "DELETE", "/Users/" + id, nil, 204, "user.delete", audit.OutcomeDone, id, nil, "epoch 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.records())
			s.do(tt.method, tt.path, tt.body, "X-Request-Id", "req-"+strings.ReplaceAll(tt.name, " ", "-")).want(tt.status)
			if n := len(s.records()) - before; n != 1 {
				t.Fatalf("%d audit records, want 1", n)
			}
			r := s.last()
			if r.Action != tt.action || r.Outcome != tt.outcome || r.Method != tt.method || r.Path != "/scim/v2"+tt.path {
				t.Errorf("record %+v, want %s of %s %s with outcome %v", r, tt.action, tt.method, tt.path, tt.outcome)
			}
			if r.Actor != "client:idp-acme" || r.ClientID != "idp-acme" || r.JTI != "jti-acme" || r.Remote != "127.0.0.1" {
				t.Errorf("who: %q %q %q %q", r.Actor, r.ClientID, r.JTI, r.Remote)
			}
			if r.RequestID != "req-"+strings.ReplaceAll(tt.name, " ", "-") || r.Decision == "" || r.Tenant != "acme" {
				t.Errorf("request %q, decision %q, tenant %q", r.RequestID, r.Decision, r.Tenant)
			}
			if tt.outcome == audit.OutcomeDone && !strings.HasPrefix(r.Decision, il1+"@") {
				t.Errorf("decision %q does not name the profile, want it to", r.Decision)
			}
			if tt.resource != "" && r.Resource != tt.resource {
				t.Errorf("resource %q, want %q", r.Resource, tt.resource)
			}
			if len(tt.attrs) > 0 && !slices.Equal(slices.Sorted(slices.Values(r.Attrs)), tt.attrs) {
				t.Errorf("attributes %v, want %v", r.Attrs, tt.attrs)
			}
			if !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("detail %q, want %q in it", r.Detail, tt.detail)
			}
		})
	}
	t.Run("no values and no tokens", func(t *testing.T) {
		b, err := json.Marshal(s.records())
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"acme-token", "@acme.example", "ext-bob", "Given", "BOB"} {
			if strings.Contains(string(b), secret) {
				t.Errorf("the audit trail contains %q, want no secret", secret)
			}
			if strings.Contains(s.logs.String(), secret) {
				t.Errorf("the log contains %q, want no secret", secret)
			}
		}
	})
}

// TestWhatIsNotAudited: reads, strangers and requests without effect leave no record.
func TestWhatIsNotAudited(t *testing.T) {
	s := serve(t, base)
	id := s.createUser("ada")
	before := len(s.records())
	s.do("GET", "/Users/"+id, nil).want(200)
	s.do("GET", "/Users/nobody", nil).want(404)
	s.do("DELETE", "/Users/"+id, nil, "Authorization", "Bearer nope").want(401)
	s.do("PATCH", "/Users/"+id, ops(op("replace", "active", true))).want(200)
	if n := len(s.records()) - before; n != 0 {
		t.Errorf("%d audit records, want none", n)
	}
}

// TestRefusalsCannotFillTheDisk: refusals beyond the bound are counted, not recorded.
func TestRefusalsCannotFillTheDisk(t *testing.T) {
	s := serve(t, il1).bound(func(b *scimhttp.Bounds) { b.RefusalRate, b.RefusalBurst = 0.000001, 3 })
	for range 10 {
		s.do("DELETE", "/Users/nobody", nil).want(404)
	}
	if n := len(s.records()); n != 3 {
		t.Errorf("%d audit records, want 3", n)
	}
	if n := s.counter("scimward_scim_refusals_unrecorded_total", "cause", "rate"); n != 7 {
		t.Errorf("%v refusals counted as not recorded, want 7", n)
	}
}

// counter sums a metric over the series that have the label.
func (s *service) counter(name, label, value string) float64 {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatalf("gathering metrics: %v", err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// TestMetricsAndLog: a request is one log event and one count.
func TestMetricsAndLog(t *testing.T) {
	s := serve(t, il1)
	s.createUser("ada")
	s.do("GET", "/Users/x", nil).want(404)
	if n := s.counter("scimward_scim_requests_total", "status", "201"); n != 1 {
		t.Errorf("201: %v, want 1", n)
	}
	if n := s.counter("scimward_scim_requests_total", "route", "GET /Users/{id}"); n != 1 {
		t.Errorf("GET /Users/{id}: %v, want 1", n)
	}
	if n := strings.Count(s.logs.String(), `"msg":"scim request"`); n != 2 {
		t.Errorf("%d events for two requests:\n%s", n, s.logs)
	}
}

// TestTimesAreByTenant: each tenant has its own times. An unknown host adds no tenant.
func TestTimesAreByTenant(t *testing.T) {
	s := serve(t, il1)
	s.do("GET", "/Users", nil).want(200)
	s.do("GET", "/Users", nil).want(200)
	s.as("globex").do("GET", "/Users", nil).want(200)
	s.as("nobody").do("GET", "/Users", nil).want(404)
	s.as("nowhere").do("GET", "/Users", nil).want(404)
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "scimward_scim_request_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "tenant" {
					got[l.GetValue()] += m.GetHistogram().GetSampleCount()
				}
			}
		}
	}
	if diff := cmp.Diff(map[string]uint64{"acme": 2, "globex": 1, "": 2}, got); diff != "" {
		t.Errorf("times by tenant (-want +got):\n%s", diff)
	}
}

// TestDeviationsAreReported: the log event and the metric show the deviations of allowed and
// refused requests.
func TestDeviationsAreReported(t *testing.T) {
	s := serve(t, base)
	id := s.createUser("ada")
	const name = "scimward_scim_deviations_total"
	if strings.Contains(s.logs.String(), "deviations") || s.counter(name, "tenant", "acme") != 0 {
		t.Errorf("a plain request has deviations: %s", s.logs)
	}
	s.do("PATCH", "/Users/"+id, ops(op("Replace", "title", "x"), op("Replace", "displayName", "y"))).want(200)
	if !strings.Contains(s.logs.String(), `"deviations":["OP_CASE"]`) || s.counter(name, "code", "OP_CASE") != 1 {
		t.Errorf("allowed: %s", s.logs)
	}
	s.do("PATCH", "/Users/"+id, ops(op("Replace", "", obj{"nothing.here": 1}))).want(400)
	logged := strings.Contains(s.logs.String(), `"deviations":["OP_CASE","PATHLESS"`)
	if !logged || s.counter(name, "code", "OP_CASE") != 2 {
		t.Errorf("refused: %s", s.logs)
	}
}

// TestNewRefusesMissingParts: New rejects missing options and a registry that already has the
// metrics.
func TestNewRefusesMissingParts(t *testing.T) {
	s := serve(t, il1)
	complete := scimhttp.Options{
		Decider: s.decider, Store: s.store,
		TenantOf: func(*http.Request) (string, bool) { return "", false },
		Base:     func(string) string { return "" },
	}
	for name, spoil := range map[string]func(*scimhttp.Options){
		"decider": func(o *scimhttp.Options) { o.Decider = nil },
		"store":   func(o *scimhttp.Options) { o.Store = nil },
		"tenant":  func(o *scimhttp.Options) { o.TenantOf = nil },
		"base":    func(o *scimhttp.Options) { o.Base = nil },
		"metrics": func(o *scimhttp.Options) { o.Metrics = s.metrics },
	} {
		o := complete
		spoil(&o)
		if _, err := scimhttp.New(o); err == nil {
			t.Errorf("%s: New() = nil, want an error", name)
		}
	}
	h, err := scimhttp.New(complete)
	if err != nil {
		t.Fatalf("New(complete options) = %v, want nil", err)
	}
	mux := http.NewServeMux()
	h.Mount(mux)
	for path, want := range map[string]int{"/scim/v2/Users": 404, "/elsewhere": 404} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		ours := w.Header().Get("Content-Type") == "application/scim+json"
		if w.Code != want || ours != strings.HasPrefix(path, "/scim/") {
			t.Errorf("%s: %d, answered by the SCIM service: %v", path, w.Code, ours)
		}
	}
}

// TestErrorsCarryNoInternals: the answer to a fault of this service shows no internals.
func TestErrorsCarryNoInternals(t *testing.T) {
	broken := errors.New("write /var/lib/scimward/000012.vlog: no space left on device")
	fail := false
	s := newService(t, storetest.Open(t, func(o *store.Options) {
		o.Faults.BeforeCommit = func() error {
			if fail {
				return broken
			}
			return nil
		}
	})).start(il1)
	id := s.createUser("ada")
	fail = true
	s.unchanged(func() {
		for _, a := range []*answer{
			s.do("POST", "/Users", person("bob")),
			s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))),
			s.do("DELETE", "/Users/"+id, nil),
		} {
			a.wantError(503, "")
			if a.header.Get("Retry-After") == "" {
				t.Error("Retry-After is empty with 503, want a time")
			}
			for _, word := range []string{"vlog", "/var", "space", "store:", "badger", "goroutine"} {
				if strings.Contains(string(a.raw), word) {
					t.Errorf("the answer shows %q: %s, want no internals", word, a.raw)
				}
			}
		}
	})
	s.do("GET", "/Users/"+id, nil).want(200)
	fail = false
}
