package policies_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/scimward/scimward/policies"
)

// regoFiles parses every Rego file of this directory. Fewer than one per profile means
// that the walk is broken, which must not look like success.
func regoFiles(tb testing.TB) map[string]*ast.Module {
	tb.Helper()
	modules := map[string]*ast.Module{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".rego" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m, err := ast.ParseModuleWithOpts(filepath.ToSlash(path), string(b),
			ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
		if err != nil {
			return err
		}
		modules[filepath.ToSlash(path)] = m
		return nil
	})
	if err != nil {
		tb.Fatalf("reading Rego files: %v", err)
	}
	if len(modules) < 2*len(policies.Profiles()) {
		tb.Fatalf("found %d Rego files", len(modules))
	}
	return modules
}

// regoTimeout bounds one Rego test; the runner's own 5 s is short on a machine that
// builds something else as well.
const regoTimeout = 2 * time.Minute

func isTest(path string) bool { return strings.HasSuffix(path, "_test.rego") }

func product(modules map[string]*ast.Module) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	for path, m := range modules {
		if !isTest(path) {
			out[path] = m
		}
	}
	return out
}

// failures names what of a Rego test failed: the cases of a table, or the test.
func failures(r *tester.Result) []string {
	var out []string
	for names, sub := range r.SubResults.Iter {
		if sub.Fail && len(sub.SubResults) == 0 {
			out = append(out, strings.Join(names, "/"))
		}
	}
	if len(out) == 0 && !r.Pass() {
		out = append(out, "the test itself")
	}
	slices.Sort(out)
	return out
}

func runRego(t *testing.T, modules map[string]*ast.Module) []*tester.Result {
	t.Helper()
	// Tracing is what tells the runner of a case that produced nothing.
	runner := tester.NewRunner().SetDefaultRegoVersion(ast.RegoV1).EnableTracing(true).RaiseBuiltinErrors(true).
		SetTimeout(regoTimeout).SetModules(modules)
	results, err := runner.RunTests(t.Context(), nil)
	if err != nil {
		t.Fatalf("running Rego tests: %v", err)
	}
	var out []*tester.Result
	for r := range results {
		out = append(out, r)
	}
	return out
}

func TestRego(t *testing.T) {
	results := runRego(t, regoFiles(t))
	packages := map[string]bool{}
	for _, r := range results {
		packages[r.Package] = true
		t.Run(strings.TrimPrefix(r.Package, "data.")+"."+r.Name, func(t *testing.T) {
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			if r.Skip {
				t.Fatal("a Rego test must not be skipped")
			}
			for _, name := range failures(r) {
				t.Errorf("%s: failed", name)
			}
		})
	}
	for _, want := range []string{"data.lib_test", "data.ipsie.al_test", "data.ipsie.il1_test", "data.rfc7644_test", "data.scim.interop_test"} {
		if !packages[want] {
			t.Errorf("no test ran in %s", want)
		}
	}
}

// A case of a table that fails produces nothing at all: the harness must see it.
func TestRegoHarnessSeesFailingCase(t *testing.T) {
	m, err := ast.ParseModuleWithOpts("x_test.rego", `package x_test

test_x[name] if {
	some name, value in {"good": 1, "bad": 2}
	value == 1
}
`, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	results := runRego(t, map[string]*ast.Module{"x_test.rego": m})
	if len(results) != 1 {
		t.Fatalf("got %d results", len(results))
	}
	if diff := cmp.Diff([]string{"bad"}, failures(results[0])); diff != "" {
		t.Errorf("failing cases (-want +got):\n%s", diff)
	}
}

func TestRegoCoverage(t *testing.T) {
	modules := regoFiles(t)
	tracer := cover.New()
	results, err := tester.NewRunner().SetDefaultRegoVersion(ast.RegoV1).SetCoverageQueryTracer(tracer).
		SetTimeout(regoTimeout).SetModules(modules).RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for r := range results {
		if r.Error != nil {
			t.Errorf("%s: %v", r.Name, r.Error)
		}
	}
	report := tracer.Report(product(modules))
	for path := range product(modules) {
		file := report.Files[path]
		if file == nil {
			t.Errorf("%s: nothing covered", path)
			continue
		}
		for _, r := range file.NotCovered {
			t.Errorf("%s:%d-%d: not covered", path, r.Start.Row, r.End.Row)
		}
	}
	if report.CoveredLines == 0 || report.NotCoveredLines != 0 {
		t.Errorf("coverage is %.1f %%, want 100 %%", report.Coverage)
	}
}

func TestRegoFormatted(t *testing.T) {
	for path := range regoFiles(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := format.SourceWithOpts(path, b, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, got) {
			t.Errorf("%s is not formatted: run opa fmt -w", path)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if len(line) > 140 {
				t.Errorf("%s:%d: line of %d bytes", path, i+1, len(line))
			}
		}
	}
}

// strictCompile compiles with strict mode and checks input against its schema.
func strictCompile(t *testing.T, modules map[string]*ast.Module) ast.Errors {
	t.Helper()
	b, err := os.ReadFile("schemas/policy-input.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	set := ast.NewSchemaSet()
	set.Put(ast.MustParseRef("schema.input"), schema)
	c := ast.NewCompiler().WithStrict(true).WithSchemas(set).WithUseTypeCheckAnnotations(true)
	c.Compile(modules)
	return c.Errors
}

func TestRegoStrict(t *testing.T) {
	if errs := strictCompile(t, product(regoFiles(t))); len(errs) > 0 {
		t.Errorf("rules: %v", errs)
	}
	all := ast.NewCompiler().WithStrict(true)
	if all.Compile(regoFiles(t)); all.Failed() {
		t.Errorf("rules and tests: %v", all.Errors)
	}
}

// The schema is of use only if it catches a misspelt name in every file.
func TestRegoSchemaCatchesMisspelling(t *testing.T) {
	for path := range product(regoFiles(t)) {
		modules := product(regoFiles(t))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b) + "\nplanted if input.operationz == 1\n"
		options := ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1}
		modules[path], err = ast.ParseModuleWithOpts(path, text, options)
		if err != nil {
			t.Fatal(err)
		}
		if errs := strictCompile(t, modules); !strings.Contains(errs.Error(), "operationz") {
			t.Errorf("%s: a misspelt input name compiles", path)
		}
	}
}

// titled reports whether an annotation of the scope has a title and ends just above
// row; row 0 stands for anywhere.
func titled(m *ast.Module, scope string, row int) bool {
	return slices.ContainsFunc(m.Annotations, func(a *ast.Annotations) bool {
		return a.Scope == scope && a.Title != "" && (row == 0 || a.EndLoc().Row+1 == row)
	})
}

func TestRegoMetadata(t *testing.T) {
	packages := map[string]bool{}
	for path, m := range product(regoFiles(t)) {
		if titled(m, "package", 0) {
			packages[m.Package.Path.String()] = true
		}
		seen := map[string]bool{}
		for _, rule := range m.Rules {
			name := rule.Head.Ref()[0].Value.String()
			// One block documents the clauses of a complete rule; each element of a
			// partial set needs its own.
			if strings.HasPrefix(name, "_") || seen[name] && rule.Head.DocKind() != ast.PartialSetDoc {
				continue
			}
			seen[name] = true
			// The block of an entrypoint documents the whole document.
			if row := rule.Loc().Row; !titled(m, "rule", row) && !titled(m, "document", row) {
				t.Errorf("%s:%d: %s has no METADATA with a title", path, rule.Loc().Row, name)
			}
		}
	}
	for path, m := range product(regoFiles(t)) {
		if !packages[m.Package.Path.String()] {
			t.Errorf("%s: package %s has no METADATA with a title", path, m.Package.Path)
		}
	}
}

func TestRegoOneEntrypointPerProfile(t *testing.T) {
	got := map[string][]string{}
	for _, m := range product(regoFiles(t)) {
		for _, a := range m.Annotations {
			if a.Entrypoint {
				got[m.Package.Path.String()] = append(got[m.Package.Path.String()], a.GetTargetPath().String())
			}
		}
	}
	want := map[string][]string{}
	for _, entrypoint := range policies.Entrypoints() {
		want[entrypoint[:strings.LastIndex(entrypoint, ".")]] = []string{entrypoint}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entrypoints (-want +got):\n%s", diff)
	}
}

func TestRegoTestNames(t *testing.T) {
	seen := map[string]string{}
	for path, m := range regoFiles(t) {
		tests := 0
		for _, rule := range m.Rules {
			name := rule.Head.Ref()[0].Value.String()
			if !strings.HasPrefix(name, "test_") {
				continue
			}
			tests++
			if !isTest(path) {
				t.Errorf("%s:%d: %s is outside a test file", path, rule.Loc().Row, name)
			}
			full := m.Package.Path.String() + "." + name
			at := fmt.Sprintf("%s:%d", path, rule.Loc().Row)
			if other, ok := seen[full]; ok {
				t.Errorf("%s: test %s is also at %s", at, full, other)
			}
			seen[full] = at
		}
		if isTest(path) && tests == 0 {
			t.Errorf("%s: no tests", path)
		}
	}
}

func TestRegoDirectories(t *testing.T) {
	modules := regoFiles(t)
	for path, m := range modules {
		want := "data." + strings.ReplaceAll(filepath.ToSlash(filepath.Dir(path)), "/", ".")
		if isTest(path) {
			want += "_test"
		}
		if got := m.Package.Path.String(); got != want {
			t.Errorf("%s: package %s, want %s", path, got, want)
		}
	}
}
