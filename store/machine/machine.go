// Package machine is the deterministic state machine over the ordered log. It knows
// keys, values, records, preconditions and positions. It does not know what the bytes
// mean. Package store puts the directory on top of it.
//
// Start with [Open], read with [Machine.View], change with [Machine.Update]. A change
// is one transaction, with preconditions on the keys that it read and the keys that it
// writes. One committer goroutine puts the waiting transactions into one log record.
// [Machine.Apply] checks the preconditions of each transaction after the transactions
// before it in the record. So the log order decides every conflict, and a transaction
// is applied whole or not at all. The same log gives the same bytes everywhere.
//
// The local log calls [Machine.Apply] in the commit of the record. With [Options.Shared]
// the committer appends to the log that all machines share, and [Machine.Follow] copies
// every record of it into the local log. So one machine or many, a record is applied in
// the same way, and the verdict of a change is known when its record comes back.
package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

// Seq is the position of a record in the log and the version of every key that
// the record wrote.
type Seq = log.Seq

// The errors of a machine. Their text says "store", because the store returns them unchanged.
var (
	ErrNotFound    = errors.New("store: not found")
	ErrConflict    = errors.New("store: changed by another writer too often")            // all retries of Update failed
	ErrTooLarge    = errors.New("store: change exceeds one record")                      // see commit.go
	ErrUnavailable = errors.New("store: writes are refused until the disk accepts them") // see Update
	ErrClosed      = errors.New("store: closed")
)

// Payload is the part of a transaction that belongs to the content. The machine stores
// it in the record and does not read it.
type Payload struct {
	Scope   string   // the tenant of the keys that the transaction writes
	Time    int64    // Unix nanoseconds of the proposer's clock; the applier reads no clock
	Drafts  [][]byte // rows that need the position of the record
	Changes []byte   // for watchers
}

// Content is the package on top of the machine.
type Content interface {
	// Apply runs once for each record, with the payloads of the accepted transactions
	// in their order. It may write rows that no transaction writes or has a
	// precondition on. It returns the feed row of the record, or nil. The row stays
	// until the record is trimmed. Apply must be deterministic, without clock,
	// randomness or map iteration.
	Apply(w *Writer, accepted []Payload) (feed []byte, err error)
	// Publish runs when the newest record of Apply is durable. It must call advance
	// once, which shows the record to readers.
	Publish(advance func())
}

// Options configures Open.
type Options struct {
	Log         local.Options // Incarnation is set by Open
	Content     Content
	Now         func() time.Time
	Logger      *slog.Logger          // nil: discard
	Metrics     prometheus.Registerer // nil: none
	KeepRecords uint64                // log records that survive Clean
	Replica     bool                  // write no genesis record, because the records come from another log
	// Shared is the log of several machines, nil for one machine alone. The local log is then a copy of its
	// records. A change is decided where its record comes, in the same way on every machine. The machine
	// neither opens nor closes it. Changes are refused until [Machine.Follow].
	Shared log.Shared
	// SharedWait is how long a change, and the start, wait for the shared log. Zero means 15 s.
	SharedWait time.Duration
}

// Machine is an open state machine. It is safe for concurrent use.
type Machine struct {
	opts    Options
	log     *local.Log
	codec   *codec
	shared  *follower // nil without a shared log
	metrics *metrics

	id     log.Incarnation // of the newest genesis record
	format atomic.Uint64   // of the log
	newest verdict         // of Apply; only the goroutine that appends to the local log reads it
	hash   [32]byte        // the end of the chain of marks after it

	queue    chan *proposal
	giveUp   context.CancelFunc // ends the waiting for a shared log
	barriers barriers
	position atomic.Uint64
	snaps    snapshots
	exports  sync.RWMutex // backups read, Clean writes

	mu        sync.Mutex // closed
	closed    bool
	inflight  sync.WaitGroup // running calls
	committer sync.WaitGroup
	workers   sync.WaitGroup // the follower of a shared log
}

// Open opens or creates the log, binds the machine to it and starts the committer.
func Open(ctx context.Context, o Options) (*Machine, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Log.Incarnation, o.Log.Logger, o.Log.Copy = Incarnation, o.Logger, o.Log.Copy || o.Shared != nil
	l, err := local.Open(o.Log)
	if err != nil {
		c.close()
		return nil, err
	}
	m := &Machine{opts: o, log: l, codec: c, queue: make(chan *proposal, 4*maxBatch)}
	if m.metrics, err = newMetrics(o.Metrics, l); err != nil {
		return nil, errors.Join(err, m.release())
	}
	l.Bind(m.Apply)
	bounds, err := l.Bounds(ctx)
	if err != nil && (o.Shared != nil || errors.Is(err, ErrNewer)) { // without a shared log, CheckLog reports others
		return nil, errors.Join(err, m.release())
	}
	m.id = bounds.ID
	if o.Shared != nil {
		m.shared = newFollower(m, o.Shared)
	} else if !o.Replica {
		first := newGenesis()
		if err := l.Start(ctx, first.encode()); err != nil {
			return nil, errors.Join(fmt.Errorf("starting the log: %w", err), m.release())
		}
	}
	m.position.Store(uint64(l.Last()))
	m.readFormat()
	if err := m.alone(ctx); err != nil {
		return nil, errors.Join(err, m.release())
	}
	waiting, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	m.giveUp = giveUp
	m.committer.Go(func() { m.commitLoop(waiting) })
	return m, nil
}

// alone refuses to write on a copy of a shared log as if it were the log: the others would not know the records.
func (m *Machine) alone(ctx context.Context) error {
	if m.shared != nil || m.opts.Replica {
		return nil
	}
	copied, err := m.Copied(ctx)
	if copied {
		err = ErrCopy
	}
	return err
}

// Copied reports whether the state is a copy of a shared log.
func (m *Machine) Copied(ctx context.Context) (copied bool, err error) {
	err = m.View(ctx, func(s *Snapshot) error {
		copied, err = s.Exists(hashKey())
		return err
	})
	return copied, err
}

func (m *Machine) release() error {
	m.codec.close()
	return m.log.Close()
}

// GiveUp makes the changes that wait for the shared log fail now, with ErrUnavailable, and all later ones too. One that
// was on its way may still appear in the log. Call it before Close when the servers of the log may be out of reach.
// A machine alone waits for its disk only, and GiveUp does nothing.
func (m *Machine) GiveUp() { m.giveUp() }

// Close waits for the running calls, commits the queued transactions and closes the log.
// Later calls return ErrClosed.
func (m *Machine) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	m.inflight.Wait()
	close(m.queue)
	m.committer.Wait()
	m.giveUp()
	if m.shared != nil {
		m.shared.mu.Lock()
		m.shared.stop()
		m.shared.mu.Unlock()
	}
	m.workers.Wait()
	return m.release()
}

// enter registers a running call; m.inflight.Done ends it.
func (m *Machine) enter() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.inflight.Add(1)
	return nil
}

// WitnessLag is how long the newest record has waited for its witness, and why.
func (m *Machine) WitnessLag() (time.Duration, error) { return m.log.WitnessLag() }

// Witnessed is the witness that Open found beside the log.
func (m *Machine) Witnessed() local.Witness { return m.log.Witnessed() }

// Mismatch is why the log does not have every record that was durable, nil when it has.
// Without Log.Offline or Log.AcceptLoss, Open fails with this error.
func (m *Machine) Mismatch() error { return m.log.Mismatch() }

// Log is the local log under the machine, valid until Close. Only the machine appends to it.
func (m *Machine) Log() log.Log { return m.log }

// Position is the position of the newest record that readers see.
func (m *Machine) Position() Seq { return Seq(m.position.Load()) }

// Ready returns why a write would fail now: nil, ErrClosed, local.ErrLowSpace,
// local.ErrBroken, or why the shared log is not followed.
func (m *Machine) Ready() error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.inflight.Done()
	if m.shared != nil {
		if err := m.shared.ready(); err != nil {
			return err
		}
	}
	return m.log.Ready()
}

// View runs fn on a snapshot of the newest position, valid until fn returns.
func (m *Machine) View(ctx context.Context, fn func(*Snapshot) error) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.inflight.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.snapshot(ctx)
	defer s.close()
	return fn(s)
}

// Clean drops log records beyond KeepRecords, and the versions that no snapshot needs. It does
// nothing while a backup runs.
func (m *Machine) Clean(ctx context.Context) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.inflight.Done()
	if !m.exports.TryLock() {
		return nil
	}
	defer m.exports.Unlock()
	m.log.Discard(m.snaps.oldest(&m.position))
	if last := m.Position(); uint64(last) > m.opts.KeepRecords {
		return m.log.Trim(ctx, last-Seq(m.opts.KeepRecords))
	}
	return nil
}

// Collect frees space on disk.
func (m *Machine) Collect(ctx context.Context) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.inflight.Done()
	return m.log.Collect(ctx)
}

// CheckLog reads every record of the log and calls fault for each missing or malformed
// one. It returns the number of records that it read.
func (m *Machine) CheckLog(ctx context.Context, fault func(error)) (records int, err error) {
	if err := m.enter(); err != nil {
		return 0, err
	}
	defer m.inflight.Done()
	if err := m.log.Mismatch(); err != nil {
		fault(err)
	}
	bounds, err := m.log.Bounds(ctx)
	if err != nil {
		fault(err)
		return 0, nil
	}
	began := bounds.ID
	for seq := bounds.First; seq <= bounds.Last; seq++ {
		if err := ctx.Err(); err != nil {
			return records, err
		}
		b, err := m.log.Read(seq)
		if err != nil {
			fault(fmt.Errorf("record %d: %w", seq, err))
			continue
		}
		records++
		rec, err := m.codec.decode(b)
		switch {
		case err != nil:
			fault(fmt.Errorf("record %d: %w", seq, err))
		case seq == 1 && rec.genesis == nil:
			fault(errors.New("record 1: no genesis record"))
		case rec.genesis != nil:
			began = rec.genesis.ID
		}
	}
	if began != bounds.ID {
		fault(fmt.Errorf("the newest genesis record is that of %x, the log is %x", began, bounds.ID))
	}
	return records, nil
}
