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
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// ErrNoPlugin is the error of a Revoker for an app without a plugin. Its kinds are
// unsupported, so only the proxy enforces the lock.
var ErrNoPlugin = errors.New("revoke: the app has no plugin")

// Revoker calls the plugin of an app, as plugins.Host does. The engine takes an
// answer without an error as judged: Kinds holds each kind of the request exactly
// once and in that order (plugins.Host guarantees it), every state is known, no count is negative, and all texts are
// bounded and free of secrets. An error other than [ErrNoPlugin] is a
// transient fault of every kind of the request.
type Revoker interface {
	Revoke(ctx context.Context, tenant, app string, req abi.Request) (abi.Result, error)
	// Verify answers abi.LiveUnknown for a kind that the plugin cannot tell.
	Verify(ctx context.Context, tenant, app string, req abi.Request) (abi.VerifyResult, error)
	// Info describes the loaded plugin; false while none is loaded.
	Info(tenant, app string) (abi.Info, bool)
}

// Options configures an [Engine]. Store, Revoker, Owner, Now and Metrics are required.
type Options struct {
	Store   *store.Store
	Revoker Revoker
	Tenants []string      // the tenants of Store
	Owner   string        // names this process in leases
	Workers int           // how many run at once; zero means 4
	Lease   time.Duration // zero means 30s
	// Deadline is the time from a request until all its kinds are verified; zero means 5m.
	Deadline time.Duration
	Poll     time.Duration // how often the engine looks for due jobs unasked; zero means 1s
	Now      func() time.Time
	Jitter   func() float64 // in [0, 1), spreads retries; nil means uniform
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
}

// Engine runs the due jobs of every tenant. Make it with [New].
type Engine struct {
	o     Options
	m     *metrics
	wake  chan struct{}
	busy  sync.Map // units that have a worker of this process
	dirty sync.Map // tenants whose due jobs Run reads next
}

// unit is the work of one worker: the jobs of one user in one app.
type unit struct{ tenant, app, user string }

func (u unit) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", u.tenant), slog.String("app", u.app), slog.String("user", u.user)}
}

// New returns an engine that does nothing until [Engine.Run].
func New(o Options) (*Engine, error) {
	if o.Store == nil || o.Revoker == nil || o.Owner == "" || o.Now == nil || o.Metrics == nil {
		return nil, errors.New("revoke: Store, Revoker, Owner, Now and Metrics are required")
	}
	o.Workers = cmp.Or(o.Workers, 4)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Deadline = cmp.Or(o.Deadline, 5*time.Minute)
	o.Poll = cmp.Or(o.Poll, time.Second)
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	return &Engine{o: o, m: m, wake: make(chan struct{}, 1)}, nil
}

// markAll makes Run read the due jobs of every tenant now. It never blocks.
func (e *Engine) markAll() {
	for _, tenant := range e.o.Tenants {
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

// Run runs jobs until ctx is done. It then waits for the workers. Each ends at its
// plugin's deadline at the latest and releases its unfinished jobs. Call Run once.
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
		deep := false
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-tick.C: // jobs that came due meanwhile, and those left after a fault of the store
			e.markAll()
			deep = true
		}
		// In random order, so that no tenant starves another.
		for _, i := range rand.Perm(len(e.o.Tenants)) { //nolint:gosec // spreads work, guards nothing
			tenant := e.o.Tenants[i]
			if _, marked := e.dirty.LoadAndDelete(tenant); !marked || ctx.Err() != nil {
				continue
			}
			if err := e.dispatch(ctx, tenant, deep, slots, &running); err != nil && ctx.Err() == nil {
				e.o.Logger.ErrorContext(ctx, "starting due jobs", slog.String("tenant", tenant), slog.Any("error", err))
			}
		}
	}
}

// dueBatch bounds the due jobs that one dispatch reads. If workers have all of them
// already, a tick reads dueDeep, so that a user with very many jobs does not delay others.
const (
	dueBatch = 256
	dueDeep  = 64 * dueBatch
)

// dispatch starts a worker for each unit with due jobs while there are free slots. The
// rest stays due; when a worker ends, Run reads the due jobs of its tenant again.
func (e *Engine) dispatch(
	ctx context.Context, tenant string, deep bool, slots chan struct{}, running *sync.WaitGroup,
) error {
	if len(slots) == cap(slots) {
		e.mark(tenant)
		return nil
	}
	due, err := e.due(ctx, tenant, dueBatch)
	if err == nil && deep && len(due) == dueBatch && e.allBusy(due) {
		due, err = e.due(ctx, tenant, dueDeep)
	}
	if err != nil {
		return fmt.Errorf("reading due jobs: %w", err)
	}
	for i := range due {
		u := unitOf(&due[i])
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
			err := e.work(ctx, u)
			if err != nil {
				e.o.Logger.LogAttrs(ctx, slog.LevelError, "running jobs", append(u.attrs(), slog.Any("error", err))...)
			}
			e.busy.Delete(u)
			<-slots
			if err == nil { // after an error the next tick tries again: no hot loop on a broken store
				e.mark(tenant)
			}
			e.signal()
		})
	}
	return nil
}

func (e *Engine) due(ctx context.Context, tenant string, limit int) ([]store.Job, error) {
	return view(ctx, e, tenant, func(r *store.Reader) ([]store.Job, error) { return r.DueJobs(e.o.Now(), limit) })
}

// view returns what fn reads from one snapshot of tenant.
func view[T any](ctx context.Context, e *Engine, tenant string, fn func(*store.Reader) (T, error)) (out T, err error) {
	err = e.o.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		out, err = fn(r)
		return err
	})
	return out, err
}

func unitOf(j *store.Job) unit { return unit{j.Tenant, j.App, j.UserID} }

// allBusy reports whether workers have the units of all jobs of due.
func (e *Engine) allBusy(due []store.Job) bool {
	return !slices.ContainsFunc(due, func(j store.Job) bool {
		_, busy := e.busy.Load(unitOf(&j))
		return !busy
	})
}

// cause is the actor of every write of the engine.
func (e *Engine) cause(action, requestID string) store.Cause {
	return store.Cause{
		Actor: "engine:" + e.o.Owner, RequestID: requestID, Action: action, Decision: "internal", Received: e.o.Now(),
	}
}
