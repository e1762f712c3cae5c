package bundle

import (
	"context"
	"strings"

	"github.com/scimward/scimward/policies"
)

// Rules compiles the rules and tries them on a request without content. It runs no tests: for a bundle that passed
// them before. Errors are *Error.
func (b *Bundle) Rules(ctx context.Context) (_ *policies.Rules, err error) {
	defer guard("compile", &err)
	rules, err := policies.NewRules(ctx, policies.RulesOptions{Revision: b.Name(), Modules: b.modules, Data: b.data})
	if err != nil {
		return nil, &Error{"compile", err}
	}
	if err := rules.Smoke(ctx); err != nil {
		return nil, &Error{"smoke", err}
	}
	return rules, nil
}

// Compile is Rules for a new bundle: the tests of the bundle must pass too. A bundle without tests is refused:
// nothing would show that its rules do what they say.
func (b *Bundle) Compile(ctx context.Context) (*policies.Rules, error) {
	rules, err := b.Rules(ctx)
	if err != nil {
		return nil, err
	}
	results, err := b.Test(ctx, TestOptions{})
	if err != nil {
		return nil, err
	}
	var failed []string
	for _, r := range results.Tests {
		if !r.Pass {
			failed = append(failed, r.Name)
		}
	}
	if len(failed) > 0 {
		return nil, refuse("test", "%d of %d tests failed: %s", len(failed), len(results.Tests), strings.Join(failed, ", "))
	}
	return rules, nil
}

// Name is the revision with the start of the digest: two bundles never have the same name.
func (b *Bundle) Name() string { return b.Revision + "@" + b.SHA256[:12] }
