package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store/audit"
)

// Tx is a Reader that also writes. Its reads of single keys are preconditions of
// the change; its writes are seen by its own later reads.
type Tx struct {
	*Reader
	now    time.Time
	makeID func() string
	cause  *Cause
	err    error // of a write that could not be encoded; build reports it

	pre     []precondition
	preAt   map[string]int
	ops     []operation
	opAt    map[string]int // where a key is in ops
	changes []Change
	marks   []mark
	attrs   []string
	refused bool
}

// mark is what the audit record of one resource says.
type mark struct {
	resource string
	details  []string
}

func newTx(r *Reader, now time.Time, makeID func() string, cause *Cause) *Tx {
	t := &Tx{Reader: r, now: now.UTC().Round(0), makeID: makeID, cause: cause, preAt: map[string]int{}, opAt: map[string]int{}}
	r.tx = t
	return t
}

// Now is the time of the change, the same however often fn reads it.
func (t *Tx) Now() time.Time { return t.now }

// NewID returns an identifier nothing else has.
func (t *Tx) NewID() string { return t.makeID() }

// Changed adds names of changed attributes to the audit record.
func (t *Tx) Changed(attrs ...string) {
	for _, a := range attrs {
		if !slices.Contains(t.attrs, a) {
			t.attrs = append(t.attrs, a)
		}
	}
}

// AuditOnly records that something was refused: resourceID may be empty, detail
// names the rules. fn then returns nil and writes nothing else.
func (t *Tx) AuditOnly(resourceID, detail string) {
	t.refused = true
	t.mark(resourceID, detail)
}

// Note adds a detail to the audit record of a resource.
func (t *Tx) Note(resourceID, detail string) { t.mark(resourceID, detail) }

func (t *Tx) mark(resource, detail string) {
	i := slices.IndexFunc(t.marks, func(m mark) bool { return m.resource == resource })
	if i < 0 {
		i = len(t.marks)
		t.marks = append(t.marks, mark{resource: resource})
	}
	if detail != "" {
		t.marks[i].details = append(t.marks[i].details, detail)
	}
}

func (t *Tx) require(k []byte, c cond, v Seq) {
	if i, ok := t.preAt[string(k)]; ok {
		if t.pre[i].cond == condExists && c == condVersion {
			t.pre[i].cond, t.pre[i].version = c, v
		}
		return
	}
	t.preAt[string(k)] = len(t.pre)
	t.pre = append(t.pre, precondition{key: k, cond: c, version: v})
}

// pending returns what this change writes to k; a nil value is a deletion.
func (t *Tx) pending(k []byte) (v []byte, ok bool, err error) {
	i, ok := t.opAt[string(k)]
	if !ok {
		return nil, false, nil
	}
	o := &t.ops[i]
	switch o.kind {
	case opAdd: // to know the sum is to depend on what it is added to
		base, seq, err := t.peek(k)
		switch {
		case err == nil:
			t.require(k, condVersion, seq)
		case errors.Is(err, ErrNotFound):
			t.require(k, condAbsent, 0)
		}
		return t.sum(base, err, o.delta)
	case opPut:
		return o.value, true, nil
	case opDelete, opTouch:
	}
	return nil, true, nil
}

// sum is a counter value after delta.
func (t *Tx) sum(base []byte, err error, delta int64) ([]byte, bool, error) {
	var s stat
	if err == nil {
		s, err = decodeStat(base)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, false, err
	}
	return encodeStat(stat{count: s.count + delta, time: max(s.time, t.now.UnixNano())}), true, nil
}

// pendingBelow returns this change's puts and deletes below prefix from seek on,
// in the order of keys.
func (t *Tx) pendingBelow(prefix, seek []byte) []operation {
	var out []operation
	for _, o := range t.ops {
		if o.kind != opAdd && bytes.HasPrefix(o.key, prefix) && bytes.Compare(o.key, seek) >= 0 {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b operation) int { return bytes.Compare(a.key, b.key) })
	return out
}

// write replaces what the change did to the key before; there is one operation a key.
func (t *Tx) write(o operation) {
	if i, ok := t.opAt[string(o.key)]; ok {
		t.ops[i] = o
		return
	}
	t.opAt[string(o.key)] = len(t.ops)
	t.ops = append(t.ops, o)
}

func (t *Tx) put(k, sealed []byte) { t.write(operation{kind: opPut, key: k, value: sealed}) }

func (t *Tx) delete(k []byte) { t.write(operation{kind: opDelete, key: k}) }

func (t *Tx) putRow(k []byte, row any) {
	v, err := encodeRow(row)
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	t.put(k, v)
}

// add moves a counter; several changes may do so without a conflict.
func (t *Tx) add(k []byte, delta int64) {
	i, ok := t.opAt[string(k)]
	if !ok {
		t.write(operation{kind: opAdd, key: k, delta: delta})
		return
	}
	switch o := &t.ops[i]; o.kind {
	case opAdd:
		o.delta += delta
	case opPut:
		v, _, err := t.sum(o.value, nil, delta)
		t.err = errors.Join(t.err, err)
		o.value = v
	case opDelete, opTouch:
		t.err = errors.Join(t.err, fmt.Errorf("store: counting on a deleted %c", k[0]))
	}
}

func (t *Tx) change(c ChangeType, id string, l *Lock) {
	n := Change{Tenant: t.tenant, Type: c, ID: id, Lock: l}
	if t.cause != nil {
		n.RequestID = t.cause.RequestID
	}
	for i := range t.changes {
		if t.changes[i].Type == c && t.changes[i].ID == id {
			t.changes[i] = n
			return
		}
	}
	t.changes = append(t.changes, n)
}

// build makes the transaction; nil when there is nothing to write.
func (t *Tx) build() (*transaction, error) {
	if t.err != nil {
		return nil, t.err
	}
	if len(t.ops) == 0 && len(t.marks) == 0 {
		return nil, nil
	}
	out := &transaction{tenant: t.tenant, time: t.now.UnixNano(), pre: t.pre, ops: t.ops}
	rand.Read(out.id[:]) // never fails (crypto/rand)
	if len(t.changes) > 0 {
		b, err := json.Marshal(t.changes)
		if err != nil {
			return nil, fmt.Errorf("encoding changes: %w", err)
		}
		out.changes = b
	}
	if t.cause == nil {
		return out, nil
	}
	if len(t.marks) == 0 {
		t.marks = []mark{{}}
	}
	for _, m := range t.marks {
		b, err := t.draft(m)
		if err != nil {
			return nil, err
		}
		out.audits = append(out.audits, b)
	}
	return out, nil
}

// What an audit record may hold of strings that come from a request.
const (
	maxAuditString = 1024
	maxAuditAttrs  = 64
)

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxAuditString {
		return strings.ToValidUTF8(s[:maxAuditString], "") + "…"
	}
	return s
}

func (t *Tx) draft(m mark) ([]byte, error) {
	c := t.cause
	outcome := audit.OutcomeDone
	if t.refused {
		outcome = audit.OutcomeRefused
	}
	attrs := slices.Concat(c.Attrs, t.attrs)
	attrs = attrs[:min(len(attrs), maxAuditAttrs)]
	clipped := make([]string, 0, len(attrs))
	for _, a := range attrs {
		clipped = append(clipped, clip(a))
	}
	return audit.Encode(&audit.Record{
		Tenant: t.tenant, Actor: clip(c.Actor), ClientID: clip(c.ClientID), JTI: clip(c.JTI), RequestID: clip(c.RequestID),
		Remote: clip(c.Remote), Method: clip(c.Method), Path: clip(c.Path), Action: clip(c.Action), Decision: clip(c.Decision),
		Outcome: outcome, Resource: clip(m.resource), Attrs: clipped, Detail: clip(strings.Join(m.details, "; ")),
	})
}
