package revoke

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// ErrNoPlugin means that the app has no plugin. Its kinds are unsupported, so only the proxy enforces
// the lock.
var ErrNoPlugin = errors.New("revoke: the app has no plugin")

// Revoker calls the plugin of an app, as plugins.Host does. The engine trusts a result without an
// error. Kinds has one entry for each requested kind, in the same order. States are known, counts are
// not negative, texts are bounded and free of secrets. Any error except [ErrNoPlugin] is a transient
// fault of every requested kind.
type Revoker interface {
	Revoke(ctx context.Context, tenant, app string, req abi.Request) (abi.Result, error)
	// Verify returns abi.LiveUnknown for a kind that the plugin cannot check.
	Verify(ctx context.Context, tenant, app string, req abi.Request) (abi.VerifyResult, error)
	// Info describes the loaded plugin. It returns false while none is loaded.
	Info(tenant, app string) (abi.Info, bool)
}

// Options configures an [Engine]. Store, Revoker, Owner, Now and Metrics are required.
type Options struct {
	Store   *store.Store
	Revoker Revoker
	Tenants func() []string // the tenants of Store now
	Owner   string          // names this process in leases
	// Heartbeat is that of the cores that share the store, zero for a process alone. Owner is then the identity of
	// this process in the table of cores, and the engine starts jobs while it is there.
	Heartbeat time.Duration
	Workers   int           // how many run at once, default 4
	Lease     time.Duration // default 30s
	// Deadline is the time from a request until all its kinds are verified, default 5m.
	Deadline time.Duration
	Poll     time.Duration // interval between two searches for due jobs, default 1s
	Now      func() time.Time
	Jitter   func() float64 // in [0, 1), spreads retries, default uniform
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
}

// Engine runs the due jobs of every tenant. Make it with [New].
type Engine struct {
	opts       Options
	leaseNanos atomic.Int64
	m          *metrics
	wake       chan struct{}
	busy       sync.Map // units that have a worker of this process
	dirty      sync.Map // tenants whose due jobs Run reads next
	seen       sightings
	coreLeft   atomic.Bool // since watchClocks has read every open offboarding
}

// unit is the work of one worker: the jobs of one user in one app.
type unit struct{ tenant, app, user string }

func (u unit) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", u.tenant), slog.String("app", u.app), slog.String("user", u.user)}
}

// New returns an engine that starts work in [Engine.Run].
func New(opts Options) (*Engine, error) {
	if opts.Store == nil || opts.Revoker == nil || opts.Owner == "" || opts.Now == nil || opts.Metrics == nil {
		return nil, errors.New("revoke: Store, Revoker, Owner, Now and Metrics are required")
	}
	opts.Workers = cmp.Or(opts.Workers, 4)
	opts.Lease = cmp.Or(opts.Lease, 30*time.Second)
	opts.Deadline = cmp.Or(opts.Deadline, 5*time.Minute)
	opts.Poll = cmp.Or(opts.Poll, time.Second)
	if opts.Jitter == nil {
		opts.Jitter = rand.Float64
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(opts.Metrics)
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, m: m, wake: make(chan struct{}, 1), seen: sightings{of: map[string]map[string]sighting{}}}
	e.SetLease(opts.Lease)
	return e, nil
}

// SetLease replaces Options.Lease, for leases that are acquired or extended from now on.
func (e *Engine) SetLease(d time.Duration) { e.leaseNanos.Store(int64(d)) }

func (e *Engine) leaseTime() time.Duration { return time.Duration(e.leaseNanos.Load()) }

// markAll makes Run read the due jobs of every tenant now. It never blocks.
func (e *Engine) markAll() {
	for _, tenant := range e.opts.Tenants() {
		e.mark(tenant)
	}
	e.signal()
}

// mark makes Run read the due jobs of tenant after the next signal.
func (e *Engine) mark(tenant string) { e.dirty.Store(tenant, true) }

func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Run runs jobs until ctx is done. It then waits for the workers. Each ends at its plugin's deadline
// at the latest and releases its unfinished jobs. Call Run once.
func (e *Engine) Run(ctx context.Context) error {
	stop := e.opts.Store.Watch(func(c store.Change) {
		if c.Type == store.ChangeLock || c.Type == store.ChangeJob {
			e.mark(c.Tenant)
			e.signal()
		}
	})
	defer stop()
	defer e.opts.Store.WatchApplied(e.watchCores)()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { e.watchClocks(ctx) })
	slots := make(chan struct{}, e.opts.Workers)
	tick := time.NewTicker(e.opts.Poll)
	defer tick.Stop()
	for e.markAll(); ; {
		deep := false
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-tick.C: // jobs that came due meanwhile, and jobs left after a store error
			e.markAll()
			deep = true
		}
		// In random order, so that no tenant starves another.
		tenants := e.opts.Tenants()
		for _, i := range rand.Perm(len(tenants)) { //nolint:gosec // spreads work, guards nothing
			tenant := tenants[i]
			if _, marked := e.dirty.LoadAndDelete(tenant); !marked || ctx.Err() != nil {
				continue
			}
			if err := e.dispatch(ctx, tenant, deep, slots, &running); err != nil && ctx.Err() == nil {
				e.opts.Logger.ErrorContext(ctx, "starting due jobs", slog.String("tenant", tenant), slog.Any("error", err))
			}
		}
	}
}

// watchCores notes that a core has left the table. Run looks for its jobs at the next tick.
func (e *Engine) watchCores(a store.Applied) {
	for _, c := range a.Cores {
		if c.Type != store.CoreHeartbeat {
			e.coreLeft.Store(true)
		}
	}
}

// dueBatch bounds the due jobs that one dispatch reads. If workers already run all these jobs, a tick
// reads dueDeep. So a user with very many jobs does not delay others.
const (
	dueBatch = 256
	dueDeep  = 64 * dueBatch
)

// dispatch starts a worker for each unit with due jobs while there are free slots. The rest stays
// due. When a worker ends, Run reads the due jobs of its tenant again.
func (e *Engine) dispatch(
	ctx context.Context, tenant string, deep bool, slots chan struct{}, running *sync.WaitGroup,
) error {
	if len(slots) == cap(slots) {
		e.mark(tenant)
		return nil
	}
	units, err := e.due(ctx, tenant, deep)
	if err != nil {
		return fmt.Errorf("reading due jobs: %w", err)
	}
	for _, u := range units {
		if _, busy := e.busy.LoadOrStore(u, true); busy {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			e.busy.Delete(u)
			e.mark(tenant)
			return nil
		}
		running.Go(func() {
			worked, err := e.work(ctx, u)
			if err != nil {
				e.opts.Logger.LogAttrs(ctx, slog.LevelError, "running jobs", append(u.attrs(), slog.Any("error", err))...)
			}
			e.busy.Delete(u)
			<-slots
			// Without work wait for a change or the next tick: of a broken store, or of the lease of another core.
			if err == nil && worked {
				e.mark(tenant)
			}
			e.signal()
		})
	}
	return nil
}

// due returns units with due jobs, the longest due first.
func (e *Engine) due(ctx context.Context, tenant string, deep bool) ([]unit, error) {
	if e.opts.Heartbeat > 0 {
		return e.dueHere(ctx, tenant, deep)
	}
	read := func(limit int) (units []unit, err error) {
		jobs, err := view(ctx, e, tenant, func(r *store.Reader) ([]store.Job, error) {
			return r.DueJobs(e.opts.Now(), limit)
		})
		for i := range jobs {
			units = append(units, unitOf(&jobs[i]))
		}
		return units, err
	}
	units, err := read(dueBatch)
	if err == nil && deep && len(units) == dueBatch && e.allBusy(units) {
		return read(dueDeep)
	}
	return units, err
}

// view returns what fn reads from one snapshot of tenant.
func view[T any](ctx context.Context, e *Engine, tenant string, fn func(*store.Reader) (T, error)) (out T, err error) {
	err = e.opts.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		out, err = fn(r)
		return err
	})
	return out, err
}

func unitOf(j *store.Job) unit { return unit{j.Tenant, j.App, j.UserID} }

// allBusy reports whether every unit has a running worker.
func (e *Engine) allBusy(units []unit) bool {
	return !slices.ContainsFunc(units, func(u unit) bool {
		_, busy := e.busy.Load(u)
		return !busy
	})
}

// cause is the actor of every write of the engine.
func (e *Engine) cause(action, requestID string) store.Cause {
	return store.Cause{
		Actor: "engine:" + e.opts.Owner, RequestID: requestID, Action: action, Decision: "internal", Received: e.opts.Now(),
	}
}
