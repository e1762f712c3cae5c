package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/store/log"
)

// Tuned is the engine's configuration: about 100 MB of memory at a million users,
// every write synced.
func Tuned(dir string, inMemory bool) badger.Options {
	o := badger.DefaultOptions(dir).
		WithSyncWrites(!inMemory). // the default is false
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithLogger(nil).
		WithMemTableSize(16 << 20).
		WithNumMemtables(2).
		WithNumLevelZeroTables(4).
		WithNumLevelZeroTablesStall(10).
		WithNumCompactors(2).
		WithBlockCacheSize(32 << 20).
		WithIndexCacheSize(0).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(64 << 20).
		WithCompression(options.Snappy).
		WithChecksumVerificationMode(options.OnBlockRead). // the default is none
		WithVerifyValueChecksum(true).                     // values above ValueThreshold
		WithNumVersionsToKeep(1)
	if inMemory {
		o = o.WithInMemory(true).WithDir("").WithValueDir("")
	}
	return o
}

// Open opens or creates the database. It fails with ErrInUse when another process has it
// open, and with ErrDamaged or a [LostError] when it does not have every record that was
// durable. It then leaves the files as they are.
func Open(o Options) (*Log, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{opts: o, grown: make(chan struct{})}
	if !o.InMemory {
		if err := l.prepare(); err != nil {
			l.release()
			return nil, err
		}
	}
	db, err := openEngine(o)
	if err != nil {
		l.release()
		return nil, fmt.Errorf("opening the database %s (restore a backup if its files are damaged): %w", o.Dir, err)
	}
	l.db = db
	if err := l.findLast(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if o.InMemory || o.Copy {
		return l, nil
	}
	if l.mismatch = l.compare(); l.mismatch != nil && !o.AcceptLoss && !o.Offline {
		return nil, errors.Join(l.mismatch, l.Close())
	}
	if !o.Offline {
		l.stopWitness = make(chan struct{})
		l.keeper.Go(func() { l.keepWitness(l.stopWitness) })
	}
	return l, nil
}

// prepare locks the directory and looks at the files in it before the engine does.
func (l *Log) prepare() error {
	o := &l.opts
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("creating the database directory: %w", err)
	}
	if err := l.acquire(); err != nil {
		return err
	}
	if err := l.room(); err != nil {
		return fmt.Errorf("opening %s: %w", o.Dir, err)
	}
	if o.Copy {
		return nil
	}
	if err := l.readFound(); err != nil {
		return err
	}
	end, err := inspect(o.Dir, o.CheckBlocks)
	if err == nil && l.found.Position > end {
		err = &LostError{Dir: o.Dir, End: end, Witness: l.found}
	}
	var lost *LostError
	if o.AcceptLoss && (errors.As(err, &lost) || errors.Is(err, errMissing)) {
		l.lost = err
		return nil
	}
	return err
}

// Mismatch is why the database does not have every record that was durable, nil when it has.
func (l *Log) Mismatch() error { return errors.Join(l.lost, l.mismatch) }

// openEngine turns a panic of the engine about damaged files into an error.
func openEngine(o Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	engine := Tuned(o.Dir, o.InMemory)
	if o.Copy {
		engine = engine.WithSyncWrites(false)
	}
	return badger.OpenManaged(engine)
}

// Close writes the witness, flushes and closes the database and unlocks its directory.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db == nil {
		return nil
	}
	if l.stopWitness != nil {
		close(l.stopWitness)
		l.keeper.Wait()
		l.tryWitness()
	}
	err := l.db.Close()
	l.db = nil
	if l.wfile != nil {
		_ = l.wfile.Close() // every write was synced
	}
	l.release()
	if err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}

// acquire locks the directory with flock. The kernel unlocks it however the process ends.
func (l *Log) acquire() error {
	path := filepath.Join(l.opts.Dir, "scimward.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written to it
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s; stop that scimward, or give this one a directory of its own",
				ErrInUse, l.opts.Dir)
		}
		return fmt.Errorf("locking %s: %w", path, err)
	}
	l.lock = f
	return nil
}

func (l *Log) release() {
	if l.lock != nil {
		_ = l.lock.Close() // which drops the lock
		l.lock = nil
	}
}

// room fails when the file system has less than MinFree left. The engine writes through
// memory maps, where a full disk raises a signal that ends the process. So writing
// stops earlier.
func (l *Log) room() error {
	if l.opts.InMemory || l.opts.MinFree == 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(l.opts.Dir, &st); err != nil {
		return fmt.Errorf("%w: asking for free space: %w", log.ErrRefused, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < l.opts.MinFree {
		return fmt.Errorf("%w: %d MiB free, %d MiB needed", ErrLowSpace, free>>20, l.opts.MinFree>>20)
	}
	return nil
}

func (l *Log) findLast() error {
	txn := l.db.NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Reverse = true
	it := txn.NewIterator(o)
	defer it.Close()
	it.Seek(recordKey(^log.Seq(0)))
	if it.ValidForPrefix([]byte{kindLog}) {
		l.last.Store(binary.BigEndian.Uint64(it.Item().Key()[1:]))
	}
	return nil
}
