package plugins

import (
	"context"
	"io"

	"github.com/scimward/scimward/plugins/abi"
)

// Host runs the plugins of all tenants.
type Host struct{}

// Open loads every plugin.
func Open(_ context.Context, _ Options) (*Host, error) { return &Host{}, nil }

// Revoke runs revoke.
func (h *Host) Revoke(_ context.Context, _, _ string, _ abi.Request) (abi.Result, error) {
	return abi.Result{}, ErrNoPlugin
}

// Verify runs verify.
func (h *Host) Verify(_ context.Context, _, _ string, _ abi.Request) (abi.VerifyResult, error) {
	return abi.VerifyResult{}, ErrNoPlugin
}

// Identify asks whose credential it is.
func (h *Host) Identify(_ context.Context, _, _ string, _ abi.Credential, _ string) (abi.IdentifyResult, error) {
	return abi.IdentifyResult{}, ErrNoPlugin
}

// Forget drops cached identities of a user.
func (h *Host) Forget(_ string, _ ...string) {}

// Health runs health.
func (h *Host) Health(_ context.Context, _, _ string) (abi.Health, error) {
	return abi.Health{}, ErrNoPlugin
}

// Info describes a loaded plugin.
func (h *Host) Info(_, _ string) (abi.Info, bool) { return abi.Info{}, false }

// Ready is nil when every plugin is loaded.
func (h *Host) Ready() error { return nil }

// Close ends the workers.
func (h *Host) Close() error { return nil }

// RunWorker is the worker.
func RunWorker(_ context.Context, _ io.Reader, _ io.Writer) int { return 1 }
