package policies_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// twentyRules are the rules of a tenant: each has a requirement of a method, and its proof, which reads one field of
// each operation.
func twentyRules(method, reads string, late bool) string {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "requirements[\"r%d\"] := {\"message\": \"m\", \"fix\": \"f\", \"status\": 400} "+
			"if input.method == %q\n", i, method)
		fmt.Fprintf(&b, "satisfied contains \"r%d\" if { every op in input.canonical { op.%s != \"attribute%d\" } }\n",
			i, reads, i)
	}
	if late {
		b.WriteString(`requirements["group"] := {"message": "m"} if input.method == "PATCH"
satisfied contains "group" if {
	input.stored.displayName == input.result.displayName
	every g in input.groups { g.displayName != "Breakglass" }
}
`)
	}
	return b.String()
}

// evalInput returns the same profile through package rego, with the input as Go maps.
func evalInput(b *testing.B, in *policies.Input) func() {
	b.Helper()
	options := []func(*rego.Rego){rego.Query("data.ipsie.il1.verdict")}
	for _, m := range product(regoFiles(b)) {
		options = append(options, rego.ParsedModule(m))
	}
	query, err := rego.New(options...).PrepareForEval(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	built, err := policies.BuildInput(in)
	if err != nil {
		b.Fatal(err)
	}
	document, err := ast.JSON(built)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		set, err := query.Eval(b.Context(), rego.EvalInput(document))
		if err != nil || len(set) != 1 {
			b.Fatalf("%v %v", set, err)
		}
		if v, ok := set[0].Expressions[0].Value.(map[string]any); !ok || v["allow"] != true {
			b.Fatalf("the verdict is %v", set)
		}
	}
}

// BenchmarkPolicy measures a decision in turns: a PATCH of a group with two operations by the profile ipsie-il1, one
// with other members each time, one of a form that was not seen before, the same through rego.EvalInput, and with the
// rules of a tenant. A figure is the least of all rounds, because the machine may be busy with other work.
func BenchmarkPolicy(b *testing.B) {
	e := newEngine(b)
	of := map[string]*policies.Rules{}
	for name, text := range map[string]string{
		"twenty": twentyRules("PATCH", "target", false), "values": twentyRules("PATCH", "value", false),
		"change": twentyRules("PATCH", "target", true), "others": twentyRules("POST", "target", false),
	} {
		r, err := bundleRules(b, text)
		if err != nil {
			b.Fatal(err)
		}
		of[name] = r
	}
	e.SetRules(of)
	remove := member("remove", `members[value eq "U2"]`, nil)
	add := member("add", "members", []any{map[string]any{"value": "U1"}})
	patch := groupPatch("ipsie-il1", []scim.RawOp{add, remove}, append(onMembers("add"), onMembers("remove")...))
	get := request("ipsie-il1", "GET /Users/{id}")
	get.ResourceType, get.ResourceID = "User", "U1"
	decide := func(in policies.Input, tenant string, change func(*policies.Input)) func() {
		in.Tenant = tenant
		return func() {
			once := in // Decide fills it
			if change != nil {
				change(&once)
			}
			if v := e.Decide(b.Context(), &once); !v.Allow || v.Failure != "" || v.Later {
				b.Fatalf("%+v", v)
			}
		}
	}
	stored := scim.Object{"displayName": "Staff", "externalId": "g1"}
	change := func(in *policies.Input) { in.Final, in.Facts, in.Stored, in.Result = true, staff{}, stored, stored }
	made := map[string]any{"value": "U1"}
	n := 0
	fresh := func(in *policies.Input) { // no request before it has these members
		n++
		clear(made)
		made["value"], made[strconv.Itoa(n)] = "U1", true
		in.Raw[0].Value = []any{made}
		for i := range in.Canonical {
			in.Canonical[i].Value, in.Canonical[i].HasValue = in.Raw[0].Value, true
		}
	}
	unseen := func(*policies.Input) { e.Forget() }
	cases := map[string]func(){
		"patch": decide(*patch, "acme", nil), "fresh": decide(*patch, "acme", fresh), "eval": evalInput(b, patch), "get": decide(*get, "acme", nil),
		"get-rules": decide(*get, "twenty", nil), "twenty": decide(*patch, "twenty", nil),
		"values": decide(*patch, "values", fresh),
		"unseen": decide(*patch, "acme", unseen), "unseen20": decide(*patch, "twenty", unseen),
		"others": decide(*patch, "others", nil),
		"change": decide(*patch, "change", change),
	}
	least, allocs := map[string]time.Duration{}, map[string]float64{}
	for name, run := range cases {
		allocs[name] = testing.AllocsPerRun(100, run)
	}
	const turns = 50
	for b.Loop() {
		for range 40 {
			for name, run := range cases {
				start := time.Now()
				for range turns {
					run()
				}
				if took := time.Since(start) / turns; least[name] == 0 || took < least[name] {
					least[name] = took
				}
			}
		}
	}
	µs := func(d time.Duration) float64 { return float64(d) / 1e3 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(µs(least["patch"]), "patch-µs")
	b.ReportMetric(allocs["patch"], "patch-allocs")
	b.ReportMetric(µs(least["fresh"]), "fresh-µs")
	b.ReportMetric(allocs["fresh"], "fresh-allocs")
	b.ReportMetric(µs(least["unseen"]), "unseen-µs")
	b.ReportMetric(allocs["unseen"], "unseen-allocs")
	b.ReportMetric(µs(least["unseen20"]-least["unseen"]), "unseen20-µs")
	b.ReportMetric(allocs["unseen20"]-allocs["unseen"], "unseen20-allocs")
	b.ReportMetric(µs(least["eval"]), "eval-µs")
	b.ReportMetric(allocs["eval"], "eval-allocs")
	b.ReportMetric(µs(least["get"]), "get-µs")
	b.ReportMetric(µs(least["get-rules"]), "get-rules-µs")
	b.ReportMetric(µs(least["others"]-least["patch"]), "others20-µs")
	b.ReportMetric(allocs["others"]-allocs["patch"], "others20-allocs")
	b.ReportMetric(µs(least["twenty"]-least["patch"]), "rules20-µs")
	b.ReportMetric(allocs["twenty"]-allocs["patch"], "rules20-allocs")
	b.ReportMetric(µs(least["values"]-least["fresh"]), "values20-µs")
	b.ReportMetric(allocs["values"]-allocs["fresh"], "values20-allocs")
	b.ReportMetric(µs(least["change"]-least["twenty"]), "change-µs")
	b.ReportMetric(allocs["change"]-allocs["twenty"], "change-allocs")
}

// staff are the Facts of a group in two groups.
type staff struct{ policies.Facts }

func (staff) Groups(int) (policies.Groups, error) {
	return policies.Groups{Complete: true, List: []policies.Group{{ID: "G2", DisplayName: "A"}, {ID: "G3", DisplayName: "B"}}}, nil
}
