package local

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

const (
	// fillTable is the base size of a table. The engine makes tables of 32 times this size, and needs twice that for
	// each one that it builds. With its default of 2 MiB that would be 128 MiB.
	fillTable = 256 << 10
	fillBatch = 1 << 20 // bytes of keys and values that the engine gets at once
)

// errOrder says that the keys of a backup do not come in their order, which the engine relies on.
var errOrder = errors.New("local: the keys to fill a database with are not in their order")

// Fill writes the keys of a backup into an empty directory. They must come in their order, each once. add is valid
// during fill. The engine writes the tables of its lowest level one after the other, so nothing is written twice.
func Fill(dir string, fill func(add func(key, value []byte, version uint64) error) error) (err error) {
	db, err := badger.OpenManaged(Tuned(dir, false).WithSyncWrites(false).WithBaseTableSize(fillTable)) // Close syncs
	if err != nil {
		return fmt.Errorf("creating the database %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f := &filler{to: db.NewStreamWriter(), batch: z.NewBuffer(2*fillBatch, "scimward")}
	defer f.batch.Release() //nolint:errcheck // it is memory
	defer f.to.Cancel()
	if err := f.to.Prepare(); err != nil {
		return fmt.Errorf("preparing the database %s: %w", dir, err)
	}
	err = fill(f.add)
	if err == nil {
		err = f.pass()
	}
	if err == nil {
		err = f.to.Flush()
	}
	if err != nil {
		return fmt.Errorf("filling the database %s: %w", dir, err)
	}
	return nil
}

// filler passes keys on to the engine in batches.
type filler struct {
	to    *badger.StreamWriter
	batch *z.Buffer
	kv    pb.KV
	last  []byte // the newest key
}

func (f *filler) add(key, value []byte, version uint64) error {
	if len(key) == 0 || bytes.Compare(key, f.last) <= 0 {
		return errOrder // the engine would panic
	}
	f.last = append(f.last[:0], key...)
	f.kv.Key, f.kv.Value, f.kv.Version = key, value, version
	badger.KVToBuffer(&f.kv, f.batch)
	if f.batch.LenNoPadding() < fillBatch {
		return nil
	}
	return f.pass()
}

func (f *filler) pass() error {
	defer f.batch.Reset()
	return f.to.Write(f.batch)
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
