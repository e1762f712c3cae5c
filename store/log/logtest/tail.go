package logtest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/scimward/scimward/store/log"
)

// follower is a running Tail.
type follower struct {
	got   chan delivery
	ended chan error
	stop  context.CancelFunc
}

type delivery struct {
	seq log.Seq
	rec []byte
}

// follow starts a Tail, which ends with the test at the latest.
func follow(t *testing.T, h Handle, from log.Seq) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{got: make(chan delivery), ended: make(chan error, 1), stop: cancel}
	go func() {
		f.ended <- h.Tail(ctx, from, func(seq log.Seq, rec []byte) error {
			select {
			case f.got <- delivery{seq, bytes.Clone(rec)}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(cancel)
	return f
}

// expect waits for the next record.
func (f *follower) expect(t *testing.T, seq log.Seq, rec []byte) {
	t.Helper()
	select {
	case d := <-f.got:
		if d.seq != seq || !bytes.Equal(d.rec, rec) {
			t.Fatalf("Tail delivered record %d %q, want %d %q", d.seq, d.rec, seq, rec)
		}
	case err := <-f.ended:
		t.Fatalf("Tail = %v, want record %d", err, seq)
	}
}

// tail: Tail begins at any position, also behind the end, and follows the log. Several run at
// once.
func (k *kit) tail(t *testing.T) {
	h := k.started(t, "tail")
	for b := byte(2); b <= 4; b++ {
		appendTo(t, h, []byte{b})
	}
	var followers []*follower
	for from := log.Seq(0); from <= 5; from++ { // 0 is like 1
		f := follow(t, h, from)
		for seq := max(from, 1); seq <= 4; seq++ {
			rec := []byte{byte(seq)}
			if seq == 1 {
				rec = identity(1)
			}
			f.expect(t, seq, rec)
		}
		followers = append(followers, f)
	}
	far := follow(t, h, 7)
	for b := byte(5); b <= 7; b++ {
		appendTo(t, h, []byte{b})
	}
	for _, f := range followers {
		for b := byte(5); b <= 7; b++ {
			f.expect(t, log.Seq(b), []byte{b})
		}
	}
	far.expect(t, 7, []byte{7})
}

// tailEnds: Tail ends with its context, whether it waits or delivers, and with the error of its
// callback, after which nothing is delivered.
func (k *kit) tailEnds(t *testing.T) {
	h := k.started(t, "tail-ends")
	appendTo(t, h, []byte("a"))
	appendTo(t, h, []byte("b"))
	f := follow(t, h, 3)
	f.expect(t, 3, []byte("b"))
	f.stop()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Tail = %v, want context.Canceled", err)
	}
	delivered := 0
	err := h.Tail(t.Context(), 1, func(log.Seq, []byte) error {
		delivered++
		return errEnough
	})
	if !errors.Is(err, errEnough) || delivered != 1 {
		t.Errorf("Tail delivered %d records, then %v, want 1 and the error of the callback", delivered, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	delivered = 0
	err = h.Tail(ctx, 1, func(log.Seq, []byte) error {
		delivered++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || delivered != 1 {
		t.Errorf("Tail delivered %d records, then %v, want 1 and context.Canceled", delivered, err)
	}
}

// trim: Trim drops the oldest records, never the newest, and keeps the identity and the positions.
func (k *kit) trim(t *testing.T) {
	h := k.Open(t, "trim")
	if err := h.Start(t.Context(), identity(1)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	for b := byte(2); b <= 5; b++ {
		appendTo(t, h, []byte{b})
	}
	id := log.Incarnation(identity(1))
	for _, step := range []struct{ upTo, first log.Seq }{{0, 1}, {2, 3}, {1, 3}, {3, 4}, {99, 5}, {99, 5}} {
		if err := h.Trim(t.Context(), step.upTo); err != nil {
			t.Fatalf("Trim(%d) = %v", step.upTo, err)
		}
		checkBounds(t, h, log.Bounds{First: step.first, Last: 5, ID: id})
	}
	for _, from := range []log.Seq{0, 1, 4} {
		if err := h.Tail(t.Context(), from, func(seq log.Seq, _ []byte) error {
			t.Errorf("Tail from %d delivered record %d", from, seq)
			return nil
		}); !errors.Is(err, log.ErrTrimmed) {
			t.Errorf("Tail from %d = %v, want ErrTrimmed", from, err)
		}
	}
	closeHandle(t, h)
	h = k.open(t, "trim") // a process that never saw the genesis record
	if err := h.Start(t.Context(), identity(2)); err != nil {
		t.Fatalf("Start of a trimmed log = %v", err)
	}
	checkBounds(t, h, log.Bounds{First: 5, Last: 5, ID: id})
	if seq := appendTo(t, h, []byte{6}); seq != 6 {
		t.Errorf("Append = %d, want 6", seq)
	}
	if got := bytes.Join(read(t, h, 5, 6), nil); !bytes.Equal(got, []byte{5, 6}) {
		t.Errorf("the records are %v, want 5 and 6", got)
	}
}

// trimUnderTail: a Tail at the end does not notice a Trim. One that is behind it delivers
// without a gap until it fails with ErrTrimmed.
func (k *kit) trimUnderTail(t *testing.T) {
	h := k.started(t, "trim-under-tail")
	const last = 1500 // more than a driver reads ahead
	for range last - 1 {
		appendTo(t, h, []byte("x"))
	}
	current := follow(t, h, last)
	current.expect(t, last, []byte("x"))
	next := log.Seq(1)
	err := h.Tail(t.Context(), next, func(seq log.Seq, _ []byte) error {
		if seq != next {
			t.Errorf("Tail delivered record %d, want %d", seq, next)
		}
		if next++; next == 10 {
			return h.Trim(t.Context(), last-1)
		}
		if seq == last {
			return errEnough // the driver had read all before
		}
		return nil
	})
	if !errors.Is(err, log.ErrTrimmed) && !errors.Is(err, errEnough) {
		t.Errorf("Tail = %v after record %d, want ErrTrimmed or all records", err, next-1)
	}
	appendTo(t, h, []byte("y"))
	current.expect(t, last+1, []byte("y"))
}
