// Package durable writes small files that a crash must not cut.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// New ends the name of a file that is not complete yet. A crash may leave one. The next [Disk.Replace] of the same
// file overwrites it.
const New = ".new"

// Disk writes files. The zero value is ready to use.
type Disk struct {
	// Before is called with the name of each step before it; nil does nothing. An error ends the write there, so a
	// test sees what a crash leaves.
	Before func(step string) error
}

func (d Disk) before(step string) error {
	if d.Before == nil {
		return nil
	}
	return d.Before(step)
}

// MakeDir makes a folder and those above it, with mode 0700. When it returns nil they outlast a crash.
func (d Disk) MakeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := d.MakeDir(parent); err != nil {
		return err
	}
	if err := d.before("make " + filepath.Base(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// Replace writes a file with mode 0600. Whenever the machine stops, the file has the old content or the new one. When
// Replace returns nil, it has the new one. Only one call at a time may write a file.
func (d Disk) Replace(name string, content []byte) error {
	base := filepath.Base(name)
	if err := d.before("write " + base); err != nil {
		return err
	}
	f, err := os.OpenFile(name+New, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name+New))
	}
	if err := d.before("rename " + base); err != nil {
		return err
	}
	if err := os.Rename(name+New, name); err != nil {
		return errors.Join(err, os.Remove(name+New))
	}
	if err := d.before("sync " + base); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// Remove removes a file. A crash may bring it back.
func (d Disk) Remove(name string) error {
	if err := d.before("remove " + filepath.Base(name)); err != nil {
		return err
	}
	return os.Remove(name)
}

// syncDir makes the names in a folder durable.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
