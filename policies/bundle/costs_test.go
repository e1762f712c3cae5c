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
	"github.com/scimward/scimward/policies/bundle"
)

// TestCallsAreBounded: one call of a builtin neither fills the memory nor goes on after the deadline. The engine looks
// at the deadline between calls only, and memory that the machine does not have would end the process of all tenants.
func TestCallsAreBounded(t *testing.T) {
	const (
		long    = "\tx := concat(\"\", [n | some n in data.policy.long])\n"                                                  // 2 MiB
		large   = "\tz := concat(\"\", [x, x, x, x, x])\n"                                                                   // 10 MiB
		many    = "x0 := data.policy.ids\nx1 := [x0 | some _ in x0]\nx2 := [x1 | some _ in x0]\nx3 := [x2 | some _ in x0]\n" // 10¹² texts
		list50k = "list50k := [sprintf(\"u%d\", [i]) | some i, _ in split(sprintf(\"%50000d\", [1]), \"\")]\n"
		set50k  = list50k + "set50k := {u | some u in list50k}\n"
		wide    = "\ty := replace(x, \"a\", \"ä\")\n"
	)
	shared := doubled(`[V | some _ in ["a", "b"]]`, "x", "y") // 2²⁶ texts each
	one := doubled(`[V | some _ in ["a", "b"]]`, "x")
	merged := doubled(`{k: V | some k in ["a", "b"]}`, "x", "y") // 2²⁶ objects each
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
		"object.subset of parts": `object.subset({"a": data.policy.zeros}, {"a": data.policy.sub})`,
		"object.subset of many":  many + `object.subset(x3, x2)`,
		"object.subset compares": shared + `object.subset({"a": x26}, {"a": y26})`,
		"object.union":           merged + `object.union(x26, y26) != {}`,
		"object.get":             one + `object.get({"a": 1}, [x26], 1) == 1`,
		"object.remove":          one + `object.remove({"a": 1}, [x26]) == {}`,
		"object.filter":          one + `object.filter({"a": 1}, [x26]) == {}`,
		"!=":                     shared + `x26 != y26`,
		"==":                     shared + `x26 == y26`,
		"== of members":          shared + `o := {"a": x26, "b": y26}; o.a == o.b`,
		"== in not":              shared + `not x26 == y26`,
		"== in a list":           shared + `count([1 | x26 == y26]) == 1`,
		"== in every":            shared + `every a in [x26] { a == y26 }`,
		"== as a value":          shared + `[x26 == y26] == [true]`,
		"<=":                     shared + `x26 <= y26`,
		"in":                     shared + `x26 in [y26]`,
		"in of long texts":       long + `concat("", [x, "b"]) in [x | some _ in data.policy.ids]`,
		"&":                      shared + `{x26} & {y26} != set()`,
		"|":                      shared + `{x26} | {y26} != set()`,
		"-":                      shared + `{x26} - {y26} == set()`,
		"union":                  shared + `union({{x26}, {y26, 1}}) != set()`,
		"intersection":           shared + `intersection({{x26}, {y26, 1}}) != set()`,
		"sort":                   shared + `sort([x26, y26]) != []`,
		"max":                    shared + `max([x26, y26]) != []`,
		"min":                    shared + `min([x26, y26]) != []`,
		"array.reverse":          long + `array.reverse([x | some _ in data.policy.ids]) != []`,
		"array.slice":            long + `array.slice([x | some _ in data.policy.ids], 1, 900) != []`,
		"contains":               long + `contains(x, concat("", [substring(x, 0, 1000000), "b"]))`,
		"split searches":         long + `count(split(x, concat("", [substring(x, 0, 1000000), "b"]))) > 0`,
		"replace prepares":       long + `replace("b", x, "") == "b"`,
		"upper":                  long + large + `upper(z) != ""`,
		"count":                  long + large + `count(z) > 0`,

		"strings.any_suffix_match": long + `strings.any_suffix_match([x | some _ in data.policy.ids], [concat("", [x, "b"])])`,
		"strings.any_prefix_match": long + `strings.any_prefix_match([x | some _ in data.policy.ids], [concat("", [x, "b"])])`,

		"regex.match long":        long + `regex.match(x, "")`,
		"regex.match classes":     long + `regex.match(concat("", ["^", replace(substring(x, 0, 900), "a", "\\pL")]), "")`,
		"regex.match repetitions": long + `regex.match(replace(substring(x, 0, 400), "a", "b{1000}"), "")`,
		"glob.match long":         long + `glob.match(x, [], "")`,
		"glob.match delimiters":   `glob.match("*", data.policy.ids, "")`,
		"floor":                   `floor(data.policy.power) > 0`,
		"+":                       `data.policy.power + 1 > 0`,
		"sum":                     `sum([data.policy.power, 1]) > 0`,
		"time.date":               `time.date(data.policy.power) != []`,
		"time.format":             long + large + `time.format([0, "UTC", z]) != ""`,
		"sprintf of many":         many + `sprintf("%v", [x3]) != ""`,
		"mul powers":              `data.policy.power * data.policy.power > 0`,
		"product powers":          `product([data.policy.power | some i, _ in data.policy.ids; i < 140]) > 0`,
		"product":                 `product([12345 | some _ in data.policy.ids]) > 0`,
	} {
		t.Run(name, func(t *testing.T) {
			call, _, _ := strings.Cut(name, " ")
			switch call {
			case "regex":
				call = "regex.match"
			case "mul", "div", "rem":
				call = map[string]string{"mul": "*", "div": "/", "rem": "%"}[call]
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
		`regex.match("^[\\p{L} '-]{1,256}$", "Wolfeschlegelsteinhausenbergerdorff von und zu Hohenlohe-Langenburg-Schillingsfürst")`,
		`regex.match("^[^\\p{C}]{1,256}$", "Ada Lovelace"); regex.match("^[\\p{L}\\p{M}\\p{N} .,'-]{1,128}$", "Ada Lovelace")`,
		set50k + `object.subset(set50k, {"u7"}); object.subset(list50k, ["u7", "u8"]); "u49999" in list50k; "u7" in set50k`,
		set50k + `sort(list50k)[0] == "u0"; max(list50k) == "u9999"; count(set50k | {"x"}) == 50001; count(set50k - {"u7"}) == 49999`,
		list50k + `strings.any_suffix_match("ada@u7", list50k); strings.any_prefix_match(list50k, ["u49999"])`,
		`x := [1, {"a": [2]}]; x == [1, {"a": [2]}]; not x == [1]; not input.resource.none == input.resource.other; input.resource == input.resource`,
		`every u in ["ada"] { u == input.resource.userName }; [1 == 2] == [false]; data.policy.ids == data.policy.ids`,
		`object.union({"a": data.policy.ids, "b": {"c": 1}}, {"b": {"d": 2}}) == {"a": data.policy.ids, "b": {"c": 1, "d": 2}}`,
		`object.remove(input.resource, ["meta"]) == input.resource; object.filter(input.resource, ["userName", "displayName"]) == input.resource`,
		`time.format([0, "UTC", "2006-01-02"]) == "1970-01-01"; sum(data.policy.zeros) == 0; data.policy.ids != ["a"]`,
		`object.subset([1, 2, 3, 4], [2, 3]); object.subset({"a": [1], "b": data.policy.zeros}, {"a": [1]}); to_number("1.5") > 1`,
		`product([2, 3]) * 7 % 5 == 2; trim("xax", "x") == "a"; indexof("äb", "b") == 1; replace("aba", "a", "bb") == "bbbbb"`,
	} {
		if v := judged(t, e, body); v.Failure != "" || len(v.Violations) != 1 {
			t.Errorf("%s: %+v", body, v)
		}
	}
}

// doubled are values that begin with one text each, and consist of the one before twice, 26 times.
func doubled(of string, names ...string) string {
	var b strings.Builder
	for _, v := range names {
		fmt.Fprintf(&b, "%s0 := {\"a\": input.resource.userName}\n", v)
		for i := range 26 {
			fmt.Fprintf(&b, "%s%d := %s\n", v, i+1, strings.ReplaceAll(of, "V", fmt.Sprint(v, i)))
		}
	}
	return b.String()
}

// judged judges a request by a rule with this body.
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
	return verdictOf(t, e, fstest.MapFS{"policy/data.json": {Data: data}},
		"requirements[\"a\"] := {\"message\": \"m\"} if {\n\tinput.resource.userName\n\tbad\n}\n\n"+
			"bad if {\n"+body+"\n}\n\nsatisfied contains \"a\" if input.resource.title\n")
}

// TestBuiltinsOutOfReach: a rule or a test that calls what has no bound, or reaches the network or a clock, does not
// compile, and the error says what to write.
func TestBuiltinsOutOfReach(t *testing.T) {
	for call, want := range map[string]string{
		`json.filter(input, ["a"]) == {}`:    "policy/a.rego:4: compile: undefined function json.filter: rules may not call it; write object.filter",
		`json.remove(input, ["a"]) == {}`:    "json.remove: rules may not call it; write object.remove",
		`json.patch(input, []) == {}`:        "json.patch: rules may not call it; write object.remove and object.union",
		`object.union_n([input, {}]) == {}`:  "object.union_n: rules may not call it; write object.union of two",
		`time.now_ns() > 0`:                  "time.now_ns: rules may not call it; read input.received",
		`walk(input, [_, "x"])`:              "walk: rules may not call it",
		`numbers.range(1, 100000000) != []`:  "numbers.range: rules may not call it",
		`crypto.sha256(input.method) != ""`:  "crypto.sha256: rules may not call it; docs/policy-input.md lists what they may call",
		`http.send({"url": ""}).status == 1`: "http.send: rules may not call it",
	} {
		rule := "requirements[\"a\"] := {\"message\": \"m\"} if {\n\t" + call + "\n}\n\nsatisfied contains \"a\" if input.resource.title\n"
		_, err := rulesOf(t, nil, rule).Check(t.Context())
		if err == nil || !strings.Contains(fmt.Sprint(bundle.Problems(err)), want) {
			t.Errorf("%s: %v, want %q", call, err, want)
		}
		test := fstest.MapFS{"policy/b_test.rego": {Data: []byte("package policy.test\n\ntest_call if {\n\t" + call + "\n}\n")}}
		b := rulesOf(t, test, goodRule)
		if _, err := b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "may not call it") {
			t.Errorf("%s in a test, checked: %v", call, err)
		}
		if err := b.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "may not call it") {
			t.Errorf("%s in a test: %v", call, err)
		}
	}
}
