package jetstream_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

// TestAppendTailAndTrim: a cluster of three members attests its durability, orders the records,
// delivers old and new ones, and keeps its identity when they are trimmed.
func TestAppendTailAndTrim(t *testing.T) {
	c := clustertest.Start(t, 3)
	l := clustertest.Open(t, c.Options("0", 0))
	if err := l.Start(t.Context(), []byte("identity of 16 b")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if seq, err := l.Append(t.Context(), []byte{byte(i)}); err != nil || seq != log.Seq(i+2) {
			t.Fatalf("Append = %d, %v, want %d", seq, err, i+2)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []byte
	err := l.Tail(ctx, 2, func(_ log.Seq, rec []byte) error {
		switch got = append(got, rec...); len(got) {
		case 3:
			if _, err := l.Append(t.Context(), []byte{3}); err != nil {
				t.Error(err)
			}
		case 4:
			cancel()
		}
		return nil
	})
	if want := []byte{0, 1, 2, 3}; !errors.Is(err, context.Canceled) || !slices.Equal(got, want) {
		t.Errorf("Tail delivered %v, %v, want %v", got, err, want)
	}
	if err := l.Trim(t.Context(), 99); err != nil {
		t.Fatal(err)
	}
	want := log.Bounds{First: 5, Last: 5, ID: log.Incarnation([]byte("identity of 16 b"))}
	if got, err := l.Bounds(t.Context()); got != want || err != nil {
		t.Errorf("Bounds = %v, %v, want %v", got, err, want)
	}
	if err := l.Tail(t.Context(), 2, nil); !errors.Is(err, log.ErrTrimmed) {
		t.Errorf("Tail of trimmed records = %v, want ErrTrimmed", err)
	}
}
