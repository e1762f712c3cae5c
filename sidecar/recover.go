package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
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

// RestoreUntil makes the store of the data folder dir as it was at a moment, from a backup and the records in it or, if
// old is not empty, those in the old data folder old, damaged or not. It returns what changed after the moment. It
// overwrites nothing.
func RestoreUntil(ctx context.Context, from io.ReadSeeker, dir, old string, until store.Moment,
	operator, version string,
) (m store.Manifest, later store.Later, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, later, fmt.Errorf("making the data folder: %w", err)
	}
	file, err := os.CreateTemp(dir, "until-")
	if err != nil {
		return m, later, fmt.Errorf("making a file for the backup of that moment: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	about, err := store.CheckBackup(ctx, from)
	if err != nil {
		return m, later, err
	}
	bases := []store.Base{{At: about.Position, Open: func(context.Context) (io.ReadCloser, error) {
		_, err := from.Seek(0, io.SeekStart)
		return io.NopCloser(from), err
	}}}
	take := func(records log.Log) error {
		_, later, err = store.BackupAt(ctx, dir, bases, records, until, file, version)
		return err
	}
	if old != "" {
		err = store.WithLogOf(ctx, storeIn(old), take)
	} else if _, err = from.Seek(0, io.SeekStart); err == nil {
		err = store.WithLogIn(ctx, dir, from, take)
	}
	if err != nil {
		return m, later, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return m, later, err
	}
	m, err = Restore(ctx, file, dir, operator)
	return m, later, err
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
