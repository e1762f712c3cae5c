//go:build amd64 || arm64

package plugins_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// probe confines this process as a worker. In the mode "calls" it tries every system call and prints each one
// that is not answered as it should be. In the others, it dies in the named way.
func probe(mode string) int {
	switch mode {
	case "calls":
		return probeCalls()
	case "worker in a container": // which has a filter that allows no other one
		if err := plugins.Confine(); err != nil {
			panic(err)
		}
		return plugins.RunWorker(context.Background(), os.Stdin, os.Stdout)
	}
	if mode == "memory" {
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 512 << 20, Max: 512 << 20}); err != nil {
			panic(err)
		}
	}
	if mode != "i386 without a filter" {
		if err := errors.Join(plugins.Confine(), plugins.CloseFiles()); err != nil {
			panic(err)
		}
	}
	switch mode {
	case "panic":
		panic("the end")
	case "core":
		debug.SetTraceback("crash")
		panic("the end")
	case "nil":
		store(nil)
	case "stack":
		debug.SetMaxStack(1 << 20)
		var deeper func(int) int
		deeper = func(n int) int { return deeper(n+1) + n }
		deeper(0)
	case "memory":
		var kept [][]byte
		for {
			kept = append(kept, bytes.Repeat([]byte{1}, 16<<20))
			runtime.KeepAlive(kept)
		}
	case "quit":
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGQUIT)
		time.Sleep(time.Minute)
	case "sleep":
		fmt.Println("asleep")
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			if err := unix.Nanosleep(&unix.Timespec{Sec: 1}, nil); err != nil && err != unix.EINTR {
				fmt.Println(err)
				return 1
			}
		}
	case "x32":
		_, _, _ = unix.RawSyscall(0x4000_0000|unix.SYS_GETPID, 0, 0, 0)
	case "i386", "i386 without a filter":
		run([]byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}) // mov eax, 20 (getpid); int 0x80; ret
	}
	return 0
}

func store(p *int) { *p = 1 }

// run executes machine code, as a guest that broke out would.
func run(code []byte) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	copy(page, code)
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		panic(err)
	}
	start := &page[0]
	function := &start
	(*(*func())(unsafe.Pointer(&function)))()
}

// attempt is a system call and how it must fail.
type attempt struct {
	name   string
	number uintptr
	args   [6]uintptr
	want   unix.Errno
}

// attempts are all system calls that a worker may not make: those of other numbers, and those of allowed
// numbers with other arguments.
func attempts(parent int, closed bool) []attempt {
	allowed := plugins.AllowedCalls(closed)
	var out []attempt
	const bad = ^uintptr(0)
	for n := uintptr(0); n < plugins.NewestCall+100; n++ {
		a := attempt{fmt.Sprint("call ", n), n, [6]uintptr{bad, bad, bad, bad, bad, bad}, unix.EPERM}
		switch {
		case allowed[n] != "":
			continue
		case runtime.GOARCH == "amd64" && (n == 335 || n == 336):
			continue // uretprobe and uprobe: no filter sees them, and the kernel kills a process that makes them by itself
		case n == unix.SYS_CLONE3 || n > plugins.NewestCall:
			a.want = unix.ENOSYS
		}
		out = append(out, a)
	}
	with := func(number uintptr, args ...uintptr) {
		a := attempt{name: fmt.Sprint(allowed[number], args), number: number, want: unix.EPERM}
		copy(a.args[:], args)
		out = append(out, a)
	}
	for option := range uintptr(100) {
		with(unix.SYS_PRCTL, option)
	}
	with(unix.SYS_PRCTL, unix.PR_SET_VMA, 1)
	const (
		page    = 4096
		private = unix.MAP_ANONYMOUS | unix.MAP_PRIVATE
		thread  = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
			unix.CLONE_SYSVSEM
	)
	for _, how := range [][2]uintptr{
		{unix.PROT_READ | unix.PROT_EXEC, private},
		{unix.PROT_WRITE | unix.PROT_EXEC, private},
		{unix.PROT_READ, unix.MAP_PRIVATE},
		{unix.PROT_READ, unix.MAP_SHARED},
		{unix.PROT_READ, unix.MAP_SHARED | unix.MAP_ANONYMOUS},
		{unix.PROT_READ, private | unix.MAP_HUGETLB},
		{unix.PROT_READ, private | unix.MAP_LOCKED},
		{unix.PROT_READ, private | unix.MAP_GROWSDOWN},
	} {
		with(unix.SYS_MMAP, 0, page, how[0], how[1], bad)
	}
	with(unix.SYS_MPROTECT, 0, page, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC)
	with(unix.SYS_MPROTECT, 0, page, unix.PROT_READ|unix.PROT_GROWSDOWN)
	for _, advice := range []uintptr{
		unix.MADV_MERGEABLE, unix.MADV_HWPOISON, unix.MADV_DOFORK, unix.MADV_REMOVE, unix.MADV_PAGEOUT,
	} {
		with(unix.SYS_MADVISE, 0, page, advice)
	}
	for _, flags := range []uintptr{
		uintptr(unix.SIGCHLD), unix.CLONE_VM | unix.CLONE_VFORK, thread &^ unix.CLONE_THREAD, thread | unix.CLONE_NEWNET,
		thread | unix.CLONE_NEWUTS, thread | unix.CLONE_PTRACE, thread | unix.CLONE_PARENT, thread | unix.CLONE_UNTRACED,
		thread | unix.CLONE_PIDFD, thread &^ unix.CLONE_FILES,
	} {
		with(unix.SYS_CLONE, flags)
	}
	for op := range uintptr(0x80) {
		if op != 0 && op != 1 && op != 9 { // wait, wake, wait for bits
			with(unix.SYS_FUTEX, 0, op)
		}
	}
	with(unix.SYS_TGKILL, uintptr(parent), uintptr(parent), 0)
	with(unix.SYS_SCHED_GETAFFINITY, uintptr(parent))
	if !closed {
		with(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL)
		with(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	return out
}

func probeCalls() int {
	parent := os.Getppid()
	file := filepath.Join(os.TempDir(), fmt.Sprint("scimward-probe-", os.Getpid()))
	try := func(closed bool) {
		if _, _, errno := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); errno != unix.EPERM {
			fmt.Println("the filter is not in force, and other calls could do harm")
			os.Exit(1)
		}
		all := attempts(parent, closed)
		for _, a := range all {
			_, _, errno := unix.RawSyscall6(a.number, a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], a.args[5])
			if errno != a.want {
				fmt.Printf("%s: %v, want %v\n", a.name, errno, a.want)
			}
		}
		if len(all) < 500 {
			fmt.Printf("%d attempts, want more than 500\n", len(all))
		}
	}
	want := func(what string, got, want error) {
		if !errors.Is(got, want) {
			fmt.Printf("%s: %v, want %v\n", what, got, want)
		}
	}
	want("confine", plugins.Confine(), nil)
	try(false)
	want("write before the compilation", os.WriteFile(file, nil, 0o600), nil)
	want("rename before the compilation", os.Rename(file, file+"2"), nil)
	want("remove before the compilation", os.Remove(file+"2"), nil)
	want("close files", plugins.CloseFiles(), nil)
	try(true)
	_, err := os.ReadFile("/proc/self/status")
	want("read", err, unix.EPERM)
	exercise()
	return 0
}

// exercise uses what the runtime must still be able to do: threads, the collector and its signals, memory,
// timers, code, faults.
func exercise() {
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked, so the thread ends
			time.Sleep(time.Millisecond)
			_ = make([]byte, 1<<20)
		})
	}
	for range 4 {
		wg.Go(func() {
			for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
				for range 1 << 20 { // without a call, so that only a signal preempts it
				}
			}
		})
	}
	for range 10 {
		_ = bytes.Repeat([]byte{1}, 64<<20)
		debug.FreeOSMemory()
	}
	wg.Wait()
	_, _ = rand.Read(make([]byte, 1<<10))
	func() {
		defer func() { _ = recover() }()
		store(nil)
	}()
	run(map[string][]byte{"amd64": {0xc3}, "arm64": {0xc0, 0x03, 0x5f, 0xd6}}[runtime.GOARCH]) // ret
}

// runProbe returns the probe's output and end.
func runProbe(t *testing.T, mode string) (stdout, stderr string, end *os.ProcessState) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "plugin-probe", mode)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState
}

// TestConfinedWorkerCannot: a worker that a guest took over can make no system call that is not in the table,
// and those of the table only with its arguments. The runtime still works.
func TestConfinedWorkerCannot(t *testing.T) {
	stdout, stderr, end := runProbe(t, "calls")
	if stdout != "" || !end.Success() {
		t.Errorf("%v\n%s%s", end, stdout, stderr)
	}
}

// TestConfinedWorkerSaysWhyItDies: the filter does not hide a crash of the worker.
func TestConfinedWorkerSaysWhyItDies(t *testing.T) {
	for mode, want := range map[string]string{
		"panic": "panic: the end\n\ngoroutine 1", "core": "panic: the end\n\ngoroutine 1", "nil": "nil pointer dereference",
		"stack": "stack overflow", "memory": "out of memory|failed to allocate", "quit": "SIGQUIT: quit",
	} {
		t.Run(mode, func(t *testing.T) {
			_, stderr, end := runProbe(t, mode)
			if !regexp.MustCompile(want).MatchString(stderr) || end.Success() {
				t.Errorf("%v, stderr %q, want a failure and %q", end, stderr, want)
			}
			status, ok := end.Sys().(interface{ Signal() unix.Signal })
			if mode == "core" && (!ok || status.Signal() != unix.SIGABRT) {
				t.Errorf("%v, want SIGABRT", end)
			}
		})
	}
}

// TestConfinedWorkerIsPaused: a worker that is stopped and goes on, as in a paused container, notices nothing.
func TestConfinedWorkerIsPaused(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "plugin-probe", "sleep")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); err != nil || line != "asleep\n" {
		t.Fatalf("%q, %v", line, err)
	}
	state := func() string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		_, after, _ := strings.Cut(string(b), ") ")
		return after[:min(len(after), 1)]
	}
	for pauses := 0; state() != "Z"; pauses++ {
		_ = cmd.Process.Signal(unix.SIGSTOP)
		for s := state(); s != "T" && s != "Z"; s = state() {
			runtime.Gosched()
		}
		_ = cmd.Process.Signal(unix.SIGCONT)
		<-time.After(10 * time.Millisecond)
	}
	rest, err := io.ReadAll(out)
	if err := errors.Join(err, cmd.Wait()); err != nil || len(rest) > 0 {
		t.Errorf("%v, output %q", err, rest)
	}
}

// TestUnconfinedIsReported: where the kernel takes no filter of the worker, the plugin runs and status says so,
// even if a container has a filter of its own.
func TestUnconfinedIsReported(t *testing.T) {
	h := hostile(t, http.NotFoundHandler(), func(o *plugins.Options) {
		o.Self = []string{os.Args[0], "plugin-probe", "worker in a container"}
	})
	var faults []string
	for _, m := range h.Sandbox("acme", "app") {
		if m.Fault != "" {
			faults = append(faults, m.Name+": "+m.Fault)
		}
		if m.Name == "no files" {
			t.Error("files are reported as closed")
		}
	}
	if want := []string{"seccomp: no_new_privs: operation not permitted"}; !slices.Equal(faults, want) {
		t.Errorf("faults %q, want %q", faults, want)
	}
	if got := revoke(t, h, request("clock"))[0]; got.State != abi.StateRevoked {
		t.Errorf("a call without the sandbox: %+v, want revoked", got)
	}
}

// TestOtherABIKills: the calls of x32 and of 32-bit processes have other numbers, and end the worker.
func TestOtherABIKills(t *testing.T) {
	modes := []string{"x32"}
	if _, _, free := runProbe(t, "i386 without a filter"); runtime.GOARCH == "amd64" && free.Success() {
		modes = append(modes, "i386")
	}
	for _, mode := range modes {
		_, stderr, end := runProbe(t, mode)
		if !strings.HasPrefix(end.String(), "signal: bad system call") {
			t.Errorf("%s: %v, stderr %s, want SIGSYS", mode, end, stderr)
		}
	}
}

// TestCallTableIsDocumented: the page lists the allowed calls, with the reason of each.
func TestCallTableIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), plugins.CallTable()) {
		t.Errorf("docs/threat-model.md does not contain these rows:\n%s", plugins.CallTable())
	}
}
