package lease_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

func edgeRight(e *lease.Edge, now time.Duration) lease.Right { return e.Lease().Right(at(now), 0) }

// TestGrantCountsFromTheRenewal: and only once the projection has reached its position.
func TestGrantCountsFromTheRenewal(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	eff := e.Next(at(0), lease.EdgeTick{})
	if eff.Follow == nil || eff.Renew == nil {
		t.Fatalf("effects %+v, want a stream and a renewal", eff)
	}
	grant := lease.Grant{Edge: "e", Number: eff.Renew.Number, TTL: 10 * time.Second, Position: 0}
	eff = e.Next(at(time.Second), lease.Granted{Stream: 1, Grant: grant})
	if edgeRight(e, time.Second) != lease.Refuse || eff.Renew == nil {
		t.Fatal("an edge without a projection may decide, or does not renew")
	}
	grant = lease.Grant{Edge: "e", Number: eff.Renew.Number, TTL: 10 * time.Second, Position: 20}
	e.Next(at(2*time.Second), lease.Granted{Stream: 1, Grant: grant})
	eff = e.Next(at(2*time.Second), lease.Advanced{Position: 19, Restricts: true})
	if eff.Confirm == nil || eff.Confirm.Position != 19 {
		t.Errorf("effects %+v, want a confirmation of 19", eff)
	}
	if edgeRight(e, 10*time.Second) != lease.Refuse {
		t.Fatal("an edge decides with a grant whose position it has not reached")
	}
	eff = e.Next(at(3*time.Second), lease.Advanced{Position: 20})
	if eff.Confirm != nil {
		t.Errorf("confirmed %+v, although it restricts nothing", eff.Confirm)
	}
	if edgeRight(e, 11*time.Second-1) != lease.Decide || edgeRight(e, 11*time.Second) != lease.Refuse {
		t.Error("the lease does not end 10 s after the renewal was sent")
	}
}

// TestAccepts: an edge never goes back.
func TestAccepts(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	e.Next(at(0), lease.EdgeTick{})
	if e.Accepts(1, 5, false) {
		t.Error("a change without a snapshot is accepted")
	}
	e.Next(at(0), lease.Advanced{Position: 20, Restricts: true})
	e.Next(at(time.Second), lease.Broken{Stream: 1})
	if e.Accepts(1, 21, false) {
		t.Error("a change of a broken stream is accepted")
	}
	e.Next(at(2*time.Second), lease.EdgeTick{})
	for _, tc := range []struct {
		name     string
		stream   uint64
		at       lease.Position
		snapshot bool
		want     bool
	}{
		{"the next change", 2, 21, false, true},
		{"a change that it has", 2, 20, false, false},
		{"a change of the older stream", 1, 21, false, false},
		{"a newer snapshot", 2, 21, true, true},
		{"a snapshot of the same position", 2, 20, true, true},
		{"an older snapshot", 2, 19, true, false},
		{"a snapshot of the older stream", 1, 21, true, false},
	} {
		if got := e.Accepts(tc.stream, tc.at, tc.snapshot); got != tc.want {
			t.Errorf("%s: accepted %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestEdgeFollowsAnotherCore: when the stream breaks, but not in a tight loop, and when it is of no use.
func TestEdgeFollowsAnotherCore(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	e.Next(at(0), lease.EdgeTick{})
	eff := e.Next(at(time.Millisecond), lease.Broken{Stream: 1})
	if want := 249 * time.Millisecond; eff.Follow != nil || eff.Wake != want {
		t.Fatalf("effects %+v, want to wait %v", eff, want)
	}
	if eff = e.Next(at(250*time.Millisecond), lease.EdgeTick{}); eff.Follow == nil || eff.Follow.Stream != 2 {
		t.Fatalf("effects %+v, want stream 2", eff)
	}
	e.Next(at(3*time.Second), lease.Loading{Stream: 2})
	for now := 3 * time.Second; now < 6*time.Second; now += time.Second / 2 {
		if eff = e.Next(at(now), lease.EdgeTick{}); eff.Follow != nil {
			t.Fatalf("left a core at %v that sends a snapshot", now)
		}
	}
	if eff = e.Next(at(6*time.Second), lease.EdgeTick{}); eff.Follow == nil {
		t.Error("stays with a core that sends nothing for 3 s")
	}
}

// TestShorterGrant: a grant that ends earlier takes nothing away.
func TestShorterGrant(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	first := e.Next(at(0), lease.EdgeTick{}).Renew.Number
	e.Next(at(0), lease.Advanced{Position: 20})
	e.Next(at(0), lease.Granted{Stream: 1, Grant: lease.Grant{Number: first, TTL: 9 * time.Second}})
	second := e.Next(at(2*time.Second), lease.EdgeTick{}).Renew.Number
	e.Next(at(2*time.Second), lease.Granted{Stream: 1, Grant: lease.Grant{Number: second, TTL: 5 * time.Second}})
	if edgeRight(e, 9*time.Second-1) != lease.Decide {
		t.Error("the lease ends before the first grant does")
	}
}

// TestRenewsEveryFifth: an edge renews after a fifth of its grant, every second until a grant comes, and leaves a core
// that does not answer.
func TestRenewsEveryFifth(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	asked := e.Next(at(0), lease.EdgeTick{}).Renew.Number
	e.Next(at(0), lease.Advanced{Position: 20})
	grant := func(now, ttl time.Duration) lease.EdgeEffects {
		return e.Next(at(now), lease.Granted{Stream: 1, Grant: lease.Grant{Number: asked, TTL: ttl}})
	}
	if eff := grant(time.Second, 15*time.Second); eff.Renew != nil || eff.Wake != 2*time.Second {
		t.Fatalf("effects %+v of a grant of 15 s after 1 s, want to wait until 3 s", eff)
	}
	asked = e.Next(at(3*time.Second), lease.EdgeTick{}).Renew.Number
	if eff := grant(3*time.Second, 2*time.Second); eff.Renew != nil || eff.Wake != time.Second {
		t.Fatalf("effects %+v of a grant of 2 s, want to wait for a heartbeat", eff)
	}
	for now := 4 * time.Second; now < 6*time.Second; now += time.Second {
		if eff := e.Next(at(now), lease.EdgeTick{}); eff.Renew == nil || eff.Follow != nil {
			t.Errorf("effects %+v at %v without a grant, want a renewal over the same stream", eff, now)
		}
	}
	if eff := e.Next(at(6*time.Second), lease.EdgeTick{}); eff.Follow == nil {
		t.Error("stays with a core that has not answered for two heartbeats")
	}
}

// TestBrokenStreamKeepsTheLease: and a grant that comes late over it does not count.
func TestBrokenStreamKeepsTheLease(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	first := e.Next(at(0), lease.EdgeTick{}).Renew.Number
	e.Next(at(0), lease.Advanced{Position: 20})
	e.Next(at(0), lease.Granted{Stream: 1, Grant: lease.Grant{Number: first, TTL: 5 * time.Second}})
	second := e.Next(at(time.Second), lease.EdgeTick{}).Renew.Number
	e.Next(at(time.Second), lease.Broken{Stream: 1})
	e.Next(at(time.Second), lease.Granted{Stream: 1, Grant: lease.Grant{Number: second, TTL: 9 * time.Second}})
	if edgeRight(e, 5*time.Second-1) != lease.Decide || edgeRight(e, 5*time.Second) != lease.Refuse {
		t.Error("the lease of the broken stream did not last for exactly 5 s")
	}
}

func TestEdgeDrain(t *testing.T) {
	e := lease.NewEdge("e", lease.Options{})
	first := e.Next(at(0), lease.EdgeTick{}).Renew.Number
	e.Next(at(0), lease.Advanced{Position: 20})
	grant := lease.Granted{Stream: 1, Grant: lease.Grant{Number: first, TTL: 5 * time.Second}}
	e.Next(at(0), grant)
	eff := e.Next(at(time.Second), lease.EdgeDrain{})
	if eff.Confirm == nil || !eff.Confirm.Done {
		t.Errorf("effects %+v, want a confirmation that it is done", eff)
	}
	e.Next(at(time.Second), grant)
	if e.Lease().Right(at(time.Second), time.Hour) != lease.Refuse {
		t.Error("decides after the end")
	}
}

// TestSince: the largest progress counts.
func TestSince(t *testing.T) {
	start := lease.Reading{Monotonic: time.Hour, Boot: 2 * time.Hour, Wall: 500_000 * time.Hour}
	for _, tc := range []struct {
		name                  string
		monotonic, boot, wall time.Duration
		want                  time.Duration
	}{
		{"all agree", 5, 5, 5, 5},
		{"the machine was suspended", 5, 65, 65, 65},
		{"the virtual machine was paused", 5, 5, 65, 65},
		{"the wall clock was set back", 5, 5, -3600, 5},
		{"the wall clock was set forward", 5, 5, 3605, 3605},
	} {
		now := start
		now.Monotonic += tc.monotonic
		now.Boot += tc.boot
		now.Wall += tc.wall
		if got := now.Since(start); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
