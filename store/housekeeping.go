package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// How much one housekeeping record removes, and how long a spent jti is kept
// beyond its expiry so that clock differences cannot make it usable again.
const (
	sweepBatch = 1000
	jtiGrace   = 10 * time.Minute
	gcRounds   = 10 // value-log collection every so many rounds
)

// housekeeping forgets what is over: expired jtis, edges of dead generations, old
// log records, old versions, value-log garbage. It is the one goroutine that does.
func (s *Store) housekeeping(ctx context.Context) {
	tick := time.NewTicker(s.o.SweepEvery)
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
			s.o.Logger.LogAttrs(ctx, slog.LevelWarn, "housekeeping", slog.Any("err", err))
		}
	}
}

// Sweep is one round of housekeeping, which also runs by itself. What it removes
// it removes by records of its own, so every replica forgets alike.
func (s *Store) Sweep(ctx context.Context) error {
	names := make([]string, 0, len(s.o.Tenants))
	for n := range s.o.Tenants {
		names = append(names, n)
	}
	slices.Sort(names)
	var errs []error
	for _, tenant := range names {
		errs = append(errs, s.sweepAll(ctx, tenant, sweepJTIs), s.sweepAll(ctx, tenant, sweepEdges))
	}
	return errors.Join(append(errs, s.m.Clean(ctx))...)
}

// sweepAll repeats one bounded step until it finds nothing more.
func (s *Store) sweepAll(ctx context.Context, tenant string, step func(*Tx) (int, error)) error {
	for {
		n := 0
		_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) (err error) {
			n, err = step(t)
			return err
		})
		if err != nil {
			return fmt.Errorf("sweeping tenant %s: %w", tenant, err)
		}
		if n == 0 {
			return nil
		}
	}
}

// sweepEdges removes edges of one dead generation, and its marker with the last.
func sweepEdges(t *Tx) (n int, err error) {
	var marker []byte
	if err := t.snap.Scan(key(kindSweep, t.tenant), nil, false, func(e machine.Entry) (bool, error) {
		marker = bytes.Clone(e.Key)
		return false, nil
	}); err != nil || marker == nil {
		return 0, err
	}
	d, err := DecodeKey(marker)
	if err != nil || len(d.Parts) != 1 {
		return 0, errBadKey
	}
	gid, gen := d.Parts[0], d.Number
	prefix := numberedKey(kindEdge, t.tenant, gid, gen)
	more := false
	err = t.scanLast(prefix, func(id string) (bool, error) {
		if n >= sweepBatch {
			more = true
			return false, nil
		}
		n++
		return true, t.deleteOldEdge(gid, gen, id)
	})
	if err != nil {
		return 0, err
	}
	if !more {
		t.w.Delete(marker)
		n++
	}
	return n, nil
}

// deleteOldEdge removes an edge of a dead generation and the reverse edge, unless
// that belongs to a newer one.
func (t *Tx) deleteOldEdge(gid string, gen uint64, id string) error {
	t.w.Delete(edgeKey(t.tenant, gid, gen, id))
	rk := key(kindReverse, t.tenant, id, gid)
	v, _, err := t.snap.Get(rk)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	at, err := decodeU64(v)
	if err == nil && at == gen {
		t.w.Delete(rk)
	}
	return err
}
