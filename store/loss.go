package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// notes are the newest changes of locks, clients and pauses, for the witness. It names whose locks are lost
// when the log has lost its newest records, and which clients may act again.
type notes struct {
	mu   sync.Mutex
	list []local.Note // oldest first
}

// add adds the changes of a record. It replaces those of a record at the same
// position, which was not committed.
func (n *notes) add(seq Seq, changes []Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, _ := slices.BinarySearchFunc(n.list, seq, func(o local.Note, at Seq) int { return cmp.Compare(o.Seq, at) })
	n.list = n.list[:i]
	for i := range changes {
		n.list = append(n.list, notesOf(seq, &changes[i])...)
	}
	if over := len(n.list) - 2*local.MaxNotes; over > 0 {
		n.list = slices.Clone(n.list[len(n.list)-local.MaxNotes:])
	}
}

// notesOf returns the notes of a change that takes access from somebody or gives it back, or none.
func notesOf(seq Seq, c *Change) []local.Note {
	n := local.Note{Seq: seq, Tenant: c.Tenant, ID: c.ID}
	switch {
	case c.Operator != nil:
		n.What, n.Time = "operator's lock", c.Operator.Since
		if c.Operator.Ended {
			n.What += ", lifted"
		}
	case c.Lock != nil:
		n.What, n.Time = string(c.Lock.State), c.Lock.Since
	case c.Client != nil:
		n.ID, n.What, n.Time = c.Client.Name().String(), "client, "+c.Client.state(), c.Client.Modified
	case c.Pause != nil:
		n.What, n.Time = "tenant paused", c.Pause.Since
	case c.Type == ChangePause:
		n.What = "tenant resumed"
	default:
		return nil
	}
	return []local.Note{n}
}

func (n *notes) all() []local.Note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

// loadNotes continues the notes of the witness with the lock changes after it. A copy of a shared log has no witness.
func (s *Store) loadNotes(ctx context.Context) error {
	if s.opts.Shared != nil {
		return nil
	}
	w := s.m.Witnessed()
	head := s.m.Position()
	s.content.notes.list = slices.DeleteFunc(slices.Clone(w.Notes), func(n local.Note) bool { return n.Seq > head })
	var at Seq
	var changes []Change
	flush := func() {
		if at != 0 {
			s.content.notes.add(at, changes)
		}
		changes = nil
	}
	from := w.Position + 1
	if w.N == 0 {
		from = head - min(head, local.MaxNotes)
	}
	err := s.Changes(ctx, from, func(c Change) error {
		if c.Seq != at {
			flush()
		}
		at = c.Seq
		changes = append(changes, c)
		return nil
	})
	flush()
	if errors.Is(err, log.ErrTrimmed) {
		return nil // the witness is older than the log
	}
	return err
}

// Loss is what AcceptLoss accepted.
type Loss struct {
	Damage error        // what Open says about the store
	Head   Seq          // the newest record that is left
	Locks  []local.Note // the changes of locks, clients and pauses that are known to be lost
	All    bool         // no other one is known to be lost
}

// ErrNoLoss says that a store has all that was durable.
var ErrNoLoss = errors.New("store: nothing is missing, so there is no loss to accept")

// AcceptLoss opens a store that has lost records or locks, audits in every tenant that
// cause accepts this, and makes what is left the store that Open opens. Tenants that are not
// in o.Tenants any more are among them. It returns ErrNoLoss for a store that Open opens
// anyway, and ErrDamaged for one that cannot be read.
func AcceptLoss(ctx context.Context, o Options, cause Cause, reason string) (loss Loss, err error) {
	damage := damaged(ctx, o)
	if damage == nil {
		return Loss{}, ErrNoLoss
	}
	if !errors.Is(damage, ErrDamaged) {
		return Loss{}, damage
	}
	loss = Loss{Damage: damage}
	o.acceptLoss = true
	s, err := Open(ctx, o)
	if err != nil {
		return Loss{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	loss.Head = s.m.Position()
	if w := s.m.Witnessed(); w.Position > loss.Head {
		loss.Locks, loss.All = w.After(loss.Head)
	}
	tenants, err := s.allTenants(ctx)
	if err != nil {
		return Loss{}, err
	}
	for _, tenant := range tenants {
		missing := false
		_, err := s.update(ctx, tenant, cause, func(t *Tx) (err error) {
			missing, err = t.acceptLoss(damage, reason)
			return err
		})
		if err != nil {
			return Loss{}, fmt.Errorf("recording the loss: %w", err)
		}
		loss.All = loss.All && !missing
	}
	return loss, nil
}

// allTenants returns the configured tenants, and those that have locks or counters in the store, sorted.
func (s *Store) allTenants(ctx context.Context) ([]string, error) {
	names := map[string]bool{}
	for name := range *s.tenants.Load() {
		names[name] = true
	}
	err := s.m.View(ctx, func(snap *machine.Snapshot) error {
		for _, kind := range []byte{kindCounter, kindLock, kindOperatorLock} {
			err := snap.Scan([]byte{kind}, nil, false, func(e machine.Entry) (bool, error) {
				d, err := DecodeKey(e.Key)
				names[strings.Clone(d.Tenant)] = true
				return err == nil, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the tenants of the store: %w", err)
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// damaged returns why Open fails.
func damaged(ctx context.Context, o Options) error {
	s, err := Open(ctx, o)
	if err == nil {
		err = s.Close()
	}
	return err
}

// acceptLoss makes the counters agree with the locks. missing says that they did not: locks are lost that no
// witness names.
func (t *Tx) acceptLoss(damage error, reason string) (missing bool, err error) {
	there := map[string]int64{counterLocks: 0, counterOperatorLocks: 0}
	err = t.snap.Scan(key(kindLock, t.tenant), nil, true, func(e machine.Entry) (bool, error) {
		var l Lock
		err := decodeRow(e.Value, &l)
		there[counterLocks] += int64(l.Revision)
		return err == nil, err
	})
	if err != nil {
		return false, err
	}
	err = t.snap.Scan(key(kindOperatorLock, t.tenant), nil, false, func(machine.Entry) (bool, error) {
		there[counterOperatorLocks]++
		return true, nil
	})
	if err != nil {
		return false, err
	}
	for name, n := range there {
		counted, err := t.counter(name)
		if err != nil {
			return false, err
		}
		if delta := n - int64(counted); delta != 0 {
			missing = true
			t.w.Add(key(kindCounter, t.tenant, name), delta)
		}
	}
	t.note("", fmt.Sprintf("loss accepted: %s: %v", reason, damage))
	return missing, nil
}
