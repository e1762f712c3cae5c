package limit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/limit"
)

// TestBuckets: each name has its own bucket, looking costs nothing, and many names take bounded memory.
func TestBuckets(t *testing.T) {
	b, err := limit.New()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	take := func(name string) time.Duration { return b.Take(name, 1, 2, now) }
	for range 10 {
		if wait := b.Wait("a", now); wait != 0 {
			t.Errorf("Wait() = %v before the first token", wait)
		}
	}
	if take("a") != 0 || b.Wait("a", now) != 0 || take("a") != 0 || take("a") != time.Second || take("b") != 0 {
		t.Error("a burst of two tokens is not two tokens")
	}
	if wait := b.Wait("a", now); wait != time.Second {
		t.Errorf("Wait() = %v with an empty bucket, want 1s", wait)
	}
	if wait := b.Wait("a", now.Add(time.Second)); wait != 0 {
		t.Errorf("Wait() = %v a second later, want 0", wait)
	}
	for range 10 {
		b.Take("a", 10, 20, now.Add(time.Second))
	}
	if wait := b.Wait("a", now.Add(time.Second)); wait > 100*time.Millisecond {
		t.Errorf("Wait() = %v after the limit was raised to 10, want the new limit", wait)
	}
	for i := range 10_000 {
		take(fmt.Sprint("other", i))
	}
	if wait := b.Wait("a", now); wait != 0 {
		t.Errorf("Wait() = %v: 10,000 other names are kept, want a bound", wait)
	}
}
