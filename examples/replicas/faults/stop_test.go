//go:build faults

package faults_test

import (
	"testing"
	"time"
)

// TestStopOfACutOffCore: a core that loses everything that it sends to other machines, also to Envoys, stops within
// its drain time, and at once when its lease has ended. The others go on.
func TestStopOfACutOffCore(t *testing.T) {
	const (
		drain = 10 * time.Second // the default
		more  = 2 * time.Second
	)
	f := start(t, 1, "refuse")
	if err := f.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]struct{ cut, most time.Duration }{
		"with a lease":    {most: drain + more},
		"without a lease": {cut: lease + lease/2, most: drain + more},
	} {
		core := one(f.Cores())
		heal := cut(f, core, append(f.Cores(), f.Edges()...))
		<-time.After(run.cut)
		began := time.Now()
		if err := f.Stop(core); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		took := time.Since(began).Round(time.Millisecond)
		t.Logf("%s: the core stopped after %s", name, took)
		if took > run.most {
			t.Errorf("%s: the core stopped after %s, want %s at most", name, took, run.most)
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
