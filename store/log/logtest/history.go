package logtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/store/log"
)

// History records the Appends of a test and compares them with the log. The zero value is empty.
// It is safe for concurrent use.
type History struct {
	mu       sync.Mutex
	attempts []attempt
}

// attempt is one Append. err is nil when it was acknowledged.
type attempt struct {
	rec           string
	called, ended time.Time
	seq           log.Seq
	err           error
}

// Append appends a record, which must be another in every call, once.
func (h *History) Append(ctx context.Context, l log.Log, rec string) (log.Seq, error) {
	a := attempt{rec: rec, called: time.Now()}
	a.seq, a.err = l.Append(ctx, []byte(rec))
	a.ended = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, a)
	return a.seq, a.err
}

// Acknowledged is the number of records that the log has acknowledged.
func (h *History) Acknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, a := range h.attempts {
		if a.err == nil {
			n++
		}
	}
	return n
}

// Check compares the history with all records of the log, from the genesis record on. An
// acknowledged record is at its position, and nowhere else. A refused one is nowhere. One
// whose fate is not known is there once at most. The order agrees with the clock: no record
// was acknowledged before the Append of a record ahead of it began.
func (h *History) Check(t *testing.T, records [][]byte) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	made := map[string]attempt{}
	for _, a := range h.attempts {
		made[a.rec] = a
		if a.err == nil && (int(a.seq) > len(records) || string(records[a.seq-1]) != a.rec) {
			t.Errorf("record %q was acknowledged at position %d, where it is not", a.rec, a.seq)
		}
	}
	var begun time.Time // of the Append that began last, among the records so far
	seen := map[string]bool{}
	for i, rec := range records[1:] {
		seq := log.Seq(i + 2)
		a, ok := made[string(rec)]
		switch {
		case !ok:
			t.Errorf("record %d is %q, which nobody appended", seq, rec)
		case seen[a.rec]:
			t.Errorf("record %d is %q again", seq, rec)
		case errors.Is(a.err, log.ErrRefused):
			t.Errorf("record %d is %q, which was refused: %v", seq, rec, a.err)
		case a.err == nil && a.ended.Before(begun):
			t.Errorf("record %d is %q, which was acknowledged before a record ahead of it was appended", seq, rec)
		}
		seen[string(rec)] = true
		if a.called.After(begun) {
			begun = a.called
		}
	}
}
