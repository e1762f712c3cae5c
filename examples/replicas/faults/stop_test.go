//go:build faults

package faults_test

import (
	"testing"
	"time"
)

// TestStopOfACutOffCore: a core that loses everything that it sends to other machines, also to Envoys, stops within
// its drain time. The others go on.
func TestStopOfACutOffCore(t *testing.T) {
	const (
		drain = 10 * time.Second // the default
		more  = 2 * time.Second
	)
	f := start(t, 1, "refuse")
	if err := f.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, silent := range map[string]time.Duration{"with a lease": 0, "without a lease": lease + lease/2} {
		core := one(f.Cores())
		heal := cut(f, core, append(f.Cores(), f.Edges()...))
		<-time.After(silent)
		began := time.Now()
		if err := f.Stop(core); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		took := time.Since(began).Round(time.Millisecond)
		t.Logf("%s: the core stopped after %s", name, took)
		if took > drain+more {
			t.Errorf("%s: the core stopped after %s, want %s at most", name, took, drain+more)
		}
		heal()
		if err := f.Start(core); err != nil {
			t.Fatal(err)
		}
		if err := f.Ready(t.Context(), core); err != nil {
			t.Fatal(err)
		}
	}
}
