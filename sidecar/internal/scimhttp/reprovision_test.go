package scimhttp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/subject"
)

func reactivates(o *scimhttp.Options) { o.Reactivates = func(string) bool { return true } }

// leaver makes an inactive user and returns the id.
func (s *service) leaver(name string) string {
	s.t.Helper()
	id := s.createUser(name)
	s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))).want(200)
	return id
}

// TestReprovisionIsRefused: by default a POST of an inactive user is 409, and says what to do. It leaves the
// user inactive.
func TestReprovisionIsRefused(t *testing.T) {
	s := serve(t, il1)
	id := s.leaver("ada")
	a := s.do("POST", "/Users", person("ada"))
	a.wantError(409, "uniqueness")
	if !strings.Contains(a.str("detail"), "tenants[].reprovision: reactivate") {
		t.Errorf("detail %q, want the setting", a.str("detail"))
	}
	if a := s.do("GET", "/Users/"+id, nil).want(200); a.body["active"] != false {
		t.Errorf("active %v, want false", a.body["active"])
	}
	other := s.createUser("bob")
	if d := s.do("POST", "/Users", person("bob")).want(409).str("detail"); strings.Contains(d, "inactive") {
		t.Errorf("of active user %s: detail %q", other, d)
	}
}

// TestReprovisionReactivates: where the tenant chose it, the POST activates the user with the same userName and
// externalId: the same id, the attributes of the POST, a lifted lock that keeps refusing old credentials, and one
// audit record.
func TestReprovisionReactivates(t *testing.T) {
	s := serve(t, il1, reactivates)
	id := s.leaver("ada")
	s.do("PATCH", "/Users/"+id, ops(op("replace", "title", "Analyst"))).want(200)
	again := person("ADA")
	again["externalId"] = person("ada")["externalId"]
	again["nickName"] = "Countess"
	before := len(s.records())
	a := s.do("POST", "/Users", again).want(201)
	if a.id() != id || a.body["active"] != true || a.str("nickName") != "Countess" || a.body["title"] != nil {
		t.Errorf("the answer is %s, want user %s with the attributes of the POST", a.raw, id)
	}
	if want := "https://acme.test/scim/v2/Users/" + id; a.header.Get("Location") != want {
		t.Errorf("Location %q, want %q", a.header.Get("Location"), want)
	}
	l, found := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id})
	if !found || l.State != store.LockLifted || l.Epoch != 1 {
		t.Errorf("lock %+v, want the lifted one of epoch 1", l)
	}
	r := s.last()
	if len(s.records()) != before+1 || r.Action != "user.reactivate" || r.Resource != id || r.Outcome != audit.OutcomeDone ||
		!slices.Contains(r.Attrs, "active") || !strings.Contains(r.Detail, "lock lifted") {
		t.Errorf("%d new records, the last %+v, want one of the reactivation", len(s.records())-before, r)
	}
	s.do("POST", "/Users", again).wantError(409, "uniqueness") // active now
}

// TestReprovisionNeedsTheSamePerson: another externalId, none, or an inactive user in the POST do not
// reactivate anybody.
func TestReprovisionNeedsTheSamePerson(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(obj)
	}{
		{"another externalId", func(p obj) { p["externalId"] = "someone-else" }},
		{"externalId in other letters", func(p obj) { p["externalId"] = strings.ToUpper(p["externalId"].(string)) }},
		{"no externalId", func(p obj) { delete(p, "externalId") }},
		{"inactive", func(p obj) { p["active"] = false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, base, reactivates)
			id := s.leaver("ada")
			again := person("ada")
			tt.change(again)
			s.do("POST", "/Users", again).wantError(409, "uniqueness")
			if a := s.do("GET", "/Users/"+id, nil).want(200); a.body["active"] != false {
				t.Errorf("active %v, want false", a.body["active"])
			}
		})
	}
}

// TestReprovisionKeepsOperatorLock: an operator's lock refuses the person after the reactivation too.
func TestReprovisionKeepsOperatorLock(t *testing.T) {
	s := serve(t, il1, reactivates)
	id := s.leaver("ada")
	name := person("ada")["userName"].(string)
	cause := store.Cause{Actor: "operator:0", RequestID: "r", Action: "operator.lock", Decision: "operator", Reason: "x"}
	if _, err := s.store.LockByOperator(t.Context(), "acme", cause, name, time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	s.do("POST", "/Users", person("ada")).want(201)
	l, found := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id})
	if !found || !l.Refuses(time.Now().Add(time.Hour)) {
		t.Errorf("lock %+v, want one that refuses new credentials", l)
	}
}

// vetoes is a policy that lets nobody become active again.
type vetoes struct{ scimhttp.Decider }

func (v vetoes) DecideResult(ctx context.Context, req *authz.SCIMRequest, c authz.Change) authz.Decision {
	if !c.Stored.Bool("active", true) && c.Result.Bool("active", true) {
		return authz.Decision{Status: 403, Reason: authz.ReasonPolicy, Detail: "VETO: ask the security team"}
	}
	return v.Decider.DecideResult(ctx, req, c)
}

// TestReprovisionVeto: a rule about the result may refuse the reactivation, which then changes nothing.
func TestReprovisionVeto(t *testing.T) {
	s := serve(t, il1, reactivates, func(o *scimhttp.Options) { o.Decider = vetoes{o.Decider} })
	id := s.leaver("ada")
	s.do("POST", "/Users", person("ada")).want(403)
	if a := s.do("GET", "/Users/"+id, nil).want(200); a.body["active"] != false {
		t.Errorf("active %v, want false", a.body["active"])
	}
	if r := s.last(); r.Outcome != audit.OutcomeRefused || r.Resource != id {
		t.Errorf("the last record is %+v, want the refusal", r)
	}
}

// TestReprovisionRace: of several POSTs of one leaver, one reactivates, and the others are 409.
func TestReprovisionRace(t *testing.T) {
	s := serve(t, il1, reactivates)
	for round := range 5 {
		name := fmt.Sprintf("racer%d", round)
		id := s.leaver(name)
		got := parallel(6, func(int) int { return s.do("POST", "/Users", person(name)).status })
		slices.Sort(got)
		if want := []int{201, 409, 409, 409, 409, 409}; !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		if a := s.do("GET", "/Users/"+id, nil).want(200); a.body["active"] != true {
			t.Errorf("active %v, want true", a.body["active"])
		}
	}
	if n := s.do("GET", "/Users?count=0", nil).total(); n != 5 {
		t.Errorf("%d users, want 5", n)
	}
}
