package lease

import "time"

// margin covers clocks whose rates differ by 1 %. Whoever waits for the end of another process's
// lease waits this much longer.
const margin = 1.01

// Reading is what the clocks of this machine show at one moment. Only differences of two readings
// of the same process mean anything.
type Reading struct {
	Monotonic time.Duration // CLOCK_MONOTONIC, which stands still while the machine is suspended
	Boot      time.Duration // CLOCK_BOOTTIME, which continues then
	Wall      time.Duration // since the Unix epoch; somebody may set it forward or back
}

// Since returns the time that has passed since an earlier reading: the largest progress of the three
// clocks. It may be too long, when the wall clock was set forward, and is never too short. So it
// ends a lease of this process in time.
//
// For the lease of another process the safe side is the other one. There the package counts
// Monotonic only, which a wall clock that was set forward cannot shorten.
func (r Reading) Since(earlier Reading) time.Duration {
	return max(r.Monotonic-earlier.Monotonic, r.Boot-earlier.Boot, r.Wall-earlier.Wall)
}

// stretch returns how long to wait for a lease of another process that lasts d on its clock.
func stretch(d time.Duration) time.Duration { return time.Duration(float64(d) * margin) }

// sent remembers when numbered messages were sent.
type sent struct {
	last uint64
	at   map[uint64]Reading
}

// next returns the number of a message that is about to be sent. It forgets messages that are so old
// that an answer to them is worth nothing.
func (s *sent) next(now Reading, worth time.Duration) uint64 {
	if s.at == nil {
		s.at = map[uint64]Reading{}
	}
	for n, at := range s.at {
		if now.Since(at) >= worth {
			delete(s.at, n)
		}
	}
	s.last++
	s.at[s.last] = now
	return s.last
}
