package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// serveEdges lets edges follow a core, and returns its address.
func (n *node) serveEdges(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer()
	n.Register(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	return l.Addr().String()
}

// gate forwards connections to a core. While it is shut, nothing passes and nobody notices.
type gate struct {
	addr string
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			conn, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			go g.pump(from, conn)
			go g.pump(conn, from)
		}
	}()
	return g
}

func (g *gate) pump(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut != nil {
			<-shut
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (g *gate) close() { g.set(make(chan struct{})) }

func (g *gate) open() { g.set(nil) }

func (g *gate) set(c chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
	}
	g.shut = c
}

// edge is an edge of a test.
type edge struct {
	*cluster.Edge
	locks *store.LockTable
	names *store.NameCache
	cuts  atomic.Int32
	lost  atomic.Int32
	stop  context.CancelFunc
	ended chan error
}

func startEdge(tb testing.TB, name string, cores ...string) *edge {
	tb.Helper()
	return startEdgeWith(tb, name, func(o *cluster.EdgeOptions) { o.Cores = cores })
}

func startEdgeWith(tb testing.TB, name string, set func(*cluster.EdgeOptions)) *edge {
	tb.Helper()
	e := &edge{locks: store.NewLockTable(time.Now), ended: make(chan error, 1)}
	o := cluster.EdgeOptions{
		Name: name, Locks: e.locks, Lease: term,
		Forget: func(c *store.Change) { e.names.Forget(c) }, Reset: func() { e.names.Reset() },
		Cut:    func(context.Context, string) { e.cuts.Add(1) },
		CutAll: func(context.Context) { e.cuts.Add(1) }, Lost: func(context.Context) { e.lost.Add(1) },
	}
	set(&o)
	var err error
	if e.Edge, err = cluster.NewEdge(o); err != nil {
		tb.Fatal(err)
	}
	e.names = store.NewNameCacheOf(e.Edge, e.locks, 100)
	ctx, stop := context.WithCancel(tb.Context())
	e.stop = stop
	go func() { e.ended <- e.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-e.ended; err != nil {
			tb.Error(err)
		}
	})
	eventually(tb, name+" may decide", func() bool { return e.MayDecide() })
	return e
}

// allows reports whether the edge would serve the user now.
func (e *edge) allows(name string) bool {
	_, locked := e.locks.Lookup("acme", &subject.Subject{UserName: name})
	return !locked && e.MayDecide()
}

// TestEdgesConfirm: when a lock is confirmed, no edge of any core serves the user.
func TestEdgesConfirm(t *testing.T) {
	nodes := three(t)
	deactivate(t, nodes[0].store, "before")
	var edges []*edge
	for i, n := range nodes {
		addr := n.serveEdges(t)
		for j := range 2 {
			edges = append(edges, startEdge(t, fmt.Sprintf("e%d%d", i, j), addr))
		}
	}
	for _, e := range edges {
		if e.allows("before") {
			t.Errorf("%s serves a user who was locked before it started", e.ID())
		}
	}
	for i, n := range nodes {
		known := n.Edges()
		if len(known) != 2 || known[0].ID != edges[2*i].ID() || known[0].Position == 0 || known[0].Left <= 0 {
			t.Errorf("core %d lists the edges %+v, want its two, with a position and a lease", i, known)
		}
	}
	for i, name := range []string{"ada", "bob", "eve", "dan", "fay", "gil"} {
		n := nodes[i%3]
		for _, e := range edges {
			if !e.allows(name) {
				t.Fatalf("%s does not serve %s before the lock, so this test shows nothing", e.ID(), name)
			}
		}
		deactivate(t, n.store, name)
		a, err := n.Confirm(t.Context())
		for _, e := range edges {
			if e.allows(name) {
				t.Errorf("%s serves %s after %s confirmed the lock", e.ID(), name, n.ID())
			}
		}
		if err != nil || len(a.Unconfirmed) > 0 {
			t.Errorf("Confirm = %+v, %v, want all to confirm", a, err)
		}
	}
}

// TestCutOffEdge: an edge that hears nothing is waited for until its grant has ended, by every core, and then it
// allows nothing. It comes back with all changes that it missed, from another core too.
func TestCutOffEdge(t *testing.T) {
	nodes := three(t)
	g := newGate(t, nodes[0].serveEdges(t))
	other := newGate(t, nodes[1].serveEdges(t))
	e := startEdge(t, "e", g.addr, other.addr)
	g.close()
	other.close()
	deactivate(t, nodes[2].store, "ada")
	if !e.allows("ada") {
		t.Error("the edge that is cut off does not serve ada at first, so this test shows nothing")
	}
	a, err := nodes[2].Confirm(t.Context())
	if e.allows("ada") {
		t.Error("the edge that is cut off serves ada after the lock was confirmed")
	}
	if err != nil || len(a.Unconfirmed) != 1 || string(a.Unconfirmed[0].Edge) != e.ID() {
		t.Errorf("Confirm = %+v, %v, want edge %s as the one that did not confirm", a, err, e.ID())
	}
	eventually(t, "the edge has ended its streams", func() bool { return e.lost.Load() == 1 })
	if e.Ready() == nil {
		t.Error("the edge is ready without a lease")
	}
	other.open()
	eventually(t, "the edge decides again", func() bool { return e.MayDecide() })
	if e.allows("ada") {
		t.Error("the edge came back without the lock")
	}
	g.open()
}

// TestCoreOfEdgeEnds: an edge goes on at another core when its own ends, and no lock is missed.
func TestCoreOfEdgeEnds(t *testing.T) {
	nodes := three(t)
	addrs := []string{nodes[0].serveEdges(t), nodes[1].serveEdges(t), nodes[2].serveEdges(t)}
	e := startEdge(t, "e", addrs...)
	for i, n := range nodes[:2] {
		n.stop()
		err := <-n.ended
		n.ended <- nil
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("user", i)
		deactivate(t, nodes[2].store, name)
		if _, err := nodes[2].Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.allows(name) {
			t.Errorf("the edge serves %s after the lock was confirmed", name)
		}
		eventually(t, "the edge decides at another core", func() bool { return e.MayDecide() })
	}
}

// TestDrainedEdge: nobody waits for an edge that has given up its lease.
func TestDrainedEdge(t *testing.T) {
	n := start(t, storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}, "a")
	e := startEdge(t, "e", n.serveEdges(t))
	e.Drain(t.Context())
	if e.MayDecide() {
		t.Error("the edge may decide after its end")
	}
	deactivate(t, n.store, "ada")
	if a, err := n.Confirm(t.Context()); err != nil || a.Waited > 0 || len(a.Unconfirmed) > 0 {
		t.Errorf("Confirm = %+v, %v, want that it waits for nobody", a, err)
	}
}

// TestEdgeAsks: an edge knows the users of the directory through its core, and forgets one who changes.
func TestEdgeAsks(t *testing.T) {
	n := start(t, storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}, "a")
	e := startEdge(t, "e", n.serveEdges(t))
	find := func(name, want string) {
		t.Helper()
		id, err := e.names.Find(t.Context(), "acme", &subject.Subject{UserName: name})
		if id != want || err != nil {
			t.Errorf("Find(%s) = %q, %v, want %q", name, id, err, want)
		}
	}
	if !e.names.Empty(t.Context(), "acme") {
		t.Error("Empty = false, want true")
	}
	find("ada", "")
	change := func(fn func(*store.Tx) error) {
		t.Helper()
		if _, err := n.store.Update(t.Context(), "acme", storetest.Cause("user.put"), fn); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	change(func(tx *store.Tx) error {
		return tx.CreateUser(&store.User{ID: "u1", Resource: scim.Object{"userName": "ada", "active": true}})
	})
	find("ada", "u1")
	find("ada", "u1")
	change(func(tx *store.Tx) error {
		u, err := tx.User("u1")
		if err != nil {
			return err
		}
		u.Resource["userName"] = "eve"
		_, err = tx.UpdateUser(&u)
		return err
	})
	find("eve", "u1")
	change(func(tx *store.Tx) error { return tx.DeleteUser("u1") })
	find("eve", "")
	if err := e.Note(t.Context(), "acme", json.RawMessage(`{"a":1}`)); err != nil || string(n.noted.Load().(json.RawMessage)) != `{"a":1}` {
		t.Errorf("Note: %v; the core has %s", err, n.noted.Load())
	}
	if _, err := e.HasUsers(t.Context(), "nobody"); err == nil {
		t.Error("HasUsers of a tenant that the core does not have: no error")
	}
}

// TestRefusedNote: a record that no core takes is refused by the first one, and the others do not hear of it.
func TestRefusedNote(t *testing.T) {
	var asked atomic.Int32
	shared, b := storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}
	var cores []string
	for _, name := range []string{"a", "b"} {
		n := startWith(t, shared, b, name, func(o *cluster.Options) {
			o.Note = func(context.Context, json.RawMessage) error {
				asked.Add(1)
				return fmt.Errorf("%w: it is too long", cluster.ErrNote)
			}
		})
		cores = append(cores, n.serveEdges(t))
	}
	e := startEdge(t, "e", cores...)
	err := e.Note(t.Context(), "acme", json.RawMessage(`{}`))
	if err == nil || !strings.Contains(err.Error(), "it is too long") || asked.Load() != 1 {
		t.Errorf("Note = %v after asking %d cores, want the refusal of one", err, asked.Load())
	}
}

// TestQuietFailover: an edge of the core that started last goes on at another one when that core ends, although nobody
// has changed anything since.
func TestQuietFailover(t *testing.T) {
	nodes := three(t)
	g := newGate(t, nodes[0].serveEdges(t))
	g.close()
	e := startEdge(t, "e", g.addr, nodes[2].serveEdges(t))
	g.open()
	nodes[2].stop()
	err := <-nodes[2].ended
	nodes[2].ended <- nil
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edge follows the other core", func() bool { return len(nodes[0].Edges()) == 1 && e.MayDecide() })
}

// TestHangingQuestion: a core that stops to answer while the edge ends streams does not keep the edge from going on at
// another one.
func TestHangingQuestion(t *testing.T) {
	nodes := three(t)
	g, other := newGate(t, nodes[0].serveEdges(t)), newGate(t, nodes[1].serveEdges(t))
	other.close()
	asked := make(chan struct{}, 16)
	var e *edge
	e = startEdgeWith(t, "e", func(o *cluster.EdgeOptions) {
		o.Cores = []string{g.addr, other.addr}
		o.Cut = func(ctx context.Context, tenant string) {
			g.close()
			asked <- struct{}{}
			_, _ = e.names.Find(ctx, tenant, &subject.Subject{UserName: "eve"}) // no answer comes
		}
	})
	other.open()
	deactivate(t, nodes[2].store, "ada")
	<-asked
	eventually(t, "the edge follows the other core", func() bool { return len(nodes[1].Edges()) == 1 && e.MayDecide() })
	g.open()
}

// TestEdgesBeginTogether: edges that begin together cost their core one snapshot, and none of them serves a user who
// was locked before it began.
func TestEdgesBeginTogether(t *testing.T) {
	var snapshots atomic.Int32
	n := startWith(t, storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}, "a", func(o *cluster.Options) {
		o.Policies = func() []store.Change { snapshots.Add(1); return nil } // a part of each snapshot
	})
	addr := n.serveEdges(t)
	for i, name := range []string{"ada", "bob", "eve"} {
		deactivate(t, n.store, name)
		if _, err := n.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
		for j := range 4 {
			if e := startEdge(t, fmt.Sprintf("e%d%d", i, j), addr); e.allows(name) || e.allows("ada") {
				t.Errorf("%s serves %s or ada, who were locked before it began", e.ID(), name)
			}
		}
	}
	if got := snapshots.Load(); got != 1 {
		t.Errorf("12 edges got %d snapshots, want 1", got)
	}
}

// TestEdgeOfAFormerLog: cores that began again with an older state give the positions of the former log to other
// records. An edge that lived on takes everything anew, although its position is not ahead of theirs.
func TestEdgeOfAFormerLog(t *testing.T) {
	former := start(t, storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}, "former")
	again := start(t, storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}, "again")
	deactivate(t, again.store, "ada")
	locked := again.store.Health().Applied
	eventually(t, "the former log to be longer", func() bool { return former.store.Health().Applied > locked })
	deactivate(t, former.store, "bob")
	g := newGate(t, again.serveEdges(t))
	g.close()
	e := startEdge(t, "e", former.serveEdges(t), g.addr)
	if !e.allows("ada") || e.allows("bob") {
		t.Fatal("the edge does not follow the former log, so this test shows nothing")
	}
	former.stop()
	err := <-former.ended
	former.ended <- nil
	if err != nil {
		t.Fatal(err)
	}
	g.open()
	eventually(t, "the edge decides with the other log", func() bool {
		edges := again.Edges()
		return len(edges) == 1 && edges[0].Position >= uint64(locked) && edges[0].Left > 0 && e.MayDecide()
	})
	if e.allows("ada") {
		t.Error("the edge serves ada, who was locked in the log that it follows, before it followed it")
	}
	if !e.allows("bob") {
		t.Error("the edge still refuses bob, of whom the log knows nothing")
	}
}

// TestConfigurationOfAnEdge: every core tells where the configuration of an edge is not that of its core, and until
// when.
func TestConfigurationOfAnEdge(t *testing.T) {
	shared, b := storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}
	ofCores := map[string]string{"acme": "1", "acme/issuers": "2", "acme/apps/crm": "3", "acme/apps/wiki": "4"}
	var nodes []*node
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, startWith(t, shared, b, name, func(o *cluster.Options) {
			o.Config = func() map[string]string { return ofCores }
		}))
	}
	var parts atomic.Value
	parts.Store(map[string]string{"acme": "1", "acme/issuers": "none", "acme/apps/crm": "old"}) // it has no wiki
	e := startEdgeWith(t, "e", func(o *cluster.EdgeOptions) {
		o.Cores = []string{nodes[0].serveEdges(t)}
		o.Config = func() map[string]string { return parts.Load().(map[string]string) }
	})
	want := fmt.Sprintf("acme/apps/crm: edge %s has another one than a", e.ID())
	for i, n := range nodes {
		eventually(t, fmt.Sprintf("core %d knows where the edge differs", i), func() bool {
			got := n.State().Differs
			return len(got) == 1 && got[0] == want
		})
	}
	parts.Store(map[string]string{"acme": "1", "acme/apps/crm": "3"})
	for i, n := range nodes {
		eventually(t, fmt.Sprintf("core %d knows that the edge is like the cores", i), func() bool {
			return len(n.State().Differs) == 0
		})
	}
}
