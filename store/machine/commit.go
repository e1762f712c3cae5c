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
// accepts 26,000 keys and 2.4 MB in one commit. A transaction above its bounds fails
// with ErrTooLarge before it is queued. It is never split.
const (
	maxBatch      = 64 // transactions in one record
	maxBatchBytes = 1 << 20
	maxBatchKeys  = 12000
	maxTxnBytes   = 1700 << 10
	maxTxnKeys    = 18000
	maxAttempts   = 64
)

// proposal is a transaction in the queue of the committer.
type proposal struct {
	txn  *transaction
	done chan outcome // one answer, buffered
}

// outcome is the answer to a proposal.
type outcome struct {
	seq     Seq
	applied bool // false without an error: the transaction met a conflict
	err     error
}

// Update runs fn on a snapshot and commits its writes as one record. After a conflict
// with another change it runs fn again on a new snapshot. So fn does no I/O, takes the
// time from tx.Time, and leaves no effects when it fails. Update returns an error of fn
// unchanged and then writes nothing.
//
// It returns after the record is on stable storage and the content has published
// it. It waits for a queued change even when ctx ends. Seq is the version of the keys
// that fn wrote, or the position of the snapshot when it wrote none.
//
// On ErrUnavailable, normally nothing is written. If the disk failed during the commit,
// the whole change may appear after a restart. If a shared log did not answer in time, it
// may appear at any time. Update also returns ErrConflict,
// ErrTooLarge or ErrClosed.
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
		return nil // a new snapshot resolves the first conflicts
	}
	limit := time.Millisecond << min(attempt-2, 4)
	t := time.NewTimer(rand.N(limit) + 1) //nolint:gosec // jitter, not a secret
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
	tx := newTx(s, scope, m.opts.Now())
	if err := fn(tx); err != nil {
		return outcome{err: err}
	}
	t, err := tx.build()
	if err != nil || t == nil {
		return outcome{seq: s.seq, applied: true, err: err}
	}
	return m.propose(ctx, t)
}

// propose gives a transaction to the committer and waits for what becomes of it.
func (m *Machine) propose(ctx context.Context, t *transaction) outcome {
	p := &proposal{txn: t, done: make(chan outcome, 1)}
	select {
	case m.queue <- p:
		return <-p.done
	case <-ctx.Done():
		return outcome{err: ctx.Err()}
	}
}

// commitLoop is the committer, the only goroutine that appends to the log. It ends
// when the queue is closed and empty. The end of ctx ends the waiting for a shared log.
func (m *Machine) commitLoop(ctx context.Context) {
	var c crowd
	for batch, next := m.nextBatch(nil, c); batch != nil; batch, next = m.nextBatch(next, c) {
		start := time.Now()
		m.commit(ctx, batch)
		if m.shared != nil {
			c = crowd{clients: len(batch) + len(m.queue), patience: min(time.Since(start)/patienceShare, maxPatience)}
		}
	}
}

// crowd is what the committer knows of its clients after a record of a shared log: how many it has just answered or
// lets wait, and how long it waits for them to come again. Without that the first one to come gets a record for itself,
// and all others wait for two. The log of one machine needs no patience: its records are short.
type crowd struct {
	clients  int
	patience time.Duration
}

// The committer waits for a part of the time that the last record took.
const (
	patienceShare = 4
	maxPatience   = 5 * time.Millisecond
)

// nextBatch collects the proposals of one record, in the order of the queue. first is
// the proposal that did not fit into the record before. If it is nil, nextBatch waits
// for one. next is the first proposal of the following record, nil if none is known.
// batch is nil when the queue is closed and empty.
func (m *Machine) nextBatch(first *proposal, c crowd) (batch []*proposal, next *proposal) {
	if first == nil {
		if first = <-m.queue; first == nil {
			return nil, nil
		}
	}
	batch = append(batch, first)
	size, keys := first.txn.size()
	var patience <-chan time.Time
	if c.patience > 0 {
		t := time.NewTimer(c.patience)
		defer t.Stop()
		patience = t.C
	}
	for len(batch) < maxBatch {
		if len(batch) >= c.clients {
			patience = nil
		}
		p := m.another(patience)
		if p == nil {
			return batch, nil
		}
		n, k := p.txn.size()
		if size+n > maxBatchBytes || keys+k > maxBatchKeys {
			return batch, p
		}
		size, keys = size+n, keys+k
		batch = append(batch, p)
	}
	return batch, nil
}

// another takes the next proposal, or waits for one until patience ends. It returns nil when there is none, or when the
// queue is closed and empty.
func (m *Machine) another(patience <-chan time.Time) *proposal {
	select {
	case p := <-m.queue:
		return p
	default:
	}
	if patience == nil {
		return nil
	}
	select {
	case p := <-m.queue:
		return p
	case <-patience:
		return nil
	}
}

// commit orders one record and answers the proposers. The context of a proposer does not stop a queued change.
func (m *Machine) commit(ctx context.Context, batch []*proposal) {
	start := time.Now()
	txns := make([]*transaction, len(batch))
	for i, p := range batch {
		txns[i] = p.txn
	}
	v, err := m.order(ctx, txns)
	if half := len(batch) / 2; half > 0 && errors.Is(err, log.ErrTooLarge) {
		m.commit(ctx, batch[:half])
		m.commit(ctx, batch[half:])
		return
	}
	if err != nil {
		m.refuse(ctx, batch, err)
		return
	}
	m.metrics.seconds.Observe(time.Since(start).Seconds())
	m.metrics.transactions.Observe(float64(len(batch)))
	for i, p := range batch {
		p.done <- outcome{seq: v.seq, applied: v.accepted[i]}
	}
}

// order makes transactions the next record, applied and published here.
func (m *Machine) order(ctx context.Context, txns []*transaction) (verdict, error) {
	if m.shared != nil {
		return m.shared.order(ctx, txns)
	}
	seq, err := m.log.Append(context.WithoutCancel(ctx), m.codec.encode(nil, txns))
	if err != nil {
		return verdict{}, err
	}
	m.publish(seq)
	return m.newest, nil
}

// publish shows the newest record to readers.
func (m *Machine) publish(seq Seq) {
	if f := m.newest.format; f != 0 {
		m.format.Store(f)
	}
	m.opts.Content.Publish(func() { m.position.Store(uint64(seq)) })
}

func (m *Machine) refuse(ctx context.Context, batch []*proposal, err error) {
	m.metrics.refused.Add(float64(len(batch)))
	message := "commit failed, the store refuses writes until it is restarted"
	switch {
	case errors.Is(err, errWaited):
		message = "the record may still appear in the shared log"
	case errors.Is(err, log.ErrRefused):
		message = "record refused, nothing written"
	}
	m.opts.Logger.LogAttrs(ctx, slog.LevelError, message, slog.Int("transactions", len(batch)), slog.Any("err", err))
	class := ErrUnavailable
	if errors.Is(err, log.ErrTooLarge) {
		class = ErrTooLarge
	}
	for _, p := range batch {
		p.done <- outcome{err: fmt.Errorf("%w: %w", class, err)}
	}
}
