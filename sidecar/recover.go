package sidecar

import (
	"context"
	"io"
	"path/filepath"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/store"
)

func storeOptions(cfg *config.Config) store.Options {
	return store.Options{Dir: StoreDir(cfg), Tenants: storeTenants(cfg)}
}

// AcceptLoss makes the store of a configuration usable again after it has lost records, and
// audits who accepted this and why.
func AcceptLoss(ctx context.Context, cfg *config.Config, operator, reason string) (store.Loss, error) {
	return store.AcceptLoss(ctx, storeOptions(cfg), cause(operator, "store.accept_loss"), reason)
}

// Restore makes the store of the data folder dir from a backup. It overwrites nothing.
func Restore(ctx context.Context, from io.ReadSeeker, dir, operator string) (store.Manifest, error) {
	return store.Restore(ctx, from, storeIn(dir), cause(operator, "store.restore"))
}

// LocksAfter reads the changes of locks after a backup from an old data folder, damaged or not.
func LocksAfter(ctx context.Context, dir string, m store.Manifest) (store.Later, error) {
	return store.LocksAfter(ctx, storeIn(dir), m)
}

func storeIn(dataDir string) string { return filepath.Join(dataDir, "store") }

// cause is the cause of what an operator does without a request.
func cause(operator, action string) store.Cause {
	return store.Cause{Actor: "operator:" + operator, RequestID: "command", Action: action, Decision: "operator"}
}

// storeComponent is ready while the store accepts writes. A late witness is only a message.
func storeComponent(h store.Health) admin.Component {
	c := component("store", h.Err)
	if h.Err == nil && h.Witness != nil {
		c.Message = h.Witness.Error()
	}
	return c
}
