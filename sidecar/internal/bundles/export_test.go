package bundles

import (
	"context"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// SetStep calls f before each step on disk. An error stops there, as a crash would.
func (m *Manager) SetStep(f func(step string) error) { m.disk.Before = f }

// HoldCompiling takes every turn to compile until release.
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

// MaxAsking and AskingTime are the constants.
const (
	MaxAsking  = maxAsking
	AskingTime = askingTime
)

// WaitBefore is waitBefore.
var WaitBefore = waitBefore

// CompileWith replaces the compiler.
func (m *Manager) CompileWith(f func(context.Context, *bundle.Bundle) (*policies.Rules, error)) {
	m.rulesOf = f
}
