package bundles

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlots: a slot is released once, by release or after its time, unless it is kept.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := newSlots(1, time.Second)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		first, err := slots.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := slots.acquire(over); !errors.Is(err, context.Canceled) {
			t.Errorf("a second slot: %v, want that it waits", err)
		}
		begin := time.Now()
		second, err := slots.acquire(t.Context())
		if err != nil || time.Since(begin) != time.Second {
			t.Errorf("%v: the slot came after %s, want a second", err, time.Since(begin))
		}
		second.keep()
		first.release() // it has none
		time.Sleep(time.Hour)
		if _, err := slots.acquire(over); err == nil {
			t.Error("a slot that is kept ended")
		}
		second.release()
		if _, err := slots.acquire(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
