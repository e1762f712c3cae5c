package policies_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scimward/scimward/policies"
)

// TestLane: an evaluation that does not end keeps nobody waiting. If it ends in the next seconds, the next one runs;
// otherwise the rules are suspended, and those that replace them are not, until a second one is stuck.
func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := policies.NewLane()
		soon := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		at := func(what string, want time.Duration, l policies.Lane, evaluate func()) {
			t.Helper()
			began := time.Now()
			err := l.Run(soon(), evaluate)
			if stuck := err != nil && err.Error() == policies.FailureStuck; !stuck || time.Since(began) != want {
				t.Errorf("%s: %v after %s, want that it is stuck after %s", what, err, time.Since(began), want)
			}
		}
		good := func() {}
		release := make(chan struct{})
		endless := func() { <-release }
		const late = 1100 * time.Millisecond

		at("the first", late, lane, func() { time.Sleep(3 * time.Second) })
		at("the next", 0, lane, good)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := lane.Run(soon(), good); err != nil || !lane.Suspended().Since.IsZero() {
			t.Errorf("after it ended: %v, %+v", err, lane.Suspended())
		}

		at("endless", late, lane, endless)
		time.Sleep(6 * time.Second)
		if s := lane.Suspended(); s.Since.IsZero() || s.Restart {
			t.Errorf("after 6 s: %+v, want it suspended", s)
		}
		next := policies.NewLane()
		next.Follow(lane)
		if err := next.Run(soon(), good); err != nil {
			t.Errorf("the rules that replace it: %v", err)
		}
		at("endless again", late, next, endless)
		time.Sleep(6 * time.Second)
		third := policies.NewLane()
		third.Follow(next)
		at("the third", 0, third, good)
		if s := third.Suspended(); s.Since.IsZero() || !s.Restart {
			t.Errorf("the third: %+v, want it suspended until a restart", s)
		}

		close(release)
		synctest.Wait()
		at("after it ended too late", 0, lane, good)
		fourth := policies.NewLane()
		fourth.Follow(third)
		if err := fourth.Run(soon(), good); err != nil {
			t.Errorf("after all ended: %v", err)
		}
	})
}

// TestLaneIsForOne: one evaluation runs at a time, and one that waits for its turn ends with its request.
func TestLaneIsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := policies.NewLane()
		running := make(chan struct{})
		first := make(chan error, 1)
		go func() { first <- lane.Run(t.Context(), func() { <-running }) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		second, third := make(chan error, 1), make(chan error, 1)
		go func() { second <- lane.Run(ctx, func() { t.Error("two at once") }) }()
		ran := false
		go func() { third <- lane.Run(t.Context(), func() { ran = true }) }()
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that was cancelled: %v", err)
		}
		close(running)
		if a, b := <-first, <-third; a != nil || b != nil || !ran {
			t.Errorf("the others: %v %v", a, b)
		}
	})
}
