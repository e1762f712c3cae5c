//go:build root && linux

package faults_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

// split is a rig whose servers are hosts of a network. Store i knows server i only, as if it were on the same machine.
// The last store knows all servers.
type split struct {
	rig
	lan   *lan
	acked acknowledged
}

func newSplit(t *testing.T) *split {
	t.Helper()
	s := &split{lan: newLAN(t, 3)}
	s.t, s.cluster = t, clustertest.NewAt(t, s.lan.ips[:3]...)
	s.cluster.Enter = func(i int) []string { return enter(s.lan.pids[i]) }
	for i := range 3 {
		s.cluster.RunProcess(t, i)
	}
	for i := range 3 {
		o := s.cluster.Options(t, "0", i)
		o.URLs = o.URLs[:1]
		s.stores = append(s.stores, s.openOn(o))
	}
	s.stores = append(s.stores, s.open(s.cluster.Leader(t, "0")))
	return s
}

// refuses checks that stores acknowledge nothing until the returned function is called.
func (s *split) refuses(stores ...*store.Store) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan int, len(stores))
	for _, one := range stores {
		go func() {
			acknowledged := 0
			for ctx.Err() == nil {
				if _, err := one.Barrier(ctx); err == nil {
					acknowledged++
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond): // no event says that a store refuses
				}
			}
			ended <- acknowledged
		}()
	}
	return func() {
		cancel()
		for range stores {
			if n := <-ended; n > 0 {
				s.t.Errorf("a store that does not reach most servers acknowledged %d records", n)
			}
		}
	}
}

// write creates users in each store until stop, a moment after each other.
func (s *split) write() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var writers sync.WaitGroup
	for i, one := range s.stores {
		writers.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				if id := fmt.Sprintf("s%d-%d", i, n); createUser(ctx, one, id) == nil {
					s.acked.add(id)
				}
				<-pace.C
			}
		})
	}
	return func() { cancel(); writers.Wait() }
}

// between cuts connections until the stores that still reach most servers go on. The store in the minority, number k,
// acknowledges nothing. Then it heals them, and waits until all stores go on.
func (s *split) between(what string, cut func(leader int) (k int)) {
	s.t.Helper()
	k := cut(s.cluster.Leader(s.t, "0"))
	minority, majority := s.stores[k], slices.Delete(slices.Clone(s.stores), k, k+1)
	stop := s.refuses(minority)
	start := time.Now()
	s.accept(majority...)
	stop()
	onward := time.Since(start).Round(time.Millisecond)
	s.lan.heal()
	start = time.Now()
	s.accept(s.stores...)
	s.t.Logf("%s: the majority goes on after %s, and all %s after it healed", what, onward,
		time.Since(start).Round(time.Millisecond))
}

// TestRootPartition: when the network between the servers of the log is cut, nothing that was acknowledged is lost, the
// minority acknowledges nothing, the majority goes on, and when it is healed all go on by themselves.
func TestRootPartition(t *testing.T) {
	s := newSplit(t)
	stop := s.write()
	others := func(k int) []int { return []int{(k + 1) % 3, (k + 2) % 3} }
	s.between("the leader is cut off from the other servers, and not from the stores", func(leader int) int {
		for _, i := range others(leader) {
			s.lan.cut(leader, i)
			s.lan.cut(i, leader)
		}
		return leader
	})
	s.between("the other servers do not hear the leader", func(leader int) int {
		for _, i := range others(leader) {
			s.lan.cut(leader, i)
		}
		return leader
	})
	s.between("the leader does not hear the other servers", func(leader int) int {
		for _, i := range others(leader) {
			s.lan.cut(i, leader)
		}
		return leader
	})
	s.between("a follower is cut off from everything", func(leader int) int {
		k := (leader + 1) % 3
		for i := range s.lan.ips {
			s.lan.cut(k, i)
			s.lan.cut(i, k)
		}
		return k
	})
	stop()
	s.equal()
	s.acked.check(t, s.stores[0])
}
