package machine_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scimward/scimward/store/log"
)

// gated is a shared log that holds up the first append until open.
type gated struct {
	log.Shared
	appends atomic.Int32
	arrived chan struct{}
	open    chan struct{}
}

func (g *gated) Append(ctx context.Context, rec []byte) (log.Seq, error) {
	if g.appends.Add(1) == 1 {
		close(g.arrived)
		<-g.open
	}
	return g.Shared.Append(ctx, rec)
}

// joined is a context that tells when somebody waits for its end.
type joined struct {
	context.Context //nolint:containedctx // it is one
	waits           chan<- struct{}
}

func (j joined) Done() <-chan struct{} {
	j.waits <- struct{}{}
	return j.Context.Done()
}

// TestBarriersShareARecord: those that come while one is on its way share the next one, and do not wait for a caller
// that has left.
func TestBarriersShareARecord(t *testing.T) {
	const callers = 200
	g := &gated{Shared: sharedLog(t, 1), arrived: make(chan struct{}), open: make(chan struct{})}
	m := follow(t, g, "")
	var running sync.WaitGroup
	waits := make(chan struct{})
	barrier := func(ctx context.Context) error {
		_, err := m.Barrier(joined{ctx, waits})
		return err
	}
	first, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- barrier(first) }()
	<-waits
	<-g.arrived
	for range callers {
		running.Go(func() {
			if err := barrier(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range callers {
		<-waits
	}
	leave()
	if err := <-left; err == nil {
		t.Error("Barrier without its caller = nil, want the error of the context")
	}
	close(g.open)
	running.Wait()
	if n := g.appends.Load(); n != 2 {
		t.Errorf("%d callers appended %d records after the first, want 1", callers, n-1)
	}
}
