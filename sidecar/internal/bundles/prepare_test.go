package bundles_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// TestEndlessCompilation: a bundle whose compilation never ends is shown, then as slow, and is given up. Until then a
// reload with other keys, the end of the request and another tenant do not wait for it, and afterwards the tenant's
// next bundle comes into force.
func TestEndlessCompilation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		defer close(release)
		w.m.CompileWith(func(ctx context.Context, b *bundle.Bundle) (*policies.Rules, error) {
			if b.Revision == "endless" {
				<-release // not even its context stops a compiler
			}
			return b.Rules(ctx)
		})
		tenants := []bundles.Tenant{{Name: "acme"}, {Name: "globex"}}
		w.tenants(tenants...)
		endless := pack(t, "endless", "2", "")
		push := func(ctx context.Context) <-chan error {
			out := make(chan error, 1)
			go func() {
				_, err := w.m.Push(ctx, "acme", endless, w.record)
				out <- err
			}()
			synctest.Wait()
			return out
		}
		if err := w.push("one", "1", ""); err != nil {
			t.Fatal(err)
		}

		pushed := push(t.Context())
		if p := w.m.Status()[0].Preparing; p == nil || p.Revision != "endless" || p.Serial != 2 || p.Slow || p.Since.IsZero() {
			t.Errorf("at once: %+v, want revision endless", p)
		}
		time.Sleep(31 * time.Second)
		if p := w.m.Status()[0].Preparing; p == nil || !p.Slow || w.active() != "one" {
			t.Errorf("after 31 s: %+v, want that it is slow", p)
		}
		if got := w.gauges(); !slices.Contains(got, "preparing_seconds[acme]31") || !slices.Contains(got, "preparing_seconds[globex]0") {
			t.Errorf("metrics %q do not show it", got)
		}
		if _, err := w.m.Push(t.Context(), "globex", pack(t, "quick", "1", ""), w.record); err != nil {
			t.Errorf("the other tenant: %v", err)
		}
		if err := <-pushed; stageOf(err) != "compile" || w.m.Status()[0].Preparing != nil {
			t.Errorf("in the end: %v, %+v, want that it is given up", err, w.m.Status()[0])
		}
		if err := w.push("two", "2", ""); err != nil || w.active() != "two" {
			t.Errorf("the next bundle: %v", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		pushed = push(ctx)
		cancel()
		if err := <-pushed; !errors.Is(err, context.Canceled) {
			t.Errorf("a request that ends: %v", err)
		}
		pushed = push(t.Context())
		tenants[0].Trust.Keys = []bundle.Key{{ID: "other"}}
		w.tenants(tenants...)
		if err := <-pushed; err == nil || w.m.Status()[0].Preparing != nil {
			t.Errorf("other keys: %v, %+v", err, w.m.Status()[0])
		}
	})
}

// TestRemovedWhileActivating: a tenant that goes while its bundle is written is gone when nothing writes there any
// more, so that it may come back.
func TestRemovedWhileActivating(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	writing, release := make(chan struct{}), make(chan struct{})
	pushed, gone := make(chan error, 1), make(chan struct{})
	var released atomic.Bool
	go func() {
		_, err := w.m.Push(t.Context(), "acme", pack(t, "one", "1", ""), func(ctx context.Context, tenant string, c bundles.Change) error {
			close(writing)
			<-release
			return w.record(ctx, tenant, c)
		})
		pushed <- err
	}()
	<-writing
	go func() {
		defer close(gone)
		w.tenants()
		if !released.Load() {
			t.Error("the tenant is gone while its bundle is being written")
		}
	}()
	for len(w.m.Status()) > 0 {
		runtime.Gosched()
	}
	for range 1000 { // time for the mistake, which is not to wait
		runtime.Gosched()
	}
	released.Store(true)
	close(release)
	<-gone
	if err := <-pushed; err != nil {
		t.Errorf("the push: %v", err)
	}
	w.tenants(bundles.Tenant{Name: "acme"})
	if w.active() != "one" {
		t.Errorf("%q in force, want what was written", w.active())
	}
}
