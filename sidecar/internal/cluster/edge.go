package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// EdgeOptions configures NewEdge.
type EdgeOptions struct {
	Name  string      // of this process in the installation
	Cores []string    // "HOST:PORT"; the edge follows any of them
	TLS   *tls.Config // nil: none, for cores on this machine
	Locks *store.LockTable
	// Forget drops what is remembered of a user that changed, and Reset all that is remembered of any.
	Forget func(*store.Change)
	Reset  func()
	// Policies puts changes of policy bundles in force. All says that they are those of all tenants. Nil: none.
	Policies func(changes []store.Change, all bool)
	// Cut ends the open streams of the locked users of a tenant, and CutAll those of all tenants. They return when the
	// streams have ended.
	Cut    func(ctx context.Context, tenant string)
	CutAll func(ctx context.Context)
	// Lost ends all open streams, as in Options.
	Lost    func(ctx context.Context)
	Lease   lease.Options
	Version string
	// Config has the digest of each part of the configuration that must be equal to that of the cores. Nil: of none.
	Config  func() map[string]string
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Edge follows a core. It keeps the locks of all tenants in memory and has no store. It is safe for concurrent use.
type Edge struct {
	*right

	opts EdgeOptions
	id   lease.ID
	dial *dialler

	arrived *queue[arrival] // for the lock table
	wakeUp  chan struct{}

	mu         sync.Mutex
	protocol   *lease.Edge
	stream     *following
	due        time.Duration // until the protocol wants to be asked
	configured string        // digest of the configuration that the core knows
	log        string        // that the projection is of, as store.LogID; empty: unknown
	loaded     atomic.Bool
	position   atomic.Uint64 // of the projection
	newest     atomic.Uint64 // the same, with what comes into force now: no answer of a core may be older
	lastErr    error         // why the newest stream broke

	working sync.WaitGroup
}

// askPatience is how many heartbeats a core has for an answer.
const askPatience = 3

// arrival is what came over a stream, or why that ended.
type arrival struct {
	stream uint64
	toEdge
	err   error
	taken chan<- struct{} // gets a token when a part of a snapshot is in the table; nil for others
}

// NewEdge makes an edge that follows nobody until Run.
func NewEdge(o EdgeOptions) (*Edge, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Lease.Lease = cmp.Or(o.Lease.Lease, lease.DefaultLease)
	o.Lease.Heartbeat = cmp.Or(o.Lease.Heartbeat, lease.DefaultHeartbeat)
	cores := slices.Clone(o.Cores)
	//nolint:gosec // the order spreads the edges over the cores; nothing depends on it
	rand.Shuffle(len(cores), func(i, j int) { cores[i], cores[j] = cores[j], cores[i] })
	e := &Edge{
		right: newRight(o.Lease.Lease), opts: o, id: newID(o.Name), dial: newDialler(cores, o.TLS, o.Lease.Heartbeat),
		arrived: newQueue[arrival](), wakeUp: make(chan struct{}, 1), lastErr: errors.New("it has not reached any yet"),
	}
	e.protocol = lease.NewEdge(e.id, o.Lease)
	if o.Metrics == nil {
		return e, nil
	}
	position := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "scimward_cluster_edge_position", Help: "Position of the log up to which this edge has every lock.",
	}, func() float64 { return float64(e.position.Load()) })
	for _, c := range []prometheus.Collector{leaseHeld(e.right), position} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the edge: %w", err)
		}
	}
	return e, nil
}

// ID is the identity of this process.
func (e *Edge) ID() string { return string(e.id) }

// Ready returns why this process may not decide now, nil when it may.
func (e *Edge) Ready() error {
	if e.MayDecide() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	what := "it has no lease"
	if !e.loaded.Load() {
		what = "it has not got the locks yet"
	}
	return fmt.Errorf("%s: no core of cluster.cores grants one; the one that was tried last: %w", what, e.lastErr)
}

// Run follows a core until ctx ends. It returns when the cores know that this edge decides nothing any more, or cannot
// be reached.
func (e *Edge) Run(ctx context.Context) error {
	defer e.dial.close()
	defer e.working.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	e.working.Go(func() { e.apply(ctx) })
	e.next(ctx, lease.EdgeTick{})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			e.next(ctx, lease.EdgeTick{})
		case <-e.wakeUp:
		}
		timer.Reset(e.untilDue())
	}
}

// Drain gives up the lease, so that no core waits for this edge. Call it when nothing is decided any more, before ctx
// of Run ends. It returns when the core has heard so, or ctx ends.
func (e *Edge) Drain(ctx context.Context) {
	e.next(ctx, lease.EdgeDrain{})
	e.mu.Lock()
	s := e.stream
	e.mu.Unlock()
	if s == nil {
		return
	}
	s.finish()
	select {
	case <-s.done:
	case <-ctx.Done():
	}
}

func (e *Edge) untilDue() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.due
}

// next applies an event and carries out what follows. Nothing in it waits for others.
func (e *Edge) next(ctx context.Context, ev lease.EdgeEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	eff := e.protocol.Next(e.read(), ev)
	e.set(e.protocol.Lease())
	if eff.Follow != nil {
		e.follow(ctx, eff.Follow)
	}
	if e.stream != nil && eff.Confirm != nil {
		e.stream.out.push(toCore{Confirm: eff.Confirm})
	}
	if e.stream != nil && eff.Renew != nil {
		e.tellConfig()
		e.stream.out.push(toCore{Renew: eff.Renew})
	}
	e.due = e.untilEnd(eff.Wake, func() {
		e.working.Go(func() { e.opts.Lost(context.WithoutCancel(ctx)) })
	})
	select {
	case e.wakeUp <- struct{}{}:
	default:
	}
}

// tellConfig tells the core the configuration, if it does not know it. The caller holds mu.
func (e *Edge) tellConfig() {
	if e.opts.Config == nil {
		return
	}
	parts := e.opts.Config()
	if d := digest(parts); d != e.configured {
		e.configured = d
		e.stream.out.push(toCore{Config: parts})
	}
}

// follow replaces the stream. The caller holds mu.
func (e *Edge) follow(ctx context.Context, f *lease.Follow) {
	if e.stream != nil {
		e.stream.cancel()
	}
	s := newFollowing(ctx, f.Stream)
	e.stream, e.configured = s, ""
	core := e.dial.next()
	first := hello{
		Edge: f.Edge, Log: e.log, Position: f.Position,
		Lease: e.opts.Lease.Lease, Serve: e.opts.Lease.Serve, Version: e.opts.Version,
	}
	e.working.Go(func() {
		err := s.converse(e.dial, core, first, func(m toEdge) { e.pass(s, m) })
		if err != nil {
			err = fmt.Errorf("core %s: %w", core, err)
		}
		e.arrived.push(arrival{stream: s.number, err: cmp.Or(err, errors.New("the stream ended"))})
	})
}

// pass gives what came over a stream to the applier. It waits for a part of a snapshot to be in the table, so that a
// large snapshot is not in memory twice.
func (e *Edge) pass(s *following, m toEdge) {
	if m.Part == nil {
		e.arrived.push(arrival{stream: s.number, toEdge: m})
		return
	}
	taken := make(chan struct{}, 1)
	e.arrived.push(arrival{stream: s.number, toEdge: m, taken: taken})
	select {
	case <-taken:
	case <-s.ctx.Done():
	}
}

// apply puts what the core sends in force, in its order.
func (e *Edge) apply(ctx context.Context) {
	a := applier{Edge: e}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.arrived.filled:
		}
		for _, m := range e.arrived.take() {
			a.take(ctx, &m)
		}
		a.flush(ctx)
	}
}

// applier puts messages together that come into force together.
type applier struct {
	*Edge

	stream uint64
	batch  []change

	locks *store.LockTable // of the snapshot that is coming in, nil without one
	rest  []store.Change   // of it, that are no locks
}

func (a *applier) take(ctx context.Context, m *arrival) {
	if m.taken != nil {
		defer func() { m.taken <- struct{}{} }() // buffered, one token
	}
	if m.stream < a.stream {
		return // of a former stream, whose end may come late: it must not cut the snapshot of the newest one
	}
	if m.stream != a.stream {
		a.flush(ctx)
		a.stream, a.locks, a.rest = m.stream, nil, nil
	}
	switch {
	case m.Change != nil:
		a.batch = append(a.batch, *m.Change)
	case m.Grant != nil:
		a.next(ctx, lease.Granted{Stream: m.stream, Grant: *m.Grant})
	case m.Part != nil:
		a.flush(ctx)
		a.collect(m.Part.Changes)
		if m.Part.More {
			a.next(ctx, lease.Loading{Stream: m.stream})
			return
		}
		a.replace(ctx, m.Part)
	case m.err != nil:
		a.flush(ctx)
		a.mu.Lock()
		again := a.lastErr.Error() == m.err.Error() // as with every try while no core is there
		a.lastErr = m.err
		a.mu.Unlock()
		if !again {
			a.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "a core is not followed any more", slog.String("error", m.err.Error()))
		}
		a.next(ctx, lease.Broken{Stream: m.stream})
	}
}

// accepts asks the protocol whether a change may come into force.
func (e *Edge) accepts(stream uint64, at lease.Position) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.protocol.Accepts(stream, at, false)
}

// acceptsAll asks the protocol whether a snapshot may come into force. One of another log may: the cores began again
// with an older state, and positions of the former log say nothing about it.
func (e *Edge) acceptsAll(stream uint64, p *part) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.Log != "" && e.log != "" && p.Log != e.log {
		e.protocol.Another(stream)
		e.set(e.protocol.Lease())
	}
	if !e.protocol.Accepts(stream, p.At, true) {
		return false
	}
	e.log = p.Log
	return true
}

// collect takes a part of a snapshot. A snapshot may be large, so its locks go into a table one part after the other.
func (a *applier) collect(part []store.Change) {
	if a.locks == nil {
		a.locks = a.opts.Locks.Next()
	}
	for i := range part {
		if part[i].Lock == nil && part[i].Operator == nil {
			a.rest = append(a.rest, part[i])
			continue
		}
		a.locks.Put(&part[i])
	}
}

// replace puts the snapshot in force, of which p is the last part.
func (a *applier) replace(ctx context.Context, p *part) {
	locks, rest, at := a.locks, a.rest, p.At
	a.locks, a.rest = nil, nil
	if !a.acceptsAll(a.stream, p) {
		a.next(ctx, lease.Broken{Stream: a.stream})
		return
	}
	a.newest.Store(uint64(at))
	a.opts.Locks.Replace(locks)
	a.policies(rest, true)
	a.opts.Reset()
	a.opts.CutAll(ctx)
	a.loaded.Store(true)
	a.advanced(ctx, at, true)
	a.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "the locks are complete",
		slog.Int("locks", a.opts.Locks.Len()), slog.Uint64("position", uint64(at)))
}

// flush puts the changes of the batch in force.
func (a *applier) flush(ctx context.Context) {
	batch := a.batch
	a.batch = nil
	var last *change
	restricts := false
	locked := map[string]bool{}
	for i := range batch {
		c := &batch[i]
		if !a.accepts(a.stream, c.At) {
			continue
		}
		a.newest.Store(uint64(c.At))
		for j := range c.Changes {
			ch := &c.Changes[j]
			a.opts.Locks.Put(ch)
			a.opts.Forget(ch)
			if ch.Lock != nil || ch.Operator != nil {
				locked[ch.Tenant] = true
			}
		}
		a.policies(c.Changes, false)
		last, restricts = c, restricts || c.Restricts
	}
	if last == nil {
		return
	}
	for tenant := range locked {
		a.opts.Cut(ctx, tenant)
	}
	a.advanced(ctx, last.At, restricts)
}

// policies puts the policy bundles among changes in force.
func (a *applier) policies(changes []store.Change, all bool) {
	var found []store.Change
	for i := range changes {
		if changes[i].Type == store.ChangePolicy {
			found = append(found, changes[i])
		}
	}
	if a.opts.Policies != nil && (all || len(found) > 0) {
		a.opts.Policies(found, all)
	}
}

func (e *Edge) advanced(ctx context.Context, at lease.Position, restricts bool) {
	e.position.Store(uint64(at))
	e.next(ctx, lease.Advanced{Position: at, Restricts: restricts})
}

// FindUser implements [store.NameSource].
func (e *Edge) FindUser(ctx context.Context, tenant string, s *subject.Subject) (store.FoundUser, error) {
	a, err := e.ask(ctx, &question{Tenant: tenant, Find: s})
	return a.Found, err
}

// HasUsers implements [store.NameSource].
func (e *Edge) HasUsers(ctx context.Context, tenant string) (bool, error) {
	a, err := e.ask(ctx, &question{Tenant: tenant, HasUsers: true})
	return a.HasUsers, err
}

// SCIMID implements [Directory].
func (e *Edge) SCIMID(ctx context.Context, tenant string, s *subject.Subject) (string, error) {
	a, err := e.ask(ctx, &question{Tenant: tenant, SCIMID: s})
	return a.SCIMID, err
}

// PolicyBundle returns a policy bundle of a tenant by its digest, as a core has it. Nobody has verified it.
func (e *Edge) PolicyBundle(ctx context.Context, tenant, sum string) ([]byte, error) {
	a, err := e.ask(ctx, &question{Tenant: tenant, Bundle: sum})
	return a.Bundle, err
}

// Note sends a record to the audit trail of a tenant.
func (e *Edge) Note(ctx context.Context, tenant string, record json.RawMessage) error {
	_, err := e.ask(ctx, &question{Tenant: tenant, Note: record})
	return err
}

// ask asks the core that this edge follows, and another one if that does not answer. No answer is older than the
// projection.
func (e *Edge) ask(ctx context.Context, q *question) (answer, error) {
	q.Position = lease.Position(e.newest.Load())
	// The goroutine that applies locks asks too, for open streams. A core that does not answer must not hold it up.
	ctx, cancel := context.WithTimeout(ctx, askPatience*e.opts.Lease.Heartbeat)
	defer cancel()
	a, err := e.dial.ask(ctx, q)
	if err != nil {
		return answer{}, fmt.Errorf("asking a core: %w", err)
	}
	return a, nil
}
