package cluster

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
)

// core is a feed and the locks that its snapshots have.
type core struct {
	*feed
	t      *testing.T
	locks  sync.Map // ids
	reads  atomic.Int32
	reader chan struct{} // holds up a reader until it is closed
}

func newCore(t *testing.T) *core {
	t.Helper()
	c := &core{feed: newFeed("log"), t: t, reader: make(chan struct{})}
	c.open(7)
	return c
}

// lock adds a lock at a position, first to the table, as a store does.
func (c *core) lock(at store.Seq) {
	id := fmt.Sprint("user", at)
	c.locks.Store(id, true)
	c.add(&store.Applied{Seq: at, Restricts: true, Deciding: []store.Change{lockOf(id)}})
}

func (c *core) read() (all []store.Change) {
	c.reads.Add(1)
	c.locks.Range(func(id, _ any) bool {
		all = append(all, lockOf(id.(string)))
		return true
	})
	<-c.reader
	return all
}

// follows lets an edge begin, and checks that it gets everything up to a position.
func (c *core) follows(at store.Seq) {
	c.t.Helper()
	e, err := c.attach(hello{Edge: "e"}, c.read)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer c.detach(e)
	got, complete, last := map[string]bool{}, false, lease.Position(0)
	for _, b := range e.out.take() {
		var m toEdge
		if err := json.Unmarshal(b.GetValue(), &m); err != nil {
			c.t.Fatal(err)
		}
		switch {
		case m.Part != nil:
			for _, l := range m.Part.Changes {
				got[l.ID] = true
			}
			complete, last = !m.Part.More, m.Part.At
		case complete && m.Change.At > last:
			got[m.Change.Changes[0].ID], last = true, m.Change.At
		default:
			c.t.Errorf("the change at %d comes after %d, complete %t", m.Change.At, last, complete)
		}
	}
	for seq := store.Seq(8); seq <= at; seq++ {
		if !got[fmt.Sprint("user", seq)] {
			c.t.Errorf("an edge that began when %d was in force does not have the lock of %d", at, seq)
			return
		}
	}
}

// TestOneSnapshotForMany: edges that begin together get one snapshot that is written once, with the changes since.
// Nobody gets one that is old, or from which changes are missing.
func TestOneSnapshotForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCore(t)
		c.lock(8)
		var edges sync.WaitGroup
		for range 100 {
			edges.Go(func() { c.follows(9) })
		}
		synctest.Wait() // all wait for the reader
		c.lock(9)
		close(c.reader)
		edges.Wait()
		time.Sleep(imageAge) // of the clock of synctest
		c.lock(10)
		c.follows(10)
		if n := c.reads.Load(); n != 1 {
			t.Errorf("the snapshot for 101 edges was written %d times, want 1", n)
		}
		time.Sleep(time.Second)
		c.add(&store.Applied{Seq: 11}) // a heartbeat
		if c.image != nil {
			t.Error("an old snapshot stays in memory")
		}
		c.follows(10)
		if n := c.reads.Load(); n != 2 {
			t.Errorf("after %s the snapshot has been written %d times, want 2", imageAge, n)
		}
		for at := store.Seq(12); at < 12+2*maxKept; at++ {
			c.lock(at)
		}
		c.locks.Store("user11", true) // where the heartbeat was
		c.follows(11 + 2*maxKept)
		if n := c.reads.Load(); n != 3 {
			t.Errorf("with a snapshot whose next changes are gone it has been written %d times, want 3", n)
		}
	})
}

// TestSnapshotTooLate: an edge does not follow from a snapshot if the changes behind it are gone when it is written.
func TestSnapshotTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCore(t)
		refused := make(chan error, 1)
		go func() {
			_, err := c.attach(hello{Edge: "e"}, c.read)
			refused <- err
		}()
		synctest.Wait()
		for at := store.Seq(8); at < 9+2*maxKept; at++ {
			c.lock(at)
		}
		close(c.reader)
		if err := <-refused; err == nil || c.len() != 0 {
			t.Errorf("attach = %v with %d edges, want an error and none", err, c.len())
		}
		c.follows(8 + 2*maxKept)
	})
}
