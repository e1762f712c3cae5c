//go:build !linux

package plugins

import (
	"os"
	"os/exec"
)

// isolate does what it can where the kernel has no death signal: a worker ends by
// itself when its standard input does.
func isolate(*exec.Cmd) {}

// killGroup kills a worker. An error says that it is dead already.
func killGroup(p *os.Process) { _ = p.Kill() }

// limitProcess does nothing where one process cannot limit another; the guest's
// memory limit and the kill at the deadline remain.
func limitProcess(int, uint64) error { return nil }
