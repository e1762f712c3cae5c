package plugins_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// TestBreaker: kills and traps within the window begin a quarantine, and repeated ones are longer.
func TestBreaker(t *testing.T) {
	t.Run("three kills in ten minutes", func(t *testing.T) {
		c := newClock()
		b := plugins.NewBreaker(c.now)
		b.Kill()
		c.add(10 * time.Minute) // the first one no longer counts
		for range 2 {
			if b.Kill() {
				t.Error("Kill() = true after two kills within the window, want false")
			}
		}
		if !b.Kill() || b.Open() != 5*time.Minute {
			t.Errorf("after three: open for %v, want 5m", b.Open())
		}
	})
	t.Run("five traps", func(t *testing.T) {
		b := plugins.NewBreaker(newClock().now)
		for range 4 {
			if b.Trap() {
				t.Fatal("Trap() = true after fewer than five traps, want false")
			}
		}
		if b.Kill() || !b.Trap() {
			t.Error("Trap() = false at the fifth trap, want true")
		}
	})
	t.Run("doubles up to an hour, and begins again after an hour without", func(t *testing.T) {
		c := newClock()
		b := plugins.NewBreaker(c.now)
		for _, minutes := range []int{5, 10, 20, 40, 60, 60} {
			want := time.Duration(minutes) * time.Minute
			for range 3 {
				b.Kill()
			}
			if got := b.Open(); got != want {
				t.Errorf("open for %v, want %v", got, want)
			}
			c.add(want)
			if b.Open() != 0 {
				t.Errorf("Open() = %v at the end of the quarantine, want 0", b.Open())
			}
		}
		c.add(time.Hour)
		for range 3 {
			b.Kill()
		}
		if got := b.Open(); got != 5*time.Minute {
			t.Errorf("after an hour without quarantine: open for %v, want 5m", got)
		}
	})
}

// TestQuarantine traps five times. During the quarantine the host does not call the plugin, and
// every operation says so. Afterwards it calls the plugin again.
func TestQuarantine(t *testing.T) {
	c := newClock()
	h := hostile(t, http.NotFoundHandler(), func(o *plugins.Options) { o.Now = c.now })
	for range 5 {
		if got := revoke(t, h, request("panic"))[0]; got.Code != abi.CodeTrap {
			t.Fatalf("got %+v, want a trap", got)
		}
	}
	got := revoke(t, h, request(""))[0]
	if got.State != abi.StateRetry || got.Code != abi.CodeQuarantined ||
		got.RetryAfterMS != (5*time.Minute).Milliseconds() {
		t.Errorf("got %+v, want retry/quarantined in 5 minutes", got)
	}
	if _, err := h.Verify(t.Context(), "acme", "app", request("")); code(err) != abi.CodeQuarantined {
		t.Errorf("Verify: %v, want quarantined", err)
	}
	if _, err := h.Identify(t.Context(), "acme", "app", plugins.Question{Secret: "x"}); code(err) != abi.CodeQuarantined {
		t.Errorf("Identify: %v, want quarantined", err)
	}
	if err := h.Ready(); err == nil {
		t.Error("Ready() = nil with a plugin in quarantine, want an error")
	}
	c.add(5 * time.Minute)
	if got := revoke(t, h, request(""))[0]; got.State != abi.StateRevoked {
		t.Errorf("after the quarantine: %+v, want revoked", got)
	}
}

// TestKillEndsAllCallsInFlight: the host kills the worker because of one endless call. The other
// call ends as retry, and the next one gets a new worker.
func TestKillEndsAllCallsInFlight(t *testing.T) {
	started := make(chan struct{})
	app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	h := hostile(t, app, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		got := revoke(t, h, request("send:DELETE /slow"))[0]
		if got.State != abi.StateRetry || got.Code != abi.CodeDeadline {
			t.Errorf("the other call: %+v, want retry/deadline", got)
		}
	})
	<-started
	// Long enough for an instance to start on a busy machine, much shorter than the minute of the
	// other call.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	res, err := h.Revoke(ctx, "acme", "app", request("loop"))
	if err != nil || res.Kinds[0].Code != abi.CodeDeadline {
		t.Errorf("the endless call: %+v, %v, want code deadline", res, err)
	}
	wg.Wait()
	if got := revoke(t, h, request(""))[0]; got.State != abi.StateRevoked {
		t.Errorf("after the kill: %+v, want revoked", got)
	}
}

// TestCloseEndsCalls: Close ends the calls in flight.
func TestCloseEndsCalls(t *testing.T) {
	started := make(chan struct{})
	app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	h := hostile(t, app, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		// If Close waited for the application, the call would end with the application's error or at its
		// deadline.
		if got := revoke(t, h, request("send:DELETE /slow"))[0]; got.State != abi.StateRetry || got.Code != abi.CodeTrap {
			t.Errorf("the call in flight: %+v, want retry/trap", got)
		}
	})
	<-started
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if got := revoke(t, h, request(""))[0]; got.Code != abi.CodeNotLoaded {
		t.Errorf("after Close: %+v, want not_loaded", got)
	}
}
