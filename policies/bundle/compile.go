package bundle

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/scimward/scimward/policies"
)

// testTimeout bounds one test of a bundle, and testsTimeout all of them.
const (
	testTimeout  = 5 * time.Second
	testsTimeout = 30 * time.Second
)

// Rules compiles the rules and tries them on a request without content. It runs no tests: for a bundle that passed
// them before. Errors are *Error.
func (b *Bundle) Rules(ctx context.Context) (*policies.Rules, error) {
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
	results, err := b.Test(ctx)
	if err != nil {
		return nil, err
	}
	var failed []string
	for _, r := range results {
		if !r.Pass() {
			failed = append(failed, r.Package+"."+r.Name)
		}
	}
	switch {
	case len(results) == 0:
		return nil, refuse("test", "the bundle has no tests: write rules that begin with test_ in *_test.rego")
	case len(failed) > 0:
		return nil, refuse("test", "%d of %d tests failed: %s", len(failed), len(results), strings.Join(failed, ", "))
	}
	return rules, nil
}

// Name is the revision with the start of the digest: two bundles never have the same name.
func (b *Bundle) Name() string { return b.Revision + "@" + b.SHA256[:12] }

// Test runs the tests of the bundle.
func (b *Bundle) Test(ctx context.Context) ([]*tester.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, testsTimeout)
	defer cancel()
	all := maps.Clone(b.modules)
	maps.Copy(all, b.tests)
	compiler := ast.NewCompiler().WithCapabilities(policies.BundleCapabilities()).WithEnablePrintStatements(true)
	runner := tester.NewRunner().SetDefaultRegoVersion(ast.RegoV1).EnableTracing(true).RaiseBuiltinErrors(true).
		SetTimeout(testTimeout).SetCompiler(compiler).SetStore(inmem.NewFromObject(b.data)).SetModules(all)
	found, err := runner.RunTests(ctx, nil)
	if err != nil {
		return nil, &Error{"test", err}
	}
	var out []*tester.Result
	for r := range found {
		out = append(out, r)
	}
	if err := ctx.Err(); err != nil {
		return nil, refuse("test", "the tests took longer than %s", testsTimeout)
	}
	return out, nil
}
