package policies_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// facts are the Facts of a test.
type facts struct {
	groups, counts, members int // how often each was asked
	exact                   int // of members
	err                     error
}

func (f *facts) Members(exact bool) (policies.Members, error) {
	if f.members++; exact {
		f.exact++
	}
	return policies.Members{Stored: 2, Result: 3}, f.err
}

func (f *facts) Groups(limit int) (policies.Groups, error) {
	f.groups++
	return policies.Groups{List: []policies.Group{{ID: "G1", DisplayName: "Breakglass"}}, Complete: limit > 1}, f.err
}

func (f *facts) Counts() (policies.Counts, error) {
	f.counts++
	nine := policies.Recent{Minute: 1, TenMinutes: 9, Hour: 10}
	return policies.Counts{Users: 200, Deactivations: nine, Complete: true}, f.err
}

// withRules returns an engine that applies rules to acme, and a write whose change is known.
func withRules(t *testing.T, rego string) (*policies.Engine, *policies.Input, *facts) {
	t.Helper()
	r, err := bundleRules(t, rego)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t)
	e.SetRules(map[string]*policies.Rules{"acme": r})
	f := &facts{}
	in := request("rfc7644", "DELETE /Users/{id}")
	in.ResourceType, in.ResourceID, in.Stored, in.Facts = "User", "U1", scim.Object{"userName": "ada"}, f
	in.Received = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	return e, in, f
}

// TestFactsAreLazy: the engine asks only for what the compiled rules refer to, once for a decision, and only for the
// decision on the change. The decision on the request is late then.
func TestFactsAreLazy(t *testing.T) {
	tests := []struct {
		name, condition string
		late            bool
		groups, counts  int
	}{
		{"nothing", `input.method == "DELETE"`, false, 0, 0},
		{"stored", `input.stored.userName == "ada"`, true, 0, 0},
		{"received", `input.received == "2026-03-01T08:00:00Z"`, true, 0, 0},
		{"groups", `some g in input.groups; g.displayName == "Breakglass"; count(input.groups) == 1`, true, 1, 0},
		{"complete", `input.groups_complete`, true, 1, 0},
		{"counts", `input.counts.deactivations["10m"] * 100 / input.counts.users < 5; input.counts.complete`, true, 0, 1},
		{"everything", `count(object.keys(input)) > 3`, true, 1, 1},
		{"by a variable", `some k; k == "groups"; input[k][0].id == "G1"`, true, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, in, f := withRules(t, need(tt.condition))
			if v := e.Decide(t.Context(), in); v.Later != tt.late || !v.Allow || f.groups+f.counts != 0 {
				t.Errorf("the request: %+v, asked %+v, want later %v and no question", v, f, tt.late)
			}
			in.Final = true
			if v := e.Decide(t.Context(), in); v.Later || !v.Allow || v.Failure != "" {
				t.Errorf("the change: %+v, want allow", v)
			}
			if f.groups != tt.groups || f.counts != tt.counts {
				t.Errorf("asked %+v, want groups %d and counts %d", f, tt.groups, tt.counts)
			}
			in.Tenant = "globex"
			if e.Decide(t.Context(), in); f.groups != tt.groups || f.counts != tt.counts {
				t.Errorf("asked for a tenant without rules: %+v", f)
			}
		})
	}
}

// TestFactsFail: without an answer of the store there is no verdict.
func TestFactsFail(t *testing.T) {
	for _, condition := range []string{
		`count(input.groups) == 1`, `input.counts.users == 200`, `input.member_count.result == 3`,
	} {
		e, in, f := withRules(t, need(condition))
		in.ResourceType, in.Final, f.err = "Group", true, errors.New("closed")
		if v := e.Decide(t.Context(), in); v.Allow || v.Failure != policies.FailureFacts {
			t.Errorf("%s: %+v, want %q", condition, v, policies.FailureFacts)
		}
	}
}

// TestMemberCount: a rule reads how many members a group has, exactly, and of a user there is no such number. A
// recording asks for the same numbers without a lock on them.
func TestMemberCount(t *testing.T) {
	e, in, f := withRules(t, need(`input.member_count == {"stored": 2, "result": 3}`))
	if v := e.Decide(t.Context(), in); !v.Later || f.members != 0 {
		t.Errorf("the request: %+v, asked %+v, want later and no question", v, f)
	}
	in.Final = true
	if v := e.Decide(t.Context(), in); v.Allow || f.members != 0 {
		t.Errorf("a user: %+v, asked %+v", v, f)
	}
	in.ResourceType, in.Route = "Group", "DELETE /Groups/{id}"
	if v := e.Decide(t.Context(), in); !v.Allow || f.members != 1 || f.exact != 1 {
		t.Errorf("a group: %+v, asked %+v, want allow and one exact question", v, f)
	}
	in.Members = nil
	doc, err := e.InputDocument(in)
	if err != nil || !strings.Contains(string(doc), `"member_count":{"result":3,"stored":2}`) || f.members != 2 || f.exact != 1 {
		t.Errorf("recorded %s %v, asked %+v, want the numbers and no exact question", doc, err, f)
	}
}

// TestTenantMemo: the rules of a tenant are remembered for requests without a body, unless they read the time.
func TestTenantMemo(t *testing.T) {
	for condition, varies := range map[string]bool{
		`input.resource_id == "U1"`: true, `input.received < "2026-03-01T09:00:00Z"`: true, `input.method == "GET"`: false,
	} {
		e, in, _ := withRules(t, need(condition))
		in.Method, in.Route, in.Stored, in.Facts = "GET", "GET /Users/{id}", nil, nil
		for range 3 {
			if v := e.Decide(t.Context(), in); !v.Allow || v.Later {
				t.Fatalf("%s: %+v, want allow", condition, v)
			}
			other := *in
			other.ResourceID, other.Received = "U2", in.Received.Add(2*time.Hour)
			if v := e.Decide(t.Context(), &other); v.Allow == varies || v.Failure != "" {
				t.Fatalf("%s: another request: %+v, want allow %v", condition, v, !varies)
			}
		}
	}
	e, in, _ := withRules(t, need(`input.method == "GET"`))
	in.Method, in.Route, in.Stored, in.Facts = "GET", "GET /Users/{id}", nil, nil
	e.Decide(t.Context(), in)
	remembered := testing.AllocsPerRun(100, func() { e.Decide(t.Context(), in) })
	if remembered > 25 {
		t.Errorf("a remembered read allocates %v times: it was judged again", remembered)
	}
}
