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

// Tx is a Reader that also writes. The keys that it reads become preconditions of
// the change, and it sees its own writes.
type Tx struct {
	*Reader
	w      *machine.Tx
	now    time.Time
	makeID func() string
	cause  *Cause
	err    error // of a row that could not be encoded; finish returns it

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

func (s *Store) newTx(w *machine.Tx, cause *Cause) *Tx {
	r := &Reader{tenant: w.Scope, options: s.o.Tenants[w.Scope], snap: w.Snapshot}
	return &Tx{Reader: r, w: w, now: time.Unix(0, w.Time).UTC(), makeID: s.o.NewID, cause: cause}
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

func (t *Tx) putRow(k []byte, row any) {
	v, err := encodeRow(row)
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	t.w.Put(k, v)
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

// finish adds the changes and the audit drafts to the machine's transaction.
func (t *Tx) finish() error {
	if t.err != nil || t.w.Empty() && len(t.marks) == 0 {
		return t.err
	}
	if len(t.changes) > 0 {
		b, err := json.Marshal(t.changes)
		if err != nil {
			return fmt.Errorf("encoding changes: %w", err)
		}
		t.w.Changes = b
	}
	if t.cause == nil {
		return nil
	}
	if len(t.marks) == 0 {
		t.marks = []mark{{}}
	}
	for _, m := range t.marks {
		b, err := t.draft(m)
		if err != nil {
			return err
		}
		t.w.Drafts = append(t.w.Drafts, b)
	}
	return nil
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
