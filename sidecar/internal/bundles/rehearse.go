package bundles

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/scimward/scimward/policies/bundle"
)

// pass runs the tests of a bundle in another process, because they may fill the memory, or here without one.
func (m *Manager) pass(ctx context.Context, b *bundle.Bundle) error {
	if len(m.o.Compiler) == 0 {
		return b.Pass(ctx)
	}
	return m.rehearse(ctx, b.Raw, m.longest+bundle.TestsTimeout, "--tests")
}

// rehearse lets another process work on a new bundle, because that one can be killed: after longest, when ctx ends, or
// when it takes too much memory. Only what compiles there is compiled here.
func (m *Manager) rehearse(ctx context.Context, raw []byte, longest time.Duration, args ...string) error {
	if len(m.o.Compiler) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	said, err := m.runCompiler(limited, raw, args)
	var ended *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return bundle.Late(longest)
	case !errors.As(err, &ended):
		return fmt.Errorf("starting the compiler of policy bundles: %w", err)
	case ended.ExitCode() == bundle.Refused:
		return refusal(said)
	case !ended.Exited():
		return &bundle.Error{Stage: "compile", Err: fmt.Errorf("the compiler was killed (%w), perhaps because this machine "+
			"has no memory left: make the rules smaller, or try them again with `scimward policy activate`", err)}
	}
	return &bundle.Error{Stage: "compile", Err: fmt.Errorf("the compiler crashes on the rules: %w", err)}
}

// runCompiler runs the other process, and returns what it prints.
func (m *Manager) runCompiler(ctx context.Context, raw []byte, args []string) ([]byte, error) {
	c := exec.CommandContext(ctx, m.o.Compiler[0], slices.Concat(m.o.Compiler[1:], args)...)
	c.Env = []string{"GOMAXPROCS=1"} // decisions need the other processors
	said := &bounded{left: 64 << 10}
	c.Stdout, c.WaitDelay = said, time.Second
	in, err := c.StdinPipe() // closed when the process has ended, or with this one
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	_ = bundle.WriteArchive(in, raw) // a process that does not read it ends, and Wait says how
	err = c.Wait()
	return said.Bytes(), err
}

// bounded keeps the beginning of what is written.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.Buffer.Write(p[:n])
	return len(p), nil
}

// refusal is what the other process says of a bundle.
func refusal(said []byte) error {
	var p bundle.Problem
	if err := json.Unmarshal(said, &p); err != nil || p.Stage == "" {
		return &bundle.Error{Stage: "compile", Err: errors.New("the compiler refuses the rules and does not say why")}
	}
	return &bundle.Error{Stage: p.Stage, Err: errors.New(p.Message)}
}
