package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"github.com/scimward/scimward/policies"
)

// Problem is one reason why a bundle is refused.
type Problem struct {
	Stage   string `json:"stage"` // see [Error]
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

func (p Problem) String() string {
	if p.File == "" {
		return p.Stage + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Stage, p.Message)
}

// Problems lists what an error of this package says, one for each place in the files.
func Problems(err error) []Problem {
	var refused *Error
	if !errors.As(err, &refused) {
		return []Problem{{Message: err.Error()}}
	}
	var all ast.Errors
	if !errors.As(refused.Err, &all) {
		return []Problem{{Stage: refused.Stage, Message: refused.Err.Error()}}
	}
	out := make([]Problem, 0, len(all))
	for _, e := range all {
		p := Problem{Stage: refused.Stage, Message: e.Message}
		if e.Location != nil {
			p.File, p.Line = e.Location.File, e.Location.Row
		}
		out = append(out, p)
	}
	return out
}

// Check compiles the rules and their tests, strictly. It runs no test. Errors are *Error.
func (b *Bundle) Check(ctx context.Context) (*policies.Rules, error) {
	if err := b.mistakes(); err != nil {
		return nil, err
	}
	rules, err := b.Rules(ctx)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(b.modules)
	maps.Copy(all, b.tests)
	compiler := ast.NewCompiler().WithStrict(true).WithCapabilities(policies.BundleCapabilities()).
		WithEnablePrintStatements(true)
	if compiler.Compile(all); compiler.Failed() {
		return nil, &Error{"compile", policies.ExplainErrors(compiler.Errors)}
	}
	return rules, nil
}

// mistakes refuses rules that compile and cannot be meant.
func (b *Bundle) mistakes() (err error) {
	defer guard("compile", &err)
	if found := policies.Mistakes(b.modules); len(found) > 0 {
		return &Error{"compile", found}
	}
	return nil
}

// Format returns a Rego file in the usual form. Errors are *Error.
func Format(name string, text []byte) ([]byte, error) {
	out, err := format.SourceWithOpts(name, text, format.Opts{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, &Error{"parse", err}
	}
	return out, nil
}
