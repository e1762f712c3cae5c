package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/scimward/scimward/store/log"
)

// How much one record may hold. The engine takes 26,000 keys and 2.4 MB in one
// commit with the memtable we give it (design/store.md §2.4); a change above the
// limits of one transaction is refused before it starts, never split.
const (
	maxFold      = 64 // transactions in one record
	maxFoldBytes = 1 << 20
	maxTxnBytes  = 1700 << 10
	maxTxnKeys   = 18000
	maxFoldKeys  = 12000
	maxAttempts  = 64
)

// proposal is a transaction on its way to the committer.
type proposal struct {
	txn  *transaction
	done chan outcome // one answer, buffered
}

type outcome struct {
	seq      Seq
	conflict string // key; empty when the transaction was applied
	err      error
}

// Update runs fn on a snapshot and commits what it wrote as one record. Where
// another change came first, fn runs again on a new snapshot; so fn does no I/O,
// reads no clock but tx.Now, and leaves nothing behind when it fails. An error
// of fn is returned as it is and nothing is written.
//
// It returns after the record is on stable storage, the lock table has it and
// every watcher has run. Once queued, a change is waited for even when ctx ends.
// ErrUnavailable: not written, or (after a failing disk) wholly written or not
// at all, which the next start decides. Seq is the version of all it wrote; when
// fn wrote nothing it is the position of the snapshot.
func (s *Store) Update(ctx context.Context, tenant string, cause Cause, fn func(*Tx) error) (Seq, error) {
	if cause.Actor == "" || cause.RequestID == "" || cause.Decision == "" {
		return 0, ErrNoCause
	}
	if _, ok := s.o.Tenants[tenant]; !ok {
		return 0, fmt.Errorf("tenant %q: %w", tenant, ErrNotFound)
	}
	return s.update(ctx, tenant, &cause, fn)
}

// update is Update; a nil cause is the store's own housekeeping, which changes
// nothing a person could ask about and is not audited.
func (s *Store) update(ctx context.Context, tenant string, cause *Cause, fn func(*Tx) error) (Seq, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.inflight.Done()
	for attempt := range maxAttempts {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		seq, conflict, err := s.attempt(ctx, tenant, cause, fn)
		if err != nil || conflict == "" {
			return seq, err
		}
		s.metrics.conflicts.Inc()
		if err := pause(ctx, attempt); err != nil {
			return 0, err
		}
	}
	return 0, ErrConflict
}

// pause waits a random time that grows with the attempts, at most 16 ms.
func pause(ctx context.Context, attempt int) error {
	if attempt < 2 {
		return nil // the first conflicts are won by simply reading again
	}
	most := time.Millisecond << min(attempt-2, 4)
	t := time.NewTimer(rand.N(most) + 1) //nolint:gosec // jitter, not a secret
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) attempt(ctx context.Context, tenant string, cause *Cause, fn func(*Tx) error) (Seq, string, error) {
	r, done := s.reader(ctx, tenant)
	defer done()
	tx := newTx(r, s.o.Now(), s.o.NewID, cause)
	if err := fn(tx); err != nil {
		return 0, "", err
	}
	t, err := tx.build()
	if err != nil {
		return 0, "", err
	}
	if t == nil {
		return r.seq, "", nil
	}
	if n, keys := t.size(); n > maxTxnBytes || keys > maxTxnKeys {
		return 0, "", fmt.Errorf("%w: %d keys, %d bytes", ErrTooLarge, keys, n)
	}
	p := &proposal{txn: t, done: make(chan outcome, 1)}
	select {
	case s.queue <- p:
	case <-ctx.Done():
		return 0, "", ctx.Err()
	}
	o := <-p.done
	return o.seq, o.conflict, o.err
}

// commitLoop is the committer: the only goroutine that appends. It ends when the
// queue is closed and empty.
func (s *Store) commitLoop() {
	var held *proposal // did not fit into the record before
	for {
		batch, next, open := s.fold(held)
		held = next
		if len(batch) > 0 {
			s.commit(batch)
		}
		if !open && held == nil {
			return
		}
	}
}

// fold waits for one proposal and takes along what else is queued, in order,
// until the record is full.
func (s *Store) fold(held *proposal) (batch []*proposal, next *proposal, open bool) {
	first := held
	if first == nil {
		if first, open = <-s.queue; !open {
			return nil, nil, false
		}
	}
	batch = append(batch, first)
	size, keys := first.txn.size()
	for len(batch) < maxFold {
		select {
		case p, ok := <-s.queue:
			if !ok {
				return batch, nil, false
			}
			n, k := p.txn.size()
			if size+n > maxFoldBytes || keys+k > maxFoldKeys {
				return batch, p, true
			}
			size, keys = size+n, keys+k
			batch = append(batch, p)
		default:
			return batch, nil, true
		}
	}
	return batch, nil, true
}

// commit appends one record, publishes what it changed and answers the waiting.
func (s *Store) commit(batch []*proposal) {
	start := time.Now()
	txns := make([]*transaction, len(batch))
	for i, p := range batch {
		txns[i] = p.txn
	}
	ctx := context.Background() // a queued change is carried through
	seq, err := s.log.Append(ctx, s.machine.codec.encode(txns))
	if err != nil {
		s.refuse(ctx, batch, err)
		return
	}
	s.metrics.commit(len(batch), time.Since(start))
	s.publish(seq)
	for i, p := range batch {
		p.done <- outcome{seq: seq, conflict: s.machine.verdicts[i].conflict}
	}
}

// publish makes record seq visible: the lock table first, so that nothing is
// seen deactivated that is not refused yet.
func (s *Store) publish(seq Seq) {
	for i := range s.machine.verdicts {
		for _, c := range s.machine.verdicts[i].changes {
			if c.Lock != nil {
				s.locks.put(*c.Lock)
			}
		}
	}
	s.applied.Store(uint64(seq))
	for i := range s.machine.verdicts {
		for _, c := range s.machine.verdicts[i].changes {
			s.watch.call(c)
		}
	}
}

func (s *Store) refuse(ctx context.Context, batch []*proposal, err error) {
	s.metrics.refused.Add(float64(len(batch)))
	what := "record refused, nothing written"
	if !errors.Is(err, log.ErrRefused) {
		what = "commit failed, writes stay refused until restart"
	}
	s.o.Logger.LogAttrs(ctx, slog.LevelError, what, slog.Int("transactions", len(batch)), slog.Any("err", err))
	for _, p := range batch {
		p.done <- outcome{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
}
