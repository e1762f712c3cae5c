package plugins_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

// parent plays a scimward that is killed: it opens a host, prints the pid of its worker, and waits
// for a guest that never ends.
func parent(manifest string) int {
	cfg := plugins.Config{Tenant: "acme", App: "bad", Manifest: manifest}
	cfg.Grant.Limits.TimeoutMS = 60_000
	h, err := plugins.Open(context.Background(), plugins.Options{
		Plugins: []plugins.Config{cfg}, CompileTimeout: 10 * time.Minute,
	})
	if err != nil || h.Ready() != nil {
		return 1
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 1
	}
	for _, d := range dirs {
		if exists(filepath.Base(d)) {
			fmt.Fprintln(os.Stdout, filepath.Base(d))
		}
	}
	if _, err := h.Revoke(context.Background(), "acme", "bad", request("")); err != nil {
		return 1
	}
	return 0
}

// TestWorkerDiesWithParent kills the host's process while its guest is in an endless call. The
// worker must not outlive it.
func TestWorkerDiesWithParent(t *testing.T) {
	workers(t) // skips outside Linux
	manifest := WriteManifest(t, callChain().Write(t), HandmadeManifest())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "plugin-parent", manifest)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	pid := strings.TrimSpace(line)
	if err != nil || pid == "" {
		t.Fatalf("the parent prints %q, %v, want the worker's pid", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	deadline := time.Now().Add(3 * time.Minute)
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("worker %s still runs after its parent ended, want it dead", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive reports whether pid is a worker, of any parent.
func alive(pid string) bool {
	cmd, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && strings.Contains(string(cmd), "plugin-worker")
}

// BenchmarkCall measures a call without HTTP, through pipe, worker and guest: a hand-made module,
// and Go with encoding/json.
func BenchmarkCall(b *testing.B) {
	guests := map[string]func() plugins.Config{
		"handmade": func() plugins.Config {
			return plugins.Config{Manifest: WriteManifest(b, Handmade(I32(0)).Write(b), HandmadeManifest())}
		},
		"go": func() plugins.Config {
			wasm := BuildGo(b, "./plugintest/testdata/hostile")
			return Local(b, "http://127.0.0.1:1", wasm, hostileManifest(), map[string]string{"admin": "s3cr3t-admin-value"})
		},
	}
	for name, config := range guests {
		b.Run(name, func(b *testing.B) {
			cfg := config()
			cfg.Tenant, cfg.App = "acme", "app"
			h := Open(b, plugins.Options{
				Plugins: []plugins.Config{cfg}, CompileTimeout: 10 * time.Minute,
			})
			req := request("", abi.KindWebSession)
			for b.Loop() {
				if res, err := h.Revoke(b.Context(), "acme", "app", req); err != nil || len(res.Kinds) != 1 {
					b.Fatal(res, err)
				}
			}
		})
	}
}
