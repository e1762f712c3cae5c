package store

import (
	"errors"
	"fmt"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/machine"
)

// Reader reads one tenant at one position of the log. It is valid only inside the function
// that receives it, and for one goroutine.
type Reader struct {
	tenant  string
	options TenantOptions
	snap    *machine.Snapshot   // in a Tx it records reads as preconditions and sees the writes
	shared  bool                // several stores share the log
	decoded map[string]resource // in a Tx, the decoded rows by key
}

// row decodes the row under a key and returns its version.
func (r *Reader) row(k []byte, row any) (Seq, error) {
	v, seq, err := r.snap.Get(k)
	if err != nil {
		return 0, err
	}
	if err := decodeRow(v, row); err != nil {
		return 0, fmt.Errorf("reading a %s: %w", kindOf(k[0]).name, err)
	}
	return seq, nil
}

// eachRow calls fn for the rows below prefix, until fn returns false. It reads at most limit rows, and
// complete is false when there are more.
func (r *Reader) eachRow(
	prefix []byte, limit int, fn func(machine.Entry) (more bool, err error),
) (complete bool, err error) {
	n := 0
	complete = true
	err = r.snap.Scan(prefix, nil, true, func(e machine.Entry) (bool, error) {
		if n == limit {
			complete = false
			return false, nil
		}
		n++
		return fn(e)
	})
	return complete, err
}

// present reports whether Get found a key.
func present(_ []byte, _ Seq, err error) (bool, error) {
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// scanLast calls fn for the last part of every key below prefix.
func (r *Reader) scanLast(prefix []byte, fn func(part string) (bool, error)) error {
	return r.snap.Scan(prefix, nil, false, func(e machine.Entry) (bool, error) {
		p, err := lastPart(e.Key, len(prefix))
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

// counter reads a tenant counter, zero before its first change. Inside a Tx it is no
// precondition.
func (r *Reader) counter(name string) (int, error) {
	v, _, err := r.snap.Peek(key(kindCounter, r.tenant, name))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	var c machine.Counter
	if err == nil {
		c, err = machine.DecodeCounter(v)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the counter of %s: %w", name, err)
	}
	return int(c.Count), nil
}

// Audit calls fn for every audit record of the tenant, oldest first, until fn
// returns false.
func (r *Reader) Audit(fn func(audit.Record) bool) error {
	return r.snap.Scan(key(kindAudit, r.tenant), nil, true, func(e machine.Entry) (bool, error) {
		rec, err := decodeAudit(e.Value)
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

// AuditOf returns the audit records of one resource, oldest first. The records of a user
// include the jobs and offboardings.
func (r *Reader) AuditOf(resourceID string) ([]audit.Record, error) {
	var out []audit.Record
	err := r.snap.Scan(key(kindAuditOf, r.tenant, resourceID), nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return false, err
		}
		v, _, err := r.snap.Peek(auditKey(r.tenant, d.Number))
		if err != nil {
			return false, fmt.Errorf("reading audit record %d: %w", d.Number, err)
		}
		rec, err := decodeAudit(v)
		out = append(out, rec)
		return true, err
	})
	return out, err
}

// AuditHead returns the hash and the log position of the newest audit record. Both are
// zero before the first record.
func (r *Reader) AuditHead() (audit.Hash, Seq, error) {
	v, _, err := r.snap.Peek(key(kindAuditHead, r.tenant))
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
