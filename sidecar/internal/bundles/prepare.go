package bundles

import (
	"context"
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
	Slow     bool      `json:"slow"` // it takes longer than 30 seconds; after two minutes of compilation it is given up
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
	rules, err := m.compile(ctx, s.Name, b, !tested)
	if err != nil || tested {
		return b, rules, err
	}
	quick, cancel := context.WithTimeout(ctx, quickTests)
	defer cancel()
	if err = m.pass(quick, b); err == nil || quick.Err() == nil || ctx.Err() != nil {
		return b, rules, err
	}
	slot.release()
	if slot, err = m.testing.acquire(ctx); err != nil {
		return nil, nil, err
	}
	defer slot.release()
	return b, rules, m.pass(ctx, b)
}

// show lets status show what is being prepared; nil is nothing.
func (m *Manager) show(s *state, p *Preparing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.preparing = p
}

// compile compiles a bundle. It does not wait longer than ctx and m.longest. Nothing can stop the compiler, so a new
// bundle is rehearsed first.
func (m *Manager) compile(ctx context.Context, tenant string, b *bundle.Bundle, isNew bool) (*policies.Rules, error) {
	slow := time.AfterFunc(compileTime, func() {
		m.o.Logger.LogAttrs(ctx, slog.LevelWarn, "a policy bundle compiles slowly: make its rules smaller",
			slog.String("tenant", tenant), slog.String("revision", b.Name()))
	})
	defer slow.Stop()
	if isNew {
		if err := m.rehearse(ctx, b.Raw, m.longest); err != nil {
			return nil, err
		}
	}
	rules, err := bundle.Limited(ctx, m.longest, func(ctx context.Context) (*policies.Rules, error) {
		return m.rulesOf(ctx, b)
	})
	if err != nil {
		return nil, err
	}
	later := context.WithoutCancel(ctx)
	rules.OnSuspend(func() {
		m.o.Logger.LogAttrs(later, slog.LevelError, "an evaluation of the rules of a tenant does not end and keeps a "+
			"processor busy: what they must judge gets 503 until another policy bundle is in force",
			slog.String("tenant", tenant), slog.String("revision", b.Name()))
	})
	return rules, nil
}

// Try compiles a bundle and runs its tests. It does not come into force, so nobody looks at the signature.
func (m *Manager) Try(ctx context.Context, tenant string, raw []byte) (*policies.Rules, error) {
	slot, err := m.compiling.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer slot.release()
	b, err := bundle.ReadUnverified(raw)
	if err != nil {
		return nil, err
	}
	rules, err := m.compile(ctx, tenant, b, true)
	if err != nil {
		return nil, err
	}
	return rules, m.pass(ctx, b)
}
