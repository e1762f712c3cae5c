package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
)

// RecoverUntil is Recover as it was at a moment. It makes a backup of the moment, from the snapshots beside the log or
// the backup from, and the records of the log. With the data folder of a core as from, it takes the records of its
// copy. The backup is kept: after a failure, Recover goes on with it. It fails with a [store.UnreachableError].
func (c *LogCommand) RecoverUntil(ctx context.Context, from string, until store.Moment, plan bool) (b Beginning,
	err error,
) {
	if err := os.MkdirAll(c.Config.DataDir, 0o700); err != nil {
		return b, fmt.Errorf("making the data folder: %w", err)
	}
	file, err := os.CreateTemp(c.Config.DataDir, "until-*.backup") // mode 0600
	if err != nil {
		return b, fmt.Errorf("making a file for the backup of that moment: %w", err)
	}
	later, err := c.backupAt(ctx, from, until, file)
	err = errors.Join(err, file.Close())
	if err != nil || plan {
		defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	}
	if err != nil {
		return b, err
	}
	b, err = c.Recover(ctx, file.Name(), plan)
	b.Later = &later
	if plan {
		return b, err
	}
	b.Kept = file.Name()
	if err != nil {
		err = fmt.Errorf("%w; the backup of that moment is %s: repeat the command with --from %[2]s and without --until",
			err, b.Kept)
	}
	return b, err
}

// backupAt writes a backup of a moment to a file, and returns what changed after it.
func (c *LogCommand) backupAt(ctx context.Context, from string, until store.Moment, file *os.File) (later store.Later,
	err error,
) {
	l, err := c.connect(ctx)
	if err != nil {
		return later, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s, err := l.State(ctx) // which waits for a leader
	if err != nil {
		return later, err
	}
	var bases []store.Base
	for _, b := range cluster.CompleteSnapshots(s.Blobs) {
		bases = append(bases, store.Base{At: b.At, Open: func(ctx context.Context) (io.ReadCloser, error) {
			return cluster.OpenSnapshot(ctx, l, b.Name), nil
		}})
	}
	with := func(fn func(log.Log) error) error {
		if !s.Exists {
			return errNoRecords
		}
		return fn(l)
	}
	if from != "" {
		stat, err := os.Stat(from)
		if err != nil {
			return later, fmt.Errorf("looking for the data folder or the backup: %w", err)
		}
		if stat.IsDir() {
			with = func(fn func(log.Log) error) error { return store.WithLogOf(ctx, storeIn(from), fn) }
		} else if bases, err = addBackup(ctx, bases, from); err != nil {
			return later, err
		}
	}
	err = with(func(records log.Log) error {
		var err error
		_, later, err = store.BackupAt(ctx, c.Config.DataDir, bases, records, until, file, c.Version)
		return errors.Join(err, file.Sync())
	})
	return later, err
}

var errNoRecords = errors.New("the shared log is gone: name the data folder of a core, whose copy has records too")

// addBackup adds a backup file to those from which a moment can be reached.
func addBackup(ctx context.Context, bases []store.Base, path string) ([]store.Base, error) {
	m, err := checkBackupFile(ctx, path)
	return append(bases, store.Base{At: m.Position, Open: func(context.Context) (io.ReadCloser, error) {
		return os.Open(path)
	}}), err
}
