package policies_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

func newEngine(tb testing.TB) *policies.Engine {
	tb.Helper()
	e, err := policies.NewEngine(policies.Options{Deadline: time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func client() policies.Client {
	return policies.Client{ID: "idp", Issuer: "https://idp.example", Scopes: []string{"scim"}}
}

func request(profile, route string) *policies.Input {
	method, _, _ := strings.Cut(route, " ")
	return &policies.Input{Profile: profile, Tenant: "acme", Client: client(), Method: method, Route: route}
}

func groupPatch(profile string, raw []scim.RawOp, canonical []scim.Op) *policies.Input {
	in := request(profile, "PATCH /Groups/{id}")
	in.ResourceType, in.ResourceID, in.Raw, in.Canonical = "Group", "G1", raw, canonical
	return in
}

func member(op, path string, value any) scim.RawOp {
	return scim.RawOp{Op: op, Path: path, HasPath: path != "", Value: value, HasValue: value != nil}
}

func onMembers(op scim.OpKind) []scim.Op {
	return []scim.Op{{Kind: op, Path: scim.Path{Attr: "members"}, Target: "members"}}
}

func parseFilter(tb testing.TB, text string) scim.Filter {
	tb.Helper()
	f, err := scim.ParseFilter(scim.UserType(), text, scim.DefaultLimits())
	if err != nil {
		tb.Fatalf("parsing %s: %v", text, err)
	}
	return f
}

func rules(v policies.Verdict) []string {
	var out []string
	for _, violation := range v.Violations {
		out = append(out, violation.Rule)
	}
	slices.Sort(out)
	return out
}

// TestDecideJudgesGroupWireShapes judges PATCH requests as identity providers send them, with
// the types that the authorizer passes (IL1 §3.3.3).
func TestDecideJudgesGroupWireShapes(t *testing.T) {
	u1 := []any{map[string]any{"value": "U1"}}
	tests := []struct {
		name      string
		raw       scim.RawOp
		canonical []scim.Op
		want      []string // rules of ipsie-il1
	}{
		{"Okta OIN add", member("add", "members", u1), onMembers("add"), nil},
		{"Okta OIN remove", member("remove", `members[value eq "U1"]`, nil), onMembers("remove"), nil},
		{"remove all", member("remove", "members", nil), onMembers("remove"), nil},
		{
			"Entra remove with value",
			member("Remove", "members", []any{map[string]any{"$ref": nil, "value": "U1"}}),
			onMembers("remove"),
			[]string{"IL1-3.3.3-op", "IL1-3.3.3-remove-value"},
		},
		{
			"Entra add", member("Add", "members", []any{map[string]any{"$ref": nil, "value": "U1"}}), onMembers("add"),
			[]string{"IL1-3.3.3-op"},
		},
		{
			"Entra rename", member("Replace", "displayName", "G2"),
			[]scim.Op{{Kind: "replace", Target: "displayName"}},
			[]string{"IL1-3.3.3-op", "IL1-3.3.3-target"},
		},
		{
			"Okta rename", member("replace", "", map[string]any{"id": "G1", "displayName": "G"}),
			[]scim.Op{{Kind: "replace", Target: "displayName"}},
			[]string{"IL1-3.3.3-op", "IL1-3.3.3-target"},
		},
		{"Okta push now", member("replace", "members", u1), onMembers("replace"), []string{"IL1-3.3.3-members", "IL1-3.3.3-op"}},
		{
			"OneLogin pathless", member("add", "", map[string]any{"members": u1}), onMembers("add"),
			[]string{"IL1-3.3.3-add-path", "IL1-3.3.3-add-value"},
		},
		{"one object", member("add", "members", map[string]any{"value": "U1"}), onMembers("add"), []string{"IL1-3.3.3-add-value"}},
		{"SailPoint scalars", member("add", "members", []any{"U1"}), onMembers("add"), []string{"IL1-3.3.3-add-value"}},
		{"one scalar", member("add", "members", "U1"), onMembers("add"), []string{"IL1-3.3.3-add-value"}},
		{
			"URN path", member("add", "urn:ietf:params:scim:schemas:core:2.0:Group:members", u1), onMembers("add"),
			[]string{"IL1-3.3.3-add-path"},
		},
		{"bare id", member("remove", "members[value eq U1]", nil), onMembers("remove"), []string{"IL1-3.3.3-remove-path"}},
		{"folded filter", member("remove", `members[Value EQ "U1"]`, nil), onMembers("remove"), []string{"IL1-3.3.3-remove-path"}},
		{
			"batched remove", member("remove", `members[value eq "U1" or value eq "U2"]`, nil), onMembers("remove"),
			[]string{"IL1-3.3.3-remove-path"},
		},
		{"by display", member("remove", `members[display eq "x"]`, nil), onMembers("remove"), []string{"IL1-3.3.3-remove-path"}},
		{"OneLogin add to one", member("add", `members[value eq "U1"]`, u1), onMembers("add"), []string{"IL1-3.3.3-add-path"}},
	}
	e := newEngine(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := e.Decide(t.Context(), groupPatch("ipsie-il1", []scim.RawOp{test.raw}, test.canonical))
			if got.Failure != "" || got.Allow != (test.want == nil) {
				t.Errorf("ipsie-il1: allow %v, failure %q", got.Allow, got.Failure)
			}
			if diff := cmp.Diff(test.want, rules(got)); diff != "" {
				t.Errorf("ipsie-il1: violations (-want +got):\n%s", diff)
			}
			for _, v := range got.Violations {
				if v.Op != 0 || v.Status != 400 || v.ScimType == "" || v.Message == "" || v.Fix == "" {
					t.Errorf("ipsie-il1: incomplete violation %+v", v)
				}
			}
			// RFC 7644 has all of these shapes.
			if got := e.Decide(t.Context(), groupPatch("rfc7644", []scim.RawOp{test.raw}, test.canonical)); !got.Allow {
				t.Errorf("rfc7644: %+v", got)
			}
		})
	}
}

// IL1 §3.2.8: an application must support these filters. Only the token is judged.
func TestDecideAllowsFiltersOfIL1(t *testing.T) {
	e := newEngine(t)
	for _, filter := range []string{
		`userName eq "a"`, `externalId eq "a"`, `emails[value eq "a"]`, `displayName sw "a"`, "",
	} {
		in := request("ipsie-il1", "GET /Users")
		in.Query = &scim.Query{Excluded: []string{"members"}}
		if filter != "" {
			in.Query.Filter = parseFilter(t, filter)
		}
		if got := e.Decide(t.Context(), in); !got.Allow {
			t.Errorf("%q: %+v", filter, got)
		}
	}
}

func TestDecideCreateUser(t *testing.T) {
	type object = scim.Object
	whole := func() scim.Object {
		return scim.Object{
			"userName": "ann", "externalId": "e-1", "active": true, "x": int64(7), "y": 1.5, "z": nil,
			"emails": []any{object{"value": "ann@example.com", "primary": true}},
		}
	}
	tests := []struct {
		name   string
		change func(scim.Object)
		want   []string
	}{
		{"whole", func(scim.Object) {}, nil},
		{"no userName", func(m scim.Object) { delete(m, "userName") }, []string{"IL1-3.2.3-userName"}},
		{"no externalId", func(m scim.Object) { delete(m, "externalId") }, []string{"IL1-3.2.3-externalId"}},
		{"no email", func(m scim.Object) { m["emails"] = []any{} }, []string{"IL1-3.2.3-email"}},
		{"email without value", func(m scim.Object) { m["emails"] = []any{object{"type": "work"}} }, []string{"IL1-3.2.3-email"}},
	}
	e := newEngine(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := request("ipsie-il1", "POST /Users")
			in.Resource = whole()
			test.change(in.Resource)
			got := e.Decide(t.Context(), in)
			if diff := cmp.Diff(test.want, rules(got)); diff != "" || got.Failure != "" {
				t.Errorf("failure %q, violations (-want +got):\n%s", got.Failure, diff)
			}
		})
	}
	t.Run("no body", func(t *testing.T) {
		if got := e.Decide(t.Context(), request("ipsie-il1", "POST /Users")); got.Allow || len(got.Violations) != 3 {
			t.Errorf("%+v", got)
		}
	})
}

func TestDecideRefusesPut(t *testing.T) {
	e := newEngine(t)
	for route, rule := range map[string]string{"PUT /Users/{id}": "IL1-3.2.4-patch", "PUT /Groups/{id}": "IL1-3.3.3-patch"} {
		in := request("ipsie-il1", route)
		in.Resource = scim.Object{
			"userName": "ann", "displayName": "g", "externalId": "e", "emails": []any{scim.Object{"value": "ann@example.com"}},
		}
		got := e.Decide(t.Context(), in)
		if got.Allow || len(got.Violations) != 1 || got.Violations[0].Rule != rule || got.Violations[0].Status != 403 {
			t.Errorf("ipsie-il1 %s: %+v", route, got)
		}
		in.Profile = "rfc7644"
		if got := e.Decide(t.Context(), in); !got.Allow {
			t.Errorf("rfc7644 %s: %+v", route, got)
		}
	}
}

func TestDecideRefusesWhatIsNotProved(t *testing.T) {
	e := newEngine(t)
	for _, profile := range policies.Profiles() {
		tests := []struct {
			name   string
			change func(*policies.Input)
		}{
			{"no client", func(in *policies.Input) { in.Client = policies.Client{} }},
			{"no scope", func(in *policies.Input) { in.Client.Scopes = nil }},
			{"other scope", func(in *policies.Input) { in.Client.Scopes = []string{"openid"} }},
			{"no route", func(in *policies.Input) { in.Route = "" }},
			{"bulk", func(in *policies.Input) { in.Route = "POST /Bulk" }},
			{"patch without operations", func(in *policies.Input) { in.Route = "PATCH /Groups/{id}" }},
		}
		for _, test := range tests {
			in := request(profile, "GET /Users")
			test.change(in)
			got := e.Decide(t.Context(), in)
			if got.Allow || got.Failure != "" || len(got.Violations) == 0 {
				t.Errorf("%s, %s: %+v", profile, test.name, got)
			}
		}
	}
}

func TestDecideScopeIsExact(t *testing.T) {
	in := request("ipsie-il1", "GET /Users")
	in.Client.Scopes = []string{"scim", "admin"}
	e := newEngine(t)
	got := e.Decide(t.Context(), in)
	if got.Allow || len(got.Violations) != 1 || !strings.Contains(got.Violations[0].Message, "admin") {
		t.Errorf("ipsie-il1: %+v", got)
	}
	in.Profile = "rfc7644"
	if got := e.Decide(t.Context(), in); !got.Allow {
		t.Errorf("rfc7644: %+v", got)
	}
}

func TestDecideUnknownProfileFails(t *testing.T) {
	e := newEngine(t)
	for _, profile := range []string{"", "IPSIE-IL1", "../rfc7644"} {
		got := e.Decide(t.Context(), request(profile, "GET /Users"))
		if diff := cmp.Diff(policies.Verdict{Failure: policies.FailureProfile}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", profile, diff)
		}
	}
}

func TestDecideCancelled(t *testing.T) {
	e := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := e.Decide(ctx, request("ipsie-il1", "GET /Users")); got.Allow || got.Failure != policies.FailureCancelled {
		t.Errorf("cancelled: %+v", got)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if got := e.Decide(ctx, request("ipsie-il1", "GET /Users")); got.Allow || got.Failure != policies.FailureDeadline {
		t.Errorf("late: %+v", got)
	}
}

// No wrong answer of a rule may allow.
func TestDecideDeniesOnEveryFailure(t *testing.T) {
	const head = "package p\n\n"
	const violation = `{"rule": "R", "op": -1, "message": "m", "fix": "f", "status": 403, "scimType": ""}`
	tests := []struct {
		name, entrypoint, rego, want string
	}{
		{"undefined", "data.p.verdict", `verdict := {"allow": true, "violations": []} if input.route == "never"`, policies.FailureUndefined},
		{"several", "data.p.verdict[_]", `verdict := [{"allow": true, "violations": []}, {"allow": true, "violations": [], "x": 1}]`, policies.FailureSeveral},
		{"boolean", "data.p.verdict", `verdict := true`, policies.FailureResult},
		{"set", "data.p.verdict", `verdict contains "allow"`, policies.FailureResult},
		{"no allow", "data.p.verdict", `verdict := {"violations": []}`, policies.FailureResult},
		{"no violations", "data.p.verdict", `verdict := {"allow": true}`, policies.FailureResult},
		{"allow as text", "data.p.verdict", `verdict := {"allow": "true", "violations": []}`, policies.FailureResult},
		{"violations as set", "data.p.verdict", `verdict := {"allow": true, "violations": set()}`, policies.FailureResult},
		{"violation as text", "data.p.verdict", `verdict := {"allow": false, "violations": ["no"]}`, policies.FailureResult},
		{"violation without rule", "data.p.verdict", `verdict := {"allow": false, "violations": [{"op": 0, "message": "m", "fix": "f", "status": 403, "scimType": ""}]}`, policies.FailureResult},
		{"status of success", "data.p.verdict", `verdict := {"allow": false, "violations": [{"rule": "R", "op": 0, "message": "m", "fix": "f", "status": 200, "scimType": ""}]}`, policies.FailureResult},
		{"unknown mode", "data.p.verdict", `verdict := {"allow": true, "violations": [{"rule": "R", "mode": "ignore", "op": 0, "message": "m", "fix": "f", "status": 403, "scimType": ""}]}`, policies.FailureResult},
		{"mode as number", "data.p.verdict", `verdict := {"allow": true, "violations": [{"rule": "R", "mode": 1, "op": 0, "message": "m", "fix": "f", "status": 403, "scimType": ""}]}`, policies.FailureResult},
		{"allowed with a violation", "data.p.verdict", `verdict := {"allow": true, "violations": [` + violation + `]}`, policies.FailureContradicts},
		{"denied without one", "data.p.verdict", `verdict := {"allow": false, "violations": []}`, policies.FailureContradicts},
		{"builtin error", "data.p.verdict", `verdict := {"allow": true, "violations": []} if not to_number(input.route)`, policies.FailureEvaluation},
		{"conflict", "data.p.verdict", "verdict := {\"allow\": true, \"violations\": []} if input.route\n\nverdict := {\"allow\": false, \"violations\": []} if input.tenant", policies.FailureEvaluation},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, err := policies.NewTestEngine(policies.Options{Deadline: time.Minute}, policies.Profile{
				Name: "p", Entrypoint: test.entrypoint, Files: map[string]string{"p.rego": head + test.rego + "\n"},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := e.Decide(t.Context(), request("p", "GET /Users"))
			if got.Allow || got.Failure != test.want {
				t.Errorf("allow %v, failure %q, want %q", got.Allow, got.Failure, test.want)
			}
		})
	}
}

func TestDecideDeadline(t *testing.T) {
	slow := `package p

verdict := {"allow": true, "violations": []} if {
	n := input.query.attributes
	count([1 | some a in n; some b in n; some c in n; some d in n; a != b; c != d]) >= 0
}
`
	e, err := policies.NewTestEngine(policies.Options{Deadline: 20 * time.Millisecond},
		policies.Profile{Name: "p", Entrypoint: "data.p.verdict", Files: map[string]string{"p.rego": slow}})
	if err != nil {
		t.Fatal(err)
	}
	in := request("p", "GET /Users")
	in.Query = &scim.Query{Attributes: slices.Repeat([]string{"x", "y"}, 500)}
	decide := func(ctx context.Context) policies.Verdict {
		done := make(chan policies.Verdict, 1)
		go func() { done <- e.Decide(ctx, in) }()
		select {
		case got := <-done:
			return got
		case <-time.After(2 * time.Minute):
			t.Fatal("the rule still runs after two minutes")
		}
		panic("unreachable")
	}
	if got := decide(t.Context()); got.Allow || got.Failure != policies.FailureDeadline {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(5*time.Millisecond, cancel)
	e, err = policies.NewTestEngine(policies.Options{Deadline: time.Hour},
		policies.Profile{Name: "p", Entrypoint: "data.p.verdict", Files: map[string]string{"p.rego": slow}})
	if err != nil {
		t.Fatal(err)
	}
	if got := decide(ctx); got.Allow || got.Failure != policies.FailureCancelled {
		t.Errorf("cancelled midway: %+v", got)
	}
}

func TestDecideModes(t *testing.T) {
	rego := `package p

verdict := {"allow": input.tenant != "strict", "violations": array.concat([
	{"rule": "O", "mode": "observe", "op": 0, "message": "m", "fix": "f", "status": 400, "scimType": ""},
	{"rule": "W", "mode": "warn", "op": 1, "message": "m", "fix": "f", "status": 400, "scimType": ""},
], _more)}

_more := [
	{"rule": "B", "op": 2, "message": "m", "fix": "f", "status": 400, "scimType": ""},
	{"rule": "A", "mode": "enforce", "op": 2, "message": "m", "fix": "f", "status": 400, "scimType": ""},
] if input.tenant == "strict" else := []
`
	e, err := policies.NewTestEngine(policies.Options{Deadline: time.Minute},
		policies.Profile{Name: "p", Entrypoint: "data.p.verdict", Files: map[string]string{"p.rego": rego}})
	if err != nil {
		t.Fatal(err)
	}
	in := request("p", "GET /Users")
	got := e.Decide(t.Context(), in)
	if diff := cmp.Diff([]string{"O", "W"}, rules(got)); diff != "" || !got.Allow {
		t.Errorf("warn and observe must let pass: %+v", got)
	}
	in.Tenant = "strict"
	got = e.Decide(t.Context(), in)
	var order []string
	for _, v := range got.Violations {
		order = append(order, v.Rule)
	}
	if diff := cmp.Diff([]string{"A", "B", "W", "O"}, order); diff != "" || got.Allow {
		t.Errorf("allow %v, order (-want +got):\n%s", got.Allow, diff)
	}
}

func TestDecideInputOutsideJSON(t *testing.T) {
	deep := any("x")
	for range 200 {
		deep = []any{deep}
	}
	e := echo(t, "_holds if object.keys(input) != set()") // reads everything
	for name, value := range map[string]any{
		"NaN": math.NaN(), "infinity": math.Inf(1), "struct": struct{}{}, "channel": make(chan int),
		"named map": http.Header{}, "deep": deep, "map of strings": map[string]string{"a": "b"}, "nested": []any{map[string]any{"a": struct{}{}}},
	} {
		got := e.Decide(t.Context(), groupPatch("echo", []scim.RawOp{member("add", "members", value)}, nil))
		if got.Allow || got.Failure != policies.FailureInput {
			t.Errorf("%s in raw: %+v", name, got)
		}
		got = e.Decide(t.Context(), groupPatch("echo", []scim.RawOp{member("add", "members", "x")},
			[]scim.Op{{Kind: "add", Target: "members", Value: value, HasValue: true}}))
		if got.Allow || got.Failure != policies.FailureInput {
			t.Errorf("%s in canonical: %+v", name, got)
		}
		in := request("echo", "POST /Users")
		in.Resource = scim.Object{"userName": "ann", "extra": value}
		if got := e.Decide(t.Context(), in); got.Allow || got.Failure != policies.FailureInput {
			t.Errorf("%s in resource: %+v", name, got)
		}
	}
}

// The document has the members of the schema, and what is absent from the request is absent
// from it.
func TestInputDocument(t *testing.T) {
	in := policies.Input{
		Profile: "p", Tenant: "acme", Client: client(), Method: "PATCH", Route: "PATCH /Groups/{id}",
		ResourceType: "Group", ResourceID: "G1",
		Resource:   scim.Object{"a": int64(1 << 60), "b": 0.5, "c": nil, "d": scim.Object{"e": int64(3)}},
		Raw:        []scim.RawOp{{Op: "Remove"}, member("add", "members", []any{true, "x"})},
		Canonical:  []scim.Op{{Kind: "remove", Target: "displayName"}, onMembers("remove")[0]},
		Deviations: []scim.Deviation{{Code: "OP_CASE", Op: 0}, {Code: "OTHER", Op: -1}},
		Query:      &scim.Query{Filter: parseFilter(t, `id PR`), Attributes: []string{"a"}, Excluded: []string{"b"}},
	}
	in.Canonical[1].Raw = 1
	got, err := policies.BuildInput(&in)
	if err != nil {
		t.Fatal(err)
	}
	want := ast.MustParseTerm(`{
		"profile": "p", "tenant": "acme", "modes": {}, "method": "PATCH", "route": "PATCH /Groups/{id}",
		"client": {"id": "idp", "issuer": "https://idp.example", "scopes": ["scim"]},
		"resource_type": "Group", "resource_id": "G1", "resource": {"a": 1152921504606846976, "b": 0.5, "c": null, "d": {"e": 3}},
		"raw": [
			{"op": "Remove", "has_path": false, "has_value": false},
			{"op": "add", "path": "members", "has_path": true, "value": [true, "x"], "has_value": true},
		],
		"canonical": [
			{"op": "remove", "has_path": false, "has_value": false, "target": "displayName", "raw": 0},
			{"op": "remove", "path": "members", "has_path": true, "has_value": false, "target": "members", "raw": 1},
		],
		"deviations": [{"code": "OP_CASE", "op": 0}, {"code": "OTHER", "op": -1}],
		"query": {"filter": "id pr", "filter_shape": "other", "attributes": ["a"], "excluded": ["b"]},
		"version": 1,
	}`)
	if want.Value.Compare(got) != 0 {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	got, err = policies.BuildInput(&policies.Input{})
	if err != nil {
		t.Fatal(err)
	}
	want = ast.MustParseTerm(`{
		"profile": "", "tenant": "", "modes": {}, "method": "", "route": "", "client": {"id": "", "issuer": "", "scopes": []},
		"resource_type": "", "resource_id": "", "raw": [], "canonical": [], "deviations": [],
		"query": {"filter": "", "filter_shape": "", "attributes": [], "excluded": []},
		"version": 1,
	}`)
	if want.Value.Compare(got) != 0 {
		t.Errorf("empty: got %v", got)
	}
}

func TestCapabilitiesReachNothing(t *testing.T) {
	names, net := policies.Capabilities()
	if net == nil || len(net) != 0 {
		t.Errorf("hosts: %v", net)
	}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if !slices.Contains(names, b.Name) {
			continue
		}
		for _, prefix := range []string{"http.", "net.", "opa.", "rand.", "uuid.", "time.", "io.", "crypto.", "trace", "print", "walk", "rego."} {
			if strings.HasPrefix(b.Name, prefix) {
				t.Errorf("%s is allowed", b.Name)
			}
		}
		if b.Nondeterministic {
			t.Errorf("%s is not a pure function", b.Name)
		}
	}
	for _, call := range []string{
		`http.send({"method": "GET", "url": "http://127.0.0.1/"})`, `net.lookup_ip_addr("localhost")`,
		`time.now_ns()`, `rand.intn("x", 5)`, `uuid.rfc4122("x")`, `opa.runtime()`,
	} {
		_, err := policies.NewTestEngine(policies.Options{}, policies.Profile{
			Name: "p", Entrypoint: "data.p.verdict",
			Files: map[string]string{"p.rego": "package p\n\nverdict := x if x := " + call + "\n"},
		})
		if err == nil {
			t.Errorf("%s compiles", call)
		}
	}
	// Every name in the list is a builtin of this engine: a renamed one fails here.
	if len(names) < 40 {
		t.Errorf("only %d builtins: %v", len(names), names)
	}
}

func TestActivateRefusesWhatFailsItsSmokeQuery(t *testing.T) {
	e := newEngine(t)
	for name, rego := range map[string]string{
		"allows all":     `verdict := {"allow": true, "violations": []}`,
		"denies all":     `verdict := {"allow": false, "violations": [{"rule": "R", "op": -1, "message": "m", "fix": "f", "status": 403, "scimType": ""}]}`,
		"undefined":      `verdict := true if input.nothing`,
		"type":           `verdict := "yes"`,
		"unparsable":     `verdict := `,
		"unsafe":         `verdict := x`,
		"not strict":     "verdict := {\"allow\": true, \"violations\": []} if {\n\tunused := 1\n}",
		"discovery only": `verdict := {"allow": true, "violations": []} if input.client.id != ""`,
	} {
		err := e.Activate(policies.Profile{
			Name: "p", Entrypoint: "data.p.verdict", Files: map[string]string{"p.rego": "package p\n\n" + rego + "\n"},
		})
		if err == nil {
			t.Errorf("%s: activated", name)
		}
	}
	// The profile that ran before still runs.
	if got := e.Decide(t.Context(), request("ipsie-il1", "GET /Users")); !got.Allow {
		t.Errorf("after refused activations: %+v", got)
	}
	good := policies.Profile{Name: "p", Entrypoint: "data.p.verdict", Files: map[string]string{"p.rego": `package p

verdict := {"allow": true, "violations": []} if input.client.id != ""

verdict := {"allow": false, "violations": [{"rule": "R", "op": -1, "message": "m", "fix": "f", "status": 403, "scimType": ""}]} if {
	input.client.id == ""
}
`}}
	if err := e.Activate(good); err != nil {
		t.Fatal(err)
	}
	if got := e.Decide(t.Context(), request("p", "GET /Users")); !got.Allow || !strings.HasPrefix(got.Revision, "p@") {
		t.Errorf("after activation: %+v", got)
	}
}

func TestRevision(t *testing.T) {
	e := newEngine(t)
	seen := map[string]bool{}
	for _, profile := range policies.Profiles() {
		revision := policies.Revision(profile)
		if !strings.HasPrefix(revision, profile+"@") || len(revision) != len(profile)+13 || seen[revision] {
			t.Errorf("%s: revision %q", profile, revision)
		}
		seen[revision] = true
		if got := e.Decide(t.Context(), request(profile, "GET /Users")); got.Revision != revision {
			t.Errorf("%s: verdict has revision %q, want %q", profile, got.Revision, revision)
		}
	}
	if got := policies.Revision("unknown"); got != "" {
		t.Errorf("unknown profile has revision %q", got)
	}
}

func TestDecideConcurrently(t *testing.T) {
	e := newEngine(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				want := i%2 == 0
				in := groupPatch("ipsie-il1", []scim.RawOp{member("add", "members", []any{map[string]any{"value": "U1"}})}, onMembers("add"))
				if !want {
					in.Raw[0].Op = "Add"
				}
				if got := e.Decide(t.Context(), in); got.Allow != want || got.Failure != "" {
					t.Errorf("allow %v, want %v: %+v", got.Allow, want, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The most operations within the limits of package scim are judged far within the default
// deadline, right and wrong ones, and the report is bounded.
func TestDecideThousandOperations(t *testing.T) {
	e := newEngine(t)
	one := []any{map[string]any{"value": "U1"}}
	raw := slices.Repeat([]scim.RawOp{member("add", "members", one)}, 1000)
	canonical := slices.Repeat(onMembers("add"), 1000)
	if got := e.Decide(t.Context(), groupPatch("ipsie-il1", raw, canonical)); !got.Allow {
		t.Errorf("%+v", got)
	}
	for i := range raw {
		raw[i] = member("Remove", "displayName", "x")
		canonical[i] = scim.Op{Kind: "remove", Target: "displayName", Raw: i}
	}
	got := e.Decide(t.Context(), groupPatch("ipsie-il1", raw, canonical))
	if got.Allow || got.Failure != "" || len(got.Violations) != 50 || got.Violations[0].Op != 0 {
		t.Errorf("allow %v, failure %q, %d violations", got.Allow, got.Failure, len(got.Violations))
	}
}

func TestMetricsAndLog(t *testing.T) {
	registry := prometheus.NewRegistry()
	var log bytes.Buffer
	e, err := policies.NewEngine(policies.Options{
		Metrics: registry, Deadline: time.Minute, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Decide(t.Context(), request("ipsie-il1", "GET /Users"))
	other := request("ipsie-il1", "GET /Users")
	other.Tenant = "globex"
	e.Decide(t.Context(), other)
	bad := member("Add", "members", []any{map[string]any{"value": "secret-id"}})
	unnamed := groupPatch("ipsie-il1", []scim.RawOp{bad, bad}, onMembers("add"))
	v := e.Decide(t.Context(), unnamed)
	e.Count(v.Violated(unnamed))
	named := groupPatch("ipsie-il1", []scim.RawOp{bad, bad}, onMembers("add"))
	named.Client.Label = "idp"
	e.Decide(t.Context(), named) // the proxy and the service decide on one request
	v = e.Decide(t.Context(), named)
	e.Count(v.Violated(named))
	if log.Len() != 0 {
		t.Errorf("a verdict is logged as a failure: %s", log.String())
	}
	e.Decide(t.Context(), request("nobody", "GET /Users"))
	if !strings.Contains(log.String(), policies.FailureProfile) {
		t.Errorf("the failure is not in the log: %s", log.String())
	}
	want := map[string]float64{
		"scimward_policy_decisions_total outcome=allow profile=ipsie-il1 tenant=acme":                                1,
		"scimward_policy_decisions_total outcome=allow profile=ipsie-il1 tenant=globex":                              1,
		"scimward_policy_decisions_total outcome=deny profile=ipsie-il1 tenant=acme":                                 3,
		"scimward_policy_decisions_total outcome=failure profile=unknown tenant=acme":                                1,
		"scimward_policy_violations_total client=idp mode=enforce profile=ipsie-il1 rule=IL1-3.3.3-op tenant=acme":   1,
		"scimward_policy_violations_total client=other mode=enforce profile=ipsie-il1 rule=IL1-3.3.3-op tenant=acme": 1,
	}
	if diff := cmp.Diff(want, counters(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if _, err := policies.NewEngine(policies.Options{Metrics: registry}); err == nil {
		t.Error("two engines share one registry")
	}
}

func counters(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue()
		}
	}
	return out
}

func BenchmarkDecide(b *testing.B) {
	e := newEngine(b)
	get := request("ipsie-il1", "GET /Users/{id}")
	get.ResourceType, get.ResourceID = "User", "U1"
	patch := groupPatch("ipsie-il1",
		[]scim.RawOp{
			member("add", "members", []any{map[string]any{"value": "U1"}}),
			member("remove", `members[value eq "U2"]`, nil),
		},
		slices.Concat(onMembers("add"), onMembers("remove")))
	for name, in := range map[string]*policies.Input{"GET_user": get, "PATCH_group_2_ops": patch} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := e.Decide(b.Context(), in); !v.Allow {
					b.Fatalf("%+v", v)
				}
			}
		})
	}
}
