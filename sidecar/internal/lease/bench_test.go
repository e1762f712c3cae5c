package lease_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// BenchmarkLock is the work of a core for one lock that 100 edges and two cores confirm.
func BenchmarkLock(b *testing.B) {
	const edges = 100
	c := lease.NewCore("a", lease.Options{}, at(0), 1, []lease.Member{{Core: "b"}, {Core: "c"}})
	beat := c.Next(at(0), lease.Tick{}).Append[0]
	c.Next(at(0), lease.Applied{Position: 2, Record: beat})
	ids := make([]lease.ID, edges)
	for i := range ids {
		ids[i] = lease.ID(fmt.Sprintf("edge%d", i))
		c.Next(at(0), lease.Renewal{Edge: ids[i], Number: 1, Position: 1})
	}
	p, answers := lease.Position(2), 0
	for b.Loop() {
		p++
		now := at(time.Millisecond)
		c.Next(now, lease.Applied{Position: p, Restricts: true})
		c.Next(now, lease.Ask{Ticket: 1, Position: p})
		for _, id := range ids {
			c.Next(now, lease.EdgeConfirmation{Edge: id, Position: p})
		}
		for _, id := range []lease.ID{"b", "c"} {
			answers += len(c.Next(now, lease.Confirmation{Core: id, Position: p}).Answers)
		}
	}
	if answers != b.N {
		b.Fatalf("%d answers to %d locks", answers, b.N)
	}
}

// BenchmarkRight is what the lease costs a Check, without the reading of the clocks.
func BenchmarkRight(b *testing.B) {
	c := lease.NewCore("a", lease.Options{}, at(0), 1, nil)
	beat := c.Next(at(0), lease.Tick{}).Append[0]
	c.Next(at(0), lease.Applied{Position: 2, Record: beat})
	l := c.Lease()
	for b.Loop() {
		if l.Right(at(time.Second), 0) != lease.Decide {
			b.Fatal("no lease")
		}
	}
}
