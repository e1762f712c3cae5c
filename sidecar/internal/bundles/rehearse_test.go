package bundles_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// The arguments that make the test binary another program.
const (
	compiler = "policy-compiler"
	crashes  = "crashes"
	dies     = "dies"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case compiler:
			r := bundle.Rehearsal{Tests: os.Args[len(os.Args)-1] == "--tests", After: bundle.CompileTime, Beyond: 256 << 20}
			os.Exit(r.Run(context.Background(), os.Stdin, os.Stdout))
		case crashes:
			os.Exit(2)
		case dies:
			if p, err := os.FindProcess(os.Getpid()); err == nil {
				_ = p.Kill()
				_, _ = p.Wait() // never ends
			}
		}
	}
	os.Exit(m.Run())
}

// endless is a rule that OPA compiles for years: each comprehension doubles the work.
var endless = "\nendless := " + strings.Repeat("[x | x := ", 50) + "1" + strings.Repeat("]", 50) + "\n"

// large is a test that fills the memory: 300 texts of a MiB.
var large = "\nx(t) := concat(\"\", [" + strings.Repeat("t, ", 31) + "t])\n\nl := [" + strings.Repeat("1, ", 299) +
	"1]\n\ntest_large if count([concat(n, [x(x(x(x(\"a\")))), \"b\"]) | some i, _ in l; n := format_int(i, 10)]) > 0\n"

// TestRehearsal: rules that compile for ever, and rules that end the compiler, are refused. Nothing of them goes on,
// and the former bundle stays in force. A compiler that does not start is a fault of this machine.
func TestRehearsal(t *testing.T) {
	for _, tt := range []struct {
		name, extra string
		command     []string
		longest     time.Duration
		stage, text string
	}{
		{"good", "", []string{os.Args[0], compiler}, time.Minute, "", ""},
		{"refused", "\nx := http.send({})\n", []string{os.Args[0], compiler}, time.Minute, "compile", "undefined function"},
		{"endless", endless, []string{os.Args[0], compiler}, time.Second, "compile", "do not compile within 1s"},
		{"endless test", "", []string{os.Args[0], compiler}, time.Second, "compile", "do not compile within 1s"},
		{"large test", "", []string{os.Args[0], compiler}, time.Minute, "compile", "more than 256 MiB of memory"},
		{"failing test", "", []string{os.Args[0], compiler}, time.Minute, "test", "1 of 2 tests failed"},
		{"killed", "", []string{os.Args[0], dies}, time.Minute, "compile", "no memory left"},
		{"crash", "", []string{os.Args[0], crashes}, time.Minute, "compile", "crashes on the rules"},
		{"no compiler", "", []string{t.TempDir() + "/none"}, time.Minute, "", "starting the compiler"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.tenants(bundles.Tenant{Name: "acme"})
			if err := w.push("one", "1", ""); err != nil {
				t.Fatal(err)
			}
			w.m.RehearseWith(tt.longest, tt.command...)
			raw := pack(t, "two", "2", tt.extra)
			if tests := map[string]string{
				"endless test": endless, "large test": large, "failing test": "\ntest_no if false\n",
			}[tt.name]; tests != "" {
				raw = packWith(t, "two", "2", "", tests)
			}
			_, err := w.m.Push(t.Context(), "acme", raw, w.record)
			if got := stageOf(err); got != tt.stage || tt.text == "" && err != nil ||
				err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("stage %q, %v, want stage %q and %q", got, err, tt.stage, tt.text)
			}
			if want := map[bool]string{true: "two", false: "one"}[err == nil]; w.active() != want {
				t.Errorf("%q in force, want %q", w.active(), want)
			}
		})
	}
}

// TestRehearsalEndsWithRequest: a rehearsal ends with the request that asked for it.
func TestRehearsalEndsWithRequest(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	w.m.RehearseWith(time.Minute, os.Args[0], compiler)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := w.m.Push(ctx, "acme", pack(t, "one", "1", endless), w.record)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the end of the request", err)
	}
}

// TestRehearsalEndsWithItsParent: nobody else would end a compiler whose parent died.
func TestRehearsalEndsWithItsParent(t *testing.T) {
	c := exec.CommandContext(t.Context(), os.Args[0], compiler)
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		err = bundle.WriteArchive(in, pack(t, "one", "1", endless))
	}
	if err == nil {
		err = in.Close() // as the kernel does
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var ended *exec.ExitError
	if err := c.Wait(); !errors.As(err, &ended) || ended.ExitCode() != bundle.Abandoned {
		t.Errorf("%v after %s, want that it ends by itself", err, time.Since(began))
	}
}

// TestTry: a bundle that only judges past requests is compiled with the same bounds, whoever signed it.
func TestTry(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	for name, tt := range map[string]struct {
		extra, tests, stage string
		longest             time.Duration
	}{
		"good":    {"", "", "", time.Minute},
		"endless": {endless, "", "compile", time.Second},
		"failing": {"", "\ntest_false if false\n", "test", time.Minute},
	} {
		w.m.RehearseWith(tt.longest, os.Args[0], compiler)
		rules, err := w.m.Try(t.Context(), "acme", packWith(t, "two", "2", tt.extra, tt.tests))
		if stageOf(err) != tt.stage || (err == nil) != (tt.stage == "") || err == nil && rules == nil || w.active() != "" {
			t.Errorf("%s: %v, want stage %q, and nothing in force", name, err, tt.stage)
		}
	}
}
