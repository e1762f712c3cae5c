package bundles

import (
	"context"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// HoldCompiling acquires every slot to compile until release.
func (m *Manager) HoldCompiling() (release func()) {
	for range cap(m.compiling.free) {
		m.compiling.free <- struct{}{}
	}
	return func() {
		for range cap(m.compiling.free) {
			<-m.compiling.free
		}
	}
}

// Fetch asks the source of a tenant once, as the schedule does.
func (m *Manager) Fetch(ctx context.Context, tenant string) error {
	return m.ask(ctx, tenant, m.o.Record)
}

// MaxAsking and AskingTime are the constants.
const (
	MaxAsking  = maxAsking
	AskingTime = askingTime
)

// WaitBefore and Within are the functions.
var (
	WaitBefore = waitBefore
	Within     = within
)

// CompileWith replaces the compiler.
func (m *Manager) CompileWith(f func(context.Context, *bundle.Bundle) (*policies.Rules, error)) {
	m.rulesOf = f
}

// RehearseWith lets a command compile new bundles first, for as long as longest.
func (m *Manager) RehearseWith(longest time.Duration, command ...string) {
	m.longest, m.o.Compiler = longest, command
}
