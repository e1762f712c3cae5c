package bundles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/scimward/scimward/policies/bundle"
)

// rehearse lets another process compile a new bundle, because that one can be killed: after m.longest, when ctx ends,
// or when it takes too much memory. Only what compiles there is compiled here.
func (m *Manager) rehearse(ctx context.Context, raw []byte) error {
	if len(m.o.Compiler) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, m.longest)
	defer cancel()
	c := exec.CommandContext(limited, m.o.Compiler[0], m.o.Compiler[1:]...)
	c.Env = []string{"GOMAXPROCS=1"} // decisions need the other processors
	c.Stdin, c.WaitDelay = bytes.NewReader(raw), time.Second
	err := c.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil || errors.As(err, &ended) && ended.ExitCode() == int(bundle.TooLong):
		return bundle.Late(m.longest)
	case errors.As(err, &ended) && ended.ExitCode() == int(bundle.TooLarge):
		return &bundle.Error{Stage: "compile", Err: fmt.Errorf("the rules take more than %d MiB to compile: make them "+
			"smaller", bundle.MaxRehearsal>>20)}
	case errors.As(err, &ended):
		return &bundle.Error{Stage: "compile", Err: fmt.Errorf("the compiler crashes on the rules: %w", err)}
	}
	return fmt.Errorf("starting the compiler of policy bundles: %w", err)
}
