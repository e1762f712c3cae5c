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

// Compile is Rules for a new bundle, whose tests must [Bundle.Pass] too.
func (b *Bundle) Compile(ctx context.Context) (*policies.Rules, error) {
	rules, err := b.Rules(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.Pass(ctx); err != nil {
		return nil, err
	}
	return rules, nil
}

// Pass runs the tests of the bundle and demands that all pass. A bundle without tests is refused: nothing would show
// that its rules do what they say. It ends after [TestsTimeout]. Errors are *Error.
func (b *Bundle) Pass(ctx context.Context) error {
	results, err := b.Test(ctx, TestOptions{})
	if err != nil {
		return err
	}
	var failed []string
	for _, r := range results.Tests {
		if !r.Pass {
			failed = append(failed, r.Name)
		}
	}
	if len(failed) > 0 {
		return refuse("test", "%d of %d tests failed: %s", len(failed), len(results.Tests), strings.Join(failed, ", "))
	}
	return nil
}

// Name is the revision with the start of the digest: two bundles never have the same name.
func (b *Bundle) Name() string { return b.Revision + "@" + b.SHA256[:12] }
