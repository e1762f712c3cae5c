package plugins

import "golang.org/x/sys/unix"

// extraDenied and extraFiles are calls that not every architecture has.
func extraDenied() []uintptr {
	return []uintptr{
		unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_SETRLIMIT, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MKNOD,
		unix.SYS_KEXEC_FILE_LOAD, unix.SYS_MODIFY_LDT, unix.SYS_USELIB,
	}
}

func extraFiles() []uintptr {
	return []uintptr{
		unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RMDIR, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_LINK,
		unix.SYS_SYMLINK, unix.SYS_MKDIR, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_READLINK,
		unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
	}
}
