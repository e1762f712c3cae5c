package authz

import (
	"context"
	"sync"
	"time"
)

// Patience is a context with a deadline. Its timer starts when somebody waits for it: most answers are
// remembered, and nobody waits for them. It is safe for concurrent use. Call End when it is not needed
// any more.
type Patience struct {
	context.Context //nolint:containedctx // it is a context itself; this is the one without the deadline
	at              time.Time

	mu     sync.Mutex      // guards all below
	timed  context.Context //nolint:containedctx // the one with the timer
	cancel context.CancelFunc
}

// NewPatience returns a context that ends after d, or with ctx.
func NewPatience(ctx context.Context, d time.Duration) *Patience {
	at := time.Now().Add(d)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(at) {
		at = earlier
	}
	return &Patience{Context: ctx, at: at}
}

// Deadline implements [context.Context].
func (p *Patience) Deadline() (time.Time, bool) { return p.at, true }

// Done implements [context.Context].
func (p *Patience) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.cancel = context.WithDeadline(p.Context, p.at)
	}
	return p.timed.Done()
}

// Err implements [context.Context].
func (p *Patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.timed != nil:
		return p.timed.Err()
	case p.Context.Err() != nil:
		return p.Context.Err()
	case !time.Now().Before(p.at):
		return context.DeadlineExceeded
	}
	return nil
}

// End releases the timer, if there is one.
func (p *Patience) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
}
