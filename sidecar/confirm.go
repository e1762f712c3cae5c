package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
)

// actionConfirmed is the action of the audit record that says when a lock was in force at every process.
const actionConfirmed = "lock.confirmed"

// The bounds of the records of confirmations.
const (
	maxConfirming  = 64               // being written; then answers wait
	confirmTimeout = 30 * time.Second // to write one
)

// confirmations waits until locks are in force at every process, and records that beside the answers. The zero value is
// that of a process alone: it has nobody to wait for.
type confirmations struct {
	core      *cluster.Core // nil in the zero value
	serve     time.Duration // how long an application is served without a lease
	store     *store.Store
	logger    *slog.Logger
	now       func() time.Time
	slots     chan struct{}
	writing   sync.WaitGroup
	last      atomic.Pointer[cluster.Confirmed]
	unwritten *prometheus.CounterVec
}

// start makes the confirmations those of a core.
func (c *confirmations) start(s *Server) {
	c.core, c.serve, c.store = s.core, s.opts.Config.Stale(), s.store
	c.logger, c.now, c.slots = s.opts.Logger, s.opts.Now, make(chan struct{}, maxConfirming)
	c.unwritten = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_cluster_confirmations_unwritten_total",
		Help: "Confirmations of locks that are not in the audit trail, because the store refused them.",
	}, []string{"tenant"})
	s.registry.MustRegister(c.unwritten)
}

// confirm returns when no process serves anybody whom this one knows to be locked or gone. Locked are those whom the
// request locks; who confirmed is recorded for each of them.
func (s *Server) confirm(ctx context.Context, tenant, request string, locked []store.Locked) error {
	return s.confirming.wait(ctx, tenant, request, locked)
}

func (c *confirmations) wait(ctx context.Context, tenant, request string, locked []store.Locked) error {
	if c.core == nil {
		return nil
	}
	start := c.now()
	a, err := c.core.Confirm(ctx)
	for _, absent := range a.Unconfirmed {
		c.logger.WarnContext(ctx, "a process did not confirm the newest locks, and its lease has ended",
			slog.String("core", string(absent.Core)), slog.String("edge", string(absent.Edge)),
			slog.Uint64("position", uint64(a.Position)))
	}
	if len(locked) == 0 {
		return err
	}
	done := confirmed{tenant: tenant, request: request, locked: locked, start: start, end: c.now(), answer: a, err: err}
	c.slots <- struct{}{}
	c.writing.Go(func() {
		defer func() { <-c.slots }()
		c.record(context.WithoutCancel(ctx), &done)
	})
	return err
}

// confirmed is what came of waiting for the other processes after a request that locked somebody.
type confirmed struct {
	tenant, request string
	locked          []store.Locked
	start, end      time.Time
	answer          lease.Answer
	err             error // of the wait: the client got no answer
}

// record writes the confirmation. If the client has gone before the answer, it waits for the confirmation first.
func (c *confirmations) record(ctx context.Context, done *confirmed) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	a, end, err := done.answer, done.end, done.err
	if err != nil {
		a, err = c.core.Confirm(ctx)
		end = c.now()
	}
	if err == nil {
		conf := store.Confirmation{
			At: end.UTC(), Took: float64(end.Sub(done.start).Microseconds()) / 1000, Cores: a.Cores, Edges: a.Edges,
		}
		for _, u := range a.Unconfirmed {
			conf.Without(string(u.Core), string(u.Edge))
		}
		if c.serve > 0 && len(a.Unconfirmed) > 0 {
			conf.StaleUntil = conf.At.Add(c.serve + c.serve/100) // the clocks of two machines differ by 1 %
		}
		c.last.Store(&cluster.Confirmed{Tenant: done.tenant, Position: uint64(a.Position), Confirmation: conf})
		cause := store.Cause{Actor: "system", RequestID: done.request, Action: actionConfirmed, Decision: "internal"}
		err = c.store.ConfirmLocks(ctx, done.tenant, cause, done.locked, &conf)
	}
	if err != nil {
		c.unwritten.WithLabelValues(done.tenant).Inc()
		c.logger.ErrorContext(ctx, "the audit trail does not say when a lock was in force at every process",
			slog.String("tenant", done.tenant), slog.String("request_id", done.request), slog.Any("error", err))
	}
}

// finish waits until what is confirmed is recorded, but not longer than ctx.
func (c *confirmations) finish(ctx context.Context) error {
	if waitFor(ctx, &c.writing) {
		return nil
	}
	return errors.New("draining: the audit trail does not say of every lock when it was in force at every process")
}
