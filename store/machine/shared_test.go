package machine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// plain is a content without rows of its own.
type plain struct{}

func (plain) Apply(*machine.Writer, []machine.Payload) ([]byte, error) { return nil, nil }
func (plain) Publish(advance func())                                   { advance() }

// sharedLog returns a log that several machines share. It begins with a genesis record of id.
func sharedLog(t *testing.T, id byte) *local.Log {
	t.Helper()
	l, err := local.Open(local.Options{InMemory: true, Incarnation: machine.Incarnation})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	l.Bind(func(*badger.Txn, log.Seq, []byte) error { return nil })
	if err := l.Start(t.Context(), append([]byte{1, 2}, append(make([]byte, 15), id)...)); err != nil {
		t.Fatal(err)
	}
	return l
}

func openOn(t *testing.T, shared log.Shared, dir string, wait time.Duration) *machine.Machine {
	t.Helper()
	m, err := machine.Open(t.Context(), machine.Options{
		Log: local.Options{Dir: dir, InMemory: dir == ""}, Content: plain{}, Now: time.Now, Shared: shared, SharedWait: wait,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func follow(t *testing.T, shared log.Shared, dir string) *machine.Machine {
	t.Helper()
	m := openOn(t, shared, dir, time.Minute)
	if err := m.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// increment adds one to a number that it read: a lost precondition would lose an increment.
func increment(ctx context.Context, m *machine.Machine) (machine.Seq, error) {
	return m.Update(ctx, "acme", func(tx *machine.Tx) error {
		v, _, err := tx.Get([]byte("n"))
		if err != nil && !errors.Is(err, machine.ErrNotFound) {
			return err
		}
		n := uint64(0)
		if v != nil {
			n = binary.BigEndian.Uint64(v)
		}
		tx.Put([]byte("n"), binary.BigEndian.AppendUint64(nil, n+1))
		return nil
	})
}

// count adds one without reading, so nothing but the machine keeps a record from counting twice.
func count(ctx context.Context, m *machine.Machine) (machine.Seq, error) {
	return m.Update(ctx, "acme", func(tx *machine.Tx) error {
		tx.Add([]byte("c"), 1)
		return nil
	})
}

func number(t *testing.T, m *machine.Machine) uint64 {
	t.Helper()
	return binary.BigEndian.Uint64(value(t, m, "n"))
}

func counted(t *testing.T, m *machine.Machine) int64 {
	t.Helper()
	c, err := machine.DecodeCounter(value(t, m, "c"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Count
}

func value(t *testing.T, m *machine.Machine, k string) (v []byte) {
	t.Helper()
	if err := m.View(t.Context(), func(s *machine.Snapshot) (err error) {
		v, _, err = s.Peek([]byte(k))
		v = bytes.Clone(v)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

// dump returns every key, version and value, with the copied records.
func dump(t *testing.T, m *machine.Machine) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := m.View(t.Context(), func(s *machine.Snapshot) error {
		return s.Scan(nil, nil, true, func(e machine.Entry) (bool, error) {
			all[fmt.Sprintf("%x", e.Key)] = fmt.Sprintf("%d %x", e.Version, e.Value)
			return true, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSharedLog: three machines that change the same row through one log lose no change, and have the same bytes at
// the end, like a fourth one that starts then and a first one that starts again.
func TestSharedLog(t *testing.T) {
	shared := sharedLog(t, 1)
	dir := t.TempDir()
	machines := []*machine.Machine{follow(t, shared, dir), follow(t, shared, ""), follow(t, shared, "")}
	var wg sync.WaitGroup
	const writers, each = 4, 25
	for i := range writers * len(machines) {
		wg.Go(func() {
			for range each {
				if _, err := increment(t.Context(), machines[i%len(machines)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, m := range machines {
		if _, err := m.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := number(t, m); n != writers*each*3 {
			t.Errorf("machine %d counts %d, want %d", i, n, writers*each*3)
		}
	}
	if err := machines[0].Close(); err != nil {
		t.Fatal(err)
	}
	again, late := follow(t, shared, dir), follow(t, shared, "")
	bounds, err := shared.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	for i, m := range append(machines[1:], again, late) {
		if err := machine.Reach(t.Context(), m, bounds.Last); err != nil {
			t.Fatal(err)
		}
		got := dump(t, m)
		if i == 0 {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("machine %d differs (-first +it):\n%s", i, diff)
		}
	}
}

// faulty is a log whose appends fail as a network does.
type faulty struct {
	log.Shared
	calls  atomic.Int64
	appear func(call int64, rec []byte) (times int, err error)
}

func (f *faulty) Append(ctx context.Context, rec []byte) (seq log.Seq, err error) {
	times, fail := f.appear(f.calls.Add(1), rec)
	for range times {
		if seq, err = f.Shared.Append(ctx, rec); err != nil {
			return 0, err
		}
	}
	if fail != nil {
		return 0, fail
	}
	return seq, nil
}

// TestAmbiguousAppend: an append whose answer was lost is tried again, and counts once however often its record
// is in the log.
func TestAmbiguousAppend(t *testing.T) {
	lost := errors.New("timeout")
	for name, appear := range map[string]func(call int64, rec []byte) (int, error){
		"written, answer lost": func(n int64, _ []byte) (int, error) { return 1, or(n%2 == 1, lost) },
		"not written":          func(n int64, _ []byte) (int, error) { return int(n+1) % 2, or(n%2 == 1, lost) },
		"written three times":  func(int64, []byte) (int, error) { return 3, nil },
		"refused after it was lost": func(n int64, _ []byte) (int, error) {
			switch n % 3 {
			case 1:
				return 0, lost
			case 2:
				return 0, log.ErrRefused
			}
			return 1, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := follow(t, &faulty{Shared: sharedLog(t, 1), appear: appear}, "")
			for range 10 {
				if _, err := count(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if n := counted(t, m); n != 10 {
				t.Errorf("counted %d, want 10", n)
			}
		})
	}
}

func or(failed bool, err error) error {
	if failed {
		return err
	}
	return nil
}

// TestLateRecord: a record that appears after its writer has written others is skipped on every machine.
func TestLateRecord(t *testing.T) {
	shared := sharedLog(t, 1)
	var first []byte
	m := follow(t, &faulty{Shared: shared, appear: func(n int64, rec []byte) (int, error) {
		if n == 1 {
			first = rec
		}
		return 1, nil
	}}, "")
	other := follow(t, shared, "")
	for range 3 {
		if _, err := count(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := shared.Append(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*machine.Machine{m, other} {
		if _, err := m.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := counted(t, m); n != 3 {
			t.Errorf("counted %d, want 3", n)
		}
	}
}

// TestRefusedAppend: a refusal of the shared log is an error that wrote nothing.
func TestRefusedAppend(t *testing.T) {
	refuse := atomic.Bool{}
	m := follow(t, &faulty{Shared: sharedLog(t, 1), appear: func(int64, []byte) (int, error) {
		if refuse.Load() {
			return 0, log.ErrRefused
		}
		return 1, nil
	}}, "")
	refuse.Store(true)
	if _, err := increment(t.Context(), m); !errors.Is(err, machine.ErrUnavailable) || !errors.Is(err, log.ErrRefused) {
		t.Errorf("Update = %v, want ErrUnavailable and ErrRefused", err)
	}
	refuse.Store(false)
	if _, err := increment(t.Context(), m); err != nil {
		t.Error(err)
	}
}

// TestOtherLog: a copy of one log is not continued from another, or from one that lost records or trimmed those that
// the copy needs.
func TestOtherLog(t *testing.T) {
	shared, dir := sharedLog(t, 1), t.TempDir()
	m := follow(t, shared, dir)
	for range 3 {
		if _, err := increment(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	trimmed := sharedLog(t, 1)
	for range 9 {
		if _, err := trimmed.Append(t.Context(), []byte{1, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
	if err := trimmed.Trim(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		shared *local.Log
		want   error
	}{
		"another": {sharedLog(t, 2), machine.ErrForked},
		"shorter": {sharedLog(t, 1), machine.ErrForked},
		"trimmed": {trimmed, log.ErrTrimmed},
	} {
		m := openOn(t, c.shared, dir, 200*time.Millisecond)
		if err := m.Follow(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: Follow = %v, want %v", name, err, c.want)
		}
		if _, err := increment(t.Context(), m); !errors.Is(err, machine.ErrUnavailable) {
			t.Errorf("%s: Update = %v, want ErrUnavailable", name, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// altered changes a byte of one record on its way to one machine.
type altered struct {
	log.Shared
	at machine.Seq
}

func (a *altered) Tail(ctx context.Context, from log.Seq, fn func(log.Seq, []byte) error) error {
	return a.Shared.Tail(ctx, from, func(seq log.Seq, rec []byte) error {
		if seq == a.at {
			rec = bytes.Replace(rec, []byte("acme"), []byte("acne"), 1)
		}
		return fn(seq, rec)
	})
}

// TestDivergedCopy: of three machines, the one whose copy differs finds it from what the others write, and refuses
// changes from then on. The others go on.
func TestDivergedCopy(t *testing.T) {
	shared := sharedLog(t, 1)
	good := []*machine.Machine{follow(t, shared, ""), follow(t, shared, "")}
	bad := follow(t, &altered{Shared: shared, at: 3}, "")
	for range 4 {
		for _, m := range good {
			if _, err := increment(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := machine.Reach(t.Context(), bad, 1<<40); !errors.Is(err, machine.ErrDiverged) {
		t.Errorf("the altered copy: %v, want ErrDiverged", err)
	}
	if _, err := increment(t.Context(), bad); !errors.Is(err, machine.ErrUnavailable) {
		t.Errorf("Update of the altered copy = %v, want ErrUnavailable", err)
	}
	for i, m := range good {
		if err := m.Ready(); err != nil {
			t.Errorf("machine %d: %v, want ready", i, err)
		}
	}
}

// TestRecordTooLarge: a log with a smaller limit gets the changes of one batch in several records, and a single
// change above its limit is ErrTooLarge.
func TestRecordTooLarge(t *testing.T) {
	const limit = 400
	m := follow(t, &faulty{Shared: sharedLog(t, 1), appear: func(_ int64, rec []byte) (int, error) {
		if len(rec) > limit {
			return 0, log.ErrTooLarge
		}
		return 1, nil
	}}, "")
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := count(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := counted(t, m); n != 100 {
		t.Errorf("counted %d, want 100", n)
	}
	_, err := m.Update(t.Context(), "acme", func(tx *machine.Tx) error {
		tx.Put([]byte("k"), make([]byte, limit))
		return nil
	})
	if !errors.Is(err, machine.ErrTooLarge) {
		t.Errorf("a change above the limit: %v, want ErrTooLarge", err)
	}
}

// TestFormerRunsProveNothing: that former runs of the machines once agreed does not outvote those that contradict now,
// and a machine does not believe one other alone at once.
func TestFormerRunsProveNothing(t *testing.T) {
	shared := sharedLog(t, 1)
	for range 4 { // runs that end
		m := follow(t, shared, "")
		if _, err := increment(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := shared.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad := follow(t, &altered{Shared: shared, at: b.Last + 2}, "")
	good := []*machine.Machine{follow(t, shared, ""), follow(t, shared, "")}
	for range 8 {
		for _, m := range good {
			if _, err := increment(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := machine.Reach(t.Context(), bad, 1<<40); !errors.Is(err, machine.ErrDiverged) {
		t.Errorf("the altered copy: %v, want ErrDiverged", err)
	}
	if err := bad.Fault(); !errors.Is(err, machine.ErrDiverged) {
		t.Errorf("Fault = %v, want ErrDiverged", err)
	}
	for i, m := range good {
		if err := errors.Join(m.Ready(), m.Fault()); err != nil {
			t.Errorf("machine %d: %v, want ready", i, err)
		}
	}
}

// TestCopyAlone: a copy of a shared log does not open as a store of its own.
func TestCopyAlone(t *testing.T) {
	dir := t.TempDir()
	m := follow(t, sharedLog(t, 1), dir)
	if _, err := increment(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := machine.Open(t.Context(), machine.Options{Log: local.Options{Dir: dir}, Content: plain{}, Now: time.Now})
	if !errors.Is(err, machine.ErrCopy) {
		t.Errorf("Open = %v, want ErrCopy", err)
	}
}

// TestPatience: the committer of a shared log waits for the clients that it had, so that they share a record, and not
// longer than its patience for those that do not come again.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name     string
		n        int
		clients  int
		patience time.Duration
		end      bool
		want     []int
	}{
		{"all come again", 3, 3, time.Hour, false, []int{3}},
		{"one alone", 1, 1, time.Hour, false, []int{1}},
		{"some do not come again", 2, 3, time.Second, false, []int{2}},
		{"the end", 2, 3, time.Hour, true, []int{2}},
		{"more than a record has", 65, 1000, time.Hour, true, []int{64, 1}},
	} {
		if got := machine.BatchSizes(c.n, c.clients, c.patience, c.end); !slices.Equal(got, c.want) {
			t.Errorf("%s: records of %v transactions, want %v", c.name, got, c.want)
		}
	}
}
