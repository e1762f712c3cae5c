//go:build faults

package faults_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/replicas/fleet"
)

var (
	runFor = flag.Duration("faults.for", 0, "how long new faults begin, in each test; each has a few in any case")
	rounds = flag.Int("faults.rounds", 0, "deactivations in each test of them; 0: as many as begin in -faults.for")
	edges  = flag.Int("faults.edges", 5, "edges, each with an Envoy")
)

// The leases here are shorter than the default, so that a pause for longer than one takes less time. An election of the
// log may take longer, and then nobody is served meanwhile.
const (
	lease      = 6 * time.Second
	heartbeat  = 500 * time.Millisecond
	staleLimit = 5 * time.Second
)

var built struct{ scimward, envoy string }

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.scimward = filepath.Join(dir, "scimward")
	if b, err := exec.Command("go", "build", "-o", built.scimward, "../../../cmd/scimward").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building scimward: %v\n%s", err, b)
		return 1
	}
	cache, err := envoybin.CacheDir("../../..")
	if err == nil {
		built.envoy, err = envoybin.Locate(context.Background(), cache, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding Envoy:", err)
		return 1
	}
	return m.Run()
}

// start starts a fleet in which machines can be cut off. stale is the value of on_stale.
func start(t *testing.T, edges int, stale string) *fleet.Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "f") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(t.Context(), fleet.Options{
		Dir: dir, Scimward: built.scimward, Envoy: built.envoy, Edges: edges, Proxies: true,
		Config: func(text string) string { return configure(text, stale) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range append(f.Cores(), f.Edges()...) {
				t.Logf("%s said last:\n%s", m, f.Log(m))
			}
			t.Logf("the folders of the machines are in %s", dir)
		}
		if err := f.Close(); err != nil {
			t.Errorf("ending the machines: %v", err)
		}
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return f
}

// configure shortens the leases, lets a session begin after a reactivation, and takes more requests of one client.
func configure(text, stale string) string {
	app := "        anonymous: bare\n        on_stale: " + stale + "\n"
	if stale == "serve" {
		app += fmt.Sprintf("        stale_limit: %s\n", staleLimit)
	}
	return strings.NewReplacer(
		"\ncluster:\n", fmt.Sprintf("\ncluster:\n  lease: %s\n  heartbeat: %s\n", lease, heartbeat),
		"# issued_header: ", "issued_header: ",
		"        anonymous: bare\n", app,
		"\n    identity_services:\n", "\n    requests_per_second: 5000\n    identity_services:\n",
	).Replace(text)
}
