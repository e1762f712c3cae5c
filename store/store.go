package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// The errors of Open that need an operator.
var (
	ErrInUse   = local.ErrInUse   // another process has the database directory open
	ErrDamaged = local.ErrDamaged // records or locks are missing, or a file cannot be read

	ErrForked   = machine.ErrForked   // the shared log is not the one of the copy
	ErrDiverged = machine.ErrDiverged // the copy is not what the other stores have
)

type (
	// LostError is the ErrDamaged of a store whose newest records are missing.
	LostError = local.LostError
	// Note is a change of a lock. LostError names the lost ones.
	Note = local.Note
)

// maxTenant bounds a tenant's name in bytes, because keys contain the whole name.
const maxTenant = 255

// Store is an open store. It is safe for concurrent use.
type Store struct {
	opts    Options
	tenants atomic.Pointer[map[string]TenantOptions]
	m       *machine.Machine
	content *content
	staged  stages
	worker  sync.WaitGroup // housekeeping
	stop    context.CancelFunc
}

// Open opens or creates the store, rebuilds the lock table from the lock rows and
// starts the committer and the housekeeping. It fails with ErrInUse when another
// process has the directory open. It fails with ErrDamaged when the store does not have
// all that was durable half a second before its last end, or has lost a lock.
//
// With a shared log, Open returns when the store has every record of it, and fails with
// log.ErrTrimmed or ErrForked when its copy cannot be continued.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if o.Dir == "" && !o.InMemory {
		return nil, errors.New("store: Options.Dir is required")
	}
	if err := checkTenants(o.Tenants); err != nil {
		return nil, err
	}
	s, err := open(ctx, o, false)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{s.loadLocks, s.loadNotes, s.m.Follow, s.moveClients} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.worker.Go(func() { s.housekeeping(run) })
	return s, nil
}

// open opens the machine without reading the directory. A replica writes no
// records of its own.
func open(ctx context.Context, o Options, replica bool) (*Store, error) {
	c := &content{locks: NewLockTable(o.Now)}
	offline := o.offline || replica
	m, err := machine.Open(ctx, machine.Options{
		Log: local.Options{
			Dir: o.Dir, InMemory: o.InMemory, MinFree: o.MinFree,
			BeforeCommit: o.Faults.BeforeCommit, AfterWrite: o.Faults.AfterWrite,
			Notes: c.notes.all, Offline: offline, AcceptLoss: o.acceptLoss, CheckBlocks: o.offline,
			Copy: o.unsynced,
		},
		Content: c, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics, KeepRecords: o.KeepRecords, Replica: replica,
		Shared: o.Shared,
	})
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, m: m, content: c, stop: func() {}}
	s.tenants.Store(&o.Tenants)
	return s, nil
}

func checkTenants(tenants map[string]TenantOptions) error {
	for name := range tenants {
		if name == "" || len(name) > maxTenant {
			return fmt.Errorf("store: the tenant name %.20q must have 1 to %d bytes", name, maxTenant)
		}
	}
	return nil
}

// SetTenants replaces Options.Tenants. Calls that have begun finish with the former options. The data
// and the locks of a tenant that is left out stay, and [Store.View] and [Store.Update] do not find it.
func (s *Store) SetTenants(tenants map[string]TenantOptions) error {
	if err := checkTenants(tenants); err != nil {
		return err
	}
	s.tenants.Store(&tenants)
	return nil
}

// tenant returns the options of a tenant, and false for an unknown one.
func (s *Store) tenant(name string) (TenantOptions, bool) {
	o, ok := (*s.tenants.Load())[name]
	return o, ok
}

// GiveUp makes the changes that wait for the shared log fail now, with ErrUnavailable, and all later ones too. One that
// was on its way may still come into force. A store alone waits for its disk only, and GiveUp does nothing.
func (s *Store) GiveUp() { s.m.GiveUp() }

// Close waits for the running calls, commits the queued changes and closes the database.
// Later calls return ErrClosed.
func (s *Store) Close() error {
	s.stop()
	s.worker.Wait()
	return s.m.Close()
}

// Health is the state of the store.
type Health struct {
	Applied Seq   // newest record that readers see
	Err     error // why the store refuses writes now, or nil
	// Witness is why the newest records have no witness for more than a second, or nil. Writes
	// work, but a loss of these records would not be noticed.
	Witness error
}

// Health reports whether the store accepts writes. Reads always work.
func (s *Store) Health() Health {
	h := Health{Applied: s.m.Position(), Err: s.m.Ready()}
	if lag, err := s.m.WitnessLag(); lag > time.Second {
		h.Witness = fmt.Errorf("the witness of the newest record is %s late: %w", lag.Round(time.Second),
			cmp.Or(err, errors.New("it is being written")))
	}
	return h
}

// Locks is the lock table in memory, complete from Open on.
func (s *Store) Locks() *LockTable { return s.content.locks }

// Barrier returns a position that has every change that any store of the shared log had
// acknowledged before the call, once readers of this store see it. A store alone has none to
// wait for. It returns the errors of Update.
func (s *Store) Barrier(ctx context.Context) (Seq, error) { return s.m.Barrier(ctx) }

// Fault is why the store does not follow the shared log any more and will not again: its copy is not the log's, or
// cannot be continued. Nil while it may.
func (s *Store) Fault() error { return s.m.Fault() }

// LogID is the identity of the shared log in hexadecimal, zeros without one. Positions are those of one log.
func (s *Store) LogID() string { return fmt.Sprintf("%x", s.m.SharedID()) }

// Log is the ordered log in the store's own directory, for followers and backups, valid
// until Close. Only the store appends to it.
func (s *Store) Log() log.Log { return s.m.Log() }

// View runs fn on a consistent snapshot of one tenant, valid until fn returns. It
// returns ErrNotFound for an unknown tenant.
func (s *Store) View(ctx context.Context, tenant string, fn func(*Reader) error) error {
	return s.m.View(ctx, func(snap *machine.Snapshot) error {
		o, ok := s.tenant(tenant)
		if !ok {
			return fmt.Errorf("tenant %q: %w", tenant, ErrNotFound)
		}
		return fn(&Reader{tenant: tenant, options: o, snap: snap, shared: s.opts.Shared != nil})
	})
}

// Update runs fn on a snapshot and commits its writes as one record. After a conflict
// with another change it runs fn again on a new snapshot. So fn does no I/O, takes the
// time from tx.Now, and leaves no effects when it fails. Update returns an error of fn
// unchanged and then writes nothing. It returns ErrClientEnded for a change in the name of
// a client that is disabled, deleted or expired, ErrPaused for one while the tenant is paused, and ErrPolicyChanged
// for one that another policy bundle has judged than the one in force.
//
// It returns after the record is on stable storage, the lock table has it and every
// watcher has run. It waits for a queued change even when ctx ends. Seq is the version of
// the keys that fn wrote, or the position of the snapshot when it wrote none.
//
// On ErrUnavailable, normally nothing is written. If the disk failed during the commit,
// the whole change may appear after a restart.
func (s *Store) Update(ctx context.Context, tenant string, cause Cause, fn func(*Tx) error) (Seq, error) {
	if cause.Actor == "" || cause.RequestID == "" || cause.Decision == "" {
		return 0, ErrNoCause
	}
	if _, ok := s.tenant(tenant); !ok {
		return 0, fmt.Errorf("tenant %q: %w", tenant, ErrNotFound)
	}
	return s.update(ctx, tenant, cause, fn)
}

// update implements Update. The zero Cause is the store's own housekeeping, which is not
// audited.
func (s *Store) update(ctx context.Context, tenant string, cause Cause, fn func(*Tx) error) (Seq, error) {
	return s.m.Update(ctx, tenant, func(w *machine.Tx) error {
		t := s.newTx(w, cause)
		if err := fn(t); err != nil {
			return err
		}
		if err := cmp.Or(t.checkClient(), t.checkPause(), t.checkPolicy()); err != nil {
			return err
		}
		return t.finish()
	})
}

// Changes calls fn for every accepted change from record from on, up to the newest
// record at the time of the call. It returns log.ErrTrimmed for a position below
// the first record in the log.
func (s *Store) Changes(ctx context.Context, from Seq, fn func(Change) error) error {
	return s.m.View(ctx, func(snap *machine.Snapshot) error {
		bounds, err := s.m.Log().Bounds(ctx)
		if err != nil {
			return err
		}
		if max(from, 1) < bounds.First {
			return log.ErrTrimmed
		}
		return snap.Scan([]byte{local.KindFeed}, local.FeedKey(from), true, func(e machine.Entry) (bool, error) {
			var feed []Change
			if err := decodeRow(e.Value, &feed); err != nil {
				return false, err
			}
			for _, c := range feed {
				if err := fn(c); err != nil {
					return false, err
				}
			}
			return true, nil
		})
	})
}

// Watch calls fn for every change that this process applies, before Update returns. fn
// runs on the committer, so it must not block or call Update.
func (s *Store) Watch(fn func(Change)) (stop func()) { return s.content.watch.add(fn) }

// listeners is a set of callbacks in the order of their registration.
type listeners[T any] struct {
	mu  sync.RWMutex
	fns []*func(T)
}

func (l *listeners[T]) add(fn func(T)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fns = append(l.fns, &fn)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		kept := make([]*func(T), 0, len(l.fns)) // call may still read the old list
		for _, f := range l.fns {
			if f != &fn {
				kept = append(kept, f)
			}
		}
		l.fns = kept
	}
}

func (l *listeners[T]) any() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.fns) > 0
}

func (l *listeners[T]) call(v T) {
	l.mu.RLock()
	fns := l.fns
	l.mu.RUnlock()
	for _, f := range fns {
		(*f)(v)
	}
}
