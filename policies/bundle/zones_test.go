package bundle_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/scimward/scimward/policies"
)

// timeCalls are the calls of each builtin that takes a time as [ns, zone]; T stands for the time.
var timeCalls = map[string][]string{
	"time.add_date": {`time.add_date(T, 0, 1, 0)`},
	"time.clock":    {`time.clock(T)`},
	"time.date":     {`time.date(T)`},
	"time.diff":     {`time.diff(T, 9)`, `time.diff(9, T)`},
	"time.format":   {`time.format(T)`},
	"time.weekday":  {`time.weekday(T)`},
}

// TestRulesKnowUTCOnly: no verdict depends on the zone of the machine or on its database of zones. A zone in the text
// of a rule is refused with its place. On a computed one there is no verdict.
func TestRulesKnowUTCOnly(t *testing.T) {
	var takeTimes []string
	for _, b := range policies.BundleCapabilities().Builtins {
		if strings.HasPrefix(b.Name, "time.") && b.Name != "time.parse_rfc3339_ns" {
			takeTimes = append(takeTimes, b.Name)
		}
	}
	slices.Sort(takeTimes)
	if names := slices.Sorted(maps.Keys(timeCalls)); !slices.Equal(names, takeTimes) {
		t.Errorf("rules may call %v, tested are %v", takeTimes, names)
	}
	for name, calls := range timeCalls {
		for _, call := range calls {
			rule := func(of string) string {
				return "requirements[\"a\"] := {\"message\": sprintf(\"%v\", [" + strings.Replace(call, "T", of, 1) +
					"])} if input.resource.userName\n\nsatisfied contains \"a\" if input.resource.title\n"
			}
			for _, zone := range []string{`"Local"`, `"Europe/Berlin"`, `"utc"`, `7`} {
				_, err := rulesOf(t, nil, rule("[0, "+zone+"]")).Check(t.Context())
				if err == nil || !strings.Contains(err.Error(), "policy/a.rego:3") || !strings.Contains(err.Error(), name) {
					t.Errorf("%s in %s: %v, want the place and the name", call, zone, err)
				}
			}
			for of, fails := range map[string]bool{
				`[0, "Local"]`: true, `[0, "Asia/Tokyo", "RFC822"]`: true, `[0, "UTC"]`: false, `[0, ""]`: false, `0`: false,
			} {
				data := fstest.MapFS{"policy/data.json": {Data: []byte(`{"times": [` + of + `, "x"]}`)}}
				rules, err := rulesOf(t, data, rule("data.policy.times[count(input.raw)]")).Compile(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				doc, err := policies.ParseDocument([]byte(`{"method": "POST", "raw": [], "resource": {"userName": "ada"}}`))
				if err != nil {
					t.Fatal(err)
				}
				found, err := rules.JudgeDocument(t.Context(), doc)
				if fails != (err != nil) || !fails && len(found) != 1 {
					t.Errorf("%s of %s: %v %v, want a verdict: %t", call, of, found, err, !fails)
				}
			}
		}
	}
	utc := strings.Replace(goodRule, `"m"`, `time.format([0, "UTC", "RFC822"])`, 1)
	if _, err := rulesOf(t, nil, utc).Check(t.Context()); err != nil {
		t.Error(err)
	}
}
