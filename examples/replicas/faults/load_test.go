//go:build faults

package faults_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/replicas/fleet"
)

// The load: requests a second, over all edges.
const (
	leaverRate = 300
	stayerRate = 60
)

// person is a user with a session.
type person struct {
	name, id string
	session  time.Time
	locks    int       // deactivations
	back     time.Time // when the last reactivation was asked for
}

// answer is one request of a person at the Envoy of an edge.
type answer struct {
	edge, user string
	sent       time.Time
	took       time.Duration
	status     int // 0: nobody answered
}

// load sends requests at a constant rate, whether they are answered or not.
type load struct {
	stayer *person
	leaver atomic.Pointer[person] // nil: nobody

	mu      sync.Mutex
	answers []answer
	unsent  int // because too many were on their way
}

// startLoad starts the load, until the end of the test.
func startLoad(t *testing.T, f *fleet.Fleet, stayer *person) *load {
	t.Helper()
	l := &load{stayer: stayer}
	ctx, stop := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	for _, edge := range f.Edges() {
		c := f.Client(edge)
		c.Timeout = 15 * time.Second
		all := time.Duration(len(f.Edges()) * int(time.Second))
		sending.Go(func() { l.send(ctx, edge, c, all/leaverRate, l.leaver.Load) })
		sending.Go(func() { l.send(ctx, edge, c, all/stayerRate, func() *person { return l.stayer }) })
	}
	t.Cleanup(func() {
		stop()
		sending.Wait()
	})
	return l
}

// send sends a request of a person at every tick.
func (l *load) send(ctx context.Context, edge string, c *http.Client, every time.Duration, who func() *person) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var open sync.WaitGroup
	defer open.Wait()
	free := make(chan struct{}, 200)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := who()
		if p == nil {
			continue
		}
		select {
		case free <- struct{}{}:
		default:
			l.mu.Lock()
			l.unsent++
			l.mu.Unlock()
			continue
		}
		open.Go(func() {
			defer func() { <-free }()
			a := answer{edge: edge, user: p.name, sent: time.Now()}
			a.status, _ = fleet.Get(ctx, c, p.name, p.session)
			if ctx.Err() != nil {
				return // the test ends
			}
			a.took = time.Since(a.sent)
			l.mu.Lock()
			l.answers = append(l.answers, a)
			l.mu.Unlock()
		})
	}
}

// each calls do for the answers to a user that were sent in a span of time. The end is open if it is zero.
func (l *load) each(user string, from, to time.Time, do func(*answer)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.answers {
		a := &l.answers[i]
		if a.user == user && a.sent.After(from) && (to.IsZero() || a.sent.Before(to)) {
			do(a)
		}
	}
}
