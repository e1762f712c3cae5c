package policies_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// echo allows only when the rule holds, so that a verdict of another input shows.
func echo(t *testing.T, rule string) *policies.Engine {
	t.Helper()
	e, err := policies.NewTestEngine(policies.Options{Deadline: time.Minute}, policies.Profile{
		Name: "echo", Entrypoint: "data.echo.verdict", Files: map[string]string{"echo.rego": `package echo

verdict := {"allow": true, "violations": []} if _holds

verdict := {"allow": false, "violations": [{"rule": "r", "op": -1, "message": "m", "fix": "f", "status": 400, "scimType": ""}]} if not _holds

` + rule},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func read(tb testing.TB) *policies.Input {
	tb.Helper()
	return &policies.Input{
		Profile: "echo", Tenant: "acme", Method: "GET", Route: "GET /Users", ResourceType: "User", ResourceID: "u1",
		Client: policies.Client{ID: "idp", Issuer: "https://as.example", Scopes: []string{"scim"}},
		Query:  &scim.Query{Filter: parseFilter(tb, `userName eq "a"`), Attributes: []string{"a"}, Excluded: []string{"b"}},
	}
}

// TestMemoTellsInputsApart changes one field at a time: only an equal request gets a
// remembered verdict, whatever a rule reads.
func TestMemoTellsInputsApart(t *testing.T) {
	tests := []struct {
		name, rule string
		change     func(*policies.Input)
	}{
		{"tenant", `_holds if input.tenant == "acme"`, func(in *policies.Input) { in.Tenant = "globex" }},
		{"client", `_holds if input.client.id == "idp"`, func(in *policies.Input) { in.Client.ID = "other" }},
		{"issuer", `_holds if input.client.issuer == "https://as.example"`, func(in *policies.Input) { in.Client.Issuer = "x" }},
		{"scopes", `_holds if input.client.scopes == ["scim"]`, func(in *policies.Input) { in.Client.Scopes = []string{"scim", "x"} }},
		{"no scopes", `_holds if input.client.scopes == ["scim"]`, func(in *policies.Input) { in.Client.Scopes = nil }},
		{"method", `_holds if input.method == "GET"`, func(in *policies.Input) { in.Method = "HEAD" }},
		{"route", `_holds if input.route == "GET /Users"`, func(in *policies.Input) { in.Route = "GET /Groups" }},
		{"resource type", `_holds if input.resource_type == "User"`, func(in *policies.Input) { in.ResourceType = "Group" }},
		{"id", `_holds if input.resource_id == "u1"`, func(in *policies.Input) { in.ResourceID = "u2" }},
		{"id by a variable", `_holds if { some k; k == "resource_id"; input[k] == "u1" }`, func(in *policies.Input) { in.ResourceID = "u2" }},
		{"id through the whole input", `_holds if { x := input; x.resource_id == "u1" }`, func(in *policies.Input) { in.ResourceID = "u2" }},
		{"id through a function", "_holds if _f(input)\n\n_f(x) if x.resource_id == \"u1\"", func(in *policies.Input) { in.ResourceID = "u2" }},
		{"id in a comprehension", `_holds if count([k | input[k] == "u1"]) == 1`, func(in *policies.Input) { in.ResourceID = "u2" }},
		{"dialect", `_holds if not input.modes["IL1-3.3.3-op"]`, func(in *policies.Input) { in.Dialect = entra(t) }},
		{"filter", "_holds if input.query.filter == `userName eq \"a\"`", func(in *policies.Input) { in.Query.Filter = parseFilter(t, `userName eq "b"`) }},
		{"shape", `_holds if input.query.filter_shape == "userName eq"`, func(in *policies.Input) { in.Query.Filter = parseFilter(t, `id eq "a"`) }},
		{"no query", `_holds if input.query.filter_shape == "userName eq"`, func(in *policies.Input) { in.Query = nil }},
		{"attributes", `_holds if input.query.attributes == ["a"]`, func(in *policies.Input) { in.Query.Attributes = []string{"b"} }},
		{"excluded", `_holds if input.query.excluded == ["b"]`, func(in *policies.Input) { in.Query.Excluded = nil }},
		{"resource", `_holds if not input.resource`, func(in *policies.Input) { in.Resource = scim.Object{"userName": "x"} }},
		{"empty resource", `_holds if not input.resource`, func(in *policies.Input) { in.Resource = scim.Object{} }},
		{"stored", `_holds if not input.stored`, func(in *policies.Input) { in.Stored = scim.Object{} }},
		{"result", `_holds if not input.result`, func(in *policies.Input) { in.Result = scim.Object{} }},
		{"raw", `_holds if count(input.raw) == 0`, func(in *policies.Input) { in.Raw = []scim.RawOp{{Op: "add"}} }},
		{"canonical", `_holds if count(input.canonical) == 0`, func(in *policies.Input) { in.Canonical = []scim.Op{{Kind: "add"}} }},
		{"deviations", `_holds if count(input.deviations) == 0`, func(in *policies.Input) { in.Deviations = []scim.Deviation{{Code: "c"}} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, other := echo(t, tt.rule), read(t)
			tt.change(other)
			for range 3 { // the second and third may come from the memo
				if v := e.Decide(t.Context(), read(t)); !v.Allow || v.Failure != "" {
					t.Fatalf("the unchanged request: %+v", v)
				}
				if v := e.Decide(t.Context(), other); v.Allow || v.Failure != "" {
					t.Fatalf("the changed request: %+v", v)
				}
			}
		})
	}
}

func entra(t *testing.T) *policies.Dialect {
	t.Helper()
	d, err := policies.NewDialect("ipsie-il1", "entra")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMemoKeepsFieldsApart: moving text from one field to the next makes another request.
func TestMemoKeepsFieldsApart(t *testing.T) {
	e := echo(t, `_holds if input.client.scopes == ["ab", "c"]`)
	for _, scopes := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"ab", "c", ""}} {
		in := read(t)
		in.Client.Scopes = scopes
		if v := e.Decide(t.Context(), in); v.Allow != (len(scopes) == 2 && scopes[0] == "ab") {
			t.Errorf("%q: allow %v", scopes, v.Allow)
		}
	}
}

// TestMemoRemembersNoFailure: a request that missed its deadline is judged when it is sent
// again.
func TestMemoRemembersNoFailure(t *testing.T) {
	e := echo(t, `_holds if input.method == "GET"`)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if v := e.Decide(ended, read(t)); v.Allow || v.Failure == "" {
		t.Errorf("an ended request: %+v", v)
	}
	if v := e.Decide(t.Context(), read(t)); !v.Allow {
		t.Errorf("the next one: %+v", v)
	}
	if v := e.Decide(ended, read(t)); v.Allow || v.Failure == "" {
		t.Errorf("an ended request that was answered before: %+v", v)
	}
}

// TestMemoIsNotShared: a caller that changes its verdict changes no other.
func TestMemoIsNotShared(t *testing.T) {
	e := echo(t, `_holds if input.method == "PUT"`)
	want := e.Decide(t.Context(), read(t))
	for range 3 {
		got := e.Decide(t.Context(), read(t))
		if diff := cmp.Diff(want, got); diff != "" || len(got.Violations) != 1 {
			t.Fatalf("verdict (-want +got):\n%s", diff)
		}
		got.Violations[0].Rule = "spoilt"
	}
}

// TestMemoIsBounded: more kinds of requests than the memo remembers are all judged right.
func TestMemoIsBounded(t *testing.T) {
	e := echo(t, `_holds if endswith(input.client.id, "7")`)
	for i := range 3000 {
		in := read(t)
		in.Client.ID = fmt.Sprint(i)
		if v := e.Decide(t.Context(), in); v.Allow != (i%10 == 7) || v.Failure != "" {
			t.Fatalf("client %d: %+v", i, v)
		}
	}
}

// TestMemoFollowsActivation: no verdict of the old rules is returned after an activation.
func TestMemoFollowsActivation(t *testing.T) {
	e := newEngine(t)
	in := read(t)
	in.Profile = "ipsie-il1"
	before := e.Decide(t.Context(), in)
	if !before.Allow {
		t.Fatalf("%+v", before)
	}
	err := e.Activate(policies.Profile{Name: "ipsie-il1", Entrypoint: "data.ipsie.verdict", Files: map[string]string{"x.rego": `package ipsie

verdict := {"allow": true, "violations": []} if input.route == "GET /ServiceProviderConfig"

verdict := {"allow": false, "violations": [{"rule": "r", "op": -1, "message": "m", "fix": "f", "status": 403, "scimType": ""}]} if input.route != "GET /ServiceProviderConfig"
`}})
	if err != nil {
		t.Fatal(err)
	}
	if v := e.Decide(t.Context(), in); v.Allow || v.Failure != "" {
		t.Errorf("after the change: %+v", v)
	}
}

// TestMemoServesReads: the shipped profiles do not read ids, so reads of different users
// share one entry and need no evaluation.
func TestMemoServesReads(t *testing.T) {
	e := newEngine(t)
	for _, profile := range policies.Profiles() {
		in, n := read(t), 0
		in.Profile = profile
		allocs := testing.AllocsPerRun(100, func() {
			n++
			in.ResourceID = strconv.Itoa(n)
			if v := e.Decide(t.Context(), in); !v.Allow {
				t.Fatalf("%+v", v)
			}
		})
		if allocs > 5 {
			t.Errorf("%s: %v allocations for a read like one before, want at most 5", profile, allocs)
		}
	}
}
