package plugins_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

// TestSandboxIsReported: a loaded plugin's worker has every measure in force, and the kernel agrees.
func TestSandboxIsReported(t *testing.T) {
	before := workers(t)
	h := hostile(t, http.NotFoundHandler(), nil)
	var names []string
	for _, m := range h.Sandbox("acme", "app") {
		names = append(names, m.Name)
		if m.Fault != "" {
			t.Errorf("%s is not in force: %s", m.Name, m.Fault)
		}
	}
	want := []string{"rss limit 512 MiB", "oom_score_adj", "no_new_privs", "seccomp", "no files"}
	if !slices.Equal(names, want) {
		t.Errorf("sandbox %q, want %q", names, want)
	}
	if got := h.Sandbox("other", "app"); got != nil {
		t.Errorf("another tenant's sandbox: %v, want none", got)
	}
	mine := slices.DeleteFunc(workers(t), func(pid string) bool { return slices.Contains(before, pid) })
	if len(mine) != 1 {
		t.Fatalf("workers %v, want one", mine)
	}
	adj, err := os.ReadFile("/proc/" + mine[0] + "/oom_score_adj")
	if err != nil || strings.TrimSpace(string(adj)) != "1000" {
		t.Errorf("oom_score_adj %q, %v, want 1000", adj, err)
	}
	status, err := os.ReadFile("/proc/" + mine[0] + "/status")
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1\n") || !strings.Contains(string(status), "Seccomp:\t2\n") {
		t.Errorf("%v, status %s, want no_new_privs and a filter", err, status)
	}
	if got := revoke(t, h, request("clock"))[0]; got.State != abi.StateRevoked {
		t.Errorf("a call in the sandbox: %+v, want revoked", got)
	}
}

// TestResidentMemoryIsBounded: a guest that takes memory outside its own limit, in tables or stacks, is killed
// near the limit of its process. The outcome, the log and the metric say why.
func TestResidentMemoryIsBounded(t *testing.T) {
	for name, module := range map[string]func() Module{
		"tables": tableGrowth,
		"stacks": func() Module { return Handmade(CallFn(5), Func{Body: CallFn(5)}) },
	} {
		t.Run(name, func(t *testing.T) {
			metrics := prometheus.NewRegistry()
			before := workers(t)
			cfg := plugins.Config{Tenant: "acme", App: "app", Manifest: WriteManifest(t, module().Write(t), HandmadeManifest())}
			cfg.Grant.Limits = plugins.Limits{TimeoutMS: 60_000, MemoryMiB: 16, Instances: 1}
			h := Open(t, plugins.Options{Plugins: []plugins.Config{cfg}, Metrics: metrics})
			victim := slices.DeleteFunc(workers(t), func(pid string) bool { return slices.Contains(before, pid) })
			if err := h.Ready(); err != nil || len(victim) != 1 {
				t.Fatalf("Ready: %v, workers %v, want nil and one", err, victim)
			}
			done := make(chan abi.KindResult, 1)
			go func() { done <- revoke(t, h, request(""))[0] }()
			var got abi.KindResult
			peak := 0
			for ended := false; !ended; {
				select {
				case got = <-done:
					ended = true
				case <-time.After(time.Millisecond):
				}
				var size, resident int
				b, err := os.ReadFile("/proc/" + victim[0] + "/statm")
				if err == nil {
					_, _ = fmt.Sscan(string(b), &size, &resident) // empty for a zombie
				}
				peak = max(peak, resident*os.Getpagesize()>>20)
			}
			const limit, slack = 256 + 2*16, 160 // what a guest takes between two looks
			t.Logf("%s: %s after %d MiB", name, got.Code, peak)
			if peak > limit+slack {
				t.Errorf("%d MiB resident, want at most %d and what fits between two looks", peak, limit)
			}
			if got.State != abi.StateRetry || got.Code != abi.CodeMemory && got.Code != abi.CodeTrap {
				t.Errorf("got %+v, want retry with memory or trap", got)
			}
			for got.Code == abi.CodeMemory && sum(t, metrics, "scimward_plugin_kills_total", "memory") != 1 {
				<-time.After(time.Millisecond) // the host counts it when the process has ended
			}
		})
	}
}
