package bundle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// inUse is the memory of this process that the collector cannot free.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// twentyRules packs a bundle with 20 requirements, each with one proof or two.
func twentyRules(tb testing.TB, revision string, proofs int) []byte {
	tb.Helper()
	var rego strings.Builder
	rego.WriteString("package policy\n")
	for i := range 20 {
		fmt.Fprintf(&rego, `
# Every user has attribute %[1]d.
requirements["attribute-%[1]d"] := {"message": sprintf("attribute %[1]d of %%v is missing", [input.tenant]), "fix": "send it"} if {
	input.method in {"POST", "PUT"}
	input.resource_type == "User"
}

satisfied contains "attribute-%[1]d" if input.resource["attribute%[1]d"] != ""
`, i)
		if proofs > 1 {
			fmt.Fprintf(&rego, `
satisfied contains "attribute-%[1]d" if {
	input.client.id == "hr"
	input.resource.userType == "Intern"
}
`, i)
		}
	}
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range map[string]string{
		".manifest":         fmt.Sprintf(`{"revision": %q, "roots": ["policy"], "rego_version": 1, "metadata": {"serial": 1}}`, revision),
		"policy/rules.rego": rego.String(),
		"policy/rules_test.rego": `package policy.trial

import data.policy

test_defined if policy.requirements with input as {"method": "GET"}
`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	raw, err := bundle.Archive(os.DirFS(dir))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// TestWeight: the compiled rules of a bundle with 20 requirements, each with one proof or two, take at most 400 KiB.
func TestWeight(t *testing.T) {
	const n, bar = 40, 400 << 10
	for _, proofs := range []int{1, 2} {
		var kept []*policies.Rules
		compile := func(n int) {
			for i := range n {
				b, err := bundle.Read(twentyRules(t, fmt.Sprint("r", i), proofs), bundle.Trust{Unsigned: true})
				if err != nil {
					t.Fatal(err)
				}
				rules, err := b.Compile(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, rules)
			}
		}
		compile(1) // what all bundles share is there
		before := inUse()
		compile(n)
		each := (inUse() - before) / n
		runtime.KeepAlive(kept)
		t.Logf("a bundle with 20 rules with %d proof(s) each takes %d KiB", proofs, each>>10)
		if each > bar {
			t.Errorf("a bundle with 20 rules with %d proof(s) each takes %d bytes, want at most %d", proofs, each, bar)
		}
	}
}
