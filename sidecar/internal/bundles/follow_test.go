package bundles_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// TestBackOff: a place that fails is asked less and less often, at most ten times less and after five minutes, and
// many tenants do not ask at once.
func TestBackOff(t *testing.T) {
	for _, c := range []struct {
		every    time.Duration
		failures int
		want     time.Duration
	}{
		{time.Minute, 0, time.Minute},
		{time.Minute, 1, time.Minute},
		{time.Minute, 2, 2 * time.Minute},
		{time.Minute, 4, 5 * time.Minute},
		{time.Minute, 1000, 5 * time.Minute},
		{time.Second, 3, 4 * time.Second},
		{time.Second, 1000, 10 * time.Second},
		{time.Hour, 1000, time.Hour},
	} {
		longest := bundles.WaitBefore(c.every, c.failures, 0)
		shortest := bundles.WaitBefore(c.every, c.failures, 1)
		if longest != c.want || shortest != c.want*3/4 {
			t.Errorf("after %d failures, every %s: %s to %s, want up to %s",
				c.failures, c.every, shortest, longest, c.want)
		}
	}
}
