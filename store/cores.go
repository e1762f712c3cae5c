package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// Core is a row of the table of cores: the processes that share the log and answer requests. The row is written
// again with every heartbeat of the core.
type Core struct {
	ID        string // new at every start of the process
	Name      string // of the installation; for people
	Number    uint64 // of the newest heartbeat
	Lease     time.Duration
	Heartbeat Seq    `json:",omitempty"` // position of the newest heartbeat
	Version   string `json:",omitempty"` // of scimward
	Config    string `json:",omitempty"` // digest of what must be equal in the configuration of all cores
	// Clock is the wall clock of the core at its newest heartbeat. Zero: a version that did not say.
	Clock time.Time `json:",omitzero"`
	Reads uint64    `json:",omitempty"` // newest format of the log that it reads; zero: a version that did not say, 1
}

// CoreChange is what a record does to the table of cores.
type CoreChange struct {
	Type CoreChangeType
	Core Core
}

// CoreChangeType says how the table changed.
type CoreChangeType string

// The changes of the table of cores.
const (
	CoreHeartbeat CoreChangeType = "heartbeat"
	CoreLeft      CoreChangeType = "left"    // by its own record
	CoreRemoved   CoreChangeType = "removed" // by another core; Core.Heartbeat is the last one that was seen of it
)

// Applied describes a record that is in force in this process: its locks are in the lock table.
type Applied struct {
	Seq       Seq
	Restricts bool     // it takes a right away from somebody
	Locked    []string // tenants of its locks
	Deciding  []Change // what a process without a store has to know: see [Change.Decides]
	Cores     []CoreChange
}

// WatchApplied calls fn for every record that restricts somebody, changes the table of cores or has changes of
// [Change.Decides], before readers see it. fn runs on the goroutine that applies records, so it must not block.
func (s *Store) WatchApplied(fn func(Applied)) (stop func()) { return s.content.applied.add(fn) }

// WatchRestrictions calls fn for every change that may take a right away, before WatchApplied tells anybody that the
// change is in force here, and before readers see it. So fn has it in force when it returns. fn runs on
// the goroutine that applies records, so it must not block.
func (s *Store) WatchRestrictions(fn func(Change)) (stop func()) { return s.content.restrict.add(fn) }

// HeartbeatCore writes the row of a core.
func (s *Store) HeartbeatCore(ctx context.Context, c Core) (Seq, error) {
	return s.changeCore(ctx, CoreChange{CoreHeartbeat, c})
}

// LeaveCore removes the row of a core that will not decide any more.
func (s *Store) LeaveCore(ctx context.Context, id string) (Seq, error) {
	return s.changeCore(ctx, CoreChange{CoreLeft, Core{ID: id}})
}

// RemoveCore removes the row of a silent core if last is still its newest heartbeat. Otherwise it does
// nothing.
func (s *Store) RemoveCore(ctx context.Context, id string, last Seq) (Seq, error) {
	return s.changeCore(ctx, CoreChange{CoreRemoved, Core{ID: id, Heartbeat: last}})
}

// Cores returns the table of cores, and the position at which it was so.
func (s *Store) Cores(ctx context.Context) (at Seq, cores []Core, err error) {
	err = s.m.View(ctx, func(snap *machine.Snapshot) (err error) {
		at = snap.Seq()
		cores, err = (&Reader{snap: snap}).Cores()
		return err
	})
	return at, cores, err
}

// Cores returns the table of cores. Inside a Tx it is no precondition.
func (r *Reader) Cores() (cores []Core, err error) {
	err = r.snap.Scan(key(kindCore, ""), nil, true, func(e machine.Entry) (bool, error) {
		var c Core
		if err := decodeRow(e.Value, &c); err != nil {
			return false, err
		}
		c.Heartbeat = e.Version
		cores = append(cores, c)
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the table of cores: %w", err)
	}
	return cores, nil
}

func (s *Store) changeCore(ctx context.Context, c CoreChange) (Seq, error) {
	seq, err := s.m.Update(ctx, "", func(tx *machine.Tx) error {
		row := key(kindCore, "", c.Core.ID)
		if c.Type == CoreHeartbeat {
			v, err := encodeRow(c.Core)
			if err != nil {
				return err
			}
			tx.Put(row, v)
			return noteCore(tx, c)
		}
		_, last, err := tx.Get(row)
		switch {
		case errors.Is(err, ErrNotFound), c.Type == CoreRemoved && last != c.Core.Heartbeat:
			return nil
		case err != nil:
			return err
		}
		tx.Delete(row)
		return noteCore(tx, c)
	})
	if err != nil {
		return 0, fmt.Errorf("writing the table of cores: %w", err)
	}
	return seq, nil
}

func noteCore(tx *machine.Tx, c CoreChange) (err error) {
	tx.Changes, err = json.Marshal([]Change{{Type: ChangeCore, Core: &c}})
	return err
}

// restricts reports whether a change can take a right away from somebody.
func (c *Change) restricts() bool {
	switch c.Type {
	case ChangeLock, ChangeOperatorLock, ChangeClient, ChangePause, ChangeKey, ChangeToken, ChangePolicy:
		return true
	default:
		return false
	}
}

// Decides reports whether requests of applications are decided by what the change says: it changes a lock, a user
// whose names [NameCache] may remember, or the policy bundle of a tenant, which may deny routes.
func (c *Change) Decides() bool {
	switch c.Type {
	case ChangeLock, ChangeOperatorLock, ChangeUserUpdated, ChangeUserDeleted, ChangePolicy:
		return true
	default:
		return false
	}
}

// tell passes a record to those who wait for restrictions and for changes of the table of cores.
func (c *content) tell(seq Seq) {
	if !c.applied.any() {
		return
	}
	a := Applied{Seq: seq}
	for i := range c.changes {
		ch := &c.changes[i]
		a.Restricts = a.Restricts || ch.restricts()
		if ch.Decides() {
			a.Deciding = append(a.Deciding, *ch)
		}
		if ch.Type == ChangeLock || ch.Type == ChangeOperatorLock {
			if !slices.Contains(a.Locked, ch.Tenant) {
				a.Locked = append(a.Locked, ch.Tenant)
			}
		}
	}
	for _, core := range c.cores {
		if core.Type == CoreHeartbeat {
			core.Core.Heartbeat = seq
		}
		a.Cores = append(a.Cores, *core)
	}
	if a.Restricts || len(a.Deciding) > 0 || len(a.Cores) > 0 {
		c.applied.call(a)
	}
}
