package faults_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/storetest"
)

var (
	runFor = flag.Duration("faults.for", 10*time.Second, "how long new faults begin")
	pauses = flag.Bool("faults.pause", false, "also stop servers with SIGSTOP")
)

// rig is three stores on the log of three servers.
type rig struct {
	t       *testing.T
	cluster *clustertest.Cluster
	stores  []*store.Store
}

// open opens a store with a copy of its own, at server i first.
func (r *rig) open(i int) *store.Store { return r.openOn(r.cluster.Options(r.t, "0", i)) }

func (r *rig) openOn(o jetstream.Options) *store.Store {
	o.Incarnation = machine.Incarnation
	shared := clustertest.Open(r.t, o)
	return storetest.Open(r.t, func(o *store.Options) { o.Shared = shared })
}

// accept waits until every one of some stores has written to the log.
func (r *rig) accept(stores ...*store.Store) {
	var all sync.WaitGroup
	for _, s := range stores {
		all.Go(func() {
			again := time.NewTicker(50 * time.Millisecond)
			defer again.Stop()
			for {
				if _, err := s.Barrier(r.t.Context()); err == nil || r.t.Context().Err() != nil {
					return
				}
				<-again.C // no event says when the log accepts records again
			}
		})
	}
	all.Wait()
}

// kill ends servers with SIGKILL, waits for the others if they are most, and starts them again.
func (r *rig) kill(servers ...int) {
	for _, i := range servers {
		r.cluster.Stop(i)
	}
	if len(servers) == 1 {
		r.accept(r.stores...)
	}
	for _, i := range servers {
		r.cluster.RunProcess(r.t, i)
	}
	r.accept(r.stores...)
}

// pause stops a server with SIGSTOP until the others accept records.
func (r *rig) pause(i int) {
	r.cluster.Pause(r.t, i)
	r.accept(r.stores...)
	r.cluster.Continue(r.t, i)
	r.accept(r.stores...)
}

// TestFaults: whatever happens to the servers of the log, no acknowledged write is lost, the answers are those of one
// store that does one thing at a time, and every copy and a fresh replay have the same audit chain.
func TestFaults(t *testing.T) {
	r := &rig{t: t, cluster: clustertest.New(t, 3)}
	for i := range 3 {
		r.cluster.RunProcess(t, i)
	}
	for i := range 3 {
		r.stores = append(r.stores, r.open(i))
	}
	type fault struct {
		name string
		do   func(leader int)
	}
	faults := []fault{
		{"SIGKILL of the leader", func(leader int) { r.kill(leader) }},
		{"SIGKILL of a follower", func(leader int) { r.kill((leader + 1) % 3) }},
		{"SIGKILL of all servers", func(int) { r.kill(0, 1, 2) }},
	}
	if *pauses {
		faults = append(faults, fault{"SIGSTOP of the leader", r.pause},
			fault{"SIGSTOP of a follower", func(leader int) { r.pause((leader + 2) % 3) }})
	}
	for begin, n := time.Now(), 0; n == 0 || time.Since(begin) < *runFor; n++ {
		f := faults[0]
		if n > 0 {
			f = faults[rand.IntN(len(faults))]
		}
		storetest.Linearizable(t, storetest.Directories(r.stores), 20, func() {
			start := time.Now()
			f.do(r.cluster.Leader(t, "0"))
			t.Logf("%s: all accept writes again after %s", f.name, time.Since(start).Round(time.Millisecond))
		})
		if t.Failed() {
			return
		}
	}
	r.equal()
}

// equal checks that every copy has the audit chain of a fresh replay.
func (r *rig) equal() {
	r.accept(r.stores...)
	fresh := r.open(0)
	want := chain(r.t, fresh)
	for i, s := range r.stores {
		if diff := cmp.Diff(want, chain(r.t, s)); diff != "" {
			r.t.Errorf("the audit chain of store %d is not that of a fresh replay (-replay +store):\n%s", i, diff)
		}
		if v, err := s.Verify(r.t.Context()); err != nil || !v.OK() {
			r.t.Errorf("Verify of store %d = %v, %v, want no findings", i, v.Findings, err)
		}
	}
}

// chain is the head of the audit chain, which covers every change.
func chain(t *testing.T, s *store.Store) (head string) {
	t.Helper()
	if err := s.View(t.Context(), "acme", func(r *store.Reader) error {
		var hash audit.Hash
		var seq store.Seq
		var err error
		hash, seq, err = r.AuditHead()
		head = fmt.Sprintf("%d %x", seq, hash)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return head
}
