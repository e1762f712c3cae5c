package sidecar

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	usualGC = 100      // per cent of the heap in use: what the runtime uses by itself
	garbage = 24 << 20 // bytes of garbage between two collections of an edge
	leastGC = 25       // per cent, so that a large heap is not collected all the time
	mostGC  = 800
)

// gcPace lets the garbage collector of an edge run each time that a fixed amount of garbage has come together. By
// itself it runs when the heap has doubled. The heap of an edge without locks is so small that it would run several
// times as often as in a process with a store, and that of one with 100,000 locks would have twice the memory that they
// need.
type gcPace struct {
	mu      sync.Mutex
	percent int64 // zero after the end
}

// paceGC starts the pace, unless whoever started the process has set another one with GOGC.
func paceGC() *gcPace {
	p := &gcPace{percent: usualGC}
	if set := debug.SetGCPercent(usualGC); set != usualGC {
		debug.SetGCPercent(set)
		p.percent = 0
	}
	p.adjust()
	return p
}

// adjust sets the pace for the heap of the newest collection, and waits for the next.
func (p *gcPace) adjust() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.percent == 0 {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	heap := max(live[0].Value.Uint64(), 1)
	want := min(max(100*garbage/int64(min(heap, 1<<40)), leastGC), mostGC)
	if want*10 < p.percent*9 || want*9 > p.percent*10 { // a change stops the process for a moment
		p.percent = want
		debug.SetGCPercent(int(want))
	}
	type object struct{ of *gcPace } // nobody has it, so each collection finds it
	runtime.SetFinalizer(&object{p}, func(*object) { p.adjust() })
}

// end sets the usual pace again.
func (p *gcPace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.percent != 0 {
		p.percent = 0
		debug.SetGCPercent(usualGC)
	}
}
