package bundle_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle/bundletest"
)

const stuckFor = `requirements["a"] := {"message": "m"} if {
	input.resource.displayName == "stuck"
	endless
}

requirements["b"] := {"message": "m"} if input.resource.displayName == "bad"

satisfied contains "a" if input.resource.title

`

// TestEndlessComparison: a request whose evaluation does not end gets no verdict, in time. The next ones of its tenant
// get none at once, another tenant gets its verdicts, and one processor is lost. Some seconds later the rules are
// suspended, which other rules end.
func TestEndlessComparison(t *testing.T) {
	if !bundletest.InChild(t) {
		return
	}
	const atOnce = 1800 * time.Millisecond // less than the deadline, also on a busy machine
	e, err := policies.NewEngine(policies.Options{Deadline: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	compile := func(rules string) *policies.Rules {
		r, err := rulesOf(t, nil, rules).Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	good := strings.Replace(stuckFor, "\tendless\n", "", 1)
	other := compile(good)
	rules := compile(stuckFor + bundletest.Endless())
	inForce := func(r *policies.Rules) { e.SetRules(map[string]*policies.Rules{"acme": r, "globex": other}) }
	inForce(rules)
	suspended := make(chan struct{})
	rules.OnSuspend(func() { close(suspended) })
	decide := func(tenant, name string, within time.Duration) policies.Verdict {
		t.Helper()
		in := create(name)
		in.Tenant = tenant
		began := time.Now()
		v := e.Decide(t.Context(), in)
		if took := time.Since(began); took > within {
			t.Errorf("%s %s took %s, want at most %s", tenant, name, took, within)
		}
		return v
	}
	want := func(v policies.Verdict, failure string) {
		t.Helper()
		if v.Allow || v.Failure != failure {
			t.Errorf("%+v, want no verdict: %q", v, failure)
		}
	}
	if v := decide("acme", "bad", atOnce); v.Allow || len(v.Violations) != 1 {
		t.Errorf("before: %+v, want a violation", v)
	}
	second := make(chan policies.Verdict, 1)
	go func() { second <- e.Decide(t.Context(), create("stuck")) }()
	// One of the two has the lane first and gets stuck. The other waits for it, until its deadline or until that is known.
	both := []policies.Verdict{decide("acme", "stuck", 4*time.Second), <-second}
	stuck := 0
	for _, v := range both {
		switch {
		case v.Failure == policies.FailureStuck:
			stuck++
		case v.Failure != policies.FailureDeadline:
			t.Errorf("%+v, want no verdict", v)
		}
	}
	if stuck == 0 || both[0].Allow || both[1].Allow {
		t.Errorf("%+v, want one that is stuck, and none allowed", both)
	}
	want(decide("acme", "good", atOnce), policies.FailureStuck)
	if v := decide("globex", "bad", atOnce); v.Allow || len(v.Violations) != 1 {
		t.Errorf("the other tenant: %+v, want a violation", v)
	}
	if got := rules.Unjudged(); got.Requests != 3 {
		t.Errorf("%+v, want 3 requests without a verdict", got)
	}
	<-suspended
	if s := rules.Suspended(); s.Since.IsZero() || s.Restart {
		t.Errorf("%+v, want a suspension that other rules end", s)
	}
	want(decide("acme", "good", atOnce), policies.FailureStuck)
	doc, err := policies.ParseDocument([]byte(`{"method": "POST", "resource": {"displayName": "good"}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Explain(t.Context(), "rfc7644", rules, doc)
	if err == nil || !strings.Contains(err.Error(), policies.FailureStuck) {
		t.Errorf("explained as %v", err)
	}
	inForce(compile(good))
	if v := decide("acme", "bad", atOnce); v.Allow || len(v.Violations) != 1 {
		t.Errorf("with other rules: %+v, want a violation", v)
	}
}

// TestEndlessTrial: rules that get stuck in their own tests, or on a request without content, do not come into force.
func TestEndlessTrial(t *testing.T) {
	if !bundletest.InChild(t) {
		return
	}
	always := strings.Replace(stuckFor, "\tinput.resource.displayName == \"stuck\"\n", "", 1) + bundletest.Endless()
	_, err := rulesOf(t, nil, always).Rules(t.Context())
	if stage(err) != "smoke" || !strings.Contains(err.Error(), policies.FailureStuck) {
		t.Errorf("on a request without content: %v", err)
	}
	test := fstest.MapFS{"policy/b_test.rego": {Data: []byte("package policy.test\n\nimport data.policy\n\n" +
		"test_stuck if policy.endless with input as {\"method\": \"POST\"}\n\ntest_good if policy.requirements\n")}}
	_, err = rulesOf(t, test, stuckFor+bundletest.Endless()).Compile(t.Context())
	if stage(err) != "test" || !strings.Contains(err.Error(), "a test does not end") {
		t.Errorf("in a test: %v", err)
	}
}
