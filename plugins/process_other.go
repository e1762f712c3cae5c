//go:build !linux

package plugins

import (
	"errors"
	"os"
	"os/exec"
)

// isolate does nothing where the kernel has no death signal. A worker ends when its standard input ends.
func isolate(*exec.Cmd) {}

// killGroup kills a worker. An error means that it is already dead.
func killGroup(p *os.Process) { _ = p.Kill() }

// limitProcess does nothing where one process cannot limit another. The guest's memory limit and the kill
// at the deadline remain.
func limitProcess(int, uint64) error { return nil }

var errNoProc = errors.New("the system has no /proc")

// preferForOOM, residentMemory and processStatus need Linux.
func preferForOOM(int) error             { return errNoProc }
func residentMemory(int) (uint64, error) { return 0, errNoProc }
func processStatus(int) (string, error)  { return "", errNoProc }
