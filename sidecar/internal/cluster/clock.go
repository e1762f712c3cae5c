package cluster

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// read reads the three clocks of this machine.
func read() lease.Reading {
	return lease.Reading{
		Monotonic: clock(unix.CLOCK_MONOTONIC), Boot: clock(unix.CLOCK_BOOTTIME), Wall: clock(unix.CLOCK_REALTIME),
	}
}

func clock(id int32) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0 // the clock does not exist here, and never did
	}
	return time.Duration(t.Nano())
}
