package bundle_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// TestCallsAreBounded: one call of a builtin neither fills the memory nor goes on after the deadline. The engine looks
// at the deadline between calls only, and memory that the machine does not have would end the process of all tenants.
func TestCallsAreBounded(t *testing.T) {
	const (
		long  = "\tx := concat(\"\", [n | some n in data.policy.long])\n"                                                  // 2 MiB
		large = "\tz := concat(\"\", [x, x, x, x, x])\n"                                                                   // 10 MiB
		many  = "x0 := data.policy.ids\nx1 := [x0 | some _ in x0]\nx2 := [x1 | some _ in x0]\nx3 := [x2 | some _ in x0]\n" // 10¹² texts
		wide  = "\ty := replace(x, \"a\", \"ä\")\n"
	)
	e, err := policies.NewEngine(policies.Options{Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var squares string
	for i := range 14 {
		squares += fmt.Sprintf("x%d := x%d * x%d\n", i+1, i, i)
	}
	repeat := func(format, of string, n int) string {
		return strings.Replace(format, "N", strings.Repeat(of, n), 1)
	}
	for name, body := range map[string]string{
		"concat":                 long + repeat(`count(concat("", [N"b"])) > 0`, "x, ", 500),
		"sprintf":                long + repeat(`count(sprintf("N", [x])) > 0`, "%[1]s", 500),
		"sprintf widths":         repeat(`count(sprintf("N", [1, 2])) > 0`, "%[1]999999d", 100),
		"replace":                long + `count(replace(x, "a", x)) > 0`,
		"replace finds":          long + `count(replace(x, concat("", ["b", x]), "")) > 0`,
		"split":                  long + `count(split(x, "")) > 0`,
		"array.concat":           long + `y := split(substring(x, 0, 200000), ""); z := array.concat(y, y); count(array.concat(array.concat(z, z), array.concat(z, z))) > 0`,
		"base64.encode":          long + large + `count(base64.encode(z)) > 0`,
		"hex.encode":             long + large + `count(hex.encode(z)) > 0`,
		"regex.match":            long + `regex.match("(x+x+)+y|(a{1,10}){1,10}b", x)`,
		"regex repeats":          long + `regex.match("((a{1,10}){1,10}){1,10}b", substring(x, 0, 100000))`,
		"glob.match":             long + `glob.match("*a*a*a*a*a*b", [], x)`,
		"glob.match words":       long + `glob.match("*{a,aa}*{a,ac}*b", [], substring(x, 0, 3000))`,
		"indexof":                long + wide + `indexof(y, concat("", [substring(y, 0, 1000000), "b"])) > 0`,
		"trim":                   long + wide + `count(trim(x, y)) > 0`,
		"trim_left":              long + wide + `count(trim_left(x, y)) > 0`,
		"trim_right":             long + wide + `count(trim_right(x, y)) > 0`,
		"mul":                    "x0 := 12345\n" + squares + "x14 > 0",
		"div":                    `data.policy.digits / data.policy.digits > 0`,
		"rem":                    `data.policy.digits % data.policy.digits > 0`,
		"to_number hexadecimal":  `to_number("0x1p-500000") > 0`,
		"to_number":              long + `to_number(concat("", ["0.", replace(x, "a", "0"), "1"])) > 0`,
		"object.subset":          `object.subset(data.policy.zeros, data.policy.sub)`,
		"object.subset of parts": `object.subset({"a": [data.policy.zeros]}, {"a": [data.policy.sub]})`,
		"object.subset of many":  many + `object.subset(x3, x2)`,
		"json.filter":            long + `json.filter(input, [replace(x, "a", "a/")]) == {}`,
		"json.remove":            long + `json.remove(input, [split(substring(x, 0, 40000), "")]) == {}`,
		"sprintf of many":        many + `sprintf("%v", [x3]) != ""`,
		"mul powers":             `data.policy.power * data.policy.power > 0`,
		"product powers":         `product([data.policy.power | some i, _ in data.policy.ids; i < 140]) > 0`,
		"product":                `product([12345 | some _ in data.policy.ids]) > 0`,
	} {
		t.Run(name, func(t *testing.T) {
			call, _, _ := strings.Cut(name, " ")
			if call == "regex" {
				call = "regex.match"
			}
			if v := judged(t, e, body); v.Failure != policies.FailureEvaluation || !strings.Contains(v.Reason, call+": the ") {
				t.Errorf("%+v, want a refusal of %s", v, call)
			}
		})
	}
	for _, body := range []string{ // what rules do
		`regex.match("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "0f6ee1c9-3d5e-4b5e-9a43-5d401410aaaa")`,
		`count(split(concat(",", [n | some n in data.policy.ids]), ",")) == 1000`,
		`sprintf("%s: %d of %d, %v", ["a", 1, 2, data.policy.ids]) != ""`,
		`glob.match("*@*.example.com", [], "ada@mail.example.com"); glob.match("*@{a,b,c,d,e,f,g,h}.{com,org}", [], "ada@h.org")`,
		`object.subset([1, 2, 3, 4], [2, 3]); object.subset({"a": [1], "b": data.policy.zeros}, {"a": [1]}); to_number("1.5") > 1`,
		`json.filter({"a": {"b": 1, "c": 2}}, ["a/b", ["a", "c"]]) == {"a": {"b": 1, "c": 2}}`,
		`product([2, 3]) * 7 % 5 == 2; trim("xax", "x") == "a"; indexof("äb", "b") == 1; replace("aba", "a", "bb") == "bbbbb"`,
	} {
		if v := judged(t, e, body); v.Failure != "" || len(v.Violations) != 1 {
			t.Errorf("%s: %+v", body, v)
		}
	}
}

// judged judges a request by a rule with this body. It fails if that takes long.
func judged(t *testing.T, e *policies.Engine, body string) policies.Verdict {
	t.Helper()
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = "0f6ee1c9-3d5e-4b5e-9a43-5d401410aaaa"
	}
	data, err := json.Marshal(map[string]any{
		"ids": ids, "digits": json.Number(strings.Repeat("9", 900)), "power": json.Number("1e30000"),
		"zeros": make([]int, 5000), "sub": append(make([]int, 4000), 1),
		"long": slices.Repeat([]string{strings.Repeat("a", 40<<10)}, 49),
	})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := rulesOf(t, fstest.MapFS{"policy/data.json": {Data: data}},
		"requirements[\"a\"] := {\"message\": \"m\"} if {\n\tinput.resource.userName\n\tbad\n}\n\n"+
			"bad if {\n"+body+"\n}\n\nsatisfied contains \"a\" if input.resource.title\n").Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.SetRules(map[string]*policies.Rules{"acme": rules})
	began := time.Now()
	v := e.Decide(t.Context(), &policies.Input{
		Profile: "rfc7644", Tenant: "acme", Method: "POST", Route: "POST /Users", ResourceType: "User",
		Client:   policies.Client{ID: "c", Issuer: "https://idp.example", Scopes: []string{"scim"}},
		Resource: scim.Object{"userName": "ada"}, Final: true,
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the rule took %s", took)
	}
	return v
}
