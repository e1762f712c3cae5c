package cluster

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// epoch is where the monotonic clock of a reading begins. Only differences count.
var epoch = time.Now() //nolint:gochecknoglobals // it never changes

// read reads the three clocks of this machine. Every Check does: the runtime reads two of them without a call of the
// kernel.
func read() lease.Reading {
	now := time.Now()
	return lease.Reading{Monotonic: now.Sub(epoch), Boot: sinceBoot(), Wall: time.Duration(now.UnixNano())}
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0 // the clock does not exist here, and never did
	}
	return time.Duration(t.Nano())
}
