package scimhttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
)

type deciderFunc func(context.Context, request.Request) authz.Decision

func (f deciderFunc) Decide(ctx context.Context, r request.Request) authz.Decision { return f(ctx, r) }

func (f deciderFunc) DecideResult(context.Context, *authz.SCIMRequest, authz.Change) authz.Decision {
	return authz.Decision{}
}

func deciderPanics(with any) func(*scimhttp.Options) {
	return func(o *scimhttp.Options) {
		o.Decider = deciderFunc(func(context.Context, request.Request) authz.Decision { panic(with) })
	}
}

// TestPanicIsAnswered: a panic is a SCIM 500 and an error event with the route and the
// place. The panic's text appears nowhere.
func TestPanicIsAnswered(t *testing.T) {
	var decider scimhttp.Decider // stays nil
	for _, row := range []struct {
		name, method, path, route, at string
		edit                          func(*scimhttp.Options)
	}{
		{"text", "GET", "/Users/u1", "GET /Users/{id}", "scimhttp_test.", deciderPanics("planted-secret")},
		{"error", "PATCH", "/Groups/g1", "PATCH /Groups/{id}", "scimhttp_test.", deciderPanics(errors.New("planted-secret"))},
		{"out of range", "POST", "/Users", "POST /Users", "scimhttp_test.", func(o *scimhttp.Options) {
			o.Decider = deciderFunc(func(context.Context, request.Request) authz.Decision {
				return make([]authz.Decision, 0, 1)[:0][len(o.Base("x"))]
			})
		}},
		{"nil", "DELETE", "/Users/u1", "DELETE /Users/{id}", "scimhttp_test.", func(o *scimhttp.Options) {
			o.Decider = deciderFunc(func(context.Context, request.Request) authz.Decision {
				return decider.Decide(t.Context(), request.Request{})
			})
		}},
		{"while answering", "GET", "/Users", "GET /Users", "scimhttp_test.", func(o *scimhttp.Options) {
			o.Base = func(string) string { panic("planted-secret") }
		}},
		{"before the tenant", "GET", "/Users", "GET /Users", "scimhttp_test.", func(o *scimhttp.Options) {
			o.TenantOf = func(*http.Request) (string, bool) { panic("planted-secret") }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, base, row.edit)
			var sent any
			if row.method == "POST" || row.method == "PATCH" {
				sent = obj{}
			}
			a := s.do(row.method, row.path, sent).wantError(500, "")
			log := s.logs.String()
			if strings.Contains(string(a.raw)+log, "planted") || strings.Contains(string(a.raw), ".go") {
				t.Errorf("the panic's text appears: %s\n%s", a.raw, log)
			}
			for _, want := range []string{
				`"level":"ERROR"`, `"msg":"scim request"`, `"route":"` + row.route + `"`, `"status":500`, `"reason":"panic"`,
				"panic at ", row.at,
			} {
				if !strings.Contains(log, want) {
					t.Errorf("the event lacks %s: %s", want, log)
				}
			}
			if n := strings.Count(log, "\n"); n != 1 {
				t.Errorf("%d events: %s", n, log)
			}
		})
	}
}

// panicking is a connection that panics after the header is sent.
type panicking struct{ http.ResponseWriter }

func (panicking) Write([]byte) (int, error) { panic("planted-secret") }

// TestPanicAfterTheHeader: an answer that has begun is aborted, not completed.
func TestPanicAfterTheHeader(t *testing.T) {
	s := serve(t, base)
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the value itself is the protocol of net/http
			t.Errorf("the server recovers %v", p)
		}
		log := s.logs.String()
		if !strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, `"reason":"panic"`) ||
			strings.Contains(log, "planted") {
			t.Errorf("event %s", log)
		}
	}()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/scim/v2/ServiceProviderConfig", nil)
	r.Host = "acme.test"
	r.Header.Set("Authorization", "Bearer acme-token")
	s.server.Config.Handler.ServeHTTP(panicking{httptest.NewRecorder()}, r)
	t.Error("ServeHTTP returned, want a panic with http.ErrAbortHandler")
}
