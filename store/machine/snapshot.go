package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// Snapshot reads the state at one position. Only one goroutine may use it.
type Snapshot struct {
	m     *Machine
	txn   *badger.Txn
	seq   Seq
	alive func() error // the context's Err
	tx    *Tx          // nil outside Update
}

func (m *Machine) snapshot(ctx context.Context) *Snapshot {
	seq := m.snaps.open(&m.position)
	return &Snapshot{m: m, txn: m.log.DB().NewTransactionAt(uint64(seq), false), seq: seq, alive: ctx.Err}
}

func (s *Snapshot) close() {
	s.txn.Discard()
	s.m.snaps.close(s.seq)
}

// Seq is the position of the snapshot.
func (s *Snapshot) Seq() Seq { return s.seq }

// Get returns the value and the version of a key, or ErrNotFound. In a Tx the result
// becomes a precondition, and the version of a key that the Tx wrote is zero.
func (s *Snapshot) Get(k []byte) ([]byte, Seq, error) {
	if s.tx != nil {
		return s.tx.get(k)
	}
	return get(s.txn, k)
}

// Peek is Get without a precondition. In a Tx it sees the writes too.
func (s *Snapshot) Peek(k []byte) ([]byte, Seq, error) {
	if s.tx == nil {
		return get(s.txn, k)
	}
	i, ok := s.tx.opAt[string(k)]
	if !ok {
		return get(s.txn, k)
	}
	return s.tx.result(&s.tx.ops[i])
}

func get(txn *badger.Txn, k []byte) ([]byte, Seq, error) {
	item, err := txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading a key of kind %c: %w", k[0], err)
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, 0, fmt.Errorf("reading a key of kind %c: %w", k[0], err)
	}
	return v, Seq(item.Version()), nil
}

// Exists reports whether a key is present. In a Tx the presence becomes a precondition,
// the version does not.
func (s *Snapshot) Exists(k []byte) (bool, error) {
	if s.tx != nil {
		if _, ok := s.tx.opAt[string(k)]; ok {
			_, _, err := s.tx.get(k)
			return found(err)
		}
	}
	_, err := s.txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		s.tx.require(k, condAbsent, 0)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading a key of kind %c: %w", k[0], err)
	}
	s.tx.require(k, condExists, 0)
	return true, nil
}

func found(err error) (bool, error) {
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Entry is one key of a range. Its slices are valid during the callback only.
type Entry struct {
	Key, Value []byte // Value is nil in a scan without values
	Version    Seq    // zero for a write of the same Tx
}

// Scan calls fn for the keys below prefix in order, from seek (nil: the first) on, until
// fn returns false or an error. In a Tx it sees the writes before the call. Scan adds no
// precondition. If new keys in the range would matter, also read a key that changes with
// the range.
func (s *Snapshot) Scan(prefix, seek []byte, values bool, fn func(Entry) (bool, error)) error {
	var own []operation
	if s.tx != nil {
		own = s.tx.writesBelow(prefix, seek)
	}
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = values
	o.PrefetchSize = 32
	o.Prefix = prefix
	it := s.txn.NewIterator(o)
	defer it.Close()
	if seek == nil {
		it.Rewind()
	} else {
		it.Seek(seek)
	}
	for n := 0; it.Valid(); it.Next() {
		if n++; n%256 == 0 {
			if err := s.alive(); err != nil {
				return err
			}
		}
		k := it.Item().Key()
		if more, err := yieldOwn(&own, k, fn); err != nil || !more {
			return err
		}
		if len(own) > 0 && bytes.Equal(own[0].key, k) {
			continue // this Tx replaced or deleted it; the next yieldOwn yields its write
		}
		if more, err := yieldItem(it.Item(), values, fn); err != nil || !more {
			return err
		}
	}
	_, err := yieldOwn(&own, nil, fn)
	return err
}

// yieldOwn calls fn for the writes of a Tx before k, or for all when k is nil.
func yieldOwn(own *[]operation, k []byte, fn func(Entry) (bool, error)) (more bool, err error) {
	for len(*own) > 0 && (k == nil || bytes.Compare((*own)[0].key, k) < 0) {
		o := (*own)[0]
		*own = (*own)[1:]
		if o.kind == opDelete {
			continue
		}
		if more, err := fn(Entry{Key: o.key, Value: o.value}); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func yieldItem(item *badger.Item, values bool, fn func(Entry) (bool, error)) (more bool, err error) {
	e := Entry{Key: item.Key(), Version: Seq(item.Version())}
	if !values {
		return fn(e)
	}
	err = item.Value(func(v []byte) (err error) {
		e.Value = v
		more, err = fn(e)
		return err
	})
	return more, err
}

// snapshots counts the open snapshots. The engine keeps the versions that the oldest reads.
type snapshots struct {
	mu     sync.Mutex
	active map[Seq]int
}

func (s *snapshots) open(position *atomic.Uint64) Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		s.active = map[Seq]int{}
	}
	seq := Seq(position.Load())
	s.active[seq]++
	return seq
}

func (s *snapshots) close(seq Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[seq]--; s.active[seq] == 0 {
		delete(s.active, seq)
	}
}

func (s *snapshots) oldest(position *atomic.Uint64) Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := Seq(position.Load())
	for seq := range s.active {
		low = min(low, seq)
	}
	return low
}
