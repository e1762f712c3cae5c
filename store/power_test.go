//go:build root && linux

package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestRootPowerFailure: when the machine of a store loses its power under load, no acknowledged change is lost, and
// no change is half done. It happens six times.
func TestRootPowerFailure(t *testing.T) {
	disk := storetest.NewDisk(t)
	dir := filepath.Join(disk.Dir, "store")
	total, acked := 0, map[string]string{}
	for k := range 6 {
		total += crashRound(t, dir, fmt.Sprint("r", k), acked, func(p *os.Process) {
			storetest.CutPower(t, []*os.Process{p}, disk)
		})
		disk.Restart(t)
		rep, err := store.Verify(t.Context(), dir)
		if err != nil {
			t.Fatalf("power failure %d: verifying: %v", k, err)
		}
		for _, f := range rep.Findings {
			t.Errorf("power failure %d: finding: %s", k, f)
		}
	}
	checkAllAcked(t, dir, acked)
	t.Logf("%d changes acknowledged", total)
}
