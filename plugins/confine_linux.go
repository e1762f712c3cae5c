//go:build amd64 || arm64

package plugins

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine forbids the worker, for ever and in all its threads, every system call that it does not need. So a
// guest that breaks out of its memory finds no way to other processes and programs, to the network, or to
// privileges. It runs before the module is parsed. closeFiles runs after the compilation, before the guest's
// first instruction, and forbids files too: the cache of compiled code is not needed any more.
//
// An error says what the kernel refused; the other limits of the worker hold without it.
func confine() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return install(filter(append(workerCalls(), compileCalls()...)))
}

func closeFiles() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return install(filter(workerCalls()))
}

// The offsets of struct seccomp_data.
const (
	dataCall = 0
	dataArch = 4
	dataArgs = 16 // the low half of the first: every supported architecture is little endian
)

// x32 marks the calls of a second ABI on amd64.
const x32 = 0x4000_0000

// newestCall is the newest call that the table was made for. The numbers of new calls are the same on all
// architectures.
const newestCall = unix.SYS_RSEQ_SLICE_YIELD

// filter makes a seccomp filter that allows the calls. Another call fails with EPERM, and the process dies of
// a call of another ABI.
func filter(allowed []purpose) []unix.SockFilter {
	arch := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	enosys := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	program := []unix.SockFilter{
		load(dataArch), jump(unix.BPF_JEQ, arch, 1, 0), ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataCall), jump(unix.BPF_JGE, x32, 0, 1), ret(unix.SECCOMP_RET_KILL_PROCESS),
		// The C library falls back from clone3 to clone, whose flags can be judged, and from calls that are newer
		// than the table to those that it has.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), enosys,
		jump(unix.BPF_JGT, newestCall, 0, 1), enosys,
	}
	for _, p := range allowed {
		for _, c := range p.calls {
			judge := c.judge()
			program = append(program, jump(unix.BPF_JEQ, uint32(c.number), 0, uint8(len(judge))))
			program = append(program, judge...)
		}
	}
	return append(program, eperm())
}

// judge returns the instructions that allow the call if its arguments hold, and deny it otherwise.
func (c systemCall) judge() []unix.SockFilter {
	var program []unix.SockFilter
	for _, a := range c.args {
		program = append(program, load(dataArgs+8*a.index),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: ^a.ignore})
		for i, v := range a.values {
			program = append(program, jump(unix.BPF_JEQ, v, uint8(len(a.values)-i), 0))
		}
		program = append(program, eperm())
	}
	return append(program, ret(unix.SECCOMP_RET_ALLOW))
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump compares with k and skips the next instructions: as many as yes if it holds, as no if not.
func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

func eperm() unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)) }

// install puts a filter in force in all threads.
func install(program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))) //nolint:gosec // the kernel reads the program
	runtime.KeepAlive(program)
	switch {
	case errno != 0:
		return fmt.Errorf("seccomp: %w", errno)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own", thread)
	}
	return nil
}
