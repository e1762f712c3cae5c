package admin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/store"
)

// refuse records a refused deactivation.
func (s *service) refuse(user, client string, at time.Time) {
	s.update(func(tx *store.Tx) error {
		_, err := tx.Refuse(store.Refusal{
			UserID: user, ClientID: client, Asked: store.AskedDeactivate, Status: 400, Reason: "body", RequestID: "r1",
			First: at, Last: at, Count: 1,
		})
		return err
	})
}

// TestStatusListsRefusedDeactivations: the status lists users who are still in because a deactivation was
// refused, the oldest first and at most 20, and no longer when they are out.
func TestStatusListsRefusedDeactivations(t *testing.T) {
	s := newService(t)
	at := s.now.UTC().Round(0)
	var ids []string
	for i := range 24 {
		ids = append(ids, s.create(fmt.Sprintf("u%d", i)))
		s.refuse(ids[i], "idp", at.Add(-time.Duration(i)*time.Minute))
	}
	st := s.status()
	oldest := admin.RefusedDeactivation{
		Tenant: "acme", User: ids[23], UserName: "u23", Client: "idp", Asked: "deactivate", Status: 400, Reason: "body",
		RequestID: "r1", First: at.Add(-23 * time.Minute), Last: at.Add(-23 * time.Minute), Count: 1,
	}
	if len(st.Refused) != 20 || st.MoreRefused != 4 || st.Refused[0] != oldest {
		t.Errorf("%d and %d more, first %+v, want 20, 4 and %+v", len(st.Refused), st.MoreRefused, st.Refused[0], oldest)
	}
	if a := st.Tenants[0]; a.Refused != 24 || a.RefusedFull || st.Tenants[1].Refused != 0 {
		t.Errorf("acme %+v, want 24 users and globex none", a)
	}
	for _, id := range ids {
		s.update(func(tx *store.Tx) error { return tx.DeleteUser(id) })
	}
	if st = s.status(); len(st.Refused) != 0 || st.Tenants[0].Refused != 0 {
		t.Errorf("%+v after the deletions, want none", st.Refused)
	}
}

// TestEvidenceNamesRefusals: who asks for the evidence of an active user learns that a deactivation was
// refused.
func TestEvidenceNamesRefusals(t *testing.T) {
	s := newService(t)
	id := s.create("eve")
	s.refuse(id, "idp", s.now)
	isProblem(t, s.get("/v1/tenants/acme/evidence/eve"), 404, "1 requests to deactivate or delete the user were refused")
}

// TestDismissRefused: an operator takes a refused deactivation off the list, by id or any name, with a
// reason that goes into the audit trail.
func TestDismissRefused(t *testing.T) {
	s := newService(t)
	const path = "/v1/tenants/acme/refused/dismiss"
	for _, who := range []string{"id", "name", "external id"} {
		name := "eve-" + who
		id := s.create(name)
		s.refuse(id, "idp", s.now)
		s.refuse(id, "hr", s.now)
		user := id
		switch who {
		case "name":
			user = strings.ToUpper(name)
		case "external id":
			user = "x-1"
			s.update(func(tx *store.Tx) error {
				u, err := tx.User(id)
				if err == nil {
					u.Resource["externalId"] = user
					_, err = tx.UpdateUser(&u)
				}
				return err
			})
		}
		isProblem(t, s.do("POST", path, fmt.Sprintf(`{"user":%q}`, user)), 400, "a reason is required")
		isProblem(t, s.do("POST", path, fmt.Sprintf(`{"user":%q,"client":"other","reason":"x"}`, user)), 404, "no refused deactivation")
		isProblem(t, s.do("POST", "/v1/tenants/globex/refused/dismiss", fmt.Sprintf(`{"user":%q,"reason":"x"}`, user)), 404, "no refused deactivation")
		for i, client := range []string{"hr", ""} {
			w := s.do("POST", path, fmt.Sprintf(`{"user":%q,"client":%q,"reason":"a test user"}`, user, client), admin.HeaderOperator, "ada")
			var out admin.Dismissed
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 || out.User != id || out.Requests != 1 {
				t.Errorf("%d %s %v, want 200 with %s and one request", w.Code, w.Body, err, id)
			}
			if n := len(s.status().Refused); n != 1-i {
				t.Errorf("%d left, want %d", n, 1-i)
			}
		}
		if err := s.store.View(t.Context(), "acme", func(r *store.Reader) error {
			recs, err := r.AuditOf(id)
			last := recs[len(recs)-1]
			if last.Action != "refused.dismiss" || !strings.HasPrefix(last.Actor, "operator:") || last.Reason != "a test user" {
				t.Errorf("audit %+v, want the operator and the reason", last)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		isProblem(t, s.do("POST", path, fmt.Sprintf(`{"user":%q,"reason":"again"}`, user)), 404, "no refused deactivation")
	}
}

// TestReadyIsNotTheStatus: readiness is about the components only.
func TestReadyIsNotTheStatus(t *testing.T) {
	s := newService(t)
	s.jobs(s.id, 1, func(j *store.Job) { j.State, j.Code, j.Message = store.JobFailed, "gave_up", "the API answers 500" })
	ask := func() (out admin.Readiness) {
		if err := json.Unmarshal(s.get("/v1/ready").Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if r := ask(); !r.Ready || len(r.Components) != 1 {
		t.Errorf("%+v with a failed job and a plugin with an error, want ready", r)
	}
	st := s.status()
	if k := st.Leavers[0].Kinds[0]; k.Message != "the API answers 500" || st.Tenants[0].Failed != 1 {
		t.Errorf("kind %+v, want the message of the failed job", k)
	}
	s.components[0].Ready = false
	if r := ask(); r.Ready {
		t.Errorf("%+v without the store, want not ready", r)
	}
}
