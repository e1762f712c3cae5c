package plugins_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

const (
	hostileDeadline = 400 * time.Millisecond
	killGrace       = 250 * time.Millisecond
	killSlack       = 300 * time.Millisecond // the grace and what ending a process takes
	stallBound      = 100 * time.Millisecond
)

// callChain makes 2^39 calls: each of f0..f39 calls the one before twice. It has no loop header,
// where wazero would check whether the call was cancelled.
func callChain() Module {
	var fs []Func
	for i := range 40 {
		f := Func{Void: true}
		if i > 0 {
			f.Body = Seq(CallFn(5+i-1), CallFn(5+i-1))
		}
		fs = append(fs, f)
	}
	return Handmade(Seq(CallFn(5+39), I32(0)), fs...)
}

// fillRun fills nearly all memory again and again, without a loop header too.
func fillRun() Module {
	fill := Seq(I32(0), I32(0xaa), I32(60<<20), MemoryFill())
	m := Handmade(Seq(slices.Repeat(fill, 4000), I32(0)))
	m.Pages = 1000
	return m
}

func tableGrowth() Module {
	m := Handmade(Seq(Forever(RefNull(), I32(1<<20), TableGrow(), Drop()), Unreachable()))
	m.Table = true
	return m
}

// attack is one hostile guest: a mode of the Go guest, or a module.
type attack struct {
	name   string
	module func() Module
	mode   string
	code   string // of the one outcome; "" if the host tolerates the guest
}

// deadline is short only where the guest may reach it; a trap has the time that a busy machine needs.
func (a attack) deadline() time.Duration {
	if strings.Contains(a.code, abi.CodeDeadline) {
		return hostileDeadline
	}
	return time.Minute
}

func attacks() []attack {
	return []attack{
		{name: "endless loop", module: func() Module { return Handmade(Seq(Forever(), Unreachable())) }, code: abi.CodeDeadline},
		{name: "endless loop in Go", mode: "loop", code: abi.CodeDeadline},
		{name: "call chain without a loop header", module: callChain, code: abi.CodeDeadline},
		{name: "memory.fill run", module: fillRun, code: abi.CodeDeadline},
		{name: "table growth", module: tableGrowth, code: "trap, memory or deadline"},
		{name: "recursion", module: func() Module { return Handmade(CallFn(5), Func{Body: CallFn(5)}) }, code: "trap, memory or deadline"},
		{name: "recursion in Go", mode: "recursion", code: "trap, memory or deadline"},
		{name: "memory hog", mode: "hog", code: "trap, memory or deadline"},
		{name: "sleep", mode: "sleep", code: abi.CodeDeadline},
		{name: "panic", mode: "panic", code: abi.CodeTrap},
		{name: "log flood", mode: "log-flood"},
		{name: "print flood", mode: "print-flood"},
		{name: "report flood", mode: "report-flood"},
		{name: "bad pointer out", module: func() Module {
			return Handmade(Seq(I32(-256), I32(4096), CallFn(OutputWrite)))
		}, code: abi.CodeTrap},
		{name: "bad pointer in", module: func() Module {
			m := Handmade(Seq(I32(1<<20), I32(0), I32(64), CallFn(1)))
			m.Imports = append(m.Imports, Import{Module: abi.Module, Name: "input_read", Params: 3})
			return m
		}, code: abi.CodeTrap},
		{name: "length beyond memory", module: func() Module {
			m := Handmade(Seq(I32(0), I32(70<<10), CallFn(1), Drop(), I32(65530), I32(100), CallFn(1)))
			m.Imports = append(m.Imports, Import{Module: abi.Module, Name: "report", Params: 2})
			return m
		}, code: abi.CodeTrap},
	}
}

// heartbeat measures how late this process gets to run: the longest gap between ticks while the
// garbage collector runs again and again. In one process with a guest that does not yield, the next
// collection would never end.
func heartbeat(during func()) time.Duration {
	stop := make(chan struct{})
	var worst time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				worst = max(worst, time.Since(last))
				last = time.Now()
			}
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				runtime.GC()
			}
		}
	})
	during()
	close(stop)
	wg.Wait()
	return worst
}

// killControl measures how much longer than its grace the host would need on this machine to kill a
// process that does not resist.
func killControl(t *testing.T) time.Duration {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "plugin-worker")
	stdin, err := cmd.StdinPipe() // an open pipe keeps the worker alive
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	<-time.After(killGrace)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	return time.Since(start) - killGrace
}

// TestHostileGuests runs every attack beside a well-behaved plugin. It asserts that the outcome is
// "done" only if the guest ended well, that the call has ended and the worker is dead 300 ms after
// the deadline, that the other plugin answers during the attack, and that the attack does not stall
// this process.
//
// A busy machine delays everything, so the bounds allow what a control takes in the same run: the
// heartbeat and the kill of a worker while only the good plugin runs. A real freeze lasts for
// seconds in every attempt and a short overload does not, so the best of three attempts counts.
func TestHostileGuests(t *testing.T) {
	goGuest := BuildGo(t, "./plugintest/testdata/hostile")
	good := Local(t, "http://127.0.0.1:1", goGuest, hostileManifest(), map[string]string{"admin": "s3cr3t-admin-value"})
	good.App = "good"
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			bad := good
			if a.module != nil {
				bad = plugins.Config{Tenant: "acme", Manifest: WriteManifest(t, a.module().Write(t), HandmadeManifest())}
			}
			bad.App = "bad"
			bad.Grant.Limits = plugins.Limits{TimeoutMS: int(a.deadline().Milliseconds()), MemoryMiB: 64, Instances: 1}
			var report string
			for range 3 {
				if report = try(t, a, good, bad); report == "" {
					return
				}
				t.Log(report)
			}
			t.Error(report)
		})
	}
}

// try makes one attempt and reports what took too long. Any other fault fails the test.
func try(t *testing.T, a attack, good, bad plugins.Config) string {
	t.Helper()
	h := Open(t, plugins.Options{Plugins: []plugins.Config{good}})
	mine := workers(t)
	hb := Open(t, plugins.Options{Plugins: []plugins.Config{bad}})
	victim := slices.DeleteFunc(workers(t), func(pid string) bool { return slices.Contains(mine, pid) })
	if err := hb.Ready(); err != nil || len(victim) != 1 {
		t.Fatalf("Ready: %v, workers %v, want nil and one", err, victim)
	}
	others := func(stop <-chan time.Time) {
		for n := 0; ; n++ {
			res, err := h.Revoke(t.Context(), "acme", "good", request(""))
			if err != nil || res.Kinds[0].State != abi.StateRevoked {
				t.Errorf("the other plugin: %+v, %v, want revoked", res, err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}
	span := hostileDeadline + killSlack
	var kill time.Duration
	control := heartbeat(func() {
		var wg sync.WaitGroup
		wg.Go(func() { others(time.After(span / 2)) })
		kill = killControl(t)
		wg.Wait()
	})
	var took, death time.Duration
	worst := heartbeat(func() {
		var wg sync.WaitGroup
		wg.Go(func() { others(time.After(span)) })
		start := time.Now()
		res, err := hb.Revoke(t.Context(), "acme", "bad", request(a.mode))
		took = time.Since(start)
		if err != nil || len(res.Kinds) != 1 {
			t.Errorf("Revoke: %+v, %v, want one outcome", res, err)
			return
		}
		judgeAttack(t, a, res.Kinds[0])
		if res.Kinds[0].Code == abi.CodeDeadline && strings.Contains(res.Kinds[0].Message, "killed") {
			for exists(victim[0]) {
				time.Sleep(time.Millisecond)
			}
			death = time.Since(start)
		}
		wg.Wait()
	})
	t.Logf("ended %v, dead %v, worst gap %v; control: gap %v, kill %v", took, death, worst, control, kill)
	if late := max(took, death) - max(control, kill); late > a.deadline()+killSlack {
		return fmt.Sprintf("ended %v after it began (control %v), want at most %v", late, kill, a.deadline()+killSlack)
	}
	if stall := worst - control; stall > stallBound {
		return fmt.Sprintf("the attack stalled this process for %v (control %v), want at most %v", worst, control, stallBound)
	}
	return ""
}

func judgeAttack(t *testing.T, a attack, got abi.KindResult) {
	t.Helper()
	if a.code == "" {
		if got.State != abi.StateRevoked {
			t.Errorf("got %+v, want revoked", got)
		}
		return
	}
	if got.State != abi.StateRetry || !strings.Contains(a.code, got.Code) || got.Code == "" {
		t.Errorf("got %+v, want retry with %s", got, a.code)
	}
}

// workers lists the worker processes of this test. It reads /proc, so on other systems than Linux
// the test is skipped.
func workers(t *testing.T) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: the worker processes are read from /proc, which is not on " + runtime.GOOS)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no /proc to see processes die: %v", err)
	}
	var out []string
	for _, d := range dirs {
		if exists(filepath.Base(d)) {
			out = append(out, filepath.Base(d))
		}
	}
	return out
}

// exists reports whether pid is a live worker of this process. A zombie is dead.
func exists(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 2 || f[1] != fmt.Sprint(os.Getpid()) || f[0] == "Z" || f[0] == "X" {
		return false
	}
	cmd, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && strings.Contains(string(cmd), "plugin-worker")
}

// TestWorkerIsolation looks at a live worker from outside: it has no environment, no core file, a
// bounded data segment and a process group of its own.
func TestWorkerIsolation(t *testing.T) {
	before := workers(t)
	hostile(t, http.NotFoundHandler(), nil)
	mine := slices.DeleteFunc(workers(t), func(pid string) bool { return slices.Contains(before, pid) })
	if len(mine) != 1 {
		t.Fatalf("workers %v, want one", mine)
	}
	env, err := os.ReadFile("/proc/" + mine[0] + "/environ")
	if err != nil || len(env) != 0 {
		t.Errorf("environment %q, %v, want none", env, err)
	}
	b, err := os.ReadFile("/proc/" + mine[0] + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	limits := map[string]string{}
	for line := range strings.Lines(string(b)) {
		limits[strings.TrimSpace(line[:min(26, len(line))])] = strings.Join(strings.Fields(line[min(26, len(line)):]), " ")
	}
	if !strings.HasPrefix(limits["Max core file size"], "0 0") {
		t.Errorf("core limit %q, want 0", limits["Max core file size"])
	}
	if want := fmt.Sprint((512 + 64*(2+4)*2) << 20); !strings.HasPrefix(limits["Max data size"], want) {
		t.Errorf("data limit %q, want %s", limits["Max data size"], want)
	}
	stat, err := os.ReadFile("/proc/" + mine[0] + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	if group := strings.Fields(rest)[2]; group != mine[0] {
		t.Errorf("process group %s, want its own %s", group, mine[0])
	}
}
