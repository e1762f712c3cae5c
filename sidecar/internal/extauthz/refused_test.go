package extauthz_test

import (
	"context"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
)

func scimCheck(surface string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{"surface": surface, "tenant": "acme", "app": "app"},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "r1", Method: "PATCH", Host: "acme.example", Path: "/scim/v2/Users/u1", RawBody: []byte(`{"a":1}`),
		}},
	}}
}

// TestRefusedIsRecorded: a refusal that Envoy answers is in the audit trail before the client
// has its answer. Unknown clients and other surfaces leave no record.
func TestRefusedIsRecorded(t *testing.T) {
	t.Parallel()
	known := authz.Decision{Status: 403, Reason: "policy", Claims: token.Claims{ClientID: "idp"}}
	for _, row := range []struct {
		name    string
		surface string
		answer  authz.Decision
		want    int
	}{
		{"a known client", "scim", known, 1},
		{"a stranger", "scim", authz.Decision{Status: 401, Reason: "no_token"}, 0},
		{"an application request", "app", known, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			told := make(chan request.Request, 2)
			k := newKit(t, func(o *extauthz.Options) {
				o.Refused = func(_ context.Context, r request.Request, d authz.Decision) {
					if d.Allowed() {
						t.Error("told of an allowed request")
					}
					told <- r
				}
			})
			k.decider.answer = row.answer
			if _, err := authv3.NewAuthorizationClient(k.conn).Check(t.Context(), scimCheck(row.surface)); err != nil {
				t.Fatal(err)
			}
			if len(told) != row.want {
				t.Fatalf("told %d times before the answer, want %d", len(told), row.want)
			}
			if row.want == 1 {
				if r := <-told; r.Tenant != "acme" || r.Method != "PATCH" || len(r.Body) == 0 {
					t.Errorf("told of %+v", r)
				}
			}
		})
	}
}

// TestSlowRecordDoesNotDelayTheAnswer: the refusal is answered unchanged even when its record
// takes longer than the answer may.
func TestSlowRecordDoesNotDelayTheAnswer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	k := newKit(t, func(o *extauthz.Options) {
		o.RefusedWait = time.Millisecond
		o.Refused = func(context.Context, request.Request, authz.Decision) { <-release }
	})
	k.decider.answer = authz.Decision{Status: 403, Reason: "policy", Claims: token.Claims{ClientID: "idp"}}
	res, err := authv3.NewAuthorizationClient(k.conn).Check(t.Context(), scimCheck("scim"))
	if err != nil {
		t.Fatal(err)
	}
	if got := res.GetDeniedResponse().GetStatus().GetCode(); got != 403 {
		t.Errorf("status %v", got)
	}
	close(release)
	k.Wait()
}
