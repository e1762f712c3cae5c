package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Locked is a person whom a change locks: by a deactivation, a deletion or an operator.
type Locked struct {
	Resource string // SCIM id, or the [OperatorLock.Resource] of somebody whom the directory does not know
	Epoch    uint64 // of the offboarding that the change opens, 0 if it opens none
}

// Locked lists whom the change, so far, locks. A lock that is lifted, and one whose names change, is not in the list.
func (t *Tx) Locked() []Locked {
	var out []Locked
	at := map[string]int{}
	for _, l := range t.locked {
		i, listed := at[l.Resource]
		if !listed {
			at[l.Resource] = len(out)
			out = append(out, l)
			continue
		}
		out[i].Epoch = max(out[i].Epoch, l.Epoch)
	}
	return out
}

// Confirmation says how a lock came into force at every process that may let requests pass. Nobody was let in after
// At, also not by those that did not confirm, because their leases had ended, unless StaleUntil is set.
type Confirmation struct {
	At    time.Time `json:"at"`              // by the clock of the core that waited
	Took  float64   `json:"took_ms"`         // how long it waited before it answered
	Cores int       `json:"cores"`           // that had the lock in force
	Edges int       `json:"edges,omitempty"` // the same, of that core; those of another one are a part of it
	// NotConfirmed are at most 10 processes that did not confirm: "core C", or "edge E of core C". More counts the
	// others.
	NotConfirmed []string `json:"not_confirmed,omitempty"`
	More         int      `json:"more_not_confirmed,omitempty"`
	// StaleUntil is until when those of NotConfirmed may have let the person in, at applications that are served
	// without a lease (on_stale: serve). Zero: nobody has.
	StaleUntil time.Time `json:"stale_until,omitzero"`
}

const maxNotConfirmed = 10

// Without adds a process that did not confirm: an edge of a core, or the core itself if edge is empty.
func (c *Confirmation) Without(core, edge string) {
	name := "core " + core
	if edge != "" {
		name = "edge " + edge + " of " + name
	}
	if len(c.NotConfirmed) == maxNotConfirmed {
		c.More++
		return
	}
	c.NotConfirmed = append(c.NotConfirmed, name)
}

// String continues "confirmed" with the time and with who confirmed and who did not.
func (c *Confirmation) String() string {
	all := "all "
	if len(c.NotConfirmed) > 0 {
		all = ""
	}
	text := fmt.Sprintf("at %s by %s%d core(s)", c.At.Format("2006-01-02 15:04:05.000 MST"), all, c.Cores)
	if c.Edges > 0 {
		text += fmt.Sprintf(" and %d edge(s)", c.Edges)
	}
	text += fmt.Sprintf(" within %.1f ms", c.Took)
	if len(c.NotConfirmed) == 0 {
		return text
	}
	text += "; not by " + strings.Join(c.NotConfirmed, ", ")
	if c.More > 0 {
		text += fmt.Sprintf(" and %d more", c.More)
	}
	text += ", whose lease had ended"
	if !c.StaleUntil.IsZero() {
		text += "; applications there with on_stale: serve may have let the person in until " +
			c.StaleUntil.Format("2006-01-02 15:04:05 MST")
	}
	return text
}

// ConfirmLocks writes an audit record for each lock that is in force everywhere, and the confirmation into its
// offboarding, if that has none yet. Without a user it does nothing.
func (s *Store) ConfirmLocks(ctx context.Context, tenant string, cause Cause, users []Locked, c *Confirmation) error {
	if len(users) == 0 {
		return nil
	}
	_, err := s.Update(ctx, tenant, cause, func(tx *Tx) error {
		for _, l := range users {
			if err := tx.confirm(l, c); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (t *Tx) confirm(l Locked, c *Confirmation) error {
	t.note(l.Resource, "confirmed "+c.String())
	if l.Epoch == 0 {
		return nil
	}
	o, err := t.Offboarding(l.Resource, l.Epoch)
	if errors.Is(err, ErrNotFound) || err == nil && o.Confirmed != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading offboarding %s/%d: %w", l.Resource, l.Epoch, err)
	}
	o.Confirmed = c
	t.putOffboarding(&o)
	return nil
}
