package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/audit"
)

// verdict of one transaction of a record.
type verdict struct {
	ok       bool
	conflict string // key that was not as the transaction saw it
	changes  []Change
}

// machine is the state machine: the same record on the same state gives the same
// verdicts and bytes, whoever runs it and whenever. It has no clock, no
// randomness, and iterates no map.
type machine struct {
	codec    *codec
	verdicts []verdict // of the record applied last; read by the committer
}

// applier is one record on its way into the engine.
type applier struct {
	txn  *badger.Txn
	seq  Seq
	seen map[string][]byte // keys this record wrote; a nil value is a deletion

	heads   map[string]*head // audit heads this record moved
	tenants []string         // of heads, in the order of their first move
}

// apply judges the transactions of rec in order, each against the state and what
// the ones before it in the record wrote.
func (m *machine) apply(txn *badger.Txn, seq Seq, rec []byte) error {
	m.verdicts = m.verdicts[:0]
	txns, genesis, err := m.codec.decode(rec)
	if err != nil {
		return err
	}
	if genesis != nil {
		if seq != 1 {
			return fmt.Errorf("%w: a genesis record at %d", errBadRecord, seq)
		}
		return nil
	}
	a := &applier{txn: txn, seq: seq, seen: map[string][]byte{}, heads: map[string]*head{}}
	var feed []Change
	for _, t := range txns {
		v, err := a.transaction(t)
		if err != nil {
			return err
		}
		feed = append(feed, v.changes...)
		m.verdicts = append(m.verdicts, v)
	}
	if err := a.writeHeads(); err != nil || len(feed) == 0 {
		return err
	}
	row, err := encodeRow(feed)
	if err != nil {
		return err
	}
	return a.set(feedKey(seq), row)
}

func (a *applier) transaction(t *transaction) (verdict, error) {
	for i := range t.pre {
		ok, err := a.holds(&t.pre[i])
		if err != nil {
			return verdict{}, err
		}
		if !ok {
			return verdict{conflict: keyText(t.pre[i].key)}, nil
		}
	}
	for i := range t.ops {
		if err := a.operation(&t.ops[i], t.time); err != nil {
			return verdict{}, err
		}
	}
	for _, draft := range t.audits {
		if err := a.audit(t, draft); err != nil {
			return verdict{}, err
		}
	}
	v := verdict{ok: true}
	if len(t.changes) > 0 {
		if err := json.Unmarshal(t.changes, &v.changes); err != nil {
			return verdict{}, fmt.Errorf("%w: changes: %w", errBadRecord, err)
		}
		for i := range v.changes {
			v.changes[i].Seq = a.seq
			if v.changes[i].Lock != nil {
				v.changes[i].Lock.Version = a.seq
			}
		}
	}
	return v, nil
}

// get returns the value of a key, nil when it is absent.
func (a *applier) get(k []byte) ([]byte, error) {
	if v, ok := a.seen[string(k)]; ok {
		return v, nil
	}
	item, err := a.txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", keyText(k), err)
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", keyText(k), err)
	}
	return v, nil
}

// version is the version of a key and whether it is there.
func (a *applier) version(k []byte) (Seq, bool, error) {
	if v, ok := a.seen[string(k)]; ok {
		return a.seq, v != nil, nil
	}
	item, err := a.txn.Get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading %s: %w", keyText(k), err)
	}
	return Seq(item.Version()), true, nil
}

func (a *applier) holds(p *precondition) (bool, error) {
	v, found, err := a.version(p.key)
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

func (a *applier) set(k, v []byte) error {
	if err := a.txn.Set(k, v); err != nil {
		return fmt.Errorf("writing %s: %w", keyText(k), err)
	}
	a.seen[string(k)] = v
	return nil
}

func (a *applier) operation(o *operation, at int64) error {
	switch o.kind {
	case opPut:
		return a.set(o.key, o.value)
	case opDelete:
		return a.remove(o.key)
	case opTouch:
		v, err := a.get(o.key)
		if err != nil || v == nil {
			return err
		}
		return a.set(o.key, v)
	case opAdd:
		return a.add(o.key, o.delta, at)
	}
	return errBadRecord
}

func (a *applier) remove(k []byte) error {
	if err := a.txn.Delete(k); err != nil {
		return fmt.Errorf("deleting %s: %w", keyText(k), err)
	}
	a.seen[string(k)] = nil
	return nil
}

func (a *applier) add(k []byte, delta, at int64) error {
	v, err := a.get(k)
	if err != nil {
		return err
	}
	var s stat
	if v != nil {
		if s, err = decodeStat(v); err != nil {
			return fmt.Errorf("reading %s: %w", keyText(k), err)
		}
	}
	s.count += delta
	s.time = max(s.time, at)
	return a.set(k, encodeStat(s))
}

// head is the end of a tenant's audit chain.
type head struct {
	N    uint64     `json:"n"`
	Seq  Seq        `json:"s"`
	Hash audit.Hash `json:"h"`
}

// audit chains a draft of t: position, sequence and hashes are known only here.
func (a *applier) audit(t *transaction, draft []byte) error {
	rec, err := audit.Decode(draft)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRecord, err)
	}
	h, err := a.head(t.tenant)
	if err != nil {
		return err
	}
	rec.N, rec.Seq, rec.Tenant, rec.Time = h.N+1, uint64(a.seq), t.tenant, time.Unix(0, t.time).UTC()
	b, err := rec.SealEncoded(h.Hash)
	if err != nil {
		return err
	}
	if err := a.set(auditKey(t.tenant, rec.N), sealValue(b)); err != nil {
		return err
	}
	if rec.Resource != "" {
		if err := a.set(auditOfKey(t.tenant, rec.Resource, rec.N), sealValue(nil)); err != nil {
			return err
		}
	}
	*h = head{N: rec.N, Seq: a.seq, Hash: rec.Hash}
	return nil
}

// head is the end of a tenant's chain as the record left it so far.
func (a *applier) head(tenant string) (*head, error) {
	if h := a.heads[tenant]; h != nil {
		return h, nil
	}
	v, err := a.get(key(kindAuditHead, tenant))
	if err != nil {
		return nil, err
	}
	h := &head{}
	if v != nil {
		if err := decodeRow(v, h); err != nil {
			return nil, fmt.Errorf("reading the audit head of %s: %w", tenant, err)
		}
	}
	a.heads[tenant] = h
	a.tenants = append(a.tenants, tenant)
	return h, nil
}

func (a *applier) writeHeads() error {
	for _, tenant := range a.tenants {
		row, err := encodeRow(a.heads[tenant])
		if err != nil {
			return err
		}
		if err := a.set(key(kindAuditHead, tenant), row); err != nil {
			return err
		}
	}
	return nil
}
