package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/scimward/scimward/store/machine"
)

// Reads is the newest format of the log that this version reads.
const Reads = machine.Reads

// ErrNewer says that a newer version of scimward has written the store or the log.
var ErrNewer = machine.ErrNewer

// Format is the format of the log, at least 1.
func (s *Store) Format() uint64 { return s.m.Format() }

// OldCoresError says that cores of the table do not read a format.
type OldCoresError struct {
	Format uint64
	Cores  []Core
}

func (e *OldCoresError) Error() string {
	return fmt.Sprintf("store: format %d of the log is not read by %s", e.Format, e.Names())
}

// Names lists the cores with what each reads, for people.
func (e *OldCoresError) Names() string {
	names := make([]string, len(e.Cores))
	for i := range e.Cores {
		c := &e.Cores[i]
		names[i] = fmt.Sprintf("%s (version %q, up to format %d)", c.Name, c.Version, c.Formats())
	}
	return strings.Join(names, ", ")
}

// Formats is the newest format of the log that the core reads.
func (c *Core) Formats() uint64 { return max(c.Reads, 1) }

// RaiseFormat makes the log go on in the newest format that this version reads, once every core of the table reads it.
// A version that does not read it does not open the store any more. Each tenant gets an audit record with cause. It
// fails with an [OldCoresError], and with ErrNothingToDo when the log is in the format already. A core of an old
// version that joins at this very moment stops at the record.
func (s *Store) RaiseFormat(ctx context.Context, cause Cause) (from uint64, err error) {
	if from = s.Format(); from >= Reads {
		return from, ErrNothingToDo
	}
	tenants, err := s.allTenants(ctx)
	if err != nil {
		return from, err
	}
	for _, tenant := range tenants { // the first record raises it
		if _, err := s.update(ctx, tenant, cause, func(t *Tx) error {
			t.note("", fmt.Sprintf("the log goes on in format %d, after format %d", Reads, from))
			return t.raise()
		}); err != nil {
			return from, fmt.Errorf("raising the format of the log: %w", err)
		}
	}
	if s.Format() < Reads {
		return from, fmt.Errorf("raising the format of the log: it is %d still, want %d", s.Format(), Reads)
	}
	return from, nil
}

func (t *Tx) raise() error {
	cores, err := t.Cores()
	if err != nil {
		return err
	}
	old := &OldCoresError{Format: Reads}
	for i := range cores {
		if cores[i].Formats() < Reads {
			old.Cores = append(old.Cores, cores[i])
		}
	}
	if len(old.Cores) > 0 {
		return old
	}
	t.w.Raise(Reads)
	return nil
}
