package machine_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

func raise(ctx context.Context, m *machine.Machine, format uint64) (machine.Seq, error) {
	return m.Update(ctx, "", func(tx *machine.Tx) error {
		tx.Raise(format)
		return nil
	})
}

// TestRaise: a log that began in format 1 stays in it until a record raises it, at every machine at the same record.
// A copy knows its format when it is opened again, a store that continues the log is in it too, and a format does not
// go down.
func TestRaise(t *testing.T) {
	shared, dir := sharedLog(t, 1), t.TempDir()
	one, other := follow(t, shared, ""), follow(t, shared, dir)
	formats := func(want uint64, machines ...*machine.Machine) {
		t.Helper()
		for i, m := range machines {
			if got := m.Format(); got != want {
				t.Errorf("machine %d is in format %d, want %d", i, got, want)
			}
		}
	}
	if _, err := count(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	formats(1, one, other)
	for _, format := range []uint64{machine.Reads, 1, machine.Reads} {
		at, err := raise(t.Context(), one, format)
		if err == nil {
			err = machine.Reach(t.Context(), other, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		formats(machine.Reads, one, other)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	own := replica(t, dir)
	formats(machine.Reads, own)
	rec, _, err := own.Continue(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := machine.ReadGenesis(rec); err != nil || g.Format != machine.Reads {
		t.Errorf("the store that continues the log begins with %+v, %v, want format %d", g, err, machine.Reads)
	}
}

// TestNewLogBeginsInTheNewestFormat: nobody has to raise the format of a new store.
func TestNewLogBeginsInTheNewestFormat(t *testing.T) {
	m, err := alone(t, t.TempDir())
	if err != nil || m.Format() != machine.Reads {
		t.Fatalf("Open = %v, want format %d", err, machine.Reads)
	}
}

// TestNewerRecordStops: a machine stops for good at a record that it does not know, and says what to do. It skips no
// such record, and applies none behind it.
func TestNewerRecordStops(t *testing.T) {
	for name, newer := range map[string]func(id log.Incarnation, known []byte) []byte{
		"format":    func(id log.Incarnation, _ []byte) []byte { return machine.RaiseRecord(t, id, machine.Reads+1) },
		"operation": func(id log.Incarnation, _ []byte) []byte { return machine.UnknownOperation(t, id) },
		"encoding":  func(_ log.Incarnation, known []byte) []byte { return append([]byte{2}, known[1:]...) },
		"flag":      func(_ log.Incarnation, known []byte) []byte { return append([]byte{1, known[1] | 16}, known[2:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			shared := sharedLog(t, 1)
			m := follow(t, shared, "")
			if _, err := count(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			known, err := shared.Read(2)
			if err != nil {
				t.Fatal(err)
			}
			bounds, err := shared.Bounds(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range [][]byte{newer(bounds.ID, bytes.Clone(known)), known} {
				if _, err := shared.Append(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
			}
			if err := machine.Reach(t.Context(), m, 3); !errors.Is(err, machine.ErrNewer) {
				t.Errorf("waiting for the record = %v, want ErrNewer", err)
			}
			if err := m.Fault(); !errors.Is(err, machine.ErrNewer) {
				t.Errorf("Fault = %v, want ErrNewer", err)
			}
			if _, err := count(t.Context(), m); err == nil {
				t.Error("the machine writes still")
			}
			if at := m.Position(); at != 2 {
				t.Errorf("the machine is at record %d, want 2", at)
			}
		})
	}
}

// TestNewerStoreIsNotOpened: a version does not open a store in a format that it does not read, alone or as a copy.
func TestNewerStoreIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	l, err := local.Open(local.Options{
		Dir:         dir,
		Incarnation: func(rec []byte) (log.Incarnation, error) { return log.Incarnation(rec[2:18]), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Bind(func(*badger.Txn, log.Seq, []byte) error { return nil })
	if err := errors.Join(l.Start(t.Context(), machine.GenesisIn(machine.Reads+1)), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := alone(t, dir); !errors.Is(err, machine.ErrNewer) {
		t.Errorf("Open = %v, want ErrNewer", err)
	}
	if _, err := machine.Open(t.Context(), machine.Options{
		Log: local.Options{Dir: dir}, Content: plain{}, Now: time.Now, Shared: sharedLog(t, 1),
	}); !errors.Is(err, machine.ErrNewer) {
		t.Errorf("Open of a copy = %v, want ErrNewer", err)
	}
}
