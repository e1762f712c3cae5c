package plugins

import "golang.org/x/sys/unix"

// extraDenied and extraFiles are calls that not every architecture has.
func extraDenied() []uintptr { return []uintptr{unix.SYS_SETRLIMIT, unix.SYS_KEXEC_FILE_LOAD} }
func extraFiles() []uintptr  { return []uintptr{unix.SYS_RENAMEAT} }
