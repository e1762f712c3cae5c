package limit_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/limit"
)

// TestGroup: a name that is spread over three processes, which tell each other every second what they used, gets its
// rate once and not three times, beyond the bursts of the first second. Another kind with the same name is not touched.
func TestGroup(t *testing.T) {
	const rate, burst = 10, 20
	var groups [3]limit.Group
	var buckets, others [3]*limit.Buckets
	for i := range groups {
		var err error
		if buckets[i], err = groups[i].New("scim"); err != nil {
			t.Fatal(err)
		}
		if others[i], err = groups[i].New("tokens"); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	passed := 0
	for step := range 300 { // 10 a second at each
		now := start.Add(time.Duration(step) * 100 * time.Millisecond)
		for i := range groups {
			if buckets[i].Take("a", rate, burst, now) == 0 {
				passed++
			}
			if step%10 == 9 {
				tell(t, groups[:], i, now)
			}
		}
	}
	if most := 30*rate + 3*burst; passed > most || passed < 30*rate*9/10 {
		t.Errorf("%d of 900 requests passed in 30 s, want about %d and at most %d", passed, 30*rate, most)
	}
	if wait := others[0].Wait("a", start.Add(30*time.Second)); wait != 0 {
		t.Errorf("the same name of another kind waits %s", wait)
	}
}

// tell passes what one process used to the others, as they do.
func tell(t *testing.T, all []limit.Group, from int, now time.Time) {
	t.Helper()
	b, err := json.Marshal(all[from].Used())
	if err != nil {
		t.Fatal(err)
	}
	var used map[string]map[string]limit.Used
	if err := json.Unmarshal(b, &used); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if i != from {
			all[i].Add(used, now)
		}
	}
}

// TestGroupIsBounded: a message has a bounded number of names, and whatever it says keeps nobody out for long. What it
// says of another kind is ignored, and a process alone has nothing to tell.
func TestGroupIsBounded(t *testing.T) {
	var g limit.Group
	b, err := g.New("scim")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3000 {
		b.Take(fmt.Sprint("n", i), 1, 1, now)
	}
	if n := len(g.Used()["scim"]); n != 1024 {
		t.Errorf("a message has %d names, want 1024", n)
	}
	if used := g.Used(); used != nil {
		t.Errorf("the next message has %v, want nothing", used)
	}
	huge := limit.Used{Tokens: 1 << 40, Limit: 1, Burst: 2}
	g.Add(map[string]map[string]limit.Used{"scim": {"x": huge, "none": {Tokens: 5}}, "other": {"x": huge}}, now)
	if wait := b.Wait("x", now); wait <= 0 || wait > 3*time.Second {
		t.Errorf("after a huge number at another process Wait() = %s, want 3s at most", wait)
	}
	var alone *limit.Group
	if b, err = alone.New("scim"); err != nil {
		t.Fatal(err)
	}
	b.Take("x", 1, 1, now)
	if alone.Add(nil, now); alone.Used() != nil {
		t.Error("a process alone tells something")
	}
}
