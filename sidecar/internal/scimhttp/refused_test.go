package scimhttp_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

func (s *service) refusals() (all []store.Refusal) {
	s.view(func(r *store.Reader) error {
		return r.EachRefusal(func(f store.Refusal) bool { all = append(all, f); return true })
	})
	return all
}

// TestRefusedDeactivationIsListed: a PATCH, PUT or DELETE of an active user that asks to end the access
// and is refused is listed, whatever the reason. Anything else is not.
func TestRefusedDeactivationIsListed(t *testing.T) {
	active := func(v any) any { return ops(op("replace", "active", v)) }
	tests := []struct {
		name, method string
		body         any
		status       int
		asked        store.Asked // empty: not listed
	}{
		{"False of Entra", "PATCH", active("False"), 400, store.AskedDeactivate},
		{"with a blank", "PATCH", active("False "), 400, store.AskedDeactivate},
		{"zero", "PATCH", active(0), 400, store.AskedDeactivate},
		{"in a document", "PUT", obj{"userName": "ada", "active": "False"}, 400, store.AskedDeactivate},
		{"no JSON", "PATCH", `{"Operations":[{"op":"replace","path":"active","value":false}`, 400, store.AskedDeactivate},
		{"beside a fault", "PATCH", ops(op("replace", "active", false), op("replace", "unknown", "x")), 400, store.AskedDeactivate},
		{"misspelt", "PATCH", ops(op("replace", "actve", false)), 400, store.AskedDeactivate},
		{"another directory's name", "PATCH", ops(op("add", "", obj{"isSuspended": true})), 400, store.AskedDeactivate},
		{"too large", "PATCH", `{"x":"` + strings.Repeat("x", 2<<20) + `"}`, 413, store.AskedUnseen},
		{"a delete with a body", "DELETE", obj{"a": 1}, 400, store.AskedDelete},
		{"an activation", "PATCH", active("True"), 400, ""},
		{"another attribute", "PATCH", ops(op("replace", "unknown", false)), 400, ""},
		{"a read", "GET", obj{"active": false}, 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, il1)
			id := s.createUser("ada")
			s.do(tt.method, "/Users/nobody", tt.body)
			for range 3 {
				s.do(tt.method, "/Users/"+id, tt.body).want(tt.status)
			}
			all := s.refusals()
			if tt.asked == "" {
				if len(all) != 0 {
					t.Errorf("%+v, want none", all)
				}
				return
			}
			if len(all) != 1 || all[0].UserID != id || all[0].UserName != "ada@acme.example" || all[0].ClientID != "idp-acme" ||
				all[0].Asked != tt.asked || all[0].Status != tt.status || all[0].Reason == "" || all[0].Count != 3 ||
				all[0].First.IsZero() || all[0].Last.Before(all[0].First) {
				t.Fatalf("%+v, want one of ada, three times", all)
			}
			s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))).want(200)
			if all = s.refusals(); len(all) != 0 {
				t.Errorf("%+v after the deactivation, want none", all)
			}
		})
	}
}

// TestRefusedByTheProxyIsListed: so is what Envoy's Check refuses, with the body that it saw.
func TestRefusedByTheProxyIsListed(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	d := authz.Decision{Status: 400, Reason: "body"}
	r := request.Request{
		Surface: request.SurfaceSCIM, Tenant: "acme", Method: "PATCH", Path: "/scim/v2/Users/" + id,
		Body: []byte(`{"active":"False"}`),
	}
	s.handler.Refused(t.Context(), r, d)
	if all := s.refusals(); len(all) != 0 {
		t.Errorf("of a stranger: %+v, want none", all)
	}
	d.Claims = client("idp", "j1")
	s.handler.Refused(t.Context(), r, d)
	if all := s.refusals(); len(all) != 1 || all[0].UserID != id || all[0].Asked != store.AskedDeactivate {
		t.Errorf("%+v, want one", all)
	}
}

// TestThrottledDeactivationIsListed: above the rate limit of the client or of the audit records, refused
// deactivations wait and are listed later, each user once.
func TestThrottledDeactivationIsListed(t *testing.T) {
	s := serve(t, il1, func(o *scimhttp.Options) {
		o.RateOf = func(string, string, string) (rate.Limit, int) { return 0.001, 6 }
	})
	var ids []string
	for i := range 3 {
		ids = append(ids, s.createUser(fmt.Sprintf("u%d", i)))
	}
	s.bound(func(b *scimhttp.Bounds) { b.RefusalRate, b.RefusalBurst = 0.001, 1 })
	for _, id := range ids { // the first is recorded at once, the others wait for the limit of audit records
		s.do("PATCH", "/Users/"+id, ops(op("replace", "active", "False"))).want(400)
	}
	for _, id := range ids {
		s.do("DELETE", "/Users/"+id, nil).want(429)
	}
	if n := len(s.refusals()); n != 1 {
		t.Errorf("%d listed at once, want 1", n)
	}
	s.handler.Flush(t.Context())
	all := s.refusals()
	if len(all) != 3 {
		t.Fatalf("%+v, want three", all)
	}
	for _, f := range all {
		if f.Count != 2 || f.Status != 429 || f.Asked != store.AskedDelete {
			t.Errorf("%+v, want two requests, the last answered 429", f)
		}
	}
}

// TestRefusedWhileTheDiskIsFull: a deactivation that the store cannot take is listed when it can write
// again.
func TestRefusedWhileTheDiskIsFull(t *testing.T) {
	full := false
	s := newService(t, storetest.Open(t, func(o *store.Options) {
		o.Faults.BeforeCommit = func() error {
			if full {
				return store.ErrUnavailable
			}
			return nil
		}
	})).start(il1)
	id := s.createUser("ada")
	full = true
	s.do("DELETE", "/Users/"+id, nil).want(503)
	s.handler.Flush(t.Context())
	if n := len(s.refusals()); n != 0 {
		t.Errorf("%d listed while the disk is full, want none", n)
	}
	full = false
	s.handler.Flush(t.Context())
	if all := s.refusals(); len(all) != 1 || all[0].Status != 503 || all[0].Count != 1 {
		t.Errorf("%+v, want one answered 503", all)
	}
}
