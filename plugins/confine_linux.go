package plugins

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine forbids the worker, for ever and in all its threads, what no worker needs. So a guest that breaks
// out of its memory finds no way to other processes and programs, to the network, or to privileges. It runs
// before the module is parsed. closeFiles runs after the compilation, before the guest's first instruction,
// and forbids files too: the cache of compiled code is not needed any more.
//
// The filters list what is denied and not what is allowed, because the Go runtime may use another system call
// in its next version. An error says what the kernel refused; the other limits of the worker hold without it.
func confine() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return filter(deniedCalls())
}

func closeFiles() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return filter(fileCalls())
}

// deniedCalls are the calls that no worker needs, beside those of extraDenied.
func deniedCalls() []uintptr {
	return append(extraDenied(),
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, // programs
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, // processes
		unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO,
		unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PRLIMIT64, unix.SYS_KCMP, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PROCESS_MADVISE,
		unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, // and their time
		unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_SETPGID,
		unix.SYS_SETSID,
		unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, // the network
		unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_RECVFROM,
		unix.SYS_RECVMSG, unix.SYS_RECVMMSG, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, // namespaces
		unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_FSCONFIG,
		unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_UNSHARE, unix.SYS_SETNS,
		unix.SYS_BPF, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, // the kernel
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_PERSONALITY,
		unix.SYS_SYSLOG,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME,
		unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP,
		unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, // identities
		unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_CAPSET,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_MKNODAT, unix.SYS_FANOTIFY_INIT,
		unix.SYS_MEMFD_CREATE, unix.SYS_MQ_OPEN, unix.SYS_MQ_UNLINK, // and what other processes share, by name or number
		unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_MSGGET, unix.SYS_MSGSND, unix.SYS_MSGRCV, unix.SYS_MSGCTL,
		unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_SEMCTL,
	)
}

// fileCalls are the calls that name a file.
func fileCalls() []uintptr {
	return append(extraFiles(),
		unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
		unix.SYS_MKDIRAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_TRUNCATE,
		unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_READLINKAT, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_STATFS,
		unix.SYS_UTIMENSAT, unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_INOTIFY_ADD_WATCH,
		unix.SYS_FCHMODAT2, unix.SYS_SETXATTRAT, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
		unix.SYS_REMOVEXATTRAT, unix.SYS_FILE_SETATTR,
	)
}

// The offsets of struct seccomp_data.
const (
	dataCall = 0
	dataArch = 4
	dataArg0 = 16 // the low half: every supported architecture is little endian
	dataArg1 = 24
)

// x32 marks the calls of a second ABI on amd64, which would get around the list.
const x32 = 0x4000_0000

// newestCall is the newest call that the lists were made for. The numbers of new calls are the same on all
// architectures.
const newestCall = unix.SYS_FILE_SETATTR

// filter installs a seccomp filter in all threads. A denied call fails with EPERM.
func filter(denied []uintptr) error {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !ok {
		return errors.New("seccomp: there is no filter for " + runtime.GOARCH)
	}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	ret := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	// unless skips the next instruction if the comparison does not hold.
	unless := func(op uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jf: 1, K: k}
	}
	// equal skips the next n instructions if the value is k.
	equal := func(k uint32, n uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: n, K: k}
	}
	eperm := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	enosys := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	program := []unix.SockFilter{
		load(dataArch), equal(arch, 1), ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataCall), unless(unix.BPF_JGE, x32), eperm,
		// The runtime signals its own threads. glibc falls back from clone3 to clone, whose flags can be judged:
		// a thread of this process, not another process.
		unless(unix.BPF_JEQ, uint32(unix.SYS_CLONE3)), enosys,
		// A call that this list cannot know, because the kernel is newer, may do what a denied one does.
		unless(unix.BPF_JGT, newestCall), enosys,
	}
	for _, call := range denied {
		program = append(program, unless(unix.BPF_JEQ, uint32(call)), eperm)
	}
	allow := ret(unix.SECCOMP_RET_ALLOW)
	program = append(program,
		equal(uint32(unix.SYS_TGKILL), 3), equal(uint32(unix.SYS_CLONE), 5), equal(uint32(unix.SYS_FCNTL), 8), allow,
		load(dataArg0), equal(uint32(os.Getpid()), 3), eperm,
		load(dataArg0), unless(unix.BPF_JSET, unix.CLONE_THREAD), allow, eperm,
		// The owner of a pipe gets a signal of the worker's choice when bytes arrive: another process could be one.
		load(dataArg1), equal(unix.F_SETOWN, 3), equal(unix.F_SETOWN_EX, 2), equal(unix.F_SETSIG, 1), allow, eperm)
	return install(program)
}

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
