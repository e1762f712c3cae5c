package bundles

import (
	"context"
	"sync"
	"time"
)

// turns lets a few do at once what many want to do.
type turns struct {
	free    chan struct{} // to send to takes a turn
	longest time.Duration // a turn ends after this time although its work goes on: what hangs must not stop the others
}

func newTurns(n int, longest time.Duration) *turns { return &turns{make(chan struct{}, n), longest} }

// turn is one of them.
type turn struct {
	leave func() // ends the turn; only the first call has an effect
	late  *time.Timer
}

// keep lets the turn last until leave, if it has not ended yet.
func (t *turn) keep() { t.late.Stop() }

// take waits for a turn.
func (t *turns) take(ctx context.Context) (*turn, error) {
	select {
	case t.free <- struct{}{}:
		return t.taken(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// taken is the turn of a caller that has sent to free.
func (t *turns) taken() *turn {
	leave := sync.OnceFunc(func() { <-t.free })
	return &turn{leave, time.AfterFunc(t.longest, leave)}
}
