package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scimward/scimward/envoy/freeport"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"scimward": main})
}

// TestScripts runs the scripts of testdata: what each command prints, where, and its exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"SCIM_PORT", "METRICS_PORT", "ENVOY_PORT"} {
				port, release, err := freeport.Take(t.Context())
				if err != nil {
					return err
				}
				e.Defer(release)
				e.Setenv(name, port)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"ready":   ready,
			"listens": listens,
			"expand":  expand,
			"term":    term,
			"scim":    scim,
			"until":   until,
			"cut":     cut,
		},
	})
}

// exits CODE ARGS... runs scimward and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	code := 0
	err := ts.Exec("scimward", args[1:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// ready FILE waits until status says that the server of that configuration is ready.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	waitFor(ts, neg, args, "status")
}

// listens FILE waits until the server is ready, whatever needs an operator.
func listens(ts *testscript.TestScript, neg bool, args []string) {
	waitFor(ts, neg, args, "status", "--ready")
}

func waitFor(ts *testscript.TestScript, neg bool, args []string, command ...string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var stdout, stderr bytes.Buffer
	for {
		stdout.Reset()
		stderr.Reset()
		if run(ctx, append(command, "--json", "-c", ts.MkAbs(args[0])), strings.NewReader(""), &stdout, &stderr) == 0 {
			var s struct {
				Ready bool `json:"ready"`
			}
			ts.Check(json.Unmarshal(stdout.Bytes(), &s))
			if !s.Ready {
				ts.Fatalf("status exits 0 without being ready: %s", &stdout)
			}
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("the server does not become ready: %s %s", &stdout, &stderr)
		case <-tick.C:
		}
	}
}

// expand FILE... replaces $NAME in files by the environment.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// term sends SIGTERM to every program in the background.
func term(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: term")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}
