package machine

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log/local"
)

// Writer writes one record into the engine. It sees its own writes.
type Writer struct {
	m    *Machine
	txn  *badger.Txn
	seq  Seq
	seen map[string][]byte // the writes of the record; a nil value is a deletion
}

// Apply writes the transactions of record seq in their order and skips each one with a
// failed precondition. The same record on the same state gives the same bytes, on any
// machine and at any time. There is no clock, no randomness and no map iteration.
func (m *Machine) Apply(txn *badger.Txn, seq Seq, b []byte) error {
	m.newest = verdict{seq: seq, accepted: m.newest.accepted[:0]}
	rec, err := m.codec.decode(b)
	if err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	w := &Writer{m: m, txn: txn, seq: seq, seen: map[string][]byte{}}
	if rec.genesis != nil {
		return m.begin(w, rec.genesis, b)
	}
	if rec.mark != nil {
		repeated, hash, err := w.mark(rec.mark, m.id, b)
		if err != nil {
			return err
		}
		if m.newest.mark, m.newest.repeated, m.hash = rec.mark, repeated, hash; repeated {
			rec.txns = nil // the first verdict stands
		}
	}
	var accepted []Payload
	for _, t := range rec.txns {
		ok, err := w.transaction(t)
		if err != nil {
			return err
		}
		if ok {
			accepted = append(accepted, t.Payload)
		}
		m.newest.accepted = append(m.newest.accepted, ok)
	}
	feed, err := m.opts.Content.Apply(w, accepted)
	if err != nil || feed == nil {
		return err
	}
	return w.Set(local.FeedKey(seq), feed)
}

// transaction applies t unless one of its preconditions fails.
func (w *Writer) transaction(t *transaction) (ok bool, err error) {
	for i := range t.pre {
		if ok, err := w.meets(&t.pre[i]); err != nil || !ok {
			return false, err
		}
	}
	for i := range t.ops {
		if err := w.operation(&t.ops[i], t.Time); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Seq is the position of the record.
func (w *Writer) Seq() Seq { return w.seq }

// Get returns the value of a key, nil when it is absent.
func (w *Writer) Get(k []byte) ([]byte, error) {
	if v, ok := w.seen[string(k)]; ok {
		return v, nil
	}
	v, _, err := get(w.txn, k)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// Set writes a key.
func (w *Writer) Set(k, v []byte) error {
	if err := w.txn.Set(k, v); err != nil {
		return fmt.Errorf("writing a key of kind %c: %w", k[0], err)
	}
	w.seen[string(k)] = v
	return nil
}

// version returns the version of a key; found is false when it is absent.
func (w *Writer) version(k []byte) (_ Seq, found bool, err error) {
	if v, ok := w.seen[string(k)]; ok {
		return w.seq, v != nil, nil
	}
	item, err := w.txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading a key of kind %c: %w", k[0], err)
	}
	return Seq(item.Version()), true, nil
}

func (w *Writer) meets(p *precondition) (bool, error) {
	v, found, err := w.version(p.key)
	if err != nil {
		return false, err
	}
	switch p.cond {
	case condAbsent:
		return !found, nil
	case condExists:
		return found, nil
	case condVersion:
		return found && v == p.version, nil
	}
	return false, errBadRecord
}

func (w *Writer) operation(o *operation, at int64) error {
	switch o.kind {
	case opPut:
		return w.Set(o.key, o.value)
	case opDelete:
		if err := w.txn.Delete(o.key); err != nil {
			return fmt.Errorf("deleting a key of kind %c: %w", o.key[0], err)
		}
		w.seen[string(o.key)] = nil
		return nil
	case opAdd:
		v, err := w.Get(o.key)
		if err != nil {
			return err
		}
		if v, err = addTo(v, o.delta, at); err != nil {
			return fmt.Errorf("reading a key of kind %c: %w", o.key[0], err)
		}
		return w.Set(o.key, v)
	case opRaise:
		return w.raise(uint64(o.delta))
	}
	return errBadRecord
}
