package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// BenchmarkConfirm measures the time from the commit of a lock until three cores and 100 edges have confirmed it, at
// each of 200 deactivations. All are in this process, and talk over loopback.
func BenchmarkConfirm(b *testing.B) {
	const edges, locks = 100, 200
	defer func(former lease.Options) { term = former }(term)
	term = lease.Options{} // the defaults
	nodes := three(b)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.serveEdges(b))
	}
	for i := range edges {
		startEdge(b, fmt.Sprint("e", i), addrs[i%3])
	}
	for i := range locks {
		name := fmt.Sprint("user", i)
		u := &store.User{ID: name, Resource: scim.Object{"userName": name, "active": true}}
		if _, err := nodes[0].store.Update(b.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
			return tx.CreateUser(u)
		}); err != nil {
			b.Fatal(err)
		}
	}
	var took []time.Duration
	b.ResetTimer()
	for range b.N {
		took = took[:0]
		for i := range locks {
			n := nodes[0]
			if _, err := n.store.Update(b.Context(), "acme", storetest.Cause("user.patch"), func(tx *store.Tx) error {
				u, err := tx.User(fmt.Sprint("user", i))
				if err != nil {
					return err
				}
				u.Resource["active"] = !u.Active()
				_, err = tx.UpdateUser(&u)
				return err
			}); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			a, err := n.Confirm(b.Context())
			if err != nil || len(a.Unconfirmed) > 0 {
				b.Fatalf("Confirm = %+v, %v", a, err)
			}
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	ms := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1000 }
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
}

// BenchmarkSnapshot starts an edge that gets the locks of b.N users from a core. Both are in this process, so the
// processor time is that of the core and the edge.
func BenchmarkSnapshot(b *testing.B) {
	const part = 20 // users of a change: each has jobs
	n := start(b, storetest.SharedLog(b), &bus{fns: map[*post]func([]byte){}}, "a")
	for base := 0; base < b.N; base += part {
		if _, err := n.store.Update(b.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
			for i := base; i < min(base+part, b.N); i++ {
				name := fmt.Sprintf("person.%07d", i)
				u := &store.User{Resource: scim.Object{
					"userName": name, "externalId": fmt.Sprintf("00u%07d", i), "active": false,
					"emails": []any{scim.Object{"value": name + "@acme.example"}},
				}}
				if err := tx.CreateUser(u); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	addr := n.serveEdges(b)
	memory, before := inUse(), cpu(b)
	b.ResetTimer()
	e := startEdge(b, "e", addr)
	b.StopTimer()
	locks := float64(b.N)
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/locks, "cpu-µs/lock")
	b.ReportMetric((inUse()-memory)/locks, "B/lock")
	if e.locks.Len() != b.N {
		b.Fatalf("the edge has %d locks, want %d", e.locks.Len(), b.N)
	}
}
