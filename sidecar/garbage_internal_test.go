package sidecar

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// gcPercent is the pace that is set.
func gcPercent() int {
	now := debug.SetGCPercent(usualGC)
	debug.SetGCPercent(now)
	return now
}

// TestPaceGC: the pace follows the heap at each collection, and is the usual one after the end. The runtime has one
// pace for the process, so nothing else runs meanwhile.
func TestPaceGC(t *testing.T) {
	p := paceGC()
	defer p.end()
	until := func(most int64) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; runtime.GC() {
			p.mu.Lock()
			percent := p.percent
			p.mu.Unlock()
			if percent >= leastGC && percent <= most {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the pace is %d %%, want %d to %d", percent, leastGC, most)
			}
		}
	}
	heap := make([]byte, 64<<20)
	until(50)
	runtime.KeepAlive(heap)
	heap = make([]byte, 512<<20)
	until(leastGC)
	runtime.KeepAlive(heap)
	p.end()
	runtime.GC()
	if gcPercent() != usualGC {
		t.Errorf("the pace is %d %% after the end", gcPercent())
	}
	defer debug.SetGCPercent(debug.SetGCPercent(70))
	paceGC().end()
	if gcPercent() != 70 {
		t.Errorf("the pace is %d %%, although the environment says 70", gcPercent())
	}
}
