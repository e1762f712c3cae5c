// Package local is the log driver of a single scimward. The log is in the same Badger
// database as the state. So a record and its changes become durable in one synced
// commit.
//
// Badger runs in managed mode and commits record n at timestamp n. So the version of
// every key is the position of its record, and a snapshot at n is the state after
// record n. The driver owns the database. [Log.Bind] sets the state machine, which
// reads through [Log.DB].
//
// When a commit fails after the engine accepted it, the driver refuses writes until
// the database is opened again. The kernel may have dropped the pages that it could
// not write and report the next sync as a success. So a retry in the same process
// could acknowledge a record that is not on disk. Opening replays the engine's journal,
// which contains the whole record or no part of the record.
package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
)

// The errors of this driver. ErrLowSpace ends when there is space again. ErrInUse and
// ErrBroken end when the database is opened again. ErrDamaged needs an operator.
var (
	ErrInUse    = errors.New("local: the database is in use by another process")
	ErrLowSpace = fmt.Errorf("local: too little free space: %w", log.ErrRefused)
	ErrBroken   = errors.New("local: an earlier commit failed, restart to continue")
	ErrDamaged  = errors.New("local: the database is damaged")
)

// MaxRecord is the size of the largest record in bytes. The changes of a record have bounds of
// their own: with their record they fit into one commit of the engine.
const MaxRecord = 4 << 20

// Options configures Open.
type Options struct {
	Dir      string // created when absent; ignored when InMemory
	InMemory bool
	MinFree  uint64       // bytes that must be free for a write; zero means no check
	Logger   *slog.Logger // nil: discard
	// Notes returns the newest notes of the content, oldest first, at least those of the
	// newest record. The log keeps MaxNotes of them in its witness. It may be nil.
	Notes func() []Note
	// Offline opens the database to check it. The witness is not written, and a record that
	// is not the witnessed one is an error of Mismatch, not of Open.
	Offline bool
	// Copy is a database whose records come from another log, which still has them. Its commits
	// are not synced, and it has no witness: after a power failure it continues at its own end.
	Copy bool
	// AcceptLoss opens a database that has lost records. Damage that the engine cannot read
	// is still an error.
	AcceptLoss bool
	// CheckBlocks also checks every block of every table.
	CheckBlocks bool
	// Incarnation reads the identity from the genesis record.
	Incarnation func(rec []byte) (log.Incarnation, error)
	// BeforeCommit and AfterWrite inject failures, for tests. Both may be nil.
	BeforeCommit func() error
	AfterWrite   func() error
}

// Apply applies one record inside txn. It must be deterministic, without clock,
// randomness or map iteration.
type Apply func(txn *badger.Txn, seq log.Seq, rec []byte) error

// Log is the local driver.
type Log struct {
	opts  Options
	db    *badger.DB
	lock  *os.File
	apply Apply

	mu     sync.Mutex // Append and Trim
	last   atomic.Uint64
	broken atomic.Pointer[error]
	grown  chan struct{} // closed and replaced on every append
	gmu    sync.Mutex

	wmu         sync.Mutex    // the fields below
	wfile       *os.File      // the witness, nil before its first write
	witness     Witness       // the newest that was written or found
	found       Witness       // the one that Open found
	stopWitness chan struct{} // nil without the goroutine
	keeper      sync.WaitGroup

	behind     atomic.Int64 // Unix nanoseconds since when the newest record waits for its witness, 0 for none
	witnessErr atomic.Pointer[error]

	lost, mismatch error // found by Open
}

const (
	kindLog     = 'L'
	kindGenesis = 'G' // the genesis record of the log, if it is not the record at 1
)

// KindFeed is the first byte of the keys of feed rows. The state machine writes one for
// each record, and Trim drops it with the record.
const KindFeed = 'Z'

// FeedKey is the key of the feed row of a record.
func FeedKey(seq log.Seq) []byte {
	return binary.BigEndian.AppendUint64([]byte{KindFeed}, uint64(seq))
}

func recordKey(seq log.Seq) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindLog}, uint64(seq))
}

// Bind sets the state machine. It must be called before the first Append.
func (l *Log) Bind(a Apply) { l.apply = a }

// DB is the database, for reads at a timestamp.
func (l *Log) DB() *badger.DB { return l.db }

// Start writes the genesis record, which contains a random identity, into an empty log.
func (l *Log) Start(_ context.Context, genesis []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.Load() != 0 {
		return nil
	}
	_, err := l.append(genesis)
	return err
}

// Last is the position of the newest record.
func (l *Log) Last() log.Seq { return log.Seq(l.last.Load()) }

// Ready returns why a write would be refused now: nil, ErrLowSpace or ErrBroken.
func (l *Log) Ready() error {
	if e := l.broken.Load(); e != nil {
		return *e
	}
	return l.room()
}

// Append implements [log.Log].
func (l *Log) Append(_ context.Context, rec []byte) (log.Seq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(rec)
}

// append is Append with the lock held.
func (l *Log) append(rec []byte) (log.Seq, error) {
	if l.db == nil {
		return 0, fmt.Errorf("appending: %w: closed", log.ErrRefused)
	}
	if len(rec) > MaxRecord {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", log.ErrTooLarge, len(rec), MaxRecord)
	}
	if e := l.broken.Load(); e != nil {
		return 0, errors.Join(log.ErrRefused, *e)
	}
	if err := l.room(); err != nil {
		return 0, err
	}
	seq := log.Seq(l.last.Load() + 1)
	if err := l.commit(seq, rec); err != nil {
		return 0, err
	}
	l.last.Store(uint64(seq))
	l.gmu.Lock()
	close(l.grown)
	l.grown = make(chan struct{})
	l.gmu.Unlock()
	return seq, nil
}

// commit writes the record and its changes at timestamp seq.
func (l *Log) commit(seq log.Seq, rec []byte) error {
	txn := l.db.NewTransactionAt(uint64(seq)-1, true)
	defer txn.Discard()
	if err := txn.Set(recordKey(seq), append([]byte{1}, rec...)); err != nil {
		return fmt.Errorf("%w: writing record %d: %w", refusal(err), seq, err)
	}
	if err := l.apply(txn, seq, rec); err != nil {
		return fmt.Errorf("%w: applying record %d: %w", refusal(err), seq, err)
	}
	if l.opts.BeforeCommit != nil {
		if err := l.opts.BeforeCommit(); err != nil {
			return fmt.Errorf("%w: %w", log.ErrRefused, err)
		}
	}
	err := txn.CommitAt(uint64(seq), nil)
	if errors.Is(err, badger.ErrTxnTooBig) {
		return fmt.Errorf("%w: committing record %d: %w", refusal(err), seq, err)
	}
	if err == nil && l.opts.AfterWrite != nil {
		err = l.opts.AfterWrite()
	}
	if err != nil {
		err = fmt.Errorf("%w: committing record %d: %w", ErrBroken, seq, err)
		l.broken.Store(&err)
		return err
	}
	return nil
}

// refusal is the log.ErrRefused of a record that the engine does not take.
func refusal(err error) error {
	if errors.Is(err, badger.ErrTxnTooBig) {
		return log.ErrTooLarge
	}
	return log.ErrRefused
}

// Bounds implements [log.Log].
func (l *Log) Bounds(context.Context) (log.Bounds, error) { return l.bounds() }

func (l *Log) bounds() (log.Bounds, error) {
	last := l.Last()
	if last == 0 {
		return log.Bounds{}, nil
	}
	txn := l.db.NewTransactionAt(uint64(last), false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{kindLog}
	it := txn.NewIterator(o)
	defer it.Close()
	it.Rewind()
	if !it.Valid() {
		return log.Bounds{}, errors.New("local: the log is empty below its last record")
	}
	first := log.Seq(binary.BigEndian.Uint64(it.Item().Key()[1:]))
	id, err := l.incarnation(txn)
	if err != nil {
		return log.Bounds{}, err
	}
	return log.Bounds{First: first, Last: last, ID: id}, nil
}

// incarnation reads the genesis record.
func (l *Log) incarnation(txn *badger.Txn) (log.Incarnation, error) {
	rec, err := KeptGenesis(txn)
	if err != nil {
		return log.Incarnation{}, err
	}
	return l.opts.Incarnation(rec)
}

// KeptGenesis reads the genesis record of the log inside txn: the one that KeepGenesis wrote, or record 1.
func KeptGenesis(txn *badger.Txn) ([]byte, error) {
	rec, _, err := value(txn, []byte{kindGenesis})
	if errors.Is(err, badger.ErrKeyNotFound) {
		rec, _, err = value(txn, recordKey(1))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the genesis record: %w", err)
	}
	return rec, nil
}

// Genesis returns the genesis record of the log.
func (l *Log) Genesis() ([]byte, error) {
	txn := l.db.NewTransactionAt(l.last.Load(), false)
	defer txn.Discard()
	return KeptGenesis(txn)
}

// GenesisKey is the key that [KeepGenesis] writes.
func GenesisKey() []byte { return []byte{kindGenesis} }

// KeepGenesis makes rec the genesis record of the log, in the commit of txn. The state machine calls it for a genesis
// record behind the first position.
func KeepGenesis(txn *badger.Txn, rec []byte) error {
	if err := txn.Set([]byte{kindGenesis}, append([]byte{1}, rec...)); err != nil {
		return fmt.Errorf("keeping the genesis record: %w", err)
	}
	return nil
}

// value returns the record under a key and the version of the key.
func value(txn *badger.Txn, k []byte) (rec []byte, version uint64, err error) {
	item, err := txn.Get(k)
	if err != nil {
		return nil, 0, err
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, 0, err
	}
	if len(v) < 1 || v[0] != 1 {
		return nil, 0, fmt.Errorf("local: a record of unknown version, %d bytes", len(v))
	}
	return v[1:], item.Version(), nil
}

// Tail implements [log.Log]. At the end of the log it waits for the next record.
func (l *Log) Tail(ctx context.Context, from log.Seq, fn func(log.Seq, []byte) error) error {
	bounds, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	from = max(from, 1)
	if from < bounds.First {
		return log.ErrTrimmed
	}
	for {
		l.gmu.Lock()
		grown := l.grown
		l.gmu.Unlock()
		for last := l.Last(); from <= last; from++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			rec, err := l.Read(from)
			if err != nil {
				return err
			}
			if err := fn(from, rec); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// Read returns one record. It returns log.ErrTrimmed when the log does not have the record.
func (l *Log) Read(seq log.Seq) ([]byte, error) {
	txn := l.db.NewTransactionAt(l.last.Load(), false)
	defer txn.Discard()
	rec, version, err := value(txn, recordKey(seq))
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		err = log.ErrTrimmed
	case err == nil && version != uint64(seq):
		err = fmt.Errorf("local: a key of version %d", version)
	}
	if err != nil {
		return nil, fmt.Errorf("reading record %d: %w", seq, err)
	}
	return rec, nil
}

var _ log.Log = (*Log)(nil)
