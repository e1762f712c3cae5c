// Package child lets a test binary start itself again in a role, so that a part of a test has a process, a heap and a
// processor time of its own. TestMain calls [Run] first, and tests call [Start].
package child

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// word is the first argument of a child. The role and the argument of Start follow.
const word = "test-child"

// Run runs the role that [Start] asked for, and ends the process. It returns in the process of the tests. A role ends
// when its standard input does.
func Run(roles map[string]func(arg string) error) {
	if len(os.Args) != 4 || os.Args[1] != word {
		return
	}
	role, known := roles[os.Args[2]]
	if !known {
		_, _ = fmt.Fprintf(os.Stderr, "no role %q\n", os.Args[2])
		os.Exit(2)
	}
	if err := role(os.Args[3]); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[2], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Process is a child.
type Process struct {
	tb   testing.TB
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	over bool
}

// Start starts a child, which ends with the test at the latest.
func Start(tb testing.TB, role, arg string) *Process {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), os.Args[0], word, role, arg) //nolint:gosec // itself
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p := &Process{tb: tb, role: role, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	tb.Cleanup(p.End)
	return p
}

// ID is its number in the operating system.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Read returns the next line of the child.
func (p *Process) Read() string {
	p.tb.Helper()
	if !p.out.Scan() {
		p.tb.Fatalf("the %s process has ended: %v", p.role, p.out.Err())
	}
	return p.out.Text()
}

// Write sends a line to the child.
func (p *Process) Write(line string) {
	p.tb.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.tb.Fatal(err)
	}
}

// End ends the child in good order.
func (p *Process) End() {
	p.tb.Helper()
	if p.over {
		return
	}
	p.over = true
	_ = p.in.Close() // if that fails, Wait says what happened
	if err := p.cmd.Wait(); err != nil {
		p.tb.Errorf("ending the %s process: %v", p.role, err)
	}
}

// Kill ends the child with SIGKILL.
func (p *Process) Kill() {
	p.tb.Helper()
	p.over = true
	if err := p.cmd.Process.Kill(); err != nil {
		p.tb.Fatal(err)
	}
	_ = p.cmd.Wait() // the error is that it was killed
}

// CPU is the processor time of this process so far.
func CPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("asking for the processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
