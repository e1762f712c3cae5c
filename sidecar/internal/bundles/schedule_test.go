package bundles_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// crowd counts the questions to its sources.
type crowd struct{ now, most, all atomic.Int64 }

// member is a source that answers after takes. Zero is never.
type member struct {
	*crowd
	name  string
	takes time.Duration
	mark  bundles.Mark
}

func (s *member) Fetch(ctx context.Context, _ bundles.Mark) (bundles.Fetched, error) {
	s.all.Add(1)
	now := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	var end <-chan time.Time
	if s.takes > 0 {
		end = time.After(s.takes)
	}
	select {
	case <-end:
		return bundles.Fetched{Mark: s.mark}, nil
	case <-ctx.Done():
		return bundles.Fetched{}, ctx.Err()
	}
}

func (s *member) String() string { return s.name }

// run starts the manager. stop ends it and waits for all of its work.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ran := make(chan struct{})
	go func() { w.m.Run(ctx); close(ran) }()
	return func() { cancel(); <-ran }
}

// many returns n tenants with sources of c.
func many(n int, c *crowd, takes time.Duration, mark bundles.Mark) (out []bundles.Tenant) {
	for i := range n {
		name := fmt.Sprintf("t%04d", i)
		out = append(out, bundles.Tenant{Name: name, Source: &member{c, name, takes, mark}})
	}
	return out
}

// TestThousandSources: of a thousand sources a few are asked at once, and all are, as often as they should be.
func TestThousandSources(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(t), &crowd{}
		w.tenants(many(n, c, 10*time.Millisecond, bundles.Mark{})...)
		stop := w.run()
		time.Sleep(2 * time.Second) // of the clock of this test
		if c.all.Load() != n || c.most.Load() != bundles.MaxAsking {
			t.Errorf("%d questions, %d at once, want %d, %d at once", c.all.Load(), c.most.Load(), n, bundles.MaxAsking)
		}
		time.Sleep(2 * time.Hour) // a fetch each hour, up to a quarter earlier
		if all := c.all.Load(); all < 3*n || all > 4*n || c.most.Load() != bundles.MaxAsking {
			t.Errorf("%d questions in two hours, %d at once", all, c.most.Load())
		}
		w.tenants()
		synctest.Wait()
		all := c.all.Load()
		if time.Sleep(5 * time.Hour); c.all.Load() != all {
			t.Error("sources of tenants that are gone are asked")
		}
		stop()
	})
}

// TestHangingSources: a hundred sources that never answer let one that works wait for some seconds. All of them end
// with the manager.
func TestHangingSources(t *testing.T) {
	const n = 100
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(t), &crowd{}
		w.tenants(many(n, c, 0, bundles.Mark{})...)
		stop := w.run()
		synctest.Wait()
		file := filepath.Join(w.dir, "bundle.tar.gz")
		if err := os.WriteFile(file, pack(t, "one", "1", ""), 0o600); err != nil {
			t.Fatal(err)
		}
		w.tenants(append(many(n, c, 0, bundles.Mark{}), bundles.Tenant{Name: "a", Source: bundles.File(file)})...)
		time.Sleep((2*n/bundles.MaxAsking + 2) * bundles.AskingTime)
		synctest.Wait()
		if w.m.Status()[0].Active == nil {
			t.Error("the source that works was not asked")
		}
		if c.now.Load() != n {
			t.Errorf("%d sources are waited for, want %d", c.now.Load(), n)
		}
		if stop(); c.now.Load() != 0 {
			t.Errorf("%d questions go on after the manager ended", c.now.Load())
		}
	})
}

// TestWaitingSources: sources that answer when there is a change keep no slot.
func TestWaitingSources(t *testing.T) {
	const n = 200
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(t), &crowd{}
		w.tenants(many(n, c, 4*time.Minute, bundles.Mark{ID: "1", Waits: true})...)
		stop := w.run()
		defer stop()
		time.Sleep(4*time.Minute + (n/bundles.MaxAsking+2)*bundles.AskingTime + 2*time.Second)
		c.most.Store(0)
		time.Sleep(time.Minute)
		if c.now.Load() != n {
			t.Errorf("%d questions wait at the servers, want %d", c.now.Load(), n)
		}
	})
}

// TestCompilingWaitsForASlot: a bundle waits for its slot, and one that does not end stops the others only for a time.
func TestCompilingWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenants(bundles.Tenant{Name: "acme"})
		raw := pack(t, "one", "1", "")
		release := w.m.HoldCompiling()
		pushed := make(chan error, 1)
		go func() {
			_, err := w.m.Push(t.Context(), "acme", raw, w.record)
			pushed <- err
		}()
		synctest.Wait()
		if len(pushed) > 0 || w.active() != "" {
			t.Fatal("the push did not wait for its slot")
		}
		release()
		if err := <-pushed; err != nil || w.active() != "one" {
			t.Errorf("with a slot: %v, %q in force", err, w.active())
		}
	})
}

// TestManyKeptBundles: after a restart, the kept bundles of many tenants are in force before the first request. It
// logs how long that takes.
func TestManyKeptBundles(t *testing.T) {
	const n = 200
	if testing.Short() {
		t.Skip("it compiles many bundles")
	}
	w := newWorld(t)
	list := []bundles.Tenant{{Name: "acme"}}
	w.tenants(list...)
	if err := w.push("one", "1", ""); err != nil {
		t.Fatal(err)
	}
	sum := w.m.Status()[0].Active.SHA256
	for i := range n - 1 {
		name := fmt.Sprintf("t%04d", i)
		list = append(list, bundles.Tenant{Name: name})
		d := w.log["acme"]
		d.Tenant = name
		w.log[name], w.bytes[name+sum] = d, w.bytes["acme"+sum]
	}
	w.open()
	begin := time.Now()
	w.tenants(list...)
	t.Logf("%d bundles are in force after %s", len(w.rules), time.Since(begin).Round(time.Millisecond))
	if len(w.rules) != n || w.m.Ready() != nil {
		t.Errorf("%d bundles are in force, want %d; ready: %v", len(w.rules), n, w.m.Ready())
	}
}
