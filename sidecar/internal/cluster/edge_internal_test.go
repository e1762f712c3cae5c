package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
)

func lockOf(id string) store.Change {
	return store.Change{Tenant: "acme", Type: store.ChangeLock, ID: id, Lock: &store.Lock{
		Tenant: "acme", UserID: id, State: store.LockDeactivated, UserNames: []string{id},
	}}
}

// TestLateEndOfAStream: what comes late of a former stream does not cut the snapshot that is coming in.
func TestLateEndOfAStream(t *testing.T) {
	locks := store.NewLockTable(time.Now)
	e, err := NewEdge(EdgeOptions{
		Name: "e", Cores: []string{"127.0.0.1:1"}, Locks: locks, Lease: lease.Options{Heartbeat: time.Millisecond},
		Forget: func(*store.Change) {}, Reset: func() {}, Cut: func(context.Context, string) {},
		CutAll: func(context.Context) {}, Lost: func(context.Context) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop() // streams end at once
	e.next(ctx, lease.EdgeTick{})
	for e.stream.number < 2 {
		e.next(ctx, lease.Broken{Stream: 1})
	}
	a := applier{Edge: e}
	a.take(ctx, &arrival{stream: 2, toEdge: toEdge{Part: &part{At: 7, Changes: []store.Change{lockOf("ada")}, More: true}}})
	a.take(ctx, &arrival{stream: 1, err: context.Canceled})
	a.take(ctx, &arrival{stream: 2, toEdge: toEdge{Part: &part{At: 7, Changes: []store.Change{lockOf("bob")}}}})
	if locks.Len() != 2 || !e.loaded.Load() {
		t.Errorf("%d locks are in force, complete %t, want both", locks.Len(), e.loaded.Load())
	}
	e.working.Wait()
}

// TestPartsAreBounded: every part of a snapshot fits into a message, whatever the names of users are, and none is lost.
func TestPartsAreBounded(t *testing.T) {
	var all []store.Change
	for i := range 100 {
		c := lockOf(fmt.Sprint("user", i))
		for j := range 250 {
			c.Lock.Emails = append(c.Lock.Emails, fmt.Sprint(j, strings.Repeat("&", 130)))
		}
		all = append(all, c)
	}
	parts, count := partsOf("log", 7, all), 0
	for i, b := range parts {
		var m toEdge
		if err := json.Unmarshal(b.GetValue(), &m); err != nil || len(b.GetValue()) > maxMessage/4 {
			t.Errorf("part %d has %d bytes, %v", i, len(b.GetValue()), err)
		}
		if m.Part.More != (i < len(parts)-1) {
			t.Errorf("part %d of %d: more = %t", i, len(parts), m.Part.More)
		}
		count += len(m.Part.Changes)
	}
	if count != len(all) || len(parts) < 3 {
		t.Errorf("%d parts with %d locks, want at least 3 with %d", len(parts), count, len(all))
	}
}
