// Package revoke turns the durable jobs that a deactivation leaves in the store
// into revoked, verified credentials, and into evidence.
//
// The store creates one job for each user, app and kind in the same record as
// the change that causes it. [Engine.Run] claims the due jobs of one user and
// app with a lease, asks the app's plugin kind by kind in the order of
// [abi.Order], lists again until two lists were empty, verifies, and writes every
// answer before it asks the next question. One kind that fails never stops the
// others. Work is at least once: a job's id is its idempotency key, and a save
// with a stale version is refused by the store, so that a worker that lost its
// lease cannot overwrite a newer result. A lease that ran low is renewed before
// the application is asked again, so that such a worker also stops asking.
//
// A reactivation waits until everything that was to be revoked before it is
// settled: it never re-enables an account that a late retry would disable again.
// One that was overtaken by another deactivation is closed unasked.
//
// Two clocks (DESIGN §3.5, B48): BlockedAt is since when this process enforces
// the lock; VerifiedAt is when every kind was probed dead. "Unknown" never counts
// as done. A breach of the deadline is a metric and an audit record, and the work
// goes on.
package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// ErrNoPlugin is what a Revoker answers for an app that has no plugin: its kinds
// are unsupported, enforced at the proxy.
var ErrNoPlugin = errors.New("revoke: the app has no plugin")

// Revoker asks the plugin of one app. An error other than [ErrNoPlugin] counts
// as a transient fault of every kind asked.
type Revoker interface {
	Revoke(ctx context.Context, tenant, app string, req abi.Request) (abi.Result, error)
	Verify(ctx context.Context, tenant, app string, req abi.Request) (abi.VerifyResult, error)
	// Info describes the loaded plugin; false while it is not loaded.
	Info(tenant, app string) (abi.Info, bool)
}

// Options configures an [Engine].
type Options struct {
	Store   *store.Store
	Revoker Revoker
	Tenants []string      // whose jobs are worked on: the tenants of Store
	Owner   string        // names this process in leases; required
	Workers int           // users worked on at once; zero means 4
	Lease   time.Duration // zero means 30s
	// Deadline is the promise that a breach is measured against; zero means 5m.
	Deadline time.Duration
	// Poll is how often due jobs are looked for when nothing wakes the engine;
	// zero means 1s.
	Poll    time.Duration
	Now     func() time.Time                  // nil means time.Now
	Jitter  func(time.Duration) time.Duration // a duration in [0, max); nil means uniform
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

func (o Options) withDefaults() (Options, error) {
	if o.Store == nil || o.Revoker == nil || o.Owner == "" {
		return o, errors.New("revoke: Store, Revoker and Owner are required")
	}
	if o.Workers <= 0 {
		o.Workers = 4
	}
	if o.Lease <= 0 {
		o.Lease = 30 * time.Second
	}
	if o.Deadline <= 0 {
		o.Deadline = 5 * time.Minute
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = func(most time.Duration) time.Duration {
			if most <= 0 {
				return 0
			}
			return rand.N(most) //nolint:gosec // spreads retries, guards nothing
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Engine works on the due jobs of every tenant. Make it with [New].
type Engine struct {
	o    Options
	m    *metrics
	wake chan struct{}

	mu    sync.Mutex
	busy  map[unit]bool   // units a worker of this process holds
	dirty map[string]bool // tenants to look at on the next wake
}

// unit is what one worker does at a time: the jobs of one user in one app.
type unit struct{ tenant, app, user string }

func (u unit) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", u.tenant), slog.String("app", u.app), slog.String("user", u.user)}
}

// New returns an engine that does nothing until [Engine.Run].
func New(o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Engine{o: o, m: m, wake: make(chan struct{}, 1), busy: map[unit]bool{}, dirty: map[string]bool{}}, nil
}

// markAll makes Run look for due jobs of every tenant now. It never blocks.
func (e *Engine) markAll() {
	for _, tenant := range e.o.Tenants {
		e.mark(tenant)
	}
	e.signal()
}

// mark makes the next wake look at tenant.
func (e *Engine) mark(tenant string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty[tenant] = true
}

func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Engine) marked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.Collect(maps.Keys(e.dirty))
	clear(e.dirty)
	return out
}

// Run works until ctx is done, then waits for the workers, each of which ends at
// its plugin's deadline at the latest, and gives its unfinished jobs back. Run it
// once.
func (e *Engine) Run(ctx context.Context) error {
	stop := e.o.Store.Watch(func(c store.Change) {
		if c.Type == store.ChangeLock || c.Type == store.ChangeJob {
			e.mark(c.Tenant)
			e.signal()
		}
	})
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { e.watchClocks(ctx) })
	slots := make(chan struct{}, e.o.Workers)
	tick := time.NewTicker(e.o.Poll)
	defer tick.Stop()
	for e.markAll(); ; {
		most := dueBatch
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-tick.C: // what came due by the passing of time, and what failed on a fault of the store
			e.markAll()
			most = dueDeep
		}
		for _, tenant := range e.marked() {
			if ctx.Err() != nil {
				break
			}
			if err := e.dispatch(ctx, tenant, most, slots, &running); err != nil && ctx.Err() == nil {
				e.o.Logger.ErrorContext(ctx, "looking for due jobs", slog.String("tenant", tenant), slog.Any("error", err))
			}
		}
	}
}

// dueBatch bounds one look at the queue of one tenant. Where all that it finds is in
// a worker's hands already, a tick looks deeper: one user with jobs of very many
// epochs does not hold up the others.
const (
	dueBatch = 256
	dueDeep  = 64 * dueBatch
)

// dispatch hands the units with due jobs to workers, as many as there are slots,
// and looks at the first dueBatch jobs for them, or at most. What finds no slot
// stays due, and its tenant is looked at when a worker ends.
func (e *Engine) dispatch(ctx context.Context, tenant string, most int, slots chan struct{}, running *sync.WaitGroup) error {
	if len(slots) == cap(slots) {
		e.mark(tenant)
		return nil
	}
	due, err := e.due(ctx, tenant, dueBatch)
	if err == nil && len(due) == dueBatch && most > dueBatch && e.allBusy(due) {
		due, err = e.due(ctx, tenant, most)
	}
	if err != nil {
		return err
	}
	for i := range due {
		u := unitOf(&due[i])
		if !e.take(u) {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			e.release(u)
			e.mark(tenant)
			return nil
		}
		running.Go(func() {
			err := e.work(ctx, u)
			if err != nil {
				e.o.Logger.LogAttrs(ctx, slog.LevelError, "working on jobs", append(u.attrs(), slog.Any("error", err))...)
			}
			e.release(u)
			<-slots
			if err == nil { // after a fault the tick is soon enough: no hot loop on a broken store
				e.mark(tenant)
			}
			e.signal()
		})
	}
	return nil
}

func (e *Engine) due(ctx context.Context, tenant string, most int) (due []store.Job, err error) {
	err = e.o.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		due, err = r.DueJobs(e.o.Now(), most)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading due jobs: %w", err)
	}
	return due, nil
}

func unitOf(j *store.Job) unit { return unit{j.Tenant, j.App, j.UserID} }

// allBusy reports whether each of due is of a unit that a worker holds.
func (e *Engine) allBusy(due []store.Job) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !slices.ContainsFunc(due, func(j store.Job) bool { return !e.busy[unitOf(&j)] })
}

func (e *Engine) take(u unit) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[u] {
		return false
	}
	e.busy[u] = true
	return true
}

func (e *Engine) release(u unit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.busy, u)
}

// cause is the actor of every write of the engine.
func (e *Engine) cause(action, requestID string) store.Cause {
	return store.Cause{Actor: "engine:" + e.o.Owner, RequestID: requestID, Action: action, Decision: "internal", Received: e.o.Now()}
}
