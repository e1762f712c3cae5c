package policies_test

import (
	"slices"
	"testing"

	"github.com/scimward/scimward/policies"
)

// TestEveryBuiltinIsBounded: each builtin that rules may call costs as much as its operands and is counted, or is
// constant. Who adds one says which.
func TestEveryBuiltinIsBounded(t *testing.T) {
	counted, constant := policies.Counted(), policies.Constant()
	var all []string
	for _, b := range policies.BundleCapabilities().Builtins {
		all = append(all, b.Name)
		if slices.Contains(counted, b.Name) == slices.Contains(constant, b.Name) {
			t.Errorf("%s is in none of the lists of costs and constant, or in both", b.Name)
		}
		if b.Deprecated {
			t.Errorf("%s is deprecated, so no rule can call it", b.Name)
		}
	}
	for _, name := range slices.Concat(counted, constant) {
		if !slices.Contains(all, name) {
			t.Errorf("%s has a bound, and no rule may call it", name)
		}
	}
}
