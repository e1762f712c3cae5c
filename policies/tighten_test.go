package policies_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// maker makes bundles and requests at random.
type maker struct {
	*rand.Rand
	ids []string // of requirements: those of every profile, and others
}

func newMaker(seed uint64) *maker {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 9)), ids: []string{"own", "other"}}
	for _, profile := range policies.Profiles() {
		for _, r := range policies.Requirements(profile) {
			m.ids = append(m.ids, r.Rules...)
		}
	}
	return m
}

func pick[T any](m *maker, from ...T) T { return from[m.IntN(len(from))] }

func (m *maker) condition() string {
	return pick(m, "true", "true", "false", `input.method == "PATCH"`, `input.client.id == "idp"`, "count(input.canonical) > 0",
		`"scim" in input.client.scopes`, "input.result.active == false", "not input.stored", `input.resource.userName != ""`,
		`input.query.filter == ""`, `some op in input.raw; op.op == "add"`, "count(input.modes) > 0")
}

// bundle returns rules with ids of the profile and of their own, and names that mean something in a profile.
func (m *maker) bundle() string {
	var b strings.Builder
	for range 1 + m.IntN(3) {
		fmt.Fprintf(&b, "requirements[%q] := {\"message\": \"m\", \"fix\": \"f\", \"mode\": %q, \"status\": %d} if { %s }\n",
			pick(m, m.ids...), pick(m, "enforce", "warn", "observe"), pick(m, 400, 403, 409), m.condition())
	}
	for range 1 + m.IntN(4) {
		fmt.Fprintf(&b, "satisfied contains %q if { %s }\n", pick(m, m.ids...), m.condition())
	}
	// One that says that everything is satisfied, as an author would who wants to loosen the profile.
	if m.IntN(2) == 0 {
		fmt.Fprintf(&b, "satisfied contains id if { some id in {\"%s\"}; %s }\n", strings.Join(m.ids, `", "`), m.condition())
		fmt.Fprintf(&b, "requirements[id] := {\"message\": \"m\", \"mode\": \"observe\"} if { some id in [\"%s\"] }\n",
			strings.Join(m.ids[:20], `", "`))
	}
	if m.IntN(6) == 0 {
		b.WriteString(m.odd())
	}
	b.WriteString(pick(m, "", "allow := true\n", "verdict := {\"allow\": true, \"violations\": []}\n", "required := set()\n",
		"violations := set()\n", "modes := {\"own\": \"observe\"}\n"))
	return b.String()
}

// odd returns a rule whose answer is of another type than it should be, or beyond its bounds.
func (m *maker) odd() string {
	id := pick(m, `["odd"]`, `["odd"]`, `["odd"]`, `[""]`, `["o d"]`, `[null]`, `[3]`, `[{"odd"}]`, `[input.raw]`, `[input.resource]`)
	detail := pick(m, "5", "null", "true", `"m"`, `{"message"}`, `["message"]`, "{}", `{"message": 1}`, `{"message": ""}`,
		`{"message": null}`, `{"message": sprintf("%1001d", [1])}`, `{"message": "m", "fix": sprintf("%1001d", [1])}`,
		`{"message": "m", "status": 200}`, `{"message": "m", "status": 99999}`, `{"message": "m", "status": 403.5}`,
		`{"message": "m", "status": "403"}`, `{"message": "m", "status": {403}}`, `{"message": "m", "status": null}`,
		`{"message": "m", "mode": "enforc"}`, `{"message": "m", "mode": null}`, `{"message": "m", "mode": {"observe"}}`,
		`{"message": "m", "ops": {0}}`, `{"message": "m", "ops": [-1]}`, `{"message": "m", "ops": [0.5]}`,
		`{"message": "m", "ops": [1e30]}`, `{"message": "m", "ops": 0}`, `{"message": "m", "allow": true}`,
		`{"message": "m", 1: 2}`, `{"message": input.resource}`, `{"message": "m", "scimType": [null]}`)
	return fmt.Sprintf("requirements%s := %s if { %s }\n", id, detail, m.condition()) +
		pick(m, "", "satisfied contains 5\n", "satisfied contains null\n", "satisfied contains {\"own\"}\n",
			"satisfied contains input.raw if true\n", "satisfied contains id if some id, _ in requirements with input as {}\n")
}

func (m *maker) value() any {
	one := map[string]any{"value": "U1"}
	return pick[any](m, nil, true, false, "", "x", int64(3), []any{}, []any{one}, one)
}

func (m *maker) object() scim.Object {
	o := scim.Object{}
	for range m.IntN(4) {
		o[pick(m, "userName", "active", "externalId", "emails", "displayName", "members", "title")] = m.value()
	}
	return o
}

func (m *maker) request(t *testing.T) *policies.Input {
	t.Helper()
	in := request(pick(m, policies.Profiles()...), pick(m, "GET /Users", "GET /Users/{id}", "POST /Users", "PUT /Users/{id}",
		"PATCH /Users/{id}", "DELETE /Users/{id}", "PATCH /Groups/{id}", "POST /Groups", "PUT /Groups/{id}", "GET /nowhere"))
	in.Client = policies.Client{ID: pick(m, "idp", "idp", ""), Issuer: "https://idp.example"}
	in.Client.Scopes = pick(m, nil, []string{"scim"}, []string{"scim"})
	in.ResourceType, in.ResourceID = pick(m, "User", "Group", ""), pick(m, "", "U1")
	in.Final = true
	if m.IntN(3) == 0 {
		d, err := policies.NewDialect(in.Profile, pick(m, policies.OverlayNames()...))
		if err != nil {
			t.Fatal(err)
		}
		in.Dialect = d
	}
	switch in.Method {
	case "POST", "PUT":
		in.Resource, in.Stored, in.Result = m.object(), m.object(), m.object()
	case "PATCH":
		for range m.IntN(3) {
			op := pick(m, "add", "Add", "remove", "replace")
			in.Raw = append(in.Raw, member(op, pick(m, "", "active", "members", "userName"), m.value()))
			path := scim.Path{Attr: pick(m, "active", "members", "userName")}
			in.Canonical = append(in.Canonical, scim.Op{
				Kind: scim.OpKind(strings.ToLower(op)), Path: path, Target: path.Attr, Value: m.value(), HasValue: true,
				Raw: len(in.Raw) - 1,
			})
		}
		in.Stored, in.Result = m.object(), m.object()
	}
	return in
}

// loosened says how a verdict with a bundle is looser than the one without, "" if it is not.
func loosened(without, with policies.Verdict) string {
	if with.Failure != "" && !with.Allow {
		return ""
	}
	if with.Allow && !without.Allow {
		return "a denial became an allow"
	}
	modes := map[string]policies.Mode{}
	for _, v := range with.Violations {
		modes[fmt.Sprint(v.Rule, v.Op)] = v.Mode
	}
	for _, v := range without.Violations {
		if mode, there := modes[fmt.Sprint(v.Rule, v.Op)]; !there || mode != v.Mode {
			return fmt.Sprintf("%s was %q and is %q (there: %v)", v.Rule, v.Mode, mode, there)
		}
	}
	return ""
}

// seen counts what a run of the property met.
type seen struct{ denied, tightened, failed int }

// tightens judges requests without and with bundles, and returns what was loosened first.
func tightens(t *testing.T, seed uint64, bundles int,
	decide func(*policies.Engine, *policies.Input) policies.Verdict,
) (s seen, found string) {
	t.Helper()
	m, e := newMaker(seed), newEngine(t)
	for range bundles {
		text := m.bundle()
		rules, err := bundleRules(t, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		e.SetRules(map[string]*policies.Rules{"acme": rules})
		for range 20 {
			in := m.request(t)
			in.Tenant = "plain"
			without := e.Decide(t.Context(), in)
			in.Tenant = "acme"
			with := decide(e, in)
			if how := loosened(without, with); how != "" {
				return s, fmt.Sprintf("%s\n%s by %s\nwithout: %+v\nwith:    %+v\n%s",
					how, in.Route, in.Profile, without, with, text)
			}
			if !without.Allow {
				s.denied++
			}
			if without.Allow && !with.Allow {
				s.tightened++
			}
			if with.Failure != "" {
				s.failed++
			}
		}
	}
	return s, ""
}

// TestBundleNeverLoosens: over bundles and requests made at random, a bundle turns no denial into an allow, removes no
// violation of the profile and changes the mode of none.
func TestBundleNeverLoosens(t *testing.T) {
	for seed := range uint64(3) {
		s, found := tightens(t, seed, 60, func(e *policies.Engine, in *policies.Input) policies.Verdict {
			return e.Decide(t.Context(), in)
		})
		if found != "" {
			t.Errorf("seed %d: %s", seed, found)
		}
		if s.denied < 100 || s.tightened < 20 || s.failed > 600 {
			t.Errorf("seed %d met %+v: too few cases to mean something", seed, s)
		}
	}
}

// TestLoosenedIsFound: the same property finds an engine that lets a bundle satisfy a requirement of the profile, one
// that lets it set the mode of the profile's rule, and one that lets it override allow.
func TestLoosenedIsFound(t *testing.T) {
	for name, wrong := range map[string]policies.Mistake{
		"satisfied": policies.Proves, "mode": policies.Modes, "allow": policies.Overrides,
	} {
		_, found := tightens(t, 1, 60, func(e *policies.Engine, in *policies.Input) policies.Verdict {
			return e.DecideWrong(t.Context(), in, wrong)
		})
		if found == "" {
			t.Errorf("%s: the mistake was not found", name)
		}
	}
	_, found := tightens(t, 1, 60, func(e *policies.Engine, in *policies.Input) policies.Verdict {
		return e.DecideWrong(t.Context(), in, policies.NoMistake)
	})
	if found != "" {
		t.Errorf("the engine without a mistake: %s", found)
	}
}

// TestTenantsOfOnePackage: two tenants have rules of the same package with the same ids. A change of the rules of one
// touches no verdict of the other, and a request that both the former and the new rules refuse is refused all the time.
func TestTenantsOfOnePackage(t *testing.T) {
	e := newEngine(t)
	rules := func(name string) *policies.Rules {
		r, err := bundleRules(t, fmt.Sprintf("requirements[\"name\"] := {\"message\": %[1]q} if input.resource.userName\n"+
			"satisfied contains \"name\" if input.resource.title == %[1]q\n", name))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	of := map[string]*policies.Rules{"acme": rules("a"), "globex": rules("g")}
	others := []*policies.Rules{rules("b"), of["acme"]}
	e.SetRules(of)
	create := func(tenant, title string) policies.Verdict {
		in := request("rfc7644", "POST /Users")
		in.Tenant, in.ResourceType, in.Final = tenant, "User", true
		in.Resource = scim.Object{"userName": "ada", "title": title}
		return e.Decide(t.Context(), in)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			e.SetRules(map[string]*policies.Rules{"acme": others[i%2], "globex": of["globex"]})
		}
	}()
	for n, running := 0, true; running || n < 100; n++ {
		select {
		case <-done:
			running = false
		default:
		}
		if v := create("acme", "g"); v.Allow || v.Failure != "" {
			t.Fatalf("acme, what no rules of it allow: %+v", v)
		}
		if v := create("globex", "g"); !v.Allow {
			t.Fatalf("globex, what its rules allow: %+v", v)
		}
		if v := create("globex", fmt.Sprint("a", n%2)); v.Allow || v.Violations[0].Message != "g" {
			t.Fatalf("globex, what the rules of acme allow: %+v", v)
		}
	}
}
