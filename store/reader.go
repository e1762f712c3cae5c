package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/audit"
)

// Reader reads one tenant at one position of the log. It is valid only inside
// the function it was handed to, and for one goroutine. Nothing of another
// tenant is reachable through it.
type Reader struct {
	tenant  string
	options TenantOptions
	txn     *badger.Txn
	seq     Seq
	alive   func() error // the context's Err
	tx      *Tx          // records reads as preconditions and sees its own writes
}

// Tenant is the tenant that is read.
func (r *Reader) Tenant() string { return r.tenant }

// Seq is the position of the snapshot.
func (r *Reader) Seq() Seq { return r.seq }

// get returns value and version of a key, ErrNotFound when it is absent. In a Tx
// the answer becomes a precondition.
func (r *Reader) get(k []byte) ([]byte, Seq, error) {
	if r.tx != nil {
		if v, ok, err := r.tx.pending(k); ok || err != nil {
			if err == nil && v == nil {
				err = ErrNotFound
			}
			return v, 0, err
		}
	}
	v, seq, err := r.peek(k)
	if r.tx == nil {
		return v, seq, err
	}
	switch {
	case err == nil:
		r.tx.require(k, condVersion, seq)
	case errors.Is(err, ErrNotFound):
		r.tx.require(k, condAbsent, 0)
	}
	return v, seq, err
}

// peek is get of the snapshot alone, without a precondition.
func (r *Reader) peek(k []byte) ([]byte, Seq, error) {
	item, err := r.txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading %c: %w", k[0], err)
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, 0, fmt.Errorf("reading %c: %w", k[0], err)
	}
	return v, Seq(item.Version()), nil
}

// peekOwn is peek that sees the writes of a Tx.
func (r *Reader) peekOwn(k []byte) ([]byte, Seq, error) {
	if r.tx == nil {
		return r.peek(k)
	}
	i, ok := r.tx.opAt[string(k)]
	if !ok {
		return r.peek(k)
	}
	switch o := r.tx.ops[i]; o.kind {
	case opPut:
		return o.value, 0, nil
	case opAdd:
		base, seq, err := r.peek(k)
		v, _, err := r.tx.sum(base, err, o.delta)
		return v, seq, err
	case opDelete, opTouch:
	}
	return nil, 0, ErrNotFound
}

// exists asks for a key's presence only, which is all that becomes a precondition.
func (r *Reader) exists(k []byte) (bool, error) {
	if r.tx != nil {
		if v, ok, err := r.tx.pending(k); ok || err != nil {
			return v != nil, err
		}
	}
	_, err := r.txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		if r.tx != nil {
			r.tx.require(k, condAbsent, 0)
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %c: %w", k[0], err)
	}
	if r.tx != nil {
		r.tx.require(k, condExists, 0)
	}
	return true, nil
}

func (r *Reader) row(k []byte, row any) (Seq, error) {
	v, seq, err := r.get(k)
	if err != nil {
		return 0, err
	}
	if err := decodeRow(v, row); err != nil {
		return 0, fmt.Errorf("reading %c: %w", k[0], err)
	}
	return seq, nil
}

// entry is one key of a range. Its slices are valid during the callback only.
type entry struct {
	key, value []byte // value is nil in a scan without values
	version    Seq    // zero for a write of the same Tx
}

// scan calls fn for the keys below prefix in order, from seek (nil: the first)
// on, until fn says stop. In a Tx it sees the writes made before it began. A range
// is no precondition; whatever must not have phantoms carries a key that changes
// with it.
func (r *Reader) scan(prefix, seek []byte, values bool, fn func(entry) (bool, error)) error {
	var own []operation
	if r.tx != nil {
		own = r.tx.pendingBelow(prefix, seek)
	}
	it := r.iterator(prefix, seek, values)
	defer it.Close()
	for n := 0; it.Valid(); it.Next() {
		if n++; n%256 == 0 {
			if err := r.alive(); err != nil {
				return err
			}
		}
		k := it.Item().Key()
		if more, err := yieldOwn(&own, k, fn); err != nil || !more {
			return err
		}
		if len(own) > 0 && bytes.Equal(own[0].key, k) {
			continue // replaced or deleted by this Tx; the next turn yields it
		}
		more, err := yieldItem(it.Item(), values, fn)
		if err != nil || !more {
			return err
		}
	}
	_, err := yieldOwn(&own, nil, fn)
	return err
}

func (r *Reader) iterator(prefix, seek []byte, values bool) *badger.Iterator {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = values
	o.PrefetchSize = 32
	o.Prefix = prefix
	it := r.txn.NewIterator(o)
	if seek == nil {
		it.Rewind()
	} else {
		it.Seek(seek)
	}
	return it
}

// yieldOwn hands out the writes of a Tx that come before k, all when k is nil.
func yieldOwn(own *[]operation, k []byte, fn func(entry) (bool, error)) (more bool, err error) {
	for len(*own) > 0 && (k == nil || bytes.Compare((*own)[0].key, k) < 0) {
		o := (*own)[0]
		*own = (*own)[1:]
		if o.kind == opDelete {
			continue
		}
		if more, err := fn(entry{key: o.key, value: o.value}); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func yieldItem(item *badger.Item, values bool, fn func(entry) (bool, error)) (more bool, err error) {
	e := entry{key: item.Key(), version: Seq(item.Version())}
	if !values {
		return fn(e)
	}
	err = item.Value(func(v []byte) (err error) {
		e.value = v
		more, err = fn(e)
		return err
	})
	return more, err
}

// scanLast is scan of the last part of every key below prefix.
func (r *Reader) scanLast(prefix []byte, fn func(part string) (bool, error)) error {
	return r.scan(prefix, nil, false, func(e entry) (bool, error) {
		p, err := lastPart(e.key, len(prefix))
		if err != nil {
			return false, err
		}
		return fn(p)
	})
}

func (r *Reader) listLast(prefix []byte) ([]string, error) {
	var out []string
	err := r.scanLast(prefix, func(p string) (bool, error) {
		out = append(out, p)
		return true, nil
	})
	return out, err
}

// counter reads a tenant counter, which is absent before the first change of it;
// inside a Tx it is no precondition.
func (r *Reader) counter(name string) (int, error) {
	s, err := r.peekStat(key(kindCounter, r.tenant, name))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the counter of %s: %w", name, err)
	}
	return int(s.count), nil
}

func (r *Reader) peekStat(k []byte) (stat, error) {
	v, _, err := r.peek(k)
	if err != nil {
		return stat{}, err
	}
	return decodeStat(v)
}

// Audit calls fn for every audit record of the tenant, oldest first, until fn
// returns false.
func (r *Reader) Audit(fn func(audit.Record) bool) error {
	return r.scan(key(kindAudit, r.tenant), nil, true, func(e entry) (bool, error) {
		rec, err := decodeAudit(e.value)
		if err != nil {
			return false, err
		}
		return fn(rec), nil
	})
}

func decodeAudit(v []byte) (audit.Record, error) {
	b, err := openValue(v)
	if err != nil {
		return audit.Record{}, err
	}
	return audit.Decode(b)
}

// AuditOf returns the audit records of one resource, oldest first. Jobs and
// offboardings are recorded under the id of their user.
func (r *Reader) AuditOf(resourceID string) ([]audit.Record, error) {
	prefix := key(kindAuditOf, r.tenant, resourceID)
	var out []audit.Record
	err := r.scan(prefix, nil, false, func(e entry) (bool, error) {
		n, _, err := cutU64(e.key[len(prefix):])
		if err != nil {
			return false, err
		}
		v, _, err := r.peek(auditKey(r.tenant, n))
		if err != nil {
			return false, fmt.Errorf("reading audit record %d: %w", n, err)
		}
		rec, err := decodeAudit(v)
		if err != nil {
			return false, err
		}
		out = append(out, rec)
		return true, nil
	})
	return out, err
}

// AuditHead is the hash of the newest audit record and its log position; both
// zero before the first, which is no error.
func (r *Reader) AuditHead() (audit.Hash, Seq, error) {
	v, _, err := r.peek(key(kindAuditHead, r.tenant))
	if errors.Is(err, ErrNotFound) {
		return audit.Hash{}, 0, nil
	}
	var h head
	if err == nil {
		err = decodeRow(v, &h)
	}
	if err != nil {
		return audit.Hash{}, 0, fmt.Errorf("reading the head of the audit chain: %w", err)
	}
	return h.Hash, h.Seq, nil
}
