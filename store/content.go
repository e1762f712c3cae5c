package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/machine"
)

// content is the directory's part of each record. It chains the audit drafts, writes the
// feed, and passes the changes to the lock table and the watchers.
type content struct {
	locks    *LockTable
	notes    notes
	restrict listeners[Change]
	applied  listeners[Applied]
	watch    listeners[Change]

	// Of the newest record. The goroutine that applies records reads them.
	seq     Seq
	changes []Change
	cores   []*CoreChange
}

// Apply implements [machine.Content].
func (c *content) Apply(w *machine.Writer, accepted []machine.Payload) (feed []byte, err error) {
	c.seq, c.changes, c.cores = w.Seq(), nil, nil
	h := chains{w: w, heads: map[string]*head{}}
	for i := range accepted {
		p := &accepted[i]
		for _, draft := range p.Drafts {
			if err := h.add(p, draft); err != nil {
				return nil, err
			}
		}
		if err := c.addChanges(w.Seq(), p.Changes); err != nil {
			return nil, err
		}
	}
	c.notes.add(w.Seq(), c.changes)
	if err := h.write(); err != nil || len(c.changes) == 0 {
		return nil, err
	}
	return encodeRow(c.changes)
}

func (c *content) addChanges(seq Seq, encoded []byte) error {
	if len(encoded) == 0 {
		return nil
	}
	var changes []Change
	if err := json.Unmarshal(encoded, &changes); err != nil {
		return fmt.Errorf("decoding changes: %w", err)
	}
	for i := range changes {
		changes[i].Seq = seq
		if changes[i].Core != nil {
			c.cores = append(c.cores, changes[i].Core)
			continue
		}
		if changes[i].Lock != nil {
			changes[i].Lock.Version = seq
		}
		if changes[i].Operator != nil {
			changes[i].Operator.Version = seq
		}
		if changes[i].Policy != nil {
			changes[i].Policy.Version = seq
		}
		c.changes = append(c.changes, changes[i])
	}
	return nil
}

// Publish implements [machine.Content]. It updates the lock table and what else restricts somebody first. So a reader
// who sees that a user is inactive also finds the lock, and no other process hears that a restriction is in force
// here before it is.
func (c *content) Publish(advance func()) {
	for i := range c.changes {
		if l := c.changes[i].Lock; l != nil {
			c.locks.put(*l)
		}
		if l := c.changes[i].Operator; l != nil {
			c.locks.putOperator(*l)
		}
	}
	for i := range c.changes {
		if c.changes[i].restricts() {
			c.restrict.call(c.changes[i])
		}
	}
	c.tell(c.seq)
	advance()
	for i := range c.changes {
		c.watch.call(c.changes[i])
	}
}

// head is the end of a tenant's audit chain.
type head struct {
	N    uint64     `json:"n"`
	Seq  Seq        `json:"s"`
	Hash audit.Hash `json:"h"`
}

// chains are the audit chains that one record extends.
type chains struct {
	w       *machine.Writer
	heads   map[string]*head
	tenants []string // the keys of heads, in the order of their first record
}

// add chains a draft of p and sets its number, position and hashes.
func (c *chains) add(p *machine.Payload, draft []byte) error {
	h, err := c.head(p.Scope)
	if err != nil {
		return err
	}
	place := audit.Place{
		N: h.N + 1, Seq: uint64(c.w.Seq()), Tenant: p.Scope, Time: time.Unix(0, p.Time), Prev: h.Hash,
	}
	rec, err := place.Seal(draft)
	if err != nil {
		return err
	}
	if err := c.w.Set(auditKey(p.Scope, place.N), sealValue(rec.Encoded)); err != nil {
		return err
	}
	if rec.Resource != "" {
		if err := c.w.Set(numberedKey(kindAuditOf, p.Scope, rec.Resource, place.N), sealValue(nil)); err != nil {
			return err
		}
	}
	*h = head{N: place.N, Seq: c.w.Seq(), Hash: rec.Hash}
	return nil
}

func (c *chains) head(tenant string) (*head, error) {
	if h := c.heads[tenant]; h != nil {
		return h, nil
	}
	v, err := c.w.Get(key(kindAuditHead, tenant))
	if err != nil {
		return nil, err
	}
	h := &head{}
	if v != nil {
		if err := decodeRow(v, h); err != nil {
			return nil, fmt.Errorf("reading the audit head of %s: %w", tenant, err)
		}
	}
	c.heads[tenant] = h
	c.tenants = append(c.tenants, tenant)
	return h, nil
}

func (c *chains) write() error {
	for _, tenant := range c.tenants {
		row, err := encodeRow(c.heads[tenant])
		if err != nil {
			return err
		}
		if err := c.w.Set(key(kindAuditHead, tenant), row); err != nil {
			return err
		}
	}
	return nil
}
