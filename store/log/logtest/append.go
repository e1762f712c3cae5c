package logtest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/scimward/scimward/store/log"
)

// empty: an empty log has no bounds, a Trim of it does nothing, and a Tail of it waits for the
// genesis record.
func (k *kit) empty(t *testing.T) {
	h := k.open(t, "empty")
	checkBounds(t, h, log.Bounds{})
	if err := h.Trim(t.Context(), 9); err != nil {
		t.Errorf("Trim of an empty log = %v", err)
	}
	f := follow(t, h, 1)
	if err := h.Start(t.Context(), identity(1)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	f.expect(t, 1, identity(1))
	checkBounds(t, h, log.Bounds{First: 1, Last: 1, ID: log.Incarnation(identity(1))})
}

// genesis: when several processes start an empty log, one genesis record is that of all. A later
// start changes nothing.
func (k *kit) genesis(t *testing.T) {
	handles := k.several(t, "genesis")
	var all sync.WaitGroup
	for i, h := range handles {
		all.Go(func() {
			if err := h.Start(t.Context(), identity(byte(i+1))); err != nil {
				t.Errorf("Start = %v", err)
			}
		})
	}
	all.Wait()
	if err := handles[0].Start(t.Context(), identity(9)); err != nil {
		t.Errorf("Start of a started log = %v", err)
	}
	id := log.Incarnation(read(t, handles[0], 1, 1)[0])
	for _, h := range handles {
		checkBounds(t, h, log.Bounds{First: 1, Last: 1, ID: id})
	}
}

// several opens three handles of one log, or three times the same when the driver is exclusive.
func (k *kit) several(t *testing.T, name string) []Handle {
	t.Helper()
	handles := []Handle{k.open(t, name)}
	for range 2 {
		if k.Exclusive {
			handles = append(handles, handles[0])
		} else {
			handles = append(handles, k.open(t, name))
		}
	}
	return handles
}

// order: positions count up from 1, and Tail delivers the bytes that were appended.
func (k *kit) order(t *testing.T) {
	h := k.started(t, "order")
	want := [][]byte{identity(1), {}, {0}, []byte("NATS/1.0\r\n\r\n"), bytes.Repeat([]byte{255}, 70_000), []byte("x")}
	for i, rec := range want[1:] {
		if seq := appendTo(t, h, rec); seq != log.Seq(i+2) {
			t.Errorf("Append = %d, want %d", seq, i+2)
		}
	}
	for i, rec := range read(t, h, 1, log.Seq(len(want))) {
		if !bytes.Equal(rec, want[i]) {
			t.Errorf("record %d has %d bytes %.20q, want %d bytes %.20q", i+1, len(rec), rec, len(want[i]), want[i])
		}
	}
}

// concurrent: with several writers in several processes, every record has one position and the
// positions have no gaps. A record that was acknowledged before another was appended comes
// before it. Every process reads the same.
func (k *kit) concurrent(t *testing.T) {
	const writers, each = 4, 25
	handles := k.several(t, "concurrent")
	if err := handles[0].Start(t.Context(), identity(1)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	var history History
	var all sync.WaitGroup
	for w := range writers * len(handles) {
		all.Go(func() {
			for n := range each {
				if _, err := history.Append(t.Context(), handles[w%len(handles)], fmt.Sprintf("%d/%d", w, n)); err != nil {
					t.Errorf("Append = %v", err)
				}
			}
		})
	}
	all.Wait()
	for _, h := range handles {
		history.Check(t, read(t, h, 1, log.Seq(1+writers*len(handles)*each)))
	}
}

// reopen: a log that was closed and opened again has the same records, bounds and identity, and
// goes on behind them.
func (k *kit) reopen(t *testing.T) {
	h := k.Open(t, "reopen")
	if err := h.Start(t.Context(), identity(1)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	appendTo(t, h, []byte("a"))
	closeHandle(t, h)
	h = k.open(t, "reopen")
	if err := h.Start(t.Context(), identity(2)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	checkBounds(t, h, log.Bounds{First: 1, Last: 2, ID: log.Incarnation(identity(1))})
	if seq := appendTo(t, h, []byte("b")); seq != 3 {
		t.Errorf("Append = %d, want 3", seq)
	}
	if got := bytes.Join(read(t, h, 2, 3), nil); string(got) != "ab" {
		t.Errorf("the records are %q, want ab", got)
	}
}

// sizes: the largest record is stored whole. A larger one is refused with ErrTooLarge and takes
// no position.
func (k *kit) sizes(t *testing.T) {
	h := k.started(t, "sizes")
	large := bytes.Repeat([]byte("0123456789abcdef"), k.Largest/16+1)[:k.Largest]
	if seq := appendTo(t, h, large); seq != 2 {
		t.Errorf("Append = %d, want 2", seq)
	}
	_, err := h.Append(t.Context(), make([]byte, k.TooLarge))
	if !errors.Is(err, log.ErrTooLarge) || !errors.Is(err, log.ErrRefused) {
		t.Errorf("Append of %d bytes = %v, want ErrTooLarge, which is an ErrRefused", k.TooLarge, err)
	}
	if seq := appendTo(t, h, []byte("x")); seq != 3 {
		t.Errorf("Append after the refused one = %d, want 3", seq)
	}
	if got := read(t, h, 2, 3); !bytes.Equal(got[0], large) || string(got[1]) != "x" {
		t.Errorf("the records have %d and %d bytes, want %d and 1", len(got[0]), len(got[1]), len(large))
	}
}

// closed: Append to a closed log is refused, so its record does not appear later.
func (k *kit) closed(t *testing.T) {
	h := k.Open(t, "closed")
	if err := h.Start(t.Context(), identity(1)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	closeHandle(t, h)
	if _, err := h.Append(t.Context(), []byte("x")); !errors.Is(err, log.ErrRefused) {
		t.Errorf("Append to a closed log = %v, want ErrRefused", err)
	}
	checkBounds(t, k.open(t, "closed"), log.Bounds{First: 1, Last: 1, ID: log.Incarnation(identity(1))})
}
