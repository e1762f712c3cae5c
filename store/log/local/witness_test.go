package local_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

// written returns a closed database with some records.
func written(t *testing.T, records int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "db")
	l := open(t, options(dir))
	for i := range records {
		if _, err := l.Append(t.Context(), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWitnessOfAnotherRecord: Open refuses a database whose record at the witness is another
// one, a database of another identity, and one that was replaced by a shorter one.
func TestWitnessOfAnotherRecord(t *testing.T) {
	dir := written(t, 4)
	witness, err := local.ReadWitness(dir)
	if err != nil || witness.Position != 5 {
		t.Fatalf("ReadWitness = %+v, %v, want position 5", witness, err)
	}
	for name, records := range map[string][]string{
		"record": {"\x00", "\x01", "\x02", "other"}, "shorter": {"\x00", "\x01"},
		"identity": {"\x00", "\x01", "\x02", "\x03"},
	} {
		t.Run(name, func(t *testing.T) {
			other := filepath.Join(t.TempDir(), "db")
			l := openAs(t, options(other), map[string]byte{"identity": 8}[name])
			for _, rec := range records {
				if _, err := l.Append(t.Context(), []byte(rec)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(local.WitnessPath(dir))
			if err == nil {
				err = os.WriteFile(local.WitnessPath(other), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = local.Open(options(other))
			var lost *local.LostError
			if !errors.Is(err, local.ErrDamaged) || errors.As(err, &lost) != (name == "shorter") {
				t.Errorf("Open = %v, want ErrDamaged, a LostError for a shorter log", err)
			}
		})
	}
}

// TestTornWitness: a write that is torn leaves the slot before it. A witness without a valid
// slot, and a missing one, are a warning and do not refuse the start.
func TestTornWitness(t *testing.T) {
	dir := written(t, 4)
	path := local.WitnessPath(dir)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bytes []byte
		warns bool
	}{"good": {good, false}, "garbage": {bytes.Repeat([]byte{1}, len(good)), true}, "empty": {nil, true}} {
		var logged bytes.Buffer
		if err := os.WriteFile(path, c.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		o := options(dir)
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		l, err := local.Open(o)
		if err != nil {
			t.Fatalf("%s: Open = %v", name, err)
		}
		if warned := strings.Contains(logged.String(), "witness"); warned != c.warns {
			t.Errorf("%s: Open logged %q, want a warning: %t", name, logged.String(), c.warns)
		}
		if err := l.Close(); err != nil { // writes a new one
			t.Fatal(err)
		}
		if w, err := local.ReadWitness(dir); err != nil || w.Position != 5 {
			t.Errorf("%s: ReadWitness after Close = %+v, %v, want position 5", name, w, err)
		}
	}
}

// TestFailingWitnessStopsNoCommit: when the witness cannot be written, commits go on, the lag
// shows it, and the witness is there once it can be written again.
func TestFailingWitnessStopsNoCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	blocked := local.WitnessPath(dir) + ".new" // a folder in the place of the file to write
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	l := open(t, options(dir))
	defer l.Close()
	if _, err := l.Append(t.Context(), []byte("x")); err != nil {
		t.Errorf("Append = %v, want no error", err)
	}
	if err := l.WriteWitness(); err == nil {
		t.Error("WriteWitness succeeded, want an error")
	}
	if lag, _ := l.WitnessLag(); lag <= 0 {
		t.Errorf("WitnessLag = %v, want more than zero", lag)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if err := l.WriteWitness(); err != nil {
		t.Errorf("WriteWitness = %v, want no error", err)
	}
	if lag, err := l.WitnessLag(); lag != 0 || err != nil {
		t.Errorf("WitnessLag = %v, %v, want zero", lag, err)
	}
}

// TestWitnessAndTrim: trimming, also of the record at the witness, refuses no start.
func TestWitnessAndTrim(t *testing.T) {
	dir := written(t, 4)
	old, err := os.ReadFile(local.WitnessPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, options(dir))
	for range 3 {
		if _, err := l.Append(t.Context(), []byte("later")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(t.Context(), 99); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the witness of now, and one that is older than the log
		l = open(t, options(dir))
		if l.Last() != log.Seq(8) {
			t.Errorf("Last = %d, want 8", l.Last())
		}
		if err := errors.Join(l.Close(), os.WriteFile(local.WitnessPath(dir), old, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
