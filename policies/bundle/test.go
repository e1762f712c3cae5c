package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/scimward/scimward/policies"
)

// testTimeout bounds one test of a bundle.
const testTimeout = 5 * time.Second

// TestsTimeout bounds all tests of a bundle.
const TestsTimeout = 30 * time.Second

// maxTestOutput bounds what the tests of a bundle print.
const maxTestOutput = 64 << 10

// TestOptions are how the tests of a bundle run.
type TestOptions struct {
	Run      string // regular expression for the names of the tests; "" runs all
	Print    bool   // keep what the tests print
	Coverage bool   // also find out which lines of the rules no test reaches
}

// TestResult is the outcome of one test.
type TestResult struct {
	Name   string        `json:"name"` // "data.policy.test.test_deny"
	File   string        `json:"file"`
	Line   int           `json:"line"`
	Pass   bool          `json:"pass"`
	Error  string        `json:"error,omitempty"`  // why it stopped
	Failed string        `json:"failed,omitempty"` // what did not hold, with its place: "policy/a_test.rego:7: x == 1"
	Output string        `json:"output,omitempty"` // of print
	Took   time.Duration `json:"nanoseconds"`
}

// TestReport is the outcome of the tests of a bundle.
type TestReport struct {
	Tests    []TestResult `json:"tests"` // by file and line
	Failed   int          `json:"failed"`
	Coverage *Coverage    `json:"coverage,omitempty"` // if it was asked for
}

// Coverage says which lines of the rules the tests reach.
type Coverage struct {
	Percent   float64  `json:"percent"`
	Uncovered []string `json:"uncovered"` // "policy/rules.rego:12-14"
}

// Test runs the tests of the bundle. A bundle without tests is refused: nothing would show that its rules do what
// they say. So is one whose rules cannot be meant, see [policies.Mistakes]. Errors are *Error.
func (b *Bundle) Test(ctx context.Context, o TestOptions) (*TestReport, error) {
	if _, err := regexp.Compile(o.Run); err != nil {
		return nil, refuse("test", "%w", err)
	}
	if err := b.mistakes(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, TestsTimeout)
	defer cancel()
	runner := b.runner(o)
	reached := cover.New()
	if o.Coverage {
		runner.SetCoverageRuns(nil).SetCoverageQueryTracer(reached)
	}
	out := &TestReport{Tests: []TestResult{}}
	if err := run(ctx, runner, out); err != nil {
		return nil, &Error{"test", err}
	}
	switch {
	case ctx.Err() != nil:
		return nil, refuse("test", "the tests took longer than %s", TestsTimeout)
	case len(out.Tests) == 0 && o.Run != "":
		return nil, refuse("test", "no test has a name like %q", o.Run)
	case len(out.Tests) == 0:
		return nil, refuse("test", "the bundle has no tests: write rules that begin with test_ in *_test.rego")
	}
	slices.SortFunc(out.Tests, func(a, b TestResult) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	if o.Coverage {
		out.Coverage = b.coverage(reached)
	}
	if o.Print {
		b.explain(ctx, out)
	}
	return out, nil
}

// stuckTest is the time without a result after which a test does not end any more. The engine ends an evaluation
// between two steps, and to compare two values that consist of the same part very many times is one step.
const stuckTest = testTimeout + 2*time.Second

// run runs tests, and reports each. A test that does not end is left behind.
func run(ctx context.Context, runner *tester.Runner, to *TestReport) error {
	found, err := runner.RunTests(ctx, nil)
	if errs := (ast.Errors{}); errors.As(err, &errs) {
		return policies.ExplainErrors(errs)
	}
	if err != nil {
		return err
	}
	quiet := time.NewTimer(stuckTest)
	defer quiet.Stop()
	for {
		select {
		case r, more := <-found:
			if !more {
				return nil
			}
			t := resultOf(r)
			if to.Tests = append(to.Tests, t); !t.Pass {
				to.Failed++
			}
			quiet.Reset(stuckTest)
		case <-quiet.C:
			go func() {
				for range found { // the others may end
				}
			}()
			return fmt.Errorf("a test does not end, %s after its time: it, or a rule, compares values that consist of the "+
				"same part very many times, such as a list whose elements are all the same list, and so on", stuckTest-testTimeout)
		}
	}
}

// maxExplained bounds the failed tests that run again.
const maxExplained = 20

// explain runs each failed test once more, to find the expression that did not hold.
func (b *Bundle) explain(ctx context.Context, report *TestReport) {
	explained := 0
	for i := range report.Tests {
		t := &report.Tests[i]
		if t.Pass || t.Error != "" {
			continue
		}
		if explained++; explained > maxExplained {
			return
		}
		at := &failure{file: t.File}
		runner := b.runner(TestOptions{Run: "^" + regexp.QuoteMeta(t.Name) + "$"})
		runner.SetCoverageRuns(nil).SetCoverageQueryTracer(at)
		if run(ctx, runner, &TestReport{}) != nil {
			return // it may still write to the tracer
		}
		t.Failed = at.String()
	}
}

// failure is a tracer that notes the last expression of a file that did not hold.
type failure struct {
	file string
	expr *ast.Expr
}

// Enabled implements topdown.QueryTracer.
func (*failure) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (*failure) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (f *failure) TraceEvent(e topdown.Event) {
	expr, ok := e.Node.(*ast.Expr)
	if ok && e.Op == topdown.FailOp && expr.Location != nil && strings.TrimPrefix(expr.Location.File, "/") == f.file {
		f.expr = expr
	}
}

func (f *failure) String() string {
	if f.expr == nil {
		return ""
	}
	text, _, _ := strings.Cut(string(f.expr.Location.Text), "\n")
	return fmt.Sprintf("%s:%d: %s", f.file, f.expr.Location.Row, strings.TrimSpace(text))
}

// runner runs the tests of the bundle.
func (b *Bundle) runner(o TestOptions) *tester.Runner {
	all := maps.Clone(b.modules)
	maps.Copy(all, b.tests)
	compiler := ast.NewCompiler().WithCapabilities(policies.BundleCapabilities()).WithEnablePrintStatements(o.Print)
	return tester.NewRunner().SetDefaultRegoVersion(ast.RegoV1).RaiseBuiltinErrors(true).CapturePrintOutput(o.Print).
		SetTimeout(testTimeout).SetCompiler(compiler).SetStore(inmem.NewFromObject(b.data)).SetModules(all).Filter(o.Run)
}

func resultOf(r *tester.Result) TestResult {
	out := TestResult{Name: r.Package + "." + r.Name, Pass: r.Pass(), Took: r.Duration}
	if r.Location != nil {
		out.File, out.Line = strings.TrimPrefix(r.Location.File, "/"), r.Location.Row
	}
	if r.Error != nil {
		out.Error = r.Error.Error()
	}
	out.Output = string(r.Output[:min(len(r.Output), maxTestOutput)])
	return out
}

// coverage reports on the rules, not on their tests.
func (b *Bundle) coverage(reached *cover.Cover) *Coverage {
	report := reached.Report(b.modules)
	out := &Coverage{Uncovered: []string{}}
	covered, total := 0, 0
	for _, name := range slices.Sorted(maps.Keys(b.modules)) {
		file := report.Files[name]
		if file == nil {
			continue
		}
		covered, total = covered+file.CoveredLines, total+file.CoveredLines+file.NotCoveredLines
		for _, r := range file.NotCovered {
			at := fmt.Sprintf("%s:%d", name, r.Start.Row)
			if r.End.Row > r.Start.Row {
				at += fmt.Sprintf("-%d", r.End.Row)
			}
			out.Uncovered = append(out.Uncovered, at)
		}
	}
	out.Percent = 100
	if total > 0 {
		out.Percent = math.Floor(1000*float64(covered)/float64(total)) / 10
	}
	return out
}
