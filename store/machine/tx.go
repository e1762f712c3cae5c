package machine

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Tx is a Snapshot that also writes and sees its own writes. The keys that it reads
// become preconditions of the change.
type Tx struct {
	*Snapshot
	Payload // Scope and Time are set; the caller may add Drafts and Changes

	pre   []precondition
	preAt map[string]int // where a key is in pre
	ops   []operation    // one for each key
	opAt  map[string]int // where a key is in ops
	err   error          // the first errors of Add; build returns them
}

func newTx(s *Snapshot, scope string, now time.Time) *Tx {
	t := &Tx{
		Snapshot: s, Payload: Payload{Scope: scope, Time: now.UnixNano()},
		preAt: map[string]int{}, opAt: map[string]int{},
	}
	s.tx = t
	return t
}

// Empty reports whether the Tx has no writes yet.
func (t *Tx) Empty() bool { return len(t.ops) == 0 }

// require adds a precondition. On the nil Tx of a plain Snapshot it does nothing.
func (t *Tx) require(k []byte, c cond, v Seq) {
	if t == nil {
		return
	}
	if i, ok := t.preAt[string(k)]; ok {
		if t.pre[i].cond == condExists && c == condVersion {
			t.pre[i].cond, t.pre[i].version = c, v
		}
		return
	}
	t.preAt[string(k)] = len(t.pre)
	t.pre = append(t.pre, precondition{key: k, cond: c, version: v})
}

// get implements Get. Reading a counter that this Tx adds to makes the committed value a
// precondition.
func (t *Tx) get(k []byte) ([]byte, Seq, error) {
	i, own := t.opAt[string(k)]
	if own && t.ops[i].kind != opAdd {
		return t.result(&t.ops[i])
	}
	v, seq, err := get(t.txn, k)
	switch {
	case err == nil:
		t.require(k, condVersion, seq)
	case errors.Is(err, ErrNotFound):
		t.require(k, condAbsent, 0)
	}
	if own {
		return t.result(&t.ops[i])
	}
	return v, seq, err
}

// result is the value of a key after o.
func (t *Tx) result(o *operation) ([]byte, Seq, error) {
	switch o.kind {
	case opPut:
		return o.value, 0, nil
	case opAdd:
		base, seq, err := get(t.txn, o.key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, 0, err
		}
		v, err := addTo(base, o.delta, t.Time)
		return v, seq, err
	case opDelete, opRaise:
	}
	return nil, 0, ErrNotFound
}

// writesBelow returns the puts and deletes below prefix from seek on, in the order
// of their keys.
func (t *Tx) writesBelow(prefix, seek []byte) []operation {
	var out []operation
	for _, o := range t.ops {
		if o.kind != opAdd && o.kind != opRaise && bytes.HasPrefix(o.key, prefix) && bytes.Compare(o.key, seek) >= 0 {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b operation) int { return bytes.Compare(a.key, b.key) })
	return out
}

// write replaces the earlier operation on the key.
func (t *Tx) write(o operation) {
	if i, ok := t.opAt[string(o.key)]; ok {
		t.ops[i] = o
		return
	}
	t.opAt[string(o.key)] = len(t.ops)
	t.ops = append(t.ops, o)
}

// Put writes a key.
func (t *Tx) Put(k, v []byte) { t.write(operation{kind: opPut, key: k, value: v}) }

// Delete removes a key, which may be absent.
func (t *Tx) Delete(k []byte) { t.write(operation{kind: opDelete, key: k}) }

// Add adds delta to a [Counter]. Additions of several transactions do not
// conflict. After an Add to a key that this Tx deleted, Update fails.
func (t *Tx) Add(k []byte, delta int64) {
	i, ok := t.opAt[string(k)]
	if !ok {
		t.write(operation{kind: opAdd, key: k, delta: delta})
		return
	}
	switch o := &t.ops[i]; o.kind {
	case opAdd:
		o.delta += delta
	case opPut:
		v, err := addTo(o.value, delta, t.Time)
		t.err = errors.Join(t.err, err)
		o.value = v
	case opDelete, opRaise:
		t.err = errors.Join(t.err, fmt.Errorf("store: counting on a deleted key of kind %c", k[0]))
	}
}

// build returns the transaction, nil without writes and drafts.
func (t *Tx) build() (*transaction, error) {
	if t.err != nil || len(t.ops) == 0 && len(t.Drafts) == 0 {
		return nil, t.err
	}
	out := &transaction{Payload: t.Payload, pre: t.pre, ops: t.ops}
	rand.Read(out.id[:]) // never fails (crypto/rand)
	if n, keys := out.size(); n > maxTxnBytes || keys > maxTxnKeys {
		return nil, fmt.Errorf("%w: %d keys, %d bytes", ErrTooLarge, keys, n)
	}
	return out, nil
}
