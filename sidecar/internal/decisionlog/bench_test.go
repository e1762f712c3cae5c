package decisionlog_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

// processor is the time of the processor that this process has taken.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecision measures the processor time of a decision in the log, with a file. The bar is 15 µs.
func BenchmarkDecision(b *testing.B) {
	l, _ := newLog(b, decisionlog.Settings{Buffer: 1 << 20, Destinations: []decisionlog.Destination{
		decisionlog.File{Path: filepath.Join(b.TempDir(), "d.jsonl"), Max: 1 << 30, Keep: 1},
	}})
	before := processor(b)
	b.ReportAllocs()
	for i := range b.N {
		l.Add(record("acme", i))
	}
	l.Close()
	b.ReportMetric(float64((processor(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}
