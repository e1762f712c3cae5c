package stack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a child that dies with this process.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // the result of Wait; read after done
}

// start runs a program and appends its output to the file log.
func start(log, program string, args ...string) (*Process, error) {
	return Launch("", log, program, args...)
}

// Launch runs a program in a folder, and appends its output to the file log.
func Launch(dir, log, program string, args ...string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	cmd := exec.Command(program, args...) //nolint:noctx // Stop ends it
	p := &Process{cmd: cmd, log: log, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, f, f
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", program, err), f.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), f.Close())
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends sig.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signalling: %w", err)
	}
	return nil
}

// Kill ends the process as kill -9 does, and waits.
func (p *Process) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	<-p.done
	return err
}

// stopTime is how long a process may take to end. It is long for a busy machine.
const stopTime = 2 * time.Minute

// Stop sends SIGTERM, kills the process after stopTime, and waits. A nonzero exit code is an error,
// unless the process had ended before.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	// A stopped process must run to be able to end.
	if err := errors.Join(p.Signal(syscall.SIGCONT), p.Signal(syscall.SIGTERM)); err != nil {
		return err
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("ending %s: %w", p.cmd.Path, p.err)
		}
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("ending %s: still there after %s", p.cmd.Path, stopTime), p.Kill())
	}
}

// Log returns the end of the log.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(b) > 4096 {
		b = b[len(b)-4096:]
	}
	return string(b)
}
