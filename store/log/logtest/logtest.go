// Package logtest is the conformance kit of log drivers. A driver calls [Run] in its tests.
package logtest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/scimward/scimward/store/log"
)

// Handle is one opened log, as a process has it.
type Handle interface {
	log.Log
	// Start writes the genesis record into an empty log.
	Start(ctx context.Context, genesis []byte) error
	Close() error
}

// Driver is what the kit needs of a driver. A genesis record of the kit is 16 bytes, the identity.
type Driver struct {
	// Open opens the log of a name, which is empty when it is opened for the first time. The kit
	// closes the handle.
	Open func(t *testing.T, name string) Handle
	// Exclusive says that only one handle of a log can be open.
	Exclusive bool
	// Largest is the size of a record that the driver must accept, TooLarge of one that it
	// must refuse.
	Largest, TooLarge int
}

// Run tests every promise of [log.Log].
func Run(t *testing.T, d Driver) {
	t.Helper()
	k := &kit{d}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"empty", k.empty},
		{"genesis", k.genesis},
		{"order", k.order},
		{"concurrent", k.concurrent},
		{"tail", k.tail},
		{"tail-ends", k.tailEnds},
		{"trim", k.trim},
		{"trim-under-tail", k.trimUnderTail},
		{"reopen", k.reopen},
		{"sizes", k.sizes},
		{"closed", k.closed},
	} {
		t.Run(test.name, test.run)
	}
}

type kit struct{ Driver }

// identity is a genesis record.
func identity(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }

// open opens a log and closes it with the test.
func (k *kit) open(t *testing.T, name string) Handle {
	t.Helper()
	h := k.Open(t, name)
	t.Cleanup(func() { closeHandle(t, h) })
	return h
}

func closeHandle(t *testing.T, h Handle) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// started opens a log with a genesis record.
func (k *kit) started(t *testing.T, name string) Handle {
	t.Helper()
	h := k.open(t, name)
	if err := h.Start(t.Context(), identity(1)); err != nil {
		t.Fatalf("Start = %v", err)
	}
	return h
}

func appendTo(t *testing.T, h Handle, rec []byte) log.Seq {
	t.Helper()
	seq, err := h.Append(t.Context(), rec)
	if err != nil {
		t.Fatalf("Append = %v", err)
	}
	return seq
}

// errEnough ends a Tail.
var errEnough = errors.New("enough")

// read returns the records from a position to another. Tail must deliver them without a gap.
func read(t *testing.T, h Handle, from, to log.Seq) [][]byte {
	t.Helper()
	var out [][]byte
	err := h.Tail(t.Context(), from, func(seq log.Seq, rec []byte) error {
		if want := from + log.Seq(len(out)); seq != want {
			t.Errorf("Tail delivered record %d, want %d", seq, want)
		}
		if out = append(out, bytes.Clone(rec)); seq == to {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("Tail = %v, want the error of the callback", err)
	}
	return out
}

func checkBounds(t *testing.T, h Handle, want log.Bounds) {
	t.Helper()
	if got, err := h.Bounds(t.Context()); got != want || err != nil {
		t.Errorf("Bounds = %+v, %v, want %+v", got, err, want)
	}
}
