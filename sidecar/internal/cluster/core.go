package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/store"
)

// Messages carries short messages to all cores. One may be lost, repeated or overtaken.
type Messages interface {
	Send(ctx context.Context, b []byte) error
	// Receive calls fn for every message, also for this core's own, until stop.
	Receive(fn func(b []byte)) (stop func())
}

// Options configures New.
type Options struct {
	Name     string // of this core in the installation
	Store    *store.Store
	Messages Messages
	// Directory and Note answer the edges.
	Directory Directory
	Note      Note
	// Policies returns the policy bundles of all tenants as changes, at least those that WatchRestrictions has told of,
	// and Bundle the bytes of one. Edges need them. Nil: there are none.
	Policies func() []store.Change
	Bundle   PolicyBundle
	// Cut ends the open streams of the locked users of a tenant. It returns when they have ended.
	Cut func(ctx context.Context, tenant string)
	// Lost ends all open streams, because no lock reaches this process any more. It is called shortly before the
	// lease ends, so that the streams have ended when others count it as ended.
	Lost    func(ctx context.Context)
	Lease   lease.Options
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none

	Version string // of scimward, for people
	// Config has the digest of each part of the configuration that must be equal in all cores. Nil: of none.
	Config func() map[string]string
	// Limits are the rate limits that the cores share. Nil: none.
	Limits *limit.Group
}

// Core is the lease protocol of this process. It is safe for concurrent use.
type Core struct {
	*right

	opts    Options
	id      lease.ID
	metrics *metrics
	feed    *feed // for the edges

	ordered *queue[inOrder]     // until the streams of earlier locks are cut
	events  *queue[lease.Event] // for the protocol
	peers   peers
	details time.Time                 // when the others were last told of parts and edges; of the goroutine of Run
	beat    atomic.Pointer[time.Time] // when the newest heartbeat of this core was applied here, or when it was made

	mu     sync.Mutex
	ticket uint64
	asks   map[uint64]chan lease.Answer // nil when Run has ended
}

// New makes the protocol of this process, with an identity that no other start has.
func New(o Options) (*Core, error) {
	c := &Core{
		opts: o, id: newID(o.Name), feed: newFeed(o.Store.LogID()),
		ordered: newQueue[inOrder](), events: newQueue[lease.Event](), asks: map[uint64]chan lease.Answer{},
	}
	c.opts.Lease.Lease = cmp.Or(o.Lease.Lease, lease.DefaultLease)
	c.opts.Lease.Heartbeat = cmp.Or(o.Lease.Heartbeat, lease.DefaultHeartbeat)
	c.peers = peers{cores: map[string]*peer{}, gone: map[string]GoneCore{}, lease: c.opts.Lease.Lease}
	if o.Config == nil {
		c.opts.Config = func() map[string]string { return nil }
	}
	c.opts.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	c.right = newRight(c.opts.Lease.Lease)
	made := time.Now()
	c.beat.Store(&made)
	var err error
	c.metrics, err = newMetrics(o.Metrics, c)
	return c, err
}

// newID makes an identity that no other start of a process has.
func newID(name string) lease.ID {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return lease.ID(name + "-" + hex.EncodeToString(b[:]))
}

// ID is the identity of this process among the cores.
func (c *Core) ID() string { return string(c.id) }

// Ready returns why this process may not decide now, nil when it may.
func (c *Core) Ready() error {
	if c.MayDecide() {
		return nil
	}
	return errors.New("it has no lease: it has not applied a heartbeat of its own in time; is the log's cluster in reach?")
}

// Silent is how long the log has taken no heartbeat of this core.
func (c *Core) Silent() time.Duration { return time.Since(*c.beat.Load()) }

// ErrUnconfirmed says that Confirm could not learn that every process has a restriction in force. It may be so.
var ErrUnconfirmed = errors.New("it is not known whether every process has the change in force")

// Confirm waits until every process that may decide has all restrictions up to the store's present position in
// force, or has lost its lease. It takes at most little more than a lease. The answer names who had lost it.
// An error is ErrUnconfirmed.
func (c *Core) Confirm(ctx context.Context) (lease.Answer, error) {
	start := time.Now()
	done := make(chan lease.Answer, 1)
	c.mu.Lock()
	if c.asks == nil {
		c.mu.Unlock()
		return lease.Answer{}, fmt.Errorf("%w: the process ends", ErrUnconfirmed)
	}
	c.ticket++
	ticket := c.ticket
	c.asks[ticket] = done
	c.mu.Unlock()
	c.ordered.push(inOrder{ask: &lease.Ask{Ticket: ticket, Position: lease.Position(c.opts.Store.Health().Applied)}})
	select {
	case a, ok := <-done:
		if !ok {
			return lease.Answer{}, fmt.Errorf("%w: the process ends", ErrUnconfirmed)
		}
		c.metrics.answered(time.Since(start), &a)
		return a, nil
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.asks, ticket)
		c.mu.Unlock()
		return lease.Answer{}, fmt.Errorf("%w: %w", ErrUnconfirmed, ctx.Err())
	}
}

// Drain starts the orderly end. Run returns when no process that this one granted a lease can decide, and the
// others know that this one does not.
func (c *Core) Drain() { c.events.push(lease.Drain{}) }

// Run runs the protocol until it has left after Drain, or ctx ends. In the second case the others wait for the
// end of this process's lease.
func (c *Core) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup // what Run has started
	defer working.Wait()
	defer stop()
	defer c.end()
	defer c.opts.Store.WatchApplied(func(a store.Applied) {
		c.feed.add(&a)
		c.ordered.push(inOrder{record: &a})
	})()
	// A record that was told before the watch began is in the table only when readers see it.
	if _, err := c.opts.Store.Barrier(ctx); err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	at, members, err := c.members(ctx)
	if err != nil {
		return err
	}
	c.feed.open(at)
	defer c.opts.Messages.Receive(func(b []byte) { c.receive(ctx, b) })()
	working.Go(func() { c.order(ctx, at) })
	protocol := lease.NewCore(c.id, c.opts.Lease, c.read(), lease.Position(at), members)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.events.filled:
		case <-timer.C:
			c.events.push(lease.Tick{})
		}
		if err := c.opts.Store.Fault(); err != nil {
			c.set(lease.Lease{})
			c.opts.Lost(ctx)
			return fmt.Errorf("this core must not decide any more: %w", err)
		}
		for _, ev := range c.events.take() {
			eff := protocol.Next(c.read(), ev)
			c.set(protocol.Lease())
			c.carryOut(ctx, &working, &eff)
			if eff.Left {
				return nil
			}
			eff.Wake = c.untilEnd(eff.Wake, func() { working.Go(func() { c.opts.Lost(ctx) }) })
			timer.Reset(eff.Wake)
		}
	}
}

// members reads the table of cores. The cores count on each other's leases, so all have the same.
func (c *Core) members(ctx context.Context) (at store.Seq, members []lease.Member, err error) {
	at, cores, err := c.opts.Store.Cores(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, row := range cores {
		if row.Lease != c.opts.Lease.Lease {
			return 0, nil, fmt.Errorf("joining the cluster: core %s has cluster.lease %s and this one %s: "+
				"stop all cores to change it, and wait for the longer one", row.Name, row.Lease, c.opts.Lease.Lease)
		}
		c.peers.heard(&row)
		members = append(members, lease.Member{Core: lease.ID(row.ID), Heartbeat: lease.Position(row.Heartbeat)})
	}
	return at, members, nil
}

// end answers nobody any more, and decides nothing.
func (c *Core) end() {
	c.feed.close()
	c.set(lease.Lease{})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, done := range c.asks {
		close(done)
	}
	c.asks = nil
}

// receive takes a message of a core, perhaps of this one.
func (c *Core) receive(ctx context.Context, b []byte) {
	var m message
	err := json.Unmarshal(b, &m)
	conf := m.Confirmation
	if err != nil || conf.Core == "" {
		c.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "a message of another core cannot be read", slog.Any("err", err))
		return
	}
	if conf.Core != c.id {
		c.peers.received(&m, uint64(c.opts.Store.Health().Applied))
		c.opts.Limits.Add(m.Used, time.Now())
		c.events.push(conf)
	}
}

// inOrder is a record, or a question about what is in force after the records before it.
type inOrder struct {
	record *store.Applied
	ask    *lease.Ask
}

// order passes records and questions to the protocol in their order, each record when the streams of the users that
// it locks have ended. Records up to at are in force already.
func (c *Core) order(ctx context.Context, at store.Seq) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.ordered.filled:
		}
		for _, next := range c.ordered.take() {
			switch {
			case next.ask != nil:
				c.events.push(lease.Applied{Position: next.ask.Position}, *next.ask)
			case next.record.Seq > at:
				c.orderOne(ctx, next.record)
			}
		}
	}
}

func (c *Core) orderOne(ctx context.Context, a *store.Applied) {
	now := time.Now()
	for i := range a.Cores {
		change := &a.Cores[i]
		c.peers.note(change)
		switch {
		case change.Type != store.CoreHeartbeat:
		case change.Core.ID == string(c.id):
			c.beat.Store(&now)
		case c.peers.clock(&change.Core, now):
			c.opts.Logger.LogAttrs(ctx, slog.LevelError, "the clock of another core differs from this one; set the clocks",
				slog.String("core", change.Core.Name), slog.Time("its_clock", change.Core.Clock), slog.Time("clock", now))
		}
	}
	for _, tenant := range a.Locked {
		c.opts.Cut(ctx, tenant)
	}
	if a.Restricts || len(a.Cores) > 0 {
		c.events.push(applied(a)...)
	}
}

// applied translates a record. A record with several changes of the table is one event for each.
func applied(a *store.Applied) []lease.Event {
	first := lease.Applied{Position: lease.Position(a.Seq), Restricts: a.Restricts}
	if len(a.Cores) == 0 {
		return []lease.Event{first}
	}
	var events []lease.Event
	for _, change := range a.Cores {
		switch id := lease.ID(change.Core.ID); change.Type {
		case store.CoreHeartbeat:
			first.Record = lease.Heartbeat{Core: id, Number: change.Core.Number}
		case store.CoreLeft:
			first.Record = lease.Leave{Core: id}
		case store.CoreRemoved:
			first.Record = lease.Remove{Core: id, Heartbeat: lease.Position(change.Core.Heartbeat)}
		}
		events = append(events, first)
	}
	return events
}

// carryOut does what the protocol asks for. What may take long runs beside it.
func (c *Core) carryOut(ctx context.Context, working *sync.WaitGroup, eff *lease.Effects) {
	for _, r := range eff.Append {
		working.Go(func() { c.append(ctx, r) })
	}
	if eff.Announce != nil {
		b, err := json.Marshal(c.message(*eff.Announce))
		if err == nil {
			err = c.opts.Messages.Send(ctx, b)
		}
		if err != nil { // it is repeated with the next heartbeat
			c.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "telling the other cores what is in force", slog.Any("err", err))
		}
	}
	for _, g := range eff.Grants {
		c.feed.grant(g)
	}
	for _, a := range eff.Answers {
		c.mu.Lock()
		if done := c.asks[a.Ticket]; done != nil {
			delete(c.asks, a.Ticket)
			done <- a
		}
		c.mu.Unlock()
	}
}

// append writes a record of the table of cores. The protocol repeats what must not be lost.
func (c *Core) append(ctx context.Context, r lease.Record) {
	var err error
	switch r := r.(type) {
	case lease.Heartbeat:
		_, err = c.opts.Store.HeartbeatCore(ctx, store.Core{
			ID: string(r.Core), Name: c.opts.Name, Number: r.Number, Lease: c.opts.Lease.Lease,
			Version: c.opts.Version, Config: digest(c.opts.Config()), Reads: store.Reads, Clock: time.Now().UTC(),
		})
	case lease.Leave:
		_, err = c.opts.Store.LeaveCore(ctx, string(r.Core))
	case lease.Remove:
		_, err = c.opts.Store.RemoveCore(ctx, string(r.Core), store.Seq(r.Heartbeat))
	}
	if err != nil && ctx.Err() == nil {
		c.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the log did not take a record of this core", slog.Any("err", err))
	}
}
