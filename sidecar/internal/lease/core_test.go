package lease_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// at is a reading of clocks that agree.
func at(d time.Duration) lease.Reading { return lease.Reading{Monotonic: d, Boot: d, Wall: d} }

// heartbeat returns the only heartbeat among the records to append.
func heartbeat(t *testing.T, eff lease.Effects) lease.Heartbeat {
	t.Helper()
	for _, r := range eff.Append {
		if h, ok := r.(lease.Heartbeat); ok {
			return h
		}
	}
	t.Fatalf("effects %+v, want a heartbeat", eff)
	return lease.Heartbeat{}
}

// TestLeaseCountsFromBeforeTheAppend: however late its heartbeat appears in the log, a core decides
// for 15 s from the moment before the first attempt to append it.
func TestLeaseCountsFromBeforeTheAppend(t *testing.T) {
	c := lease.NewCore("a", lease.Options{}, at(0), 1, nil)
	if got := c.Lease().Right(at(0), time.Hour); got != lease.Refuse {
		t.Fatalf("a new core has the right %d, want none", got)
	}
	beat := heartbeat(t, c.Next(at(0), lease.Tick{}))
	c.Next(at(14*time.Second), lease.Applied{Position: 2, Record: beat})
	for _, tc := range []struct {
		name  string
		now   time.Duration
		serve time.Duration
		want  lease.Right
	}{
		{"before the end", 15*time.Second - 1, 0, lease.Decide},
		{"at the end", 15 * time.Second, 0, lease.Refuse},
		{"at the end, the application serves", 15 * time.Second, time.Second, lease.Stale},
		{"the application no longer serves", 16 * time.Second, time.Second, lease.Refuse},
	} {
		if got := c.Lease().Right(at(tc.now), tc.serve); got != tc.want {
			t.Errorf("%s: right %d, want %d", tc.name, got, tc.want)
		}
	}
}
