package sidecar_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// TestThousandTenantsOfOneApplication: a thousand tenants that share their application start, report and reload as
// others do.
func TestThousandTenantsOfOneApplication(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long under the race detector")
	}
	runTenants(t, manyTenants(t, 1000, "app.internal:80\n    shared_upstream: true"), 1000)
}

// manyTenants makes a folder with the configuration of n tenants, a file each. upstream is that of all, "" for one of
// its own for each.
func manyTenants(t *testing.T, n int, upstream string) (dir string) {
	t.Helper()
	dir = newFolder(t, "version: 1\ndrain: 3m\nlisten: {scim: '127.0.0.1:0', metrics: '127.0.0.1:0'}\ntenants_dir: tenants\n")
	if err := os.Mkdir(filepath.Join(dir, "tenants"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := fmt.Sprintf("t%04d", i)
		at := cmp.Or(upstream, name+".internal:80")
		text := strings.NewReplacer("globex", name, "127.0.0.1:3001", at).Replace(tenantOfFile)
		if err := os.WriteFile(filepath.Join(dir, "tenants", name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inUse is the memory of this process that the collector cannot free.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestThousandTenants: a thousand tenants start, report and reload, and take at most 20 MB over one, the bar of
// docs/bench/README.md. It logs how long each takes: seconds.
func TestThousandTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector takes memory of its own")
	}
	if n, err := strconv.Atoi(os.Getenv("SCIMWARD_TEST_TENANTS")); err == nil {
		fmt.Printf("in use: %d\n", runTenants(t, manyTenants(t, n, ""), n))
		return
	}
	const limit = 20_000_000
	one, many := tenantsAlone(t, 1), tenantsAlone(t, 1000)
	t.Logf("one tenant takes %.1f MB, 1,000 take %.1f MB", float64(one)/1e6, float64(many)/1e6)
	if many-one > limit {
		t.Errorf("1,000 tenants take %d bytes over one, want at most %d", many-one, limit)
	}
}

// tenantsAlone is runTenants in a process of its own: what other tests leave behind does not count.
func tenantsAlone(t *testing.T, n int) (used int64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, "-test.run=^TestThousandTenants$", "-test.v", "-test.timeout=5m")
	c.Env = append(os.Environ(), fmt.Sprint("SCIMWARD_TEST_TENANTS=", n))
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	_, text, found := strings.Cut(string(out), "in use: ")
	if _, scanned := fmt.Sscan(text, &used); err != nil || scanned != nil || !found {
		t.Fatalf("%d tenants in a process of their own: %v", n, err)
	}
	return used
}

// runTenants starts, asks and reloads n tenants, and returns what they take.
func runTenants(t *testing.T, dir string, n int) int64 {
	t.Helper()
	clock := time.Now()
	took := func(what string) {
		t.Helper()
		t.Logf("%d tenants, %s: %s", n, what, time.Since(clock).Round(time.Millisecond))
		clock = time.Now()
	}
	checkConfig(t, filepath.Join(dir, "scimward.yaml"))
	took("config check")
	before := inUse()
	clock = time.Now()
	r := startIn(t, dir, sidecar.Options{})
	took("start")
	if got := len(r.status().Tenants); got != n {
		t.Errorf("status has %d tenants, want %d", got, n)
	}
	took("status")
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	took("reload")
	if _, text := r.get("/metrics"); !strings.Contains(text, "scimward_") {
		t.Errorf("the metrics are %q", text)
	}
	took("metrics")
	used := inUse() - before
	clock = time.Now()
	r.write("tenants/new.yaml", tenantOfFile)
	until(t, "the new tenant", func() bool { return r.scimStatus("globex.example.com") == 401 })
	took("a new file")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	return used
}

// checkConfig is `scimward config check`.
func checkConfig(t *testing.T, file string) {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if found := sidecar.Check(cfg, time.Now()); len(found) > 0 {
		t.Errorf("config check: %v", found[0])
	}
}
