package bundles

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// Bounds of what works on bundles, so that decisions on requests get the processors.
const (
	// compileTime is how long one bundle may keep the others waiting. One that takes longer is slow.
	compileTime = 30 * time.Second
	// longestCompile is when a bundle is given up. The compiler cannot be stopped: its goroutine goes on.
	longestCompile = 2 * time.Minute
	// quickTests is the time in which most tests of bundles end. Those that do not begin again, one bundle at a time.
	quickTests = time.Second
)

// atOnce is how many bundles are compiled at once.
func atOnce() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// Preparing is a bundle that is being compiled and tested. It is not in force.
type Preparing struct {
	Revision string    `json:"revision"`
	Serial   uint64    `json:"serial"`
	Since    time.Time `json:"since"`
	Slow     bool      `json:"slow"` // it takes longer than 30 seconds; after two minutes the compilation is given up
}

// prepare reads, verifies and compiles a bundle, and tests a new one. It waits for a slot.
func (m *Manager) prepare(ctx context.Context, s *state, raw []byte, tested bool) (
	*bundle.Bundle, *policies.Rules, error,
) {
	slot, err := m.compiling.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer slot.release()
	b, err := bundle.Read(raw, s.Trust)
	if err != nil {
		return nil, nil, err
	}
	m.show(s, &Preparing{Revision: b.Revision, Serial: b.Serial, Since: m.o.Now().UTC()})
	defer m.show(s, nil)
	rules, err := m.compile(ctx, s, b)
	if err != nil || tested {
		return b, rules, err
	}
	quick, cancel := context.WithTimeout(ctx, quickTests)
	defer cancel()
	if err = b.Pass(quick); err == nil || quick.Err() == nil || ctx.Err() != nil {
		return b, rules, err
	}
	slot.release()
	if slot, err = m.testing.acquire(ctx); err != nil {
		return nil, nil, err
	}
	defer slot.release()
	return b, rules, b.Pass(ctx)
}

// show lets status show what is being prepared; nil is nothing.
func (m *Manager) show(s *state, p *Preparing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.preparing = p
}

// compile compiles a bundle. It does not wait longer than ctx and longestCompile.
func (m *Manager) compile(ctx context.Context, s *state, b *bundle.Bundle) (*policies.Rules, error) {
	limited, cancel := context.WithTimeout(ctx, longestCompile)
	defer cancel()
	slow := time.AfterFunc(compileTime, func() {
		m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "a policy bundle compiles slowly: make its rules smaller",
			slog.String("tenant", s.Name), slog.String("revision", b.Name()))
	})
	defer slow.Stop()
	type compiled struct {
		rules *policies.Rules
		err   error
	}
	done := make(chan compiled, 1)
	go func() {
		rules, err := m.rulesOf(limited, b)
		done <- compiled{rules, err}
	}()
	select {
	case c := <-done:
		return c.rules, c.err
	case <-limited.Done():
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, &bundle.Error{Stage: "compile", Err: fmt.Errorf("the rules do not compile within %s: make them smaller. "+
		"The compiler cannot be stopped, and takes a processor until it ends or scimward restarts", longestCompile)}
}
