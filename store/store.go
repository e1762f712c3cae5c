package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

// ErrInUse says that another process has the database directory open.
var ErrInUse = local.ErrInUse

// maxTenant bounds a tenant's name in bytes; keys hold it whole.
const maxTenant = 255

// Store is an open store. It is safe for concurrent use.
type Store struct {
	o       Options
	log     *local.Log
	machine *machine
	locks   *LockTable
	metrics *metrics

	queue   chan *proposal
	applied atomic.Uint64
	snaps   snapshots
	watch   listeners[Change]

	mu       sync.Mutex // closed
	closed   bool
	inflight sync.WaitGroup // View, Update, Changes that run
	workers  sync.WaitGroup // committer, housekeeping
	stop     context.CancelFunc
}

// Open opens or creates the store, rebuilds the lock table from the lock rows
// and starts the committer and the housekeeping. It fails with ErrInUse when
// another process has the directory.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if o.Dir == "" && !o.InMemory {
		return nil, errors.New("store: Options.Dir is required")
	}
	for name := range o.Tenants {
		if name == "" || len(name) > maxTenant {
			return nil, fmt.Errorf("store: the tenant name %.20q must have 1 to %d bytes", name, maxTenant)
		}
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	s, err := bind(ctx, o)
	if err != nil {
		return nil, err
	}
	s.metrics = m
	if err := s.loadLocks(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.workers.Go(s.commitLoop)
	s.workers.Go(func() { s.housekeeping(run) })
	return s, nil
}

// bind opens the log and ties the state machine to it, without any goroutine.
func bind(ctx context.Context, o Options) (*Store, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	l, err := local.Open(local.Options{
		Dir: o.Dir, InMemory: o.InMemory, MinFree: o.MinFree,
		Genesis: func() []byte {
			var id log.Incarnation
			rand.Read(id[:]) // never fails (crypto/rand)
			return genesisRecord(id)
		},
		Incarnation: func(rec []byte) (log.Incarnation, error) {
			_, id, err := c.decode(rec)
			if err == nil && id == nil {
				err = errBadRecord
			}
			if err != nil {
				return log.Incarnation{}, err
			}
			return *id, nil
		},
		BeforeCommit: o.Faults.BeforeCommit, AfterWrite: o.Faults.AfterWrite,
	})
	if err != nil {
		c.close()
		return nil, err
	}
	s := &Store{
		o: o, log: l, machine: &machine{codec: c}, locks: newLockTable(o.Now),
		queue: make(chan *proposal, 4*maxFold),
	}
	l.Bind(s.machine.apply)
	if !o.replica {
		if err := l.Start(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("starting the log: %w", err), s.release())
		}
	}
	s.applied.Store(uint64(l.Last()))
	return s, nil
}

func (s *Store) release() error {
	s.machine.codec.close()
	return s.log.Close()
}

// Close lets running calls finish, commits what is queued, and closes the
// database. Later calls answer ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.inflight.Wait()
	close(s.queue)
	s.workers.Wait()
	return s.release()
}

// enter counts a call in; leave with s.inflight.Done.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.inflight.Add(1)
	return nil
}

// Health is how the store is.
type Health struct {
	Applied  Seq   // last record of the view
	Head     Seq   // last record of the log, as far as known
	Writable bool  // a write would be tried now
	Err      error // why not
}

// Health reports whether writes are accepted. Reads go on either way.
func (s *Store) Health() Health {
	h := Health{Applied: Seq(s.applied.Load()), Writable: true}
	if err := s.enter(); err != nil {
		return Health{Applied: h.Applied, Head: h.Applied, Err: err}
	}
	defer s.inflight.Done()
	h.Head = s.log.Last()
	if err := s.log.Ready(); err != nil {
		h.Writable, h.Err = false, err
	}
	return h
}

// Locks is the in-memory lock table, complete from Open on.
func (s *Store) Locks() *LockTable { return s.locks }

// Log is the ordered log under the store, for followers and backups. It is
// valid until Close; appending to it is the committer's alone.
func (s *Store) Log() log.Log { return s.log }

// View runs fn on a consistent snapshot of one tenant, which ends with fn. An
// unknown tenant is ErrNotFound.
func (s *Store) View(ctx context.Context, tenant string, fn func(*Reader) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inflight.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, ok := s.o.Tenants[tenant]; !ok {
		return fmt.Errorf("tenant %q: %w", tenant, ErrNotFound)
	}
	r, done := s.reader(ctx, tenant)
	defer done()
	return fn(r)
}

func (s *Store) reader(ctx context.Context, tenant string) (*Reader, func()) {
	seq := s.snaps.open(&s.applied)
	txn := s.log.DB().NewTransactionAt(uint64(seq), false)
	r := &Reader{tenant: tenant, options: s.o.Tenants[tenant], txn: txn, seq: seq, alive: ctx.Err}
	return r, func() {
		txn.Discard()
		s.snaps.close(seq)
	}
}

// Changes calls fn for every accepted change from record from on, up to the
// newest record at the time of the call. A position below the first kept record
// is log.ErrTrimmed.
func (s *Store) Changes(ctx context.Context, from Seq, fn func(Change) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inflight.Done()
	first, _, _, err := s.log.Bounds(ctx)
	if err != nil {
		return err
	}
	if max(from, 1) < first {
		return log.ErrTrimmed
	}
	r, done := s.reader(ctx, "")
	defer done()
	return r.scan([]byte{kindFeed}, feedKey(from), true, func(e entry) (bool, error) {
		var feed []Change
		if err := decodeRow(e.value, &feed); err != nil {
			return false, err
		}
		for _, c := range feed {
			if err := fn(c); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// Watch calls fn for every change this process applies, before the Update that
// made it returns. fn runs on the committer: it must not block nor call Update.
func (s *Store) Watch(fn func(Change)) (stop func()) { return s.watch.add(fn) }

// snapshots knows the oldest snapshot in use, which bounds what the engine may forget.
type snapshots struct {
	mu     sync.Mutex
	active map[Seq]int
}

func (s *snapshots) open(applied *atomic.Uint64) Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		s.active = map[Seq]int{}
	}
	seq := Seq(applied.Load())
	s.active[seq]++
	return seq
}

func (s *snapshots) close(seq Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[seq]--; s.active[seq] == 0 {
		delete(s.active, seq)
	}
}

func (s *snapshots) oldest(applied *atomic.Uint64) Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := Seq(applied.Load())
	for seq := range s.active {
		low = min(low, seq)
	}
	return low
}

// listeners is a set of callbacks in the order of their registration.
type listeners[T any] struct {
	mu   sync.RWMutex
	next int
	fns  []listener[T]
}

type listener[T any] struct {
	id int
	fn func(T)
}

func (l *listeners[T]) add(fn func(T)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.fns = append(l.fns, listener[T]{id, fn})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		kept := make([]listener[T], 0, len(l.fns))
		for _, f := range l.fns {
			if f.id != id {
				kept = append(kept, f)
			}
		}
		l.fns = kept
	}
}

func (l *listeners[T]) call(v T) {
	l.mu.RLock()
	fns := l.fns // replaced, never changed in place, by stop
	l.mu.RUnlock()
	for _, f := range fns {
		f.fn(v)
	}
}
