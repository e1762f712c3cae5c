package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// built contains the binaries of the package's tests.
var built struct{ quickstart, scimward string }

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quickstart-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.quickstart, built.scimward = filepath.Join(dir, "quickstart"), filepath.Join(dir, "scimward")
	for out, pkg := range map[string]string{built.quickstart: ".", built.scimward: "../../cmd/scimward"} {
		if b, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building %s: %v\n%s", pkg, err, b)
			return 1
		}
	}
	return m.Run()
}

// command is the quickstart with a temporary folder of its own, which identifies its processes.
func command(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	envoy, err := envoybin.Locate(t.Context(), filepath.Join("..", "..", ".cache"), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	// The path of a socket must be short.
	tmp, err := os.MkdirTemp("", "qs") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(tmp); err != nil {
			t.Error(err)
		}
	})
	args = append([]string{"-source", "../..", "-scimward", built.scimward}, args...)
	cmd := exec.CommandContext(t.Context(), built.quickstart, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "ENVOY="+envoy)
	return cmd, tmp
}

// TestStoryHolds plays the demo.
func TestStoryHolds(t *testing.T) {
	t.Parallel()
	cmd, tmp := command(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"Every step succeeded", "the report verifies offline", "WebSocket ended", "web_session verified",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the story does not print %q", want)
		}
	}
	wantNothingLeft(t, tmp)
}

// TestKeep checks that the running stack accepts the printed token, and ends with
// Ctrl-C and exit code 0.
func TestKeep(t *testing.T) {
	t.Parallel()
	cmd, tmp := command(t, "-keep")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		found[word] = strings.TrimSpace(rest)
		if word != "metrics" {
			continue
		}
		token := strings.TrimPrefix(found["token"], "export TOKEN=")
		if got := askWithToken(t, tmp, found["SCIM"], token); got != http.StatusOK {
			t.Errorf("a list of users with the printed token: %d", got)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v; printed %v", err, found)
	}
	wantNothingLeft(t, tmp)
}

// askWithToken lists users at base, whose certificate is in the quickstart's folder.
func askWithToken(t *testing.T, tmp, base, token string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(tmp, "*", "tls.crt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("certificates %v, error %v", files, err)
	}
	pem, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/Users", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{
		DialContext: stack.DialLoopback, TLSClientConfig: &tls.Config{RootCAs: roots},
	}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("asking %q: %v", base, err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// TestInterruptedLeavesNothing interrupts the demo with each signal at several
// stages. None of its processes may go on.
func TestInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		for _, stage := range []string{
			"starting scimward", "starting Envoy", "ok   signed in", "a WebSocket, an event stream", "ok   reactivated",
		} {
			t.Run(fmt.Sprintf("%s at %s", sig, stage), func(t *testing.T) {
				cmd, tmp := command(t)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				var stdout, stderr strings.Builder
				cmd.Stderr = &stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				seen := false
				lines := bufio.NewScanner(out)
				for lines.Scan() {
					stdout.WriteString(lines.Text() + "\n")
					if !seen && strings.Contains(lines.Text(), stage) {
						seen = true
						if err := cmd.Process.Signal(sig); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := cmd.Wait(); err == nil || !seen {
					t.Errorf("interrupted: %t, ended with %v; it printed\n%s%s", seen, err, stdout.String(), stderr.String())
				}
				wantNothingLeft(t, tmp)
			})
		}
	}
}

// wantNothingLeft waits until no process has tmp on its command line or in its
// environment. A child of a killed parent ends a moment after it.
func wantNothingLeft(t *testing.T, tmp string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := processesOf(t, tmp)
		if len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still running:\n%s", strings.Join(left, "\n"))
		case <-tick.C:
		}
	}
}

// processesOf lists the processes whose command line or environment names tmp.
func processesOf(t *testing.T, tmp string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("reading /proc: %v", err)
	}
	var out []string
	for _, d := range dirs {
		for _, file := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(filepath.Join(d, file))
			if err == nil && bytes.Contains(b, []byte(tmp)) {
				args, _ := os.ReadFile(filepath.Join(d, "cmdline"))
				out = append(out, filepath.Base(d)+" "+strings.ReplaceAll(string(args), "\x00", " "))
				break
			}
		}
	}
	return out
}
