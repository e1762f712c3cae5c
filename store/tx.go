package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/machine"
)

// Tx is a Reader that also writes and sees its own writes. The keys that it reads become
// preconditions of the change.
type Tx struct {
	*Reader
	w     *machine.Tx
	now   time.Time
	cause Cause // zero for housekeeping, which is not audited
	err   error // the errors of encoding rows; finish returns them

	changes []Change
	notes   []note
	attrs   []string
	refused bool
	locked  []Locked
}

// note is the content of the audit record of one resource.
type note struct {
	resource string
	details  []string
}

func (s *Store) newTx(w *machine.Tx, cause Cause) *Tx {
	o, _ := s.tenant(w.Scope)
	r := &Reader{
		tenant: w.Scope, options: o, snap: w.Snapshot, shared: s.opts.Shared != nil, decoded: map[string]resource{},
	}
	return &Tx{Reader: r, w: w, now: time.Unix(0, w.Time).UTC(), cause: cause}
}

// Now is the time of the change. It stays the same during fn.
func (t *Tx) Now() time.Time { return t.now }

// Changed adds names of changed attributes to the audit record.
func (t *Tx) Changed(attrs ...string) {
	for _, a := range attrs {
		if !slices.Contains(t.attrs, a) {
			t.attrs = append(t.attrs, a)
		}
	}
}

// Acted replaces the action of the audit record, where only fn knows what the request does.
func (t *Tx) Acted(action string) { t.cause.Action = action }

// Decided replaces the decision of the cause, where only fn knows which rules warned.
func (t *Tx) Decided(decision string) { t.cause.Decision = decision }

// AuditOnly records a refusal. resourceID may be empty, and detail names the rules. fn
// then returns nil without other writes.
func (t *Tx) AuditOnly(resourceID, detail string) {
	t.refused = true
	t.note(resourceID, detail)
}

// AuditDone adds an audit record of something that changes no row. resourceID may be empty.
func (t *Tx) AuditDone(resourceID, detail string) { t.note(resourceID, detail) }

// LocksSomebody reports whether the change, so far, writes a lock: of a deactivation or an operator, or one
// that follows a person to another name. Open streams may have to end then.
func (t *Tx) LocksSomebody() bool {
	return slices.ContainsFunc(t.changes, func(c Change) bool {
		return c.Type == ChangeLock || c.Type == ChangeOperatorLock
	})
}

// note gives a resource an audit record and adds a detail to it.
func (t *Tx) note(resource, detail string) {
	i := slices.IndexFunc(t.notes, func(n note) bool { return n.resource == resource })
	if i < 0 {
		i = len(t.notes)
		t.notes = append(t.notes, note{resource: resource})
	}
	if detail != "" {
		t.notes[i].details = append(t.notes[i].details, detail)
	}
}

func (t *Tx) putRow(k []byte, row any) {
	v, err := encodeRow(row)
	t.err = errors.Join(t.err, err)
	t.w.Put(k, v)
}

// putMark writes a key with an empty value.
func (t *Tx) putMark(k []byte) { t.w.Put(k, sealValue(nil)) }

// change adds an entry to the change feed.
func (t *Tx) change(c ChangeType, id string, l *Lock) {
	t.feed(Change{Type: c, ID: id, Lock: l})
}

// feed adds an entry to the change feed, one for each type and name.
func (t *Tx) feed(n Change) {
	n.Tenant, n.RequestID = t.tenant, t.cause.RequestID
	i := slices.IndexFunc(t.changes, func(o Change) bool {
		return o.Type == n.Type && o.Issuer == n.Issuer && o.ID == n.ID
	})
	if i < 0 {
		t.changes = append(t.changes, n)
	} else {
		t.changes[i] = n
	}
}

// finish adds the changes and the audit drafts to the machine's transaction.
func (t *Tx) finish() error {
	if t.err != nil || t.w.Empty() && len(t.notes) == 0 {
		return t.err
	}
	if len(t.changes) > 0 {
		b, err := json.Marshal(t.changes)
		if err != nil {
			return fmt.Errorf("encoding changes: %w", err)
		}
		t.w.Changes = b
	}
	if t.cause.Actor == "" {
		return nil
	}
	if len(t.notes) == 0 {
		t.notes = []note{{}}
	}
	for _, n := range t.notes {
		b, err := t.draft(n)
		if err != nil {
			return err
		}
		t.w.Drafts = append(t.w.Drafts, b)
	}
	return nil
}

// The bounds of an audit record: bytes of one string, and names of attributes.
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

func (t *Tx) draft(n note) ([]byte, error) {
	c := &t.cause
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
		Remote: clip(c.Remote), Method: clip(c.Method), Path: clip(c.Path), Action: clip(c.Action),
		Decision: clip(c.Decision), Outcome: outcome, Resource: clip(n.resource), Attrs: clipped,
		Detail: clip(strings.Join(n.details, "; ")), Claimed: clip(c.Claimed), Reason: clip(c.Reason),
	})
}
