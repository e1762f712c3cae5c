package local

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

const (
	// fillTable is the base size of a table. The engine makes tables of 32 times this size, and needs twice that for
	// each one that it builds. With its default of 2 MiB that would be 128 MiB.
	fillTable   = 256 << 10
	fillBatch   = 1 << 20 // bytes of keys and values that the engine gets at once
	fillBatches = 3       // that are in use: one is filled, one waits, the engine has one
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
	to := db.NewStreamWriter()
	defer to.Cancel()
	if err := to.Prepare(); err != nil {
		return fmt.Errorf("preparing the database %s: %w", dir, err)
	}
	f := newFiller(to)
	err = fill(f.add)
	if err = cmp.Or(err, f.end()); err == nil {
		err = to.Flush()
	}
	if err != nil {
		return fmt.Errorf("filling the database %s: %w", dir, err)
	}
	return nil
}

// filler passes keys on to the engine in batches. A goroutine does that, so that the next batch is read meanwhile.
type filler struct {
	to    *badger.StreamWriter
	batch *z.Buffer
	kv    pb.KV
	last  []byte // the newest key

	full chan *z.Buffer
	free chan passed
}

// passed is a batch that the engine has taken, or did not take because of an error.
type passed struct {
	batch *z.Buffer
	err   error
}

func newFiller(to *badger.StreamWriter) *filler {
	f := &filler{
		to: to, batch: z.NewBuffer(2*fillBatch, "scimward"), full: make(chan *z.Buffer), free: make(chan passed, fillBatches),
	}
	for range fillBatches - 1 {
		f.free <- passed{batch: z.NewBuffer(2*fillBatch, "scimward")}
	}
	go f.pass()
	return f
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
	f.full <- f.batch
	p := <-f.free
	f.batch = p.batch
	return p.err
}

// pass gives batches to the engine, and none after an error.
func (f *filler) pass() {
	var err error
	for b := range f.full {
		if err == nil {
			err = f.to.Write(b)
		}
		b.Reset()
		f.free <- passed{b, err}
	}
}

// end passes the last batch, waits for all and releases their memory.
func (f *filler) end() (err error) {
	f.full <- f.batch
	close(f.full)
	for range fillBatches {
		p := <-f.free
		err = cmp.Or(err, p.err)
		_ = p.batch.Release() // it is memory
	}
	return err
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
