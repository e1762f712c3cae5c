package local

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Fill writes the keys of a backup into an empty directory. add is valid during fill.
func Fill(dir string, fill func(add func(key, value []byte, version uint64) error) error) (err error) {
	db, err := badger.OpenManaged(Tuned(dir, false).WithSyncWrites(false)) // Close syncs
	if err != nil {
		return fmt.Errorf("creating the database %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	batch := db.NewManagedWriteBatch()
	defer batch.Cancel()
	if err := fill(func(key, value []byte, version uint64) error {
		e := badger.NewEntry(append([]byte(nil), key...), append([]byte(nil), value...))
		return batch.SetEntryAt(e, version)
	}); err != nil {
		return err
	}
	if err := batch.Flush(); err != nil {
		return fmt.Errorf("filling the database %s: %w", dir, err)
	}
	return nil
}

// CheckTables checks every block of every table of the open database.
func (l *Log) CheckTables() (err error) {
	defer func() {
		if r := recover(); r != nil { // the engine panics at some damage
			err = fmt.Errorf("%w: a block of a table cannot be read", ErrDamaged)
		}
	}()
	if err := l.db.VerifyChecksum(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
