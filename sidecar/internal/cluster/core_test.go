package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// bus carries messages between the cores of a test. A core that is cut off neither sends nor receives.
type bus struct {
	mu  sync.Mutex
	fns map[*post]func([]byte)
}

type post struct {
	bus *bus
	off atomic.Bool
}

func (p *post) Send(_ context.Context, b []byte) error {
	if p.off.Load() {
		return errors.New("cut off")
	}
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	for to, fn := range p.bus.fns {
		if !to.off.Load() {
			fn(b)
		}
	}
	return nil
}

func (p *post) Receive(fn func([]byte)) (stop func()) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	p.bus.fns[p] = fn
	return func() {
		p.bus.mu.Lock()
		defer p.bus.mu.Unlock()
		delete(p.bus.fns, p)
	}
}

// cutOff is a shared log that does not deliver to one store while it is cut off.
type cutOff struct {
	log.Shared
	off atomic.Bool
	on  chan struct{}
}

func (c *cutOff) Tail(ctx context.Context, from log.Seq, fn func(log.Seq, []byte) error) error {
	return c.Shared.Tail(ctx, from, func(seq log.Seq, rec []byte) error {
		if c.off.Load() {
			select {
			case <-c.on:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return fn(seq, rec)
	})
}

// node is a core of a test.
type node struct {
	*cluster.Core
	store *store.Store
	log   *cutOff
	post  *post
	stop  context.CancelFunc
	ended chan error
	lost  atomic.Int32 // how often all streams were ended
	noted atomic.Value // the last json.RawMessage of an edge
}

// term is the lease of the tests: long enough for a busy machine, short enough to wait for its end once.
var term = lease.Options{Lease: 3 * time.Second, Heartbeat: 100 * time.Millisecond}

func start(tb testing.TB, shared log.Shared, b *bus, name string) *node {
	tb.Helper()
	return startWith(tb, shared, b, name, func(*cluster.Options) {})
}

func startWith(tb testing.TB, shared log.Shared, b *bus, name string, change func(*cluster.Options)) *node {
	tb.Helper()
	n := &node{
		log: &cutOff{Shared: shared, on: make(chan struct{})}, post: &post{bus: b}, ended: make(chan error, 1),
	}
	n.store = storetest.Open(tb, func(o *store.Options) { o.Shared = n.log })
	o := cluster.Options{
		Name: name, Store: n.store, Messages: n.post, Lease: term, Cut: func(context.Context, string) {},
		Directory: n.store, Note: func(_ context.Context, r json.RawMessage) error { n.noted.Store(r); return nil },
		Lost: func(context.Context) { n.lost.Add(1) },
	}
	change(&o)
	var err error
	n.Core, err = cluster.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(tb.Context())
	n.stop = stop
	go func() { n.ended <- n.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-n.ended; err != nil {
			tb.Error(err)
		}
	})
	eventually(tb, name+" may decide", func() bool { return n.MayDecide() })
	return n
}

// eventually waits for a condition that no event announces.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if ok() {
			return
		}
		if tb.Context().Err() != nil {
			tb.Fatalf("waiting until %s: the test ends", what)
		}
	}
}

func three(tb testing.TB) [3]*node {
	tb.Helper()
	shared, b := storetest.SharedLog(tb), &bus{fns: map[*post]func([]byte){}}
	return [3]*node{start(tb, shared, b, "a"), start(tb, shared, b, "b"), start(tb, shared, b, "c")}
}

func deactivate(tb testing.TB, s *store.Store, name string) {
	tb.Helper()
	u := &store.User{ID: name, Resource: scim.Object{"userName": name, "active": true}}
	if _, err := s.Update(tb.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
		return tx.CreateUser(u)
	}); err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Update(tb.Context(), "acme", storetest.Cause("user.patch"), func(tx *store.Tx) error {
		u, err := tx.User(name)
		if err != nil {
			return err
		}
		u.Resource["active"] = false
		_, err = tx.UpdateUser(&u)
		return err
	}); err != nil {
		tb.Fatal(err)
	}
}

// allows reports whether a core would serve the user now: it has a lease and no lock.
func (n *node) allows(name string) bool {
	_, locked := n.store.Locks().Lookup("acme", &subject.Subject{UserName: name})
	return !locked && n.MayDecide()
}

// TestConfirmed: when a lock is confirmed, no core serves the user, and nobody had to be waited out.
func TestConfirmed(t *testing.T) {
	nodes := three(t)
	for i, name := range []string{"ada", "bob", "eve", "dan", "fay", "gil"} {
		n := nodes[i%3]
		deactivate(t, n.store, name)
		a, err := n.Confirm(t.Context())
		for _, other := range nodes {
			if other.allows(name) {
				t.Errorf("%s serves %s after %s confirmed the lock", other.ID(), name, n.ID())
			}
		}
		if err != nil || len(a.Unconfirmed) > 0 {
			t.Errorf("Confirm = %+v, %v, want all to confirm", a, err)
		}
	}
}

// TestCutOffCore: a core that gets no records is waited for until its lease has ended, and then it allows nothing.
// The question that another core asks about the same lock waits as long.
func TestCutOffCore(t *testing.T) {
	nodes := three(t)
	cut := nodes[2]
	cut.post.off.Store(true)
	cut.log.off.Store(true)
	deactivate(t, nodes[0].store, "ada")
	if _, err := nodes[1].store.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !cut.allows("ada") {
		t.Error("the core that is cut off does not serve ada at first, so this test shows nothing")
	}
	var asking sync.WaitGroup
	for _, n := range nodes[:2] {
		asking.Go(func() {
			a, err := n.Confirm(t.Context())
			if cut.allows("ada") {
				t.Errorf("the core that is cut off serves ada after %s confirmed the lock", n.ID())
			}
			if err != nil || len(a.Unconfirmed) != 1 || string(a.Unconfirmed[0].Core) != cut.ID() {
				t.Errorf("Confirm = %+v, %v, want %s as the one that did not confirm", a, err, cut.ID())
			}
		})
	}
	asking.Wait()
	if cut.lost.Load() != 1 || nodes[0].lost.Load() != 0 {
		t.Errorf("streams were ended %d times at the core that was cut off, and %d times at another, want once and never",
			cut.lost.Load(), nodes[0].lost.Load())
	}
	cut.post.off.Store(false)
	cut.log.off.Store(false)
	close(cut.log.on)
	eventually(t, "the core has the lock and a lease", func() bool {
		_, locked := cut.store.Locks().Lookup("acme", &subject.Subject{UserName: "ada"})
		return locked && cut.MayDecide()
	})
}

// TestPausedCore: a core that was stopped between the decision to let a user in and its answer does not send it. Its
// lease had ended, so that others answered that the user is locked. That it has a new lease since does not matter.
func TestPausedCore(t *testing.T) {
	nodes := three(t)
	paused := nodes[2]
	// The decision.
	under := paused.Lease()
	if _, locked := paused.store.Locks().Lookup("acme", &subject.Subject{UserName: "ada"}); locked {
		t.Fatal("ada is locked before the test begins")
	}
	// The stop.
	paused.post.off.Store(true)
	paused.log.off.Store(true)
	deactivate(t, nodes[0].store, "ada")
	if a, err := nodes[0].Confirm(t.Context()); err != nil || len(a.Unconfirmed) != 1 {
		t.Fatalf("Confirm = %+v, %v, want one unconfirmed", a, err)
	}
	// The process goes on, and gets everything before the request has its turn.
	paused.post.off.Store(false)
	paused.log.off.Store(false)
	close(paused.log.on)
	eventually(t, "the core has a lease again", paused.MayDecide)
	if paused.MayDecideUnder(under) {
		t.Error("the core sends the answer that it had prepared")
	}
	// A decision under a lease that is held ends with the protocol, too.
	under = paused.Lease()
	paused.Drain()
	err := <-paused.ended
	paused.ended <- nil
	if err != nil || paused.MayDecideUnder(under) {
		t.Errorf("Run = %v, and the core sends an answer after its end", err)
	}
}

// TestDrainedCore: a core that drained is not waited for. One that ended without is, until its lease has ended.
func TestDrainedCore(t *testing.T) {
	nodes := three(t)
	nodes[1].Drain()
	err := <-nodes[1].ended
	nodes[1].ended <- nil
	if err != nil || nodes[1].Right(0) != lease.Refuse {
		t.Fatalf("Run = %v, and the right %v, want no error and no right", err, nodes[1].Right(0))
	}
	deactivate(t, nodes[0].store, "ada")
	if a, err := nodes[0].Confirm(t.Context()); err != nil || len(a.Unconfirmed) > 0 {
		t.Errorf("Confirm after a drain = %+v, %v, want nobody unconfirmed", a, err)
	}
	nodes[2].stop()
	err = <-nodes[2].ended
	nodes[2].ended <- nil
	if err != nil || nodes[2].Right(0) != lease.Refuse {
		t.Fatalf("Run = %v, and the right %v, want no error and no right", err, nodes[2].Right(0))
	}
	deactivate(t, nodes[0].store, "bob")
	if a, err := nodes[0].Confirm(t.Context()); err != nil || len(a.Unconfirmed) != 1 {
		t.Errorf("Confirm after an end without a drain = %+v, %v, want one unconfirmed", a, err)
	}
	_, err = nodes[2].Confirm(t.Context())
	if !errors.Is(err, cluster.ErrUnconfirmed) {
		t.Errorf("Confirm of a core that has ended = %v, want ErrUnconfirmed", err)
	}
}

// TestOtherLease: a core with another lease than those that run does not join: they would wait for too short a time.
func TestOtherLease(t *testing.T) {
	shared, b := storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}
	first := start(t, shared, b, "a")
	c, err := cluster.New(cluster.Options{
		Name: "b", Store: first.store, Messages: &post{bus: b}, Lease: lease.Options{Lease: time.Minute},
		Cut: func(context.Context, string) {}, Lost: func(context.Context) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "core a has cluster.lease 3s and this one 1m0s") {
		t.Errorf("Run = %v, want an error that names both leases", err)
	}
	if c.MayDecide() {
		t.Error("the core may decide, want not")
	}
}
