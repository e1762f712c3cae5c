package plugins_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

// probe confines this process as a worker and tries what a guest that broke out would try. It prints what
// happened, by name.
func probe(parent int) int {
	file := filepath.Join(os.TempDir(), "scimward-probe-"+strconv.Itoa(os.Getpid()))
	errs := map[string]error{"confine": plugins.Confine()}
	_, _, execErr := unix.Syscall(unix.SYS_EXECVE, 0, 0, 0)
	errs["execve"] = execErr
	_, errs["socket"] = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	_, errs["unix socket"] = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	_, errs["connect"] = 0, unix.Connect(0, &unix.SockaddrInet4{Port: 1})
	_, errs["bind"] = 0, unix.Bind(0, &unix.SockaddrInet4{})
	errs["ptrace"] = unix.PtraceAttach(parent)
	errs["kill"] = unix.Kill(parent, 0)
	errs["tgkill"] = unix.Tgkill(parent, parent, 0)
	_, errs["signal by a pipe"] = unix.FcntlInt(0, unix.F_SETOWN, parent)
	_, errs["signal of choice by a pipe"] = unix.FcntlInt(0, unix.F_SETSIG, int(unix.SIGKILL))
	errs["setpriority"] = unix.Setpriority(unix.PRIO_PROCESS, parent, 0)
	errs["affinity"] = unix.SchedSetaffinity(parent, &unix.CPUSet{1})
	numbered := map[string]uintptr{
		"shmat": unix.SYS_SHMAT, "shmctl": unix.SYS_SHMCTL, "msgctl": unix.SYS_MSGCTL, "msgsnd": unix.SYS_MSGSND,
		"msgrcv": unix.SYS_MSGRCV, "semctl": unix.SYS_SEMCTL, "semtimedop": unix.SYS_SEMTIMEDOP,
	}
	for name, call := range numbered {
		_, _, errno := unix.Syscall(call, 1<<30, 0, 0)
		errs[name] = errno
	}
	errs["mount"] = unix.Mount("none", "/", "tmpfs", 0, "")
	errs["unshare"] = unix.Unshare(unix.CLONE_NEWUSER)
	errs["setrlimit"] = unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	_, _, forkErr := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	errs["fork"] = forkErr
	_, _, ringErr := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	errs["io_uring"] = ringErr
	errs["write before the compilation"] = os.WriteFile(file, nil, 0o600)
	errs["remove before the compilation"] = os.Remove(file)
	errs["close files"] = plugins.CloseFiles()
	_, errs["read"] = os.ReadFile("/proc/self/status")
	errs["write"] = os.WriteFile(file, nil, 0o600)
	errs["rename"] = os.Rename(file, file+"2")
	errs["remove an attribute"] = unix.Removexattr(file, "user.x")
	for name, call := range map[string]uintptr{
		"fchmodat2": unix.SYS_FCHMODAT2, "setxattrat": unix.SYS_SETXATTRAT, "file_setattr": unix.SYS_FILE_SETATTR,
		"mq_unlink": unix.SYS_MQ_UNLINK, "a call of a newer kernel": unix.SYS_FILE_SETATTR + 1,
	} {
		_, _, errs[name] = unix.Syscall6(call, 0, 0, 0, 0, 0, 0)
	}
	out := map[string]string{}
	for name, err := range errs {
		switch {
		case err == nil || errors.Is(err, unix.Errno(0)):
			out[name] = "ok"
		case errors.Is(err, unix.EPERM):
			out[name] = "denied"
		default:
			out[name] = err.Error()
		}
	}
	// The runtime still works: threads, memory, the collector.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { time.Sleep(time.Millisecond); _ = make([]byte, 1<<20) })
	}
	wg.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 1
	}
	return 0
}

// TestConfinedWorkerCannot: a worker that a guest took over starts no program, opens no socket or file, and
// reaches no other process.
func TestConfinedWorkerCannot(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "plugin-probe", strconv.Itoa(os.Getpid()))
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	allowed := []string{"confine", "write before the compilation", "remove before the compilation", "close files"}
	for name, how := range got {
		want := "denied"
		switch {
		case slices.Contains(allowed, name):
			want = "ok"
		case name == "a call of a newer kernel":
			want = unix.ENOSYS.Error()
		}
		if how != want {
			t.Errorf("%s: %s, want %s", name, how, want)
		}
	}
	if len(got) != 37 {
		t.Errorf("%d attempts, want 37", len(got))
	}
}

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
