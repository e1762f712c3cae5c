//go:build amd64 || arm64

package plugins

import (
	"os"

	"golang.org/x/sys/unix"
)

// purpose is a reason to allow system calls.
type purpose struct {
	why   string
	calls []systemCall
}

// systemCall is one allowed system call.
type systemCall struct {
	name   string
	number uintptr
	args   []argument // all must hold; none allows any arguments
}

// argument is what an allowed call may say. The filter compares the low half.
type argument struct {
	index  uint32
	ignore uint32 // bits that may be anything
	values []uint32
}

// workerCalls are the system calls of a worker. The Go runtime and wazero need them, on amd64 and arm64. All
// others are denied. The table of docs/threat-model.md is this one.
func workerCalls() []purpose {
	const (
		sharing = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
			unix.CLONE_SYSVSEM
		ownTLS = unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID |
			unix.CLONE_DETACHED // of the threads of C libraries
		anywhere = unix.MAP_FIXED | unix.MAP_NORESERVE | unix.MAP_STACK
		plain    = unix.MAP_ANONYMOUS | unix.MAP_PRIVATE
		options  = 0x180 // FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
	)
	return []purpose{
		{"wait for other threads and for the time", []systemCall{
			{"futex", unix.SYS_FUTEX, []argument{{1, options, []uint32{0, 1, 9}}}}, // WAIT, WAKE, WAIT_BITSET
			{"nanosleep", unix.SYS_NANOSLEEP, nil},
			{"sched_yield", unix.SYS_SCHED_YIELD, nil},
			{"clock_gettime", unix.SYS_CLOCK_GETTIME, nil},
			{"epoll_create1", unix.SYS_EPOLL_CREATE1, nil},
			{"epoll_ctl", unix.SYS_EPOLL_CTL, nil},
			{"epoll_pwait", unix.SYS_EPOLL_PWAIT, nil},
			{"eventfd2", unix.SYS_EVENTFD2, nil},
			{"restart_syscall", unix.SYS_RESTART_SYSCALL, nil}, // the kernel's own, after SIGCONT
		}},
		{"exchange frames with scimward; read the limit of processors, which the runtime has open", []systemCall{
			{"read", unix.SYS_READ, nil},
			{"write", unix.SYS_WRITE, nil},
			{"pread64", unix.SYS_PREAD64, nil},
			{"close", unix.SYS_CLOSE, nil},
		}},
		{"use memory: private, of no file, never writable and executable at once", []systemCall{
			{"mmap", unix.SYS_MMAP, []argument{
				{2, unix.PROT_READ | unix.PROT_WRITE, []uint32{0}},
				{3, anywhere, []uint32{plain, unix.MAP_ANONYMOUS | unix.MAP_DROPPABLE}}, // the latter is for getrandom
			}},
			{"munmap", unix.SYS_MUNMAP, nil},
			{"mprotect", unix.SYS_MPROTECT, []argument{{2, unix.PROT_READ, []uint32{0, unix.PROT_WRITE, unix.PROT_EXEC}}}},
			{"madvise", unix.SYS_MADVISE, []argument{{2, 0, []uint32{
				unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE,
			}}}},
			{"prctl", unix.SYS_PRCTL, []argument{
				{0, 0, []uint32{unix.PR_SET_VMA}}, {1, 0, []uint32{unix.PR_SET_VMA_ANON_NAME}},
			}},
		}},
		{"start, count and end threads, and end the process", []systemCall{
			{"clone", unix.SYS_CLONE, []argument{{0, ownTLS, []uint32{sharing}}}},
			{"gettid", unix.SYS_GETTID, nil},
			{"getpid", unix.SYS_GETPID, nil},
			{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, []argument{{0, 0, []uint32{0}}}},
			{"exit", unix.SYS_EXIT, nil},
			{"exit_group", unix.SYS_EXIT_GROUP, nil},
		}},
		{"signal its own threads: preemption, and the text of a crash", []systemCall{
			{"tgkill", unix.SYS_TGKILL, []argument{{0, 0, []uint32{uint32(os.Getpid())}}}},
			{"rt_sigaction", unix.SYS_RT_SIGACTION, nil},
			{"rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, nil},
			{"rt_sigreturn", unix.SYS_RT_SIGRETURN, nil},
			{"sigaltstack", unix.SYS_SIGALTSTACK, nil},
		}},
		{"give guests random bytes", []systemCall{{"getrandom", unix.SYS_GETRANDOM, nil}}},
		{"start threads of the C library, in a program that is built with cgo", []systemCall{
			{"set_robust_list", unix.SYS_SET_ROBUST_LIST, nil},
			{"rseq", unix.SYS_RSEQ, nil},
		}},
	}
}

// compileCalls are what a worker may do beside workerCalls until its module is compiled.
func compileCalls() []purpose {
	return []purpose{
		{"read and write the cache of compiled code", []systemCall{
			{"openat", unix.SYS_OPENAT, nil}, // without fcntl, the file stays as it is
			{"newfstatat", unix.SYS_NEWFSTATAT, nil},
			{"mkdirat", unix.SYS_MKDIRAT, nil},
			{"renameat", unix.SYS_RENAMEAT, nil},
			{"unlinkat", unix.SYS_UNLINKAT, nil},
			{"fsync", unix.SYS_FSYNC, nil},
		}},
		{"give all this up", []systemCall{
			{"seccomp", unix.SYS_SECCOMP, []argument{
				{0, 0, []uint32{unix.SECCOMP_SET_MODE_FILTER}}, {1, 0, []uint32{unix.SECCOMP_FILTER_FLAG_TSYNC}},
			}},
		}},
	}
}
