package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/log"
)

// errReached ends a Tail at its last record.
var errReached = errors.New("store: reached")

// read calls fn for the records first to last of a log.
func read(ctx context.Context, l log.Log, first, last Seq, fn func(Seq, []byte) error) error {
	if first > last {
		return nil
	}
	err := l.Tail(ctx, first, func(seq Seq, rec []byte) error {
		if err := fn(seq, rec); err != nil {
			return err
		}
		if seq >= last {
			return errReached
		}
		return nil
	})
	if errors.Is(err, errReached) {
		err = nil
	}
	return err
}

// Replay appends the records of a log that this replica does not have, up to record until, which the log has. It fails
// with ErrForked when the log is not the one of the replica.
func (m *Machine) Replay(ctx context.Context, from log.Log, until Seq) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.inflight.Done()
	theirs, err := from.Bounds(ctx)
	if err != nil {
		return err
	}
	at := m.Position()
	if at > 0 && at < theirs.First && m.id != theirs.ID {
		return fmt.Errorf("%w: it has the id %x, the replica %x", ErrForked, theirs.ID, m.id)
	}
	return read(ctx, from, max(at, theirs.First, 1), min(until, theirs.Last), func(seq Seq, rec []byte) error {
		if seq == at {
			return m.same(seq, rec)
		}
		got, err := m.log.Append(ctx, rec)
		if err != nil {
			return fmt.Errorf("replaying record %d: %w", seq, err)
		}
		if got != seq {
			return fmt.Errorf("%w: record %d comes as the next of %d", log.ErrTrimmed, seq, got-1)
		}
		m.publish(seq)
		return nil
	})
}

// same fails unless the replica has the same record at a position.
func (m *Machine) same(seq Seq, rec []byte) error {
	ours, err := m.log.Read(seq)
	if err == nil && !bytes.Equal(ours, rec) {
		err = fmt.Errorf("%w: record %d is another", ErrForked, seq)
	}
	return err
}

// Before returns the newest of the records first to last of a log that is older than the first change after t, by the
// clocks of those who proposed the changes. It returns first-1 when no change among them is as old as t.
func Before(ctx context.Context, l log.Log, first, last Seq, t time.Time) (Seq, error) {
	c, err := newCodec()
	if err != nil {
		return 0, err
	}
	defer c.close()
	at, changed := first-1, false
	err = read(ctx, l, first, last, func(seq Seq, b []byte) error {
		rec, err := c.decode(b)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		for _, txn := range rec.txns {
			if txn.Time > t.UnixNano() {
				return errReached
			}
			changed = changed || txn.Time != 0
		}
		if changed {
			at = seq
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("looking for the newest record before %s: %w", t.UTC().Format(time.RFC3339), err)
	}
	return at, nil
}

// Time is when the newest change of the records before and at a position was proposed, as far as the log has them. It
// is zero when none has a change.
func Time(ctx context.Context, l log.Log, at Seq) (time.Time, error) {
	c, err := newCodec()
	if err != nil {
		return time.Time{}, err
	}
	defer c.close()
	bounds, err := l.Bounds(ctx)
	if err != nil {
		return time.Time{}, err
	}
	newest := int64(0)
	// Records without a change are few between two with one.
	const near = 256
	err = read(ctx, l, max(bounds.First, at-min(at, near)), min(at, bounds.Last), func(_ Seq, b []byte) error {
		rec, err := c.decode(b)
		for _, txn := range rec.txns {
			if txn.Time != 0 {
				newest = txn.Time
			}
		}
		return err
	})
	if err != nil || newest == 0 {
		return time.Time{}, err
	}
	return time.Unix(0, newest).UTC(), nil
}
