package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	sweepBatch = 1000             // keys that one housekeeping record removes
	jtiGrace   = 10 * time.Minute // how long a used jti stays after its expiry, because clocks differ
	gcRounds   = 10               // rounds between collections of the value log
)

// housekeeping removes expired jtis and revocations, members of old generations, old log records, old
// versions and garbage of the value log. Only this goroutine does.
func (s *Store) housekeeping(ctx context.Context) {
	tick := time.NewTicker(s.opts.SweepEvery)
	defer tick.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.Sweep(ctx)
		if round%gcRounds == 0 {
			err = errors.Join(err, s.m.Collect(ctx))
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "housekeeping", slog.Any("err", err))
		}
	}
}

// Sweep runs one round of housekeeping now. It removes keys by log records, so every
// replica removes the same keys.
func (s *Store) Sweep(ctx context.Context) error {
	var errs []error
	for _, tenant := range slices.Sorted(maps.Keys(*s.tenants.Load())) {
		for _, step := range []func(*Tx) (int, error){sweepJTIs, sweepRevoked, s.sweepEdges} {
			errs = append(errs, s.sweepAll(ctx, tenant, step))
		}
	}
	return errors.Join(append(errs, s.m.Clean(ctx))...)
}

// expired is the orderedTime before which everything has expired more than jtiGrace ago, by the clocks of all cores. It
// is 0 while one of them has not said what its clock says.
func (t *Tx) expired() (uint64, error) {
	slowest := t.now
	if t.shared { // a store alone may be the copy of a log that had cores
		cores, err := t.Cores()
		if err != nil {
			return 0, err
		}
		for i := range cores {
			if cores[i].Clock.IsZero() {
				return 0, nil
			}
			if cores[i].Clock.Before(slowest) {
				slowest = cores[i].Clock
			}
		}
	}
	return orderedTime(slowest.Add(-jtiGrace).UnixNano()), nil
}

// sweepAll repeats one bounded step until it removes nothing.
func (s *Store) sweepAll(ctx context.Context, tenant string, step func(*Tx) (int, error)) error {
	for n := 1; n > 0; {
		_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) (err error) {
			n, err = step(t)
			return err
		})
		if err != nil {
			return fmt.Errorf("sweeping tenant %s: %w", tenant, err)
		}
	}
	return nil
}

// sweepEdges removes members of one old generation, and the mark with the last of them.
func (s *Store) sweepEdges(t *Tx) (n int, err error) {
	mark, err := s.nextSweep(t)
	if err != nil || mark == nil {
		return 0, err
	}
	d, err := DecodeKey(mark)
	if err != nil {
		return 0, err
	}
	gid, gen := d.Parts[0], d.Number
	more := false
	err = t.scanLast(numberedKey(kindEdge, t.tenant, gid, gen), func(id string) (bool, error) {
		if more = n >= sweepBatch; more {
			return false, nil
		}
		n++
		return true, t.sweepEdge(gid, gen, id)
	})
	if err != nil {
		return 0, err
	}
	if !more {
		t.w.Delete(mark)
		n++
	}
	return n, nil
}

// sweepEdge removes an edge of an old generation, and its part of the reverse edge.
func (t *Tx) sweepEdge(gid string, gen uint64, id string) error {
	t.w.Delete(edgeKey(t.tenant, gid, gen, id))
	return t.keepGenerations(key(kindReverse, t.tenant, id, gid), func(g uint64) bool { return g != gen })
}
