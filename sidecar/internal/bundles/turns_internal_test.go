package bundles

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns: a turn ends once, by leave or after its time, unless it is kept.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, time.Second)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		first, err := turns.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := turns.take(over); !errors.Is(err, context.Canceled) {
			t.Errorf("a second turn: %v, want that it waits", err)
		}
		begin := time.Now()
		second, err := turns.take(t.Context())
		if err != nil || time.Since(begin) != time.Second {
			t.Errorf("%v: the turn came after %s, want a second", err, time.Since(begin))
		}
		second.keep()
		first.leave() // it has none
		time.Sleep(time.Hour)
		if _, err := turns.take(over); err == nil {
			t.Error("a turn that is kept ended")
		}
		second.leave()
		if _, err := turns.take(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
