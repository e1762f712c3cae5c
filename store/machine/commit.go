package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/scimward/scimward/store/log"
)

// The bounds of one record. With the memory tables of the local driver the engine
// accepts 26,000 keys and 2.4 MB in one commit. A change above the bounds of one
// transaction is refused before it starts, never split.
const (
	maxFold      = 64 // transactions in one record
	maxFoldBytes = 1 << 20
	maxFoldKeys  = 12000
	maxTxnBytes  = 1700 << 10
	maxTxnKeys   = 18000
	maxAttempts  = 64
)

// proposal is a transaction on its way to the committer.
type proposal struct {
	txn  *transaction
	done chan outcome // one answer, buffered
}

// outcome of a proposal; without an error and not applied, it met a conflict.
type outcome struct {
	seq     Seq
	applied bool
	err     error
}

// Update runs fn on a snapshot and commits what it wrote as one record. Where
// another change came first, fn runs again on a new snapshot. So fn does no I/O,
// reads no clock but tx.Time, and leaves nothing behind when it fails. An error of
// fn is returned as it is and nothing is written.
//
// It returns after the record is on stable storage and the content has published
// it. It waits for a queued change even when ctx ends. ErrUnavailable means that
// nothing was written or, after a failing disk, that the next start decides
// whether all of it was. Seq is the version of the keys that fn wrote, or the
// position of the snapshot when it wrote none. ErrConflict, ErrTooLarge, ErrClosed.
func (m *Machine) Update(ctx context.Context, scope string, fn func(*Tx) error) (Seq, error) {
	if err := m.enter(); err != nil {
		return 0, err
	}
	defer m.inflight.Done()
	for n := range maxAttempts {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		o := m.attempt(ctx, scope, fn)
		if o.err != nil || o.applied {
			return o.seq, o.err
		}
		m.metrics.conflicts.Inc()
		if err := pause(ctx, n); err != nil {
			return 0, err
		}
	}
	return 0, ErrConflict
}

// pause waits a random time that grows with the attempts, at most 16 ms.
func pause(ctx context.Context, attempt int) error {
	if attempt < 2 {
		return nil // reading again settles the first conflicts
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

func (m *Machine) attempt(ctx context.Context, scope string, fn func(*Tx) error) outcome {
	s := m.snapshot(ctx)
	defer s.close()
	tx := newTx(s, scope, m.o.Now())
	if err := fn(tx); err != nil {
		return outcome{err: err}
	}
	t, err := tx.build()
	if err != nil || t == nil {
		return outcome{seq: s.seq, applied: true, err: err}
	}
	p := &proposal{txn: t, done: make(chan outcome, 1)}
	select {
	case m.queue <- p:
		return <-p.done
	case <-ctx.Done():
		return outcome{err: ctx.Err()}
	}
}

// commitLoop is the committer, the only goroutine that appends to the log. It ends
// when the queue is closed and empty.
func (m *Machine) commitLoop() {
	var next *proposal // did not fit into the record before
	for open := true; open || next != nil; {
		var batch []*proposal
		if batch, next, open = m.fold(next); len(batch) > 0 {
			m.commit(batch)
		}
	}
}

// fold waits for one proposal and adds what else is queued, in order, until the
// record is full.
func (m *Machine) fold(first *proposal) (batch []*proposal, next *proposal, open bool) {
	if first == nil {
		if first, open = <-m.queue; !open {
			return nil, nil, false
		}
	}
	batch = append(batch, first)
	size, keys := first.txn.size()
	for len(batch) < maxFold {
		select {
		case p, ok := <-m.queue:
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

// commit appends one record, publishes it and answers the proposers.
func (m *Machine) commit(batch []*proposal) {
	start := time.Now()
	txns := make([]*transaction, len(batch))
	for i, p := range batch {
		txns[i] = p.txn
	}
	ctx := context.Background() // a queued change is committed whatever happens to its caller
	seq, err := m.log.Append(ctx, m.codec.encode(txns))
	if err != nil {
		m.refuse(ctx, batch, err)
		return
	}
	m.metrics.seconds.Observe(time.Since(start).Seconds())
	m.metrics.folded.Observe(float64(len(batch)))
	m.o.Content.Publish(func() { m.position.Store(uint64(seq)) })
	for i, p := range batch {
		p.done <- outcome{seq: seq, applied: m.applied[i]}
	}
}

func (m *Machine) refuse(ctx context.Context, batch []*proposal, err error) {
	m.metrics.refused.Add(float64(len(batch)))
	what := "record refused, nothing written"
	if !errors.Is(err, log.ErrRefused) {
		what = "commit failed, the store refuses writes until it is restarted"
	}
	m.o.Logger.LogAttrs(ctx, slog.LevelError, what, slog.Int("transactions", len(batch)), slog.Any("err", err))
	for _, p := range batch {
		p.done <- outcome{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
}
