package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/store"
)

// TestEdgeCannotFillTheTrail: an edge that does not keep its rate writes no more records of a tenant than several
// that do, and other tenants have theirs.
func TestEdgeCannotFillTheTrail(t *testing.T) {
	t.Parallel()
	rates, err := limit.New()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	written := map[string]int{}
	n := &edgeNotes{
		rates: rates, now: func() time.Time { return now },
		write: func(_ context.Context, r *appRecord) error { written[r.Tenant]++; return nil },
	}
	send := func(tenant, action string) error {
		b, err := json.Marshal(&appRecord{Tenant: tenant, Cause: store.Cause{Action: action}})
		if err != nil {
			t.Fatal(err)
		}
		return n.note(t.Context(), b)
	}
	var refused error
	for range 2 * notesBurst {
		refused = errors.Join(refused, send("acme", actionLocalWrite))
	}
	if written["acme"] != notesBurst || !errors.Is(refused, cluster.ErrNote) {
		t.Errorf("%d records written, %v, want %d and that the others are refused", written["acme"], refused, notesBurst)
	}
	if err := send("globex", actionExemptUsed); err != nil || written["globex"] != 1 {
		t.Errorf("a record of another tenant: %v", err)
	}
	now = now.Add(time.Second)
	if err := send("acme", actionLocalWrite); err != nil {
		t.Errorf("a record a second later: %v", err)
	}
	if err := send("globex", "user.patch"); !errors.Is(err, cluster.ErrNote) {
		t.Errorf("a record of another action: %v, want ErrNote", err)
	}
}
