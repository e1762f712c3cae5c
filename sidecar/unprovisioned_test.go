package sidecar_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
)

// syncBuffer is a log that goroutines share.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestUnprovisioned: without a word in the configuration a stranger is denied, with observe allowed.
// The status names both, the log neither, and the audit trail the exempt account, at the start and
// once when it is used.
func TestUnprovisioned(t *testing.T) {
	log := &syncBuffer{}
	r := startLogging(t, base+"        hosts: [app.example.com]\n        exempt: [break-glass]\n"+`      - name: before
        upstream: http://127.0.0.1:3001
        hosts: [before.example.com]
        unprovisioned: observe
        subjects: [{header: x-user, is: user_name}]
`, slog.New(slog.NewJSONHandler(log, nil)))
	for _, row := range []struct {
		app, host, user string
		code            int32
	}{
		{"app", "app.example.com", "carl", 403},
		{"app", "app.example.com", "break-glass", 0},
		{"app", "app.example.com", "BREAK-glass", 0},
		{"app", "app.example.com", "", 0},
		{"before", "before.example.com", "carl", 0},
	} {
		if got := r.ask(row.app, row.host, row.user); got != row.code {
			t.Errorf("%s as %q: %d, want %d", row.app, row.user, got, row.code)
		}
	}
	status := r.status()
	if u := status.Unprovisioned; len(u) != 2 || u[0].Mode != "deny" || u[1].Mode != "observe" ||
		u[0].Requests["denied"] != 1 || u[0].Requests["exempt"] != 2 || u[1].Requests["observed"] != 1 ||
		len(u[1].Examples) != 1 || u[1].Examples[0].Name != "carl" {
		t.Errorf("status %+v, want each stranger", u)
	}
	if _, metrics := r.get("/metrics"); !strings.Contains(metrics,
		`scimward_unprovisioned_requests_total{app="before",outcome="observed",tenant="acme"} 1`) {
		t.Error("the metric does not count the observed request")
	}
	if err := r.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	for _, name := range []string{"carl", "break-glass"} {
		if strings.Contains(strings.ToLower(log.String()), name) {
			t.Errorf("the log names %s:\n%s", name, log)
		}
	}
	if !strings.Contains(log.String(), "`scimward status` shows examples") ||
		!strings.Contains(log.String(), `"unprovisioned":"observed"`) {
		t.Errorf("the log does not say how to see who it was:\n%s", log)
	}
	exemptions(t, r.cfg, "app.exempt.configured", "app.exempt.used")
}

// exemptions checks the actions of the audit records that name the exempt account.
func exemptions(t *testing.T, cfg *config.Config, want ...string) {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{
		Dir: sidecar.StoreDir(cfg), Tenants: map[string]store.TenantOptions{"acme": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var got []string
	err = st.View(t.Context(), "acme", func(r *store.Reader) error {
		return r.Audit(func(rec audit.Record) bool {
			if strings.Contains(rec.Detail, "break-glass") {
				got = append(got, rec.Action)
			}
			return true
		})
	})
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("audited %q %v, want %q", got, err, want)
	}
}

// ask asks about a request of a user and returns the status of the refusal, 0 if there is none.
func (r *running) ask(app, host, user string) int32 {
	r.t.Helper()
	c, err := grpc.NewClient(r.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	at := map[string]string{"app": "localhost:3000", "before": "localhost:3001"}[app]
	declared := append(passes.New([]string{"x-user"}, nil, nil), passes.Upstream(at)).String()
	headers := map[string]string{}
	if user != "" {
		headers["x-user"] = user
	}
	res, err := authv3.NewAuthorizationClient(c).Check(r.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{"surface": "app", "tenant": "acme", "app": app, "passes": declared},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Path: "/", Host: host, Headers: headers,
			}},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if res.GetOkResponse() != nil {
		return 0
	}
	denied := res.GetDeniedResponse()
	if denied == nil {
		denied = res.GetErrorResponse() // of a fault
	}
	return int32(denied.GetStatus().GetCode())
}
