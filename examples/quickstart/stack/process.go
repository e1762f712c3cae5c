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
	file *os.File
	done chan struct{}
	err  error // what Wait returned; read after done
}

// start runs a program whose output goes to the end of the file log.
func start(log, program string, args ...string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	p := &Process{cmd: exec.Command(program, args...), log: log, file: f, done: make(chan struct{})} //nolint:noctx // Stop ends it
	p.cmd.Stdout, p.cmd.Stderr = f, f
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

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

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

// Stop asks the process to end, kills it after ten seconds, and waits. An exit
// code other than 0 of a process that was asked is an error.
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
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("ending %s: %w", p.cmd.Path, p.err)
		}
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("ending %s: still there after 10 seconds", p.cmd.Path), p.Kill())
	}
}

// Log returns the last part of what the process said.
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
