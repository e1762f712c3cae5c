package bundles_test

import (
	"context"
	"errors"
	"os"
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
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case compiler:
			os.Exit(int(bundle.Rehearse(context.Background(), os.Stdin, bundle.CompileTime, bundle.MaxRehearsal)))
		case crashes:
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// endless is a rule that OPA compiles for years: each comprehension doubles the work.
var endless = "\nendless := " + strings.Repeat("[x | x := ", 50) + "1" + strings.Repeat("]", 50) + "\n"

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
			if tt.name == "endless test" {
				raw = packWith(t, "two", "2", "", endless)
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
